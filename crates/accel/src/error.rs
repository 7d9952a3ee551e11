//! What can go wrong between software and accelerator.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model cannot run on this accelerator.
    #[error("the accelerator cannot run this model: {tensor} {problem}; use --device cpu")]
    Unsupported {
        /// The tensor that it cannot use.
        tensor: String,
        /// Why, beginning with a verb.
        problem: String,
    },
    /// The registers say that this is another device.
    #[error("{device} is no accelerator that this edgewen can use: {problem}")]
    Mismatch {
        /// What the device calls itself.
        device: String,
        /// What was found and expected.
        problem: String,
    },
    /// A descriptor that cannot be written or read.
    #[error("a descriptor is wrong: {detail}")]
    Descriptor {
        /// Field, found, expected.
        detail: String,
    },
    /// The accelerator stopped with an error. It was reset and can be used again.
    #[error("the accelerator failed in {operation}: {problem} ({port}, address {address:#012x})")]
    Fault {
        /// The operation, as its tensor is called in the packed file.
        operation: String,
        /// What happened.
        problem: String,
        /// Where: a weight port, or the data port.
        port: String,
        /// Address of the burst.
        address: u64,
    },
    /// The accelerator neither finished nor failed. It was reset.
    #[error("the accelerator did not finish {operation}: {state}")]
    Hung {
        /// The operation, as its tensor is called in the packed file.
        operation: String,
        /// What the registers said.
        state: String,
    },
    /// Access to registers or shared memory failed, or the device could not be made ready.
    #[error("{0}")]
    Device(String),
}

impl From<Error> for edgewen_engine::Error {
    fn from(error: Error) -> Self {
        Self::Backend(error.to_string())
    }
}
