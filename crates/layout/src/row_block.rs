//! Row blocks: 16 output channels of a quantized matrix [N, K], as they lie in the packed file.
//!
//! ```text
//! row block  = scales f16 [groups][16] | zeros u4 [groups][16] | pad to 64 B | weights
//! zeros      = 8 bytes a group: byte i = channel 2i (low nibble), channel 2i+1 (high nibble)
//! weights    = groups x (group/8 lines of 64 B)
//! line l     = inputs 8l..8l+7 of the group, all 16 channels:
//!              byte 4r+j (r = 0..15, j = 0..3) = input 8l+j of channel r (low nibble), input 8l+4+j (high nibble)
//! matrix     = blocks, and with eight bits the low plane after them: the same lines without the headers
//! ```
//!
//! `line & 15` and `line >> 4` are 16 lanes of 32 bits, one channel x 4 inputs each: what `vpdpbusd` with one
//! broadcast activation word, `sdot` by element and the accelerator's 8x8 array take, with no shuffle.

/// Output channels in a row block.
pub const BLOCK_ROWS: usize = 16;

/// Bytes of a line: 8 inputs of 16 channels, 4 bits each. Headers are padded to it.
pub const LINE_BYTES: usize = 64;

/// Inputs in a line.
pub const LINE_INPUTS: usize = 8;

/// Header bytes of a group: 16 scales of 16 bits and 16 zero points of 4.
const GROUP_HEADER_BYTES: usize = BLOCK_ROWS * 2 + BLOCK_ROWS / 2;

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

impl GroupSize {
    /// The group of `inputs` inputs, if it is one of the three.
    pub fn new(inputs: usize) -> Option<Self> {
        match inputs {
            32 => Some(Self::G32),
            64 => Some(Self::G64),
            128 => Some(Self::G128),
            _ => None,
        }
    }

    /// Inputs in a group.
    pub const fn get(self) -> usize {
        match self {
            Self::G32 => 32,
            Self::G64 => 64,
            Self::G128 => 128,
        }
    }
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

impl RowBlockShape {
    /// Groups in a row, the last one perhaps padded.
    pub const fn groups(&self) -> usize {
        self.inputs.div_ceil(self.group.get())
    }

    /// Row blocks, the last one perhaps padded.
    pub const fn blocks(&self) -> usize {
        self.rows.div_ceil(BLOCK_ROWS)
    }

    /// Inputs with the padding of the last group.
    pub const fn padded_inputs(&self) -> usize {
        self.groups() * self.group.get()
    }

    /// Bytes of the scales, zero points and padding at the start of a block: a multiple of 64.
    pub const fn header_bytes(&self) -> usize {
        (self.groups() * GROUP_HEADER_BYTES).next_multiple_of(LINE_BYTES)
    }

    /// Offset of the zero points in a block: just after the scales.
    pub const fn zeros_offset(&self) -> usize {
        self.groups() * BLOCK_ROWS * 2
    }

    /// Bytes of one block with its header, one plane.
    pub const fn block_bytes(&self) -> usize {
        self.header_bytes() + self.low_block_bytes()
    }

    /// Bytes of one block of the low plane, which is also those of a block's weights without the header.
    pub const fn low_block_bytes(&self) -> usize {
        self.padded_inputs() * LINE_INPUTS
    }

    /// Offset of the low plane: the end of the high one.
    pub const fn low_plane_offset(&self) -> usize {
        self.blocks() * self.block_bytes()
    }

    /// Bytes of the whole matrix. Overflows (a panic in debug builds) on shapes for which
    /// [`Self::try_total_bytes`] returns `None`.
    pub const fn total_bytes(&self) -> usize {
        match self.bits {
            WeightBits::Four => self.low_plane_offset(),
            WeightBits::Eight => self.low_plane_offset() + self.blocks() * self.low_block_bytes(),
        }
    }

    /// [`Self::total_bytes`], or `None` when it does not fit in a `usize`: for shapes from a file not yet trusted.
    pub fn try_total_bytes(&self) -> Option<usize> {
        // A bound that needs no rounding: the header is less than 40 bytes a group and 64, lines are 8 bytes an input.
        let inputs = self.inputs.checked_add(2 * self.group.get())?;
        let rows = self.rows.checked_add(BLOCK_ROWS)?;
        rows.checked_mul(inputs)?.checked_mul(8)?;
        Some(self.total_bytes())
    }
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
