//! The paper this project starts from (arXiv 2504.17376), as a model of time.
//!
//! Its accelerator reads a 64 x 8 tile of weights (18 beats) a port and computes it before it reads the next; the
//! synthesis reports give the clocks of that, which is the interval of a beat here. Everything else runs on the ARM
//! cores with the times of its Table I, and so does the 16-bit output head, whose time is that of reading it.

use edgewen_kernels::kv::KvType;
use serde::Serialize;

use super::accelerator::{Division, HardwareConfig, Operation, WeightLayout};
use super::processor::{Part, Processor, Task};
use super::token::{
    Addresses, Attention, Planned, SAMPLED_LAYERS, Shape, System, matrix_bytes, planned, sample,
};
use crate::memory::{DataRate, MemoryConfig};

/// Beats of a macro.
pub const MACRO_BEATS: f64 = 18.0;

/// A row of the paper's Table I: processor only, four Cortex-A53, one layer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TableRow {
    /// As printed.
    pub operation: &'static str,
    /// Microseconds.
    pub us: f64,
    /// Where the accelerator takes it over, in the paper and here.
    pub on_accelerator: bool,
}

/// Table I. Its rows add up to 15,952 us as printed; the printed share of the products is not their sum.
pub const TABLE_I: [TableRow; 10] = [
    TableRow { operation: "embedding, layer init", us: 32.0, on_accelerator: false },
    TableRow { operation: "Q, K, V", us: 1815.0, on_accelerator: true },
    TableRow { operation: "bias of Q, K, V", us: 35.0, on_accelerator: false },
    TableRow { operation: "O, residual", us: 839.0, on_accelerator: true },
    TableRow { operation: "attention", us: 42.0, on_accelerator: false },
    TableRow { operation: "gate, up", us: 8148.0, on_accelerator: true },
    TableRow { operation: "down, residual", us: 4651.0, on_accelerator: true },
    TableRow { operation: "RoPE", us: 87.0, on_accelerator: false },
    TableRow { operation: "RMSNorm", us: 25.0, on_accelerator: false },
    TableRow { operation: "SiLU x mul", us: 278.0, on_accelerator: false },
];

fn table(operation: &str) -> f64 {
    TABLE_I.iter().find(|row| row.operation == operation).map_or(0.0, |row| row.us * 1e3)
}

/// A build of the seed's accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Build {
    /// Tools that made it.
    pub tools: &'static str,
    /// Clock in MHz.
    pub mhz: f64,
    /// Clocks of a macro row: 18 beats and their products.
    pub macro_row_cycles: f64,
    /// Whether the output head is in the figure.
    pub with_head: bool,
    /// Tokens a second as published.
    pub published_tokens_per_second: f64,
    /// What the published figure is.
    pub published_as: &'static str,
}

/// The build that ran on the board, and the one whose co-simulation is the paper's headline: 1 / 5.1 s is less than
/// the layers and the 16-bit head would take together, so that figure cannot contain the head.
pub const BUILDS: [Build; 2] = [
    Build {
        tools: "Vitis 2023.1",
        mhz: 125.0,
        macro_row_cycles: 265.0,
        with_head: true,
        published_tokens_per_second: 2.315,
        published_as: "measured on the board",
    },
    Build {
        tools: "Vitis 2024.2",
        mhz: 200.0,
        macro_row_cycles: 195.0,
        with_head: false,
        published_tokens_per_second: 5.1,
        published_as: "claimed from co-simulation",
    },
];

/// The system of a build: macros, no run-ahead, so many clocks a beat.
pub fn system(rate: DataRate, mhz: f64, interval: u32) -> System {
    let hardware = HardwareConfig {
        layout: WeightLayout::AwqMacro,
        division: Division::Quarters,
        fifo_depth: 512,
        interval,
        run_ahead: false,
        ..HardwareConfig::default()
    };
    System {
        hardware,
        memory: MemoryConfig::kv260(rate, mhz),
        processor: Processor::default(),
        kv: KvType::F16,
        attention: Attention::Processor,
    }
}

/// The interval of a beat that a macro row of so many clocks means.
pub fn interval(macro_row_cycles: f64) -> u32 {
    (macro_row_cycles / MACRO_BEATS).round().max(1.0) as u32
}

/// The seed's seven products a layer with the processor's part of Table I between them.
///
/// With `head_bytes` the processor reads the output head before the next token.
pub fn decode_steps(system: &System, shape: &Shape, head_bytes: Option<u64>, layers: usize) -> Vec<Planned> {
    let config = &shape.config;
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let constant = |task, ns| Part { task, cycles: 0.0, bytes: 0, constant_ns: ns, ns };
    let registers = {
        let processor = &system.processor;
        constant(Task::Registers, processor.register_write_ns + processor.polls * processor.register_read_ns)
    };
    let norm = constant(Task::RmsNorm, table("RMSNorm") / 2.0);
    let before = |name| match name {
        "q" => vec![constant(Task::Embedding, table("embedding, layer init")), norm],
        "o" => vec![
            constant(Task::Add, table("bias of Q, K, V")),
            constant(Task::Rope, table("RoPE")),
            constant(Task::Attention, table("attention")),
        ],
        "gate" => vec![norm],
        "down" => vec![constant(Task::SiluMul, table("SiLU x mul"))],
        _ => Vec::new(),
    };
    let products = [
        ("q", config.attention_size(), hidden),
        ("k", config.kv_size(), hidden),
        ("v", config.kv_size(), hidden),
        ("o", hidden, config.attention_size()),
        ("gate", intermediate, hidden),
        ("up", intermediate, hidden),
        ("down", hidden, intermediate),
    ];
    let mut addresses = Addresses::new();
    let mut steps = Vec::new();
    for layer in 0..layers {
        for (name, rows, inputs) in products {
            let mut parts = before(name);
            if layer == 0
                && name == "q"
                && let Some(bytes) = head_bytes
            {
                parts.push(system.processor.head(bytes));
            }
            parts.push(registers);
            let operation = Operation {
                name,
                rows: rows as u32,
                groups: inputs.div_ceil(64) as u32,
                tokens: 1,
                bias: false,
                top_k: false,
                address: addresses.next(matrix_bytes(system.hardware.layout, rows, inputs)),
                segments: false,
            };
            steps.push(planned(operation, parts));
        }
    }
    steps
}

/// Steps of a few layers that stand for all.
pub fn sampled_steps(system: &System, shape: &Shape, head_bytes: Option<u64>) -> Vec<Planned> {
    let all = shape.config.layers;
    let mut steps = decode_steps(system, shape, head_bytes, all.min(SAMPLED_LAYERS));
    sample(&mut steps, 7, all);
    steps
}

/// Bytes of the seed's 16-bit output head.
pub fn head_bytes(shape: &Shape) -> u64 {
    2 * (shape.config.vocab_size * shape.config.hidden_size) as u64
}
