//! What can go wrong between software and accelerator.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model cannot run on this accelerator.
    #[error("{0}")]
    Unsupported(String),
}
