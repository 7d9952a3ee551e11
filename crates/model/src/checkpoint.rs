//! A Hugging Face checkpoint directory: config.json, safetensors files and the tokenizer's files.

use crate::{Config, GenerationDefaults, Result, Tensor, TokenizerFiles};
use std::path::{Path, PathBuf};

/// An open checkpoint; its weights are memory-mapped.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config: Config,
    generation: GenerationDefaults,
}

impl Checkpoint {
    /// Reads the configuration and the headers of all weight files. No weight is read.
    pub fn open(_dir: &Path) -> Result<Checkpoint> {
        unimplemented!()
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The shape of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The model's sampling defaults.
    pub fn generation(&self) -> &GenerationDefaults {
        &self.generation
    }

    /// Whether a tensor of that name exists.
    pub fn contains(&self, _name: &str) -> bool {
        unimplemented!()
    }

    /// Names of all tensors, sorted.
    pub fn tensor_names(&self) -> Vec<&str> {
        unimplemented!()
    }

    /// A tensor by its name.
    pub fn tensor(&self, _name: &str) -> Result<Tensor<'_>> {
        unimplemented!()
    }

    /// Checks that every tensor the configuration asks for is there with the right shape and a known type. No data is read.
    pub fn validate(&self) -> Result<()> {
        unimplemented!()
    }

    /// Tells the kernel that the mapped pages may go; they come back from the file when next touched.
    pub fn release(&self) {
        unimplemented!()
    }

    /// The tokenizer's files.
    pub fn tokenizer_files(&self) -> Result<TokenizerFiles> {
        unimplemented!()
    }
}
