//! Times what stands between a model and its first prompt token: opening, inflating and loading the tokenizer.
//!
//! `cargo run --release -p edgewen-model --example tokenizer_load -- DIRECTORY_OR_PACKED_FILE`

use edgewen_model::packed::PackedFile;
use edgewen_model::{Tokenizer, TokenizerFiles};
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: tokenizer_load DIRECTORY_OR_PACKED_FILE")?;
    let path = Path::new(&path);
    for _ in 0..5 {
        let start = Instant::now();
        let files = if path.is_dir() {
            TokenizerFiles::from_dir(path)?
        } else {
            PackedFile::open(path)?.tokenizer_files()?
        };
        let read = start.elapsed();
        let tokenizer = Tokenizer::from_files(&files)?;
        println!("files {read:.1?}, in all {:.1?}, {} tokens", start.elapsed(), tokenizer.vocab_size());
    }
    Ok(())
}
