//! The order of the bits of a quantized matrix.
//!
//! One crate owns it because the CPU kernels, the quantizer, the packed file and the accelerator must agree on
//! every byte. It packs, unpacks and computes sizes; it does no arithmetic on values.
//! The format is described for readers in docs/packed-format.md.
#![forbid(unsafe_code)]

pub mod row_block;

pub use row_block::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits, BLOCK_ROWS};
