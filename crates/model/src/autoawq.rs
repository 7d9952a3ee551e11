//! A packed file as a checkpoint that AutoAWQ, transformers and vLLM load: the `gemm` format with 4 bits.
//!
//! Codes, zero points and scales of 4-bit matrices keep every bit; 8-bit ones, which the format does not have, become
//! f16 and are listed in `modules_to_not_convert`. Norms, biases, embedding and head become f16, and what f16 cannot hold
//! exactly is counted. The directory gets its name when it is complete.

mod config;
mod tensors;

use crate::awq_macro::{Rounding, embedding_bits};
use crate::packed::PackedFile;
use crate::{Error, Result, new_file};
use std::fs;
use std::path::Path;
use tensors::Tensors;

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct ExportReport {
    /// Length of model.safetensors.
    pub file_bytes: u64,
    /// Inputs that share a scale.
    pub group: usize,
    /// Linear layers with 4 bits, written as they are.
    pub quantized: usize,
    /// Linear layers with 8 bits, written as f16.
    pub not_converted: Vec<String>,
    /// The weights of those layers.
    pub eight_bit: Rounding,
    /// Biases of query, key and value.
    pub biases: Rounding,
    /// Weights of the norms.
    pub norms: Rounding,
    /// Embedding, and head if it is not tied.
    pub embedding: Rounding,
    /// How the embedding is stored in the packed file: its bits, 4 or 8 if it had to be dequantized.
    pub embedding_bits: u32,
}

const WEIGHTS: &str = "model.safetensors";

/// What may be in a directory that is replaced.
const FILES: [&str; 6] = [
    WEIGHTS,
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// Writes `file` as an AutoAWQ checkpoint into the directory `dir`, which is made. With `force` an earlier export is
/// replaced.
///
/// # Errors
/// Matrices that the format cannot hold (columns in another order, inputs that do not fill groups, output channels that
/// are no multiple of 8, several group sizes), values beyond f16, and whatever is wrong with the place.
pub fn export(file: &PackedFile, dir: &Path, force: bool) -> Result<ExportReport> {
    check_place(dir, force)?;
    let tensors = Tensors::plan(file)?;
    let parent = new_file::parent(dir);
    new_file::check_space(dir, parent, tensors.bytes())?;
    let mut prefix = dir.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".partial");
    // As any new directory: what the umask leaves, not the private mode of temporary ones.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let made = |e| Error::io("create a directory in", parent, e);
    let partial = builder.tempdir_in(parent).map_err(made)?;

    let mut report = tensors.write(&partial.path().join(WEIGHTS))?;
    report.embedding_bits = embedding_bits(file)?;
    write_small_files(file, partial.path(), &report)?;

    let old = tempfile::Builder::new().prefix(&prefix).suffix(".old").tempdir_in(parent).map_err(made)?;
    let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(|e| Error::io("rename to", to, e));
    if dir.exists() {
        rename(dir, &old.path().join("replaced"))?;
    }
    rename(partial.path(), dir)?;
    // It has another name now, and must not be removed.
    let _ = partial.keep();
    Ok(report)
}

/// Refuses a place that is taken, but for an earlier export that may be replaced.
fn check_place(dir: &Path, force: bool) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    if !force || !dir.is_dir() {
        return Err(Error::Exists { path: dir.to_owned() });
    }
    for entry in fs::read_dir(dir).map_err(|e| Error::io("read", dir, e))? {
        let name = entry.map_err(|e| Error::io("read", dir, e))?.file_name();
        if !FILES.iter().any(|file| name == *file) {
            return Err(Error::ForeignFile { dir: dir.to_owned(), name: name.to_string_lossy().into() });
        }
    }
    Ok(())
}

/// Configuration and tokenizer.
fn write_small_files(file: &PackedFile, dir: &Path, report: &ExportReport) -> Result<()> {
    let tokenizer = file.tokenizer_files()?;
    let json = |value: serde_json::Value| format!("{value:#}\n").into_bytes();
    let contents = [
        ("config.json", Some(json(config::config(file, report)))),
        ("generation_config.json", Some(json(config::generation(file.generation())))),
        ("tokenizer.json", Some(tokenizer.tokenizer_json)),
        ("tokenizer_config.json", tokenizer.tokenizer_config.map(String::into_bytes)),
        ("chat_template.jinja", tokenizer.chat_template.map(String::into_bytes)),
    ];
    for (name, content) in contents {
        let path = dir.join(name);
        if let Some(content) = content {
            fs::write(&path, content).map_err(|e| Error::io("write", &path, e))?;
        }
    }
    Ok(())
}
