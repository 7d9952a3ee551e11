//! Segments: 16 channels times 64 inputs of 8-bit weights, the unit of the integer key-value cache and of 8-bit layers.
//!
//! A segment is the 8-bit row-block matrix [16, 64], header and both planes: the processor's kernels take it as
//! such, and the accelerator streams one segment after the other, each with its own header. A larger matrix of
//! [`WeightBits::EightSegments`] in groups of 64 is nothing but segments, those of a row block one after the other.

use crate::{GroupSize, RowBlockShape, WeightBits};

/// Inputs of a segment.
pub const SEGMENT_INPUTS: usize = 64;

/// The matrix that a segment is.
pub const SEGMENT_SHAPE: RowBlockShape = RowBlockShape {
    rows: crate::BLOCK_ROWS,
    inputs: SEGMENT_INPUTS,
    group: GroupSize::G64,
    bits: WeightBits::EightSegments,
};

/// Bytes of a segment: 17 lines, which are 68 beats of the accelerator's ports.
pub const SEGMENT_BYTES: usize = SEGMENT_SHAPE.total_bytes();

/// Weights of 16 channels and 64 inputs. Code c of -127 to 127 stands for c times a sixteenth of the scale.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Segment(pub [u8; SEGMENT_BYTES]);

impl Default for Segment {
    /// All codes and all scales zero.
    fn default() -> Self {
        let mut bytes = [0; SEGMENT_BYTES];
        let (header, planes) = bytes.split_at_mut(SEGMENT_SHAPE.header_bytes());
        let zeros = SEGMENT_SHAPE.places(0).zeros.first;
        header[zeros..zeros + crate::BLOCK_ROWS / 2].fill(ZERO_POINTS);
        planes[..SEGMENT_SHAPE.plane_bytes()].fill(ZERO_POINTS);
        Self(bytes)
    }
}

/// Two high nibbles of the code zero, which is also two zero points.
const ZERO_POINTS: u8 = 0x88;

impl Segment {
    /// Sets the scale of a channel.
    pub fn set_scale(&mut self, channel: usize, scale: half::f16) {
        self.0[2 * channel..2 * channel + 2].copy_from_slice(&scale.to_le_bytes());
    }

    /// Scale of a channel.
    pub fn scale(&self, channel: usize) -> half::f16 {
        half::f16::from_le_bytes([self.0[2 * channel], self.0[2 * channel + 1]])
    }

    /// Sets one code.
    #[inline]
    pub fn set_code(&mut self, channel: usize, input: usize, code: i8) {
        let (at, shift) = place(channel, input);
        let biased = code.cast_unsigned() ^ 0x80;
        let (high, low) = self.0[SEGMENT_SHAPE.header_bytes()..].split_at_mut(SEGMENT_SHAPE.plane_bytes());
        high[at] = high[at] & !(15 << shift) | (biased >> 4) << shift;
        low[at] = low[at] & !(15 << shift) | (biased & 15) << shift;
    }

    /// Sets the codes of eight inputs, from a multiple of eight on.
    #[inline]
    pub fn set_codes(&mut self, channel: usize, first: usize, codes: [i8; 8]) {
        let (at, _) = place(channel, first);
        let (high, low) = self.0[SEGMENT_SHAPE.header_bytes()..].split_at_mut(SEGMENT_SHAPE.plane_bytes());
        let (high, low) = (&mut high[at..at + 4], &mut low[at..at + 4]);
        for j in 0..4 {
            let (a, b) = (codes[j].cast_unsigned() ^ 0x80, codes[4 + j].cast_unsigned() ^ 0x80);
            high[j] = a >> 4 | b & 0xf0;
            low[j] = a & 15 | b << 4;
        }
    }
}

/// Byte in a plane, and bit in the byte, of a code.
#[inline]
const fn place(channel: usize, input: usize) -> (usize, u32) {
    let line = input / 8 * crate::LINE_BYTES;
    (line + 4 * channel + input % 4, if input % 8 < 4 { 0 } else { 4 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QuantizedMatrix;

    #[test]
    fn a_segment_is_an_8_bit_row_block_matrix() {
        assert_eq!(SEGMENT_BYTES, 1088);
        let code = |channel: usize, input: usize| ((channel * 37 + input * 11) % 255) as i8;
        let (mut one, mut eight) = (Segment::default(), Segment::default());
        for channel in 0..16 {
            for segment in [&mut one, &mut eight] {
                segment.set_scale(channel, half::f16::from_f32(channel as f32 / 8.0));
            }
            for input in 0..64 {
                one.set_code(channel, input, 3);
                one.set_code(channel, input, code(channel, input));
            }
            for first in (0..64).step_by(8) {
                eight.set_codes(channel, first, std::array::from_fn(|i| code(channel, first + i)));
            }
        }
        assert_eq!(one, eight);
        let matrix = QuantizedMatrix::unpack(SEGMENT_SHAPE, &one.0);
        for channel in 0..16 {
            let mut row = [0.0; 64];
            crate::dequantize_row(&SEGMENT_SHAPE, &one.0, channel, &mut row);
            for (input, weight) in row.into_iter().enumerate() {
                let expected = f32::from(code(channel, input)) * (channel as f32 / 8.0 / 16.0);
                assert_eq!(weight, expected, "channel {channel} input {input}");
                assert_eq!(matrix.codes[channel * 64 + input], code(channel, input).cast_unsigned() ^ 0x80);
            }
            assert_eq!(matrix.zeros[channel], 8);
            assert_eq!(one.scale(channel).to_f32(), channel as f32 / 8.0);
        }
    }

    #[test]
    fn a_new_segment_is_all_zeros() {
        let matrix = QuantizedMatrix::unpack(SEGMENT_SHAPE, &Segment::default().0);
        assert!(matrix.codes.iter().all(|&code| code == 0x80));
        assert!(matrix.zeros.iter().all(|&zero| zero == 8));
    }
}
