//! Rounds a matrix with the scales that were chosen, clipping the range of each group where that helps.
//!
//! Clipping (as in llm-awq's auto_clip): for each row and group ten ranges, from the whole one to half of it, judged by
//! the group's own block of the Gram matrix. That leaves out how the groups' errors add up, so each row is then judged
//! by the whole matrix and keeps the clipped ranges only if they are better there: clipping never makes a row worse.

use crate::Result;
use crate::fold::{scale_columns, scale_rows};
use crate::gram::{Gram, dot};
use crate::matrix::{Fused, Metric, rows_per_task};
use crate::round::{Fit, range};
use edgewen_kernels::matmul::{View, matmul};
use edgewen_layout::{QuantizedMatrix, RowBlockShape, WeightBits};
use rayon::prelude::*;

/// Ranges tried: 1, 0.95, ..., 0.55 of the largest magnitude.
const CLIPS: usize = 10;

/// How to round a matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// Four or eight.
    pub(crate) bits: WeightBits,
    /// Factor of each column before rounding; the inputs are divided by it.
    pub(crate) scales: Option<&'a [f32]>,
    /// Factor of each row before rounding; the outputs are to be divided by it.
    pub(crate) row_factors: Option<&'a [f32]>,
    /// How rows are judged.
    pub(crate) metric: Metric<'a>,
    /// Judges the ranges; `None` is no clipping.
    pub(crate) clip: Option<&'a ClipBlocks>,
}

/// A rounded matrix.
#[derive(Debug)]
pub(crate) struct Rounded {
    /// For the packed file.
    pub(crate) matrix: QuantizedMatrix,
    /// Error, one a part, of the matrix with all factors undone.
    pub(crate) errors: Vec<f64>,
    /// Share of clipped groups, one a part.
    pub(crate) clipped: Vec<f64>,
}

/// The diagonal blocks of a Gram matrix, one a group.
#[derive(Debug)]
pub(crate) struct ClipBlocks(Vec<Vec<f32>>);

impl ClipBlocks {
    /// Of `gram`. `weight_share` adds that multiple of the mean diagonal to the diagonal: it makes the change of the
    /// weights themselves count, as it does for an embedding, whose rows are also outputs.
    pub(crate) fn new(gram: &Gram, group: usize, weight_share: f32) -> Self {
        let extra = weight_share * gram.mean_diagonal();
        let inputs = gram.inputs();
        let block = |start| {
            let size = group.min(inputs - start);
            let mut block = gram.diagonal_block(start..start + size);
            (0..size).for_each(|i| block[i * size + i] += extra);
            block
        };
        ClipBlocks((0..inputs).step_by(group).map(block).collect())
    }
}

/// Rounds all rows. Fails if a scale does not fit f16.
pub(crate) fn apply(fused: &Fused, plan: &Plan<'_>) -> Result<Rounded> {
    let (n, rows) = (fused.inputs, fused.rows());
    let shape = RowBlockShape { rows, inputs: n, group: fused.group, bits: plan.bits };
    let mut matrix = QuantizedMatrix::zeroed(shape);
    let groups = shape.groups();
    let chunk = rows_per_task(rows);
    let results: Vec<(Vec<f64>, Vec<usize>)> = matrix
        .codes
        .par_chunks_mut(chunk * n)
        .zip(matrix.scales.par_chunks_mut(chunk * groups))
        .zip(matrix.zeros.par_chunks_mut(chunk * groups))
        .enumerate()
        .map(|(index, ((codes, scales), zeros))| {
            let task = Task::new(fused, plan, index * chunk, codes.len() / n);
            let (fits, energies, clipped) = task.run()?;
            for (row, codes) in codes.chunks_exact_mut(n).enumerate() {
                let weights = &task.scaled[row * n..][..n];
                let groups = codes.chunks_mut(task.size).zip(weights.chunks(task.size));
                for (fit, (codes, weights)) in fits[row * task.groups..].iter().zip(groups) {
                    codes.iter_mut().zip(weights).for_each(|(code, w)| *code = fit.code(*w));
                }
            }
            scales.iter_mut().zip(&fits).for_each(|(scale, fit)| *scale = fit.scale);
            zeros.iter_mut().zip(&fits).for_each(|(zero, fit)| *zero = fit.zero);
            Ok((energies, clipped))
        })
        .collect::<Result<_>>()?;
    let (energies, clipped): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    let (energies, clipped) = (energies.concat(), clipped.concat());
    let errors = fused.parts.iter().map(|part| energies[part.rows.clone()].iter().sum());
    let share = fused.parts.iter().map(|part| {
        let count: usize = clipped[part.rows.clone()].iter().sum();
        count as f64 / (part.rows.len() * groups).max(1) as f64
    });
    Ok(Rounded { errors: errors.collect(), clipped: share.collect(), matrix })
}

/// The weights of a matrix with all factors of a plan: what [`apply`] rounds.
pub(crate) fn target(fused: &Fused, plan: &Plan<'_>) -> Vec<f32> {
    Task::new(fused, plan, 0, fused.rows()).scaled
}

/// The weights of a matrix, which has all factors already, rounded to the nearest of 8 bits.
pub(crate) fn round_eight(fused: &Fused) -> Result<QuantizedMatrix> {
    let plan =
        Plan { bits: WeightBits::Eight, scales: None, row_factors: None, metric: Metric::Weight, clip: None };
    Ok(apply(fused, &plan)?.matrix)
}

/// Squared size of the outputs, one a part: what errors are relative to.
pub(crate) fn sizes(fused: &Fused, metric: Metric<'_>) -> Vec<f64> {
    let chunk = rows_per_task(fused.rows()) * fused.inputs;
    let energies: Vec<Vec<f64>> =
        fused.weights.par_chunks(chunk).map(|w| metric.energies(w, w.len() / fused.inputs)).collect();
    let energies = energies.concat();
    fused.parts.iter().map(|part| energies[part.rows.clone()].iter().sum()).collect()
}

/// Some rows of a matrix.
struct Task<'a> {
    fused: &'a Fused,
    plan: &'a Plan<'a>,
    first: usize,
    rows: usize,
    /// Inputs in a group.
    size: usize,
    /// Groups in a row.
    groups: usize,
    /// [rows, inputs] with all factors.
    scaled: Vec<f32>,
    /// One a column.
    inverse: Vec<f32>,
}

impl<'a> Task<'a> {
    fn new(fused: &'a Fused, plan: &'a Plan<'a>, first: usize, rows: usize) -> Self {
        let n = fused.inputs;
        let mut scaled = fused.weights[first * n..][..rows * n].to_vec();
        if let Some(scales) = plan.scales {
            scale_columns(&mut scaled, scales);
        }
        if let Some(factors) = plan.row_factors {
            scale_rows(&mut scaled, n, &factors[first..]);
        }
        let inverse = plan.scales.map_or_else(|| vec![1.0; n], |s| s.iter().map(|s| 1.0 / s).collect());
        let size = fused.group.get();
        Task { fused, plan, first, rows, size, groups: n.div_ceil(size), scaled, inverse }
    }

    /// The fits [rows, groups], and for each row its error and how many of its groups are clipped.
    fn run(&self) -> Result<(Vec<Fit>, Vec<f64>, Vec<usize>)> {
        let n = self.fused.inputs;
        let mut fits = Vec::with_capacity(self.rows * self.groups);
        for (row, weights) in self.scaled.chunks_exact(n).enumerate() {
            for group in weights.chunks(self.size) {
                let (low, high) = range(group);
                fits.push(self.fit(low, high).ok_or_else(|| self.fused.too_large(self.first + row))?);
            }
        }
        let mut energies = self.energies(&fits);
        let mut clipped = vec![0; self.rows];
        if let Some(blocks) = self.plan.clip {
            let narrow = self.clip(&fits, blocks);
            let narrow_energies = self.energies(&narrow);
            for row in 0..self.rows {
                let allowed = self.fused.part_of(self.first + row).clip;
                if allowed && narrow_energies[row] < energies[row] {
                    let groups = row * self.groups..(row + 1) * self.groups;
                    clipped[row] = groups.clone().filter(|&g| narrow[g].scale != fits[g].scale).count();
                    fits[groups.clone()].copy_from_slice(&narrow[groups]);
                    energies[row] = narrow_energies[row];
                }
            }
        }
        Ok((fits, energies, clipped))
    }

    fn fit(&self, low: f32, high: f32) -> Option<Fit> {
        match self.plan.bits {
            WeightBits::Four => Fit::four(low, high),
            WeightBits::Eight | WeightBits::EightSegments => Fit::eight(low, high),
        }
    }

    /// Writes the change of a group's weights, with all factors undone.
    fn change(&self, row: usize, group: usize, fit: &Fit, out: &mut [f32]) {
        let n = self.fused.inputs;
        let columns = group * self.size..(group * self.size + self.size).min(n);
        fit.round_into(&self.scaled[row * n..][columns.clone()], out);
        let factor = self.plan.row_factors.map_or(1.0, |f| 1.0 / f[self.first + row]);
        let weights = &self.fused.weights[(self.first + row) * n..][columns.clone()];
        for ((d, w), i) in out.iter_mut().zip(weights).zip(&self.inverse[columns]) {
            *d = *d * i * factor - w;
        }
    }

    fn energies(&self, fits: &[Fit]) -> Vec<f64> {
        let mut changes = vec![0.0; self.scaled.len()];
        for (row, changes) in changes.chunks_exact_mut(self.fused.inputs).enumerate() {
            for (group, out) in changes.chunks_mut(self.size).enumerate() {
                self.change(row, group, &fits[row * self.groups + group], out);
            }
        }
        self.plan.metric.energies(&changes, self.rows)
    }

    /// The best range of each group by the group's own outputs.
    fn clip(&self, fits: &[Fit], blocks: &ClipBlocks) -> Vec<Fit> {
        let n = self.fused.inputs;
        let mut best = fits.to_vec();
        let mut changes = vec![0.0; CLIPS * self.rows * self.size];
        let mut products = changes.clone();
        let mut candidates = vec![[fits[0]; CLIPS]; self.rows];
        for (group, block) in blocks.0.iter().enumerate() {
            let size = self.size.min(n - group * self.size);
            for row in 0..self.rows {
                let (low, high) = range(&self.scaled[row * n + group * self.size..][..size]);
                let largest = high.max(-low);
                for clip in 0..CLIPS {
                    let limit = largest * (1.0 - clip as f32 / (2 * CLIPS) as f32);
                    let whole = fits[row * self.groups + group];
                    let fit = match clip {
                        0 => whole,
                        _ => self.fit(low.max(-limit), high.min(limit)).unwrap_or(whole),
                    };
                    candidates[row][clip] = fit;
                    self.change(row, group, &fit, &mut changes[(row * CLIPS + clip) * size..][..size]);
                }
            }
            let count = CLIPS * self.rows;
            let changes = &changes[..count * size];
            matmul(
                View::new(changes, count, size, size),
                View::new(block, size, size, size),
                &mut products,
                size,
            );
            for row in 0..self.rows {
                let error = |clip: usize| {
                    let at = (row * CLIPS + clip) * size;
                    dot(&changes[at..at + size], &products[at..at + size])
                };
                let errors: [f64; CLIPS] = std::array::from_fn(error);
                let first_best = (1..CLIPS).fold(0, |a, b| if errors[b] < errors[a] { b } else { a });
                best[row * self.groups + group] = candidates[row][first_best];
            }
        }
        best
    }
}
