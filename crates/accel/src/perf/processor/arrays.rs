//! The processor's part of attention when the accelerator multiplies with keys and values.
//!
//! The cache is 8 bits in segments of 16 x 64, which the arrays read like weights; complete groups of 64 positions go
//! there, the last group stays here. Between the two products the processor takes the softmax and quantizes the weights.

use edgewen_kernels::kv::KvType;
use edgewen_model::Config;

use super::{F32_BYTES, Part, Processor, Task, figures};

/// Positions that go to the accelerator at once.
pub const GROUP_POSITIONS: u32 = 64;

/// Words of a descriptor that change from token to token of a prompt.
const DESCRIPTOR_WORDS: u32 = 8;
/// Tokens of a prompt whose products begin together.
const TOKENS_OF_A_DOORBELL: u32 = 8;

impl Processor {
    /// Complete groups among the positions before the newest one: their bytes are in memory before the token begins.
    pub fn groups_on_arrays(context: u32) -> u32 {
        (context - 1) / GROUP_POSITIONS
    }

    /// Before the scores: the token's queries, keys and values, and its share of the scores.
    pub fn before_scores(&self, config: &Config) -> [Part; 6] {
        let group = (config.heads / config.kv_heads) as f64;
        let queries = figures().line("quantize", self.model).at(group * config.head_dim as f64);
        let (threads, cycles) = self.schedule((0..config.kv_heads).map(|_| queries));
        [
            self.results(config.qkv_rows() as u32, 1),
            self.rope(config, 1),
            self.append(config, KvType::Int8, 1),
            self.part(Task::Quantize, cycles, 0, threads, 0.0),
            self.last_group(config, "add_scores"),
            self.registers(),
        ]
    }

    /// Before the weighted sum: scores in, softmax, weights to eight bits.
    pub fn before_sums(&self, config: &Config, context: u32) -> [Part; 4] {
        let heads = config.heads as u32;
        let positions = Self::groups_on_arrays(context) * GROUP_POSITIONS;
        let weigh = figures().line("weigh", self.model).at(f64::from(context));
        let (threads, cycles) = self.by_token(weigh, heads, 1);
        let scores = u64::from(heads) * u64::from(positions) * F32_BYTES;
        [
            self.part(Task::Results, 0.0, scores, self.threads, 0.0),
            self.part(Task::Softmax, cycles, self.spilled(2 * scores), threads, 0.0),
            self.last_group(config, "add_values"),
            self.registers(),
        ]
    }

    /// Before the attention output: its input.
    pub fn after_sums(&self, config: &Config) -> Vec<Part> {
        let size = config.attention_size() as u32;
        vec![self.results(size, 1), self.quantize(size, 1), self.registers()]
    }

    /// Processor work of one token of a prompt at `position`, whose queries, keys and values are ready: what comes before
    /// its scores, and before its sums. Its descriptors are written anew; eight tokens share a doorbell.
    pub fn prompt_token(&self, config: &Config, position: u32) -> [Vec<Part>; 2] {
        let [results, _, _, quantize, products, registers] = self.before_scores(config);
        debug_assert_eq!((results.task, registers.task), (Task::Results, Task::Registers));
        let words = config.kv_heads as u32 * DESCRIPTOR_WORDS;
        let shared =
            registers.ns / f64::from(TOKENS_OF_A_DOORBELL) + f64::from(words) * self.register_write_ns;
        let shared = self.part(Task::Registers, 0.0, 0, 1, shared);
        let [results, weigh, sums, _] = self.before_sums(config, position + 1);
        [vec![quantize, products, shared], vec![results, weigh, sums, shared]]
    }

    /// One of the two products with the last group of positions, which the arrays do not have: the heads are split as
    /// the kernel splits them.
    fn last_group(&self, config: &Config, probe: &str) -> Part {
        let (kv_heads, group) = (config.kv_heads as u32, (config.heads / config.kv_heads) as u32);
        let part_heads = group.div_ceil(self.threads.div_ceil(kv_heads).min(group));
        let line = figures().line(probe, self.model);
        let costs = (0..group.div_ceil(part_heads))
            .map(|part| line.at(f64::from(part_heads.min(group - part * part_heads))));
        let costs: Vec<_> = (0..kv_heads).flat_map(|_| costs.clone()).collect();
        let (threads, cycles) = self.schedule(costs.into_iter());
        let bytes = u64::from(GROUP_POSITIONS) * Self::kv_bytes(config, KvType::Int8) / 2;
        self.part(Task::Attention, cycles, bytes, threads, 0.0)
    }
}
