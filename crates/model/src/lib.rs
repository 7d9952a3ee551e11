//! What is on disk: Hugging Face checkpoints, tokenizers, chat templates and edgewen's own packed file.
//!
//! Everything read here is checked at the edge, with messages that name the file, what was expected, what was
//! found and what to do; the rest of the program may trust what this crate hands out. It does no arithmetic on
//! activations, and it is no downloader. Mapping files is its only unsafe code.
#![deny(unsafe_code)]

pub mod autoawq;
pub mod awq_macro;
pub mod checkpoint;
pub mod config;
pub mod error;
pub mod generation;
mod new_file;
pub mod packed;
pub mod quantized;
pub mod template;
pub mod tensor;
pub mod tokenizer;

pub use checkpoint::{Checkpoint, Weight};
pub use config::{Config, Rope, RopeScaling};
pub use error::{Error, Result};
pub use generation::GenerationDefaults;
pub use quantized::{Quantization, QuantizedLinear, ScaleNotes, StoredLinear};
pub use template::ChatTemplate;
pub use tensor::{Dtype, Tensor};
pub use tokenizer::{Detokenizer, Tokenizer, TokenizerFiles};
