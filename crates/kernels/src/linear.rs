//! Linear layers with quantized weights.

use std::fmt;

use edgewen_layout::RowBlockShape;

use crate::{Activations, Compute};

/// Packed bytes whose number does not fit the shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthError {
    /// Bytes that the shape asks for; `None` when they do not fit in memory at all.
    pub expected: Option<usize>,
    /// Bytes that were given.
    pub found: usize,
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expected {
            Some(expected) => write!(f, "packed matrix of {} bytes, expected {expected}", self.found),
            None => write!(f, "packed matrix of {} bytes, expected more than memory can hold", self.found),
        }
    }
}

impl std::error::Error for LengthError {}

/// A quantized matrix in row-block order.
#[derive(Debug, Clone, Copy)]
pub struct RowBlocks<'a> {
    shape: RowBlockShape,
    data: &'a [u8],
}

impl<'a> RowBlocks<'a> {
    /// The matrix of this shape in `data`, if that has the right length.
    pub fn new(shape: RowBlockShape, data: &'a [u8]) -> Result<Self, LengthError> {
        let expected = shape.try_total_bytes();
        if expected == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            Err(LengthError { expected, found: data.len() })
        }
    }

    /// Shape.
    pub fn shape(&self) -> &RowBlockShape {
        &self.shape
    }

    /// Row `row` as floats [inputs].
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        edgewen_layout::dequantize_row(&self.shape, self.data, row, out);
    }
}

/// `out` [tokens, rows] = `x` [tokens, inputs] times `w` [rows, inputs] transposed, plus `bias` [rows].
pub fn linear(_c: &Compute, w: &RowBlocks<'_>, _x: &Activations, _bias: Option<&[f32]>, _out: &mut [f32]) {
    unimplemented!("filled in by the next change: {:?}", w.data.len())
}
