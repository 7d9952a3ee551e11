//! The time of a token: operations and processor work in their order, over the model of the accelerator.
//!
//! A token is simulated after another one, so that the run-ahead is in its steady state. Where many times are wanted,
//! only the first layers are simulated and the later of these stand for the rest: layers are alike.

use edgewen_kernels::kv::KvType;
use edgewen_layout::{GroupSize, RowBlockShape, WeightBits};
use edgewen_model::Config;
use serde::Serialize;

use super::accelerator::{HardwareConfig, Operation, Step, StepTime, WeightLayout, run};
use super::processor::arrays::GROUP_POSITIONS;
use super::processor::{Part, Processor, Span};
use crate::memory::MemoryConfig;

/// Where the first matrix lies; only its bits below a row of the memory matter.
const FIRST_ADDRESS: u64 = 0x1000_0000;
/// Tensors begin at multiples of this.
const TENSOR_ALIGN: u64 = 4096;
/// Layers simulated when some stand for all: the first ones settle, the others count for the rest.
const SETTLING_LAYERS: usize = 2;
pub(super) const SAMPLED_LAYERS: usize = 4;
/// Bytes of 16 x 64 keys or values: header and two planes.
const SEGMENT_BYTES: u64 = 1088;
/// Bytes of an AWQ_MACRO: 64 inputs of 8 channels.
const MACRO_BYTES: u64 = 288;

/// The model, as far as time is concerned.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// What the user called it.
    pub name: String,
    /// Its dimensions.
    pub config: Config,
    /// Who computes the output head.
    pub head: Head,
}

/// Who computes the output head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// The accelerator, as one more operation.
    Accelerator,
    /// The processor, because of its number format: so many bytes.
    Processor {
        /// Bytes of the matrix.
        bytes: u64,
    },
}

/// Everything that computes.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    /// The accelerator.
    pub hardware: HardwareConfig,
    /// The memory.
    pub memory: MemoryConfig,
    /// The ARM cores.
    pub processor: Processor,
    /// Format of the key-value cache.
    pub kv: KvType,
    /// Who multiplies with keys and values.
    pub attention: Attention,
}

/// Who multiplies queries with keys, and weights with values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attention {
    /// The ARM cores.
    Processor,
    /// The accelerator, from an 8-bit cache in segments.
    Arrays,
}

/// An operation with the processor's work before it.
#[derive(Debug, Clone)]
pub struct Planned {
    /// For the model of the accelerator.
    pub step: Step,
    /// What the processor's time is made of.
    pub parts: Vec<Part>,
    /// How many such steps it stands for.
    pub times: f64,
}

/// A planned step and how long it takes.
#[derive(Debug, Clone)]
pub struct Timed {
    /// What was planned.
    pub planned: Planned,
    /// How long one takes.
    pub time: StepTime,
}

/// A matrix of a layer, by what the forward pass calls it.
#[derive(Debug, Clone, Copy)]
struct Matrix {
    name: &'static str,
    rows: usize,
    inputs: usize,
    bias: bool,
}

/// The matrices of a layer in the order of the forward pass.
fn matrices(config: &Config) -> [Matrix; 4] {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    [
        Matrix { name: "qkv", rows: config.qkv_rows(), inputs: hidden, bias: true },
        Matrix { name: "o", rows: hidden, inputs: config.attention_size(), bias: false },
        Matrix { name: "gate_up", rows: 2 * intermediate, inputs: hidden, bias: false },
        Matrix { name: "down", rows: hidden, inputs: intermediate, bias: false },
    ]
}

/// Bytes of a matrix in memory.
pub fn matrix_bytes(layout: WeightLayout, rows: usize, inputs: usize) -> u64 {
    match layout {
        WeightLayout::RowBlocks => {
            let shape = RowBlockShape { rows, inputs, group: GroupSize::G64, bits: WeightBits::Four };
            shape.total_bytes() as u64
        }
        WeightLayout::AwqMacro => (rows.div_ceil(8) * inputs.div_ceil(64)) as u64 * MACRO_BYTES,
    }
}

/// Hands out addresses one after the other.
pub struct Addresses(u64);

impl Addresses {
    /// From the beginning of the model.
    pub fn new() -> Self {
        Self(FIRST_ADDRESS)
    }

    /// The address of the next `bytes`.
    pub fn next(&mut self, bytes: u64) -> u64 {
        let address = self.0;
        self.0 += bytes.next_multiple_of(TENSOR_ALIGN);
        address
    }
}

impl Default for Addresses {
    fn default() -> Self {
        Self::new()
    }
}

/// A step with its processor work.
pub fn planned(operation: Operation, parts: Vec<Part>) -> Planned {
    let processor_ns = parts.iter().map(|part| part.ns).sum();
    let processor_bytes = parts.iter().map(|part| part.bytes).sum();
    let step = Step { operation, processor_ns, processor_bytes, lag: 1 };
    Planned { step, parts, times: 1.0 }
}

impl System {
    /// The steps of one token whose context is `context` positions with its own, of the first `layers` layers.
    pub fn decode_steps(&self, shape: &Shape, context: u32, layers: usize) -> Vec<Planned> {
        let config = &shape.config;
        let span = Span { start: context - 1, tokens: 1 };
        let mut addresses = Addresses::new();
        let mut steps = Vec::new();
        let on_arrays = self.attention == Attention::Arrays && 0 < Processor::groups_on_arrays(context);
        for layer in 0..layers {
            for matrix in matrices(config) {
                let parts = if on_arrays && matrix.name == "o" {
                    self.attention_steps(config, context, &mut addresses, &mut steps);
                    self.processor.after_sums(config)
                } else {
                    self.processor.before(config, self.kv, matrix.name, layer == 0, span)
                };
                steps.push(planned(self.operation(matrix, 1, &mut addresses), parts));
            }
        }
        let head = Matrix { name: "head", rows: config.vocab_size, inputs: config.hidden_size, bias: false };
        let parts = self.processor.before(config, self.kv, "head", false, span);
        let after = match shape.head {
            Head::Accelerator => {
                let operation = Operation { top_k: true, ..self.operation(head, 1, &mut addresses) };
                steps.push(planned(operation, parts));
                vec![self.processor.sampling(1)]
            }
            Head::Processor { bytes } => {
                let mut parts = parts;
                parts.push(self.processor.head(bytes));
                parts.push(self.processor.sampling(0));
                parts
            }
        };
        // What follows the last operation is before the first one of the next token.
        steps[0].parts.splice(0..0, after);
        let parts = std::mem::take(&mut steps[0].parts);
        steps[0] = planned(steps[0].step.operation.clone(), parts);
        steps
    }

    /// Scores of every key-value head, then weighted sums: a doorbell for each of the two.
    fn attention_steps(
        &self,
        config: &Config,
        context: u32,
        addresses: &mut Addresses,
        steps: &mut Vec<Planned>,
    ) {
        let mut before_scores = Some(self.processor.before_scores(config).to_vec());
        let mut before_sums = Some(self.processor.before_sums(config, context).to_vec());
        for operation in self.attention_operations(config, context, addresses) {
            let parts = if operation.name == "scores" { &mut before_scores } else { &mut before_sums };
            steps.push(planned(operation, parts.take().unwrap_or_default()));
        }
    }

    /// The products of a token with keys and values: the scores of every key-value head, then the sums.
    pub fn attention_operations(
        &self,
        config: &Config,
        context: u32,
        addresses: &mut Addresses,
    ) -> Vec<Operation> {
        let groups = Processor::groups_on_arrays(context);
        let (positions, head_dim) = (groups * GROUP_POSITIONS, config.head_dim as u32);
        let products = [("scores", positions, head_dim.div_ceil(64)), ("sums", head_dim, groups)];
        let each = products.into_iter().flat_map(|product| vec![product; config.kv_heads]);
        each.map(|(name, rows, groups)| Operation {
            name,
            rows,
            groups,
            tokens: ((config.heads / config.kv_heads) as u32).min(8),
            bias: false,
            top_k: false,
            address: addresses.next(u64::from(rows.div_ceil(16)) * u64::from(groups) * SEGMENT_BYTES),
            segments: true,
        })
        .collect()
    }

    fn operation(&self, matrix: Matrix, tokens: u32, addresses: &mut Addresses) -> Operation {
        Operation {
            name: matrix.name,
            rows: matrix.rows as u32,
            groups: matrix.inputs.div_ceil(64) as u32,
            tokens,
            bias: matrix.bias,
            top_k: false,
            address: addresses.next(matrix_bytes(self.hardware.layout, matrix.rows, matrix.inputs)),
            segments: false,
        }
    }

    /// One decoded token in the steady state, every layer of it simulated.
    pub fn decode(&self, shape: &Shape, context: u32) -> Vec<Timed> {
        self.settled(&self.decode_steps(shape, context, shape.config.layers))
    }

    /// The same from a few layers.
    pub fn decode_sampled(&self, shape: &Shape, context: u32) -> Vec<Timed> {
        self.settled(&self.sampled_steps(shape, context))
    }

    /// The steps of a few layers, the last of which stand for the rest.
    pub fn sampled_steps(&self, shape: &Shape, context: u32) -> Vec<Planned> {
        let all = shape.config.layers;
        let layers = all.min(SAMPLED_LAYERS);
        let mut steps = self.decode_steps(shape, context, layers);
        let per_layer = (steps.len() - usize::from(shape.head == Head::Accelerator)) / layers;
        sample(&mut steps, per_layer, all);
        steps
    }

    /// Times of the second of two equal tokens; where nothing runs ahead, the first one has them already.
    pub fn settled(&self, steps: &[Planned]) -> Vec<Timed> {
        let tokens = if self.hardware.run_ahead { 2 } else { 1 };
        let all: Vec<Step> = (0..tokens).flat_map(|_| steps).map(|planned| planned.step.clone()).collect();
        let times = run(&self.hardware, &self.memory, &all);
        steps
            .iter()
            .zip(&times[all.len() - steps.len()..])
            .map(|(planned, time)| Timed { planned: planned.clone(), time: *time })
            .collect()
    }

    /// What the memory gives to the weight ports when nothing else happens: one long operation, GB/s.
    pub fn stream_rate(&self) -> f64 {
        let rows = 64 * 1024;
        let hardware = HardwareConfig { interval: 1, run_ahead: true, ..self.hardware.clone() };
        let address = FIRST_ADDRESS;
        let operation = Operation {
            name: "stream",
            rows,
            groups: 14,
            tokens: 1,
            bias: false,
            top_k: true,
            address,
            segments: false,
        };
        let step = Step { operation, processor_ns: 0.0, processor_bytes: 0, lag: 1 };
        let times = run(&hardware, &self.memory, &[step.clone(), step]);
        times[1].weight_bytes as f64 / times[1].ns
    }
}

/// Lets the settled ones of the first `SAMPLED_LAYERS` layers, `per_layer` steps each, stand for `all` layers.
pub fn sample(steps: &mut [Planned], per_layer: usize, all: usize) {
    if all <= SAMPLED_LAYERS {
        return;
    }
    let counted = SETTLING_LAYERS * per_layer..SAMPLED_LAYERS * per_layer;
    let times = (all - SETTLING_LAYERS) as f64 / (SAMPLED_LAYERS - SETTLING_LAYERS) as f64;
    steps[counted].iter_mut().for_each(|step| step.times = times);
}

/// Nanoseconds of a token.
pub fn total_ns(timed: &[Timed]) -> f64 {
    timed.iter().map(|timed| timed.time.ns * timed.planned.times).sum()
}
