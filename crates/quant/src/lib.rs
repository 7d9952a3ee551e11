//! Turns a checkpoint into a packed file: scales, error feedback and descent, AWQ, and plain rounding as the baseline.
//!
//! The default is [`Method::AwqGptq`]; docs/quantization.md describes its steps and what each is worth.
//! [`Method::Awq`] is AWQ as published (Lin et al. 2023, arXiv 2306.00978): scales for the input channels, found on calibration text and
//! folded into the operation before, and clipped ranges. What differs is how candidates are judged: by the Gram matrix
//! of a layer's inputs ([`TensorReport::error`] is exact for linear layers) instead of by running the layer again, which
//! makes minutes of hours. Calibration sees the original model: errors of earlier layers do not enter later ones.
//! The result depends on neither the number of threads nor the time; on another kind of processor the f32 products may
//! be summed in another order and then, rarely, another candidate is the best.
#![forbid(unsafe_code)]

mod apply;
mod attention;
mod budget;
mod calibrate;
mod cholesky;
mod descent;
mod error;
mod feedback;
mod fold;
mod gram;
mod head;
mod held_out;
mod matrix;
mod objective;
mod options;
mod output;
mod overlay;
mod quantizer;
mod ranges;
mod refine;
mod repack;
mod report;
mod round;
mod rtn;
mod search;
mod sequence;
mod settings;

pub use budget::{BudgetReport, Sensitivity};
pub use error::{Error, Result};
pub use options::{Calibration, Effort, HeadBits, Method, Progress, QuantizeOptions, Silent, Step};
pub use repack::{RepackOptions, RepackReport, RoundedScales, repack};
pub use report::{CalibrationReport, Measure, Report, StepError, TensorReport, Totals};

use calibrate::Text;
use edgewen_engine::{Batch, Forward};
use edgewen_model::packed::{Header, PackedWriter, QuantizationInfo};
use edgewen_model::{Checkpoint, Tokenizer, TokenizerFiles};
use output::Output;
use quantizer::{Meter, Quantizer};
use std::path::Path;
use std::time::Instant;

/// Tokens whose logits are asked for at a time; the quantizer does not compute them, but the buffer is there.
const HEAD_ROWS: usize = 64;

/// Quantizes a checkpoint into the packed file `output`.
///
/// Relative errors in the report are those of the outputs on the calibration text for AWQ, and those of the weights for
/// [`Method::Rtn`], which sees no text. With AWQ no tensor's error is larger than that of plain rounding.
///
/// # Errors
/// Whatever is wrong with the checkpoint, the calibration text or the output's place; [`Error::Cancelled`] if
/// [`Progress::cancelled`] says so. No file is left then, and an existing one stays.
pub fn quantize(
    checkpoint: &Checkpoint,
    output: &Path,
    options: &QuantizeOptions,
    progress: &mut dyn Progress,
) -> Result<Report> {
    match options.bits_budget {
        Some(bits) => budget::quantize(checkpoint, output, bits, options, progress),
        None => quantize_once(checkpoint, output, None, options, progress),
    }
}

/// [`quantize`] with the bits that the options name. With `twin`, the same model is written there with the same factors
/// but 8 bits in every quantized matrix, plainly rounded: any matrix of the one file can stand in for that of the other.
pub(crate) fn quantize_once(
    checkpoint: &Checkpoint,
    output: &Path,
    twin: Option<&Path>,
    options: &QuantizeOptions,
    progress: &mut dyn Progress,
) -> Result<Report> {
    let start = Instant::now();
    if let Some(quantization) = checkpoint.quantization() {
        let (dir, format) = (checkpoint.dir().to_owned(), quantization.format.name());
        return Err(Error::AlreadyQuantized { dir, format });
    }
    checkpoint.validate()?;
    let files = checkpoint.tokenizer_files()?;
    // Plain rounding needs no tokenizer, but a file with one that does not work would be of no use.
    let tokenizer = Tokenizer::from_files(&files)?;
    tokenizer.check_vocabulary(checkpoint.config().vocab_size)?;
    let text = match options.method {
        Method::AwqGptq | Method::Awq => Some(read_text(checkpoint, options, &tokenizer)?),
        Method::Rtn => None,
    };
    let threads = options.threads.max(1);
    let workers = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| Error::Threads { threads, detail: e.to_string() })?;

    let calibration = text.as_ref().map(|text| text.report.clone());
    let header = header(checkpoint, options, files, calibration.as_ref());
    let plan = output::plan(checkpoint, options)?;
    let twin = match twin {
        Some(path) => {
            let plan = output::twin_plan(&plan);
            Some(PackedWriter::create(path, header.clone(), plan, options.force)?)
        }
        None => None,
    };
    let writer = PackedWriter::create(output, header, plan, options.force)?;
    let file_bytes = writer.file_bytes();
    let out = Output::new(checkpoint, writer, twin);

    let mut total = head::work(checkpoint, options);
    total += match &text {
        Some(text) if options.method == Method::AwqGptq => {
            sequence::layers_work(checkpoint.config(), options, text.batch.len())
        }
        Some(text) => quantizer::layers_work(checkpoint.config(), options.group, text.batch.len()),
        None => rtn::work(checkpoint),
    };
    let meter = Meter::new(progress, total);
    let out = match text {
        Some(text) if options.method == Method::AwqGptq => {
            awq_gptq(checkpoint, options, &text.batch, &workers, out, meter)?
        }
        Some(text) => awq(checkpoint, options, &text.batch, &workers, out, meter)?,
        None => {
            let (mut out, mut meter) = (out, meter);
            rtn::write_layers(checkpoint, options, &workers, &mut out, &mut meter)?;
            head::write_head(checkpoint, options, None, &workers, &mut out, &mut meter, &[])?;
            meter.finish()?;
            out
        }
    };
    let tensors = out.finish()?;
    Ok(Report {
        edgewen_version: env!("CARGO_PKG_VERSION").to_owned(),
        source: checkpoint.dir().display().to_string(),
        method: options.method.name().to_owned(),
        group: options.group.get(),
        head_bits: options.head.bits(),
        calibration,
        file_bytes,
        seconds: start.elapsed().as_secs_f64(),
        threads,
        peak_memory_bytes: report::peak_memory_bytes(),
        totals: Totals::of(&tensors),
        budget: None,
        tensors,
    })
}

fn read_text(checkpoint: &Checkpoint, options: &QuantizeOptions, tokenizer: &Tokenizer) -> Result<Text> {
    let (limit, context) = (options.calibration_tokens, checkpoint.config().max_position);
    calibrate::segments(&options.calibration, tokenizer, limit, options.held_out(), context)
}

fn header(
    checkpoint: &Checkpoint,
    options: &QuantizeOptions,
    tokenizer: TokenizerFiles,
    calibration: Option<&CalibrationReport>,
) -> Header {
    let text = |c: &CalibrationReport| format!("{}, sha256 {}", c.name, c.sha256);
    let quantization = QuantizationInfo {
        method: options.method.name().to_owned(),
        group: options.group.get(),
        head_bits: options.head.bits(),
        calibration: calibration.map(text).unwrap_or_default(),
        calibration_tokens: calibration.map_or(0, |c| c.tokens),
        source: checkpoint.dir().file_name().map_or_else(String::new, |name| name.to_string_lossy().into()),
        edgewen_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let (config, generation) = (checkpoint.config().clone(), checkpoint.generation().clone());
    Header { config, generation, quantization, tokenizer }
}

/// The head, then the layers one after the other.
fn awq_gptq<'a>(
    checkpoint: &'a Checkpoint,
    options: &QuantizeOptions,
    batch: &Batch,
    workers: &rayon::ThreadPool,
    mut output: Output<'a>,
    mut meter: Meter<'_>,
) -> Result<Output<'a>> {
    sequence::quantize(checkpoint, options, batch, workers, &mut output, &mut meter)?;
    meter.finish()?;
    Ok(output)
}

/// The calibration pass and all that it writes.
fn awq<'a>(
    checkpoint: &'a Checkpoint,
    options: &'a QuantizeOptions,
    batch: &Batch,
    workers: &'a rayon::ThreadPool,
    output: Output<'a>,
    meter: Meter<'_>,
) -> Result<Output<'a>> {
    let positions = batch.positions().iter().max().map_or(0, |last| last + 1);
    let mut quantizer = Quantizer::new(checkpoint, output, meter, options, workers, positions);
    let mut forward = Forward::default();
    let mut result = forward.hidden(&mut quantizer, batch);
    for first in (0..batch.len()).step_by(HEAD_ROWS) {
        let rows = first..batch.len().min(first + HEAD_ROWS);
        result = result.and_then(|()| forward.head(&mut quantizer, rows).map(|_| ()));
    }
    // Frees the activations of all tokens before the embedding comes.
    drop(forward);
    if let Err(error) = result {
        return Err(quantizer.failure.take().unwrap_or_else(|| error.into()));
    }
    let Quantizer { mut output, mut meter, head_gram, .. } = quantizer;
    head::write_head(checkpoint, options, Some(&head_gram), workers, &mut output, &mut meter, &[])?;
    meter.finish()?;
    Ok(output)
}
