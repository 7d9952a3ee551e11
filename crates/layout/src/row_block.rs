//! Row blocks: 16 output channels of a quantized matrix [N, K], as they lie in the packed file.
//!
//! ```text
//! row block  = scales f16 [groups][16] | zeros u4 [groups][16] | pad to 64 B | weights
//! zeros      = 8 bytes a group: byte i = channel 2i (low nibble), channel 2i+1 (high nibble)
//! weights    = groups x (group/8 lines of 64 B)
//! line l     = inputs 8l..8l+7 of the group, all 16 channels:
//!              byte 4r+j (r = 0..15, j = 0..3) = input 8l+j of channel r (low nibble), input 8l+4+j (high nibble)
//! matrix     = blocks, and with eight bits the low plane after them: the same lines without the headers
//! segments   = eight bits as one stream: each group of a block is a header of its own (one line), the lines of its
//!              high plane, then those of its low plane
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

/// Bytes of the scales of a group.
const GROUP_SCALE_BYTES: usize = BLOCK_ROWS * 2;

/// Header bytes of a group: 16 scales of 16 bits and 16 zero points of 4.
const GROUP_HEADER_BYTES: usize = GROUP_SCALE_BYTES + BLOCK_ROWS / 2;

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
    /// Two 4-bit planes: `w = (16 (hi - z) + lo) * s / 16`, where (hi, z, s) alone are a valid 4-bit matrix. The low
    /// plane follows the whole high one, so that the high one can be read alone: the output head.
    Eight,
    /// The same arithmetic, but the header and both planes of a group lie side by side ([`crate::segment`]): a matrix
    /// that is always read whole, in one sequential stream, such as an 8-bit matrix of a layer.
    EightSegments,
}

impl WeightBits {
    /// Bits of a code: 4 or 8.
    pub const fn count(self) -> u32 {
        match self {
            Self::Four => 4,
            Self::Eight | Self::EightSegments => 8,
        }
    }
}

/// Where the parts of a block lie, in bytes from the start of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlaces {
    /// Scales: f16 of 16 channels a group.
    pub scales: Places,
    /// Zero points: u4 of 16 channels a group.
    pub zeros: Places,
    /// Lines of the high plane, or of the only one.
    pub lines: Places,
    /// Lines of the low plane; with four bits they are said to be those of the only one, and not to be read.
    pub low_lines: Places,
}

/// Where one part of each group lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// That of the first group.
    pub first: usize,
    /// From one group to the next.
    pub stride: usize,
}

impl Places {
    const fn new(first: usize, stride: usize) -> Self {
        Self { first, stride }
    }

    /// That of group `group`.
    pub const fn of(self, group: usize) -> usize {
        self.first + group * self.stride
    }
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
    /// Four, or two planes of four in one of two orders.
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

    /// Bytes of the scales, zero points and padding of a block: a multiple of 64. At the start of the block, or with
    /// segments a line at the start of each group.
    pub const fn header_bytes(&self) -> usize {
        match self.bits {
            WeightBits::Four | WeightBits::Eight => {
                (self.groups() * GROUP_HEADER_BYTES).next_multiple_of(LINE_BYTES)
            }
            WeightBits::EightSegments => self.groups() * LINE_BYTES,
        }
    }

    /// Bytes of one block with its header: of the high plane, or with segments of both.
    pub const fn block_bytes(&self) -> usize {
        match self.bits {
            WeightBits::Four | WeightBits::Eight => self.header_bytes() + self.plane_bytes(),
            WeightBits::EightSegments => self.header_bytes() + 2 * self.plane_bytes(),
        }
    }

    /// Bytes of the lines of one block and one plane, without a header.
    pub const fn plane_bytes(&self) -> usize {
        self.padded_inputs() * LINE_INPUTS
    }

    /// End of the blocks, where the low plane begins if it is apart.
    pub const fn low_plane_offset(&self) -> usize {
        self.blocks() * self.block_bytes()
    }

    /// Bytes of the whole matrix. Overflows (a panic in debug builds) on shapes for which
    /// [`Self::try_total_bytes`] returns `None`.
    pub const fn total_bytes(&self) -> usize {
        match self.bits {
            WeightBits::Four | WeightBits::EightSegments => self.low_plane_offset(),
            WeightBits::Eight => self.low_plane_offset() + self.blocks() * self.plane_bytes(),
        }
    }

    /// Where the parts of block `block` lie.
    #[inline]
    pub const fn places(&self, block: usize) -> BlockPlaces {
        let start = block * self.block_bytes();
        let group_lines = self.group.get() * LINE_INPUTS;
        match self.bits {
            WeightBits::Four | WeightBits::Eight => {
                let lines = Places::new(start + self.header_bytes(), group_lines);
                BlockPlaces {
                    scales: Places::new(start, GROUP_SCALE_BYTES),
                    zeros: Places::new(
                        start + self.groups() * GROUP_SCALE_BYTES,
                        GROUP_HEADER_BYTES - GROUP_SCALE_BYTES,
                    ),
                    lines,
                    low_lines: match self.bits {
                        WeightBits::Eight => {
                            Places::new(self.low_plane_offset() + block * self.plane_bytes(), group_lines)
                        }
                        _ => lines,
                    },
                }
            }
            WeightBits::EightSegments => {
                let stride = LINE_BYTES + 2 * group_lines;
                BlockPlaces {
                    scales: Places::new(start, stride),
                    zeros: Places::new(start + GROUP_SCALE_BYTES, stride),
                    lines: Places::new(start + LINE_BYTES, stride),
                    low_lines: Places::new(start + LINE_BYTES + group_lines, stride),
                }
            }
        }
    }

    /// [`Self::total_bytes`], or `None` when it does not fit in a `usize`: for shapes from a file not yet trusted.
    pub fn try_total_bytes(&self) -> Option<usize> {
        // A bound that needs no rounding: a sixteenth of it is less than what the header (at most 64 bytes a group, and
        // 64) and the lines (16 bytes an input) of a row block need.
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
    /// Codes q: 0..=15, or 0..=255 with eight bits (in either order).
    pub codes: Vec<u8>,
    /// Scale of a group. With eight bits this is the scale of the high plane, 16 times the step of a code.
    pub scales: Vec<half::f16>,
    /// Zero point of a group, 0..=15. With eight bits it counts in steps of the high plane.
    pub zeros: Vec<u8>,
}
