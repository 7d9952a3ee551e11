//! `edgewen import`: a file in the layout of another design into a packed file.

use std::path::Path;

use anyhow::bail;
use edgewen_model::awq_macro::{self, Description};
use serde::Serialize;

use crate::args::ImportArgs;
use crate::model::Source;
use crate::output::{self, grouped};

#[derive(Serialize)]
struct Summary<'a> {
    output: &'a Path,
    file_bytes: u64,
    source: &'a Path,
    source_bytes: u64,
}

/// Writes the packed file.
pub fn run(arguments: &ImportArgs) -> anyhow::Result<()> {
    let description = describe(&arguments.config)?;
    if !arguments.file.exists() {
        bail!("there is no file {}", arguments.file.display());
    }
    let source_bytes = awq_macro::file_bytes(&description.config)?;
    let file_bytes = awq_macro::import(&arguments.file, description, &arguments.output, arguments.force)?;
    let summary = Summary { output: &arguments.output, file_bytes, source: &arguments.file, source_bytes };
    if arguments.json {
        return output::json(&summary);
    }
    output::text_out(&output::fields(&[
        ("wrote", format!("{}, {} bytes", summary.output.display(), grouped(file_bytes))),
        ("from", format!("{}, {} bytes", summary.source.display(), grouped(source_bytes))),
        ("matrices", "every bit as in the file".to_string()),
        ("embedding", "f16".to_string()),
    ]))
}

/// What `--config` says about the model. A directory is not opened as a checkpoint, which would ask for its weights.
fn describe(model: &str) -> anyhow::Result<Description> {
    let path = Path::new(model);
    if path.is_dir() {
        return Ok(Description::from_dir(path)?);
    }
    match Source::open(model)? {
        Source::Packed(file) => Ok(Description::from_packed(&file)?),
        Source::Checkpoint(_) => bail!("{model} has become a directory"),
    }
}
