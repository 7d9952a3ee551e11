//! AWQ_MACRO: the position of every bit, what cannot be written, and the round trip.
#![allow(clippy::unwrap_used)]

use edgewen_layout::awq_macro::{MACRO_BYTES, MacroError, pack, pack_rows, total_bytes, unpack};
use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits};
use half::f16;
use proptest::prelude::*;

fn zeroed(rows: usize, inputs: usize) -> QuantizedMatrix {
    QuantizedMatrix::zeroed(RowBlockShape { rows, inputs, group: GroupSize::G64, bits: WeightBits::Four })
}

#[test]
fn a_macro_computed_by_hand() {
    let mut matrix = zeroed(8, 64);
    // Channel c has zero point c + 1 and scale 2^-c; input 0 has codes 8 to 15, input 63 the code 3 in channel 5 only.
    for channel in 0..8 {
        matrix.zeros[channel] = channel as u8 + 1;
        matrix.scales[channel] = f16::from_f32(0.5_f32.powi(channel as i32));
        matrix.codes[channel * 64] = channel as u8 + 8;
    }
    matrix.codes[5 * 64 + 63] = 3;
    let mut expected = [0_u8; MACRO_BYTES];
    // Nibbles 0 to 7 hold channels 0, 2, 4, 6, 1, 3, 5, 7: the word 0x86427531, lowest byte first.
    expected[..4].copy_from_slice(&[0x31, 0x75, 0x42, 0x86]);
    // 2^-c is (15 - c) << 10.
    expected[16..32].copy_from_slice(&[
        0x00, 0x3c, 0x00, 0x38, 0x00, 0x34, 0x00, 0x30, 0x00, 0x2c, 0x00, 0x28, 0x00, 0x24, 0x00, 0x20,
    ]);
    // Codes 8, 10, 12, 14, 9, 11, 13, 15.
    expected[32..36].copy_from_slice(&[0xa8, 0xec, 0xb9, 0xfd]);
    // Channel 5 is nibble 6: bits 27:24.
    expected[284..].copy_from_slice(&[0, 0, 0, 0x03]);
    assert_eq!(pack(&matrix).unwrap(), expected);
    assert_eq!(unpack(8, 64, &expected).unwrap(), matrix);
}

#[test]
fn macros_run_along_the_inputs_of_eight_channels() {
    // (row, input, macro, word of the macro, shift)
    let places = [
        (0, 0, 0, 8, 0),
        (1, 0, 0, 8, 16),
        (2, 0, 0, 8, 4),
        (3, 0, 0, 8, 20),
        (7, 0, 0, 8, 28),
        (0, 63, 0, 71, 0),
        (0, 64, 1, 8, 0),
        (7, 191, 2, 71, 28),
        (8, 0, 3, 8, 0),
        (22, 100, 7, 8 + 36, 12),
    ];
    for (row, input, index, word, shift) in places {
        let mut matrix = zeroed(24, 192);
        matrix.codes[row * 192 + input] = 0xb;
        let mut expected = vec![0_u8; 9 * MACRO_BYTES];
        expected[index * MACRO_BYTES + 4 * word..][..4].copy_from_slice(&(0xb_u32 << shift).to_le_bytes());
        assert_eq!(pack(&matrix).unwrap(), expected, "row {row}, input {input}");
    }
}

#[test]
fn the_model_of_the_paper_has_its_published_sizes() {
    // q and o, k and v, gate and up, down of Qwen2.5-0.5B: bytes as that design's own metadata lists them.
    assert_eq!(total_bytes(896, 896), Some(451_584));
    assert_eq!(total_bytes(128, 896), Some(64_512));
    assert_eq!(total_bytes(4864, 896), Some(2_451_456));
    assert_eq!(total_bytes(896, 4864), Some(2_451_456));
    assert_eq!(total_bytes(usize::MAX - 7, 1 << 20), None);
}

#[test]
fn some_channels_are_a_part_of_all() {
    let mut matrix = zeroed(24, 65);
    for (at, code) in matrix.codes.iter_mut().enumerate() {
        *code = (at * 7 % 16) as u8;
    }
    let all = pack(&matrix).unwrap();
    assert_eq!(pack_rows(&matrix, 8..24).unwrap(), all[2 * MACRO_BYTES..]);
    assert_eq!(pack_rows(&matrix, 8..20), Err(MacroError::Rows { found: 12 }));
    assert_eq!(pack_rows(&matrix, 4..12), Err(MacroError::Rows { found: 8 }));
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let matrix =
        |rows, group, bits| QuantizedMatrix::zeroed(RowBlockShape { rows, inputs: 128, group, bits });
    let four = WeightBits::Four;
    assert_eq!(pack(&matrix(8, GroupSize::G32, four)), Err(MacroError::Group { found: 32 }));
    assert_eq!(pack(&matrix(8, GroupSize::G128, four)), Err(MacroError::Group { found: 128 }));
    assert_eq!(pack(&matrix(8, GroupSize::G64, WeightBits::Eight)), Err(MacroError::Bits));
    assert_eq!(pack(&matrix(8, GroupSize::G64, WeightBits::EightSegments)), Err(MacroError::Bits));
    assert_eq!(pack(&matrix(12, GroupSize::G64, four)), Err(MacroError::Rows { found: 12 }));
    assert_eq!(unpack(12, 64, &[]), Err(MacroError::Rows { found: 12 }));
    assert_eq!(unpack(8, 64, &[0; 287]), Err(MacroError::Length { expected: 288, found: 287 }));
    let mut data = [0; 2 * MACRO_BYTES];
    data[MACRO_BYTES + 15] = 1;
    assert_eq!(unpack(8, 128, &data), Err(MacroError::Padding { index: 1 }));
}

#[test]
fn inputs_after_the_last_weigh_nothing() {
    let mut matrix = zeroed(8, 63);
    matrix.zeros[3] = 9;
    let mut data = pack(&matrix).unwrap();
    // Channel 3 is nibble 5: the high half of byte 2.
    assert_eq!(data[284..], [0, 0, 0x90, 0]);
    assert_eq!(unpack(8, 63, &data).unwrap(), matrix);
    data[286] = 0x80;
    assert_eq!(unpack(8, 63, &data), Err(MacroError::PaddingInput { row: 3 }));
}

fn matrices() -> impl Strategy<Value = QuantizedMatrix> {
    (0..5_usize, 0..200_usize).prop_flat_map(|(blocks, inputs)| {
        let empty = zeroed(8 * blocks, inputs);
        let (codes, groups) = (empty.codes.len(), empty.scales.len());
        (
            prop::collection::vec(0..16_u8, codes),
            prop::collection::vec(any::<u16>(), groups),
            prop::collection::vec(0..16_u8, groups),
        )
            .prop_map(move |(codes, scales, zeros)| QuantizedMatrix {
                shape: empty.shape,
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
        let (rows, inputs) = (matrix.shape.rows, matrix.shape.inputs);
        let data = pack(&matrix).unwrap();
        prop_assert_eq!(Some(data.len()), total_bytes(rows, inputs));
        let unpacked = unpack(rows, inputs, &data).unwrap();
        prop_assert_eq!(&unpacked.codes, &matrix.codes);
        prop_assert_eq!(&unpacked.zeros, &matrix.zeros);
        let bits = |matrix: &QuantizedMatrix| matrix.scales.iter().map(|s| s.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(bits(&unpacked), bits(&matrix));
        prop_assert_eq!(pack(&unpacked).unwrap(), data);
    }
}
