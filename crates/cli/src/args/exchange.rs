//! `edgewen export` and `edgewen import`: files of others.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

pub const EXPORT_EXAMPLES: &str = "\
Examples:
  edgewen export qwen.ewn --format autoawq -o ./Qwen-AWQ
  edgewen export qwen.ewn --format awq-macro -o qwen.bin

4-bit matrices keep every bit. Norms, biases and the embedding become f16: an
embedding of 4 or 8 bits is dequantized, and what had to be rounded is
counted. autoawq makes a directory that transformers and vLLM load; matrices
with 8 bits become f16 in it. awq-macro writes a manifest beside the file,
qwen.bin.json.";

/// `edgewen export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A packed file, or the word `demo` for the built-in model.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: String,
    /// What to write.
    #[arg(long, alias = "layout", value_name = "NAME")]
    pub format: FormatArg,
    /// File, or for autoawq directory, to write.
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub output: PathBuf,
    /// Replace existing files, or an earlier export.
    #[arg(long)]
    pub force: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Formats of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// A checkpoint directory as AutoAWQ writes it (gemm).
    Autoawq,
    /// That of arXiv 2504.17376: 288 bytes for 8 channels by 64 inputs.
    AwqMacro,
}

pub const IMPORT_EXAMPLES: &str = "\
Examples:
  edgewen import qwen.bin --config ./Qwen2.5-0.5B-Instruct -o qwen.ewn
  edgewen import qwen.bin --config other.ewn -o qwen.ewn

An AWQ_MACRO file is weights and nothing else: the shape of the model, its
tokenizer and its sampling defaults are taken from --config, where no weights
are needed. The embedding stays f16.";

/// `edgewen import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// An AWQ_MACRO file.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Checkpoint directory or packed file of the same model, or the word
    /// `demo`.
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub config: String,
    /// Packed file to write.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// Replace an existing file.
    #[arg(long)]
    pub force: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
