//! What rounding is to make small, for one matrix with its scales multiplied in.
//!
//! For a row w of the matrix and its rounded row q the outputs on the calibration text differ by (q - w) Y, and with
//! H = Y Yᵀ the energy of the difference is d H dᵀ, d = q - w. If the rows are to give what the original model gives on
//! its own inputs, w Y + e, then the energy is d H dᵀ - 2 d r + |e|² with r = Y eᵀ (the asymmetric calibration of GPTAQ,
//! Li et al. 2025, arXiv 2504.02692). The diagonal of H is damped, so that inputs the text hardly uses keep their weights
//! and what two inputs have in common by chance is not relied on.

use crate::cholesky;
use crate::gram::{Gram, dot};
use edgewen_kernels::matmul::{View, matmul};
use rayon::prelude::*;
use std::ops::Range;

/// Energies of the changes of a matrix's rows.
#[derive(Debug)]
pub(crate) struct Objective {
    /// Inputs.
    pub(crate) n: usize,
    /// H [n, n].
    pub(crate) h: Vec<f32>,
    /// What is added to its diagonal, one an input.
    pub(crate) damping: Vec<f32>,
    /// Column that is rounded last, next to last, and so on.
    pub(crate) order: Vec<usize>,
    /// Lower triangular factor of the damped H with rows and columns in `order`.
    pub(crate) factor: Vec<f32>,
    /// Inputs in a group.
    pub(crate) size: usize,
    /// One a group.
    pub(crate) blocks: Vec<Block>,
}

/// What is added to the diagonal of H. docs/quantization.md says by which texts the numbers were chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Damping {
    /// In parts of each input's own energy. Does not depend on how inputs are scaled.
    pub(crate) own: f32,
    /// In parts of the median energy of an input, which a few outliers among the inputs do not move.
    pub(crate) median: f32,
    /// In parts of the mean energy of an input.
    pub(crate) mean: f32,
}

impl Damping {
    /// What GPTQ's implementations add.
    pub(crate) const FLAT: Damping = Damping { own: 0.0, median: 0.0, mean: 0.01 };

    /// For inputs seen on some tokens: the more inputs a token has to tell apart, the more of H is chance.
    pub(crate) fn new(gram: &Gram) -> Self {
        let inputs_a_token = gram.inputs() as f32 / gram.tokens().max(1) as f32;
        Damping { own: 0.1 + 2.0 * inputs_a_token, median: 0.2, mean: 0.0 }
    }

    /// One an input, for these energies.
    fn of(self, energies: &[f32]) -> Vec<f64> {
        let mut sorted = energies.to_vec();
        sorted.sort_by(f32::total_cmp);
        let median = f64::from(sorted.get(sorted.len() / 2).copied().unwrap_or_default());
        let mean = energies.iter().copied().map(f64::from).sum::<f64>() / energies.len().max(1) as f64;
        let all = f64::from(self.median) * median + f64::from(self.mean) * mean;
        energies.iter().map(|&energy| all + f64::from(self.own) * f64::from(energy)).collect()
    }
}

/// The square block on the diagonal of the damped H for the columns of a group.
#[derive(Debug)]
pub(crate) struct Block {
    /// The columns.
    pub(crate) columns: Range<usize>,
    /// Row-major.
    pub(crate) h: Vec<f32>,
    /// Its lower triangular factor, the upper triangle 0.
    pub(crate) factor: Vec<f32>,
    /// Its inverse.
    pub(crate) inverse: Vec<f32>,
}

/// Where the outputs of some rows are to go, besides staying as they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pull<'a> {
    /// r [rows, n].
    pub(crate) r: &'a [f32],
    /// |e|², one a row.
    pub(crate) e: &'a [f64],
}

impl Objective {
    /// For inputs divided by `scales`. More damping is taken if H is so close to singular that it cannot be factored.
    /// `size` inputs are a group. Runs on rayon's current pool.
    pub(crate) fn new(gram: &Gram, scales: Option<&[f32]>, damping: Damping, size: usize) -> Objective {
        let n = gram.inputs();
        let h = gram.scaled(scales);
        let diagonal: Vec<f32> = (0..n).map(|i| h[i * n + i]).collect();
        let most = f64::from(diagonal.iter().copied().fold(0.0, f32::max));
        let mut order: Vec<usize> = (0..n).collect();
        // The inputs with the most energy are rounded first, while all others can still make up for them.
        order.sort_by(|&a, &b| diagonal[a].total_cmp(&diagonal[b]).then(a.cmp(&b)));
        let mut damping = damping.of(&diagonal);
        // Inputs that are always 0 need something to divide by.
        let mut more = f64::from(f32::MIN_POSITIVE);
        let mut factor = vec![0.0f64; n * n];
        loop {
            for (row, &i) in factor.chunks_exact_mut(n).zip(&order) {
                for (out, &j) in row.iter_mut().zip(&order) {
                    *out = f64::from(h[i * n + j]);
                }
            }
            damping.iter_mut().for_each(|damping| *damping += more);
            order.iter().enumerate().for_each(|(i, &input)| factor[i * n + i] += damping[input]);
            if cholesky::factor(&mut factor, n) {
                break;
            }
            more = 4.0 * more.max(1e-6 * most);
        }
        let lower = |(i, v): (usize, &f64)| if i % n <= i / n { *v as f32 } else { 0.0 };
        let factor = factor.iter().enumerate().map(lower).collect();
        let damping = damping.iter().map(|v| *v as f32).collect();
        let mut objective = Objective { n, h, damping, order, factor, size, blocks: Vec::new() };
        let groups: Vec<Range<usize>> =
            (0..n).step_by(size).map(|start| start..n.min(start + size)).collect();
        objective.blocks = groups.into_par_iter().map(|columns| objective.block(columns)).collect();
        objective
    }

    /// For changes `d` [rows, n]: the energy of each row, and the same with the damping.
    pub(crate) fn energies(&self, d: &[f32], pull: Option<Pull<'_>>) -> (Vec<f64>, Vec<f64>) {
        let plain = energies(&self.h, d, pull);
        let penalty = |d: &[f32]| {
            let products: Vec<f32> = d.iter().zip(&self.damping).map(|(d, damping)| d * damping).collect();
            dot(d, &products)
        };
        let rows = plain.iter().zip(d.chunks_exact(self.n));
        let damped = rows.map(|(energy, d)| energy + penalty(d)).collect();
        (plain, damped)
    }

    /// The weights with the smallest energy: `weights` [rows, n] and what the pull adds.
    pub(crate) fn target(&self, weights: &[f32], pull: Option<Pull<'_>>) -> Vec<f32> {
        let mut target = weights.to_vec();
        let Some(pull) = pull else { return target };
        let n = self.n;
        let mut moved = vec![0.0; weights.len()];
        for (moved, r) in moved.chunks_exact_mut(n).zip(pull.r.chunks_exact(n)) {
            moved.iter_mut().zip(&self.order).for_each(|(out, &i)| *out = r[i]);
        }
        cholesky::solve(&self.factor, n, &mut moved);
        for (target, moved) in target.chunks_exact_mut(n).zip(moved.chunks_exact(n)) {
            moved.iter().zip(&self.order).for_each(|(moved, &i)| target[i] += moved);
        }
        target
    }

    fn block(&self, columns: Range<usize>) -> Block {
        let n = columns.len();
        let rows = columns.clone().map(|row| &self.h[row * self.n..][columns.clone()]);
        let mut h: Vec<f32> = rows.flatten().copied().collect();
        (0..n).for_each(|i| h[i * n + i] += self.damping[columns.start + i]);
        // A block of a matrix that could be factored can be, but for rounding.
        let mut l: Vec<f64> = h.iter().map(|v| f64::from(*v)).collect();
        while !cholesky::factor(&mut l, n) {
            let more = 1e-6 * (0..n).map(|i| h[i * n + i]).fold(f32::MIN_POSITIVE, f32::max);
            (0..n).for_each(|i| h[i * n + i] += more);
            l = h.iter().map(|v| f64::from(*v)).collect();
        }
        (0..n).for_each(|i| l[i * n + i + 1..(i + 1) * n].fill(0.0));
        // Columns of the inverse: forward with L, backward with its transpose.
        let mut inverse = vec![0.0f32; n * n];
        let mut x = vec![0.0f64; n];
        for (column, out) in inverse.chunks_exact_mut(n).enumerate() {
            for i in 0..n {
                let sum: f64 = (0..i).map(|k| l[i * n + k] * x[k]).sum();
                x[i] = (f64::from(u8::from(i == column)) - sum) / l[i * n + i];
            }
            for i in (0..n).rev() {
                let sum: f64 = (i + 1..n).map(|k| l[k * n + i] * x[k]).sum();
                x[i] = (x[i] - sum) / l[i * n + i];
            }
            out.iter_mut().zip(&x).for_each(|(out, x)| *out = *x as f32);
        }
        Block { columns, h, factor: l.iter().map(|v| *v as f32).collect(), inverse }
    }
}

/// For changes `d` [rows, n] and the whole H the energy of each row.
pub(crate) fn energies(h: &[f32], d: &[f32], pull: Option<Pull<'_>>) -> Vec<f64> {
    let n = h.len().isqrt();
    let rows = d.len() / n;
    let mut product = vec![0.0; d.len()];
    matmul(View::new(d, rows, n, n), View::new(h, n, n, n), &mut product, n);
    let rows = d.chunks_exact(n).zip(product.chunks_exact(n)).enumerate();
    let energy = |(row, (d, product)): (usize, (&[f32], &[f32]))| {
        let energy = dot(d, product);
        match pull {
            Some(pull) => energy + pull.e[row] - 2.0 * dot(d, &pull.r[row * n..][..n]),
            None => energy,
        }
    };
    // Rounding may leave a tiny negative sum; NaN stays NaN.
    rows.map(energy).map(|energy| if energy < 0.0 { 0.0 } else { energy }).collect()
}
