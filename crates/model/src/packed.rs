//! The packed file (`.ewn`): one self-contained, memory-mapped file for CPU and accelerator.
//!
//! docs/packed-format.md describes it to the bit.

mod metadata;
mod reader;
mod writer;

pub use metadata::{QuantizationInfo, TensorEntry, TensorKind, TensorPlan, expected_tensors};
pub use reader::{DenseInfo, PackedFile, TensorReport, VerifyReport};
pub use writer::{Header, PackedWriter};
