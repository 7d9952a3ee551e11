//! Which bits of which word hold a code or a zero point.
//!
//! Words are 32 bits, little endian, in a row-major matrix. The rules were read in AutoAWQ 0.2.9 (`WQLinear_GEMM`),
//! AutoGPTQ 0.7.1 (`qlinear_cuda`), GPTQModel 7.7 and compressed-tensors 0.20 (`pack_to_int32`), whose own packers made
//! the golden files that the tests compare with.

use super::config::Format;

/// A matrix of words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'a> {
    /// The words, 4 bytes each; perhaps unaligned.
    pub(super) bytes: &'a [u8],
    /// Words in a row.
    pub(super) width: usize,
    /// Bits of a value.
    pub(super) bits: u32,
}

impl Words<'_> {
    /// Bits `bits * slot` and up of word `column` of row `row`.
    fn value(&self, row: usize, column: usize, slot: usize) -> u8 {
        let at = 4 * (row * self.width + column);
        let bytes = &self.bytes[at..at + 4];
        let word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        (word >> (self.bits as usize * slot) & ((1 << self.bits) - 1)) as u8
    }

    /// Values in a word.
    fn per_word(&self) -> usize {
        32 / self.bits as usize
    }

    /// The code of an output channel and an input.
    pub(super) fn code(&self, format: Format, row: usize, input: usize) -> u8 {
        let per_word = self.per_word();
        match format {
            Format::AutoAwq => self.value(input, row / 8, AWQ_NIBBLE[row % 8]),
            Format::Gptq1 | Format::Gptq2 => self.value(input / per_word, row, input % per_word),
            Format::CompressedTensors => self.value(row, input / per_word, input % per_word),
        }
    }

    /// The stored zero point of an output channel and a group.
    pub(super) fn zero(&self, format: Format, row: usize, group: usize) -> u8 {
        let per_word = self.per_word();
        match format {
            Format::AutoAwq => self.value(group, row / 8, AWQ_NIBBLE[row % 8]),
            Format::Gptq1 | Format::Gptq2 => self.value(group, row / per_word, row % per_word),
            Format::CompressedTensors => self.value(row / per_word, group, row % per_word),
        }
    }
}

/// The nibble of a word that holds the channel of this number: AutoAWQ interleaves even and odd ones.
pub(crate) const AWQ_NIBBLE: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];
