//! The position of every bit, sizes, and the round trip.
#![allow(clippy::unwrap_used)]

use edgewen_layout::{
    GroupSize, QuantizedMatrix, RowBlockShape, SEGMENT_BYTES, SEGMENT_SHAPE, WeightBits, dequantize_row,
};
use half::f16;
use proptest::prelude::*;

fn shape(rows: usize, inputs: usize, group: GroupSize, bits: WeightBits) -> RowBlockShape {
    RowBlockShape { rows, inputs, group, bits }
}

#[test]
fn sizes_are_those_of_the_document() {
    let qkv = shape(1152, 896, GroupSize::G64, WeightBits::Four);
    assert_eq!((qkv.groups(), qkv.blocks()), (14, 72));
    assert_eq!(qkv.header_bytes(), 576); // 14 * 40 = 560, padded
    assert_eq!(qkv.places(0).zeros.first, 448);
    assert_eq!(qkv.block_bytes(), 576 + 14 * 512);
    assert_eq!(qkv.total_bytes(), 72 * 7744);
    let down = shape(896, 4864, GroupSize::G64, WeightBits::Four);
    assert_eq!((down.header_bytes(), down.block_bytes()), (3072, 3072 + 76 * 512));
    let eight = shape(17, 65, GroupSize::G32, WeightBits::Eight);
    assert_eq!((eight.groups(), eight.blocks(), eight.padded_inputs()), (3, 2, 96));
    assert_eq!((eight.header_bytes(), eight.plane_bytes()), (128, 768));
    assert_eq!((eight.low_plane_offset(), eight.total_bytes()), (2 * 896, 2 * 896 + 2 * 768));
}

#[test]
fn a_matrix_of_segments_is_one_segment_after_the_other() {
    let mut matrix = QuantizedMatrix::zeroed(shape(33, 130, GroupSize::G64, WeightBits::EightSegments));
    matrix.codes.iter_mut().enumerate().for_each(|(i, code)| *code = (i * 89 % 256) as u8);
    matrix.zeros.iter_mut().enumerate().for_each(|(i, zero)| *zero = (i % 16) as u8);
    matrix.scales.iter_mut().enumerate().for_each(|(i, scale)| *scale = f16::from_f32(i as f32 / 8.0));
    let packed = matrix.pack();
    // 3 blocks of 3 groups; the last of both are padded.
    assert_eq!(packed.len(), 9 * SEGMENT_BYTES);
    for (at, segment) in packed.chunks_exact(SEGMENT_BYTES).enumerate() {
        let (block, group) = (at / 3, at % 3);
        let part = QuantizedMatrix::unpack(SEGMENT_SHAPE, segment);
        for channel in 0..16 {
            let row = block * 16 + channel;
            if row < 33 {
                assert_eq!(part.scales[channel], matrix.scales[row * 3 + group]);
                assert_eq!(part.zeros[channel], matrix.zeros[row * 3 + group]);
            }
            for input in 0..64 {
                let (code, column) = (part.codes[channel * 64 + input], group * 64 + input);
                let expected = match (row < 33, column < 130) {
                    (true, true) => matrix.codes[row * 130 + column],
                    (true, false) => 16 * matrix.zeros[row * 3 + group],
                    _ => 0,
                };
                assert_eq!(code, expected, "row {row}, input {column}");
            }
        }
    }
}

#[test]
fn the_model_of_half_a_billion_weights_fits_its_budget() {
    let layer = [[1152, 896], [896, 896], [9728, 896], [896, 4864]];
    let bytes = |[n, k]: [usize; 2]| shape(n, k, GroupSize::G64, WeightBits::Four).total_bytes();
    let total = 24 * layer.map(bytes).iter().sum::<usize>() + bytes([151_936, 896]);
    assert_eq!(total, 266_753_536);
}

#[test]
fn an_impossible_size_is_none() {
    assert_eq!(shape(16, 64, GroupSize::G64, WeightBits::Four).try_total_bytes(), Some(576));
    for (rows, inputs) in [(usize::MAX, 1), (1, usize::MAX), (1 << 40, 1 << 40)] {
        assert_eq!(shape(rows, inputs, GroupSize::G64, WeightBits::Eight).try_total_bytes(), None);
    }
}

#[test]
fn every_bit_lies_where_the_document_says() {
    // (row, input, byte of the matrix, shift), written out by hand for [33, 128] in groups of 64:
    // header 2 * 40 = 80 B padded to 128, weights 1024 B, block 1152 B.
    let places = [
        (0, 0, 128, 0),                             // line 0, channel 0, j = 0
        (0, 3, 131, 0),                             // j = 3
        (0, 4, 128, 4),                             // the high nibble of j = 0
        (0, 7, 131, 4),                             // the last input of the line
        (0, 8, 128 + 64, 0),                        // line 1
        (1, 0, 132, 0),                             // channel 1: four bytes on
        (15, 7, 128 + 63, 4),                       // the last nibble of line 0
        (3, 13, 128 + 64 + 12 + 1, 4),              // 13 = 8 + 4 + 1
        (15, 63, 128 + 7 * 64 + 63, 4),             // the end of the first group
        (0, 64, 128 + 512, 0),                      // the second group
        (16, 0, 1152 + 128, 0),                     // the second block
        (32, 127, 2 * 1152 + 128 + 15 * 64 + 3, 4), // the last row: line 15 of the third block
    ];
    for (row, input, byte, shift) in places {
        let mut matrix = QuantizedMatrix::zeroed(shape(33, 128, GroupSize::G64, WeightBits::Four));
        matrix.codes[row * 128 + input] = 0xb;
        let mut expected = vec![0; 3 * 1152];
        expected[byte] = 0xb << shift;
        assert_eq!(matrix.pack(), expected, "row {row}, input {input}");
    }
}

#[test]
fn scales_and_zero_points_lie_where_the_document_says() {
    // Channel, group, byte of the scale, byte and shift of the zero point within the block.
    let places =
        [(0, 0, 0, 64, 0), (1, 0, 2, 64, 4), (15, 0, 30, 71, 4), (0, 1, 32, 72, 0), (14, 1, 60, 79, 0)];
    for (channel, group, scale, zero, shift) in places {
        let mut matrix = QuantizedMatrix::zeroed(shape(32, 128, GroupSize::G64, WeightBits::Four));
        let row = 16 + channel;
        matrix.scales[row * 2 + group] = f16::from_bits(0x3456);
        matrix.zeros[row * 2 + group] = 0xd;
        let mut expected = vec![0; 2 * 1152];
        expected[1152 + scale] = 0x56;
        expected[1152 + scale + 1] = 0x34;
        expected[1152 + zero] = 0xd << shift;
        assert_eq!(matrix.pack(), expected, "channel {channel}, group {group}");
    }
}

#[test]
fn the_low_plane_follows_without_headers() {
    let mut matrix = QuantizedMatrix::zeroed(shape(17, 32, GroupSize::G32, WeightBits::Eight));
    matrix.codes[16 * 32 + 5] = 0xa7; // row 16, input 5: second block, line 0, byte 1, high nibble
    let mut expected = vec![0; 2 * (64 + 256) + 2 * 256];
    expected[320 + 64 + 1] = 0xa0;
    expected[640 + 256 + 1] = 0x70;
    assert_eq!(matrix.pack(), expected);
}

#[test]
fn padding_inputs_hold_the_zero_point() {
    let mut matrix = QuantizedMatrix::zeroed(shape(1, 33, GroupSize::G32, WeightBits::Eight));
    matrix.zeros = vec![3, 9];
    let data = matrix.pack();
    let (header, lines) = data[..128 + 512].split_at(128);
    assert_eq!((header[64], header[72]), (3, 9));
    assert_eq!(lines[256..260], [0x90, 0x99, 0x99, 0x99]); // input 32 is real, 33..39 are padding
    assert_eq!(lines[320..324], [0x99; 4]);
    assert!(data[640..].iter().all(|&byte| byte == 0), "the low plane's padding is zero");
}

#[test]
fn weights_are_rounded_once() {
    let mut matrix = QuantizedMatrix::zeroed(shape(1, 32, GroupSize::G32, WeightBits::Four));
    matrix.scales[0] = f16::from_f32(0.1);
    matrix.zeros[0] = 7;
    matrix.codes[..3].copy_from_slice(&[0, 7, 15]);
    let mut out = [1.0; 32];
    matrix.dequantize_row(0, &mut out);
    let scale = f16::from_f32(0.1).to_f32();
    assert_eq!(out[..4], [-7.0 * scale, 0.0, 8.0 * scale, -7.0 * scale]);
    matrix.shape.bits = WeightBits::Eight;
    matrix.codes[0] = 7 * 16 + 5;
    matrix.dequantize_row(0, &mut out);
    assert_eq!(out[0], 5.0 * (scale / 16.0));
}

fn matrices() -> impl Strategy<Value = QuantizedMatrix> {
    let groups = prop_oneof![Just(GroupSize::G32), Just(GroupSize::G64), Just(GroupSize::G128)];
    let bits = prop_oneof![Just(WeightBits::Four), Just(WeightBits::Eight), Just(WeightBits::EightSegments)];
    (0..40_usize, 0..200_usize, groups, bits).prop_flat_map(|(rows, inputs, group, bits)| {
        let shape = shape(rows, inputs, group, bits);
        let greatest = if bits == WeightBits::Four { 15_u8 } else { 255 };
        let per_group = rows * shape.groups();
        (
            prop::collection::vec(0..=greatest, rows * inputs),
            prop::collection::vec(0..0x7c00_u16, per_group),
            prop::collection::vec(0..16_u8, per_group),
        )
            .prop_map(move |(codes, scales, zeros)| QuantizedMatrix {
                shape,
                codes,
                scales: scales.into_iter().map(f16::from_bits).collect(),
                zeros,
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn packing_round_trips(matrix in matrices()) {
        let data = matrix.pack();
        prop_assert_eq!(data.len(), matrix.shape.try_total_bytes().unwrap());
        let unpacked = QuantizedMatrix::unpack(matrix.shape, &data);
        prop_assert_eq!(&unpacked, &matrix);
        let inputs = matrix.shape.inputs;
        let (mut plain, mut packed) = (vec![0.0; inputs], vec![0.0; inputs]);
        for row in 0..matrix.shape.rows {
            matrix.dequantize_row(row, &mut plain);
            dequantize_row(&matrix.shape, &data, row, &mut packed);
            prop_assert_eq!(&plain, &packed);
        }
    }
}
