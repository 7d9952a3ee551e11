//! Activations of a linear layer, quantized to eight bits per group.

use edgewen_layout::GroupSize;

use crate::Compute;

/// Quantized activations [tokens, inputs]; the memory is reused from call to call.
#[derive(Debug, Default)]
pub struct Activations {
    q: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    tokens: usize,
    inputs: usize,
}

impl Activations {
    /// No activations yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Quantizes `x` [tokens, k].
    pub fn quantize(&mut self, _c: &Compute, _x: &[f32], _tokens: usize, _k: usize, _group: GroupSize) {
        unimplemented!("filled in by the next change")
    }

    /// Codes [tokens, padded inputs]: -127..=127, zero in the padding.
    pub fn q(&self) -> &[i8] {
        &self.q
    }

    /// Scale of a group [tokens, groups].
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Sum of the codes of a group [tokens, groups].
    pub fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// Tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Inputs of a token, without padding.
    pub fn inputs(&self) -> usize {
        self.inputs
    }
}
