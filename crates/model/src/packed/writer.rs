//! Writes a packed file under a temporary name and renames it when it is complete.

use super::header::{FixedHeader, HEADER_BYTES, hex, sha256};
use super::layout_rules::{all_tensors, kind_problem};
use super::metadata::{BlobEntry, Metadata, QuantizationInfo, TensorEntry, TensorPlan};
use super::validate::{BLOBS, MAX_INFLATED_BYTES};
use crate::config::Invalid;
use crate::{Config, Error, GenerationDefaults, Result, TokenizerFiles, new_file};
use flate2::{Compression, write::ZlibEncoder};
use std::collections::HashMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Stands for a hash that is not known yet; as long as one.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

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
pub struct PackedWriter {
    path: PathBuf,
    force: bool,
    file: NamedTempFile,
    metadata: Metadata,
    metadata_bytes: u64,
    file_bytes: u64,
    /// Which tensors have been written.
    done: Vec<bool>,
}

impl PackedWriter {
    /// Starts a file. Fails if `path` exists and not `force`, if the plan does not fit the configuration, or if the
    /// disk has too little room. The plan's order does not matter.
    pub fn create(path: &Path, header: Header, plan: Vec<TensorPlan>, force: bool) -> Result<Self> {
        if !force && path.exists() {
            return Err(Error::Exists { path: path.to_owned() });
        }
        let tensors = check_plan(&header.config, plan)?;
        let (blobs, blob_data): (Vec<_>, Vec<_>) = compress(path, &header.tokenizer)?.into_iter().unzip();
        let Header { config, generation, quantization, .. } = header;
        let mut metadata = Metadata { config, generation, quantization, blobs, tensors, ports: Vec::new() };
        let (metadata_bytes, file_bytes) = settle(&mut metadata);
        let file = new_file::create(path, file_bytes, force)?;
        let done = vec![false; metadata.tensors.len()];
        let mut writer =
            PackedWriter { path: path.to_owned(), force, file, metadata, metadata_bytes, file_bytes, done };
        // The padding is never written: what is between the tensors stays a hole of zeros.
        writer.file.as_file().set_len(file_bytes).map_err(|e| writer.io(e))?;
        for (index, data) in blob_data.iter().enumerate() {
            writer.write_at(writer.metadata.blobs[index].offset, data)?;
        }
        Ok(writer)
    }

    /// Length the finished file will have.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Writes one tensor; any order, each once.
    pub fn write(&mut self, name: &str, data: &[u8]) -> Result<()> {
        let wrong = |detail: String| Error::Plan { tensor: name.to_owned(), detail };
        let index = self.metadata.tensors.iter().position(|tensor| tensor.name == name);
        let index = index.ok_or_else(|| wrong("it is not in the plan".into()))?;
        let TensorEntry { bytes, offset, .. } = self.metadata.tensors[index];
        if data.len() as u64 != bytes {
            return Err(wrong(format!("it has {} bytes, the plan says {bytes}", data.len())));
        }
        if self.done[index] {
            return Err(wrong("it has been written already".into()));
        }
        self.write_at(offset, data)?;
        self.metadata.tensors[index].sha256 = hex(&sha256(data));
        self.done[index] = true;
        Ok(())
    }

    /// Writes the table of contents, flushes to the disk and gives the file its name.
    pub fn finish(mut self) -> Result<()> {
        if let Some(index) = self.done.iter().position(|done| !done) {
            let tensor = self.metadata.tensors[index].name.clone();
            return Err(Error::Plan { tensor, detail: "it has not been written".into() });
        }
        let json = to_json(&self.metadata);
        assert_eq!(json.len() as u64, self.metadata_bytes, "hashes have a fixed length");
        let header = FixedHeader {
            version: self.metadata.version(),
            metadata_bytes: self.metadata_bytes,
            file_bytes: self.file_bytes,
            metadata_sha256: sha256(&json),
        };
        self.write_at(HEADER_BYTES as u64, &json)?;
        self.write_at(0, &header.to_bytes())?;
        new_file::finish(self.file, &self.path, self.force)
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let file = self.file.as_file_mut();
        let result = file.seek(SeekFrom::Start(offset)).and_then(|_| file.write_all(data));
        result.map_err(|e| self.io(e))
    }

    fn io(&self, error: std::io::Error) -> Error {
        Error::io("write", self.file.path(), error)
    }
}

/// The table of tensors in canonical order, without places and hashes.
fn check_plan(config: &Config, plan: Vec<TensorPlan>) -> Result<Vec<TensorEntry>> {
    let wrong = |tensor: &str, detail: String| Error::Plan { tensor: tensor.to_owned(), detail };
    config.check().map_err(|Invalid { key, found, expected }| {
        wrong("all", format!("\"{key}\" of the configuration is {found}, expected {expected}"))
    })?;
    let mut planned = HashMap::new();
    for tensor in plan {
        if let Some(twice) = planned.insert(tensor.name.clone(), tensor) {
            return Err(wrong(&twice.name, "it is planned twice".into()));
        }
    }
    let mut entries = Vec::new();
    for (name, shape, required) in all_tensors(config) {
        let Some(tensor) = planned.remove(&name) else {
            if !required {
                continue;
            }
            return Err(wrong(&name, "it is not in the plan".into()));
        };
        if tensor.shape != shape {
            let found = tensor.shape;
            return Err(wrong(
                &name,
                format!("the plan gives it shape {found:?}, the configuration {shape:?}"),
            ));
        }
        if let Some(allowed) = kind_problem(&name, &shape, tensor.kind) {
            return Err(wrong(&name, format!("it cannot be {}, only {allowed}", tensor.kind.name())));
        }
        let bytes = tensor.kind.stored_bytes(&shape).ok_or_else(|| wrong(&name, "it is too large".into()))?;
        let kind = tensor.kind;
        entries.push(TensorEntry { name, kind, shape, offset: 0, bytes, sha256: NO_HASH.to_owned() });
    }
    match planned.into_keys().min() {
        None => Ok(entries),
        Some(name) => Err(wrong(&name, "no tensor of this model has that name".into())),
    }
}

/// The tokenizer's files with their entries.
fn compress(path: &Path, files: &TokenizerFiles) -> Result<Vec<(BlobEntry, Vec<u8>)>> {
    let contents = [
        Some(files.tokenizer_json.as_slice()),
        files.tokenizer_config.as_deref().map(str::as_bytes),
        files.chat_template.as_deref().map(str::as_bytes),
    ];
    let mut blobs = Vec::new();
    for (name, content) in BLOBS.into_iter().zip(contents) {
        let Some(content) = content else { continue };
        if content.len() as u64 > MAX_INFLATED_BYTES {
            let detail = format!("it has {} bytes, at most {MAX_INFLATED_BYTES} are allowed", content.len());
            return Err(Error::Tokenizer { name: name.to_owned(), detail });
        }
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        let stored = encoder
            .write_all(content)
            .and_then(|()| encoder.finish())
            .map_err(|e| Error::io("write", path, e))?;
        let entry = BlobEntry {
            name: name.to_owned(),
            encoding: "zlib".to_owned(),
            offset: 0,
            bytes: stored.len() as u64,
            inflated_bytes: content.len() as u64,
            sha256: hex(&sha256(&stored)),
        };
        blobs.push((entry, stored));
    }
    Ok(blobs)
}

/// Finds offsets that fit the length of the JSON part that states them; returns its length and the file's.
fn settle(metadata: &mut Metadata) -> (u64, u64) {
    let mut metadata_bytes = to_json(metadata).len() as u64;
    loop {
        let file_bytes = metadata.place(metadata_bytes);
        let length = to_json(metadata).len() as u64;
        if length == metadata_bytes {
            return (metadata_bytes, file_bytes);
        }
        // Offsets only grow with the length, so this ends.
        metadata_bytes = length;
    }
}

fn to_json(metadata: &Metadata) -> Vec<u8> {
    serde_json::to_vec(metadata).expect("strings, numbers and lists always become JSON")
}
