//! The slaves that the accelerator's AXI masters talk to, and the master that talks to its registers.
//!
//! Each side is driven once a clock in two halves: `drive` sets its signals while the clock is low, then the module's
//! combinational paths settle, and `sample` looks at the handshakes that the rising edge will take. Every rule that a
//! master must keep is checked there; a broken one ends the simulation.

mod fault;
mod lite;
mod read;
mod timing;
mod write;

pub use fault::{Fault, FaultKind};
pub(crate) use lite::{Lite, READ_LIMIT};
pub(crate) use read::ReadPort;
pub use timing::MemoryTiming;
pub(crate) use timing::Timing;
pub(crate) use write::WritePort;

#[cfg(test)]
mod tests;

use edgewen_accel::host::BusError;

/// Bytes of a beat.
pub(crate) const BEAT: usize = 16;
/// Beats of the longest burst: the memory ports of the board cut longer ones.
pub(crate) const MAX_BEATS: usize = 16;

const OKAY: u64 = 0;

/// What RRESP or BRESP say of it.
fn response(error: BusError) -> u64 {
    match error {
        BusError::Slave => 2,
        BusError::Decode => 3,
    }
}

/// The signals that a read and a write address have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    address: u64,
    /// ARLEN, AWLEN: beats less one.
    len: u64,
    /// Everything that must not change within the design: ID, SIZE, BURST.
    kind: [u64; 3],
}

impl Address {
    /// The rule that it breaks, if any.
    fn broken_rule(&self) -> Option<String> {
        let Self { address, len, kind } = *self;
        let last = address + (len + 1) * BEAT as u64 - 1;
        let rule = if address % BEAT as u64 != 0 {
            "begins within a beat"
        } else if len as usize >= MAX_BEATS {
            "is longer than 16 beats"
        } else if address >> 12 != last >> 12 {
            "crosses a 4 KiB boundary"
        } else if kind != [0, 4, 1] {
            "is not an incrementing burst of 16-byte beats with ID 0"
        } else {
            return None;
        };
        Some(format!("a burst of {} beats at {address:#x} (ID, SIZE, BURST {kind:?}) {rule}", len + 1))
    }
}
