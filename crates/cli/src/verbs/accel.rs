//! `edgewen accel report`: how fast a model would be on the accelerator, and why.

mod html;
mod plot;
mod text;

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, bail};
use edgewen_accel::image::{Layout, ModelImage};
use edgewen_accel::memory::DataRate;
use edgewen_accel::perf::report::{Mode, Request, report};
use edgewen_accel::perf::token::{Attention, Head, Shape};
use edgewen_accel::program::{Limits, Program};
use edgewen_kernels::kv::KvType;
use edgewen_model::packed::PackedFile;

use crate::args::{
    AccelArgs, AccelMode, AccelReportArgs, AccelVerb, AttentionArg, DataRateArg, KvArg, Switch,
};
use crate::input::Usage;
use crate::model::Source;
use crate::{files, output};

/// Cores of the board.
const CORES: usize = 4;
/// What is projected unless something else is asked for.
const CONTEXT: usize = 1024;
const PROMPT: usize = 512;
/// Where the image lies in memory does not matter for the check of the model.
const ANY_BASE: u64 = 0x1000_0000;

/// Prints the report, or writes it as a page.
pub fn run(arguments: &AccelArgs) -> anyhow::Result<()> {
    let AccelVerb::Report(arguments) = &arguments.verb;
    let file = match Source::open(&arguments.model.model)? {
        Source::Packed(file) => file,
        Source::Checkpoint(_) => bail!(
            "{} is a directory: the accelerator runs packed files, which `edgewen quantize` writes",
            arguments.model.model
        ),
    };
    let request = request(arguments, file.config().max_position)?;
    let shape = shape(file, &arguments.model.model)?;
    let report = report(&shape, &request, resources());
    match &arguments.html {
        Some(path) => {
            let mut page = files::begin(path)?;
            page.write_all(html::page(&report)?.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
            files::finish(page, path)?;
            output::note(&format!("wrote {}", path.display()));
            Ok(())
        }
        None if arguments.json => output::json(&report),
        None => output::text_out(&text::text(&report)),
    }
}

/// What was asked for; `limit` is the context that the model was made for.
fn request(arguments: &AccelReportArgs, limit: usize) -> anyhow::Result<Request> {
    let within = |flag, tokens: Option<usize>, default: usize| {
        let tokens = tokens.unwrap_or(default.min(limit));
        if limit < tokens {
            return Err(Usage(format!("{flag} {tokens}: the model was made for up to {limit} tokens")));
        }
        Ok(tokens as u32)
    };
    let attention = match arguments.attention {
        AttentionArg::Arrays => Attention::Arrays,
        AttentionArg::Processor => Attention::Processor,
    };
    let kv = match (arguments.kv, attention) {
        (Some(KvArg::F16), Attention::Arrays) => {
            return Err(Usage(
                "the arrays read an 8-bit cache: --kv f16 goes with --attention processor".into(),
            )
            .into());
        }
        (Some(KvArg::F16), Attention::Processor) | (None, Attention::Processor) => KvType::F16,
        (Some(KvArg::Int8), _) | (None, Attention::Arrays) => KvType::Int8,
    };
    if CORES < arguments.threads {
        return Err(Usage(format!("--threads {}: the board has {CORES} cores", arguments.threads)).into());
    }
    Ok(Request {
        mode: match arguments.mode {
            AccelMode::Seed => Mode::Seed,
            AccelMode::Hybrid => Mode::Hybrid,
        },
        context: within("--context", arguments.context, CONTEXT)?,
        prefill_tokens: within("--prefill", arguments.prefill, PROMPT)?,
        data_rate: match arguments.data_rate {
            DataRateArg::Mts2133 => DataRate::Mts2133,
            DataRateArg::Mts2400 => DataRate::Mts2400,
        },
        mhz: arguments.clock.map(f64::from),
        interval: arguments.interval.map(u32::try_from).transpose()?,
        run_ahead: arguments.run_ahead == Switch::On,
        kv,
        attention,
        threads: u32::try_from(arguments.threads)?,
    })
}

/// The model, refused by the name of the tensor that the accelerator cannot run.
fn shape(file: Arc<PackedFile>, name: &str) -> anyhow::Result<Shape> {
    let image = ModelImage::new(file.clone(), Layout::RowBlocks)?;
    let program = Program::new(&file, &image, &Limits::default(), ANY_BASE)?;
    if let Some(matrix) = program.operations().iter().find(|matrix| matrix.layout == Layout::Segments) {
        bail!(
            "{name}: {} has 8 bits: the report knows the time of 4-bit layers only; give it a file that `edgewen \
             quantize` made without --bits-budget",
            matrix.tensor
        );
    }
    let config = file.config().clone();
    let head = match program.head_on_processor() {
        None => Head::Accelerator,
        Some(reason) => {
            output::note(&format!("the output head stays with the ARM cores: {reason}"));
            let tensor = if config.tie_word_embeddings { "embed" } else { "head" };
            Head::Processor { bytes: file.entry(tensor)?.bytes }
        }
    };
    Ok(Shape { name: name.to_string(), config, head })
}

/// The synthesis estimates, as they were when this was built.
fn resources() -> Option<serde_json::Value> {
    serde_json::from_str(include_str!(concat!(env!("OUT_DIR"), "/resources.json"))).ok()
}

/// Reports of a small model for the tests of text and page.
#[cfg(test)]
fn demo(mode: Mode) -> edgewen_accel::perf::report::Report {
    let file = match Source::open(crate::model::DEMO_NAME).expect("the built-in model") {
        Source::Packed(file) => file,
        Source::Checkpoint(_) => unreachable!("the built-in model is a packed file"),
    };
    let request = Request {
        mode,
        context: 200,
        prefill_tokens: 20,
        data_rate: DataRate::Mts2133,
        mhz: None,
        interval: None,
        run_ahead: true,
        kv: KvType::Int8,
        attention: Attention::Arrays,
        threads: 4,
    };
    report(&shape(file, "demo").expect("a model that fits"), &request, resources())
}
