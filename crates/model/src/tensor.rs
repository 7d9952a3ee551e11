//! A tensor of a checkpoint, as it lies in the mapped file.

use crate::{Error, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
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

impl Dtype {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
        }
    }
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
        let mut out = Vec::new();
        self.convert(0..self.bytes.len() / self.dtype.bytes(), &mut out)?;
        Ok(out)
    }

    /// Replaces `out` by the given rows of the first dimension. Fails with the position of the first NaN or infinity.
    ///
    /// # Panics
    /// If the rows are outside of the tensor.
    pub fn rows_to_f32(&self, rows: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        let width: usize = self.shape.iter().skip(1).product();
        self.convert(rows.start * width..rows.end * width, out)
    }

    fn convert(&self, elements: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        let size = self.dtype.bytes();
        let bytes = &self.bytes[elements.start * size..elements.end * size];
        out.clear();
        out.reserve(elements.len());
        match self.dtype {
            Dtype::F32 => out.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            Dtype::Bf16 => out.extend(
                bytes.as_chunks().0.iter().map(|b| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16)),
            ),
            Dtype::F16 => {
                // In pieces, through an aligned buffer that the fast conversion can take.
                let (mut halves, mut floats) = ([f16::ZERO; 512], [0.0; 512]);
                for piece in bytes.chunks(2 * halves.len()) {
                    let count = piece.len() / 2;
                    for (half, b) in halves.iter_mut().zip(piece.as_chunks().0) {
                        *half = f16::from_le_bytes(*b);
                    }
                    halves[..count].convert_to_f32_slice(&mut floats[..count]);
                    out.extend_from_slice(&floats[..count]);
                }
            }
        }
        match out.iter().position(|x| !x.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::NonFinite {
                tensor: self.name.clone(),
                index: elements.start + at,
                value: out[at],
            }),
        }
    }
}
