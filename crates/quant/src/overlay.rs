//! A model made of two packed files: each matrix comes from the one or from the other.
//!
//! The files are a quantized model and its twin, which have the same norms, biases and factors, so every mix of them is
//! a model. Trying another mix costs nothing but the run: that is how the worth of a matrix's bits is measured. It is a
//! good model only if no matrix makes up for the errors of others ([`crate::Step::Correction`]), which a mix changes.

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::held_out::HeldOut;
    use crate::{HeadBits, QuantizeOptions, Silent, Step, quantize_once};
    use edgewen_engine::{Forward, Logits, Reference};
    use edgewen_kernels::kv::KvType;
    use edgewen_kernels::{Compute, Isa};
    use edgewen_model::Checkpoint;
    use edgewen_model::packed::PackedFile;
    use edgewen_testing::{TinySpec, tiny_checkpoint};
    use std::path::Path;
    use std::sync::Arc;

    fn cpu(path: &Path) -> CpuBackend {
        let file = Arc::new(PackedFile::open(path).unwrap());
        CpuBackend::new(file, Compute::new(Isa::best(), 1), KvType::F16).unwrap()
    }

    fn logits(backend: &mut dyn Backend) -> Vec<f32> {
        let tokens: Vec<u32> = (0..60).map(|i| i * 37 % 256).collect();
        Forward::default().run(backend, &Batch::one(0, 0, &tokens), Logits::All).unwrap().to_vec()
    }

    /// A model and its twin, and mixes of them: with every matrix of the one file it is that model, and each matrix of
    /// the twin brings it nearer to the original one on average.
    #[test]
    fn any_mix_of_a_model_and_its_twin_is_a_model() {
        for tied in [true, false] {
            let directory = tiny_checkpoint(&TinySpec { tied, kv_heads: 4, ..TinySpec::default() });
            let checkpoint = Checkpoint::open(directory.path()).unwrap();
            let (four, eight) = (directory.path().join("four.ewn"), directory.path().join("eight.ewn"));
            let options = QuantizeOptions {
                head: HeadBits::Four,
                calibration_tokens: 1000,
                skip: BTreeSet::from([Step::Correction]),
                threads: 2,
                ..QuantizeOptions::default()
            };
            quantize_once(&checkpoint, &four, Some(&eight), &options, &mut Silent).unwrap();
            let file = PackedFile::open(&four).unwrap();
            let matrices = file.tensors().filter(|tensor| tensor.shape.len() == 2);
            let names: Vec<String> = matrices.map(|tensor| tensor.name.clone()).collect();
            assert_eq!(names.len(), 4 * checkpoint.config().layers + if tied { 1 } else { 2 });

            let mut overlay = Overlay::new(cpu(&four), cpu(&eight));
            assert_eq!(logits(&mut overlay), logits(&mut cpu(&four)), "tied {tied}: none");
            overlay.choose(names.iter().cloned().collect());
            assert_eq!(logits(&mut overlay), logits(&mut cpu(&eight)), "tied {tied}: all");

            let windows = vec![(0..60).map(|i| i * 31 % 256).collect::<Vec<u32>>(), vec![1, 2, 3]];
            let workers = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
            let mut reference = Reference::new(Checkpoint::open(directory.path()).unwrap(), 1).unwrap();
            let path = directory.path().join("logits");
            let held_out = HeldOut::new(&mut reference, windows, &path, &workers, &mut |_| Ok(())).unwrap();
            let mean = |backend: &mut dyn Backend| {
                let divergences = held_out.divergences(backend, &mut |_| Ok(())).unwrap();
                assert_eq!(divergences.len(), 63);
                divergences.iter().sum::<f64>() / 63.0
            };
            assert!(mean(&mut reference).abs() < 1e-12, "tied {tied}: the reference differs from itself");
            overlay.choose(BTreeSet::new());
            let none = mean(&mut overlay);
            let each: Vec<f64> = names
                .iter()
                .map(|name| {
                    overlay.choose(BTreeSet::from([name.clone()]));
                    mean(&mut overlay)
                })
                .collect();
            overlay.choose(names.iter().cloned().collect());
            let all = mean(&mut overlay);
            assert!(all < 0.2 * none, "tied {tied}: {all} {none}");
            // A mix whose files did not fit each other would be far off.
            assert!(each.iter().all(|&one| one < 1.2 * none), "tied {tied}: {none} {each:?}");
            assert!(each.iter().sum::<f64>() < none * each.len() as f64, "tied {tied}: {none} {each:?}");
        }
    }
}
