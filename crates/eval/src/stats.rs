//! Means with their standard errors, percentiles, and sums of exponentials, all in f64.

use serde::{Deserialize, Serialize};

/// A mean and its standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// Its standard error: the sample's standard deviation (divisor n - 1) over the root of n; 0 for one value.
    pub standard_error: f64,
}

/// Mean and standard error of `values`, taking them as independent. NaN if there are none.
pub fn mean(values: &[f64]) -> Estimate {
    let n = values.len() as f64;
    let value = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - value) * (x - value)).sum();
    Estimate { value, standard_error: (squares / (n - 1.0).max(1.0) / n).sqrt() }
}

/// Sample covariance (divisor n - 1) of two lists of the same length; 0 for fewer than two values.
pub fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
    if a.len() < 2 { 0.0 } else { sum / (n - 1.0) }
}

/// The value below which `fraction` of `sorted` lies, with straight lines between neighbours. NaN if it is empty.
pub fn percentile(sorted: &[f64], fraction: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = fraction.clamp(0.0, 1.0) * last as f64;
    let (low, part) = (at as usize, at.fract());
    if part == 0.0 { sorted[low] } else { sorted[low] * (1.0 - part) + sorted[low + 1] * part }
}

/// `log(sum(exp(logits)))`; `None` if that is not finite.
pub fn log_sum_exp(logits: &[f32]) -> Option<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // `max` skips a NaN, the sum does not.
    let sum: f64 = logits.iter().map(|&logit| libm::exp(f64::from(logit) - f64::from(most))).sum();
    let result = libm::log(sum) + f64::from(most);
    result.is_finite().then_some(result)
}

/// Index of the largest logit, the first of equal ones.
pub fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if logits[best] < *logit {
            best = index;
        }
    }
    best
}
