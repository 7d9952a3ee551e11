//! Every instruction set, thread count and number of tokens gives the bits of the definition.
#![allow(clippy::unwrap_used)]

mod support;

use edgewen_kernels::{Activations, Compute, Isa, RowBlocks, linear, linear_blocks};
use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits};
use half::f16;
use support::{Rng, activations_of, assert_same_bits, random_matrix, random_vector};

const GROUPS: [GroupSize; 3] = [GroupSize::G32, GroupSize::G64, GroupSize::G128];
const BITS: [WeightBits; 3] = [WeightBits::Four, WeightBits::Eight, WeightBits::EightSegments];

/// The definition, in plain loops over the plain form of the matrix: [tokens, rows].
fn reference(matrix: &QuantizedMatrix, x: &[f32], tokens: usize, bias: Option<&[f32]>) -> Vec<f32> {
    let RowBlockShape { rows, inputs, group, bits } = matrix.shape;
    let groups = matrix.shape.groups();
    let mut out = vec![0.0; tokens * rows];
    for token in 0..tokens {
        let x = &x[token * inputs..][..inputs];
        for row in 0..rows {
            let mut acc = 0.0_f32;
            for g in 0..groups {
                let range = g * group.get()..inputs.min((g + 1) * group.get());
                let (codes, scale) = activations_of(&x[range.clone()]);
                let (weights, zero) = (&matrix.codes[row * inputs..][range], matrix.zeros[row * groups + g]);
                let mut step = matrix.scales[row * groups + g].to_f32();
                let mut zero = i64::from(zero);
                if bits != WeightBits::Four {
                    (step, zero) = (step / 16.0, zero * 16);
                }
                let dot: i64 =
                    weights.iter().zip(&codes).map(|(&w, &q)| (i64::from(w) - zero) * i64::from(q)).sum();
                acc += dot as f32 * (step * scale);
            }
            out[token * rows + row] = bias.map_or(acc, |bias| acc + bias[row]);
        }
    }
    out
}

fn run(
    c: &Compute,
    matrix: &QuantizedMatrix,
    packed: &[u8],
    x: &[f32],
    tokens: usize,
    bias: Option<&[f32]>,
) -> Vec<f32> {
    let mut activations = Activations::new();
    activations.quantize(c, x, tokens, matrix.shape.inputs, matrix.shape.group);
    let mut out = vec![f32::NAN; tokens * matrix.shape.rows];
    linear(c, &RowBlocks::new(matrix.shape, packed).unwrap(), &activations, bias, &mut out);
    out
}

fn computes() -> Vec<Compute> {
    let mut all = Vec::new();
    for isa in Isa::available() {
        for threads in 1..=3 {
            all.push(Compute::new(isa, threads));
        }
    }
    all
}

/// Each compute against the definition.
fn check(computes: &[Compute], matrix: &QuantizedMatrix, x: &[f32], tokens: usize, bias: Option<&[f32]>) {
    let packed = matrix.pack();
    let expected = reference(matrix, x, tokens, bias);
    for c in computes {
        let what = format!("{:?}, {tokens} tokens, {}, {:?}", matrix.shape, c.isa, c.pool);
        assert_same_bits(&run(c, matrix, &packed, x, tokens, bias), &expected, &what);
    }
}

#[test]
fn odd_shapes_give_the_bits_of_the_definition() {
    let computes = computes();
    let mut rng = Rng::new(1);
    for rows in [1, 7, 16, 17, 33, 48] {
        for inputs in [1, 5, 63, 64, 65, 172, 192, 896] {
            for group in GROUPS {
                for bits in BITS {
                    let matrix = random_matrix(&mut rng, RowBlockShape { rows, inputs, group, bits });
                    let bias = random_vector(&mut rng, rows);
                    for tokens in [0, 1, 2, 7, 8, 9, 17, 31] {
                        let x = random_vector(&mut rng, tokens * inputs);
                        check(&computes, &matrix, &x, tokens, Some(&bias));
                    }
                }
            }
        }
    }
}

#[test]
fn a_bias_may_be_missing() {
    let mut rng = Rng::new(2);
    let shape = RowBlockShape { rows: 20, inputs: 96, group: GroupSize::G64, bits: WeightBits::Four };
    let matrix = random_matrix(&mut rng, shape);
    let x = random_vector(&mut rng, 11 * 96);
    check(&computes(), &matrix, &x, 11, None);
}

#[test]
fn extremes_neither_saturate_nor_overflow() {
    let computes = computes();
    for group in GROUPS {
        for bits in BITS {
            let shape = RowBlockShape { rows: 32, inputs: 256, group, bits };
            let greatest = if bits == WeightBits::Four { 15 } else { 255 };
            for (code, zero) in [(0, 0), (0, 15), (greatest, 0), (greatest, 15)] {
                for scale in [0x0000, 0x0001, 0x03ff, 0x3c00, 0x7bff].map(f16::from_bits) {
                    let mut matrix = QuantizedMatrix::zeroed(shape);
                    matrix.codes.fill(code);
                    matrix.zeros.fill(zero);
                    matrix.scales.fill(scale);
                    for magnitude in [127.0, -127.0, 0.0, f32::MIN_POSITIVE, 1e-40, 1e-37, 4e-37, 3e38] {
                        check(&computes, &matrix, &[magnitude; 256], 1, None);
                        check(&computes, &matrix, &[magnitude; 256 * 16], 16, None);
                    }
                }
            }
        }
    }
}

#[test]
fn a_group_of_zeros_adds_nothing() {
    let mut rng = Rng::new(3);
    let shape = RowBlockShape { rows: 16, inputs: 192, group: GroupSize::G64, bits: WeightBits::Four };
    let matrix = random_matrix(&mut rng, shape);
    let mut x = random_vector(&mut rng, 192);
    x[64..128].fill(0.0);
    check(&computes(), &matrix, &x, 1, None);
}

#[test]
fn the_result_of_a_token_does_not_depend_on_its_neighbors() {
    let mut rng = Rng::new(4);
    let shape = RowBlockShape { rows: 1152, inputs: 896, group: GroupSize::G64, bits: WeightBits::Four };
    let matrix = random_matrix(&mut rng, shape);
    let packed = matrix.pack();
    let x = random_vector(&mut rng, 40 * 896);
    for c in computes() {
        let together = run(&c, &matrix, &packed, &x, 40, None);
        for token in 0..40 {
            let alone = run(&c, &matrix, &packed, &x[token * 896..][..896], 1, None);
            assert_same_bits(&together[token * 1152..][..1152], &alone, &format!("token {token}, {}", c.isa));
        }
    }
}

#[test]
fn quantized_activations_are_the_same_on_every_instruction_set() {
    let mut rng = Rng::new(5);
    for inputs in [1, 15, 16, 17, 64, 100, 896] {
        for group in GROUPS {
            let x = random_vector(&mut rng, 5 * inputs);
            for c in computes() {
                let mut activations = Activations::new();
                activations.quantize(&c, &x, 5, inputs, group);
                let groups = inputs.div_ceil(group.get());
                for (g, q) in activations.q().chunks(group.get()).enumerate() {
                    let (token, start) = (g / groups, g % groups * group.get());
                    let end = inputs.min(start + group.get());
                    let (codes, scale) = activations_of(&x[token * inputs + start..token * inputs + end]);
                    assert_eq!(q[..codes.len()], codes, "{} inputs {inputs}", c.isa);
                    assert!(q[codes.len()..].iter().all(|&q| q == 0));
                    assert_eq!(activations.scales()[g].to_bits(), scale.to_bits());
                    assert_eq!(activations.sums()[g], codes.iter().map(|&q| i32::from(q)).sum::<i32>());
                }
            }
        }
    }
}

#[test]
fn a_single_token_is_quantized_as_one_of_many() {
    let mut rng = Rng::new(7);
    let inputs = 2500;
    let x = random_vector(&mut rng, 2 * inputs);
    for (c, group) in computes().iter().flat_map(|c| GROUPS.map(|group| (c, group))) {
        let (mut both, mut one) = (Activations::new(), Activations::new());
        both.quantize(c, &x, 2, inputs, group);
        one.quantize(c, &x[..inputs], 1, inputs, group);
        let groups = inputs.div_ceil(group.get());
        assert_eq!(one.q(), &both.q()[..groups * group.get()]);
        assert_eq!(one.scales(), &both.scales()[..groups]);
        assert_eq!(one.sums(), &both.sums()[..groups]);
    }
}

#[test]
fn values_that_are_not_finite_are_the_same_on_every_instruction_set() {
    let mut rng = Rng::new(6);
    let mut x = random_vector(&mut rng, 128);
    (x[3], x[40], x[70], x[127]) = (f32::NAN, f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    let mut expected = Activations::new();
    expected.quantize(&Compute::new(Isa::SCALAR, 1), &x, 1, 128, GroupSize::G64);
    for c in computes() {
        let mut found = Activations::new();
        found.quantize(&c, &x, 1, 128, GroupSize::G64);
        assert_eq!(found.q(), expected.q(), "{}", c.isa);
        assert_eq!(found.scales(), expected.scales(), "{}", c.isa);
    }
}

#[test]
fn memory_is_reused_for_another_shape() {
    let c = Compute::new(Isa::best(), 1);
    let mut activations = Activations::new();
    activations.quantize(&c, &[1.0; 130], 1, 130, GroupSize::G64);
    activations.quantize(&c, &[1.0; 65 * 2], 2, 65, GroupSize::G64);
    assert_eq!((activations.q().len(), activations.sums()), (256, &[64 * 127, 127, 64 * 127, 127][..]));
}

#[test]
fn a_matrix_of_another_length_is_refused() {
    let shape = RowBlockShape { rows: 16, inputs: 64, group: GroupSize::G64, bits: WeightBits::Four };
    let error = RowBlocks::new(shape, &[0; 600]).unwrap_err().to_string();
    assert_eq!(error, "packed matrix of 600 bytes, expected 576");
    let huge = RowBlockShape { rows: usize::MAX, ..shape };
    assert!(RowBlocks::new(huge, &[]).unwrap_err().to_string().contains("more than memory"));
}

#[test]
fn a_row_is_dequantized_from_packed_bytes() {
    let mut rng = Rng::new(7);
    let shape = RowBlockShape { rows: 17, inputs: 70, group: GroupSize::G32, bits: WeightBits::Eight };
    let matrix = random_matrix(&mut rng, shape);
    let packed = matrix.pack();
    let (mut found, mut expected) = (vec![0.0; 70], vec![0.0; 70]);
    RowBlocks::new(shape, &packed).unwrap().dequantize_row(16, &mut found);
    matrix.dequantize_row(16, &mut expected);
    assert_same_bits(&found, &expected, "row 16");
}

#[test]
fn some_blocks_are_computed_and_the_others_left_alone() {
    let mut rng = Rng::new(9);
    let shape = RowBlockShape { rows: 75, inputs: 130, group: GroupSize::G64, bits: WeightBits::Eight };
    let matrix = random_matrix(&mut rng, shape);
    let packed = matrix.pack();
    let weights = RowBlocks::new(shape, &packed).unwrap();
    for isa in Isa::available() {
        for threads in [1, 3] {
            let c = Compute::new(isa, threads);
            let x: Vec<f32> = (0..2 * 130).map(|i| (i * 37 % 101) as f32 - 50.0).collect();
            let mut activations = Activations::new();
            activations.quantize(&c, &x, 2, 130, GroupSize::G64);
            let mut whole = vec![0.0; 150];
            linear(&c, &weights, &activations, None, &mut whole);
            for blocks in [&[][..], &[0], &[1, 4], &[0, 1, 2, 3, 4]] {
                let mut some = vec![-1.0; 150];
                linear_blocks(&c, &weights, &activations, None, blocks, &mut some);
                for (at, value) in some.iter().enumerate() {
                    let expected = if blocks.contains(&(at % 75 / 16)) { whole[at] } else { -1.0 };
                    assert_eq!(value.to_bits(), expected.to_bits(), "{isa}, blocks {blocks:?}, result {at}");
                }
            }
        }
    }
    let high = weights.high_plane().unwrap();
    assert_eq!((high.shape().bits, high.shape().rows), (WeightBits::Four, 75));
    assert!(high.high_plane().is_none());
}

#[test]
#[should_panic(expected = "ascend")]
fn a_block_that_is_named_twice_is_refused() {
    let shape = RowBlockShape { rows: 32, inputs: 64, group: GroupSize::G64, bits: WeightBits::Four };
    let packed = vec![0; shape.total_bytes()];
    let (c, mut activations) = (Compute::new(Isa::best(), 1), Activations::new());
    activations.quantize(&c, &[0.0; 64], 1, 64, GroupSize::G64);
    let weights = RowBlocks::new(shape, &packed).unwrap();
    linear_blocks(&c, &weights, &activations, None, &[1, 1], &mut [0.0; 32]);
}
