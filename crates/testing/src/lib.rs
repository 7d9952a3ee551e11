//! What only tests use: synthetic checkpoints, the shared reference data, and the suite every backend passes.
//!
//! Nothing here is part of the product. The float reference itself is `edgewen_engine::Reference`, because users
//! run it too (`--model DIRECTORY`); this crate holds what compares against it.
#![forbid(unsafe_code)]

mod checkpoint;
pub mod conformance;
mod data;
mod quantized;
pub mod rtn;
pub mod standin;

pub use checkpoint::{TinySpec, byte_level_tokenizer, tiny_checkpoint, write_checkpoint};
pub use data::{fixture, read_npy_f32, shared};
pub use quantized::{
    QUANTIZED_CASES, QUANTIZED_LINEARS, QuantizedExpected, quantized_checkpoint, quantized_expected,
    write_quantized,
};
