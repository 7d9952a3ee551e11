//! Linear layers with 16-bit weights, row-major.

use crate::Compute;

/// Type of a stored weight, little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenseType {
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// IEEE single precision.
    F32,
}

/// A matrix [rows, inputs] in row-major order.
#[derive(Debug, Clone, Copy)]
pub struct Dense<'a> {
    /// Output channels.
    pub rows: usize,
    /// Input channels.
    pub inputs: usize,
    /// Type of the weights.
    pub dtype: DenseType,
    /// rows x inputs weights.
    pub data: &'a [u8],
}

/// `out` [tokens, rows] = `x` [tokens, inputs] times `w` [rows, inputs] transposed, plus `bias` [rows].
pub fn dense_linear(
    _c: &Compute,
    _w: &Dense<'_>,
    _x: &[f32],
    _tokens: usize,
    _bias: Option<&[f32]>,
    _out: &mut [f32],
) {
    unimplemented!("filled in by the next change")
}
