//! The packed structures of `accel_pkg` and random matrices, for the benches of the stream side.

#![allow(dead_code, reason = "each bench uses a part of it")]

use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits, awq_macro};
use edgewen_rtl::Model;
use half::f16;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// The orders of a matrix in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Row blocks of 16 channels.
    RowBlock,
    /// Row blocks of 8-bit codes, each group with its header and two planes.
    Segments,
    /// Macros of 8 channels.
    AwqMacro,
}

impl Layout {
    /// Value of the parameter `Layout`.
    pub fn parameter(self) -> &'static str {
        match self {
            Self::RowBlock | Self::Segments => "0",
            Self::AwqMacro => "1",
        }
    }

    /// Channels of a block.
    pub fn channels(self) -> usize {
        match self {
            Self::RowBlock | Self::Segments => 16,
            Self::AwqMacro => 8,
        }
    }

    /// Beats of the header at the start of a block.
    pub fn header_beats(self, groups: u64) -> u64 {
        match self {
            Self::RowBlock => (40 * groups).div_ceil(64) * 4,
            Self::Segments | Self::AwqMacro => 0,
        }
    }

    /// Beats of a block.
    pub fn block_beats(self, groups: u64) -> u64 {
        match self {
            Self::RowBlock => self.header_beats(groups) + 32 * groups,
            Self::Segments => 68 * groups,
            Self::AwqMacro => 18 * groups,
        }
    }
}

/// Sets `config_i`, an `op_config_t`, for an operation of that many groups and blocks a port.
pub fn set_config(model: &mut Model, layout: Layout, groups: u64, blocks: [u64; 4]) {
    let fields = [
        (149, 1, u64::from(layout == Layout::Segments)),
        (144, 5, 0),
        (128, 16, groups),
        (112, 16, layout.header_beats(groups)),
        (96, 16, layout.block_beats(groups)),
        (64, 32, blocks.iter().sum::<u64>() * layout.channels() as u64),
        (48, 16, blocks[3]),
        (32, 16, blocks[2]),
        (16, 16, blocks[1]),
        (0, 16, blocks[0]),
    ];
    for (lsb, width, value) in fields {
        model.set_bits("config_i", lsb, width, value);
    }
}

/// A `tile_ctrl_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileControl {
    pub valid: bool,
    pub bank: bool,
    pub first_group: bool,
    pub last_group: bool,
    pub first_line: bool,
    pub last_line: bool,
    pub quad: usize,
    pub line: usize,
    pub group: usize,
    pub active: u8,
}

impl TileControl {
    /// Reads `tile_ctrl_o`.
    pub fn read(model: &Model) -> Self {
        let bits = model.get("tile_ctrl_o");
        let field = |lsb: u32, width: u32| bits >> lsb & ((1 << width) - 1);
        Self {
            valid: field(22, 1) == 1,
            bank: field(21, 1) == 1,
            first_group: field(20, 1) == 1,
            last_group: field(19, 1) == 1,
            first_line: field(18, 1) == 1,
            last_line: field(17, 1) == 1,
            quad: field(15, 2) as usize,
            line: field(12, 3) as usize,
            group: field(4, 8) as usize,
            active: field(0, 4) as u8,
        }
    }
}

/// A matrix of random codes, scales and zero points.
pub fn random_matrix(layout: Layout, rows: usize, groups: usize, seed: u64) -> QuantizedMatrix {
    let bits = if layout == Layout::Segments { WeightBits::Eight } else { WeightBits::Four };
    let shape = RowBlockShape { rows, inputs: 64 * groups, group: GroupSize::G64, bits };
    let mut matrix = QuantizedMatrix::zeroed(shape);
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let codes = if layout == Layout::Segments { 256 } else { 16 };
    matrix.codes.iter_mut().for_each(|code| *code = (random.next_u32() % codes) as u8);
    matrix.zeros.iter_mut().for_each(|zero| *zero = (random.next_u32() % 16) as u8);
    matrix.scales.iter_mut().for_each(|scale| *scale = f16::from_bits(random.next_u32() as u16));
    matrix
}

/// The matrix as the beats of memory.
pub fn beats(matrix: &QuantizedMatrix, layout: Layout) -> Vec<[u32; 4]> {
    let bytes = match layout {
        Layout::RowBlock => matrix.pack(),
        Layout::Segments => segments(matrix),
        Layout::AwqMacro => awq_macro::pack(matrix).expect("whole macros"),
    };
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    bytes.chunks_exact(16).map(|beat| std::array::from_fn(|i| word(&beat[4 * i..]))).collect()
}

/// Each block and group of the matrix as a matrix of its own, [16, 64].
fn segments(matrix: &QuantizedMatrix) -> Vec<u8> {
    let groups = matrix.shape.groups();
    let shape = RowBlockShape { rows: 16, inputs: 64, ..matrix.shape };
    let places = (0..matrix.shape.rows / 16).flat_map(|block| (0..groups).map(move |group| (block, group)));
    let segment = |(block, group): (usize, usize)| {
        let mut segment = QuantizedMatrix::zeroed(shape);
        for row in 0..16 {
            let at = (16 * block + row) * groups + group;
            segment.codes[64 * row..][..64].copy_from_slice(&matrix.codes[64 * at..][..64]);
            (segment.scales[row], segment.zeros[row]) = (matrix.scales[at], matrix.zeros[at]);
        }
        segment.pack()
    };
    places.flat_map(segment).collect()
}
