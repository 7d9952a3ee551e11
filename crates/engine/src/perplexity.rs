//! Perplexity of a text: how well a model predicts it.
//!
//! A text is cut into documents (or is one), each into windows of the context's length. A window begins `stride`
//! tokens after the one before it and scores only the tokens that no window has scored yet, so that a stride smaller
//! than the context gives every scored token more context, at more cost. The first token of a document, which is
//! BOS where the tokenizer adds one, is never scored: there is nothing to predict it from.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Backend, Batch, Error, Forward, Result};

/// Tokens of a forward pass, and rows of logits at a time: 32 rows of Qwen2.5's vocabulary are 19 MB.
const BATCH_TOKENS: usize = 512;
const HEAD_ROWS: usize = 32;

/// The cache that is used.
const SLOT: usize = 0;

/// How to cut the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Tokens of a window, BOS included.
    pub context: usize,
    /// Tokens from one window to the next; `None` is all of a window.
    pub stride: Option<usize>,
    /// Whether a document longer than a window is cut off there instead of continued in the next one.
    pub first_window_only: bool,
}

/// The sum over a text.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// Documents.
    pub documents: usize,
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Sum of their negative log-likelihoods, in nats.
    pub negative_log_likelihood: f64,
    /// Sum of the squares, for the standard error.
    pub squares: f64,
}

impl Score {
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

    fn mean(&self) -> f64 {
        self.negative_log_likelihood / self.tokens as f64
    }

    fn add(&mut self, negative_log_likelihood: f64) {
        self.tokens += 1;
        self.negative_log_likelihood += negative_log_likelihood;
        self.squares += negative_log_likelihood * negative_log_likelihood;
    }
}

/// A run of tokens that is computed together: `tokens[scored..]` are predicted.
struct Window<'a> {
    tokens: &'a [u32],
    scored: usize,
}

/// Scores documents, each given as tokens that begin with BOS where the model's tokenizer adds one.
///
/// `progress` is called with the tokens done and the tokens in all.
///
/// # Errors
/// Bad options, no token to predict, cancellation, and what the backend says.
pub fn score(
    backend: &mut dyn Backend,
    documents: &[Vec<u32>],
    options: &Options,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Score> {
    let stride = options.stride.unwrap_or(options.context.saturating_sub(1));
    check(options.context, stride, backend.config().max_position)?;
    let windows: Vec<Window<'_>> =
        documents.iter().flat_map(|document| windows(document, options, stride)).collect();
    let total: usize = windows.iter().map(|window| window.tokens.len()).sum();
    let mut forward = Forward::default();
    let mut result = Score { documents: documents.len(), ..Score::default() };
    let mut done = 0;
    for window in &windows {
        backend.truncate(SLOT, 0);
        for (index, piece) in window.tokens.chunks(BATCH_TOKENS).enumerate() {
            if cancel.load(Ordering::SeqCst) {
                return Err(Error::Cancelled);
            }
            let start = index * BATCH_TOKENS;
            forward.hidden(backend, &Batch::one(SLOT, start, piece))?;
            score_piece(backend, &mut forward, window, start, piece.len(), &mut result)?;
            done += piece.len();
            progress(done, total);
        }
    }
    backend.truncate(SLOT, 0);
    if result.tokens == 0 {
        return Err(Error::Option {
            name: "the text",
            value: "too short".to_string(),
            expected: "at least two tokens in one document",
        });
    }
    Ok(result)
}

fn check(context: usize, stride: usize, most: usize) -> Result<()> {
    if context < 2 || most < context {
        let expected = "2 to the context that the model was made for";
        return Err(Error::Option { name: "context", value: context.to_string(), expected });
    }
    if stride == 0 || context <= stride {
        let expected = "1 to one less than the context";
        return Err(Error::Option { name: "stride", value: stride.to_string(), expected });
    }
    Ok(())
}

/// The windows of a document. The token before the first scored one is always in the window, to predict it from.
fn windows<'a>(document: &'a [u32], options: &Options, stride: usize) -> Vec<Window<'a>> {
    let mut result = Vec::new();
    // The first token has nothing to be predicted from.
    let mut scored = 1;
    let mut start = 0;
    while scored < document.len() {
        let end = document.len().min(start + options.context);
        result.push(Window { tokens: &document[start..end], scored: scored - start });
        if options.first_window_only {
            break;
        }
        scored = end;
        start += stride;
    }
    result
}

/// Adds the predictions that the tokens `start..start + len` of a window make.
fn score_piece(
    backend: &mut dyn Backend,
    forward: &mut Forward,
    window: &Window<'_>,
    start: usize,
    len: usize,
    result: &mut Score,
) -> Result<()> {
    let vocabulary = backend.config().vocab_size;
    // The logits of token t predict token t + 1.
    let first = start.max(window.scored - 1);
    let end = (start + len).min(window.tokens.len() - 1);
    let mut at = first;
    while at < end {
        let next = end.min(at + HEAD_ROWS);
        let logits = forward.head(backend, at - start..next - start)?;
        for (row, &target) in logits.chunks_exact(vocabulary).zip(&window.tokens[at + 1..]) {
            result.add(negative_log_likelihood(row, target)?);
        }
        at = next;
    }
    Ok(())
}

/// `-log softmax(logits)[target]`, in f64.
fn negative_log_likelihood(logits: &[f32], target: u32) -> Result<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !most.is_finite() || logits.iter().any(|logit| logit.is_nan()) {
        return Err(Error::NonFiniteLogits);
    }
    let sum: f64 = logits.iter().map(|&logit| libm::exp(f64::from(logit - most))).sum();
    Ok(libm::log(sum) + f64::from(most) - f64::from(logits[target as usize]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(len: u32, context: usize, stride: usize, first_window_only: bool) -> Vec<(Vec<u32>, usize)> {
        let document: Vec<u32> = (0..len).collect();
        let options = Options { context, stride: Some(stride), first_window_only };
        windows(&document, &options, stride)
            .into_iter()
            .map(|window| (window.tokens.to_vec(), window.scored))
            .collect()
    }

    #[test]
    fn every_token_but_the_first_is_scored_once() {
        for (len, context, stride) in [(10, 4, 3), (10, 4, 2), (10, 4, 1), (11, 5, 4), (3, 8, 7), (2, 2, 1)] {
            let mut scored: Vec<u32> = cut(len, context, stride, false)
                .iter()
                .flat_map(|(tokens, first)| tokens[*first..].to_vec())
                .collect();
            scored.sort_unstable();
            assert_eq!(
                scored,
                (1..len).collect::<Vec<_>>(),
                "{len} tokens, context {context}, stride {stride}"
            );
        }
    }

    #[test]
    fn a_cut_document_has_one_window() {
        assert_eq!(cut(10, 4, 3, true), [(vec![0, 1, 2, 3], 1)]);
        assert!(cut(1, 4, 3, true).is_empty());
    }

    #[test]
    fn likelihood_of_equal_logits_is_one_in_as_many() {
        let loss = negative_log_likelihood(&[1.5; 8], 3).expect("finite logits");
        assert!((loss - 8f64.ln()).abs() < 1e-12, "{loss}");
    }

    #[test]
    fn impossible_windows_are_refused() {
        for (context, stride) in [(1, 1), (8, 0), (8, 8), (65, 1)] {
            assert!(check(context, stride, 64).is_err(), "context {context}, stride {stride}");
        }
    }
}
