//! What a model or a text is, by its contents: two measurements are comparable only if these agree.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use edgewen_model::Checkpoint;
use edgewen_model::packed::PackedFile;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// The files of a checkpoint that change what it computes or how it reads a text; the weights come on top.
const CHECKPOINT_FILES: [&str; 7] = [
    "config.json",
    "quant_config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
];

/// A name for people and a hash of the contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// What the user called it.
    pub name: String,
    /// SHA-256 of its contents, in hexadecimal.
    pub sha256: String,
}

impl Identity {
    /// Some bytes.
    pub fn of_bytes(name: impl Into<String>, bytes: &[u8]) -> Self {
        Self { name: name.into(), sha256: hex(&Sha256::digest(bytes)) }
    }

    /// A file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of_file(path: &Path) -> Result<Self> {
        Ok(Self { name: path.display().to_string(), sha256: hex(&digest(path)?) })
    }

    /// A packed file: its metadata, which holds the hashes of all tensors and of the tokenizer.
    pub fn of_packed(file: &PackedFile) -> Self {
        let metadata = &file.bytes()[64..64 + file.metadata_bytes() as usize];
        Self::of_bytes(file.name(), metadata)
    }

    /// A checkpoint directory: every byte of its configuration, tokenizer and weights.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of_checkpoint(checkpoint: &Checkpoint) -> Result<Self> {
        let folder = checkpoint.dir();
        let mut paths: Vec<PathBuf> = CHECKPOINT_FILES.iter().map(|name| folder.join(name)).collect();
        paths.retain(|path| path.exists());
        let listing = std::fs::read_dir(folder).map_err(|error| Error::io("read", folder, error))?;
        for entry in listing {
            let path = entry.map_err(|error| Error::io("read", folder, error))?.path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                paths.push(path);
            }
        }
        paths.sort();
        let mut all = Sha256::new();
        for path in &paths {
            all.update(path.file_name().unwrap_or_default().as_encoded_bytes());
            all.update([0]);
            all.update(digest(path)?);
        }
        Ok(Self { name: folder.display().to_string(), sha256: hex(&all.finalize()) })
    }

    /// Name and the first digits of the hash.
    pub fn short(&self) -> String {
        format!("{} ({})", self.name, self.sha256.get(..12).unwrap_or(&self.sha256))
    }
}

fn digest(path: &Path) -> Result<[u8; 32]> {
    let failed = |error| Error::io("read", path, error);
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hash.finalize().into()),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
