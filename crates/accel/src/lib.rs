//! The FPGA accelerator, seen from software.
//!
//! `registers` and `descriptor` say how it is driven, `sim` what it computes, `host` how a model runs on it, `memory`
//! and `perf` how long that takes. The hardware itself is in `hw/`; the `rtl` crate simulates it.

#![forbid(unsafe_code)]

pub mod descriptor;
pub mod host;
pub mod image;
pub mod memory;
pub mod perf;
pub mod program;
pub mod registers;
pub mod sim;

mod error;

pub use error::{Error, Result};
