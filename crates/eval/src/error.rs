//! What can go wrong in a measurement.

use std::io;
use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a measurement.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model, or the machine it runs on.
    #[error(transparent)]
    Engine(#[from] edgewen_engine::Error),
    /// The model's files.
    #[error(transparent)]
    Model(#[from] edgewen_model::Error),
    /// A file that cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A run's file that belongs to another measurement.
    #[error(
        "{} cannot be continued: {what} changed, from {was} to {is}; give another --output, or --restart to \
         measure anew",
        path.display()
    )]
    Changed {
        /// The run's file.
        path: PathBuf,
        /// What is different.
        what: &'static str,
        /// What the file says.
        was: String,
        /// What is asked for now.
        is: String,
    },
    /// A run's file that is no such file, or is damaged.
    #[error("{}, line {line}: {problem}; give another --output, or --restart to measure anew", path.display())]
    Damaged {
        /// The run's file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// Evaluation data that cannot be used.
    #[error("{}, {place}: {problem}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// Row, column or tensor.
        place: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// An option that makes no sense.
    #[error("{name} is {value}, expected {expected}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Two models that cannot be compared.
    #[error("{model} and {reference} cannot be compared: {problem}")]
    Incomparable {
        /// The measured model.
        model: String,
        /// What it is measured against.
        reference: String,
        /// What is different.
        problem: String,
    },
    /// Logits that are not finite.
    #[error(
        "{model} computed logits that are not finite (window {window}, position {position}): its weights are damaged"
    )]
    NonFinite {
        /// The model.
        model: String,
        /// Window of the text, from 0.
        window: usize,
        /// Position in the window, from 0.
        position: usize,
    },
    /// A text with nothing to predict.
    #[error("the longest document has {longest} tokens, at least {needed} are needed")]
    TextTooShort {
        /// Tokens of the longest document.
        longest: usize,
        /// Tokens that one must have.
        needed: usize,
    },
    /// A plot that the plotting library refuses.
    #[error("cannot draw a plot: {0}")]
    Plot(String),
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl Error {
    /// Logits of a window's position that are not finite.
    pub(crate) fn not_finite(model: &str, window: usize, position: usize) -> Self {
        Self::NonFinite { model: model.to_string(), window, position }
    }

    /// Whether the work was cancelled, here or in the engine.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::Engine(edgewen_engine::Error::Cancelled))
    }

    /// An error of reading or writing `path`.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}
