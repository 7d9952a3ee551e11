//! The operations of a decoded token and of a prefill.

use super::{Operation, Step};
use edgewen_model::Config;

/// Tokens of an operation: what `accel_top` is built for.
pub const TOKENS: u32 = 8;
/// Where the model begins in memory.
const MODEL_BASE: u64 = 0x1000_0000;
/// Tensors of the packed file begin at multiples of it.
const ALIGNMENT: u64 = 4096;

/// Which piece of a pass an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Decoder layer; the number of layers for the head.
    pub layer: u32,
    /// First token of the operation, counted in the pass.
    pub first_token: u32,
    /// Tokens of the whole pass.
    pub all_tokens: u32,
}

/// What the processor does before an operation.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ProcessorWork {
    /// Nanoseconds.
    pub ns: f64,
    /// Bytes to and from memory.
    pub bytes: u64,
}

/// The operations of one decoded token. `processor` says what the processor does before each.
#[must_use]
pub fn decode_steps(
    config: &Config,
    processor: &mut dyn FnMut(&Operation, Place) -> ProcessorWork,
) -> Vec<Step> {
    prefill_steps(config, 1, processor)
}

/// The operations of a prefill of `tokens` tokens, [`TOKENS`] a pass over a matrix, matrix after matrix; the head for
/// the last token only.
///
/// All activations of a matrix are ready before its first operation; so `processor` is asked for every operation, and
/// the first one of a matrix should carry the work of all tokens, the others what only they need.
#[must_use]
pub fn prefill_steps(
    config: &Config,
    tokens: u32,
    processor: &mut dyn FnMut(&Operation, Place) -> ProcessorWork,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut layout = Layout { next: MODEL_BASE };
    let hidden = config.hidden_size as u64;
    let queries = (config.heads * config.head_dim) as u64;
    let values = (config.kv_heads * config.head_dim) as u64;
    let intermediate = config.intermediate_size as u64;
    for layer in 0..config.layers as u32 {
        layout.skip(4 * hidden);
        let qkv = layout.matrix("qkv", queries + 2 * values, hidden, true);
        layout.skip(4 * (queries + 2 * values));
        let o = layout.matrix("o", hidden, queries, false);
        layout.skip(4 * hidden);
        let gate_up = layout.matrix("gate_up", 2 * intermediate, hidden, false);
        let down = layout.matrix("down", hidden, intermediate, false);
        for matrix in [qkv, o, gate_up, down] {
            add(&mut steps, &matrix, layer, tokens, processor);
        }
    }
    layout.skip(4 * hidden);
    let mut head = layout.matrix("head", config.vocab_size as u64, hidden, false);
    head.top_k = true;
    add(&mut steps, &head, config.layers as u32, 1, processor);
    steps
}

struct Layout {
    next: u64,
}

impl Layout {
    fn skip(&mut self, bytes: u64) {
        self.next += bytes.next_multiple_of(ALIGNMENT);
    }

    fn matrix(&mut self, name: &'static str, rows: u64, inputs: u64, bias: bool) -> Operation {
        let groups = inputs.div_ceil(64) as u32;
        let address = self.next;
        let block = (40 * u64::from(groups)).next_multiple_of(64) + 512 * u64::from(groups);
        self.skip(rows.div_ceil(16) * block);
        Operation { name, rows: rows as u32, groups, tokens: 1, bias, top_k: false, address, segments: false }
    }
}

/// The operations of one matrix.
fn add(
    steps: &mut Vec<Step>,
    matrix: &Operation,
    layer: u32,
    tokens: u32,
    processor: &mut dyn FnMut(&Operation, Place) -> ProcessorWork,
) {
    for (index, first_token) in (0..tokens).step_by(TOKENS as usize).enumerate() {
        let operation = Operation { tokens: TOKENS.min(tokens - first_token), ..matrix.clone() };
        let work = processor(&operation, Place { layer, first_token, all_tokens: tokens });
        steps.push(Step {
            operation,
            processor_ns: work.ns,
            processor_bytes: work.bytes,
            lag: index as u32 + 1,
        });
    }
}
