//! The time of reading a prompt.
//!
//! The prompt goes through the model in passes of up to 512 tokens, matrix after matrix, as the engine does it; the
//! accelerator takes 8 tokens for each pass over a matrix. A few of these stand for all: after the first ones, which find
//! full FIFOs, they are alike. The processor works before the first of them; it and the accelerator do not overlap
//! but for the run-ahead.

use serde::Serialize;

use super::accelerator::{Step, StepTime, run};
use super::processor::{Part, Processor, Span, Task};
use super::token::{Addresses, Attention, Planned, Shape, System, total_ns};

/// Tokens of a pass through the model: the engine's.
pub const PASS_TOKENS: u32 = 512;
/// Tokens of a pass over a matrix.
pub const TOKENS: u32 = 8;
/// Passes over a matrix that are simulated: the last but one of them stands for those left out.
const SAMPLED: u32 = 4;
/// Tokens of a pass whose attention is simulated.
const SAMPLED_TOKENS: u32 = 32;
/// The processor's time that is simulated: by then all FIFOs are full, and the rest of it only passes.
const SIMULATED_NS: f64 = 500_000.0;

/// A prompt and how long it takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prefill {
    /// Tokens of the prompt.
    pub tokens: u32,
    /// All of it.
    pub ms: f64,
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// Of the time: the accelerator computes or waits for memory.
    pub accelerator_ms: f64,
    /// Of the time: the processor works and the accelerator does not.
    pub processor_ms: f64,
    /// Processor time by task, per prompt.
    pub parts: Vec<Part>,
    /// What it would be if the two worked at the same time on two halves of the prompt: the longer of them.
    pub overlapped_tokens_per_second: f64,
}

/// Projects a prompt of `tokens` tokens.
pub fn prefill(system: &System, shape: &Shape, tokens: u32) -> Prefill {
    let mut total = Total::default();
    let mut start = 0;
    while start < tokens {
        let span = Span { start, tokens: PASS_TOKENS.min(tokens - start) };
        let layers = shape.config.layers as f64;
        total.add(&layer(system, shape, span), layers);
        if system.attention == Attention::Arrays {
            total.add(&attention(system, shape, span), layers);
        }
        start += span.tokens;
    }
    // The logits of the last token: the head of a decode step.
    let last = system.decode_sampled(shape, tokens.max(1));
    let head: Vec<_> = last.into_iter().filter(|timed| timed.planned.step.operation.name == "head").collect();
    let head_ns = total_ns(&head);
    let ns = total.ns + head_ns;
    let (processor_ns, accelerator_ns) = (total.processor_ns, ns - total.processor_ns);
    Prefill {
        tokens,
        ms: ns / 1e6,
        tokens_per_second: f64::from(tokens) * 1e9 / ns,
        accelerator_ms: accelerator_ns / 1e6,
        processor_ms: processor_ns / 1e6,
        overlapped_tokens_per_second: f64::from(tokens) * 1e9 / accelerator_ns.max(processor_ns),
        parts: total.parts,
    }
}

/// Times that add up.
#[derive(Debug, Default)]
struct Total {
    ns: f64,
    processor_ns: f64,
    parts: Vec<Part>,
}

impl Total {
    fn add(&mut self, other: &Self, times: f64) {
        self.ns += times * other.ns;
        self.processor_ns += times * other.processor_ns;
        add_parts(&mut self.parts, &other.parts, times);
    }
}

/// Adds parts to those of the same task.
pub fn add_parts(sums: &mut Vec<Part>, parts: &[Part], times: f64) {
    for part in parts {
        let scaled = Part {
            cycles: times * part.cycles,
            bytes: (times * part.bytes as f64) as u64,
            constant_ns: times * part.constant_ns,
            ns: times * part.ns,
            ..*part
        };
        match sums.iter_mut().find(|sum| sum.task == part.task) {
            Some(sum) => {
                sum.cycles += scaled.cycles;
                sum.bytes += scaled.bytes;
                sum.constant_ns += scaled.constant_ns;
                sum.ns += scaled.ns;
            }
            None => sums.push(scaled),
        }
    }
}

/// One layer of a pass.
fn layer(system: &System, shape: &Shape, span: Span) -> Total {
    let passes = span.tokens.div_ceil(TOKENS);
    let sampled = passes.min(SAMPLED);
    let mut left_out_ns = 0.0;
    let mut steps = Vec::new();
    let mut all_parts = Vec::new();
    // The first layer settles, the second counts.
    for Planned { step, .. } in system.decode_steps(shape, 1, 2).into_iter().take(8) {
        let name = step.operation.name;
        let mut parts = system.processor.before(&shape.config, system.kv, name, false, span);
        if system.attention == Attention::Arrays {
            parts.retain(|part| part.task != Task::Attention);
        }
        let ns: f64 = parts.iter().map(|part| part.ns).sum();
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        let simulated = ns.min(SIMULATED_NS);
        if 4 * sampled as usize <= steps.len() {
            left_out_ns += ns - simulated;
            add_parts(&mut all_parts, &parts, 1.0);
        }
        for pass in 0..sampled {
            let mut operation = step.operation.clone();
            operation.tokens = TOKENS.min(span.tokens);
            let share = if pass == 0 { simulated / ns } else { 0.0 };
            steps.push(Step {
                operation,
                processor_ns: share * ns,
                processor_bytes: (share * bytes as f64) as u64,
                lag: 1,
            });
        }
    }
    let times = run(&system.hardware, &system.memory, &steps);
    let counted = &times[4 * sampled as usize..];
    let alike = if passes > SAMPLED { f64::from(passes - SAMPLED) } else { 0.0 };
    let mut total = Total { ns: left_out_ns, processor_ns: left_out_ns, parts: all_parts };
    let ns_of = |time: &StepTime, cycles: u64| time.ns * cycles as f64 / (time.cycles as f64).max(1.0);
    for matrix in counted.chunks(sampled as usize) {
        total.ns += matrix.iter().map(|time| time.ns).sum::<f64>();
        total.processor_ns += ns_of(&matrix[0], matrix[0].processor_cycles);
        if alike > 0.0 {
            total.ns += alike * matrix[sampled as usize - 2].ns;
        }
    }
    total
}

/// Attention of a pass in one layer with its products on the arrays: token by token, scores of both key-value heads,
/// then sums of both; the next token's scores are asked for before this one's sums, so that the processor and the
/// accelerator work at the same time. Some tokens, evenly spread, stand for all.
fn attention(system: &System, shape: &Shape, span: Span) -> Total {
    let count = span.tokens.min(SAMPLED_TOKENS);
    let config = &shape.config;
    let heads = config.kv_heads as u32;
    let mut addresses = Addresses::new();
    let (mut steps, mut parts) = (Vec::new(), Vec::new());
    let mut sums_before: Vec<Step> = Vec::new();
    let mut alone_ns = 0.0;
    for index in 0..count {
        let position = span.start + index * span.tokens / count;
        if Processor::groups_on_arrays(position + 1) == 0 {
            // The first positions stay with the processor.
            let alone = Span { start: position, tokens: 1 };
            let all = system.processor.before(config, system.kv, "o", false, alone);
            let part = all.into_iter().find(|part| part.task == Task::Attention);
            let part = part.expect("there is attention before the attention output");
            add_parts(&mut parts, &[part], 1.0);
            alone_ns += part.ns;
            continue;
        }
        let [before_scores, before_sums] = system.processor.prompt_token(config, position);
        add_parts(&mut parts, &before_scores, 1.0);
        add_parts(&mut parts, &before_sums, 1.0);
        let operations = system.attention_operations(config, position + 1, &mut addresses);
        let half = heads as usize;
        let step = |index: usize, work: &[Part], lag: u32| Step {
            operation: operations[index].clone(),
            processor_ns: if index.is_multiple_of(half) {
                work.iter().map(|part| part.ns).sum()
            } else {
                0.0
            },
            processor_bytes: if index.is_multiple_of(half) {
                work.iter().map(|part| part.bytes).sum()
            } else {
                0
            },
            lag,
        };
        // Scores need nothing of the steps before; sums need the scores that lie the other token's steps back.
        steps.extend((0..half).map(|index| step(index, &before_scores, 4 * heads)));
        steps.append(&mut sums_before);
        sums_before = (half..2 * half).map(|index| step(index, &before_sums, 2 * heads + 1)).collect();
    }
    steps.append(&mut sums_before);
    let times = run(&system.hardware, &system.memory, &steps);
    let ns_of = |time: &StepTime, cycles: u64| time.ns * cycles as f64 / (time.cycles as f64).max(1.0);
    let sampled = Total {
        ns: alone_ns + times.iter().map(|time| time.ns).sum::<f64>(),
        processor_ns: alone_ns + times.iter().map(|time| ns_of(time, time.processor_cycles)).sum::<f64>(),
        parts,
    };
    let mut total = Total::default();
    total.add(&sampled, f64::from(span.tokens) / f64::from(count));
    total
}
