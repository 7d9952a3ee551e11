//! Perplexity of a text: how well a model predicts it.

use std::sync::atomic::AtomicBool;

use edgewen_engine::Backend;
use serde::{Deserialize, Serialize};

use crate::rows::{self, Rows};
use crate::stats::log_sum_exp;
use crate::windows::{Document, Window};
use crate::{Error, Result, Run, Watch};

/// What one window adds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The window, from 0.
    pub window: usize,
    /// The document it is of, from 0.
    pub document: usize,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Sum of their negative log-likelihoods, in nats.
    pub negative_log_likelihood: f64,
    /// Sum of the squares, for the standard error.
    pub squares: f64,
}

/// The sum over a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Score {
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Sum of their negative log-likelihoods, in nats.
    pub negative_log_likelihood: f64,
    /// Sum of the squares.
    pub squares: f64,
}

impl Score {
    /// The sum over items.
    pub fn of(items: &[Item]) -> Self {
        let mut score = Self::default();
        for item in items {
            score.tokens += item.tokens;
            score.negative_log_likelihood += item.negative_log_likelihood;
            score.squares += item.squares;
        }
        score
    }

    /// The exponential of the mean negative log-likelihood.
    pub fn perplexity(&self) -> f64 {
        libm::exp(self.mean())
    }

    /// Standard error of the perplexity, taking tokens as independent (to first order).
    pub fn standard_error(&self) -> f64 {
        let n = self.tokens as f64;
        let variance = (self.squares / n - self.mean() * self.mean()).max(0.0);
        self.perplexity() * (variance / (n - 1.0).max(1.0)).sqrt()
    }

    /// Per word and per byte, as lm-evaluation-harness names them. They mean something only if every token of the
    /// documents was predicted, as under the rolling protocol.
    pub fn by_length(&self, documents: &[Document]) -> ByLength {
        let words: usize = documents.iter().map(|document| document.words).sum();
        let bytes: usize = documents.iter().map(|document| document.bytes).sum();
        let per = |count: usize| self.negative_log_likelihood / count as f64;
        ByLength {
            word_perplexity: libm::exp(per(words)),
            byte_perplexity: libm::exp(per(bytes)),
            bits_per_byte: per(bytes) / std::f64::consts::LN_2,
        }
    }

    fn mean(&self) -> f64 {
        self.negative_log_likelihood / self.tokens as f64
    }
}

/// The same likelihood over other units than tokens, so that models with different tokenizers can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ByLength {
    /// The exponential of the negative log-likelihood per word.
    pub word_perplexity: f64,
    /// The same per byte.
    pub byte_perplexity: f64,
    /// Negative log-likelihood per byte, in bits.
    pub bits_per_byte: f64,
}

/// Scores windows without keeping the items.
///
/// # Errors
/// As [`measure`].
pub fn of_windows(backend: &mut dyn Backend, windows: &[Window]) -> Result<Score> {
    let cancel = AtomicBool::new(false);
    measure(backend, windows, &mut Run::in_memory(), &mut Watch::new(&cancel, &mut |_, _| {}))
}

/// Scores the windows that `run` has not yet.
///
/// # Errors
/// Cancellation, logits that are not finite, a run that cannot be written, and what the backend says.
pub fn measure(
    backend: &mut dyn Backend,
    windows: &[Window],
    run: &mut Run,
    watch: &mut Watch<'_>,
) -> Result<Score> {
    watch.begin(windows);
    let mut rows = Rows::new(backend);
    for (index, window) in windows.iter().enumerate() {
        if index < run.done().len() {
            watch.advance(rows::read(window))?;
            continue;
        }
        run.push(&score(&mut rows, index, window, watch)?)?;
    }
    rows.begin();
    Ok(Score::of(&run.items()?))
}

fn score(rows: &mut Rows<'_>, index: usize, window: &Window, watch: &mut Watch<'_>) -> Result<Item> {
    let vocabulary = rows.vocabulary();
    let mut item = Item {
        window: index,
        document: window.document,
        tokens: 0,
        negative_log_likelihood: 0.0,
        squares: 0.0,
    };
    rows.begin();
    for piece in rows::pieces(window) {
        let logits = rows.get(window, piece.clone(), watch)?;
        for (row, position) in logits.chunks_exact(vocabulary).zip(piece) {
            let target = window.tokens[position + 1];
            let loss = negative_log_likelihood(row, target)
                .ok_or_else(|| Error::not_finite("the model", index, position))?;
            item.tokens += 1;
            item.negative_log_likelihood += loss;
            item.squares += loss * loss;
        }
    }
    Ok(item)
}

/// `-log softmax(logits)[target]`; nothing if that is not finite.
fn negative_log_likelihood(logits: &[f32], target: u32) -> Option<f64> {
    let loss = log_sum_exp(logits)? - f64::from(logits[target as usize]);
    loss.is_finite().then_some(loss)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihood_of_equal_logits_is_one_in_as_many() {
        let loss = negative_log_likelihood(&[1.5; 8], 3).expect("finite logits");
        assert!((loss - 8f64.ln()).abs() < 1e-12, "{loss}");
        assert_eq!(negative_log_likelihood(&[1.0, f32::NAN], 0), None);
        assert_eq!(negative_log_likelihood(&[1.0, f32::INFINITY], 0), None);
    }
}
