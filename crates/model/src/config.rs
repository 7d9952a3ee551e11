//! The shape of a Qwen2 model and its rotary embedding, as read from config.json and stored in the packed file.
//!
//! Old and new key names of `transformers` are accepted (`rope_scaling` and `rope_parameters`, `torch_dtype` and
//! `dtype`). Whatever would change the arithmetic and is not implemented is refused by name.

mod huggingface;

pub(crate) use huggingface::{Fields, read_json};

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

/// A setting outside of what edgewen accepts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Invalid {
    pub key: &'static str,
    pub found: String,
    pub expected: String,
}

impl Config {
    /// Fails on the first value that no real model has. The limits also keep every size computed from a
    /// configuration below 2^63.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let limits = [
            ("hidden_size", self.hidden_size, 1 << 17),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("num_hidden_layers", self.layers, 1 << 10),
            ("num_attention_heads", self.heads, 1 << 10),
            ("num_key_value_heads", self.kv_heads, 1 << 10),
            ("head_dim", self.head_dim, 1 << 10),
            ("vocab_size", self.vocab_size, 1 << 22),
            ("max_position_embeddings", self.max_position, 1 << 26),
        ];
        for (key, found, limit) in limits {
            if !(1..=limit).contains(&found) {
                return Err(Invalid { key, found: found.to_string(), expected: format!("1 to {limit}") });
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            let expected = format!("a divisor of \"num_attention_heads\" ({})", self.heads);
            return Err(Invalid { key: "num_key_value_heads", found: self.kv_heads.to_string(), expected });
        }
        if !self.head_dim.is_multiple_of(2) {
            let expected = "an even number (rotary pairs)".to_owned();
            return Err(Invalid { key: "head_dim", found: self.head_dim.to_string(), expected });
        }
        if !(self.rms_norm_eps.is_finite() && (0.0..=1.0).contains(&self.rms_norm_eps)) {
            let found = self.rms_norm_eps.to_string();
            return Err(Invalid { key: "rms_norm_eps", found, expected: "0 to 1".into() });
        }
        self.rope.check()
    }

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
    fn check(&self) -> Result<(), Invalid> {
        let within = |key, value: f64, low: f64, high: f64| {
            if value.is_finite() && (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Invalid { key, found: value.to_string(), expected: format!("{low} to {high}") })
        };
        within("rope_theta", self.theta, 2.0, 1e12)?;
        match self.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => within("factor", factor, 1.0, 1e6),
            RopeScaling::Yarn {
                factor,
                original_max_position,
                beta_fast,
                beta_slow,
                attention_factor,
                ..
            } => {
                within("factor", factor, 1.0, 1e6)?;
                within("original_max_position_embeddings", original_max_position as f64, 1.0, 1e8)?;
                within("beta_fast", beta_fast, 1e-6, 1e6)?;
                within("beta_slow", beta_slow, 1e-6, beta_fast)?;
                within("attention_factor", attention_factor, 1e-6, 1e6)
            }
        }
    }

    /// Inverse frequencies, f32 [head_dim / 2], and the factor of cosine and sine, rounded where `transformers` rounds
    /// (`modeling_rope_utils.py`).
    pub fn inv_freq(&self, head_dim: usize) -> (Vec<f32>, f32) {
        let periods = (0..head_dim / 2).map(|i| {
            let exponent = (2 * i) as f32 / head_dim as f32;
            libm::pow(f64::from(self.theta as f32), f64::from(exponent)) as f32
        });
        match self.scaling {
            RopeScaling::None => (periods.map(|p| 1.0 / p).collect(), 1.0),
            RopeScaling::Linear { factor } => (periods.map(|p| 1.0 / p / factor as f32).collect(), 1.0),
            RopeScaling::Yarn { factor, attention_factor, .. } => {
                let ramp = self.yarn_ramp(head_dim);
                let blend = |(i, p): (usize, f32)| {
                    // 1 for a frequency that stays, 0 for one that is divided by the whole factor.
                    let keep = 1.0 - ((i as f32 - ramp.start) / ramp.width).clamp(0.0, 1.0);
                    (1.0 / (factor as f32 * p)) * (1.0 - keep) + (1.0 / p) * keep
                };
                (periods.enumerate().map(blend).collect(), attention_factor as f32)
            }
        }
    }

    /// Between which dimensions YaRN goes from keeping to dividing.
    fn yarn_ramp(&self, head_dim: usize) -> Ramp {
        let RopeScaling::Yarn { original_max_position, beta_fast, beta_slow, truncate, .. } = self.scaling
        else {
            return Ramp { start: 0.0, width: 1.0 };
        };
        let dimension = |rotations: f64| {
            let turns = original_max_position as f64 / (rotations * 2.0 * std::f64::consts::PI);
            head_dim as f64 * libm::log(turns) / (2.0 * libm::log(self.theta))
        };
        let (mut low, mut high) = (dimension(beta_fast), dimension(beta_slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        low = low.max(0.0);
        high = high.min((head_dim - 1) as f64);
        if low == high {
            high += 0.001;
        }
        Ramp { start: low as f32, width: (high - low) as f32 }
    }
}

struct Ramp {
    start: f32,
    width: f32,
}
