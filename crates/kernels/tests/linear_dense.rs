//! 16-bit and 32-bit matrices give the bits of the definition on every instruction set.
#![allow(clippy::unwrap_used)]

mod support;

use edgewen_kernels::{Compute, Dense, DenseType, Isa, dense_linear};
use half::{bf16, f16};
use support::{Rng, assert_same_bits, random_vector};

/// Sixteen lanes, then the tree.
fn dot(w: &[f32], x: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    for (i, (w, x)) in w.iter().zip(x).enumerate() {
        lanes[i % 16] += x * w;
    }
    for width in [8, 4, 2, 1] {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// The bytes of the weights, and their values.
fn stored(dtype: DenseType, weights: &[f32]) -> (Vec<u8>, Vec<f32>) {
    let store = |w: f32| match dtype {
        DenseType::F16 => (f16::from_f32(w).to_le_bytes().to_vec(), f16::from_f32(w).to_f32()),
        DenseType::Bf16 => (bf16::from_f32(w).to_le_bytes().to_vec(), bf16::from_f32(w).to_f32()),
        DenseType::F32 => (w.to_le_bytes().to_vec(), w),
    };
    let (bytes, values): (Vec<_>, Vec<_>) = weights.iter().copied().map(store).unzip();
    (bytes.concat(), values)
}

#[test]
fn odd_shapes_give_the_bits_of_the_definition() {
    let mut rng = Rng::new(1);
    let computes: Vec<_> = Isa::available()
        .into_iter()
        .flat_map(|isa| [1, 3].map(|threads| Compute::new(isa, threads)))
        .collect();
    for dtype in [DenseType::F16, DenseType::Bf16, DenseType::F32] {
        for rows in [1, 3, 4, 5, 17, 150] {
            for inputs in [1, 15, 16, 17, 64, 100, 896] {
                let (data, weights) = stored(dtype, &random_vector(&mut rng, rows * inputs));
                let bias = random_vector(&mut rng, rows);
                for tokens in [0, 1, 3, 4, 5, 9] {
                    let x = random_vector(&mut rng, tokens * inputs);
                    for bias in [None, Some(&bias[..])] {
                        let mut expected = Vec::new();
                        for x in x.chunks(inputs) {
                            for (row, w) in weights.chunks(inputs).enumerate() {
                                let sum = dot(w, x);
                                expected.push(bias.map_or(sum, |bias| sum + bias[row]));
                            }
                        }
                        for c in &computes {
                            let w = Dense { rows, inputs, dtype, data: &data };
                            let mut out = vec![f32::NAN; tokens * rows];
                            dense_linear(c, &w, &x, tokens, bias, &mut out);
                            let what = format!("{dtype:?} [{rows}, {inputs}], {tokens} tokens, {}", c.isa);
                            assert_same_bits(&out, &expected, &what);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn every_half_has_the_same_value_on_every_instruction_set() {
    // All bit patterns but those of NaN, whose payload is nobody's promise.
    let patterns: Vec<u16> = (0..=u16::MAX).filter(|&bits| !f16::from_bits(bits).is_nan()).collect();
    let data: Vec<u8> = patterns.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let expected: Vec<f32> = patterns.iter().map(|&bits| 0.0 + f16::from_bits(bits).to_f32()).collect();
    for isa in Isa::available() {
        let c = Compute::new(isa, 1);
        let w = Dense { rows: patterns.len(), inputs: 1, dtype: DenseType::F16, data: &data };
        let mut out = vec![f32::NAN; patterns.len()];
        dense_linear(&c, &w, &[1.0], 1, None, &mut out);
        assert_same_bits(&out, &expected, isa.name());
    }
}
