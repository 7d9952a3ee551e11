//! One block of weights, taken apart: row blocks of 16 channels, segments of 16, or the seed's macros of 8.

use super::arith::f16_to_f32;
use crate::image::{BEAT_BYTES, Layout};
use crate::program::GROUP_INPUTS;

/// Channels of the wider kind of block. Narrower blocks leave the upper ones at zero.
pub(super) const CHANNELS: usize = 16;

/// Bytes of a line of a row block: 8 inputs of 16 channels.
const LINE_BYTES: usize = 64;

/// Lines of one plane of a group.
const LINES: usize = GROUP_INPUTS / 8;

/// Bytes of a segment: one line of scales, zero points and padding, then the two planes.
const SEGMENT_BYTES: usize = (1 + 2 * LINES) * LINE_BYTES;

/// Bytes of a macro, and of the parts before its weights.
const MACRO_BYTES: usize = 18 * BEAT_BYTES;
const MACRO_WEIGHTS: usize = 2 * BEAT_BYTES;
const MACRO_CHANNELS: usize = 8;

/// The nibble of a word of a macro that belongs to channel 0 to 7.
const MACRO_NIBBLES: [usize; MACRO_CHANNELS] = [0, 4, 1, 5, 2, 6, 3, 7];

/// The channels of one group: everything that does not depend on the token.
pub(super) struct Group {
    /// Codes, the channels of an input side by side.
    pub(super) codes: [[i16; CHANNELS]; GROUP_INPUTS],
    /// Zero points.
    pub(super) zeros: [i32; CHANNELS],
    /// Scales.
    pub(super) scales: [f32; CHANNELS],
}

impl Group {
    pub(super) const EMPTY: Self =
        Self { codes: [[0; CHANNELS]; GROUP_INPUTS], zeros: [0; CHANNELS], scales: [0.0; CHANNELS] };

    /// Takes group `index` of `groups` out of the bytes of a block.
    pub(super) fn unpack(&mut self, layout: Layout, block: &[u8], groups: usize, index: usize) {
        match layout {
            Layout::RowBlocks => self.unpack_row_block(block, groups, index),
            Layout::AwqMacro => self.unpack_macro(&block[index * MACRO_BYTES..][..MACRO_BYTES]),
            Layout::Segments => self.unpack_segment(&block[index * SEGMENT_BYTES..][..SEGMENT_BYTES]),
        }
    }

    /// Scales [groups][16], zero points [groups][16], padding, then lines.
    fn unpack_row_block(&mut self, block: &[u8], groups: usize, index: usize) {
        let header_bytes = (40 * groups).next_multiple_of(LINE_BYTES);
        self.unpack_header(&block[32 * index..][..32], &block[32 * groups + 8 * index..][..8]);
        self.unpack_lines(&block[header_bytes + index * LINES * LINE_BYTES..][..LINES * LINE_BYTES]);
    }

    /// A row block of one group, whose lines are the high nibbles, and then as many lines of the low ones. A code is
    /// 16 hi + lo, a zero point 16 z, and a scale a sixteenth of the one that is stored: exact, even for the smallest.
    fn unpack_segment(&mut self, bytes: &[u8]) {
        let (header, planes) = bytes.split_at(LINE_BYTES);
        let (high, low) = planes.split_at(LINES * LINE_BYTES);
        self.unpack_header(&header[..32], &header[32..40]);
        self.zeros = self.zeros.map(|zero| 16 * zero);
        self.scales = self.scales.map(|scale| scale * (1.0 / 16.0));
        self.unpack_lines(low);
        let low = self.codes;
        self.unpack_lines(high);
        for (codes, low) in self.codes.as_flattened_mut().iter_mut().zip(low.as_flattened()) {
            *codes = 16 * *codes + low;
        }
    }

    fn unpack_header(&mut self, scales: &[u8], zeros: &[u8]) {
        for (channel, scale) in self.scales.iter_mut().enumerate() {
            *scale = f16_to_f32(u16::from_le_bytes([scales[2 * channel], scales[2 * channel + 1]]));
        }
        for (channel, zero) in self.zeros.iter_mut().enumerate() {
            *zero = i32::from(zeros[channel / 2] >> (4 * (channel % 2)) & 15);
        }
    }

    fn unpack_lines(&mut self, lines: &[u8]) {
        for (line, inputs) in lines.chunks_exact(LINE_BYTES).zip(self.codes.chunks_exact_mut(8)) {
            for (channel, bytes) in line.chunks_exact(4).enumerate() {
                for (j, &byte) in bytes.iter().enumerate() {
                    inputs[j][channel] = i16::from(byte & 15);
                    inputs[4 + j][channel] = i16::from(byte >> 4);
                }
            }
        }
    }

    /// A word of zero points, 12 bytes of nothing, 8 scales, then a word of codes for every input.
    fn unpack_macro(&mut self, bytes: &[u8]) {
        let nibble = |word: usize, nibble: usize| bytes[4 * word + nibble / 2] >> (4 * (nibble % 2)) & 15;
        for (channel, place) in MACRO_NIBBLES.into_iter().enumerate() {
            let scale = BEAT_BYTES + 2 * channel;
            self.scales[channel] = f16_to_f32(u16::from_le_bytes([bytes[scale], bytes[scale + 1]]));
            self.zeros[channel] = i32::from(nibble(0, place));
            for (input, codes) in self.codes.iter_mut().enumerate() {
                codes[channel] = i16::from(nibble(MACRO_WEIGHTS / 4 + input, place));
            }
        }
    }

    /// `sum q q_a - z sum_a` of every channel.
    #[inline]
    pub(super) fn dot(&self, activations: &[i8], sum: i32) -> [i32; CHANNELS] {
        let mut dot = self.zeros.map(|zero| zero.wrapping_mul(sum).wrapping_neg());
        for (codes, &a) in self.codes.iter().zip(activations) {
            for (dot, &code) in dot.iter_mut().zip(codes) {
                *dot = dot.wrapping_add(i32::from(code) * i32::from(a));
            }
        }
        dot
    }
}
