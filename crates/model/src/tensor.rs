//! A tensor of a checkpoint, as it lies in the mapped file.

use crate::Result;
use std::ops::Range;

/// Element type of a checkpoint's tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE 32-bit.
    F32,
    /// IEEE 16-bit.
    F16,
    /// The upper half of an IEEE 32-bit float.
    Bf16,
}

/// A tensor of a checkpoint; `bytes` is little endian, row-major and may be unaligned.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    /// Name in the checkpoint.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: Dtype,
    /// The elements.
    pub bytes: &'a [u8],
}

impl Tensor<'_> {
    /// All elements. Fails with the position of the first NaN or infinity.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        unimplemented!()
    }

    /// Replaces `out` by the given rows of the first dimension. Fails with the position of the first NaN or infinity.
    pub fn rows_to_f32(&self, _rows: Range<usize>, _out: &mut Vec<f32>) -> Result<()> {
        unimplemented!()
    }
}
