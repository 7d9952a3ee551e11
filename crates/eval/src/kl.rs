//! How far a model's predictions are from those of a reference, token by token.
//!
//! For every predicted token: the Kullback-Leibler divergence of the model's distribution from the reference's, over
//! the whole vocabulary, and the probability that each gives to the token of the text. All in f64 from the f32
//! logits. The statistics are those that `llama-perplexity --kl-divergence` prints; `statistics` has them.

mod statistics;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::{Deserialize, Serialize};

pub use statistics::{Distribution, Statistics};

use crate::reference_logits::{Reference, Stored};
use crate::rows::{self, Rows};
use crate::stats::{argmax, log_sum_exp};
use crate::windows::Window;
use crate::{Error, Result, Run, Watch};

/// One prediction of both models.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Divergence of the model from the reference, in nats.
    pub kl: f64,
    /// Negative log-likelihood of the text's token by the model, in nats.
    pub nll: f64,
    /// The same by the reference.
    pub reference_nll: f64,
    /// Whether both find the same token likeliest (the first of equal ones).
    pub same_top: bool,
}

impl Row {
    /// Of two rows of logits over the same vocabulary; `None` if some are not finite.
    ///
    /// # Panics
    /// If `target` is outside the vocabulary.
    pub fn of(reference: &[f32], logits: &[f32], target: u32) -> Option<Self> {
        let (reference_sum, sum) = (log_sum_exp(reference)?, log_sum_exp(logits)?);
        let id = target as usize;
        let row = Self {
            kl: divergence_with(reference, reference_sum, logits, sum),
            nll: sum - f64::from(logits[id]),
            reference_nll: reference_sum - f64::from(reference[id]),
            same_top: argmax(reference) == argmax(logits),
        };
        (row.kl.is_finite() && row.nll.is_finite() && row.reference_nll.is_finite()).then_some(row)
    }
}

/// Kullback-Leibler divergence of `softmax(logits)` from `softmax(reference)`, in nats: the sum of `p (log p - log q)`;
/// `None` if some logits are not finite. Rounding can make it a little less than 0.
pub fn divergence(reference: &[f32], logits: &[f32]) -> Option<f64> {
    let kl = divergence_with(reference, log_sum_exp(reference)?, logits, log_sum_exp(logits)?);
    kl.is_finite().then_some(kl)
}

fn divergence_with(reference: &[f32], reference_sum: f64, logits: &[f32], sum: f64) -> f64 {
    let term = |(&r, &l): (&f32, &f32)| {
        let log_p = f64::from(r) - reference_sum;
        let p = libm::exp(log_p);
        // A probability of 0 adds nothing, whatever the other one is.
        if p == 0.0 { 0.0 } else { p * (log_p - (f64::from(l) - sum)) }
    };
    reference.iter().zip(logits).map(term).sum()
}

/// What one window adds, with one entry for each predicted token.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// The window, from 0.
    pub window: usize,
    /// The document it is of, from 0.
    pub document: usize,
    /// Divergences in nats.
    pub kl: Vec<f64>,
    /// Negative log-likelihoods of the text's tokens by the model, in nats.
    pub nll: Vec<f64>,
    /// The same by the reference.
    pub reference_nll: Vec<f64>,
    /// 1 where both find the same token likeliest, else 0.
    pub same_top: Vec<u8>,
}

impl Item {
    pub(crate) fn push(&mut self, row: Row) {
        self.kl.push(row.kl);
        self.nll.push(row.nll);
        self.reference_nll.push(row.reference_nll);
        self.same_top.push(row.same_top.into());
    }
}

/// A model, with the name that messages give it.
pub struct Subject<'a> {
    /// What the user called it.
    pub name: &'a str,
    /// Where it runs.
    pub backend: &'a mut dyn edgewen_engine::Backend,
}

/// Compares a model with a reference on the windows that `run` has not yet, on `threads` threads beside those of the
/// backends.
///
/// # Errors
/// Different vocabularies, cancellation, logits that are not finite, a run that cannot be written, and what the
/// backends say.
pub fn measure(
    model: Subject<'_>,
    reference: Reference<'_>,
    windows: &[Window],
    run: &mut Run,
    watch: &mut Watch<'_>,
    threads: usize,
) -> Result<Statistics> {
    let vocabulary = model.backend.config().vocab_size;
    let (reference_name, reference_vocabulary) = (reference.name().to_string(), reference.vocabulary());
    if vocabulary != reference_vocabulary {
        return Err(Error::Incomparable {
            model: model.name.to_string(),
            reference: reference_name,
            problem: format!("their vocabularies have {vocabulary} and {reference_vocabulary} tokens"),
        });
    }
    let pool = pool(threads)?;
    watch.begin(windows);
    let mut model_rows = Rows::new(model.backend);
    let mut reference_rows = match reference {
        Reference::Model(reference) => ReferenceRows::Model(Box::new(Rows::new(reference.backend))),
        Reference::Stored(stored) => ReferenceRows::Stored(stored),
    };
    for (index, window) in windows.iter().enumerate() {
        if index < run.done().len() {
            watch.advance(rows::read(window))?;
            continue;
        }
        let mut item = Item { window: index, document: window.document, ..Item::default() };
        model_rows.begin();
        reference_rows.begin();
        for piece in rows::pieces(window) {
            let reference = reference_rows.get(index, window, piece.clone(), watch)?;
            let logits = model_rows.get(window, piece.clone(), watch)?;
            let targets = &window.tokens[piece.start + 1..=piece.end];
            let compared: Vec<Option<Row>> = pool.install(|| {
                reference
                    .par_chunks_exact(vocabulary)
                    .zip(logits.par_chunks_exact(vocabulary))
                    .zip(targets)
                    .map(|((reference, logits), &target)| Row::of(reference, logits, target))
                    .collect()
            });
            for ((row, position), logits) in
                compared.into_iter().zip(piece).zip(logits.chunks_exact(vocabulary))
            {
                let name = if log_sum_exp(logits).is_none() { model.name } else { &reference_name };
                item.push(row.ok_or_else(|| Error::not_finite(name, index, position))?);
            }
        }
        run.push(&item)?;
    }
    model_rows.begin();
    Statistics::of(&run.items()?)
}

pub(crate) fn pool(threads: usize) -> Result<ThreadPool> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| edgewen_engine::Error::Backend(format!("cannot start threads: {error}")).into())
}

enum ReferenceRows<'a> {
    Model(Box<Rows<'a>>),
    Stored(&'a mut Stored),
}

impl ReferenceRows<'_> {
    fn begin(&mut self) {
        if let Self::Model(rows) = self {
            rows.begin();
        }
    }

    fn get(
        &mut self,
        index: usize,
        window: &Window,
        piece: std::ops::Range<usize>,
        watch: &mut Watch<'_>,
    ) -> Result<&[f32]> {
        match self {
            // The tokens count once, when the measured model has read them.
            Self::Model(rows) => rows.get(window, piece, &mut watch.silent()),
            Self::Stored(stored) => stored.rows(index, window, piece),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn divergence_is_that_of_the_definition() {
        let (reference, logits) = ([0.5f32, -1.0, 2.0, 0.0], [0.0f32, -0.5, 1.0, 3.0]);
        let softmax = |logits: [f32; 4]| {
            let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
            logits.map(|x| f64::from(x).exp() / sum)
        };
        let (p, q) = (softmax(reference), softmax(logits));
        let expected: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        assert!((divergence(&reference, &logits).unwrap() - expected).abs() < 1e-14);
        let row = Row::of(&reference, &logits, 3).unwrap();
        assert!((row.nll + q[3].ln()).abs() < 1e-14 && (row.reference_nll + p[3].ln()).abs() < 1e-14);
        assert!(!row.same_top);
        assert_eq!(Row::of(&reference, &reference, 0).unwrap().kl, 0.0);
    }

    #[test]
    fn impossible_tokens_of_the_reference_add_nothing() {
        let kl = divergence(&[0.0, -2000.0], &[0.0, 0.0]).unwrap();
        assert!((kl - 2f64.ln()).abs() < 1e-14, "{kl}");
    }

    #[test]
    fn logits_that_are_not_finite_have_no_divergence() {
        for bad in [f32::NAN, f32::INFINITY] {
            assert_eq!(divergence(&[0.0, bad], &[0.0, 0.0]), None);
            assert_eq!(Row::of(&[0.0, 0.0], &[bad, 0.0], 1), None);
        }
        // A token that the model finds impossible and the reference does not: the divergence is infinite.
        assert_eq!(divergence(&[0.0, 0.0], &[0.0, f32::NEG_INFINITY]), None);
    }
}
