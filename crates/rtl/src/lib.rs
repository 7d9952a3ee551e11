//! The accelerator's SystemVerilog, compiled by Verilator when it is first needed, and driven from Rust.
//!
//! [`RtlDevice`] is the whole accelerator with a memory, as the driver sees it. [`Model`] builds any module of `hw/rtl` at run time and drives its ports by name: the benches of the modules use it.
//! The product carries the sources with it and needs Verilator and a C++ compiler only when the RTL is asked for.
//!
//! | variable | meaning |
//! |---|---|
//! | `VERILATOR`, `VERILATOR_ROOT` | Verilator's program, its installation; else `verilator` on PATH |
//! | `CXX` | the compiler; else `g++`, `clang++` or `c++` |
//! | `EDGEWEN_RTL_CACHE` | where built simulators are kept; else `edgewen/rtl` in the user's cache folder |
//! | `EDGEWEN_RTL_COVERAGE` | a folder: modules are built with coverage counters and leave a file there |

#![deny(unsafe_code)]

mod bus;
mod compile;
pub mod coverage;
mod device;
mod error;
mod ffi;
mod model;
mod ports;
pub mod sources;
mod toolchain;

pub use bus::{Fault, FaultKind, MemoryTiming};
pub use compile::Speed;
pub use device::{RtlDevice, RtlOptions};
pub use error::{Error, Result};
pub use model::{Builder, Model, PortId};
pub use toolchain::Toolchain;
