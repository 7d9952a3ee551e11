//! The packed file (`.ewn`): one self-contained, memory-mapped file for CPU and accelerator.
//!
//! A 64-byte header, a JSON table of contents, the tokenizer's files and the tensors, each at a multiple of 4 KiB.
//! docs/packed-format.md describes it to the bit. Opening checks all but the values of the tensors and reads none of
//! them; `verify` reads everything.

mod header;
mod layout_rules;
mod metadata;
mod reader;
mod validate;
mod verify;
mod writer;

pub use header::{FORMAT_VERSION, HEADER_BYTES, LAYOUT_ID, MAGIC};
pub use layout_rules::{expected_tensors, order_name};
pub use metadata::{QuantizationInfo, TensorEntry, TensorKind, TensorPlan};
pub use reader::{DenseInfo, PackedFile};
pub use verify::{TensorReport, VerifyReport};
pub use writer::{Header, PackedWriter};
