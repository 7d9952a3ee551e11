//! The arithmetic of a linear layer, step by step as the data path does it.
//!
//! ```text
//! D   = sum over the 64 inputs of q q_a, minus z sum_a           exact integers
//! acc = acc + f32(D) * (f32(s_w) * s_a)                          each operation rounded once; acc begins at +0
//! y   = acc + bias                                               after the last group, where there is a bias
//! ```
//! With segments q = 16 hi + lo, 16 z takes the place of z, and f32(s_w) / 16 that of f32(s_w).
//!
//! Floats are IEEE 754 binary32 with subnormals, rounded to nearest even. A result that is not a number has the bits
//! [`CANONICAL_NAN`], so that hardware and model can be compared bit by bit.

/// The bits of every result that is not a number.
pub const CANONICAL_NAN: u32 = 0x7fc0_0000;

/// Bits between the two products in the packed form of [`mul_pair`].
pub const LANE_SHIFT: u32 = 20;

/// Two weights times one activation in one multiplication: what one DSP does.
///
/// The factor is `w0 + w1 << 20`, so the product is `w0 a + (w1 a) << 20`. Sums of such products stay apart as long as
/// the lower sum fits 20 bits, signed: 64 products of 15 and -127 do.
pub const fn mul_pair(w0: u8, w1: u8, a: i8) -> i64 {
    (w0 as i64 + ((w1 as i64) << LANE_SHIFT)) * a as i64
}

/// The two sums in a sum of [`mul_pair`]s.
///
/// The lower one is the lower 20 bits as a signed number. If it is negative it has borrowed 1 from the upper one,
/// which its sign bit gives back.
pub const fn split_pair(sum: i64) -> (i32, i32) {
    let low = (sum << (64 - LANE_SHIFT) >> (64 - LANE_SHIFT)) as i32;
    let high = (sum >> LANE_SHIFT) + (sum >> (LANE_SHIFT - 1) & 1);
    (low, high as i32)
}

/// `sum q q_a - z sum_a` of one channel and group.
pub fn group_dot(codes: &[u8], zero: u8, activations: &[i8], sum: i32) -> i32 {
    let products = codes.iter().zip(activations).map(|(&q, &a)| i32::from(q) * i32::from(a));
    products.sum::<i32>().wrapping_sub(i32::from(zero).wrapping_mul(sum))
}

/// `acc + f32(dot) * (f32(weight_scale) * activation_scale)`.
#[inline(always)]
pub fn scale_step(acc: f32, dot: i32, weight_scale: f32, activation_scale: f32) -> f32 {
    acc + dot as f32 * (weight_scale * activation_scale)
}

/// What is written for a sum that is complete.
#[inline(always)]
pub fn result(acc: f32, bias: Option<f32>) -> u32 {
    let value = bias.map_or(acc, |bias| acc + bias);
    if value.is_nan() { CANONICAL_NAN } else { value.to_bits() }
}

/// The f32 that equals an f16, given by its bits; a NaN gives a NaN.
pub const fn f16_to_f32(half: u16) -> f32 {
    let sign = (half as u32 & 0x8000) << 16;
    let (exponent, fraction) = (half as u32 >> 10 & 31, half as u32 & 0x3ff);
    let magnitude = match (exponent, fraction) {
        (0, 0) => 0,
        (0, _) => {
            // Subnormal: shifted until its leading bit is the hidden one.
            let shift = fraction.leading_zeros() - 21;
            (113 - shift) << 23 | (fraction << shift & 0x3ff) << 13
        }
        (31, 0) => 0x7f80_0000,
        (31, _) => CANONICAL_NAN,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_apart_for_all_factors_and_the_largest_sums() {
        for w0 in 0..16 {
            for w1 in 0..16 {
                for a in i8::MIN..=i8::MAX {
                    let expected = (i32::from(w0) * i32::from(a), i32::from(w1) * i32::from(a));
                    assert_eq!(split_pair(mul_pair(w0, w1, a)), expected, "{w0} {w1} {a}");
                }
            }
        }
        for (a, b) in [(-127, -127), (127, -127), (-127, 127), (127, 127)] {
            let sum = 32 * mul_pair(15, 0, a) + 32 * mul_pair(15, 0, a) + 64 * mul_pair(0, 15, b);
            assert_eq!(split_pair(sum), (64 * 15 * i32::from(a), 64 * 15 * i32::from(b)));
        }
    }

    #[test]
    fn every_f16_is_the_f32_that_equals_it() {
        for bits in 0..=u16::MAX {
            let (found, expected) = (f16_to_f32(bits), half::f16::from_bits(bits).to_f32());
            assert!(
                found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                "{bits:#x}: {found} instead of {expected}"
            );
        }
    }

    #[test]
    fn steps_round_once_each() {
        // 1/3 * 3 rounds to 1 only if the product is rounded before it is added to something small.
        let third = 1.0_f32 / 3.0;
        assert_eq!(scale_step(f32::MIN_POSITIVE, 3, third, 1.0), 1.0);
        assert_eq!(scale_step(0.0, 0, f32::INFINITY, 1.0).to_bits() & 0x7f80_0000, 0x7f80_0000);
        assert_eq!(result(scale_step(0.0, 0, f32::INFINITY, 1.0), None), CANONICAL_NAN);
        assert_eq!(result(1.5, Some(-1.5)), 0);
        // Subnormal results are kept.
        assert_eq!(scale_step(0.0, 1, f16_to_f32(1), 1e-38), f16_to_f32(1) * 1e-38);
    }
}
