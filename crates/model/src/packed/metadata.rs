//! The JSON part of a packed file: what it holds, and where.

use super::layout_rules::{ALIGNMENT, PORTS, version_of};
use crate::{Config, GenerationDefaults};
use edgewen_layout::{GroupSize, RowBlockShape, WeightBits};
use serde::{Deserialize, Serialize};

/// How the weights were quantized; informative, never needed to run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QuantizationInfo {
    /// `awq`, `rtn` or `import`.
    pub method: String,
    /// Inputs that share a scale.
    pub group: usize,
    /// Bits of the output head (and embedding): 4, 8 or 16.
    pub head_bits: u32,
    /// The calibration text: `built-in` or the file's name, and its SHA-256; empty for `rtn`.
    pub calibration: String,
    /// Tokens of calibration text.
    pub calibration_tokens: usize,
    /// Where the checkpoint came from, as the user named it.
    pub source: String,
    /// Version of edgewen that wrote the file.
    pub edgewen_version: String,
}

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorKind {
    /// Quantized row blocks, or segments if `bits` says so (matrices of layers only, groups of 64).
    RowBlocks {
        /// Four, or two planes of four in one of two orders.
        bits: WeightBits,
        /// Inputs that share a scale.
        group: GroupSize,
    },
    /// Row-major f16.
    F16,
    /// Row-major bf16.
    Bf16,
    /// Row-major f32.
    F32,
    /// u32: a column order.
    U32,
}

impl TensorKind {
    /// An 8-bit matrix of a layer: groups of 64, planes side by side, what the accelerator streams too.
    pub const SEGMENTS: Self =
        TensorKind::RowBlocks { bits: WeightBits::EightSegments, group: GroupSize::G64 };

    /// `row_blocks`, `segments`, `f16`, `bf16`, `f32` or `u32`, as in the file.
    pub fn name(self) -> &'static str {
        match self {
            TensorKind::RowBlocks { bits: WeightBits::EightSegments, .. } => "segments",
            TensorKind::RowBlocks { .. } => "row_blocks",
            TensorKind::F16 => "f16",
            TensorKind::Bf16 => "bf16",
            TensorKind::F32 => "f32",
            TensorKind::U32 => "u32",
        }
    }

    /// Stored bytes of a tensor; `None` for a shape that cannot be.
    pub fn stored_bytes(self, shape: &[usize]) -> Option<u64> {
        let bytes = match (self, shape) {
            (TensorKind::RowBlocks { bits, group }, &[rows, inputs]) => {
                RowBlockShape { rows, inputs, group, bits }.try_total_bytes()?
            }
            (TensorKind::RowBlocks { .. }, _) => return None,
            (TensorKind::F32 | TensorKind::U32, _) => elements(shape)?.checked_mul(4)?,
            (TensorKind::F16 | TensorKind::Bf16, _) => elements(shape)?.checked_mul(2)?,
        };
        u64::try_from(bytes).ok()
    }
}

fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, n| product.checked_mul(*n))
}

/// A tensor that will be written.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorPlan {
    /// Canonical name.
    pub name: String,
    /// How it is stored.
    pub kind: TensorKind,
    /// `[rows, inputs]` or `[n]`.
    pub shape: Vec<usize>,
}

/// A tensor of a packed file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredEntry", into = "StoredEntry")]
pub struct TensorEntry {
    /// Canonical name.
    pub name: String,
    /// How it is stored.
    pub kind: TensorKind,
    /// `[rows, inputs]` or `[n]`.
    pub shape: Vec<usize>,
    /// First byte in the file, a multiple of 4096.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
}

/// A tensor's entry as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredEntry {
    name: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bits: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<usize>,
    shape: Vec<usize>,
    offset: u64,
    bytes: u64,
    sha256: String,
}

impl From<TensorEntry> for StoredEntry {
    fn from(entry: TensorEntry) -> Self {
        let (bits, group) = match entry.kind {
            TensorKind::RowBlocks { bits, group } => (Some(bits.count()), Some(group.get())),
            _ => (None, None),
        };
        let kind = entry.kind.name().to_owned();
        let TensorEntry { name, shape, offset, bytes, sha256, .. } = entry;
        StoredEntry { name, kind, bits, group, shape, offset, bytes, sha256 }
    }
}

impl TryFrom<StoredEntry> for TensorEntry {
    type Error = String;

    fn try_from(stored: StoredEntry) -> Result<Self, String> {
        let StoredEntry { name, kind, bits, group, shape, offset, bytes, sha256 } = stored;
        let unknown = || {
            let state = |n: Option<usize>| n.map_or("no".to_owned(), |n| n.to_string());
            let (bits, group) = (state(bits.map(|bits| bits as usize)), state(group));
            format!("tensor \"{name}\" has kind {kind:?} with {bits} bits and group {group}")
        };
        let kind = match (kind.as_str(), bits, group.map(GroupSize::new)) {
            ("row_blocks", Some(4), Some(Some(group))) => {
                TensorKind::RowBlocks { bits: WeightBits::Four, group }
            }
            ("row_blocks", Some(8), Some(Some(group))) => {
                TensorKind::RowBlocks { bits: WeightBits::Eight, group }
            }
            ("segments", Some(8), Some(Some(GroupSize::G64))) => TensorKind::SEGMENTS,
            ("f16", None, None) => TensorKind::F16,
            ("bf16", None, None) => TensorKind::Bf16,
            ("f32", None, None) => TensorKind::F32,
            ("u32", None, None) => TensorKind::U32,
            _ => return Err(unknown()),
        };
        Ok(TensorEntry { name, kind, shape, offset, bytes, sha256 })
    }
}

/// One of the tokenizer's files, compressed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlobEntry {
    pub name: String,
    /// Always `zlib` (RFC 1950).
    pub encoding: String,
    pub offset: u64,
    /// Stored, compressed length.
    pub bytes: u64,
    pub inflated_bytes: u64,
    /// Of the stored bytes.
    pub sha256: String,
}

/// All of the JSON part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    pub config: Config,
    pub generation: GenerationDefaults,
    pub quantization: QuantizationInfo,
    pub blobs: Vec<BlobEntry>,
    pub tensors: Vec<TensorEntry>,
    /// For each of the accelerator's memory ports, the [offset, bytes] it streams.
    pub ports: Vec<Vec<[u64; 2]>>,
}

impl Metadata {
    /// Moves everything behind a header and a JSON part of `metadata_bytes`; returns the length of the file.
    pub(super) fn place(&mut self, metadata_bytes: u64) -> u64 {
        let mut end = super::HEADER_BYTES as u64 + metadata_bytes;
        for blob in &mut self.blobs {
            blob.offset = end.next_multiple_of(ALIGNMENT);
            end = blob.offset + blob.bytes;
        }
        for tensor in &mut self.tensors {
            tensor.offset = end.next_multiple_of(ALIGNMENT);
            end = tensor.offset + tensor.bytes;
        }
        self.ports = port_ranges(&self.tensors);
        end.next_multiple_of(ALIGNMENT)
    }

    /// The lowest format version that has all that the file has.
    pub(super) fn version(&self) -> u32 {
        self.tensors.iter().map(|tensor| version_of(tensor.kind)).max().unwrap_or(1)
    }
}

/// What each memory port of the accelerator streams: of every plane of every quantized matrix one quarter of the
/// blocks, as one sequential range, in file order.
pub(super) fn port_ranges(tensors: &[TensorEntry]) -> Vec<Vec<[u64; 2]>> {
    let mut ports = vec![Vec::new(); PORTS];
    for tensor in tensors {
        let (TensorKind::RowBlocks { bits, group }, &[rows, inputs]) = (tensor.kind, tensor.shape.as_slice())
        else {
            continue;
        };
        let shape = RowBlockShape { rows, inputs, group, bits };
        let mut planes = vec![(0, shape.block_bytes())];
        if bits == WeightBits::Eight {
            planes.push((shape.low_plane_offset(), shape.plane_bytes()));
        }
        for (start, block_bytes) in planes {
            for (port, ranges) in ports.iter_mut().enumerate() {
                let edge = |part: usize| shape.blocks() * part / PORTS;
                let (from, to) = (edge(port), edge(port + 1));
                if from < to {
                    let offset = tensor.offset + (start + from * block_bytes) as u64;
                    ranges.push([offset, ((to - from) * block_bytes) as u64]);
                }
            }
        }
    }
    ports
}
