//! `standin DIRECTORY [--tokenizer DIRECTORY] [--seed N]`: writes a random checkpoint of Qwen2.5-0.5B's shape.

use std::path::PathBuf;

use clap::Parser;
use edgewen_testing::{byte_level_tokenizer, standin};

/// Writes a random-weight checkpoint of the true Qwen2.5-0.5B shape (988 MB), for measuring speed and memory.
#[derive(Parser)]
struct Arguments {
    /// Where to write config.json, model.safetensors and the tokenizer.
    directory: PathBuf,
    /// Copy tokenizer.json and tokenizer_config.json from here; without it a byte-level tokenizer is written.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// Seed of the weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    standin::write_standin(&arguments.directory, arguments.seed)?;
    let tokenizer = arguments.directory.join("tokenizer.json");
    let Some(source) = arguments.tokenizer else {
        return std::fs::write(tokenizer, serde_json::to_vec(&byte_level_tokenizer())?);
    };
    std::fs::copy(source.join("tokenizer.json"), tokenizer)?;
    std::fs::copy(source.join("tokenizer_config.json"), arguments.directory.join("tokenizer_config.json"))?;
    Ok(())
}
