//! Rounds a matrix as well as its Gram matrix allows: ranges, error feedback, coordinate descent.
//!
//! Works on the weights with all factors multiplied in. After each step a row keeps the better of before and after, so
//! that no step makes a row worse, and in the end the better of the result and plain rounding.

use crate::apply::Rounded;
use crate::gram::Gram;
use crate::matrix::{Fused, rows_per_task};
use crate::objective::{Objective, Pull, energies};
use crate::report::StepError;
use crate::settings::Settings;
use crate::{Result, Step, ranges};
use edgewen_layout::{QuantizedMatrix, RowBlockShape, WeightBits};
use rayon::ThreadPool;
use rayon::prelude::*;
use task::{State, Task, TaskResult};

mod task;

/// Which steps are done, and how thoroughly.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps<'a> {
    /// Parts of a group's range that are tried at either end; the first is 1, and alone it is no search.
    pub(crate) clips: &'a [f32],
    /// Whether columns make up for each other.
    pub(crate) feedback: bool,
    /// Rounds of coordinate descent.
    pub(crate) rounds: usize,
}

/// Where the work is done, and who is told how far it is.
pub(crate) struct Run<'a> {
    pub(crate) workers: &'a ThreadPool,
    /// Gets the share of the rows that are done more than at the last call. An error ends the work.
    pub(crate) tick: &'a mut dyn FnMut(f64) -> Result<()>,
}

/// Weights that are rounded between two ticks: a few seconds of work.
const WEIGHTS_PER_TICK: usize = 1 << 23;

/// The factors of a matrix before rounding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Factors<'a> {
    /// One a column; the inputs are divided by it.
    pub(crate) columns: Option<&'a [f32]>,
    /// One a row; the outputs are to be divided by it.
    pub(crate) rows: Option<&'a [f32]>,
}

/// A matrix with its factors, and what it was made into.
#[derive(Debug)]
pub(crate) struct Refined {
    /// As of the other method.
    pub(crate) rounded: Rounded,
    /// What was rounded: weights with all factors, moved where the pull wants them; empty if nobody wants to know.
    pub(crate) target: Vec<f32>,
    /// Errors after ranges, feedback and descent, one a part.
    pub(crate) steps: [Vec<f64>; 3],
}

/// Rounds `fused`. `objective` is for its scaled columns, `pull` for its weights without factors. Fails if a scale does
/// not fit f16.
pub(crate) fn refine(
    fused: &Fused,
    factors: Factors<'_>,
    objective: &Objective,
    pull: Option<Pull<'_>>,
    steps: Steps<'_>,
    keep_target: bool,
    run: Run<'_>,
) -> Result<Refined> {
    let (n, rows) = (fused.inputs, fused.rows());
    let shape = RowBlockShape { rows, inputs: n, group: fused.group, bits: WeightBits::Four };
    let mut matrix = QuantizedMatrix::zeroed(shape);
    let groups = shape.groups();
    let chunk = rows_per_task(rows);
    let mut results: Vec<TaskResult> = Vec::new();
    let rows_per_tick = (WEIGHTS_PER_TICK / n.max(1)).next_multiple_of(chunk);
    for first in (0..rows).step_by(rows_per_tick) {
        let last = rows.min(first + rows_per_tick);
        let codes = matrix.codes[first * n..last * n].par_chunks_mut(chunk * n);
        let scales = matrix.scales[first * groups..last * groups].par_chunks_mut(chunk * groups);
        let zeros = matrix.zeros[first * groups..last * groups].par_chunks_mut(chunk * groups);
        let tasks = codes.zip(scales).zip(zeros).enumerate().map(|(index, ((codes, scales), zeros))| {
            let first = first + index * chunk;
            let task = Task::new(fused, factors, objective, pull, first, codes.len() / n);
            let State { fits, changes, mut result, .. } = task.run(steps)?;
            for (row, codes) in codes.chunks_exact_mut(n).enumerate() {
                let values = task.weights[row * n..].iter().zip(&changes[row * n..]);
                for (column, (code, (w, d))) in codes.iter_mut().zip(values).enumerate() {
                    *code = fits[row * groups + column / objective.size].code(w + d);
                }
            }
            scales.iter_mut().zip(&fits).for_each(|(scale, fit)| *scale = fit.scale);
            zeros.iter_mut().zip(&fits).for_each(|(zero, fit)| *zero = fit.zero);
            result.target = if keep_target { task.target } else { Vec::new() };
            Ok(result)
        });
        results.append(&mut run.workers.install(|| tasks.collect::<Result<Vec<_>>>())?);
        (run.tick)((last - first) as f64 / rows as f64)?;
    }
    let target = results.iter_mut().flat_map(|result| std::mem::take(&mut result.target)).collect();
    let by_part = |of: &dyn Fn(&TaskResult) -> &[f64]| -> Vec<f64> {
        let all: Vec<f64> = results.iter().flat_map(of).copied().collect();
        fused.parts.iter().map(|part| all[part.rows.clone()].iter().sum()).collect()
    };
    let steps = std::array::from_fn(|step| by_part(&|result| &result.steps[step]));
    let clipped = by_part(&|result| &result.clipped);
    let share =
        |(part, count): (&crate::matrix::Part, &f64)| count / (part.rows.len() * groups).max(1) as f64;
    let clipped = fused.parts.iter().zip(&clipped).map(share).collect();
    let rounded = Rounded { errors: by_part(&|result| &result.errors), clipped, matrix };
    Ok(Refined { rounded, target, steps })
}

/// Errors of plain rounding and sizes of the outputs, one a part: what the result is compared with, by the same sums.
/// Runs on rayon's current pool.
pub(crate) fn baseline(fused: &Fused, gram: &Gram, pull: Option<Pull<'_>>) -> Result<(Vec<f64>, Vec<f64>)> {
    let (h, size) = (gram.scaled(None), fused.group.get());
    let plain = part_energies(fused, &h, pull, |row, out| {
        let fits = ranges::whole(row, row.len(), size);
        for (fit, (out, w)) in fits.into_iter().zip(out.chunks_mut(size).zip(row.chunks(size))) {
            fit?.round_into(w, out);
        }
        out.iter_mut().zip(row).for_each(|(d, w)| *d -= w);
        Some(())
    })?;
    let sizes = part_energies(fused, &h, pull, |row, out| {
        out.iter_mut().zip(row).for_each(|(d, w)| *d = -w);
        Some(())
    })?;
    Ok((plain, sizes))
}

/// What the report says of the steps that were done.
pub(crate) fn relative_steps(steps: &[Vec<f64>; 3], sizes: &[f64], settings: &Settings) -> Vec<StepError> {
    let total: f64 = sizes.iter().sum();
    let steps = [Step::Clip, Step::Feedback, Step::Descent].into_iter().zip(steps);
    let done = steps.filter(|(step, _)| total > 0.0 && settings.on(*step));
    done.map(|(step, errors)| StepError { step, error: errors.iter().sum::<f64>() / total }).collect()
}

/// Energies of changes of the rows, one a part. `change` writes that of a row; `None` if it cannot be rounded.
fn part_energies(
    fused: &Fused,
    h: &[f32],
    pull: Option<Pull<'_>>,
    change: impl Fn(&[f32], &mut [f32]) -> Option<()> + Sync,
) -> Result<Vec<f64>> {
    let n = fused.inputs;
    let chunk = rows_per_task(fused.rows());
    let tasks = fused.weights.par_chunks(chunk * n).enumerate();
    let energies: Vec<Vec<f64>> = tasks
        .map(|(task, weights)| {
            let mut changes = vec![0.0; weights.len()];
            let (first, rows) = (task * chunk, weights.len() / n);
            for (row, (w, d)) in weights.chunks_exact(n).zip(changes.chunks_exact_mut(n)).enumerate() {
                change(w, d).ok_or_else(|| fused.too_large(first + row))?;
            }
            let pull = pull.map(|p| Pull { r: &p.r[first * n..][..rows * n], e: &p.e[first..][..rows] });
            Ok(energies(h, &changes, pull))
        })
        .collect::<Result<_>>()?;
    let energies = energies.concat();
    Ok(fused.parts.iter().map(|part| energies[part.rows.clone()].iter().sum()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::matrix::Part;
    use crate::objective::Damping;
    use edgewen_kernels::matmul::{View, matmul};
    use edgewen_layout::GroupSize;
    use rand_pcg::Pcg64Mcg;
    use rand_pcg::rand_core::{Rng, SeedableRng};

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        (0..count).map(|_| random.next_u32() as f32 / 2.0f32.powi(31) - 1.0).collect()
    }

    fn damping(mean: f32) -> Damping {
        Damping { own: 0.0, median: 0.0, mean }
    }

    /// Of inputs that depend on each other, some large, some always 0.
    fn gram(inputs: usize) -> Gram {
        gram_of(inputs, 3 * inputs, 3)
    }

    /// The same on some tokens.
    fn gram_of(inputs: usize, tokens: usize, seed: u64) -> Gram {
        let mut x = random(tokens * inputs, seed);
        for row in x.chunks_exact_mut(inputs) {
            (1..inputs).for_each(|i| row[i] += 0.7 * row[i - 1]);
            row.iter_mut().step_by(16).for_each(|x| *x *= 10.0);
            row.iter_mut().step_by(9).for_each(|x| *x = 0.0);
        }
        let mut gram = Gram::new(inputs);
        gram.add(&x);
        gram
    }

    /// What rounding did to the weights, the factors undone.
    fn changes(fused: &Fused, factors: Factors<'_>, done: &Refined) -> Vec<f32> {
        let mut changes = vec![0.0; fused.weights.len()];
        for (row, changes) in changes.chunks_exact_mut(fused.inputs).enumerate() {
            done.rounded.matrix.dequantize_row(row, changes);
            let weights = &fused.weights[row * fused.inputs..];
            for (i, (d, w)) in changes.iter_mut().zip(weights).enumerate() {
                *d = *d / factors.columns.map_or(1.0, |s| s[i]) / factors.rows.map_or(1.0, |f| f[row]) - w;
            }
        }
        changes
    }

    fn workers() -> ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap()
    }

    fn steps(feedback: bool, rounds: usize) -> Steps<'static> {
        Steps { clips: &[1.0, 0.9, 0.8], feedback, rounds }
    }

    #[test]
    fn every_step_makes_the_error_smaller() {
        let workers = workers();
        for (inputs, group) in [(64, GroupSize::G64), (150, GroupSize::G32), (300, GroupSize::G128)] {
            let rows = 40;
            let parts = vec![Part { name: "some.weight".into(), rows: 0..rows, clip: true }];
            let weights = random(rows * inputs, 4);
            let fused = Fused { packed: "some".into(), parts, weights, inputs, group };
            let gram = gram(inputs);
            // The pull of weights that differ a little.
            let other: Vec<f32> = random(rows * inputs, 5).iter().map(|v| 0.05 * v).collect();
            let (h, mut r) = (gram.scaled(None), vec![0.0; rows * inputs]);
            let view = |data, rows| View::new(data, rows, inputs, inputs);
            matmul(view(&other, rows), view(&h, inputs), &mut r, inputs);
            let e = energies(&h, &other, None);
            let scales: Vec<f32> = random(inputs, 6).iter().map(|s| 1.5 + s).collect();
            let factors: Vec<f32> = random(rows, 7).iter().map(|f| 1.5 + f).collect();
            for pull in [None, Some(Pull { r: &r, e: &e })] {
                for (columns, rows) in
                    [(None, None), (Some(scales.as_slice()), None), (None, Some(factors.as_slice()))]
                {
                    let case =
                        format!("{inputs} {} {} {}", pull.is_some(), columns.is_some(), rows.is_some());
                    let factors = Factors { columns, rows };
                    let objective = Objective::new(&gram, columns, damping(1e-4), group.get());
                    let run = |steps| {
                        let run = Run { workers: &workers, tick: &mut |_| Ok(()) };
                        refine(&fused, factors, &objective, pull, steps, true, run).unwrap()
                    };
                    let done = run(steps(true, 3));
                    let [clip, feedback, descent] = done.steps.each_ref().map(|errors| errors[0]);
                    assert!(feedback < 0.9 * clip && descent < 0.99 * feedback, "{case}: {:?}", done.steps);
                    let (plain, sizes) = baseline(&fused, &gram, pull).unwrap();
                    assert!(done.rounded.errors[0] < 0.7 * plain[0] && plain[0] < sizes[0], "{case}");
                    assert_eq!(done.target.len(), rows.map_or(40, <[f32]>::len) * inputs, "{case}");

                    // The codes are what the errors were computed from.
                    let changes = changes(&fused, factors, &done);
                    let sum: f64 = energies(&gram.scaled(None), &changes, pull).iter().sum();
                    let error = done.rounded.errors[0];
                    assert!((sum - error).abs() < 1e-3 * error, "{case}: {sum} {error}");

                    let without = run(steps(false, 0));
                    assert_eq!(without.steps[0], without.steps[2], "{case}");
                }
            }
        }
    }

    #[test]
    fn a_short_text_is_not_followed_too_far() {
        let (inputs, rows) = (256, 40);
        let parts = vec![Part { name: "some.weight".into(), rows: 0..rows, clip: true }];
        let weights = random(rows * inputs, 4);
        let fused = Fused { packed: "some".into(), parts, weights, inputs, group: GroupSize::G64 };
        let factors = Factors { columns: None, rows: None };
        let other = gram_of(inputs, 20 * inputs, 11).scaled(None);
        let workers = workers();
        // Energy on other tokens, in parts of that of plain rounding, for one token an input and for many.
        let [short, long] = [1, 12].map(|tokens| {
            let gram = gram_of(inputs, tokens * inputs, 10);
            let energy = |damping: Damping, steps: Steps<'_>| -> f64 {
                let objective = Objective::new(&gram, None, damping, 64);
                let run = Run { workers: &workers, tick: &mut |_| Ok(()) };
                let done = refine(&fused, factors, &objective, None, steps, false, run).unwrap();
                energies(&other, &changes(&fused, factors, &done), None).iter().sum()
            };
            let plain = energy(damping(1e-4), Steps { clips: &[1.0], feedback: false, rounds: 0 });
            [Damping::FLAT, Damping::new(&gram)].map(|d| energy(d, steps(true, 3)) / plain)
        });
        assert!(short[1] < 0.8 * short[0], "one token an input: {} with 1 %, {} damped", short[0], short[1]);
        assert!(long[1] < 1.05 * long[0], "twelve: {} with 1 %, {} damped", long[0], long[1]);
    }

    #[test]
    fn without_factors_plain_rounding_is_never_better() {
        let (inputs, rows) = (96, 30);
        let parts = vec![Part { name: "some.weight".into(), rows: 0..rows, clip: true }];
        for factor in [1.0, 1e-8, 1e-30, 0.0] {
            let weights = random(rows * inputs, 8).iter().map(|w| w * factor).collect();
            let fused =
                Fused { packed: "some".into(), parts: parts.clone(), weights, inputs, group: GroupSize::G64 };
            let gram = gram(inputs);
            // So much damping that the steps serve the weights rather than the outputs.
            let objective = Objective::new(&gram, None, damping(1e6), 64);
            let factors = Factors { columns: None, rows: None };
            let run = Run { workers: &workers(), tick: &mut |_| Ok(()) };
            let done = refine(&fused, factors, &objective, None, steps(true, 2), false, run).unwrap();
            let (plain, _) = baseline(&fused, &gram, None).unwrap();
            assert!(done.rounded.errors[0] <= plain[0], "{factor}: {} {}", done.rounded.errors[0], plain[0]);
            assert!(done.rounded.matrix.scales.iter().all(|scale| scale.is_finite()));
            assert!(done.target.is_empty());
        }
    }

    #[test]
    fn large_matrices_tick_and_stop_when_told() {
        let (inputs, rows) = (32, WEIGHTS_PER_TICK / 32 + 1);
        let parts = vec![Part { name: "some.weight".into(), rows: 0..rows, clip: true }];
        let weights = vec![0.0; rows * inputs];
        let fused = Fused { packed: "some".into(), parts, weights, inputs, group: GroupSize::G32 };
        let objective = Objective::new(&gram(inputs), None, Damping::FLAT, 32);
        let factors = Factors { columns: None, rows: None };
        let refined = |tick: &mut dyn FnMut(f64) -> Result<()>| {
            let run = Run { workers: &workers(), tick };
            refine(&fused, factors, &objective, None, steps(false, 0), false, run)
        };
        let mut shares = Vec::new();
        let mut note = |share| {
            shares.push(share);
            Ok(())
        };
        assert!(refined(&mut note).is_ok());
        assert_eq!((shares.len(), shares.iter().sum()), (2, 1.0));
        let mut ticks = 0;
        let mut stop = |_| {
            ticks += 1;
            Err(Error::Cancelled)
        };
        assert!(matches!(refined(&mut stop), Err(Error::Cancelled)));
        assert_eq!(ticks, 1);
    }

    #[test]
    fn inputs_that_are_always_zero_can_be_rounded() {
        let (inputs, rows) = (70, 3);
        let parts = vec![Part { name: "some.weight".into(), rows: 0..rows, clip: true }];
        let weights = random(rows * inputs, 9);
        let fused = Fused { packed: "some".into(), parts, weights, inputs, group: GroupSize::G64 };
        let mut gram = Gram::new(inputs);
        gram.add(&vec![0.0; 5 * inputs]);
        let objective = Objective::new(&gram, None, damping(0.03), 64);
        let factors = Factors { columns: None, rows: None };
        let run = Run { workers: &workers(), tick: &mut |_| Ok(()) };
        let done = refine(&fused, factors, &objective, None, steps(true, 2), false, run).unwrap();
        assert_eq!(done.rounded.errors, [0.0]);
    }
}
