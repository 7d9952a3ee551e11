//! Cycles of the accelerator over the memory model: what `hw/rtl` does in each clock, without its values.
//!
//! A list of [`Step`]s (a decode token, a prefill) goes in, a list of [`StepTime`]s comes out. It follows the RTL: the
//! ports run ahead into their FIFOs, the compute side takes one beat of every active port a clock, operands and results
//! go over the data port. `crates/rtl/tests/cycles.rs` holds it to the RTL's own counters.

mod machine;
mod operands;
mod read_master;
mod results;
mod steps;

pub use steps::{Place, ProcessorWork, TOKENS, decode_steps, prefill_steps};

use crate::memory::{MemoryConfig, Pattern};
use machine::Machine;

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
    /// Block b is port b mod 4's. Not what the file and the hardware do; to compare with.
    RoundRobin,
}

/// Where the ports' parts of a matrix lie in memory.
///
/// The memory has four pairs of banks, and an address's bits 14 and 15 say which: ports that stream side by side through
/// the same pair close each other's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// One after the other, as in the file.
    AsInFile,
    /// A window of the whole file for each port, shifted by 16 KiB from port to port.
    Windows,
    /// A region for each port, each one bank further: what the host does. Which port begins where in the file plays no
    /// part then; the steps' addresses only say which matrices are the same.
    Staggered,
}

/// The parameters of `accel_top` and of the system around it.
#[derive(Debug, Clone, PartialEq)]
pub struct HardwareConfig {
    /// Weights in memory.
    pub layout: WeightLayout,
    /// Blocks of the ports.
    pub division: Division,
    /// Where the ports' parts lie.
    pub placement: Placement,
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
    pub processor_pattern: Pattern,
}

impl Default for HardwareConfig {
    /// As built: the defaults of `accel_top`.
    fn default() -> Self {
        Self {
            layout: WeightLayout::RowBlocks,
            division: Division::Quarters,
            placement: Placement::Staggered,
            fifo_depth: 28_672,
            max_outstanding: 16,
            burst_beats: 16,
            interval: 1,
            run_ahead: true,
            result_burst_bytes: 256,
            processor_pattern: Pattern::Streaming,
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
    /// The matrix is a piece of the 8-bit key-value cache: 64 beats of weights and 4 of header a group.
    pub segments: bool,
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
    /// Clocks in which compute could not take a beat: its interval, or results that were not written yet.
    pub hold_cycles: u64,
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
    Machine::new(hardware, memory, steps).run()
}

/// Channels of a row block.
fn block_channels(layout: WeightLayout) -> u32 {
    match layout {
        WeightLayout::RowBlocks => 16,
        WeightLayout::AwqMacro => 8,
    }
}

/// Beats of a row block: header and weights.
fn block_beats(layout: WeightLayout, operation: &Operation) -> u32 {
    match layout {
        _ if operation.segments => 68 * operation.groups,
        WeightLayout::RowBlocks => (40 * operation.groups).div_ceil(64) * 4 + 32 * operation.groups,
        WeightLayout::AwqMacro => 18 * operation.groups,
    }
}

/// First block and number of blocks of each port; with round-robin the first block is the port's number.
fn divide(division: &Division, blocks: u32) -> [(u32, u32); WEIGHT_PORTS] {
    let bound = |port: usize| match division {
        Division::Quarters => blocks * port as u32 / 4,
        Division::Shares(shares) => {
            let all: f64 = shares.iter().sum();
            let before: f64 = shares[..port].iter().sum();
            (f64::from(blocks) * before / all).round() as u32
        }
        Division::RoundRobin => 0,
    };
    std::array::from_fn(|port| match division {
        Division::RoundRobin => (port as u32, (blocks + 3 - port as u32) / 4),
        _ => (bound(port), bound(port + 1) - bound(port)),
    })
}

#[cfg(test)]
mod tests;
