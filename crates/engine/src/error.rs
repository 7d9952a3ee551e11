//! What can go wrong while a model runs.

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model's files.
    #[error(transparent)]
    Model(#[from] edgewen_model::Error),
    /// A token that the model has no embedding for.
    #[error("token id {id} is outside the vocabulary of {vocabulary} tokens")]
    TokenOutOfRange {
        /// The token.
        id: u32,
        /// Rows of the embedding.
        vocabulary: usize,
    },
    /// Nothing to continue.
    #[error("the prompt has no tokens: give at least one")]
    EmptyPrompt,
    /// A prompt that does not fit.
    #[error(
        "the prompt has {prompt} tokens, more than the context of {context}: shorten it or raise the context"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens that fit.
        context: usize,
    },
    /// A sampling option that makes no sense.
    #[error("{name} is {value}, expected {expected}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// The model computed no usable logits.
    #[error(
        "the model computed logits that are not finite: its weights are damaged (see `edgewen inspect --verify`)"
    )]
    NonFiniteLogits,
    /// The work was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// A failure of a backend that is not the CPU, or of a backend that wraps another step.
    #[error("{0}")]
    Backend(String),
}
