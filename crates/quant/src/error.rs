//! What can go wrong while a checkpoint is quantized, with the message a user sees.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a checkpoint was not quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint, its tokenizer or the packed file.
    #[error(transparent)]
    Model(#[from] edgewen_model::Error),
    /// The calibration pass.
    #[error(transparent)]
    Engine(edgewen_engine::Error),
    /// The calibration text cannot be read.
    #[error("cannot read the calibration text {path}: {source}")]
    CalibrationFile {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The calibration text is in some other encoding.
    #[error("the calibration text {name} is not UTF-8 (byte {offset}): convert it, for example with iconv")]
    CalibrationNotUtf8 {
        /// The file.
        name: String,
        /// First byte that does not fit.
        offset: usize,
    },
    /// Too little text to tell which inputs matter.
    #[error(
        "the calibration text {name} has {found} tokens, awq needs {needed}: give a longer text, or use the method rtn"
    )]
    CalibrationTooShort {
        /// The file, or `built-in`.
        name: String,
        /// Tokens it has, or that the options allow.
        found: usize,
        /// Tokens it must have.
        needed: usize,
    },
    /// A weight that the format cannot hold.
    #[error(
        "{tensor}: the weights of row {row} reach {value}, too large for 16-bit scales: the checkpoint is damaged, or no language model"
    )]
    TooLarge {
        /// The tensor's name in the checkpoint.
        tensor: String,
        /// The row.
        row: usize,
        /// A weight of that row that is too large.
        value: f32,
    },
    /// The model overflows on the calibration text.
    #[error(
        "{tensor}: its inputs are not finite on the calibration text: the checkpoint's weights are damaged"
    )]
    NotFiniteInputs {
        /// The tensor's name in the checkpoint.
        tensor: String,
    },
    /// A checkpoint that is to be quantized, but is already.
    #[error(
        "{dir} is quantized already ({format}): it can be imported as it is, or quantize the float checkpoint"
    )]
    AlreadyQuantized {
        /// The directory.
        dir: std::path::PathBuf,
        /// Who quantized it.
        format: &'static str,
    },
    /// A checkpoint that is to be imported, but holds floats.
    #[error(
        "{dir} is not quantized: neither config.json nor quant_config.json says how; quantize it instead"
    )]
    NothingToRepack {
        /// The directory.
        dir: std::path::PathBuf,
    },
    /// A budget that no choice of bits can keep to, or no number.
    #[error(
        "a budget of {bits} bits a weight cannot be kept to: with 4 bits everywhere the matrices and their scales take {least:.2}, with 8 bits {most:.2}"
    )]
    Budget {
        /// What was asked for.
        bits: f64,
        /// The smallest budget.
        least: f64,
        /// What is never exceeded.
        most: f64,
    },
    /// Mixed precision in groups for which there are no 8-bit layers.
    #[error(
        "a budget of bits needs groups of 64 inputs, not {found}: 8-bit matrices of layers have no others"
    )]
    BudgetGroup {
        /// The group that was asked for.
        found: usize,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {detail}; ask for fewer")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// Why not.
        detail: String,
    },
    /// The user does not want it any more.
    #[error("cancelled")]
    Cancelled,
}

impl From<edgewen_engine::Error> for Error {
    fn from(error: edgewen_engine::Error) -> Self {
        match error {
            edgewen_engine::Error::Model(error) => Error::Model(error),
            edgewen_engine::Error::Cancelled => Error::Cancelled,
            other => Error::Engine(other),
        }
    }
}
