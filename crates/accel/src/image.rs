//! A model as the accelerator's memory ports see it: where everything lies, and the bytes there.
//!
//! An image is a placement of the packed file in the accelerator's memory, not a copy: each port has a region of its
//! own with its quarter of every matrix, in the order of a token, so that it reads one long sequence. The regions are a
//! memory bank apart, and every matrix begins at the same place of all four, so that ports that keep step never want two
//! rows of one bank. The seed's AWQ_MACRO order is made in memory: the same codes, scales and zero points.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgewen_layout::{
    BLOCK_ROWS, GroupSize, QuantizedMatrix, RowBlockShape, SEGMENT_BYTES, WeightBits, awq_macro,
};
use edgewen_model::packed::{PackedFile, TensorKind};

use crate::descriptor::{ADDRESS_UNIT, PORTS};
use crate::{Error, Result};

/// Bytes of a beat of the memory ports.
pub const BEAT_BYTES: usize = 16;

/// Beats of the weights of one group and one row block.
const GROUP_BEATS: u32 = 32;

/// Beats of one macro: zero points, scales and weights of 8 channels and one group.
const MACRO_BEATS: u32 = (awq_macro::MACRO_BYTES / BEAT_BYTES) as u32;

/// Bytes of the scales and zero points of one group in the header of a row block.
const GROUP_HEADER_BYTES: u32 = 40;

/// Beats of a segment: 16 channels and 64 inputs of 8 bits, with their own scales and zero points.
const SEGMENT_BEATS: u32 = (SEGMENT_BYTES / BEAT_BYTES) as u32;

/// Boundary at which vectors begin.
const PAGE: u64 = 4096;

/// Addresses after which the banks of the memory come round again, and what each of them has of these.
pub(crate) const BANK_CYCLE: u64 = 64 << 10;
pub(crate) const BANK: u64 = 16 << 10;

/// The order of the weights that an accelerator is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Row blocks of 16 channels, as in the packed file.
    RowBlocks,
    /// The seed's macros of 8 channels.
    AwqMacro,
    /// Segments of 16 channels of 8 bits: keys, values and 8-bit matrices of layers. Not what a design is built for, but
    /// what a descriptor asks of one that is built for row blocks.
    Segments,
}

impl Layout {
    /// The layout of a design with this number in CAPS0.
    pub fn new(code: u32) -> Option<Self> {
        [Self::RowBlocks, Self::AwqMacro].into_iter().find(|layout| layout.code() == code)
    }

    /// Its number in CAPS0.
    pub const fn code(self) -> u32 {
        match self {
            Self::RowBlocks => 0,
            Self::AwqMacro => 1,
            Self::Segments => 2,
        }
    }

    /// Rows of a block.
    pub const fn block_rows(self) -> usize {
        match self {
            Self::RowBlocks | Self::Segments => BLOCK_ROWS,
            Self::AwqMacro => awq_macro::MACRO_ROWS,
        }
    }

    /// Beats of the scales and zero points at the start of a block of so many groups.
    pub const fn header_beats(self, groups: u32) -> u32 {
        match self {
            Self::RowBlocks => (groups * GROUP_HEADER_BYTES).div_ceil(64) * 4,
            Self::AwqMacro | Self::Segments => 0,
        }
    }

    /// Beats of a block of so many groups.
    pub const fn block_beats(self, groups: u32) -> u32 {
        match self {
            Self::RowBlocks => self.header_beats(groups) + groups * GROUP_BEATS,
            Self::AwqMacro => groups * MACRO_BEATS,
            Self::Segments => groups * SEGMENT_BEATS,
        }
    }
}

/// The blocks of one port, as a piece of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Blocks {
    /// Offset of the first one in the image.
    pub offset: u64,
    /// How many there are.
    pub count: usize,
}

/// A run of bytes of the source, and where it is in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Offset in the image.
    pub offset: u64,
    /// Offset in the source.
    pub source: u64,
    /// Length.
    pub bytes: u64,
}

/// Where a model lies in the accelerator's memory, and the bytes there.
#[derive(Debug)]
pub struct ModelImage {
    layout: Layout,
    source: Source,
    /// By offset, without overlaps.
    pieces: Vec<Piece>,
    bytes: u64,
    matrices: BTreeMap<String, [Blocks; PORTS]>,
    vectors: BTreeMap<String, u64>,
}

#[derive(Debug)]
enum Source {
    File(Arc<PackedFile>),
    Memory(Vec<u8>),
}

impl Source {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::File(file) => file.bytes(),
            Self::Memory(bytes) => bytes,
        }
    }
}

/// A matrix in its source: the blocks lie there one after the other.
struct Matrix {
    name: String,
    source: u64,
    blocks: usize,
    block_bytes: usize,
}

impl ModelImage {
    /// The image for a design of this layout. Row blocks cost nothing; macros are a copy of all matrices.
    ///
    /// # Errors
    /// A matrix of the file that cannot be read, or a layout that is no model's.
    pub fn new(file: Arc<PackedFile>, layout: Layout) -> Result<Self> {
        let vectors: Vec<(String, u64, u64)> = file
            .tensors()
            .filter(|entry| entry.kind == TensorKind::F32)
            .map(|entry| (entry.name.clone(), entry.offset, entry.bytes))
            .collect();
        match layout {
            Layout::RowBlocks => {
                let matrices = matrices(&file).map(|(name, offset, shape)| Matrix {
                    name: name.to_owned(),
                    source: offset,
                    blocks: shape.blocks(),
                    block_bytes: shape.block_bytes(),
                });
                let matrices: Vec<Matrix> = matrices.collect();
                Ok(Self::place(layout, Source::File(file), matrices, vectors))
            }
            Layout::AwqMacro => Self::awq_macro(&file, &vectors),
            Layout::Segments => Err(Error::Device("no design is built for segments alone".to_owned())),
        }
    }

    /// Any bytes as they are, without matrices: for tests of what reads them.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let piece = Piece { offset: 0, source: 0, bytes: bytes.len() as u64 };
        let mut image = Self::place(Layout::RowBlocks, Source::Memory(bytes), Vec::new(), Vec::new());
        (image.pieces, image.bytes) = (vec![piece], piece.bytes);
        image
    }

    fn awq_macro(file: &PackedFile, file_vectors: &[(String, u64, u64)]) -> Result<Self> {
        let (mut bytes, mut list, mut vectors) = (Vec::new(), Vec::new(), Vec::new());
        // A matrix that cannot be macros is left out: the program says so to whoever needs it.
        let fits = |shape: &RowBlockShape| {
            shape.rows.is_multiple_of(awq_macro::MACRO_ROWS) && shape.bits == WeightBits::Four
        };
        for (name, _, shape) in matrices(file).filter(|(_, _, shape)| fits(shape)) {
            let source = bytes.len() as u64;
            let wrong = |error: String| Error::Device(format!("{name} as AWQ_MACRO: {error}"));
            let (_, packed) = file.matrix(name).map_err(|error| wrong(error.to_string()))?;
            let macros = awq_macro::pack(&QuantizedMatrix::unpack(shape, packed));
            bytes.extend(macros.map_err(|error| wrong(error.to_string()))?);
            let block_bytes = shape.groups() * awq_macro::MACRO_BYTES;
            list.push(Matrix {
                name: name.to_owned(),
                source,
                blocks: shape.rows / awq_macro::MACRO_ROWS,
                block_bytes,
            });
        }
        for (name, offset, len) in file_vectors {
            vectors.push((name.clone(), bytes.len() as u64, *len));
            bytes.extend_from_slice(&file.bytes()[*offset as usize..(offset + len) as usize]);
        }
        Ok(Self::place(Layout::AwqMacro, Source::Memory(bytes), list, vectors))
    }

    /// Gives every port its region, and puts the vectors behind them.
    fn place(
        layout: Layout,
        source: Source,
        matrices: Vec<Matrix>,
        vectors: Vec<(String, u64, u64)>,
    ) -> Self {
        let part = |matrix: &Matrix, port: usize| {
            let (from, to) = (edge(matrix.blocks, port), edge(matrix.blocks, port + 1));
            (from, to - from)
        };
        // Every matrix begins at the same distance from the start of all regions.
        let longest = |matrix: &Matrix| {
            let most = (0..PORTS).map(|port| part(matrix, port).1).max().unwrap_or(0);
            ((most * matrix.block_bytes) as u64).next_multiple_of(ADDRESS_UNIT)
        };
        let region: u64 = matrices.iter().map(longest).sum();
        // The regions are whole cycles of the banks long, and each begins one bank further.
        let region = region.next_multiple_of(BANK_CYCLE) + BANK;
        let mut image = Self {
            layout,
            source,
            pieces: Vec::new(),
            bytes: PORTS as u64 * region,
            matrices: BTreeMap::new(),
            vectors: BTreeMap::new(),
        };
        let mut start = 0;
        for matrix in &matrices {
            let ports = std::array::from_fn(|port| {
                let (first, count) = part(matrix, port);
                let offset = port as u64 * region + start;
                let bytes = (count * matrix.block_bytes) as u64;
                let source = matrix.source + (first * matrix.block_bytes) as u64;
                image.pieces.push(Piece { offset, source, bytes });
                Blocks { offset, count }
            });
            image.matrices.insert(matrix.name.clone(), ports);
            start += longest(matrix);
        }
        for (name, source, bytes) in vectors {
            let offset = image.bytes.next_multiple_of(PAGE);
            image.pieces.push(Piece { offset, source, bytes });
            image.vectors.insert(name, offset);
            image.bytes = offset + bytes;
        }
        image.pieces.retain(|piece| piece.bytes != 0);
        image.pieces.sort_unstable_by_key(|piece| piece.offset);
        image.bytes = image.bytes.next_multiple_of(PAGE);
        image
    }

    /// The order of the weights.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Bytes of memory that the image takes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What of the source lies where, by offset: what a driver copies. Between the pieces are zeros.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Reads from `offset` on. Returns whether the image is that long.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        let Some(end) = offset.checked_add(out.len() as u64).filter(|end| *end <= self.bytes) else {
            return false;
        };
        let source = self.source.bytes();
        let first = self.pieces.partition_point(|piece| piece.offset + piece.bytes <= offset);
        let mut at = offset;
        for piece in self.pieces[first..].iter().take_while(|piece| piece.offset < end) {
            let (from, to) = (at.max(piece.offset), end.min(piece.offset + piece.bytes));
            out[(at - offset) as usize..(from - offset) as usize].fill(0);
            let start = (piece.source + from - piece.offset) as usize;
            out[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&source[start..start + (to - from) as usize]);
            at = to;
        }
        out[(at - offset) as usize..].fill(0);
        true
    }

    /// What each port streams of a matrix; nothing if the image does not have it.
    pub fn matrix(&self, name: &str) -> Option<[Blocks; PORTS]> {
        self.matrices.get(name).copied()
    }

    /// Where a vector of f32 lies.
    pub fn vector(&self, name: &str) -> Option<u64> {
        self.vectors.get(name).copied()
    }
}

/// The matrices of the file that the accelerator can multiply, in the order of a token.
fn matrices(file: &PackedFile) -> impl Iterator<Item = (&str, u64, RowBlockShape)> {
    let tied = file.config().tie_word_embeddings;
    file.tensors().filter(move |entry| tied || entry.name != "embed").filter_map(|entry| {
        let (kind, &[rows, inputs]) = (entry.kind, entry.shape.as_slice()) else { return None };
        let TensorKind::RowBlocks {
            bits: bits @ (WeightBits::Four | WeightBits::EightSegments),
            group: group @ GroupSize::G64,
        } = kind
        else {
            return None;
        };
        Some((entry.name.as_str(), entry.offset, RowBlockShape { rows, inputs, group, bits }))
    })
}

/// First block of a port, by the rule of the packed file's `ports`.
fn edge(blocks: usize, port: usize) -> usize {
    blocks * port / PORTS
}
