//! The numbers behind the efforts; docs/quantization.md says how they were found.

use crate::gram::Gram;
use crate::objective::Damping;
use crate::{Effort, QuantizeOptions, Step};
use std::collections::BTreeSet;

/// The numbers behind an effort and the steps that are left.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    skip: BTreeSet<Step>,
    rounds: usize,
    clips: Vec<f32>,
    /// Part of the difference to the original model that a matrix makes up for.
    pub(crate) correction: f32,
    /// The same of the difference of the hidden states that a matrix adds to.
    pub(crate) residual: f32,
}

impl Settings {
    pub(crate) fn new(options: &QuantizeOptions) -> Self {
        let (rounds, clips) = match options.effort {
            Effort::Fast => (1, vec![1.0, 0.9, 0.8]),
            Effort::Normal => (4, vec![1.0, 0.95, 0.9, 0.85, 0.8, 0.7]),
            Effort::Best => (8, vec![1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7, 0.65, 0.6]),
        };
        let skip = options.skip.clone();
        Settings { skip, rounds, clips, correction: 0.5, residual: 0.5 }
    }

    /// Whether a step is done.
    pub(crate) fn on(&self, step: Step) -> bool {
        let without = |step: Step| self.skip.contains(&step);
        match step {
            Step::ValueOutput => !without(step) && !without(Step::Scales),
            _ => !without(step),
        }
    }

    /// What is added to the diagonal of a Gram matrix.
    pub(crate) fn damping(&self, gram: &Gram) -> Damping {
        if self.on(Step::Damping) { Damping::new(gram) } else { Damping::FLAT }
    }

    /// Those of the rounding of a matrix.
    pub(crate) fn steps(&self) -> crate::refine::Steps<'_> {
        crate::refine::Steps {
            clips: if self.on(Step::Clip) { &self.clips } else { &[1.0] },
            feedback: self.on(Step::Feedback),
            rounds: if self.on(Step::Descent) { self.rounds } else { 0 },
        }
    }
}
