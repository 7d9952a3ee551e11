//! The functional model: what the accelerator computes, and how its registers behave.
//!
//! It alone defines both; the RTL is tested against it, never the reverse. The arithmetic is written from the rules of
//! docs/accelerator.md and shares no code with the CPU's kernels, so that it is a second opinion on them. It has no
//! clock: an operation that can run has run when the register write that allowed it returns. So counters of cycles
//! stay 0, and an error of a weight port is reported when the operation that needs the data runs, while hardware may
//! see it as soon as it reads ahead.

pub mod arith;
mod block;
mod execute;
mod registers;
mod stream;
mod top_k;

use crate::Result;
use crate::descriptor::WORDS;
use crate::host::{AddressMap, AddressSpace, Device, Memory};
use crate::program::Limits;
use registers::State;

pub use execute::{Operands, execute};
pub use top_k::TopK;

/// The functional model as a device.
pub struct Sim {
    limits: Limits,
    memory: Box<dyn Memory>,
    map: AddressMap,
    state: State,
}

impl Sim {
    /// The model of a design with these capabilities over a model's image and buffers.
    pub fn new(limits: Limits, space: AddressSpace) -> Self {
        let map = space.map().clone();
        Self::with_memory(limits, Box::new(space), map)
    }

    /// The same over any memory: tests give one that fails.
    pub fn with_memory(limits: Limits, memory: Box<dyn Memory>, map: AddressMap) -> Self {
        Self { limits, memory, map, state: State::new(&limits) }
    }
}

impl Device for Sim {
    fn name(&self) -> String {
        "sim".to_owned()
    }

    fn read(&mut self, offset: u32) -> Result<u32> {
        Ok(self.state.read(&self.limits, offset))
    }

    fn write(&mut self, offset: u32, value: u32) -> Result<()> {
        self.state.write(&self.limits, offset, value);
        self.advance();
        Ok(())
    }

    fn memory(&mut self) -> &mut dyn Memory {
        self.memory.as_mut()
    }

    fn map(&self) -> AddressMap {
        self.map.clone()
    }

    fn wait(&mut self) -> Result<()> {
        Ok(())
    }

    fn processor_time(&mut self, _ns: u64) -> Result<()> {
        Ok(())
    }
}

impl Sim {
    /// Streams and computes whatever the counts allow.
    fn advance(&mut self) {
        loop {
            self.state.stream(&self.limits);
            let Some(words) = self.state.next_operation() else { return };
            if !self.run(&words) {
                return;
            }
        }
    }

    /// Runs an operation. Returns whether it ended well; otherwise it waits for its stream, or has failed.
    fn run(&mut self, words: &[u32; WORDS]) -> bool {
        let state = &mut self.state;
        match execute::run(words, &self.limits, self.memory.as_mut(), &mut state.streams, &mut state.top_k) {
            Ok(data_beats) => {
                state.finish(data_beats);
                true
            }
            Err(execute::Stop::Starved) => false,
            Err(execute::Stop::Failed(fault)) => {
                state.fail(fault, words);
                false
            }
        }
    }
}
