//! The statistics of a comparison, with the formulas of `llama-perplexity`'s `kl_divergence` (tools/perplexity of
//! llama.cpp), except that nothing is rounded to 32 bits on the way.

use serde::{Deserialize, Serialize};

use super::Item;
use crate::stats::{Estimate, covariance, mean, percentile};
use crate::{Error, Result};

/// How values are spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it: p99_9 is the value below which 99.9 % lie")]
pub struct Distribution {
    /// Their mean.
    pub mean: Estimate,
    pub maximum: f64,
    pub p99_9: f64,
    pub p99: f64,
    pub p95: f64,
    pub p90: f64,
    pub p75: f64,
    pub median: f64,
    pub p25: f64,
    pub p10: f64,
    pub p5: f64,
    pub p1: f64,
    pub p0_1: f64,
    pub minimum: f64,
}

impl Distribution {
    /// Of some values; NaN if there are none.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |fraction| percentile(&sorted, fraction);
        Self {
            mean: mean(values),
            maximum: at(1.0),
            p99_9: at(0.999),
            p99: at(0.99),
            p95: at(0.95),
            p90: at(0.9),
            p75: at(0.75),
            median: at(0.5),
            p25: at(0.25),
            p10: at(0.1),
            p5: at(0.05),
            p1: at(0.01),
            p0_1: at(0.001),
            minimum: at(0.0),
        }
    }
}

/// What a comparison of a model with a reference gives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Tokens that were predicted.
    pub tokens: usize,
    /// Divergence from the reference, in nats.
    pub kl: Distribution,
    /// Share of tokens for which both find the same token likeliest.
    pub same_top: Estimate,
    /// Probability that the model gives to the text's token less the one that the reference gives.
    pub probability_difference: Distribution,
    /// The root of the mean of its square.
    pub rms_probability_difference: Estimate,
    /// Perplexity of the model.
    pub perplexity: Estimate,
    /// Perplexity of the reference.
    pub reference_perplexity: Estimate,
    /// Correlation of the two negative log-likelihoods.
    pub correlation: f64,
    /// Natural logarithm of the ratio of the perplexities.
    pub ln_ratio: Estimate,
    /// The ratio.
    pub ratio: Estimate,
    /// The model's perplexity less the reference's.
    pub difference: Estimate,
}

impl Statistics {
    /// Of the items of a run.
    ///
    /// # Errors
    /// No predicted token, or an item whose lists differ in length.
    pub fn of(items: &[Item]) -> Result<Self> {
        let wrong = |value: String, expected: &str| Error::Option {
            name: "the item file",
            value,
            expected: expected.to_string(),
        };
        for item in items {
            let lengths = [item.nll.len(), item.reference_nll.len(), item.same_top.len()];
            if lengths != [item.kl.len(); 3] {
                return Err(wrong(format!("damaged in window {}", item.window), "lists of one length"));
            }
        }
        let all = |list: fn(&Item) -> &[f64]| -> Vec<f64> { items.iter().flat_map(list).copied().collect() };
        let (kl, nll, reference_nll) =
            (all(|item| &item.kl), all(|item| &item.nll), all(|item| &item.reference_nll));
        if kl.is_empty() {
            return Err(wrong("empty".to_string(), "at least one predicted token"));
        }
        let n = kl.len() as f64;
        let delta = |(nll, reference): (&f64, &f64)| libm::exp(-nll) - libm::exp(-reference);
        let differences: Vec<f64> = nll.iter().zip(&reference_nll).map(delta).collect();
        let squares: Vec<f64> = differences.iter().map(|x| x * x).collect();

        let (loss, reference_loss) = (mean(&nll), mean(&reference_nll));
        // Variance of the means, and their covariance: the tokens are the same, so the difference is surer than either.
        let (variance, reference_variance) =
            (loss.standard_error.powi(2), reference_loss.standard_error.powi(2));
        let covariance = covariance(&nll, &reference_nll) / n;
        let ln_ratio = Estimate {
            value: loss.value - reference_loss.value,
            standard_error: (variance + reference_variance - 2.0 * covariance).max(0.0).sqrt(),
        };
        let (perplexity, reference_perplexity) = (exponential(loss), exponential(reference_loss));
        let difference = Estimate {
            value: perplexity.value - reference_perplexity.value,
            standard_error: (perplexity.standard_error.powi(2) + reference_perplexity.standard_error.powi(2)
                - 2.0 * perplexity.value * reference_perplexity.value * covariance)
                .max(0.0)
                .sqrt(),
        };
        let mean_square = mean(&squares);
        let root = mean_square.value.sqrt();
        let rms_error = if root == 0.0 { 0.0 } else { 0.5 / root * mean_square.standard_error };
        let same = items.iter().flat_map(|item| &item.same_top).filter(|&&same| same != 0).count() as f64 / n;
        let spread = loss.standard_error * reference_loss.standard_error;
        Ok(Self {
            tokens: kl.len(),
            kl: Distribution::of(&kl),
            same_top: Estimate {
                value: same,
                standard_error: (same * (1.0 - same) / (n - 1.0).max(1.0)).sqrt(),
            },
            probability_difference: Distribution::of(&differences),
            rms_probability_difference: Estimate { value: root, standard_error: rms_error },
            perplexity,
            reference_perplexity,
            correlation: if spread == 0.0 { 0.0 } else { covariance / spread },
            ln_ratio,
            ratio: exponential(ln_ratio),
            difference,
        })
    }
}

/// `exp` of an estimate, with its error to first order.
fn exponential(estimate: Estimate) -> Estimate {
    let value = libm::exp(estimate.value);
    Estimate { value, standard_error: value * estimate.standard_error }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn equal_predictions_differ_in_nothing() {
        let nll = vec![0.5, 1.0, 2.0, 0.1];
        let item = Item {
            kl: vec![0.0; 4],
            reference_nll: nll.clone(),
            nll,
            same_top: vec![1; 4],
            ..Item::default()
        };
        let found = Statistics::of(&[item]).unwrap();
        assert_eq!((found.tokens, found.kl.mean.value, found.same_top.value), (4, 0.0, 1.0));
        assert!(found.ln_ratio.value == 0.0 && found.ln_ratio.standard_error < 1e-9);
        assert_eq!(found.difference.value, 0.0);
        assert_eq!(found.rms_probability_difference, Estimate::default());
        assert!((found.correlation - 1.0).abs() < 1e-12);
        assert!((found.perplexity.value - 0.9f64.exp()).abs() < 1e-12);
    }

    #[test]
    fn the_error_of_the_ratio_is_that_of_the_paired_differences() {
        let (nll, reference_nll) = (vec![1.0, 2.5, 0.3, 4.0, 1.1], vec![0.9, 2.0, 0.5, 3.5, 1.0]);
        let paired: Vec<f64> = nll.iter().zip(&reference_nll).map(|(a, b)| a - b).collect();
        let item =
            Item { kl: vec![0.1; 5], nll, reference_nll, same_top: vec![1, 1, 0, 1, 0], ..Item::default() };
        let found = Statistics::of(&[item]).unwrap();
        let expected = mean(&paired);
        assert!((found.ln_ratio.value - expected.value).abs() < 1e-12);
        assert!((found.ln_ratio.standard_error - expected.standard_error).abs() < 1e-12);
        assert!((found.same_top.value - 0.6).abs() < 1e-12);
        assert!((found.same_top.standard_error - (0.24f64 / 4.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn percentiles_are_between_their_neighbors() {
        let values: Vec<f64> = (0..=1000).rev().map(f64::from).collect();
        let found = Distribution::of(&values);
        assert_eq!((found.minimum, found.median, found.maximum), (0.0, 500.0, 1000.0));
        assert!((found.p99_9 - 999.0).abs() < 1e-9 && (found.p0_1 - 1.0).abs() < 1e-9);
        assert!((Distribution::of(&[1.0, 2.0]).p25 - 1.25).abs() < 1e-12);
    }

    #[test]
    fn damaged_and_empty_items_are_refused() {
        assert!(Statistics::of(&[]).is_err());
        let item = Item { window: 3, kl: vec![0.0], ..Item::default() };
        assert!(Statistics::of(&[item]).unwrap_err().to_string().contains("window 3"));
    }
}
