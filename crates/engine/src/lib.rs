//! Runs a Qwen2 model over a backend: forward pass, key-value cache, sampling, stopping.
//!
//! The forward pass is written once, over [`Backend`]; who multiplies the matrices is the backend's business. The
//! CPU and the float reference are here, the quantizer and the accelerator bring their own.
#![forbid(unsafe_code)]

mod backend;
mod batch;
mod cpu;
mod error;
mod qwen2;
mod reference;
mod sampler;
mod session;
mod stop;
mod top_k;
mod two_plane;

pub use backend::{Backend, Linear, Norm};
pub use batch::{Batch, Segment};
pub use cpu::CpuBackend;
pub use error::{Error, Result};
pub use qwen2::{Forward, Logits};
pub use reference::Reference;
pub use sampler::{Sampler, SamplerOptions};
pub use session::{FinishReason, GenerateOptions, Generated, Session, Timings};
pub use stop::{StopOptions, StopStrings};
