//! The model's own sampling defaults and its set of end tokens (generation_config.json).

use serde::{Deserialize, Serialize};

/// What generation_config.json says; absent values are `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationDefaults {
    /// Tokens that end a text; from config.json where generation_config.json names none.
    pub eos: Vec<u32>,
    /// First token of a text.
    pub bos: Option<u32>,
    /// Padding token.
    pub pad: Option<u32>,
    /// Sample (true) or take the best token (false).
    pub do_sample: Option<bool>,
    /// Softmax temperature.
    pub temperature: Option<f32>,
    /// Keep the k best tokens.
    pub top_k: Option<u32>,
    /// Keep the smallest set of tokens with at least this probability.
    pub top_p: Option<f32>,
    /// Keep tokens with at least this share of the best one's probability.
    pub min_p: Option<f32>,
    /// Divides positive and multiplies negative logits of tokens already seen.
    pub repetition_penalty: Option<f32>,
}
