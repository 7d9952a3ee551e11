//! One matrix of a layer: its scales, its rounding, and what is written of it.

use super::Sequence;
use super::streams::Difference;
use super::work::{rounding_work, sampled_rows, search_work};
use crate::apply::{Plan, Rounded, apply};
use crate::gram::Gram;
use crate::matrix::{Fused, Metric, Part};
use crate::objective::{Objective, Pull};
use crate::refine::{Factors, Run, baseline, refine, relative_steps};
use crate::report::StepError;
use crate::search::{CANDIDATES, Scaling, search};
use crate::{Error, Result, Step};
use edgewen_layout::WeightBits;

/// A matrix and all that is known of its inputs.
pub(super) struct Job {
    pub(super) fused: Fused,
    pub(super) gram: Gram,
    pub(super) scaling: Scaling,
    pub(super) row_factors: Option<Vec<f32>>,
    pub(super) difference: Option<Difference>,
    /// Whether the scales are folded already into the matrix before.
    pub(super) fixed: bool,
}

/// A rounded matrix, ready to be written.
pub(super) struct Done {
    pub(super) job: Job,
    pub(super) rounded: Rounded,
    pub(super) plain: Vec<f64>,
    pub(super) sizes: Vec<f64>,
    pub(super) steps: Vec<StepError>,
    pub(super) target: Vec<f32>,
}

impl Sequence<'_, '_, '_, '_> {
    /// The best scales of a matrix for these inputs, by a sample of its rows.
    pub(super) fn scales(
        &mut self,
        fused: &Fused,
        gram: &Gram,
        ties: Option<&[usize]>,
        what: &str,
    ) -> Result<Scaling> {
        let four = self.options.layer_bits(&fused.packed) == WeightBits::Four;
        if !(four && self.settings.on(Step::Scales)) {
            return Ok(Scaling::default());
        }
        let sample = sample(fused);
        let work = search_work(sample.rows(), fused.inputs) / CANDIDATES as f64;
        let meter = &mut *self.meter;
        let mut tick = || meter.tick(work, what);
        Ok(search(&sample, gram, ties, self.workers, &mut tick)?.scaling)
    }

    /// Rounds a matrix. Gives up scales and then row factors if with them a part is worse than plainly rounded; without
    /// them it never is. `None` if that would take giving up fixed scales.
    pub(super) fn round(&mut self, mut job: Job) -> Result<Option<Done>> {
        let what = job.fused.packed.replace("layers.", "layer ");
        let work = rounding_work(job.fused.rows(), job.fused.inputs, self.batch.len());
        let bits = self.options.layer_bits(&job.fused.packed);
        if bits == WeightBits::Four {
            return self.round_four(job, work, &what);
        }
        job.scaling = Scaling::default();
        let metric = Metric::Output(&job.gram);
        let row_factors = job.row_factors.as_deref();
        let plan = Plan { bits, scales: None, row_factors, metric, clip: None };
        let (rounded, sizes, target) = self.workers.install(|| {
            let rounded = apply(&job.fused, &plan);
            rounded.map(|r| {
                (r, crate::apply::sizes(&job.fused, metric), crate::apply::target(&job.fused, &plan))
            })
        })?;
        self.meter.tick(work, &what)?;
        let plain = rounded.errors.clone();
        Ok(Some(Done { job, rounded, plain, sizes, steps: Vec::new(), target }))
    }

    /// The same for four bits. `work` and `what` are for the progress.
    fn round_four(&mut self, mut job: Job, work: f64, what: &str) -> Result<Option<Done>> {
        let (mut scaling, mut row_factors) = (std::mem::take(&mut job.scaling), job.row_factors.take());
        let Job { fused, gram, difference, fixed, .. } = &job;
        let pull = difference.as_ref().map(|d| Pull { r: &d.r, e: &d.e });
        let (plain, sizes) = self.workers.install(|| baseline(fused, gram, pull))?;
        loop {
            let factors = Factors { columns: scaling.scales.as_deref(), rows: row_factors.as_deref() };
            let (settings, size) = (&self.settings, self.options.group.get());
            let keep = self.output.wants_target();
            let damping = settings.damping(gram);
            let objective = self.workers.install(|| Objective::new(gram, factors.columns, damping, size));
            let mut tick = |share: f64| self.meter.tick(share * work, what);
            let run = Run { workers: self.workers, tick: &mut tick };
            let refined = refine(fused, factors, &objective, pull, settings.steps(), keep, run);
            let worse = |errors: &[f64]| errors.iter().zip(&plain).any(|(error, plain)| error > plain);
            match refined {
                Ok(refined) if !worse(&refined.rounded.errors) => {
                    let steps = relative_steps(&refined.steps, &sizes, settings);
                    let (rounded, target) = (refined.rounded, refined.target);
                    (job.scaling, job.row_factors) = (scaling, row_factors);
                    return Ok(Some(Done { rounded, plain, sizes, steps, target, job }));
                }
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                _ if *fixed && scaling.scales.is_some() => return Ok(None),
                _ if scaling.scales.is_some() => scaling = Scaling::default(),
                _ if row_factors.is_some() => row_factors = None,
                // Nothing is left to give up.
                Err(error) => return Err(error),
                Ok(_) => return Err(Error::NotFiniteInputs { tensor: fused.parts[0].name.clone() }),
            }
        }
    }

    pub(super) fn write(&mut self, done: Done) -> Result<()> {
        let Done { job, rounded, plain, sizes, steps, target } = done;
        let metric = Metric::Output(&job.gram);
        let output = &mut *self.output;
        // On the workers, for the sake of the twin.
        self.workers.install(|| {
            let target = output.wants_target().then_some(target);
            output.write_matrix(&job.fused, &rounded, &plain, &sizes, &job.scaling, metric, target, steps)
        })
    }
}

/// Every so many rows of each part.
fn sample(fused: &Fused) -> Fused {
    let step = fused.rows().div_ceil(sampled_rows(fused.rows(), fused.inputs));
    let mut sample = Fused { parts: Vec::new(), ..fused.clone_names() };
    let mut rows = 0;
    for part in &fused.parts {
        let chosen = part.rows.clone().step_by(step);
        let first = rows;
        rows += chosen.len();
        sample.parts.push(Part { rows: first..rows, ..part.clone() });
        for row in chosen {
            sample.weights.extend_from_slice(&fused.weights[row * fused.inputs..][..fused.inputs]);
        }
    }
    sample
}
