//! The order of the bits of a quantized matrix.
//!
//! One crate owns it because the CPU kernels, the quantizer, the packed file and the accelerator must agree on
//! every byte. It packs, unpacks and computes sizes; the only arithmetic is a code's value as a float.
//! The format is described for readers in docs/packed-format.md.
#![forbid(unsafe_code)]

pub mod awq_macro;
mod pack;
pub mod row_block;
pub mod segment;

pub use pack::dequantize_row;
pub use row_block::{
    BLOCK_ROWS, BlockPlaces, GroupSize, LINE_BYTES, LINE_INPUTS, Places, QuantizedMatrix, RowBlockShape,
    WeightBits,
};
pub use segment::{SEGMENT_BYTES, SEGMENT_INPUTS, SEGMENT_SHAPE, Segment};
