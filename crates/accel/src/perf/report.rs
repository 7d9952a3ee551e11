//! Everything about the speed of a model on the accelerator, in one structure that is the report's JSON.
//!
//! The sums are made so that a reader can redo them: every part of a token's time is a row with its cycles or bytes, the
//! inputs stand beside it, and a test adds the rows up again. `SCHEMA` changes when a field changes its name or meaning.

mod build;

use edgewen_kernels::kv::KvType;
use rayon::prelude::*;
use serde::Serialize;

use super::accelerator::WEIGHT_PORTS;
use super::ladder::{self, Rung};
use super::prefill::{Prefill, prefill};
use super::processor::{Part, Processor, Task};
use super::roofline::{Roofline, roofline};
use super::seed::{self, BUILDS, TableRow};
use super::token::{Attention, Head, Shape};
use crate::memory::DataRate;

/// Version of the JSON.
pub const SCHEMA: u32 = 1;
/// Contexts of the tables.
pub const CONTEXTS: [u32; 3] = [64, 256, 1024];

const PROJECTION: &str =
    "projection: computed by models of the memory, the accelerator and the processor; never run on a board";

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Which machine.
    pub mode: Mode,
    /// Positions that the decoded token sees, its own included.
    pub context: u32,
    /// Tokens of the prompt.
    pub prefill_tokens: u32,
    /// Memory.
    pub data_rate: DataRate,
    /// Clock of the logic; the mode's own if nothing is given.
    pub mhz: Option<f64>,
    /// Clocks a beat; the mode's own if nothing is given.
    pub interval: Option<u32>,
    /// The streams run ahead.
    pub run_ahead: bool,
    /// Key-value cache.
    pub kv: KvType,
    /// Who multiplies with it.
    pub attention: Attention,
    /// Threads of the processor.
    pub threads: u32,
}

/// Which machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The paper's.
    Seed,
    /// This project's.
    Hybrid,
}

/// The whole report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What the figures are.
    pub kind: &'static str,
    /// The model.
    pub model: ModelRow,
    /// Everything the figures depend on.
    pub inputs: Inputs,
    /// One token at the requested context.
    pub decode: Decode,
    /// Decode at the usual contexts and both memory rates.
    pub contexts: Vec<ContextRow>,
    /// A prompt.
    pub prefill: Option<Prefill>,
    /// Processor time of a token by task, at the usual contexts.
    pub processor: Vec<ProcessorRow>,
    /// The seed's Table I beside the same work here, a layer.
    pub table_one: Vec<Comparison>,
    /// The seed's published figures and what the model says.
    pub seed: Vec<SeedRow>,
    /// From the seed to here.
    pub ladder: Vec<Rung>,
    /// What a change would give.
    pub what_if: Vec<WhatIf>,
    /// Rate against operations a byte.
    pub roofline: Roofline,
    /// Synthesis estimates, as committed.
    pub resources: Option<serde_json::Value>,
}

/// Dimensions of the model.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names of the configuration")]
pub struct ModelRow {
    pub name: String,
    pub layers: usize,
    pub hidden: usize,
    pub intermediate: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocabulary: usize,
    pub head_on_accelerator: bool,
}

/// What the figures depend on.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names of the configuration")]
pub struct Inputs {
    pub mode: Mode,
    pub data_rate_mts: u32,
    pub mhz: f64,
    pub interval: u32,
    pub run_ahead: bool,
    pub fifo_beats: u32,
    pub max_outstanding: u32,
    pub kv: &'static str,
    pub attention: Attention,
    pub kv_bytes_per_position_and_layer: u64,
    pub processor: Processor,
    pub kernels: KernelSource,
}

/// Where the prices of the kernels come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names of the file")]
pub struct KernelSource {
    pub file: &'static str,
    pub command: String,
    pub compiler: String,
    pub llvm_mca: String,
}

/// One decoded token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decode {
    /// Positions it sees.
    pub context: u32,
    /// Time of a token.
    pub ms: f64,
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// Clocks of the logic.
    pub cycles: f64,
    /// What the time is made of; adds up to `ms`.
    pub breakdown: Breakdown,
    /// By kind of operation.
    pub operations: Vec<OperationRow>,
    /// By port.
    pub ports: Vec<PortRow>,
    /// Bytes of weights.
    pub weight_bytes: f64,
    /// Bytes of operands and results.
    pub data_bytes: f64,
    /// Bytes that the processor moves.
    pub processor_bytes: f64,
    /// What the memory model gives to the weight ports when nothing else happens, GB/s.
    pub stream_allowed_gbps: f64,
    /// What they get over a token, GB/s.
    pub stream_gbps: f64,
    /// The one over the other.
    pub stream_utilization: f64,
    /// Time of the weights alone at the allowed rate.
    pub stream_ms: f64,
    /// Time of the beats alone, one a clock and port.
    pub compute_ms: f64,
    /// Processor time by task.
    pub processor: Vec<Part>,
}

/// Parts of a token's time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Breakdown {
    /// Beats are taken.
    pub compute_ms: f64,
    /// A port has no beat: the memory is behind.
    pub stream_ms: f64,
    /// The accelerator waits for the processor.
    pub processor_ms: f64,
    /// Descriptor and operands.
    pub load_ms: f64,
    /// The accelerator holds a beat back: its own interval, buffers in use.
    pub hold_ms: f64,
    /// Pipeline and result writes.
    pub drain_ms: f64,
    /// What the model of the accelerator gives to none of these.
    pub other_ms: f64,
}

impl Breakdown {
    fn known_ms(&self) -> f64 {
        self.compute_ms + self.stream_ms + self.processor_ms + self.load_ms + self.hold_ms + self.drain_ms
    }
}

/// Operations of one kind in a token.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "sums of the fields of StepTime")]
pub struct OperationRow {
    pub operation: &'static str,
    pub calls: f64,
    pub cycles: f64,
    pub compute_cycles: f64,
    pub wait_cycles: f64,
    pub processor_cycles: f64,
    pub load_cycles: f64,
    pub hold_cycles: f64,
    pub drain_cycles: f64,
    pub weight_bytes: f64,
    pub data_bytes: f64,
    pub macs: f64,
    pub stall_cycles: [f64; WEIGHT_PORTS],
}

impl OperationRow {
    fn named(operation: &'static str) -> Self {
        Self {
            operation,
            calls: 0.0,
            cycles: 0.0,
            compute_cycles: 0.0,
            wait_cycles: 0.0,
            processor_cycles: 0.0,
            load_cycles: 0.0,
            hold_cycles: 0.0,
            drain_cycles: 0.0,
            weight_bytes: 0.0,
            data_bytes: 0.0,
            macs: 0.0,
            stall_cycles: [0.0; WEIGHT_PORTS],
        }
    }
}

/// A port over a token.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "sums of the fields of StepTime")]
pub struct PortRow {
    pub port: usize,
    pub beats: f64,
    pub stall_cycles: f64,
    pub busy_cycles: f64,
    pub max_level: u32,
}

/// Decode at a context and memory rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ContextRow {
    pub context: u32,
    pub data_rate_mts: u32,
    pub ms: f64,
    pub tokens_per_second: f64,
    pub stream_utilization: f64,
    pub processor_ms: f64,
}

/// Processor time of a token by task.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ProcessorRow {
    pub task: Task,
    /// Microseconds of a token at the usual contexts.
    pub us_by_context: [f64; CONTEXTS.len()],
    /// The same at the requested context with 1 to 4 threads.
    pub us_by_threads: [f64; 4],
    /// At the requested context with the prices of the other model of the kernels.
    pub us_issue_model: f64,
}

/// A row of Table I and the same here, microseconds a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Comparison {
    pub seed: TableRow,
    pub here: &'static str,
    pub here_us: f64,
}

/// A published figure of the seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct SeedRow {
    pub build: seed::Build,
    pub interval: u32,
    pub layers_ms: f64,
    pub processor_ms: f64,
    pub head_ms: f64,
    pub tokens_per_second: f64,
    pub error: f64,
}

/// A change and its effect.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct WhatIf {
    pub change: &'static str,
    pub tokens_per_second: [f64; CONTEXTS.len()],
}

/// Makes the report.
pub fn report(shape: &Shape, request: &Request, resources: Option<serde_json::Value>) -> Report {
    let hybrid = build::hybrid(request);
    let (system, timed) = match request.mode {
        Mode::Hybrid => (hybrid.clone(), hybrid.decode(shape, request.context)),
        Mode::Seed => {
            let [_, claimed] = BUILDS;
            let mhz = request.mhz.unwrap_or(claimed.mhz);
            let interval = request.interval.unwrap_or(seed::interval(claimed.macro_row_cycles));
            let system = seed::system(request.data_rate, mhz, interval);
            let steps = seed::sampled_steps(&system, shape, Some(seed::head_bytes(shape)));
            let timed = system.settled(&steps);
            (system, timed)
        }
    };
    let decode = build::decode(&system, &timed, request.context);
    let config = &shape.config;
    Report {
        schema: SCHEMA,
        kind: PROJECTION,
        model: ModelRow {
            name: shape.name.clone(),
            layers: config.layers,
            hidden: config.hidden_size,
            intermediate: config.intermediate_size,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            vocabulary: config.vocab_size,
            head_on_accelerator: shape.head == Head::Accelerator,
        },
        inputs: build::inputs(shape, request, &system),
        roofline: roofline(&decode, &system),
        decode,
        contexts: build::contexts(shape, request),
        prefill: (request.mode == Mode::Hybrid && 0 < request.prefill_tokens)
            .then(|| prefill(&hybrid, shape, request.prefill_tokens)),
        processor: build::processor_rows(shape, &hybrid, request.context),
        table_one: build::comparisons(shape, &hybrid),
        seed: seed_rows(shape, request.data_rate),
        ladder: ladder::ladder(shape, &hybrid, request.data_rate),
        what_if: build::what_if(shape, &hybrid, request),
        resources,
    }
}

/// What the model says of the seed's published figures.
pub fn seed_rows(shape: &Shape, rate: DataRate) -> Vec<SeedRow> {
    BUILDS.par_iter().map(|&of| build::seed_row(shape, rate, of)).collect()
}
