//! How long a token takes: the accelerator, the processor beside it, and both together.
//!
//! `accelerator` counts the clocks of the hardware over the memory model, `processor` prices what the ARM cores do
//! between two operations, `seed` has the published figures of the paper this project starts from, and `report` puts
//! them together. Nothing here was measured on a board: every result is a projection.

pub mod accelerator;
pub mod processor;
