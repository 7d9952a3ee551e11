//! One module per verb. Each has a `run` that reads its arguments, does the work and prints the result.

pub mod accel;
pub mod bench;
pub mod chat;
pub mod completions;
pub mod eval;
pub mod export;
pub mod generate;
pub mod import;
pub mod inspect;
pub mod logits;
pub mod quantize;
pub mod repack;
pub mod tokenize;
