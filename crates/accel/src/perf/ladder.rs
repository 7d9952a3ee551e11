//! From the seed to this project, one change at a time.
//!
//! Each rung is a whole token through the same models of memory, accelerator and processor; the factors multiply to
//! the whole. A factor belongs to its place in the order: what limits changes from rung to rung.

use serde::Serialize;

use super::accelerator::{HardwareConfig, WeightLayout};
use super::processor::Task;
use super::seed::{self, BUILDS};
use super::token::{Head, Planned, Shape, System, planned, total_ns};
use crate::memory::{DataRate, MemoryConfig};

/// Context of the ladder: the seed's Table I was made at a few positions, and has no figures for more.
pub const CONTEXT: u32 = 64;

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rung {
    /// What this rung has that the one before has not.
    pub change: &'static str,
    /// Time of a token.
    pub ms: f64,
    /// Tokens a second.
    pub tokens_per_second: f64,
    /// How much faster than the rung before.
    pub factor: f64,
}

/// The rungs, the seed as measured first, `system` last.
pub fn ladder(shape: &Shape, system: &System, rate: DataRate) -> Vec<Rung> {
    let [board, simulated] = BUILDS;
    let with_head = Some(seed::head_bytes(shape));
    let seeds = |build: seed::Build, interval| {
        let system = seed::system(rate, build.mhz, interval);
        let steps = seed::sampled_steps(&system, shape, with_head);
        total_ns(&system.settled(&steps))
    };
    let slow_clock = MemoryConfig::kv260(rate, simulated.mhz);
    let in_order =
        HardwareConfig { layout: WeightLayout::RowBlocks, run_ahead: false, ..system.hardware.clone() };
    let table_one = |memory: &MemoryConfig, shape: &Shape| {
        let system = System { hardware: in_order.clone(), memory: memory.clone(), ..system.clone() };
        let mut steps = system.sampled_steps(shape, CONTEXT);
        steps.iter_mut().for_each(with_table_one);
        total_ns(&system.settled(&steps))
    };
    let float_head = Shape { head: Head::Processor { bytes: seed::head_bytes(shape) }, ..shape.clone() };
    let fast_head = Shape { head: Head::Accelerator, ..shape.clone() };
    let neon = System { hardware: in_order.clone(), ..system.clone() };

    let times = [
        (
            "the seed as measured: 2023.1 tools, 125 MHz, 16-bit head",
            seeds(board, seed::interval(board.macro_row_cycles)),
        ),
        ("tools of 2024.2 and 200 MHz", seeds(simulated, seed::interval(simulated.macro_row_cycles))),
        ("pipelining: a beat a clock", seeds(simulated, 1)),
        ("packing: row blocks, fused products", table_one(&slow_clock, &float_head)),
        ("4-bit head on the accelerator, top-k there", table_one(&slow_clock, &fast_head)),
        ("clock of the logic", table_one(&system.memory, &fast_head)),
        ("NEON kernels on four threads", total_ns(&neon.decode_sampled(&fast_head, CONTEXT))),
        ("run-ahead", total_ns(&system.decode_sampled(&fast_head, CONTEXT))),
    ];
    let mut before = times[0].1;
    times
        .into_iter()
        .map(|(change, ns)| {
            let factor = before / ns;
            before = ns;
            Rung { change, ms: ns / 1e6, tokens_per_second: 1e9 / ns, factor }
        })
        .collect()
}

/// Puts the seed's times in place of the project's kernels.
fn with_table_one(step: &mut Planned) {
    let us = |operation: &str| {
        seed::TABLE_I.iter().find(|row| row.operation == operation).map_or(0.0, |row| row.us)
    };
    let table_us = match step.step.operation.name {
        "qkv" => us("embedding, layer init") + us("RMSNorm") / 2.0,
        "o" => us("bias of Q, K, V") + us("RoPE") + us("attention"),
        "gate_up" => us("RMSNorm") / 2.0,
        "down" => us("SiLU x mul"),
        _ => 0.0,
    };
    let mut parts = step.parts.clone();
    parts.retain(|part| matches!(part.task, Task::Registers | Task::Head | Task::Sampling));
    if let Some(first) = parts.first_mut() {
        first.constant_ns += table_us * 1e3;
        first.ns += table_us * 1e3;
    }
    let times = step.times;
    *step = Planned { times, ..planned(step.step.operation.clone(), parts) };
}
