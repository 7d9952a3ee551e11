//! How long a token takes: the accelerator, the processor beside it, and both together.
//!
//! `accelerator` counts the clocks of the hardware over the memory model, `processor` prices what the ARM cores do
//! between two operations, `token` puts both in the order of the forward pass. `seed` is the paper this project starts
//! from, `ladder` the way from there to here. Nothing here was measured on a board: every result is a projection.

pub mod accelerator;
pub mod ladder;
pub mod prefill;
pub mod processor;
pub mod report;
pub mod roofline;
pub mod seed;
pub mod token;
