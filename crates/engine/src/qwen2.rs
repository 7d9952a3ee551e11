//! The forward pass of Qwen2, readable from top to bottom.
//!
//! It is written once for every backend. Shapes stand in the comments, rows are tokens; buffers are kept from call
//! to call, so that generating a token allocates nothing.

use std::ops::Range;

use crate::{Backend, Batch, Error, Linear, Norm, Result};

/// Of which tokens the logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logits {
    /// Of none: only the caches are filled.
    None,
    /// Of the last token of every segment.
    Last,
    /// Of every token.
    All,
}

/// The buffers of a forward pass.
#[derive(Debug, Default)]
pub struct Forward {
    x: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    activated: Vec<f32>,
    delta: Vec<f32>,
    logits: Vec<f32>,
}

impl Forward {
    /// Computes a batch and returns the wanted logits [rows, vocabulary].
    ///
    /// # Errors
    /// A token outside the vocabulary, and what the backend says.
    pub fn run(&mut self, backend: &mut dyn Backend, batch: &Batch, logits: Logits) -> Result<&[f32]> {
        self.hidden(backend, batch)?;
        let hidden = backend.config().hidden_size;
        match logits {
            Logits::None => Ok(&[]),
            Logits::All => self.head(backend, 0..batch.len()),
            Logits::Last => {
                // Gathers the last rows in front; a later segment's row is never before an earlier one's.
                let last =
                    batch.segments().filter(|(_, rows)| !rows.is_empty()).map(|(_, rows)| rows.end - 1);
                let mut count = 0;
                for row in last {
                    self.x.copy_within(row * hidden..(row + 1) * hidden, count * hidden);
                    count += 1;
                }
                self.head(backend, 0..count)
            }
        }
    }

    /// Computes a batch up to the last layer and keeps the hidden states for [`Self::head`].
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn hidden(&mut self, backend: &mut dyn Backend, batch: &Batch) -> Result<()> {
        let config = backend.config().clone();
        let vocabulary = config.vocab_size;
        if let Some(&id) = batch.tokens().iter().find(|&&id| vocabulary <= id as usize) {
            return Err(Error::TokenOutOfRange { id, vocabulary });
        }
        let tokens = batch.len();
        let x = sized(&mut self.x, tokens * config.hidden_size);
        let normed = sized(&mut self.normed, tokens * config.hidden_size);
        let qkv = sized(&mut self.qkv, tokens * config.qkv_rows());
        let attended = sized(&mut self.attended, tokens * config.attention_size());
        let gate_up = sized(&mut self.gate_up, tokens * 2 * config.intermediate_size);
        let activated = sized(&mut self.activated, tokens * config.intermediate_size);
        let delta = sized(&mut self.delta, tokens * config.hidden_size);

        backend.embed(batch.tokens(), x)?; // [tokens, hidden]
        for layer in 0..config.layers {
            // Attention: every token looks at the tokens before it.
            backend.rms_norm(Norm::Input(layer), x, normed)?; // [tokens, hidden]
            backend.linear(Linear::Qkv(layer), normed, tokens, qkv)?; // [tokens, q | k | v]
            backend.rope(batch, qkv)?;
            backend.attention(layer, batch, qkv, attended)?; // [tokens, heads * head_dim]
            backend.linear(Linear::O(layer), attended, tokens, delta)?; // [tokens, hidden]
            backend.add(x, delta)?;

            // MLP: every token by itself.
            backend.rms_norm(Norm::PostAttention(layer), x, normed)?; // [tokens, hidden]
            backend.linear(Linear::GateUp(layer), normed, tokens, gate_up)?; // [tokens, gate | up]
            backend.silu_mul(gate_up, activated)?; // [tokens, intermediate]
            backend.linear(Linear::Down(layer), activated, tokens, delta)?; // [tokens, hidden]
            backend.add(x, delta)?;
        }
        Ok(())
    }

    /// Logits [rows, vocabulary] of some rows of the last [`Self::hidden`]. Taking a few rows at a time keeps the
    /// memory small: a row of Qwen2.5 has 151,936 logits.
    ///
    /// # Errors
    /// What the backend says.
    ///
    /// # Panics
    /// If there are no such rows.
    pub fn head(&mut self, backend: &mut dyn Backend, rows: Range<usize>) -> Result<&[f32]> {
        let (hidden, vocabulary) = (backend.config().hidden_size, backend.config().vocab_size);
        let count = rows.len();
        let normed = sized(&mut self.normed, count * hidden);
        let logits = sized(&mut self.logits, count * vocabulary);
        backend.rms_norm(Norm::Final, &self.x[rows.start * hidden..rows.end * hidden], normed)?;
        backend.linear(Linear::Head, normed, count, logits)?;
        Ok(logits)
    }

    /// The `k` largest logits of a row of the last [`Self::hidden`], as [`Backend::top_k`] gives them.
    ///
    /// # Errors
    /// What the backend says.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn top_k(&mut self, backend: &mut dyn Backend, row: usize, k: usize) -> Result<Vec<(u32, f32)>> {
        let hidden = backend.config().hidden_size;
        let normed = sized(&mut self.normed, hidden);
        backend.rms_norm(Norm::Final, &self.x[row * hidden..(row + 1) * hidden], normed)?;
        backend.top_k(normed, k)
    }

    /// What the head multiplied in the last [`Self::run`], [`Self::head`] or [`Self::top_k`]: [rows, hidden].
    pub fn normed(&self) -> &[f32] {
        &self.normed
    }

    /// The logits of the last [`Self::run`] or [`Self::head`].
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }
}

/// The buffer with exactly `len` elements.
fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(len, 0.0);
    buffer
}
