//! Times the loading of a directory's tokenizer: `cargo run --release -p edgewen-model --example tokenizer_load -- DIR`.

use edgewen_model::{Tokenizer, TokenizerFiles};
use std::time::Instant;

fn main() {
    let dir = std::env::args().nth(1).expect("usage: tokenizer_load DIR");
    let files = TokenizerFiles::from_dir(dir.as_ref()).expect("a tokenizer");
    for _ in 0..5 {
        let start = Instant::now();
        let tokenizer = Tokenizer::from_files(&files).expect("a tokenizer");
        println!("{:.1} ms, {} tokens", start.elapsed().as_secs_f64() * 1e3, tokenizer.vocab_size());
    }
}
