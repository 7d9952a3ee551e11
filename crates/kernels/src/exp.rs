//! The exponential function, the same bits on every machine.
//!
//! `x = n ln 2 + r`, `|r| <= ln 2 / 2`, and `e^x = 2^n e^r` with a polynomial for `e^r`; the platform's own libm is
//! never called. The result is less than 1 ULP from the true value; results that would be subnormal (below 2^-126,
//! `x < -87.33654`) are zero, and those above the greatest `f32` (`x > 88.72283`) are infinite.

use crate::simd::Simd;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// 1.5 x 2^23: adding it rounds a small number to an integer, ties to even, and leaves that in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 = `LN2_HIGH` + `LN2_LOW`; the high part has 15 bits, so that its product with any `n` here is exact.
const LN2_HIGH: f32 = f32::from_bits(0x3f31_7200);
const LN2_LOW: f32 = f32::from_bits(0x35bf_be8e);
/// The first `x` whose result is not zero.
const LOWEST: f32 = f32::from_bits(0xc2ae_ac4f);
/// The first `x` whose result is infinite.
const OVERFLOW: f32 = f32::from_bits(0x42b1_7218);
/// `e^r = 1 + r + r^2 (C[0] + C[1] r + ..)` by the Remez algorithm for the relative error, which is 3.1e-9.
const C: [f32; 5] = [
    f32::from_bits(0x3eff_fffe),
    f32::from_bits(0x3e2a_aa49),
    f32::from_bits(0x3d2a_ac79),
    f32::from_bits(0x3c09_1cf1),
    f32::from_bits(0x3ab5_121a),
];

/// `e` to the power `x`.
///
/// ```
/// assert_eq!(edgewen_kernels::exp::exp(0.0), 1.0);
/// ```
pub fn exp(x: f32) -> f32 {
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut q = C[4];
    for c in [C[3], C[2], C[1], C[0]] {
        q = q * r + c;
    }
    let p = (q * (r * r) + r) + 1.0;
    let y = f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23));
    // The product keeps what is not a number, and is infinite otherwise.
    let y = if x < OVERFLOW { y } else { x * f32::INFINITY };
    if x < LOWEST { 0.0 } else { y }
}

/// [`exp`] of sixteen lanes.
#[inline(always)]
pub(crate) fn exp_lanes<S: Simd>(s: S, x: S::F) -> S::F {
    let round = s.splat(ROUND);
    let shifted = s.add(s.mul(x, s.splat(LOG2_E)), round);
    let n = s.sub(shifted, round);
    let r = s.sub(s.sub(x, s.mul(n, s.splat(LN2_HIGH))), s.mul(n, s.splat(LN2_LOW)));
    let mut q = s.splat(C[4]);
    for c in [C[3], C[2], C[1], C[0]] {
        q = s.add(s.mul(q, r), s.splat(c));
    }
    let p = s.add(s.add(s.mul(q, s.mul(r, r)), r), s.splat(1.0));
    let y = s.add_exponent(p, shifted);
    let y = s.select_lt(x, s.splat(OVERFLOW), y, s.mul(x, s.splat(f32::INFINITY)));
    s.select_lt(x, s.splat(LOWEST), s.splat(0.0), y)
}
