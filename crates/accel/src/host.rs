//! The processor's side: one driver for every device, and a [`Backend`](edgewen_engine::Backend) over it.
//!
//! A [`Device`] is registers and shared memory, whatever is behind them: the functional model, the simulated RTL, or
//! the board. [`Accelerator`] runs a model on one: linear layers on the device, with keys and values of eight bits also the
//! products of attention, and the rest with the CPU's code.

mod accelerator;
mod address_space;
mod attention;
mod buffers;
mod driver;
mod kv_store;
mod order;
mod plan;
mod runner;

pub use accelerator::{Accelerator, HostOptions};
pub use address_space::{AddressMap, AddressSpace, BUFFER_BYTES, BusError, Memory};
pub use driver::Driver;

use crate::Result;

/// An accelerator: its registers and the memory it shares with the processor.
pub trait Device {
    /// What it is, for people: `sim`, `rtl`.
    fn name(&self) -> String;

    /// Reads the register at `offset`.
    ///
    /// # Errors
    /// The registers cannot be reached.
    fn read(&mut self, offset: u32) -> Result<u32>;

    /// Writes the register at `offset`.
    ///
    /// # Errors
    /// The registers cannot be reached.
    fn write(&mut self, offset: u32, value: u32) -> Result<()>;

    /// The memory that both see.
    fn memory(&mut self) -> &mut dyn Memory;

    /// Where in it the model and the buffers are.
    fn map(&self) -> AddressMap;

    /// Lets time pass until the interrupt line is up, or for a while: the driver looks at the registers then and calls
    /// again if it must. A device without time of its own does nothing.
    ///
    /// # Errors
    /// The device cannot go on.
    fn wait(&mut self) -> Result<()>;

    /// The processor is busy with something else for `ns` nanoseconds, in which a simulated device goes on.
    ///
    /// # Errors
    /// The device cannot go on.
    fn processor_time(&mut self, ns: u64) -> Result<()>;
}
