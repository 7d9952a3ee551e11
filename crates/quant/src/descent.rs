//! Coordinate descent: one group of a row after the other is rounded again, everything else fixed.
//!
//! With the other groups fixed, the best unrounded weights of a group and the energy of missing them by e, e B eᵀ with
//! the group's block B of the Gram matrix, are known exactly. For some scales and zero points the group is rounded towards
//! them with error feedback inside the group, the scale is refitted to the codes by least squares, and then single codes
//! change as long as the energy falls. A group changes only if its energy does fall, so no round makes a row worse.

use crate::objective::{Block, Objective, Pull};
use crate::round::Fit;
use edgewen_kernels::matmul::{View, matmul};

/// Scales tried, in parts of the present one.
const STEPS: [f32; 6] = [0.97, 1.03, 0.93, 1.07, 0.87, 1.13];

/// Passes over the codes of a group.
const PASSES: usize = 3;

/// A row's group: energies are of `e`, what is missing to the best unrounded weights `wanted`.
struct Group<'a> {
    block: &'a Block,
    wanted: &'a [f32],
}

/// Codes above that of 0, and their energy.
#[derive(Clone)]
struct Rounded {
    fit: Fit,
    values: Vec<f32>,
    energy: f32,
}

/// Improves `changes` [rows, n], q - `weights`, and `fits` [rows, groups]. Returns how many groups changed.
pub(crate) fn round(
    weights: &[f32],
    objective: &Objective,
    pull: Option<Pull<'_>>,
    fits: &mut [Fit],
    changes: &mut [f32],
) -> usize {
    let n = objective.n;
    let (rows, groups) = (weights.len() / n, objective.blocks.len());
    let mut count = 0;
    for (group, block) in objective.blocks.iter().enumerate() {
        let (columns, width) = (block.columns.clone(), block.columns.len());
        // Half the derivative by the group's weights, times the inverse of the block: the step to the best ones.
        let mut slopes = vec![0.0; rows * width];
        let whole = View::new(&objective.h[columns.start..], n, width, n);
        matmul(View::new(changes, rows, n, n), whole, &mut slopes, width);
        for (row, slopes) in slopes.chunks_exact_mut(width).enumerate() {
            let at = row * n + columns.start;
            let damped = changes[at..at + width].iter().zip(&objective.damping[columns.clone()]);
            slopes.iter_mut().zip(damped).for_each(|(s, (d, damping))| *s += damping * d);
            if let Some(pull) = pull {
                slopes.iter_mut().zip(&pull.r[at..at + width]).for_each(|(s, r)| *s -= r);
            }
        }
        let mut steps = vec![0.0; rows * width];
        matmul(
            View::new(&slopes, rows, width, width),
            View::new(&block.inverse, width, width, width),
            &mut steps,
            width,
        );
        for row in 0..rows {
            let fit = fits[row * groups + group];
            if fit.step == 0.0 {
                continue;
            }
            let at = row * n + columns.start;
            let weights = &weights[at..at + width];
            let changes = &mut changes[at..at + width];
            let wanted: Vec<f32> = weights
                .iter()
                .zip(changes.iter().zip(&steps[row * width..]))
                .map(|(w, (d, step))| w + d - step)
                .collect();
            let here = Group { block, wanted: &wanted };
            let values: Vec<f32> = weights
                .iter()
                .zip(changes.iter())
                .map(|(w, d)| ((w + d) / fit.step).round_ties_even())
                .collect();
            let energy = here.energy(&values, fit.step);
            let old = Rounded { fit, values, energy };
            // The margin keeps rounding errors of the energies from counting as a gain.
            let new = here.search(&old);
            if new.energy < energy * (1.0 - 1e-5) {
                count += 1;
                fits[row * groups + group] = new.fit;
                for ((d, w), value) in changes.iter_mut().zip(weights).zip(&new.values) {
                    *d = value * new.fit.step - w;
                }
            }
        }
    }
    count
}

impl Group<'_> {
    /// e B eᵀ for codes above that of 0.
    fn energy(&self, values: &[f32], step: f32) -> f32 {
        let e: Vec<f32> = values.iter().zip(self.wanted).map(|(v, w)| v * step - w).collect();
        self.quadratic(&e)
    }

    fn quadratic(&self, e: &[f32]) -> f32 {
        let rows = self.block.h.chunks_exact(self.wanted.len());
        rows.zip(e).map(|(row, e_row)| e_row * sum(row, e)).sum()
    }

    /// The best that is found from here.
    fn search(&self, old: &Rounded) -> Rounded {
        let mut best = old.clone();
        if let Some(again) = self.feedback(old.fit, best.energy) {
            best = again;
        }
        self.refit(&mut best);
        let middle = best.fit;
        let zero = middle.zero;
        let zeros = [zero.saturating_sub(1), (zero + 1).min(15)];
        let others = STEPS.iter().map(|factor| (middle.step * factor, zero));
        for (step, zero) in others.chain(zeros.iter().map(|&zero| (middle.step, zero))) {
            let Some(fit) = Fit::with_step(step, zero) else { continue };
            if fit == middle {
                continue;
            }
            if let Some(mut other) = self.feedback(fit, best.energy * 1.1) {
                self.refit(&mut other);
                if other.energy < best.energy {
                    best = other;
                }
            }
        }
        self.polish(&mut best);
        self.refit(&mut best);
        best
    }

    /// Rounds towards `wanted` with feedback inside the group; `None` if the energy is not below `limit`.
    fn feedback(&self, fit: Fit, limit: f32) -> Option<Rounded> {
        let n = self.wanted.len();
        let mut sums = [0.0f32; 128];
        let sums = &mut sums[..n];
        let mut values = vec![0.0f32; n];
        let mut energy = 0.0;
        for j in (0..n).rev() {
            let l = &self.block.factor[j * n..][..=j];
            let target = self.wanted[j] - sums[j] / l[j];
            let rounded = fit.rounded(target);
            values[j] = (rounded / fit.step).round_ties_even();
            let miss = (rounded - target) * l[j];
            energy += miss * miss;
            if energy >= limit {
                return None;
            }
            let change = rounded - self.wanted[j];
            sums.iter_mut().zip(l).for_each(|(sum, l)| *sum += change * l);
        }
        let energy = self.energy(&values, fit.step);
        (energy < limit).then_some(Rounded { fit, values, energy })
    }

    /// The scale that fits the codes best.
    fn refit(&self, rounded: &mut Rounded) {
        let rows = self.block.h.chunks_exact(self.wanted.len()).zip(&rounded.values);
        let (mut up, mut down) = (0.0, 0.0);
        for (row, value) in rows {
            if *value != 0.0 {
                up += value * sum(row, self.wanted);
                down += value * sum(row, &rounded.values);
            }
        }
        let Some(fit) = (down > 0.0).then(|| Fit::with_step(up / down, rounded.fit.zero)).flatten() else {
            return;
        };
        let energy = self.energy(&rounded.values, fit.step);
        if energy < rounded.energy {
            rounded.fit = fit;
            rounded.energy = energy;
        }
    }

    /// Changes single codes as long as the energy falls.
    fn polish(&self, rounded: &mut Rounded) {
        let (n, step) = (self.wanted.len(), rounded.fit.step);
        let (least, most) = (-f32::from(rounded.fit.zero), 15.0 - f32::from(rounded.fit.zero));
        let e: Vec<f32> = rounded.values.iter().zip(self.wanted).map(|(v, w)| v * step - w).collect();
        let mut slopes: Vec<f32> = self.block.h.chunks_exact(n).map(|row| sum(row, &e)).collect();
        let mut values = rounded.values.clone();
        for _ in 0..PASSES {
            let mut changed = false;
            for j in 0..n {
                let row = &self.block.h[j * n..][..n];
                let value = (values[j] - slopes[j] / (row[j] * step)).round_ties_even().clamp(least, most);
                let change = (value - values[j]) * step;
                if change != 0.0 && change * (2.0 * slopes[j] + change * row[j]) < 0.0 {
                    values[j] = value;
                    slopes.iter_mut().zip(row).for_each(|(slope, b)| *slope += change * b);
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        let energy = self.energy(&values, step);
        if energy < rounded.energy {
            *rounded = Rounded { fit: rounded.fit, values, energy };
        }
    }
}

/// Sum of products in eight lanes, which a compiler makes vectors of.
fn sum(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (a, b) in a8.iter().zip(b8) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}
