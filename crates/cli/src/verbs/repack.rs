//! `edgewen quantize` of a checkpoint that is quantized already: its integers go into the packed file as they are.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use edgewen_model::Checkpoint;
use edgewen_quant::{RepackOptions, RepackReport};
use serde::Serialize;

use super::quantize::Watch;
use crate::args::{GroupArg, HeadArg, QuantizeArgs};
use crate::files;
use crate::input::Usage;
use crate::interrupt::{self, Interrupted, Second};
use crate::output::{self, grouped};

/// What `--json` prints: the report without its list.
#[derive(Serialize)]
struct Summary<'a> {
    output: &'a Path,
    file_bytes: u64,
    checkpoint_bytes: u64,
    ratio: f64,
    imported: &'a str,
    group: usize,
    head_bits: u32,
    bits_per_weight: f64,
    eight_bit_matrices: usize,
    reordered_matrices: usize,
    scales_rounded: u64,
    seconds: f64,
}

/// Imports the checkpoint, then prints what came of it.
pub fn run(checkpoint: &Checkpoint, arguments: &QuantizeArgs) -> anyhow::Result<()> {
    check(checkpoint, arguments)?;
    let options = RepackOptions {
        head: arguments.head.map(HeadArg::bits),
        group: arguments.group.map(GroupArg::size),
        force: arguments.force,
    };
    let cancel = interrupt::listen(Second::Waits)?;
    let report_file = arguments.report.as_deref().map(files::begin).transpose()?;
    let mut watch = Watch::new(cancel, "importing");
    let report = match edgewen_quant::repack(checkpoint, &arguments.output, &options, &mut watch) {
        Err(edgewen_quant::Error::Cancelled) => return Err(Interrupted.into()),
        result => result?,
    };
    drop(watch);
    if let (Some(mut file), Some(path)) = (report_file, &arguments.report) {
        let text = serde_json::to_string_pretty(&report)?;
        writeln!(file, "{text}").with_context(|| format!("cannot write {}", path.display()))?;
        files::finish(file, path)?;
    }
    let checkpoint_bytes = checkpoint.tensor_bytes();
    let summary = Summary {
        output: &arguments.output,
        file_bytes: report.file_bytes,
        checkpoint_bytes,
        ratio: report.file_bytes as f64 / checkpoint_bytes as f64,
        imported: &report.format,
        group: report.group,
        head_bits: report.head_bits,
        bits_per_weight: report.bits_per_weight,
        eight_bit_matrices: report.eight_bit_matrices,
        reordered_matrices: report.reordered_matrices,
        scales_rounded: report.scales.rounded,
        seconds: report.seconds,
    };
    if arguments.json { output::json(&summary) } else { output::text_out(&text(&summary, &report)) }
}

/// Refuses what would have no effect.
fn check(checkpoint: &Checkpoint, arguments: &QuantizeArgs) -> anyhow::Result<()> {
    let given = [
        ("--method", arguments.method.is_some()),
        ("--effort", arguments.effort.is_some()),
        ("--skip", !arguments.skip.is_empty()),
        ("--bits-budget", arguments.bits_budget.is_some()),
        ("--calibration", arguments.calibration.is_some()),
        ("--calibration-tokens", arguments.calibration_tokens.is_some()),
        ("--held-out-tokens", arguments.held_out_tokens.is_some()),
    ];
    let format = checkpoint.quantization().map_or("", |quantization| quantization.format.name());
    if let Some((flag, _)) = given.into_iter().find(|(_, given)| *given) {
        let message = format!(
            "{flag}: {} is quantized already ({format}) and is imported as it is, without calibration; leave the flag \
             out, or quantize the float checkpoint",
            checkpoint.dir().display()
        );
        return Err(Usage(message).into());
    }
    let page = arguments.report.as_deref().filter(|path| path.extension().is_some_and(|end| end == "html"));
    match page {
        None => Ok(()),
        Some(path) => Err(Usage(format!(
            "--report {}: an import has no errors to plot; give a name that does not end in .html",
            path.display()
        ))
        .into()),
    }
}

fn text(summary: &Summary<'_>, report: &RepackReport) -> String {
    let mut matrices = format!("{:.2} bits a weight", summary.bits_per_weight);
    if summary.eight_bit_matrices > 0 {
        matrices += &format!(", {} with 8 bits", summary.eight_bit_matrices);
    }
    if summary.reordered_matrices > 0 {
        matrices += &format!(", {} with columns in another order", summary.reordered_matrices);
    }
    let scales = match summary.scales_rounded {
        0 => "all as in the checkpoint".to_string(),
        rounded => format!(
            "{} of {} rounded to f16, by {:.2e} of their value at most, in {} linear layers",
            grouped(rounded),
            grouped(report.scales.scales),
            report.scales.largest_relative,
            report.rounded.len()
        ),
    };
    output::fields(&[
        ("wrote", summary.output.display().to_string()),
        (
            "size",
            format!(
                "{} bytes, {:.1} % of the checkpoint's {}",
                grouped(summary.file_bytes),
                100.0 * summary.ratio,
                grouped(summary.checkpoint_bytes)
            ),
        ),
        (
            "method",
            format!(
                "imported from {}, no re-quantizing; group {}, head {} bits",
                summary.imported, summary.group, summary.head_bits
            ),
        ),
        ("matrices", matrices),
        ("scales", scales),
        ("time", output::seconds(summary.seconds)),
    ])
}
