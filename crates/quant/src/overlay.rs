//! A model made of two packed files: each matrix comes from the one or from the other.
//!
//! The files are a quantized model and its twin, which have the same norms, biases and factors, so every mix of them is
//! a model. Trying another mix costs nothing but the run: that is how the worth of a matrix's bits is measured.

use edgewen_engine::{Backend, Batch, CpuBackend, Linear, Norm, Result};
use edgewen_model::Config;
use std::collections::BTreeSet;

/// The quantized model on the CPU, with some matrices of its twin.
pub(crate) struct Overlay {
    base: CpuBackend,
    twin: CpuBackend,
    /// Names in the packed file of the matrices that come from the twin.
    chosen: BTreeSet<String>,
}

impl Overlay {
    /// Everything from `base`.
    pub(crate) fn new(base: CpuBackend, twin: CpuBackend) -> Self {
        Overlay { base, twin, chosen: BTreeSet::new() }
    }

    /// Takes exactly the named matrices from the twin.
    pub(crate) fn choose(&mut self, chosen: BTreeSet<String>) {
        self.chosen = chosen;
    }

    /// The file that a matrix comes from.
    fn owner(&mut self, name: &str) -> &mut CpuBackend {
        if self.chosen.contains(name) { &mut self.twin } else { &mut self.base }
    }
}

impl Backend for Overlay {
    fn name(&self) -> String {
        format!("{}, {} matrices of the twin", self.base.name(), self.chosen.len())
    }

    fn config(&self) -> &Config {
        self.base.config()
    }

    fn embed(&mut self, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        self.owner("embed").embed(tokens, out)
    }

    fn rms_norm(&mut self, which: Norm, x: &[f32], out: &mut [f32]) -> Result<()> {
        self.base.rms_norm(which, x, out)
    }

    fn linear(&mut self, which: Linear, x: &[f32], tokens: usize, out: &mut [f32]) -> Result<()> {
        let name = match which {
            Linear::Qkv(layer) => format!("layers.{layer}.qkv"),
            Linear::O(layer) => format!("layers.{layer}.o"),
            Linear::GateUp(layer) => format!("layers.{layer}.gate_up"),
            Linear::Down(layer) => format!("layers.{layer}.down"),
            Linear::Head if self.config().tie_word_embeddings => "embed".to_owned(),
            Linear::Head => "head".to_owned(),
        };
        self.owner(&name).linear(which, x, tokens, out)
    }

    fn rope(&mut self, batch: &Batch, qkv: &mut [f32]) -> Result<()> {
        self.base.rope(batch, qkv)
    }

    fn attention(&mut self, layer: usize, batch: &Batch, qkv: &[f32], out: &mut [f32]) -> Result<()> {
        self.base.attention(layer, batch, qkv, out)
    }

    fn silu_mul(&mut self, gate_up: &[f32], out: &mut [f32]) -> Result<()> {
        self.base.silu_mul(gate_up, out)
    }

    fn add(&mut self, x: &mut [f32], y: &[f32]) -> Result<()> {
        self.base.add(x, y)
    }

    fn truncate(&mut self, slot: usize, len: usize) {
        self.base.truncate(slot, len);
    }

    fn kv_bytes(&self) -> usize {
        self.base.kv_bytes()
    }
}
