//! Files whose layers differ in bits and column order: what they compute, and that it is the same bits everywhere.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use edgewen_engine::{Backend, CpuBackend, Linear};
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, WeightBits, dequantize_row};
use edgewen_model::Checkpoint;
use edgewen_model::packed::PackedFile;
use edgewen_testing::conformance::{TOKENS, conformance, logits, token_ids};
use edgewen_testing::rtn::{Head, Mix, column_order, pack_mixed};
use edgewen_testing::{TinySpec, tiny_checkpoint};

/// Two layers with all four matrices in both numbers of bits, some of each with another column order; the inputs of
/// `down` are no multiple of a group.
const MIX: Mix<'static> = Mix {
    eight: &["0.qkv", "0.down", "1.o", "1.gate_up"],
    ordered: &["0.qkv", "0.o", "1.gate_up", "1.down"],
};

fn spec() -> TinySpec {
    TinySpec { hidden: 128, intermediate: 200, seed: 11, ..TinySpec::default() }
}

fn packed(mix: Mix<'_>) -> Arc<PackedFile> {
    let folder = tiny_checkpoint(&spec());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let head = Head::Bits(WeightBits::Eight);
    Arc::new(pack_mixed(&checkpoint, GroupSize::G64, head, mix, &folder.path().join("mixed.ewn")))
}

fn cpu(file: &Arc<PackedFile>, isa: Isa, threads: usize) -> CpuBackend {
    CpuBackend::new(file.clone(), Compute::new(isa, threads), KvType::F16).unwrap()
}

#[test]
fn every_matrix_multiplies_as_it_is_stored() {
    let file = packed(MIX);
    let mut backend = cpu(&file, Isa::best(), 2);
    let config = file.config().clone();
    for layer in 0..config.layers {
        let matrices = [
            (Linear::Qkv(layer), "qkv"),
            (Linear::O(layer), "o"),
            (Linear::GateUp(layer), "gate_up"),
            (Linear::Down(layer), "down"),
        ];
        for (linear, part) in matrices {
            let name = format!("layers.{layer}.{part}");
            let (shape, data) = file.matrix(&name).unwrap();
            assert_eq!(shape.bits.count() == 8, MIX.eight.iter().any(|end| name.ends_with(end)), "{name}");
            let order = file.order(&name).unwrap();
            assert_eq!(order.is_some(), MIX.ordered.iter().any(|end| name.ends_with(end)), "{name}");
            let order = order.unwrap_or_else(|| (0..shape.inputs as u32).collect());
            // Numbers that quantization to eight bits keeps: integers, and the largest one in every group.
            let x: Vec<f32> = (0..shape.inputs)
                .map(|i| if i % 3 == 0 { 127.0 } else { ((i * 29) % 255) as f32 - 127.0 })
                .collect();
            let mut found = vec![0.0; 2 * shape.rows];
            backend.linear(linear, &[x.clone(), x.clone()].concat(), 2, &mut found).unwrap();
            let bias = match part {
                "qkv" => file.vector(&format!("{name}_bias")).unwrap(),
                _ => vec![0.0; shape.rows],
            };
            let mut row = vec![0.0; shape.inputs];
            for n in 0..shape.rows {
                dequantize_row(&shape, data, n, &mut row);
                let products = row.iter().zip(&order).map(|(w, &i)| f64::from(*w) * f64::from(x[i as usize]));
                let (sum, size) = products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + f64::abs(p)));
                let expected = sum + f64::from(bias[n]);
                for token in 0..2 {
                    let found = f64::from(found[token * shape.rows + n]);
                    assert!((found - expected).abs() <= 1e-6 * size, "{name} row {n}: {found}, {expected}");
                }
            }
        }
    }
}

#[test]
fn instruction_sets_threads_and_pieces_give_the_same_bits() {
    let file = packed(MIX);
    let tokens = token_ids(TOKENS, spec().vocab, 7);
    let expected = logits(&mut cpu(&file, Isa::SCALAR, 1), &tokens, TOKENS);
    for isa in Isa::available() {
        for threads in 1..=3 {
            for piece in [TOKENS, 17, 3, 1] {
                let found = logits(&mut cpu(&file, isa, threads), &tokens, piece);
                let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{isa}, {threads} threads, pieces of {piece}");
            }
        }
    }
}

#[test]
fn conforms() {
    let file = packed(MIX);
    conformance(&|| Box::new(cpu(&file, Isa::best(), 2)));
}

#[test]
fn eight_bits_side_by_side_compute_what_they_do_apart() {
    // The two orders of eight bits, a segment's and a row block's, hold the same numbers.
    let file = packed(Mix { eight: &["qkv", "o", "gate_up", "down"], ..Mix::default() });
    let mut backend = cpu(&file, Isa::best(), 2);
    for (linear, name) in [(Linear::O(0), "layers.0.o"), (Linear::Down(1), "layers.1.down")] {
        let (mut shape, data) = file.matrix(name).unwrap();
        let mut matrix = edgewen_layout::QuantizedMatrix::unpack(shape, data);
        shape.bits = WeightBits::Eight;
        matrix.shape = shape;
        let apart = matrix.pack();
        let blocks = edgewen_kernels::RowBlocks::new(shape, &apart).unwrap();
        for tokens in [1, 5, 16, 40] {
            let x: Vec<f32> =
                (0..tokens * shape.inputs).map(|i| ((i * 37 % 101) as f32 - 50.0) / 7.0).collect();
            let mut found = vec![0.0; tokens * shape.rows];
            backend.linear(linear, &x, tokens, &mut found).unwrap();
            let compute = Compute::new(Isa::best(), 1);
            let mut activations = edgewen_kernels::Activations::new();
            activations.quantize(&compute, &x, tokens, shape.inputs, shape.group);
            let mut expected = vec![0.0; tokens * shape.rows];
            edgewen_kernels::linear(&compute, &blocks, &activations, None, &mut expected);
            assert!(found == expected, "{name}, {tokens} tokens");
        }
    }
}

#[test]
fn a_column_order_that_is_none_is_refused_by_name() {
    let folder = tiny_checkpoint(&spec());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let path = folder.path().join("mixed.ewn");
    let file = pack_mixed(&checkpoint, GroupSize::G64, Head::Sixteen, MIX, &path);
    let entry = file.entry("layers.1.down_order").unwrap();
    let (offset, inputs) = (entry.offset as usize, entry.shape[0]);
    assert_eq!(file.order("layers.1.down").unwrap(), Some(column_order(inputs)));
    let good = std::fs::read(&path).unwrap();
    for (value, problem) in
        [(inputs as u32, "expected an input below 200"), (column_order(inputs)[9], "twice")]
    {
        let mut bytes = good.clone();
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let file = Arc::new(PackedFile::open(&path).unwrap());
        let error =
            CpuBackend::new(file, Compute::new(Isa::best(), 1), KvType::F16).err().unwrap().to_string();
        assert!(error.contains("layers.1.down_order") && error.contains(problem), "{error}");
    }
}
