//! Two implementations of one arithmetic: the functional model against the CPU's scalar kernels, bit for bit.
#![allow(clippy::unwrap_used)]

use edgewen_accel::image::Layout;
use edgewen_accel::sim::{Operands, execute};
use edgewen_kernels::{Activations, Compute, Isa, RowBlocks, linear};
use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, SEGMENT_SHAPE, WeightBits, awq_macro};
use half::f16;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng;

/// What the values of a case are drawn from.
struct Case {
    name: &'static str,
    code: fn(u32) -> u8,
    zero: fn(u32) -> u8,
    scale: fn(u32) -> f16,
    activation: fn(u32) -> f32,
}

const ANY_CODE: fn(u32) -> u8 = |r| (r % 16) as u8;
const ANY_SCALE: fn(u32) -> f16 = |r| f16::from_f32((r % 1000) as f32 / 10_000.0);
const ANY_ACTIVATION: fn(u32) -> f32 = |r| (r as f32 / u32::MAX as f32 - 0.5) * 8.0;

const CASES: [Case; 6] = [
    Case { name: "random", code: ANY_CODE, zero: ANY_CODE, scale: ANY_SCALE, activation: ANY_ACTIVATION },
    Case {
        name: "largest dots",
        code: |r| if r.is_multiple_of(2) { 15 } else { 0 },
        zero: |r| if r.is_multiple_of(3) { 15 } else { 0 },
        scale: |_| f16::MAX,
        activation: |r| if r.is_multiple_of(5) { -1.0 } else { 1.0 },
    },
    Case {
        name: "scales of zero and subnormal ones",
        code: ANY_CODE,
        zero: ANY_CODE,
        scale: |r| f16::from_bits((r % 8) as u16),
        activation: |r| ANY_ACTIVATION(r) * 1e-34,
    },
    Case {
        name: "results that overflow",
        code: |_| 15,
        zero: |_| 0,
        scale: |_| f16::MAX,
        activation: |r| f32::MAX * if r.is_multiple_of(2) { 1.0 } else { 0.9 },
    },
    Case {
        name: "infinite activations",
        code: ANY_CODE,
        zero: ANY_CODE,
        scale: ANY_SCALE,
        activation: |r| if r.is_multiple_of(200) { f32::INFINITY } else { ANY_ACTIVATION(r) },
    },
    Case {
        name: "weights that cancel",
        code: |r| 7 + (r % 2) as u8 * 2,
        zero: |_| 8,
        scale: |r| f16::from_f32(if r.is_multiple_of(2) { 1.0 } else { 1e-3 }),
        activation: |r| if r.is_multiple_of(2) { 1.0 } else { -1.0 },
    },
];

fn matrix(case: &Case, shape: RowBlockShape, random: &mut Pcg64Mcg) -> QuantizedMatrix {
    let mut next = || (random.next_u64() >> 32) as u32;
    let mut matrix = QuantizedMatrix::zeroed(shape);
    matrix.codes.fill_with(|| (case.code)(next()));
    matrix.scales.fill_with(|| (case.scale)(next()));
    matrix.zeros.fill_with(|| (case.zero)(next()));
    matrix
}

/// Results [tokens, rows] of the functional model, block by block.
fn of_model(
    layout: Layout,
    bytes: &[u8],
    shape: &RowBlockShape,
    x: &Activations,
    bias: Option<Vec<f32>>,
) -> Vec<u32> {
    let operands = Operands {
        groups: shape.groups(),
        codes: x.q().to_vec(),
        scales: x.scales().to_vec(),
        sums: x.sums().to_vec(),
        bias,
    };
    let block_rows = layout.block_rows();
    let block_bytes = layout.block_beats(shape.groups() as u32) as usize * 16;
    let mut results = vec![0; x.tokens() * shape.rows];
    for (index, block) in bytes.chunks_exact(block_bytes).enumerate() {
        let first = index * block_rows;
        let found = execute(layout, block, &operands, first);
        let rows = block_rows.min(shape.rows - first);
        for token in 0..x.tokens() {
            results[token * shape.rows + first..][..rows]
                .copy_from_slice(&found[token * block_rows..][..rows]);
        }
    }
    results
}

/// The segments of a matrix: for every block of 16 rows one for each group, each a packed 8-bit matrix [16, 64].
fn segments(matrix: &QuantizedMatrix) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in 0..matrix.shape.rows / 16 {
        for group in 0..matrix.shape.groups() {
            let mut segment = QuantizedMatrix::zeroed(SEGMENT_SHAPE);
            for channel in 0..16 {
                let row = block * 16 + channel;
                segment.scales[channel] = matrix.scales[row * matrix.shape.groups() + group];
                segment.zeros[channel] = matrix.zeros[row * matrix.shape.groups() + group];
                let codes = &matrix.codes[row * matrix.shape.inputs + group * 64..][..64];
                segment.codes[channel * 64..][..64].copy_from_slice(codes);
            }
            bytes.extend(segment.pack());
        }
    }
    bytes
}

#[test]
fn segments_give_the_bits_of_an_eight_bit_matrix() {
    let mut random = Pcg64Mcg::new(12);
    let compute = Compute::new(Isa::SCALAR, 1);
    for case in CASES {
        for (rows, inputs, tokens) in [(64, 64, 7), (16, 1024, 8), (32, 192, 1)] {
            let shape = RowBlockShape { rows, inputs, group: GroupSize::G64, bits: WeightBits::Eight };
            let mut matrix = matrix(&case, shape, &mut random);
            matrix.codes.iter_mut().for_each(|code| *code = code.wrapping_mul(17));
            let values: Vec<f32> =
                (0..tokens * inputs).map(|_| (case.activation)((random.next_u64() >> 32) as u32)).collect();
            let mut x = Activations::new();
            x.quantize(&compute, &values, tokens, inputs, GroupSize::G64);
            let packed = matrix.pack();
            let mut expected = vec![0.0; tokens * rows];
            linear(&compute, &RowBlocks::new(shape, &packed).unwrap(), &x, None, &mut expected);
            let expected: Vec<u32> =
                expected.iter().map(|y| if y.is_nan() { 0x7fc0_0000 } else { y.to_bits() }).collect();
            let found = of_model(Layout::Segments, &segments(&matrix), &shape, &x, None);
            assert!(found == expected, "{} [{rows}, {inputs}] x {tokens}", case.name);
        }
    }
}

#[test]
fn the_functional_model_and_the_kernels_give_the_same_bits() {
    let mut random = Pcg64Mcg::new(11);
    let compute = Compute::new(Isa::SCALAR, 1);
    for case in CASES {
        for (rows, inputs, tokens) in [(16, 64, 1), (40, 64, 8), (24, 896, 3), (8, 4864, 1), (56, 200, 8)] {
            let name = format!("{} [{rows}, {inputs}] x {tokens}", case.name);
            let shape = RowBlockShape { rows, inputs, group: GroupSize::G64, bits: WeightBits::Four };
            let matrix = matrix(&case, shape, &mut random);
            let values: Vec<f32> =
                (0..tokens * inputs).map(|_| (case.activation)((random.next_u64() >> 32) as u32)).collect();
            let bias: Vec<f32> =
                (0..rows).map(|_| ANY_ACTIVATION((random.next_u64() >> 32) as u32)).collect();
            let mut x = Activations::new();
            x.quantize(&compute, &values, tokens, inputs, GroupSize::G64);
            let packed = matrix.pack();
            let macros = awq_macro::pack(&matrix).unwrap();
            for bias in [None, Some(bias)] {
                let mut expected = vec![0.0; tokens * rows];
                let blocks = RowBlocks::new(shape, &packed).unwrap();
                linear(&compute, &blocks, &x, bias.as_deref(), &mut expected);
                let expected: Vec<u32> =
                    expected.iter().map(|y| if y.is_nan() { 0x7fc0_0000 } else { y.to_bits() }).collect();
                for (layout, bytes) in [(Layout::RowBlocks, &packed), (Layout::AwqMacro, &macros)] {
                    let found = of_model(layout, bytes, &shape, &x, bias.clone());
                    assert!(found == expected, "{name}, {layout:?}, bias {}", bias.is_some());
                }
            }
        }
    }
}
