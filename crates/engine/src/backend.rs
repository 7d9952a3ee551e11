//! The operations of a model, as the forward pass asks for them.
//!
//! A backend owns the weights and the key-value caches. All matrices are row-major f32, one row a token, so that a
//! backend may keep its own formats inside. The trait is object safe: which backend runs is chosen at run time.

use edgewen_model::Config;

use crate::{Batch, Result};

/// The matrices of a model. Fused ones are one operation: their inputs are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Linear {
    /// Query, key and value of a layer, with bias: hidden -> (heads + 2 kv_heads) * head_dim.
    Qkv(usize),
    /// Attention output: heads * head_dim -> hidden.
    O(usize),
    /// Gate and up: hidden -> 2 * intermediate.
    GateUp(usize),
    /// Down: intermediate -> hidden.
    Down(usize),
    /// Output head: hidden -> vocabulary.
    Head,
}

/// The norms of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Norm {
    /// Before the attention of a layer.
    Input(usize),
    /// Before the MLP of a layer.
    PostAttention(usize),
    /// Before the head.
    Final,
}

/// Computes the operations of one model.
pub trait Backend {
    /// What runs the model, for people.
    fn name(&self) -> String;

    /// The shape of the model.
    fn config(&self) -> &Config;

    /// Embeddings of `tokens` into `out` [tokens, hidden].
    fn embed(&mut self, tokens: &[u32], out: &mut [f32]) -> Result<()>;

    /// RMSNorm of `x` [tokens, hidden] into `out`.
    fn rms_norm(&mut self, which: Norm, x: &[f32], out: &mut [f32]) -> Result<()>;

    /// `x` [tokens, inputs] times a matrix, plus its bias, into `out` [tokens, outputs].
    fn linear(&mut self, which: Linear, x: &[f32], tokens: usize, out: &mut [f32]) -> Result<()>;

    /// Entries that [`Self::top_k`] can have cheaper than by all logits; 0 where it saves nothing.
    fn most_top_k(&self) -> usize {
        0
    }

    /// The `k` largest logits of one token, given its normed hidden state `x` `[hidden]`: ids and logits, largest first,
    /// equal ones by id. A NaN counts as larger than everything, so that it is seen. For a head of two 4-bit planes they are
    /// the largest among the candidates that the high plane names; their logits are those of [`Self::linear`].
    fn top_k(&mut self, x: &[f32], k: usize) -> Result<Vec<(u32, f32)>> {
        let mut logits = vec![0.0; self.config().vocab_size];
        self.linear(Linear::Head, x, 1, &mut logits)?;
        Ok(crate::top_k::largest(&logits, k))
    }

    /// Rotates queries and keys in `qkv` [tokens, (heads + 2 kv_heads) * head_dim] by their positions.
    fn rope(&mut self, batch: &Batch, qkv: &mut [f32]) -> Result<()>;

    /// Appends keys and values to the caches of the batch's slots, then attends: `out` [tokens, heads * head_dim].
    fn attention(&mut self, layer: usize, batch: &Batch, qkv: &[f32], out: &mut [f32]) -> Result<()>;

    /// `silu(gate) * up` of `gate_up` [tokens, 2 * intermediate] into `out` [tokens, intermediate].
    fn silu_mul(&mut self, gate_up: &[f32], out: &mut [f32]) -> Result<()>;

    /// `x += y`.
    fn add(&mut self, x: &mut [f32], y: &[f32]) -> Result<()>;

    /// Forgets the tokens of a slot from position `len` on.
    fn truncate(&mut self, slot: usize, len: usize);

    /// Bytes that the key-value caches take.
    fn kv_bytes(&self) -> usize;
}
