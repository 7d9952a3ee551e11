//! The arithmetic of edgewen on every instruction set.
//!
//! Each operation is a safe function that checks lengths, then dispatches once on an [`Isa`] value; the scalar
//! version is the specification, and every other version, thread count and number of tokens gives the same bits.
//! No result uses a fused multiply-add. The crate knows matrices and vectors, no models and no files.

pub mod activations;
pub mod attention;
pub mod dense;
pub mod exp;
pub mod isa;
pub mod kv;
pub mod linear;
#[cfg(feature = "matmul")]
pub mod matmul;
pub mod pool;
pub mod rms_norm;
pub mod rope;
pub mod silu;
mod simd;
pub mod softmax;

pub use activations::Activations;
pub use dense::{Dense, DenseType, dense_linear};
pub use isa::{Isa, IsaKind};
pub use linear::{LengthError, RowBlocks, linear, linear_blocks};
pub use pool::Pool;

/// What every operation runs on: the instruction set and the threads.
pub struct Compute {
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Threads of the kernels.
    pub pool: Pool,
}

impl Compute {
    /// Kernels of `isa` on `threads` threads, the calling one included.
    pub fn new(isa: Isa, threads: usize) -> Self {
        Self { isa, pool: Pool::new(threads) }
    }
}
