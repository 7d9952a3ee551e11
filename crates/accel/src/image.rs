//! A model as the accelerator's memory ports see it: bytes, and where the matrices lie in them.
//!
//! Row blocks are used where they lie in the packed file. The seed's AWQ_MACRO order is made from them in memory: the
//! same codes, scales and zero points, so the same results.

use std::collections::BTreeMap;
use std::sync::Arc;

use edgewen_layout::{BLOCK_ROWS, GroupSize, QuantizedMatrix, RowBlockShape, WeightBits, awq_macro};
use edgewen_model::packed::{PackedFile, TensorKind};

use crate::descriptor::PORTS;
use crate::{Error, Result};

/// Bytes of a beat of the memory ports.
pub const BEAT_BYTES: usize = 16;

/// Beats of the weights of one group and one row block.
const GROUP_BEATS: u32 = 32;

/// Beats of one macro: zero points, scales and weights of 8 channels and one group.
const MACRO_BEATS: u32 = (awq_macro::MACRO_BYTES / BEAT_BYTES) as u32;

/// Bytes of the scales and zero points of one group in the header of a row block.
const GROUP_HEADER_BYTES: u32 = 40;

/// Boundary at which everything of an image that is made in memory begins.
const ALIGNMENT: usize = 4096;

/// The order of the weights that an accelerator is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Row blocks of 16 channels, as in the packed file.
    RowBlocks,
    /// The seed's macros of 8 channels.
    AwqMacro,
}

impl Layout {
    /// The layout with the number that CAPS0 gives.
    pub fn new(code: u32) -> Option<Self> {
        [Self::RowBlocks, Self::AwqMacro].into_iter().find(|layout| layout.code() == code)
    }

    /// Its number in CAPS0.
    pub const fn code(self) -> u32 {
        match self {
            Self::RowBlocks => 0,
            Self::AwqMacro => 1,
        }
    }

    /// Rows of a block.
    pub const fn block_rows(self) -> usize {
        match self {
            Self::RowBlocks => BLOCK_ROWS,
            Self::AwqMacro => awq_macro::MACRO_ROWS,
        }
    }

    /// Beats of the scales and zero points at the start of a block of so many groups.
    pub const fn header_beats(self, groups: u32) -> u32 {
        match self {
            Self::RowBlocks => (groups * GROUP_HEADER_BYTES).div_ceil(64) * 4,
            Self::AwqMacro => 0,
        }
    }

    /// Beats of a block of so many groups.
    pub const fn block_beats(self, groups: u32) -> u32 {
        match self {
            Self::RowBlocks => self.header_beats(groups) + groups * GROUP_BEATS,
            Self::AwqMacro => groups * MACRO_BEATS,
        }
    }
}

/// The blocks of one port, as a piece of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Blocks {
    /// Offset of the first one.
    pub offset: u64,
    /// How many there are.
    pub count: usize,
}

/// Bytes of a model, and where its matrices lie.
#[derive(Debug)]
pub struct ModelImage {
    layout: Layout,
    data: Data,
}

#[derive(Debug)]
enum Data {
    File(Arc<PackedFile>),
    Memory { bytes: Vec<u8>, matrices: BTreeMap<String, [Blocks; PORTS]>, vectors: BTreeMap<String, u64> },
}

impl ModelImage {
    /// The image for an accelerator of this layout. Row blocks cost nothing; macros are a copy of all matrices.
    ///
    /// # Errors
    /// A matrix of the file that cannot be read.
    pub fn new(file: Arc<PackedFile>, layout: Layout) -> Result<Self> {
        match layout {
            Layout::RowBlocks => Ok(Self { layout, data: Data::File(file) }),
            Layout::AwqMacro => Self::awq_macro(&file),
        }
    }

    /// Any bytes, without matrices: for tests of what reads them.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        let data = Data::Memory { bytes, matrices: BTreeMap::new(), vectors: BTreeMap::new() };
        Self { layout: Layout::RowBlocks, data }
    }

    fn awq_macro(file: &PackedFile) -> Result<Self> {
        let (mut bytes, mut matrices, mut vectors) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for entry in file.tensors() {
            match (entry.kind, entry.shape.as_slice()) {
                (TensorKind::RowBlocks { bits: WeightBits::Four, group: GroupSize::G64 }, &[rows, _])
                    if rows.is_multiple_of(awq_macro::MACRO_ROWS) =>
                {
                    let macros = macros(file, &entry.name)?;
                    let blocks = rows / awq_macro::MACRO_ROWS;
                    let block_bytes = macros.len() / blocks.max(1);
                    let mut ports = [Blocks::default(); PORTS];
                    for (port, part) in ports.iter_mut().enumerate() {
                        let (from, to) = (edge(blocks, port), edge(blocks, port + 1));
                        let offset = append(&mut bytes, &macros[from * block_bytes..to * block_bytes]);
                        *part = Blocks { offset, count: to - from };
                    }
                    matrices.insert(entry.name.clone(), ports);
                }
                (TensorKind::F32, _) => {
                    let start = entry.offset as usize;
                    let vector = &file.bytes()[start..start + entry.bytes as usize];
                    vectors.insert(entry.name.clone(), append(&mut bytes, vector));
                }
                // Whoever needs it as macros is told so by the program.
                _ => {}
            }
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        Ok(Self { layout: Layout::AwqMacro, data: Data::Memory { bytes, matrices, vectors } })
    }

    /// The order of the weights.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::File(file) => file.bytes(),
            Data::Memory { bytes, .. } => bytes,
        }
    }

    /// What each port streams of a matrix; nothing if the image does not have it in its layout.
    pub fn matrix(&self, name: &str) -> Option<[Blocks; PORTS]> {
        let file = match &self.data {
            Data::Memory { matrices, .. } => return matrices.get(name).copied(),
            Data::File(file) => file,
        };
        let entry = file.entry(name).ok()?;
        let (TensorKind::RowBlocks { bits: WeightBits::Four, group: GroupSize::G64 }, &[rows, inputs]) =
            (entry.kind, entry.shape.as_slice())
        else {
            return None;
        };
        let shape = RowBlockShape { rows, inputs, group: GroupSize::G64, bits: WeightBits::Four };
        Some(std::array::from_fn(|port| {
            let (from, to) = (edge(shape.blocks(), port), edge(shape.blocks(), port + 1));
            Blocks { offset: entry.offset + (from * shape.block_bytes()) as u64, count: to - from }
        }))
    }

    /// Where a vector of f32 lies.
    pub fn vector(&self, name: &str) -> Option<u64> {
        match &self.data {
            Data::Memory { vectors, .. } => vectors.get(name).copied(),
            Data::File(file) => file.entry(name).ok().map(|entry| entry.offset),
        }
    }
}

/// A matrix of the file as macros.
fn macros(file: &PackedFile, name: &str) -> Result<Vec<u8>> {
    let wrong = |error: String| Error::Device(format!("{name} as AWQ_MACRO: {error}"));
    let (shape, packed) = file.matrix(name).map_err(|error| wrong(error.to_string()))?;
    awq_macro::pack(&QuantizedMatrix::unpack(shape, packed)).map_err(|error| wrong(error.to_string()))
}

/// First block of a port, by the rule of the packed file's `ports`.
fn edge(blocks: usize, port: usize) -> usize {
    blocks * port / PORTS
}

/// Puts `data` at the next aligned place, which is returned.
fn append(bytes: &mut Vec<u8>, data: &[u8]) -> u64 {
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    let offset = bytes.len() as u64;
    bytes.extend_from_slice(data);
    offset
}
