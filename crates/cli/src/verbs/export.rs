//! `edgewen export`: a packed file in the layout of another design.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use edgewen_model::awq_macro::{self, ExportReport, Rounding};
use serde::Serialize;

use crate::args::{ExportArgs, LayoutArg};
use crate::files;
use crate::model::Source;
use crate::output::{self, grouped};

#[derive(Serialize)]
struct Summary<'a> {
    output: &'a Path,
    manifest: &'a Path,
    layout: &'static str,
    #[serde(flatten)]
    report: ExportReport,
}

/// Writes the file and its manifest, and says what was rounded.
pub fn run(arguments: &ExportArgs) -> anyhow::Result<()> {
    let LayoutArg::AwqMacro = arguments.layout;
    let file = match Source::open(&arguments.file)? {
        Source::Packed(file) => file,
        Source::Checkpoint(_) => {
            bail!(
                "{} is a directory: export reads packed files, which `edgewen quantize` writes",
                arguments.file
            )
        }
    };
    let manifest = manifest_of(&arguments.output);
    if manifest.exists() && !arguments.force {
        bail!("{} exists already: choose another name, or overwrite it with --force", manifest.display());
    }
    let mut manifest_file = files::begin(&manifest)?;
    let text = serde_json::to_string_pretty(&awq_macro::manifest(file.config())?)?;
    writeln!(manifest_file, "{text}").with_context(|| format!("cannot write {}", manifest.display()))?;

    let report = awq_macro::export(&file, &arguments.output, arguments.force)?;
    files::finish(manifest_file, &manifest)?;
    let summary = Summary { output: &arguments.output, manifest: &manifest, layout: "awq-macro", report };
    if arguments.json { output::json(&summary) } else { output::text_out(&text_of(&summary)) }
}

/// `NAME.json` beside the file.
fn manifest_of(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".json");
    name.into()
}

fn text_of(summary: &Summary<'_>) -> String {
    let report = &summary.report;
    let embedding = match report.embedding_bits {
        bits @ (4 | 8) => format!("dequantized from {bits} bits to f16; {}", rounding(&report.embedding)),
        _ => rounding(&report.embedding),
    };
    output::fields(&[
        ("wrote", format!("{}, {} bytes", summary.output.display(), grouped(report.file_bytes))),
        ("manifest", summary.manifest.display().to_string()),
        ("matrices", "every bit as in the packed file".to_string()),
        ("embedding", embedding),
        ("biases", rounding(&report.biases)),
        ("norms", rounding(&report.norms)),
    ])
}

fn rounding(rounding: &Rounding) -> String {
    match rounding.rounded {
        0 => format!("{} values, f16 holds them all", grouped(rounding.values)),
        rounded => format!(
            "{} of {} values rounded to f16, by {:.2e} at most",
            grouped(rounded),
            grouped(rounding.values),
            rounding.largest
        ),
    }
}
