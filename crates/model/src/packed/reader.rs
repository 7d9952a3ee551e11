//! Opens and checks a packed file.

use super::metadata::{QuantizationInfo, TensorEntry};
use crate::{ChatTemplate, Config, Dtype, GenerationDefaults, Result, Tokenizer, TokenizerFiles};
use edgewen_layout::RowBlockShape;
use std::path::Path;

/// A matrix that is not quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenseInfo {
    /// Output channels.
    pub rows: usize,
    /// Input channels.
    pub inputs: usize,
    /// Element type.
    pub dtype: Dtype,
}

/// An open packed file. Everything but the tensors' values has been checked.
#[derive(Debug)]
pub struct PackedFile {}

/// What [`PackedFile::verify`] found about one tensor or blob.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TensorReport {
    /// Name of the tensor or blob.
    pub name: String,
    /// `None` if all is well, else what is wrong.
    pub problem: Option<String>,
}

/// What [`PackedFile::verify`] found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct VerifyReport {
    /// One entry a tensor, in file order.
    pub tensors: Vec<TensorReport>,
}

impl VerifyReport {
    /// No problem anywhere.
    pub fn is_ok(&self) -> bool {
        self.tensors.iter().all(|t| t.problem.is_none())
    }
}

impl PackedFile {
    /// Maps and checks a file. Tensor values are not read; see [`PackedFile::verify`].
    pub fn open(_path: &Path) -> Result<Self> {
        unimplemented!()
    }

    /// The same for a file that is part of the program. `name` is for messages.
    pub fn from_static(_bytes: &'static [u8], _name: &str) -> Result<Self> {
        unimplemented!()
    }

    /// The path or the name given to `from_static`.
    pub fn name(&self) -> &str {
        unimplemented!()
    }

    /// The shape of the model.
    pub fn config(&self) -> &Config {
        unimplemented!()
    }

    /// The model's sampling defaults.
    pub fn generation(&self) -> &GenerationDefaults {
        unimplemented!()
    }

    /// How the weights were quantized.
    pub fn quantization(&self) -> &QuantizationInfo {
        unimplemented!()
    }

    /// The tokenizer's files, inflated.
    pub fn tokenizer_files(&self) -> Result<TokenizerFiles> {
        unimplemented!()
    }

    /// The tokenizer, by the fastest way.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        unimplemented!()
    }

    /// The chat template, without inflating the tokenizer.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>> {
        unimplemented!()
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorEntry> {
        [].iter()
    }

    /// The entry of a tensor.
    pub fn entry(&self, _name: &str) -> Result<&TensorEntry> {
        unimplemented!()
    }

    /// A quantized matrix.
    pub fn matrix(&self, _name: &str) -> Result<(RowBlockShape, &[u8])> {
        unimplemented!()
    }

    /// A 16-bit or f32 matrix, row-major.
    pub fn dense(&self, _name: &str) -> Result<(DenseInfo, &[u8])> {
        unimplemented!()
    }

    /// A vector of f32.
    pub fn vector(&self, _name: &str) -> Result<Vec<f32>> {
        unimplemented!()
    }

    /// Reads everything: SHA-256 of every tensor and blob, and no scale or vector element that is not finite.
    pub fn verify(&self) -> Result<VerifyReport> {
        unimplemented!()
    }

    /// Length of the file.
    pub fn file_bytes(&self) -> u64 {
        unimplemented!()
    }
}
