//! The processor's part of attention when the accelerator multiplies with keys and values.
//!
//! The cache is 8 bits in segments of 16 x 64, which the arrays read like weights; complete groups of 64 positions go
//! there, the processor keeps the rest. Between the two products it takes the softmax and quantizes the weights.

use edgewen_kernels::kv::KvType;
use edgewen_model::Config;

use super::{F32_BYTES, Part, Processor, QUANTIZE_TASK_TOKENS, Span, Task, figures};

/// Positions that go to the accelerator at once.
pub const GROUP_POSITIONS: u32 = 64;

impl Processor {
    /// Complete groups among the positions before the newest one: their bytes are in memory before the token begins.
    pub fn groups_on_arrays(context: u32) -> u32 {
        (context - 1) / GROUP_POSITIONS
    }

    /// Before the scores: the token's queries, keys and values.
    pub fn before_scores(&self, config: &Config) -> Vec<Part> {
        let heads = config.heads as u32;
        vec![
            self.results(config.qkv_rows() as u32, 1),
            self.rope(config, 1),
            self.append(config, KvType::Int8, 1),
            self.quantize(config.head_dim as u32, heads),
            self.registers(),
        ]
    }

    /// Before the weighted sum: scores in, the positions that stayed here, softmax, weights to eight bits.
    pub fn before_sums(&self, config: &Config, context: u32) -> Vec<Part> {
        let heads = config.heads as u32;
        let positions = Self::groups_on_arrays(context) * GROUP_POSITIONS;
        let rest = Span { start: context - positions - 1, tokens: 1 };
        let softmax = figures().line("softmax", self.model).at(f64::from(context));
        let (threads, cycles) = self.by_token(softmax, heads, 1);
        let quantize = figures().line("quantize", self.model).at(f64::from(positions));
        let (quantizers, quantize) = self.by_token(quantize, heads, QUANTIZE_TASK_TOKENS);
        let scores = u64::from(heads) * u64::from(positions) * F32_BYTES;
        vec![
            self.part(Task::Results, 0.0, scores, self.threads, 0.0),
            self.attention(config, KvType::Int8, rest),
            self.part(Task::Softmax, cycles, self.spilled(2 * scores), threads, 0.0),
            self.part(Task::Quantize, quantize, 0, quantizers, 0.0),
            self.registers(),
        ]
    }

    /// Before the attention output: both parts of the sum.
    pub fn after_sums(&self, config: &Config) -> Vec<Part> {
        let size = config.attention_size() as u32;
        vec![self.results(size, 1), self.add(size, 1), self.quantize(size, 1), self.registers()]
    }
}
