//! Rounding with error feedback: GPTQ (Frantar et al. 2022, arXiv 2210.17323).
//!
//! Columns are rounded one after the other; what is left of each one's error is made up for by the columns that are
//! still free. With H = L Lᵀ, L lower triangular, |d L|² is a sum over columns, of which column j sees only d from j on:
//! going from the last column to the first, w_j - sum over i > j of d_i L_ij / L_jj is what column j should become. That
//! is the same as the published updates with the inverse, without the inverse. Columns come in the order of their
//! energy (act-order) with the ranges of the groups fixed before (static groups), so that the layout stays as it is.

use crate::objective::Objective;
use crate::round::Fit;
use edgewen_kernels::matmul::{View, matmul};

/// Columns between two products with the whole factor.
const BLOCK: usize = 64;

/// The changes `q - target` [rows, n] with the ranges `fits` [rows, groups].
pub(crate) fn round(target: &[f32], objective: &Objective, fits: &[Fit]) -> Vec<f32> {
    let Objective { n, order, factor, size, blocks, .. } = objective;
    let n = *n;
    let (rows, groups) = (target.len() / n, blocks.len());
    // In the order of the factor.
    let mut changes = vec![0.0f32; target.len()];
    let mut sums = vec![0.0f32; rows * BLOCK];
    let starts: Vec<usize> = (0..n).step_by(BLOCK).collect();
    for &start in starts.iter().rev() {
        let end = n.min(start + BLOCK);
        let width = end - start;
        let sums = &mut sums[..rows * width];
        if end < n {
            let left = View::new(&changes[end..], rows, n - end, n);
            matmul(left, View::new(&factor[end * n + start..], n - end, width, n), sums, width);
        }
        for (row, (changes, sums)) in
            changes.chunks_exact_mut(n).zip(sums.chunks_exact_mut(width)).enumerate()
        {
            let target = &target[row * n..][..n];
            let fits = &fits[row * groups..][..groups];
            for j in (start..end).rev() {
                let column = order[j];
                let l = &factor[j * n + start..][..=j - start];
                let wanted = target[column] - sums[j - start] / l[j - start];
                let change = fits[column / size].rounded(wanted) - target[column];
                changes[j] = change;
                sums.iter_mut().zip(l).for_each(|(sum, l)| *sum += change * l);
            }
        }
    }
    let mut result = vec![0.0; target.len()];
    for (result, changes) in result.chunks_exact_mut(n).zip(changes.chunks_exact(n)) {
        changes.iter().zip(order).for_each(|(change, &column)| result[column] = *change);
    }
    result
}
