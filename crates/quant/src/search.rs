//! The search for the scales of AWQ (Lin et al. 2023, arXiv 2306.00978, section 3.2).
//!
//! An input channel that is large on average is multiplied into the weights before rounding, s = mean|x|^alpha, and
//! divided out of the operation before. The exponent is the one with the smallest output error on the calibration
//! text. Half of the candidates also look at the weights, as AutoAWQ's `duo_scaling` does. Exponent 0, plain rounding,
//! is a candidate; another one is taken only if no part of a fused matrix gets worse.

use crate::Result;
use crate::gram::Gram;
use crate::matrix::{Fused, Metric, rows_per_task};
use crate::round::{Fit, range};
use rayon::ThreadPool;
use rayon::prelude::*;

/// Exponents tried: 0, 1/20, ..., 19/20.
const GRID: usize = 20;

/// Candidates tried in all.
pub(crate) const CANDIDATES: usize = 2 * GRID;

/// The scales of a matrix.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scaling {
    /// The exponent.
    pub(crate) alpha: f64,
    /// Whether the scales also depend on the weights.
    pub(crate) duo: bool,
    /// One a column; `None` is no scaling.
    pub(crate) scales: Option<Vec<f32>>,
}

/// What the search found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// The best scales.
    pub(crate) scaling: Scaling,
    /// Error of plain rounding, one a part.
    pub(crate) plain: Vec<f64>,
}

/// Tries all exponents. Inputs with the same number in `ties` get the same scale. `tick` is called before each candidate
/// and may end the search.
pub(crate) fn search(
    fused: &Fused,
    gram: &Gram,
    ties: Option<&[usize]>,
    workers: &ThreadPool,
    tick: &mut dyn FnMut() -> Result<()>,
) -> Result<Found> {
    tick()?;
    let metric = Metric::Output(gram);
    let plain = workers.install(|| plain_errors(fused, metric))?;
    let mut best = Scaling::default();
    let mut best_sum: f64 = plain.iter().sum();
    let mut activations = gram.mean_absolute();
    let mut weights = relative_weights(fused);
    if let Some(ties) = ties {
        share(&mut activations, ties);
        share(&mut weights, ties);
    }
    for duo in [false, true] {
        for step in usize::from(!duo)..GRID {
            tick()?;
            let alpha = step as f64 / GRID as f64;
            let scales = candidate(&activations, duo.then_some(&weights), alpha);
            let Some(errors) = workers.install(|| errors(fused, metric, Some(&scales))) else { continue };
            let sum: f64 = errors.iter().sum();
            if sum < best_sum && errors.iter().zip(&plain).all(|(error, plain)| error <= plain) {
                best_sum = sum;
                best = Scaling { alpha, duo, scales: Some(scales) };
            }
        }
    }
    Ok(Found { scaling: best, plain })
}

/// Error of plain rounding, one a part.
pub(crate) fn plain_errors(fused: &Fused, metric: Metric<'_>) -> Result<Vec<f64>> {
    errors(fused, metric, None).ok_or_else(|| {
        let rows = fused.weights.chunks_exact(fused.inputs);
        let bad = |row: &[f32]| row.chunks(fused.group.get()).any(|w| fit(w).is_none());
        fused.too_large(rows.into_iter().position(bad).unwrap_or(0))
    })
}

/// The scales of one exponent, normalized so that the largest times the smallest is 1.
fn candidate(activations: &[f32], weights: Option<&Vec<f32>>, alpha: f64) -> Vec<f32> {
    let alpha = alpha as f32;
    let mut scales: Vec<f32> = match weights {
        None => activations.iter().map(|x| x.powf(alpha).max(1e-4)).collect(),
        Some(weights) => {
            let scale = |(x, w): (&f32, &f32)| x.powf(alpha) / (w.powf(1.0 - alpha) + 1e-4);
            activations.iter().zip(weights).map(scale).map(|s| s.max(1e-4)).collect()
        }
    };
    let largest = scales.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let smallest = scales.iter().copied().fold(f32::MAX, f32::min);
    let middle = largest.sqrt() * smallest.sqrt();
    scales.iter_mut().for_each(|s| *s /= middle);
    scales
}

/// Gives values with the same number their mean.
fn share(values: &mut [f32], ties: &[usize]) {
    let mut sums = vec![(0.0f32, 0.0f32); values.len()];
    for (value, &tie) in values.iter().zip(ties) {
        sums[tie] = (sums[tie].0 + value, sums[tie].1 + 1.0);
    }
    values.iter_mut().zip(ties).for_each(|(value, &tie)| *value = sums[tie].0 / sums[tie].1);
}

/// For each column the mean over the rows of |w| / max |w in its group|.
fn relative_weights(fused: &Fused) -> Vec<f32> {
    let mut sums = vec![0.0f64; fused.inputs];
    for row in fused.weights.chunks_exact(fused.inputs) {
        for (sums, group) in sums.chunks_mut(fused.group.get()).zip(row.chunks(fused.group.get())) {
            let (low, high) = range(group);
            let largest = high.max(-low).max(1e-6);
            sums.iter_mut().zip(group).for_each(|(sum, w)| *sum += f64::from(w.abs() / largest));
        }
    }
    sums.iter().map(|&sum| (sum / fused.rows() as f64) as f32).collect()
}

fn fit(weights: &[f32]) -> Option<Fit> {
    let (low, high) = range(weights);
    Fit::four(low, high)
}

/// Error of rounding with these scales, one a part; `None` if a group does not fit the format.
fn errors(fused: &Fused, metric: Metric<'_>, scales: Option<&[f32]>) -> Option<Vec<f64>> {
    let n = fused.inputs;
    let inverse: Option<Vec<f32>> = scales.map(|s| s.iter().map(|s| 1.0 / s).collect());
    let rows = rows_per_task(fused.rows());
    let energies: Option<Vec<Vec<f64>>> = fused
        .weights
        .par_chunks(rows * n)
        .map(|weights| {
            let mut changes = vec![0.0; weights.len()];
            let mut scaled = vec![0.0; n];
            for (row, changes) in weights.chunks_exact(n).zip(changes.chunks_exact_mut(n)) {
                match scales {
                    None => scaled.copy_from_slice(row),
                    Some(s) => scaled.iter_mut().zip(row.iter().zip(s)).for_each(|(o, (w, s))| *o = w * s),
                }
                let size = fused.group.get();
                for (group, out) in scaled.chunks(size).zip(changes.chunks_mut(size)) {
                    fit(group)?.round_into(group, out);
                }
                if let Some(inverse) = &inverse {
                    changes.iter_mut().zip(inverse).for_each(|(d, i)| *d *= i);
                }
                changes.iter_mut().zip(row).for_each(|(d, w)| *d -= w);
            }
            Some(metric.energies(&changes, weights.len() / n))
        })
        .collect();
    let energies = energies?.concat();
    Some(fused.parts.iter().map(|part| energies[part.rows.clone()].iter().sum()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{ClipBlocks, Plan, apply};
    use crate::matrix::Part;
    use edgewen_layout::{GroupSize, WeightBits};
    use rand_pcg::Pcg64Mcg;
    use rand_pcg::rand_core::{Rng, SeedableRng};

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        (0..count).map(|_| random.next_u32() as f32 / 2.0f32.powi(31) - 1.0).collect()
    }

    fn matrix(weights: Vec<f32>, inputs: usize) -> Fused {
        let parts = vec![Part { name: "some.weight".into(), rows: 0..weights.len() / inputs, clip: true }];
        Fused { packed: "some".into(), parts, weights, inputs, group: GroupSize::G64 }
    }

    /// Inputs of which every sixteenth is ten times as large, and every ninth always 0.
    fn gram(inputs: usize) -> Gram {
        let mut x = random(200 * inputs, 3);
        for row in x.chunks_exact_mut(inputs) {
            row.iter_mut().step_by(16).for_each(|x| *x *= 10.0);
            row.iter_mut().step_by(9).for_each(|x| *x = 0.0);
        }
        let mut gram = Gram::new(inputs);
        gram.add(&x);
        gram
    }

    #[test]
    fn large_inputs_are_protected() {
        let workers = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        for inputs in [64, 150, 700] {
            let fused = matrix(random(40 * inputs, 4), inputs);
            let gram = gram(inputs);
            let mut ticks = 0;
            let mut tick = || {
                ticks += 1;
                Ok(())
            };
            let found = search(&fused, &gram, None, &workers, &mut tick).unwrap();
            assert_eq!(ticks, CANDIDATES);
            let scales = found.scaling.scales.unwrap();
            assert!(scales.iter().all(|s| s.is_finite() && *s > 0.0));
            let blocks = ClipBlocks::new(&gram, 64, 0.0);
            let errors = |scales, clip| {
                let metric = Metric::Output(&gram);
                let plan = Plan { bits: WeightBits::Four, scales, row_factors: None, metric, clip };
                apply(&fused, &plan).unwrap().errors[0]
            };
            // The same arithmetic on both sides, so that "never larger" can be exact.
            assert_eq!(errors(None, None), found.plain[0]);
            let scaled = errors(Some(&scales), None);
            assert!(scaled < 0.8 * found.plain[0], "{inputs}: {scaled} of {}", found.plain[0]);
            assert!(errors(Some(&scales), Some(&blocks)) <= scaled);
        }
    }

    #[test]
    fn names_the_tensor_whose_weights_are_too_large() {
        let mut weights = random(8 * 100, 6);
        weights[5 * 100 + 70] = -3e6;
        let error = plain_errors(&matrix(weights, 100), Metric::Weight).unwrap_err().to_string();
        assert!(error.contains("some.weight: the weights of row 5 reach -3000000"), "{error}");
    }

    #[test]
    fn zero_and_tiny_weights_make_no_nan() {
        let workers = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        for factor in [0.0, 1e-8, 1e-30, 1e-44] {
            let fused = matrix(random(5 * 100, 8).iter().map(|w| w * factor).collect(), 100);
            let found = search(&fused, &gram(100), None, &workers, &mut || Ok(())).unwrap();
            assert!(found.plain[0].is_finite());
            let scales = found.scaling.scales.as_deref();
            let metric = Metric::Weight;
            let plan = Plan { bits: WeightBits::Four, scales, row_factors: None, metric, clip: None };
            let rounded = apply(&fused, &plan).unwrap();
            assert!(rounded.errors[0].is_finite());
            assert!(rounded.matrix.scales.iter().all(|scale| scale.is_finite()));
        }
    }
}
