//! The range of each group before its weights are rounded.
//!
//! The low and the high end are narrowed independently, each combination judged by the group's own block of the Gram
//! matrix. That leaves out how the groups' errors add up, so the caller judges each row by the whole matrix again.

use crate::gram::dot;
use crate::objective::Objective;
use crate::round::{Fit, range};
use edgewen_kernels::matmul::{View, matmul};

/// The whole range of each group of `weights` [rows, n]; `None` for a row whose scale does not fit.
pub(crate) fn whole(weights: &[f32], n: usize, size: usize) -> Vec<Option<Fit>> {
    let groups = weights.chunks_exact(n).flat_map(|row| row.chunks(size));
    groups.map(range).map(|(low, high)| Fit::four(low, high)).collect()
}

/// The best of `factors` x `factors` ranges of each group; `fits` are the whole ones.
pub(crate) fn narrow(weights: &[f32], objective: &Objective, fits: &[Fit], factors: &[f32]) -> Vec<Fit> {
    let n = objective.n;
    let (rows, groups, size) = (weights.len() / n, objective.blocks.len(), objective.size);
    let count = factors.len() * factors.len();
    let mut best = fits.to_vec();
    let mut changes = vec![0.0; rows * count * size];
    let mut products = changes.clone();
    let mut candidates = Vec::with_capacity(rows * count);
    for (group, block) in objective.blocks.iter().enumerate() {
        let (columns, width) = (block.columns.clone(), block.columns.len());
        candidates.clear();
        for row in 0..rows {
            let whole = fits[row * groups + group];
            let weights = &weights[row * n..][columns.clone()];
            let (low, high) = range(weights);
            for candidate in 0..count {
                let fit = Fit::four(
                    low * factors[candidate / factors.len()],
                    high * factors[candidate % factors.len()],
                );
                let fit = if candidate == 0 { whole } else { fit.unwrap_or(whole) };
                let out = &mut changes[(row * count + candidate) * width..][..width];
                fit.round_into(weights, out);
                out.iter_mut().zip(weights).for_each(|(d, w)| *d -= w);
                candidates.push(fit);
            }
        }
        let changes = &changes[..rows * count * width];
        matmul(
            View::new(changes, rows * count, width, width),
            View::new(&block.h, width, width, width),
            &mut products,
            width,
        );
        for row in 0..rows {
            let error = |candidate: usize| {
                let at = (row * count + candidate) * width;
                dot(&changes[at..at + width], &products[at..at + width])
            };
            let mut least = (0, error(0));
            for candidate in 1..count {
                let error = error(candidate);
                if error < least.1 {
                    least = (candidate, error);
                }
            }
            best[row * groups + group] = candidates[row * count + least.0];
        }
    }
    best
}
