//! Some rows of a matrix on their way through the steps.

use super::{Factors, Steps};
use crate::matrix::Fused;
use crate::objective::{Objective, Pull};
use crate::round::Fit;
use crate::{Result, descent, feedback, ranges};

/// Energies of rows with their factors undone.
#[derive(Debug, Default)]
pub(super) struct TaskResult {
    pub(super) errors: Vec<f64>,
    pub(super) steps: [Vec<f64>; 3],
    pub(super) clipped: Vec<f64>,
    pub(super) target: Vec<f32>,
}

/// The rows of a task on their way.
pub(super) struct State {
    pub(super) fits: Vec<Fit>,
    /// Rounded weights minus unrounded ones.
    pub(super) changes: Vec<f32>,
    /// Of the rows, without and with the damping.
    energies: (Vec<f64>, Vec<f64>),
    pub(super) result: TaskResult,
}

/// Some rows of a matrix.
pub(super) struct Task<'a> {
    fused: &'a Fused,
    objective: &'a Objective,
    first: usize,
    rows: usize,
    /// [rows, inputs] with all factors.
    pub(super) weights: Vec<f32>,
    /// The weights moved by the pull.
    pub(super) target: Vec<f32>,
    /// The pull with all factors.
    r: Option<(Vec<f32>, Vec<f64>)>,
    /// Squares of the row factors.
    squares: Vec<f64>,
}

impl<'a> Task<'a> {
    pub(super) fn new(
        fused: &'a Fused,
        factors: Factors<'a>,
        objective: &'a Objective,
        pull: Option<Pull<'a>>,
        first: usize,
        rows: usize,
    ) -> Self {
        let n = fused.inputs;
        let factor = |row: usize| factors.rows.map_or(1.0, |f| f[first + row]);
        let mut weights = fused.weights[first * n..][..rows * n].to_vec();
        for (row, weights) in weights.chunks_exact_mut(n).enumerate() {
            if let Some(scales) = factors.columns {
                weights.iter_mut().zip(scales).for_each(|(w, s)| *w *= s);
            }
            weights.iter_mut().for_each(|w| *w *= factor(row));
        }
        let squares: Vec<f64> = (0..rows).map(|row| f64::from(factor(row)).powi(2)).collect();
        let r = pull.map(|pull| {
            let mut r = pull.r[first * n..][..rows * n].to_vec();
            for (row, r) in r.chunks_exact_mut(n).enumerate() {
                if let Some(scales) = factors.columns {
                    r.iter_mut().zip(scales).for_each(|(r, s)| *r /= s);
                }
                r.iter_mut().for_each(|r| *r *= factor(row));
            }
            let e = pull.e[first..].iter().zip(&squares).map(|(e, square)| e * square).collect();
            (r, e)
        });
        let mut task = Task { fused, objective, first, rows, weights, target: Vec::new(), r, squares };
        task.target = objective.target(&task.weights, task.pull());
        task
    }

    fn pull(&self) -> Option<Pull<'_>> {
        self.r.as_ref().map(|(r, e)| Pull { r, e })
    }

    pub(super) fn run(&self, steps: Steps<'_>) -> Result<State> {
        let Objective { n, size, .. } = *self.objective;
        let groups = self.objective.blocks.len();
        let fits = ranges::whole(&self.target, n, size);
        let bad = |index| self.fused.too_large(self.first + index / groups);
        let fits: Vec<Fit> =
            fits.into_iter().enumerate().map(|(i, fit)| fit.ok_or_else(|| bad(i))).collect::<Result<_>>()?;
        let changes = self.nearest(&self.target, &fits);
        let energies = self.energies(&changes);
        let mut state = State { fits, changes, energies, result: TaskResult::default() };

        let whole = state.fits.clone();
        if steps.clips.len() > 1 {
            let narrow = ranges::narrow(&self.target, self.objective, &state.fits, steps.clips);
            let changes = self.nearest(&self.target, &narrow);
            self.keep_better(&mut state, &narrow, &changes);
        }
        let clipped = |row: usize| {
            let groups = row * groups..(row + 1) * groups;
            groups.filter(|&g| state.fits[g].scale != whole[g].scale).count() as f64
        };
        state.result.clipped = (0..self.rows).map(clipped).collect();
        state.result.steps[0] = self.errors(&state.energies.0);
        if steps.feedback {
            let fits = state.fits.clone();
            let mut changes = feedback::round(&self.target, self.objective, &fits);
            let moved = changes.iter_mut().zip(self.target.iter().zip(&self.weights));
            moved.for_each(|(d, (target, w))| *d += target - w);
            self.keep_better(&mut state, &fits, &changes);
        }
        state.result.steps[1] = self.errors(&state.energies.0);
        for _ in 0..steps.rounds {
            let State { fits, changes, .. } = &mut state;
            if descent::round(&self.weights, self.objective, self.pull(), fits, changes) == 0 {
                break;
            }
        }
        if 0 < steps.rounds {
            state.energies = self.energies(&state.changes);
        }
        state.result.steps[2] = self.errors(&state.energies.0);
        // Against plain rounding the energy counts as it is, without the damping.
        let mut errors = state.result.steps[2].clone();
        let plain: Option<Vec<Fit>> = ranges::whole(&self.weights, n, size).into_iter().collect();
        if let Some(plain) = plain {
            let changes = self.nearest(&self.weights, &plain);
            let energies = self.energies(&changes).0;
            for (row, error) in self.errors(&energies).into_iter().enumerate() {
                if error < errors[row] {
                    errors[row] = error;
                    state.copy_row(row, n, groups, &plain, &changes);
                }
            }
        }
        state.result.errors = errors;
        Ok(state)
    }

    /// Rounds `from` to nearest; the changes are those of the weights.
    fn nearest(&self, from: &[f32], fits: &[Fit]) -> Vec<f32> {
        let mut changes = vec![0.0; from.len()];
        let size = self.objective.size;
        let rows = changes.chunks_exact_mut(self.objective.n).zip(from.chunks_exact(self.objective.n));
        let groups = rows.flat_map(|(out, from)| out.chunks_mut(size).zip(from.chunks(size)));
        groups.zip(fits).for_each(|((out, from), fit)| fit.round_into(from, out));
        changes.iter_mut().zip(&self.weights).for_each(|(d, w)| *d -= w);
        changes
    }

    fn energies(&self, changes: &[f32]) -> (Vec<f64>, Vec<f64>) {
        self.objective.energies(changes, self.pull())
    }

    /// Energies with the row factors undone.
    fn errors(&self, energies: &[f64]) -> Vec<f64> {
        energies.iter().zip(&self.squares).map(|(energy, square)| energy / square).collect()
    }

    /// Takes the rows that have less energy, the damping counted.
    fn keep_better(&self, state: &mut State, fits: &[Fit], changes: &[f32]) {
        let (plain, damped) = self.energies(changes);
        let (n, groups) = (self.objective.n, self.objective.blocks.len());
        for row in 0..self.rows {
            if damped[row] < state.energies.1[row] {
                (state.energies.0[row], state.energies.1[row]) = (plain[row], damped[row]);
                state.copy_row(row, n, groups, fits, changes);
            }
        }
    }
}

impl State {
    fn copy_row(&mut self, row: usize, n: usize, groups: usize, fits: &[Fit], changes: &[f32]) {
        self.fits[row * groups..][..groups].copy_from_slice(&fits[row * groups..][..groups]);
        self.changes[row * n..][..n].copy_from_slice(&changes[row * n..][..n]);
    }
}
