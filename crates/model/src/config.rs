//! The shape of a Qwen2 model and its rotary embedding, as read from config.json and stored in the packed file.
//!
//! Old and new key names of `transformers` are accepted (`rope_scaling` and `rope_parameters`, `torch_dtype` and
//! `dtype`). Whatever would change the arithmetic and is not implemented is refused by name.

use serde::{Deserialize, Serialize};

/// The shape of a Qwen2 model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward part.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Longest context in tokens.
    pub max_position: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f32,
    /// Rotary embedding.
    pub rope: Rope,
    /// The output head is the embedding.
    pub tie_word_embeddings: bool,
}

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// How the frequencies are stretched for longer contexts.
    pub scaling: RopeScaling,
}

/// How the rotary frequencies are stretched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All frequencies are divided by the factor.
    Linear {
        /// Context length multiplier.
        factor: f64,
    },
    /// YaRN (Peng et al. 2023, arXiv 2309.00071).
    Yarn {
        /// Context length multiplier.
        factor: f64,
        /// Context length of the original training.
        original_max_position: usize,
        /// Rotations above which a frequency is left alone.
        beta_fast: f64,
        /// Rotations below which a frequency is divided by the whole factor.
        beta_slow: f64,
        /// Multiplies cosine and sine; already derived from the factor where the checkpoint gives none.
        attention_factor: f64,
        /// Round the bounds of the ramp to whole dimensions.
        truncate: bool,
    },
}

impl Config {
    /// Rows of the fused query, key and value projection.
    pub fn qkv_rows(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Width of the attention output, `heads * head_dim`.
    pub fn attention_size(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of the keys (or values) of one token.
    pub fn kv_size(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

impl Rope {
    /// Inverse frequencies, f32 [head_dim / 2], and the factor of cosine and sine, as `transformers` computes them.
    pub fn inv_freq(&self, _head_dim: usize) -> (Vec<f32>, f32) {
        unimplemented!()
    }
}
