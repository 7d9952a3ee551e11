//! `edgewen export`: a packed file as an AutoAWQ checkpoint, or in the layout of another design.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use edgewen_model::autoawq;
use edgewen_model::awq_macro::{self, ExportReport, Rounding};
use edgewen_model::packed::PackedFile;
use serde::Serialize;

use crate::args::{ExportArgs, FormatArg};
use crate::files;
use crate::model::Source;
use crate::output::{self, grouped};

/// What `--json` prints of a directory.
#[derive(Serialize)]
struct Directory<'a> {
    output: &'a Path,
    format: &'static str,
    #[serde(flatten)]
    report: &'a autoawq::ExportReport,
}

#[derive(Serialize)]
struct Summary<'a> {
    output: &'a Path,
    manifest: &'a Path,
    format: &'static str,
    #[serde(flatten)]
    report: ExportReport,
}

/// Writes the file or directory, and says what was rounded.
pub fn run(arguments: &ExportArgs) -> anyhow::Result<()> {
    let file = match Source::open(&arguments.file)? {
        Source::Packed(file) => file,
        Source::Checkpoint(_) => {
            bail!(
                "{} is a directory: export reads packed files, which `edgewen quantize` writes",
                arguments.file
            )
        }
    };
    match arguments.format {
        FormatArg::Autoawq => directory(&file, arguments),
        FormatArg::AwqMacro => macros(&file, arguments),
    }
}

/// An AutoAWQ checkpoint.
fn directory(file: &PackedFile, arguments: &ExportArgs) -> anyhow::Result<()> {
    let report = autoawq::export(file, &arguments.output, arguments.force)?;
    if arguments.json {
        return output::json(&Directory { output: &arguments.output, format: "autoawq", report: &report });
    }
    let mut matrices =
        format!("{} with 4 bits in groups of {}, every bit kept", report.quantized, report.group);
    if !report.not_converted.is_empty() {
        let dequantized = rounding(&report.eight_bit);
        matrices += &format!("; {} with 8 bits became f16, {dequantized}", report.not_converted.len());
    }
    let wrote = format!("{}, weights of {} bytes", arguments.output.display(), grouped(report.file_bytes));
    output::text_out(&output::fields(&[
        ("wrote", wrote),
        ("linear layers", matrices),
        ("embedding", embedding(report.embedding_bits, &report.embedding)),
        ("biases", rounding(&report.biases)),
        ("norms", rounding(&report.norms)),
    ]))
}

/// An AWQ_MACRO file and its manifest.
fn macros(file: &PackedFile, arguments: &ExportArgs) -> anyhow::Result<()> {
    let manifest = manifest_of(&arguments.output);
    if manifest.exists() && !arguments.force {
        bail!("{} exists already: choose another name, or overwrite it with --force", manifest.display());
    }
    let mut manifest_file = files::begin(&manifest)?;
    let text = serde_json::to_string_pretty(&awq_macro::manifest(file.config())?)?;
    writeln!(manifest_file, "{text}").with_context(|| format!("cannot write {}", manifest.display()))?;

    let report = awq_macro::export(file, &arguments.output, arguments.force)?;
    files::finish(manifest_file, &manifest)?;
    let summary = Summary { output: &arguments.output, manifest: &manifest, format: "awq-macro", report };
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
    output::fields(&[
        ("wrote", format!("{}, {} bytes", summary.output.display(), grouped(report.file_bytes))),
        ("manifest", summary.manifest.display().to_string()),
        ("matrices", "every bit as in the packed file".to_string()),
        ("embedding", embedding(report.embedding_bits, &report.embedding)),
        ("biases", rounding(&report.biases)),
        ("norms", rounding(&report.norms)),
    ])
}

fn embedding(bits: u32, values: &Rounding) -> String {
    match bits {
        4 | 8 => format!("dequantized from {bits} bits to f16; {}", rounding(values)),
        _ => rounding(values),
    }
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
