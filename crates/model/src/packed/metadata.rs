//! The JSON part of a packed file, and which tensors a model of a given shape has.

use crate::Config;
use edgewen_layout::{GroupSize, WeightBits};
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
    /// The calibration text: file name or `built-in`, its SHA-256, and the number of tokens used; empty for `rtn`.
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
    /// Quantized row blocks.
    RowBlocks {
        /// Four or two planes of four.
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
}

/// A tensor that will be written.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorPlan {
    /// Canonical name.
    pub name: String,
    /// How it is stored.
    pub kind: TensorKind,
    /// [rows, inputs] or [n].
    pub shape: Vec<usize>,
}

/// A tensor of an open packed file.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorEntry {
    /// Canonical name.
    pub name: String,
    /// How it is stored.
    pub kind: TensorKind,
    /// [rows, inputs] or [n].
    pub shape: Vec<usize>,
    /// First byte in the file, a multiple of 4096.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
}

/// Names and shapes of the tensors of a model, in file order; each must be there exactly once.
pub fn expected_tensors(_config: &Config) -> Vec<(String, Vec<usize>)> {
    unimplemented!()
}
