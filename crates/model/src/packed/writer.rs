//! Writes a packed file under a temporary name and renames it when it is complete.

use super::metadata::{QuantizationInfo, TensorPlan};
use crate::{Config, GenerationDefaults, Result, TokenizerFiles};
use std::path::Path;

/// Everything of a packed file but its tensors.
#[derive(Debug, Clone)]
pub struct Header {
    /// The shape of the model.
    pub config: Config,
    /// The model's sampling defaults.
    pub generation: GenerationDefaults,
    /// How the weights were quantized.
    pub quantization: QuantizationInfo,
    /// Tokenizer and chat template.
    pub tokenizer: TokenizerFiles,
}

/// A packed file that is being written. Dropping it before [`PackedWriter::finish`] removes the temporary file.
#[derive(Debug)]
pub struct PackedWriter {}

impl PackedWriter {
    /// Starts a file. Fails if `path` exists and not `force`, if the plan does not fit the configuration, or if the
    /// disk has too little room.
    pub fn create(_path: &Path, _header: Header, _plan: Vec<TensorPlan>, _force: bool) -> Result<Self> {
        unimplemented!()
    }

    /// Length the finished file will have.
    pub fn file_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Writes one tensor; any order, each once.
    pub fn write(&mut self, _name: &str, _data: &[u8]) -> Result<()> {
        unimplemented!()
    }

    /// Writes the hashes, flushes to the disk and gives the file its name.
    pub fn finish(self) -> Result<()> {
        unimplemented!()
    }
}
