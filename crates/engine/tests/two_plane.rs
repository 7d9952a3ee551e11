//! The likeliest tokens of a head of two planes: what they are, on every processor, and who asks for them.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use edgewen_engine::{Backend, CpuBackend, Linear};
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits};
use edgewen_model::Checkpoint;
use edgewen_model::packed::PackedFile;
use edgewen_testing::rtn::{Head, pack};
use edgewen_testing::{TinySpec, tiny_checkpoint};

/// As documented: rows whose exact logits are computed, and the longest list that is made of them.
const CANDIDATES: usize = 512;
const MOST: usize = 64;

fn packed(spec: &TinySpec, bits: WeightBits) -> Arc<PackedFile> {
    let folder = tiny_checkpoint(spec);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    Arc::new(pack(&checkpoint, GroupSize::G64, Head::Bits(bits), &folder.path().join("tiny.ewn")))
}

fn cpu(file: &Arc<PackedFile>, isa: Isa, threads: usize) -> CpuBackend {
    CpuBackend::new(file.clone(), Compute::new(isa, threads), KvType::F16).unwrap()
}

fn sorted(mut entries: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
    entries.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    entries
}

/// The logits of one token by the specification's arithmetic.
fn logits(matrix: &QuantizedMatrix, x: &[f32]) -> Vec<f32> {
    let (packed, compute) = (matrix.pack(), Compute::new(Isa::SCALAR, 1));
    let blocks = edgewen_kernels::RowBlocks::new(matrix.shape, &packed).unwrap();
    let mut activations = edgewen_kernels::Activations::new();
    activations.quantize(&compute, x, 1, matrix.shape.inputs, matrix.shape.group);
    let mut out = vec![0.0; matrix.shape.rows];
    edgewen_kernels::linear(&compute, &blocks, &activations, None, &mut out);
    out
}

#[test]
fn the_list_is_made_of_the_candidates_of_the_high_plane_and_exact_logits() {
    // Rows no multiple of 16, head and embedding apart.
    let spec = TinySpec { hidden: 96, heads: 6, vocab: 1203, tied: false, seed: 5, ..TinySpec::default() };
    let file = packed(&spec, WeightBits::Eight);
    let (shape, data) = file.matrix("head").unwrap();
    let whole = QuantizedMatrix::unpack(shape, data);
    // Taken from the codes, not from the plane as it lies in the file.
    let high = QuantizedMatrix {
        shape: RowBlockShape { bits: WeightBits::Four, ..shape },
        codes: whole.codes.iter().map(|code| code >> 4).collect(),
        ..whole.clone()
    };
    for seed in 0..4 {
        let x: Vec<f32> = (0..96).map(|i| ((i * 37 + seed * 11) % 101) as f32 / 9.0 - 5.0).collect();
        let exact = logits(&whole, &x);
        let near = sorted((0..).zip(logits(&high, &x)).collect());
        let expected = sorted(near[..CANDIDATES].iter().map(|&(id, _)| (id, exact[id as usize])).collect());
        for isa in Isa::available() {
            for threads in [1, 3] {
                let mut backend = cpu(&file, isa, threads);
                assert_eq!(backend.most_top_k(), MOST);
                for k in [1, 20, MOST] {
                    assert_eq!(backend.top_k(&x, k).unwrap(), expected[..k], "{isa}, {threads} threads");
                }
                // A longer list is that of all logits.
                let mut all = vec![0.0; spec.vocab];
                backend.linear(Linear::Head, &x, 1, &mut all).unwrap();
                let all = sorted((0..).zip(all).collect());
                assert_eq!(backend.top_k(&x, MOST + 1).unwrap(), all[..=MOST]);
            }
        }
    }
}

#[test]
fn other_heads_and_small_vocabularies_are_read_whole() {
    let spec = TinySpec { vocab: 700, ..TinySpec::default() };
    let small = TinySpec { vocab: CANDIDATES, ..TinySpec::default() };
    for file in [packed(&spec, WeightBits::Four), packed(&small, WeightBits::Eight)] {
        let mut backend = cpu(&file, Isa::best(), 1);
        assert_eq!(backend.most_top_k(), 0);
        let x: Vec<f32> = (0..64).map(|i| (i * 37 % 101) as f32 - 50.0).collect();
        let mut all = vec![0.0; file.config().vocab_size];
        backend.linear(Linear::Head, &x, 1, &mut all).unwrap();
        assert_eq!(backend.top_k(&x, 20).unwrap(), sorted((0..).zip(all).collect())[..20]);
    }
}

#[test]
fn a_number_that_is_none_comes_first() {
    let file = packed(&TinySpec { vocab: 1000, ..TinySpec::default() }, WeightBits::Eight);
    let mut backend = cpu(&file, Isa::best(), 2);
    let mut x = vec![1.0; 64];
    x[3] = f32::INFINITY;
    let top = backend.top_k(&x, 5).unwrap();
    assert!(!top[0].1.is_finite(), "{top:?}");
}
