//! Sixteen lanes in portable Rust: the specification of the other instruction sets.

use half::f16;

use super::{LANES, Simd};

/// 1.5 x 2^23: adding it leaves a number of small magnitude, rounded to an integer, in the low bits.
const ROUND: f32 = 12_582_912.0;

/// Portable Rust.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

/// `[f(0), f(1), ..]`, as a loop that the compiler can vectorize.
macro_rules! lanes {
    ($i:ident => $value:expr) => {{
        let mut lanes = [0.0; LANES];
        for $i in 0..LANES {
            lanes[$i] = $value;
        }
        lanes
    }};
}

impl Simd for Scalar {
    type F = [f32; LANES];

    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        *x
    }

    #[inline(always)]
    fn store(self, v: Self::F, out: &mut [f32; LANES]) {
        *out = v;
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> Self::F {
        lanes!(i => f16::from_bits(x[i]).to_f32_const())
    }

    #[inline(always)]
    fn store_f16(self, v: Self::F, out: &mut [u16; LANES]) {
        *out = v.map(|x| f16::from_f32_const(x).to_bits());
    }

    #[inline(always)]
    fn store_i8(self, v: Self::F, out: &mut [i8; LANES]) {
        *out = v.map(|x| (x + ROUND).to_bits() as i8);
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(i => a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(i => a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(i => a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(i => a[i] / b[i])
    }

    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(i => if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        lanes!(i => if a[i] < b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        lanes!(i => a[i].abs())
    }

    #[inline(always)]
    fn select_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        lanes!(i => if a[i] < b[i] { x[i] } else { y[i] })
    }

    #[inline(always)]
    fn add_exponent(self, a: Self::F, n: Self::F) -> Self::F {
        lanes!(i => f32::from_bits(a[i].to_bits().wrapping_add(n[i].to_bits() << 23)))
    }
}
