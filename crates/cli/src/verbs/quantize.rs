//! `edgewen quantize`: a checkpoint into one packed file.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use edgewen_model::Checkpoint;
use edgewen_quant::{BudgetReport, Calibration, Effort, HeadBits, Method, QuantizeOptions, Report};
use serde::Serialize;

use crate::args::{EffortArg, GroupArg, MethodArg, QuantizeArgs};
use crate::interrupt::{self, Interrupted, Second};
use crate::output::{self, grouped};
use crate::progress::{Progress, Shown};
use crate::{files, machine, report_html};

/// What `--json` prints: the report without its tensors.
#[derive(Serialize)]
struct Summary<'a> {
    output: &'a Path,
    file_bytes: u64,
    checkpoint_bytes: u64,
    ratio: f64,
    method: &'a str,
    group: usize,
    head_bits: u32,
    bits_per_weight: f64,
    relative_error: f64,
    relative_error_rtn: f64,
    calibration: Option<&'a edgewen_quant::CalibrationReport>,
    budget: Option<&'a edgewen_quant::BudgetReport>,
    threads: usize,
    seconds: f64,
    peak_memory_bytes: Option<u64>,
}

/// Quantizes, then prints what came of it.
pub fn run(arguments: &QuantizeArgs) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::open(&arguments.checkpoint)?;
    if checkpoint.quantization().is_some() {
        return super::repack::run(&checkpoint, arguments);
    }
    let options = options(arguments)?;
    let cancel = interrupt::listen(Second::Waits)?;
    // Opened now: a folder that is not there is no news for after the work.
    let report_file = arguments.report.as_deref().map(files::begin).transpose()?;

    let mut watch = Watch::new(cancel, "quantizing");
    let report = match edgewen_quant::quantize(&checkpoint, &arguments.output, &options, &mut watch) {
        Err(edgewen_quant::Error::Cancelled) => return Err(Interrupted.into()),
        result => result?,
    };
    drop(watch);
    if let (Some(mut file), Some(path)) = (report_file, &arguments.report) {
        let mut text = match path.extension() {
            Some(extension) if extension == "html" => report_html::page(&report)?,
            _ => serde_json::to_string_pretty(&report)?,
        };
        text.push('\n');
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
        files::finish(file, path)?;
    }

    let summary = summary(&arguments.output, &report, checkpoint.tensor_bytes());
    if arguments.json { output::json(&summary) } else { output::text_out(&text(&summary)) }
}

fn options(arguments: &QuantizeArgs) -> anyhow::Result<QuantizeOptions> {
    let calibration = match &arguments.calibration {
        Some(path) => Calibration::from_file(path)?,
        None => Calibration::BuiltIn,
    };
    let default = QuantizeOptions::default();
    Ok(QuantizeOptions {
        method: match arguments.method {
            Some(MethodArg::AwqGptq) => Method::AwqGptq,
            Some(MethodArg::Awq) => Method::Awq,
            Some(MethodArg::Rtn) => Method::Rtn,
            None => default.method,
        },
        effort: match arguments.effort {
            Some(EffortArg::Fast) => Effort::Fast,
            Some(EffortArg::Normal) => Effort::Normal,
            Some(EffortArg::Best) => Effort::Best,
            None => default.effort,
        },
        skip: arguments.skip.iter().map(|step| step.step()).collect(),
        group: arguments.group.map_or(default.group, GroupArg::size),
        // Within a budget the head begins with the bits that all matrices begin with, unless the user fixes it.
        head: match (arguments.head, arguments.bits_budget) {
            (Some(head), _) => head.bits(),
            (None, Some(_)) => HeadBits::Four,
            (None, None) => default.head,
        },
        calibration,
        calibration_tokens: arguments.calibration_tokens.unwrap_or(default.calibration_tokens),
        threads: arguments.threads.unwrap_or_else(machine::cores),
        bits_budget: arguments.bits_budget,
        held_out_tokens: arguments.held_out_tokens.unwrap_or(default.held_out_tokens),
        force: arguments.force,
        ..default
    })
}

/// Shows the progress and passes Ctrl-C on.
pub struct Watch {
    progress: Option<Progress>,
    what: &'static str,
    cancel: Arc<AtomicBool>,
}

impl Watch {
    /// `what` is done, such as `quantizing`.
    pub fn new(cancel: Arc<AtomicBool>, what: &'static str) -> Self {
        Self { progress: None, what, cancel }
    }
}

impl edgewen_quant::Progress for Watch {
    fn step(&mut self, done: usize, total: usize, what: &str) {
        let progress =
            self.progress.get_or_insert_with(|| Progress::new(total as u64, self.what, Shown::Share));
        progress.update(done as u64, what);
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::SeqCst)
    }
}

fn summary<'a>(output: &'a Path, report: &'a Report, checkpoint_bytes: u64) -> Summary<'a> {
    Summary {
        output,
        file_bytes: report.file_bytes,
        checkpoint_bytes,
        ratio: report.file_bytes as f64 / checkpoint_bytes as f64,
        method: &report.method,
        group: report.group,
        head_bits: report.head_bits,
        bits_per_weight: report.totals.bits_per_weight,
        relative_error: report.totals.error,
        relative_error_rtn: report.totals.error_rtn,
        calibration: report.calibration.as_ref(),
        budget: report.budget.as_ref(),
        threads: report.threads,
        seconds: report.seconds,
        peak_memory_bytes: report.peak_memory_bytes,
    }
}

fn text(summary: &Summary<'_>) -> String {
    let calibration = summary.calibration.map_or(String::new(), |calibration| {
        format!(", calibrated on {} tokens of {}", grouped(calibration.tokens as u64), calibration.name)
    });
    let mut fields = vec![
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
                "{}, group {}, head {} bits{calibration}",
                summary.method, summary.group, summary.head_bits
            ),
        ),
        ("matrices", format!("{:.2} bits a weight", summary.bits_per_weight)),
        (
            "error",
            format!(
                "{:.5} of the output's energy in the 4-bit matrices (plain rounding: {:.5})",
                summary.relative_error, summary.relative_error_rtn
            ),
        ),
    ];
    if let Some(budget) = summary.budget {
        fields.extend(budget_fields(budget));
    }
    fields.extend([
        ("time", format!("{}, {} threads", output::seconds(summary.seconds), summary.threads)),
        ("peak memory", summary.peak_memory_bytes.map_or("unknown".to_string(), output::bytes)),
    ]);
    output::fields(&fields)
}

/// How a budget was spent.
fn budget_fields(budget: &BudgetReport) -> [(&'static str, String); 3] {
    let mut chosen: Vec<_> = budget.matrices.iter().filter(|matrix| matrix.bits == 8).collect();
    chosen.sort_by_key(|matrix| matrix.chosen);
    let names: Vec<&str> = chosen.iter().map(|matrix| matrix.name.as_str()).collect();
    let estimate = |kl: edgewen_eval::stats::Estimate| format!("{:.5} ± {:.5}", kl.value, kl.standard_error);
    let divergence = format!(
        "{} on {} held-out tokens; predicted {}; with 4 bits {}, with 8 bits {}",
        estimate(budget.kl_measured),
        grouped(budget.held_out_tokens as u64),
        estimate(budget.kl_predicted),
        estimate(budget.kl_four),
        estimate(budget.kl_eight)
    );
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    [
        ("budget", format!("{} bits a weight", budget.bits)),
        ("8 bits", format!("{} of {} matrices: {names}", chosen.len(), budget.matrices.len())),
        ("divergence", divergence),
    ]
}
