//! The rows of the report, each from the models.

use edgewen_kernels::kv::KvType;
use rayon::prelude::*;

use super::{
    Breakdown, CONTEXTS, Comparison, ContextRow, Decode, Inputs, KernelSource, OperationRow, PortRow,
    ProcessorRow, Request, SeedRow, WhatIf,
};
use crate::memory::{DataRate, MemoryConfig};
use crate::perf::accelerator::{HardwareConfig, Placement, WEIGHT_PORTS};
use crate::perf::prefill::add_parts;
use crate::perf::processor::{Model, Part, Processor, Task, figures};
use crate::perf::seed::{self, Build, TABLE_I};
use crate::perf::token::{Attention, Shape, System, Timed, total_ns};

/// Clock of the logic that the design aims at.
const HYBRID_MHZ: f64 = 300.0;
/// A clock that others reached on this part (team SEC, kv260 with 85k LUT).
const FAST_MHZ: f64 = 375.0;
/// Context of the comparison with Table I.
const TABLE_CONTEXT: u32 = CONTEXTS[0];

pub(super) fn mts(rate: DataRate) -> u32 {
    match rate {
        DataRate::Mts2133 => 2133,
        DataRate::Mts2400 => 2400,
    }
}

/// This project's machine as requested.
pub(super) fn hybrid(request: &Request) -> System {
    System {
        hardware: HardwareConfig {
            // As the image of the model is placed: each port in its own banks.
            placement: Placement::Staggered,
            run_ahead: request.run_ahead,
            interval: request.interval.unwrap_or(1),
            ..HardwareConfig::default()
        },
        memory: MemoryConfig::kv260(request.data_rate, request.mhz.unwrap_or(HYBRID_MHZ)),
        processor: Processor { threads: request.threads, ..Processor::default() },
        kv: request.kv,
        attention: request.attention,
    }
}

pub(super) fn inputs(shape: &Shape, request: &Request, system: &System) -> Inputs {
    let kernels = figures();
    Inputs {
        mode: request.mode,
        data_rate_mts: mts(request.data_rate),
        mhz: system.memory.pl_mhz,
        interval: system.hardware.interval,
        run_ahead: system.hardware.run_ahead,
        fifo_beats: system.hardware.fifo_depth,
        max_outstanding: system.hardware.max_outstanding,
        kv: match system.kv {
            KvType::F16 => "f16",
            KvType::Int8 => "int8",
        },
        attention: system.attention,
        kv_bytes_per_position_and_layer: Processor::kv_bytes(&shape.config, system.kv),
        processor: system.processor.clone(),
        kernels: KernelSource {
            file: "crates/accel/src/perf/data/processor-cycles.json",
            command: kernels.command.clone(),
            compiler: kernels.compiler.clone(),
            llvm_mca: kernels.llvm_mca.clone(),
        },
    }
}

/// Adds up the steps of a token.
pub(super) fn decode(system: &System, timed: &[Timed], context: u32) -> Decode {
    let mut operations: Vec<OperationRow> = Vec::new();
    let mut ports: Vec<_> = (0..WEIGHT_PORTS)
        .map(|port| PortRow { port, beats: 0.0, stall_cycles: 0.0, busy_cycles: 0.0, max_level: 0 })
        .collect();
    let mut processor = Vec::new();
    for Timed { planned, time } in timed {
        let operation = &planned.step.operation;
        let times = planned.times;
        let of = |cycles: u64| times * cycles as f64;
        let row = match operations.iter_mut().position(|row| row.operation == operation.name) {
            Some(at) => &mut operations[at],
            None => {
                operations.push(OperationRow::named(operation.name));
                operations.last_mut().expect("it was just added")
            }
        };
        row.calls += times;
        row.cycles += of(time.cycles);
        row.compute_cycles += of(time.compute_cycles);
        row.wait_cycles += of(time.wait_cycles);
        row.processor_cycles += of(time.processor_cycles);
        row.load_cycles += of(time.load_cycles);
        row.hold_cycles += of(time.hold_cycles);
        row.drain_cycles += of(time.drain_cycles);
        row.weight_bytes += of(time.weight_bytes);
        row.data_bytes += of(time.data_bytes);
        row.macs += times
            * f64::from(operation.rows)
            * f64::from(operation.groups)
            * 64.0
            * f64::from(operation.tokens);
        for (port, sums) in ports.iter_mut().enumerate() {
            row.stall_cycles[port] += of(time.stall[port]);
            sums.stall_cycles += of(time.stall[port]);
            sums.beats += of(time.beats[port]);
            sums.busy_cycles += of(time.busy[port]);
            sums.max_level = sums.max_level.max(time.max_level[port]);
        }
        add_parts(&mut processor, &planned.parts, times);
    }
    processor.sort_by_key(|part| part.task);
    let ms = total_ns(timed) / 1e6;
    let cycles: f64 = operations.iter().map(|row| row.cycles).sum();
    let to_ms = ms / cycles.max(1.0);
    let sum = |field: fn(&OperationRow) -> f64| operations.iter().map(field).sum::<f64>();
    let mut breakdown = Breakdown {
        compute_ms: to_ms * sum(|row| row.compute_cycles),
        stream_ms: to_ms * sum(|row| row.wait_cycles),
        processor_ms: to_ms * sum(|row| row.processor_cycles),
        load_ms: to_ms * sum(|row| row.load_cycles),
        hold_ms: to_ms * sum(|row| row.hold_cycles),
        drain_ms: to_ms * sum(|row| row.drain_cycles),
        other_ms: 0.0,
    };
    breakdown.other_ms = ms - breakdown.known_ms();
    let weight_bytes = sum(|row| row.weight_bytes);
    let allowed = system.stream_rate();
    let stream_gbps = weight_bytes / (ms * 1e6);
    Decode {
        context,
        ms,
        tokens_per_second: 1e3 / ms,
        cycles,
        breakdown,
        weight_bytes,
        data_bytes: sum(|row| row.data_bytes),
        processor_bytes: processor.iter().map(|part: &Part| part.bytes as f64).sum(),
        stream_allowed_gbps: allowed,
        stream_gbps,
        stream_utilization: stream_gbps / allowed,
        stream_ms: weight_bytes / (allowed * 1e6),
        compute_ms: breakdown.compute_ms,
        operations,
        ports,
        processor,
    }
}

/// Decode at the usual contexts with both memories.
pub(super) fn contexts(shape: &Shape, request: &Request) -> Vec<ContextRow> {
    let rates = [DataRate::Mts2133, DataRate::Mts2400];
    let cases: Vec<_> = rates.iter().flat_map(|&rate| CONTEXTS.map(|context| (rate, context))).collect();
    cases
        .par_iter()
        .map(|&(data_rate, context)| {
            let system = hybrid(&Request { data_rate, ..request.clone() });
            let row = decode(&system, &system.decode_sampled(shape, context), context);
            ContextRow {
                context,
                data_rate_mts: mts(data_rate),
                ms: row.ms,
                tokens_per_second: row.tokens_per_second,
                stream_utilization: row.stream_utilization,
                processor_ms: row.processor.iter().map(|part| part.ns).sum::<f64>() / 1e6,
            }
        })
        .collect()
}

/// Processor time of a token by task.
fn processor_parts(system: &System, shape: &Shape, context: u32) -> Vec<Part> {
    let mut sums = Vec::new();
    for planned in system.decode_steps(shape, context, shape.config.layers) {
        add_parts(&mut sums, &planned.parts, 1.0);
    }
    sums
}

pub(super) fn processor_rows(shape: &Shape, system: &System, context: u32) -> Vec<ProcessorRow> {
    let us = |parts: &[Part], task| {
        parts.iter().filter(|part| part.task == task).fold(0.0, |sum, part| sum + part.ns / 1e3)
    };
    let by_context = CONTEXTS.map(|context| processor_parts(system, shape, context));
    let by_threads = [1, 2, 3, 4].map(|threads| {
        let processor = Processor { threads, ..system.processor.clone() };
        processor_parts(&System { processor, ..system.clone() }, shape, context)
    });
    let other = Processor { model: Model::Issue, ..system.processor.clone() };
    let other = processor_parts(&System { processor: other, ..system.clone() }, shape, context);
    Task::ALL
        .into_iter()
        .map(|task| ProcessorRow {
            task,
            us_by_context: std::array::from_fn(|i| us(&by_context[i], task)),
            us_by_threads: std::array::from_fn(|i| us(&by_threads[i], task)),
            us_issue_model: us(&other, task),
        })
        .filter(|row| row.us_by_context.iter().chain(&row.us_by_threads).any(|&us| us > 0.0))
        .collect()
}

/// Table I beside what the same costs here, a layer.
pub(super) fn comparisons(shape: &Shape, system: &System) -> Vec<Comparison> {
    let timed = system.decode_sampled(shape, TABLE_CONTEXT);
    let layers = shape.config.layers as f64;
    let decode = decode(system, &timed, TABLE_CONTEXT);
    let task_us = |task| {
        let parts = decode.processor.iter().filter(|part| part.task == task);
        parts.map(|part| part.ns / 1e3).sum::<f64>() / layers
    };
    let operation_us = |name: &str| {
        let rows = decode.operations.iter().filter(|row| row.operation == name);
        let cycles: f64 = rows.map(|row| row.cycles - row.processor_cycles).sum();
        cycles / system.memory.pl_mhz / layers
    };
    let add = task_us(Task::Add) / 2.0;
    TABLE_I
        .into_iter()
        .map(|seed| {
            let (here, here_us) = match seed.operation {
                "embedding, layer init" => ("embedding row, once a token", task_us(Task::Embedding)),
                "Q, K, V" => ("accelerator", operation_us("qkv")),
                "bias of Q, K, V" => ("in the accelerator's products", 0.0),
                "O, residual" => ("accelerator, add", operation_us("o") + add),
                "attention" => ("NEON, KV append", task_us(Task::Attention) + task_us(Task::KvAppend)),
                "gate, up" => ("accelerator", operation_us("gate_up")),
                "down, residual" => ("accelerator, add", operation_us("down") + add),
                "RoPE" => ("NEON", task_us(Task::Rope)),
                "RMSNorm" => ("NEON", task_us(Task::RmsNorm)),
                _ => ("NEON", task_us(Task::SiluMul)),
            };
            Comparison { seed, here, here_us }
        })
        .collect()
}

/// What the model says of a published figure.
pub(super) fn seed_row(shape: &Shape, rate: DataRate, build: Build) -> SeedRow {
    let interval = seed::interval(build.macro_row_cycles);
    let system = seed::system(rate, build.mhz, interval);
    let head = build.with_head.then(|| seed::head_bytes(shape));
    let steps = seed::sampled_steps(&system, shape, head);
    let timed = system.settled(&steps);
    let ns = total_ns(&timed);
    let part_ns = |of_head| {
        let parts = timed
            .iter()
            .flat_map(|timed| timed.planned.parts.iter().map(move |part| (part, timed.planned.times)));
        parts
            .filter(|(part, _)| (part.task == Task::Head) == of_head)
            .fold(0.0, |sum, (part, times)| sum + part.ns * times)
    };
    let (head_ns, processor_ns) = (part_ns(true), part_ns(false));
    let tokens_per_second = 1e9 / ns;
    SeedRow {
        build,
        interval,
        layers_ms: (ns - head_ns - processor_ns) / 1e6,
        processor_ms: processor_ns / 1e6,
        head_ms: head_ns / 1e6,
        tokens_per_second,
        error: tokens_per_second / build.published_tokens_per_second - 1.0,
    }
}

/// Changes that are not built, or not the default.
pub(super) fn what_if(shape: &Shape, system: &System, request: &Request) -> Vec<WhatIf> {
    let with = |change: &dyn Fn(&mut System)| {
        let mut system = system.clone();
        change(&mut system);
        system
    };
    let changes = [
        ("as requested", with(&|_| ())),
        (
            "attention on the ARM cores, f16",
            with(&|system| {
                system.attention = Attention::Processor;
                system.kv = KvType::F16;
            }),
        ),
        (
            "attention on the arrays, 8-bit KV",
            with(&|system| {
                system.attention = Attention::Arrays;
                system.kv = KvType::Int8;
            }),
        ),
        ("kernels priced by the issue model", with(&|system| system.processor.model = Model::Issue)),
        ("no run-ahead", with(&|system| system.hardware.run_ahead = false)),
        ("weights placed as in the file", with(&|system| system.hardware.placement = Placement::AsInFile)),
        (
            "logic at 375 MHz",
            with(&|system| system.memory = MemoryConfig::kv260(request.data_rate, FAST_MHZ)),
        ),
    ];
    changes
        .into_par_iter()
        .map(|(change, system)| WhatIf {
            change,
            tokens_per_second: CONTEXTS.map(|context| 1e9 / total_ns(&system.decode_sampled(shape, context))),
        })
        .collect()
}
