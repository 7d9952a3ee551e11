//! `edgewen eval`: measurements of a model, one file each.

mod compare;
pub mod kl;
pub mod perplexity;
mod protocol;
mod score;
mod tasks;
mod wnli;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use edgewen_eval::{Identity, Watch};
use serde::Serialize;

use crate::args::{EvalArgs, EvalVerb};
use crate::interrupt::Interrupted;
use crate::model::{Model, Source};
use crate::output;
use crate::progress::{Progress, Shown};

/// Measures what is asked for.
pub fn run(arguments: &EvalArgs) -> anyhow::Result<()> {
    match &arguments.verb {
        EvalVerb::Perplexity(arguments) => perplexity::run(arguments),
        EvalVerb::Kl(arguments) => kl::run(arguments),
        EvalVerb::Wnli(arguments) => wnli::run(arguments),
        EvalVerb::Tasks(arguments) => tasks::run(arguments),
        EvalVerb::Compare(arguments) => compare::run(arguments),
        EvalVerb::Score(arguments) => score::run(arguments),
    }
}

/// What a model is, by its contents.
pub fn identity(model: &str) -> anyhow::Result<Identity> {
    Ok(match Source::open(model)? {
        Source::Packed(file) => Identity::of_packed(&file),
        Source::Checkpoint(checkpoint) => Identity::of_checkpoint(&checkpoint)?,
    })
}

/// How it is computed. The figures depend on none of it but the cache's number format.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    device: String,
    isa: String,
    threads: usize,
    kv: &'static str,
}

impl Settings {
    /// Those of a model.
    pub fn of(model: &Model) -> Self {
        let (device, isa) = (model.device.clone(), model.isa.clone());
        Self { device, isa, threads: model.threads, kv: model.kv }
    }

    /// In a line, with the time it took.
    pub fn line(&self, seconds: f64) -> String {
        format!("{}, {}, kv {}, in {}", self.device, self.isa, self.kv, output::seconds(seconds))
    }
}

/// Says that a run goes on where it stopped.
pub fn note_continued(run: &edgewen_eval::Run, path: Option<&Path>, unit: &str) {
    if let (Some(path), 1..) = (path, run.continued()) {
        output::note(&format!("{}: goes on after {} {unit}", path.display(), run.continued()));
    }
}

/// Does `work` with a progress line and turns its cancellation into that of the command.
pub fn watched<T>(
    cancel: &AtomicBool,
    work: impl FnOnce(&mut Watch<'_>) -> edgewen_eval::Result<T>,
) -> anyhow::Result<T> {
    let mut progress: Option<Progress> = None;
    let mut shown = |done: usize, total: usize| {
        progress
            .get_or_insert_with(|| Progress::new(total as u64, "tokens", Shown::Count))
            .update(done as u64, "");
    };
    match work(&mut Watch::new(cancel, &mut shown)) {
        Err(error) if error.is_cancelled() => Err(Interrupted.into()),
        result => Ok(result?),
    }
}
