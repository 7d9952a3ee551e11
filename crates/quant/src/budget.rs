//! Mixed precision: within a budget of bits a weight, the matrices whose bits matter most take 8 instead of 4.
//!
//! The checkpoint is quantized with 4 bits, and beside it with 8 by the same factors; any mix of the two is a model
//! (`overlay.rs`). What a matrix gains by 8 bits is measured on held-out text, as KL divergence from the original model,
//! not guessed from the error of its outputs. The choice is greedy (`choice.rs`). No matrix of the two files makes up
//! for the errors of others, or it would not fit other mixes; the checkpoint is quantized anew with the choice, and then
//! every matrix does. The budget counts every quantized matrix
//! with its scales, zero points and padding, the embedding and the head included.

mod choice;
mod report;

pub use report::{BudgetReport, Sensitivity};

use crate::held_out::HeldOut;
use crate::overlay::Overlay;
use crate::{
    Error, HeadBits, Progress, QuantizeOptions, Report, Result, Step, calibrate, output, quantize_once,
};
use choice::{Candidate, choose, gain};
use edgewen_engine::{CpuBackend, Reference};
use edgewen_eval::stats::mean;
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::packed::{PackedFile, TensorKind, TensorPlan};
use edgewen_model::{Checkpoint, Tokenizer};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Units in which all of the work is reported.
const UNITS: usize = 1000;

/// The quantized matrices of a model and what they take.
struct Sizes {
    /// Those whose bits are to be chosen.
    candidates: Vec<Candidate>,
    /// Weights of all of them.
    elements: u64,
    /// Bytes of all of them if no candidate takes 8 bits.
    least: u64,
}

impl Sizes {
    fn bits(&self, bytes: u64) -> f64 {
        8.0 * bytes as f64 / self.elements as f64
    }

    /// Bytes if all candidates take 8 bits.
    fn most(&self) -> u64 {
        self.least + self.candidates.iter().map(|candidate| candidate.eight - candidate.four).sum::<u64>()
    }
}

/// [`crate::quantize`] within a budget of `bits` a weight.
pub(crate) fn quantize(
    checkpoint: &Checkpoint,
    output: &Path,
    bits: f64,
    options: &QuantizeOptions,
    progress: &mut dyn Progress,
) -> Result<Report> {
    let start = Instant::now();
    checkpoint.validate()?;
    if options.group != GroupSize::G64 {
        return Err(Error::BudgetGroup { found: options.group.get() });
    }
    if !options.force && output.exists() {
        return Err(edgewen_model::Error::Exists { path: output.to_owned() }.into());
    }
    let sizes = sizes(checkpoint, options)?;
    let room = room(&sizes, bits)?;
    let tokenizer = Tokenizer::from_files(&checkpoint.tokenizer_files()?)?;
    let (limit, context) = (options.calibration_tokens, checkpoint.config().max_position);
    let text = calibrate::segments(&options.calibration, &tokenizer, limit, options.held_out(), context)?;
    let threads = options.threads.max(1);
    let workers = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| Error::Threads { threads, detail: e.to_string() })?;

    // Beside the result, so that the last step is a rename; removed with all that is in it whatever happens.
    let scratch = scratch(output)?;
    let place = |name: &str| scratch.path().join(name);
    let mut four = QuantizeOptions { force: true, ..options.clone() };
    // A matrix that makes up for the errors of others would be wrong in a mix where these errors are smaller.
    four.skip.insert(Step::Correction);
    let mut stage = Stage { progress, from: 0, to: 350, name: "4 bits: " };
    quantize_once(checkpoint, &place("four.ewn"), Some(&place("eight.ewn")), &four, &mut stage)?;

    let measuring = Instant::now();
    let total: usize = text.held_out.iter().map(Vec::len).sum();
    let mut counter = Counter::new(progress, 350, 450, total);
    let mut reference = Reference::new(Checkpoint::open(checkpoint.dir())?, threads)?;
    let held_out = HeldOut::new(
        &mut reference,
        text.held_out,
        &place("logits"),
        &workers,
        &mut counter.tick("original model"),
    )?;
    drop(reference);
    checkpoint.release();

    // About half of the matrices are measured twice, and the choice is bounded by the first and the last mix.
    let expected = total * (2 + sizes.candidates.len() * 3 / 2);
    let mut counter = Counter::new(progress, 450, 650, expected);
    let mut overlay = Overlay::new(cpu(&place("four.ewn"), threads)?, cpu(&place("eight.ewn"), threads)?);
    let mut measurements = 0;
    let mut measure = |chosen: &[usize]| {
        measurements += 1;
        overlay.choose(names(&sizes.candidates, chosen));
        let what = format!("measurement {measurements}");
        held_out.divergences(&mut overlay, &mut counter.tick(&what))
    };
    let choice = choose(&sizes.candidates, room, &mut measure)?;
    let all: Vec<usize> = (0..sizes.candidates.len()).collect();
    let eight = measure(&all)?;
    drop(overlay);
    let seconds_measuring = measuring.elapsed().as_secs_f64();

    let mut chosen = QuantizeOptions { force: true, ..options.clone() };
    chosen.eight.extend(names(&sizes.candidates, &choice.taken));
    let mut stage = Stage { progress, from: 650, to: 990, name: "chosen bits: " };
    let mut report = quantize_once(checkpoint, &place("mixed.ewn"), None, &chosen, &mut stage)?;
    let mut counter = Counter::new(progress, 990, 1000, total);
    let mut model = cpu(&place("mixed.ewn"), threads)?;
    let measured = held_out.divergences(&mut model, &mut counter.tick("the result"))?;
    drop(model);
    give_name(&place("mixed.ewn"), output, options.force)?;

    report.seconds = start.elapsed().as_secs_f64();
    report.peak_memory_bytes = crate::report::peak_memory_bytes();
    report.budget = Some(BudgetReport {
        bits,
        bits_per_weight: report.totals.bits_per_weight,
        bits_per_weight_least: sizes.bits(sizes.least),
        bits_per_weight_most: sizes.bits(sizes.most()),
        held_out_tokens: total,
        measurements: measurements + 1,
        seconds_measuring,
        kl_four: mean(&choice.base),
        kl_eight: mean(&eight),
        kl_predicted: mean(&choice.chosen),
        kl_measured: mean(&measured),
        gain: gain(&choice.base, &measured),
        matrices: report::sensitivities(&sizes.candidates, &choice),
    });
    Ok(report)
}

/// The matrices and what they take with 4 and with 8 bits.
fn sizes(checkpoint: &Checkpoint, options: &QuantizeOptions) -> Result<Sizes> {
    let plan = output::plan(checkpoint, options)?;
    let mut sizes = Sizes { candidates: Vec::new(), elements: 0, least: 0 };
    for TensorPlan { name, kind, shape } in plan.into_iter().filter(|tensor| tensor.shape.len() == 2) {
        let elements = shape.iter().map(|&n| n as u64).product();
        // The shapes are those of a checkpoint that is on the disk.
        let bytes = |kind: TensorKind| kind.stored_bytes(&shape).unwrap_or(u64::MAX);
        let now = bytes(kind);
        sizes.elements += elements;
        sizes.least += now;
        if let TensorKind::RowBlocks { bits: WeightBits::Four, group } = kind {
            let of_head = matches!(name.as_str(), "embed" | "head");
            let eight = match of_head {
                true => TensorKind::RowBlocks { bits: WeightBits::Eight, group },
                false => TensorKind::SEGMENTS,
            };
            if !of_head || options.head == HeadBits::Four {
                sizes.candidates.push(Candidate { name, elements, four: now, eight: bytes(eight) });
            }
        }
    }
    Ok(sizes)
}

/// Bytes that may be spent on more bits.
fn room(sizes: &Sizes, bits: f64) -> Result<u64> {
    let (least, most) = (sizes.bits(sizes.least), sizes.bits(sizes.most()));
    if !bits.is_finite() || bits < least {
        return Err(Error::Budget { bits, least, most });
    }
    let bytes = bits / 8.0 * sizes.elements as f64;
    Ok((bytes.floor() as u64).saturating_sub(sizes.least))
}

fn names(candidates: &[Candidate], chosen: &[usize]) -> BTreeSet<String> {
    chosen.iter().map(|&index| candidates[index].name.clone()).collect()
}

fn cpu(path: &Path, threads: usize) -> Result<CpuBackend> {
    let file = Arc::new(PackedFile::open(path)?);
    Ok(CpuBackend::new(file, Compute::new(Isa::best(), threads), KvType::F16)?)
}

/// A folder beside the file that will be written.
fn scratch(output: &Path) -> Result<tempfile::TempDir> {
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut prefix = output.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    let folder = tempfile::Builder::new().prefix(&prefix).suffix(".partial").tempdir_in(parent);
    folder.map_err(|source| io_error("create a folder in", parent, source))
}

/// Gives the finished file its name.
fn give_name(from: &Path, to: &Path, force: bool) -> Result<()> {
    let file = tempfile::TempPath::try_from_path(from).map_err(|source| io_error("rename", from, source))?;
    let renamed = if force { file.persist(to) } else { file.persist_noclobber(to) };
    renamed.map_err(|e| match e.error.kind() {
        std::io::ErrorKind::AlreadyExists => edgewen_model::Error::Exists { path: to.to_owned() }.into(),
        _ => io_error("rename the finished file to", to, e.error),
    })
}

fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Model(edgewen_model::Error::Io { action, path: path.to_owned(), source })
}

/// The progress of a quantization as a part of all of the work.
struct Stage<'a> {
    progress: &'a mut dyn Progress,
    from: usize,
    to: usize,
    name: &'static str,
}

impl Progress for Stage<'_> {
    fn step(&mut self, done: usize, total: usize, what: &str) {
        let done = self.from + (self.to - self.from) * done / total.max(1);
        self.progress.step(done, UNITS, &format!("{}{what}", self.name));
    }

    fn cancelled(&self) -> bool {
        self.progress.cancelled()
    }
}

/// The progress of measurements, in tokens, as a part of all of the work.
struct Counter<'a> {
    progress: &'a mut dyn Progress,
    from: usize,
    to: usize,
    done: usize,
    total: usize,
}

impl<'a> Counter<'a> {
    fn new(progress: &'a mut dyn Progress, from: usize, to: usize, total: usize) -> Self {
        Counter { progress, from, to, done: 0, total: total.max(1) }
    }

    fn tick<'b>(&'b mut self, what: &'b str) -> impl FnMut(usize) -> Result<()> + use<'a, 'b> {
        move |tokens| {
            if self.progress.cancelled() {
                return Err(Error::Cancelled);
            }
            self.done = (self.done + tokens).min(self.total);
            let done = self.from + (self.to - self.from) * self.done / self.total;
            self.progress.step(done, UNITS, &format!("measure: {what}"));
            Ok(())
        }
    }
}
