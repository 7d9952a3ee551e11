//! Row blocks: 16 output channels of a quantized matrix [N, K], as they lie in the packed file.
//!
//! ```text
//! row block  = scales f16 [groups][16] | zeros u4 [groups][16] | pad to 64 B | weights
//! weights    = groups x (group/8 lines of 64 B)
//! line l     = inputs 8l..8l+7 of the group, all 16 channels:
//!              byte 4r+j (r = 0..15, j = 0..3) = input 8l+j of channel r (low nibble), input 8l+4+j (high nibble)
//! ```

/// Output channels in a row block.
pub const BLOCK_ROWS: usize = 16;

/// Inputs that share a scale and a zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GroupSize {
    /// 32 inputs.
    G32,
    /// 64 inputs, the default.
    G64,
    /// 128 inputs.
    G128,
}

/// Bits of a stored weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightBits {
    /// `w = (q - z) * s`, q and z unsigned 4-bit.
    Four,
    /// Two 4-bit planes: `w = (16 (hi - z) + lo) * s / 16`, where (hi, z, s) alone are a valid 4-bit matrix.
    Eight,
}

/// Where everything of a matrix [rows, inputs] lies, in bytes from the start of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowBlockShape {
    /// Output channels N (may be no multiple of 16: the last block is padded with zero scales).
    pub rows: usize,
    /// Input channels K (may be no multiple of the group: the last group is padded with q = z).
    pub inputs: usize,
    /// Group size.
    pub group: GroupSize,
    /// Four or two planes of four.
    pub bits: WeightBits,
}

/// A quantized matrix in its plain form: one byte a code, before packing and after unpacking.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedMatrix {
    /// Shape; `codes` is [rows, inputs], `scales` and `zeros` are [rows, groups].
    pub shape: RowBlockShape,
    /// Codes q: 0..=15, or 0..=255 with eight bits.
    pub codes: Vec<u8>,
    /// Scale of a group. With eight bits this is the scale of the high plane, 16 times the step of a code.
    pub scales: Vec<half::f16>,
    /// Zero point of a group, 0..=15. With eight bits it counts in steps of the high plane.
    pub zeros: Vec<u8>,
}
