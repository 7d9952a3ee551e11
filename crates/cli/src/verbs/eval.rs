//! `edgewen eval`: measurements of a model's quality, each a file of items that can be continued.

mod tasks;
mod wnli;

use edgewen_eval::Identity;

use crate::args::{EvalArgs, EvalVerb};
use crate::model::Source;

/// Measures and prints.
pub fn run(arguments: &EvalArgs) -> anyhow::Result<()> {
    match &arguments.verb {
        EvalVerb::Wnli(arguments) => wnli::run(arguments),
        EvalVerb::Tasks(arguments) => tasks::run(arguments),
    }
}

/// What a model is, by its contents.
fn identity(model: &str) -> anyhow::Result<Identity> {
    Ok(match Source::open(model)? {
        Source::Packed(file) => Identity::of_packed(&file),
        Source::Checkpoint(checkpoint) => Identity::of_checkpoint(&checkpoint)?,
    })
}
