//! Runs every operation of the forward pass once on one thread, between two marks, for `tools/processor-cycles.sh`.
//!
//! The script follows the instructions between the marks and prices them for a Cortex-A53. Each line on standard
//! output is one probe, in the order of the marks: its name and its parameters, which are the loop counts that the cost is
//! a function of.

use std::hint::black_box;

use edgewen_kernels::attention::attention;
use edgewen_kernels::attention::int8::{add_scores, add_values, weigh};
use edgewen_kernels::kv::{KvLayer, KvType};
use edgewen_kernels::rms_norm::rms_norm;
use edgewen_kernels::rope::{RopeTable, rope};
use edgewen_kernels::silu::{add_assign, silu_mul};
use edgewen_kernels::softmax::softmax;
use edgewen_kernels::{Activations, Compute, Dense, DenseType, Isa, RowBlocks, dense_linear, linear};
use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits};

const HEAD_DIM: usize = 64;

#[inline(never)]
fn probe_begin() {
    black_box(1);
}

#[inline(never)]
fn probe_end() {
    black_box(2);
}

/// Runs `work` once to warm up (tables, buffers), then between the marks.
fn probe(name: &str, parameters: &[usize], mut work: impl FnMut()) {
    work();
    probe_begin();
    work();
    probe_end();
    println!("{name} {}", parameters.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
}

fn main() {
    let compute = Compute::new(Isa::best(), 1);
    let noise: Vec<f32> = (0..32 * 1024).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    let mut out = vec![0.0f32; 32 * 1024];
    elements(&compute, &noise, &mut out);
    rotation_and_cache(&compute, &noise);
    queries(&compute, &noise, &mut out);
    steps_of_eight_bits(&compute, &noise, &mut out);
    matrices(&compute, &noise, &mut out);
}

/// Operations that cost so much an element.
fn elements(compute: &Compute, noise: &[f32], out: &mut [f32]) {
    for n in [256, 512, 1024] {
        probe("rms_norm", &[n], || rms_norm(compute, &noise[..n], &noise[..n], 1e-6, &mut out[..n]));
        let mut activations = Activations::new();
        probe("quantize", &[n], || activations.quantize(compute, &noise[..n], 1, n, GroupSize::G64));
        probe("silu_mul", &[n], || silu_mul(compute, &noise[..2 * n], n, &mut out[..n]));
        probe("softmax", &[n], || softmax(compute, &mut out[..n]));
        probe("add", &[n], || add_assign(compute, &mut out[..n], &noise[..n]));
    }
}

/// Heads of 64 elements: rotating them, and appending them to the cache.
fn rotation_and_cache(compute: &Compute, noise: &[f32]) {
    let table = RopeTable::new(HEAD_DIM, &noise[..HEAD_DIM / 2], 1.0, 64);
    let mut x = noise.to_vec();
    for heads in [4, 8, 16] {
        let width = heads * HEAD_DIM;
        probe("rope", &[heads], || rope(compute, &table, &mut x[..width], width, heads, &[17]));
    }
    for (name, kv_type) in [("append_f16", KvType::F16), ("append_int8", KvType::Int8)] {
        for heads in [1, 2, 4] {
            let mut kv = KvLayer::new(kv_type, heads, HEAD_DIM);
            kv.append(compute, noise, &noise[64..], heads * HEAD_DIM, 4);
            probe(name, &[heads], || {
                kv.truncate(4);
                kv.append(compute, noise, &noise[64..], heads * HEAD_DIM, 1);
            });
        }
    }
}

/// Attention of one token: rows (query heads that share keys and values), positions in whole blocks or groups.
fn queries(compute: &Compute, noise: &[f32], out: &mut [f32]) {
    let cases: [(_, _, &[usize], _); 2] = [
        ("attention_f16", KvType::F16, &[1, 2, 3, 4, 6, 7, 8, 16, 28, 32], 32),
        ("attention_int8", KvType::Int8, &[1, 2, 3, 4, 6, 7, 8], 64),
    ];
    for (name, kv_type, all_rows, step) in cases {
        let mut kv = KvLayer::new(kv_type, 1, HEAD_DIM);
        kv.append(compute, noise, &noise[64..], HEAD_DIM, 3 * step);
        for &rows in all_rows {
            for positions in [step, 2 * step, 3 * step] {
                let width = rows * HEAD_DIM;
                probe(name, &[rows, positions], || {
                    attention(compute, &kv, noise, width, rows, 1, positions - 1, &mut out[..width]);
                });
            }
        }
    }
}

/// What is left to the processor where the arrays multiply with keys and values: the softmax of one head over so many
/// positions, and both products of so many heads with the last group of positions.
fn steps_of_eight_bits(compute: &Compute, noise: &[f32], out: &mut [f32]) {
    let mut kv = KvLayer::new(KvType::Int8, 1, HEAD_DIM);
    (0..8).for_each(|_| kv.append(compute, noise, &noise[64..], HEAD_DIM, 128));
    let cache = kv.int8().expect("a cache of eight bits");
    let mut weights = Activations::new();
    for positions in [256, 512, 1024] {
        let mut sum = [0.0];
        probe("weigh", &[positions], || {
            weigh(compute.isa, cache, 0, positions, &mut out[..positions], &mut weights, &mut sum);
        });
    }
    for rows in [2, 4, 7] {
        let mut queries = Activations::new();
        queries.quantize(compute, &noise[..rows * HEAD_DIM], rows, HEAD_DIM, GroupSize::G64);
        probe("add_scores", &[rows], || {
            add_scores(compute.isa, cache, 0, 0..1, &queries, &mut out[..rows * 64], 64);
        });
        probe("add_values", &[rows], || {
            add_values(compute.isa, cache, 0, 0..1, &queries, &mut out[..rows * HEAD_DIM]);
        });
    }
}

/// Matrices: a row of the embedding, rows of a 16-bit head, and the 4-bit blocks of the layers.
fn matrices(compute: &Compute, noise: &[f32], out: &mut [f32]) {
    for inputs in [256, 512, 1024] {
        let shape = RowBlockShape { rows: 16, inputs, group: GroupSize::G64, bits: WeightBits::Four };
        let packed = QuantizedMatrix::zeroed(shape).pack();
        let blocks = RowBlocks::new(shape, &packed).expect("a block of sixteen rows");
        probe("embedding_row", &[inputs], || blocks.dequantize_row(3, &mut out[..inputs]));
        let mut activations = Activations::new();
        activations.quantize(compute, &noise[..inputs], 1, inputs, GroupSize::G64);
        probe("linear_block", &[inputs], || linear(compute, &blocks, &activations, None, &mut out[..16]));
        let data = vec![0u8; 16 * 2 * inputs];
        let dense = Dense { rows: 16, inputs, dtype: DenseType::F16, data: &data };
        probe("dense_f16_16_rows", &[inputs], || {
            dense_linear(compute, &dense, &noise[..inputs], 1, None, &mut out[..16]);
        });
    }
}
