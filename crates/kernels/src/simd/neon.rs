//! Sixteen lanes as four NEON registers.
//!
//! The half-precision conversions are inline assembly: their intrinsics are newer than the oldest compiler this
//! workspace supports, while every AArch64 CPU has the instructions.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{LANES, Simd};

/// Advanced SIMD, which is part of every AArch64 target that has Rust's standard library.
#[derive(Clone, Copy)]
pub(crate) struct Neon;

/// An expression of intrinsics.
macro_rules! neon {
    ($value:expr) => {
        // SAFETY: every AArch64 target with the standard library has NEON; pointers come from references to sixteen
        // elements, and all accesses stay within them.
        unsafe { $value }
    };
}

/// An expression of intrinsics for each of the four registers.
macro_rules! quarters {
    ($i:ident => $value:expr) => {
        neon!([0, 1, 2, 3].map(|$i| $value))
    };
}

/// Eight half-precision numbers to single precision.
#[inline(always)]
fn widen(half: uint16x8_t) -> [float32x4_t; 2] {
    let (low, high): (float32x4_t, float32x4_t);
    // SAFETY: the instructions only read and write the registers given.
    unsafe {
        asm!(
            "fcvtl {low:v}.4s, {half:v}.4h",
            "fcvtl2 {high:v}.4s, {half:v}.8h",
            low = out(vreg) low,
            high = lateout(vreg) high,
            half = in(vreg) half,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    [low, high]
}

/// Eight single-precision numbers to half precision, to nearest with ties to even.
#[inline(always)]
fn narrow(low: float32x4_t, high: float32x4_t) -> uint16x8_t {
    let half: uint16x8_t;
    // SAFETY: the instructions only read and write the registers given.
    unsafe {
        asm!(
            "fcvtn {half:v}.4h, {low:v}.4s",
            "fcvtn2 {half:v}.8h, {high:v}.4s",
            half = out(vreg) half,
            low = in(vreg) low,
            high = in(vreg) high,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    half
}

impl Simd for Neon {
    type F = [float32x4_t; 4];

    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        neon!([vdupq_n_f32(x); 4])
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        quarters!(i => vld1q_f32(x.as_ptr().add(4 * i)))
    }

    #[inline(always)]
    fn store(self, v: Self::F, out: &mut [f32; LANES]) {
        neon!(for (i, v) in v.into_iter().enumerate() {
            vst1q_f32(out.as_mut_ptr().add(4 * i), v);
        });
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> Self::F {
        let [a, b] = widen(neon!(vld1q_u16(x.as_ptr())));
        let [c, d] = widen(neon!(vld1q_u16(x.as_ptr().add(8))));
        [a, b, c, d]
    }

    #[inline(always)]
    fn store_f16(self, v: Self::F, out: &mut [u16; LANES]) {
        neon!({
            vst1q_u16(out.as_mut_ptr(), narrow(v[0], v[1]));
            vst1q_u16(out.as_mut_ptr().add(8), narrow(v[2], v[3]));
        });
    }

    #[inline(always)]
    fn store_i8(self, v: Self::F, out: &mut [i8; LANES]) {
        let [a, b, c, d] = quarters!(i => vmovn_s32(vcvtnq_s32_f32(v[i])));
        neon!({
            let low = vmovn_s16(vcombine_s16(a, b));
            let high = vmovn_s16(vcombine_s16(c, d));
            vst1q_s8(out.as_mut_ptr(), vcombine_s8(low, high));
        });
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(i => vaddq_f32(a[i], b[i]))
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(i => vsubq_f32(a[i], b[i]))
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(i => vmulq_f32(a[i], b[i]))
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(i => vdivq_f32(a[i], b[i]))
    }

    // `fmax` and `fmin` treat zeros and what is not a number in their own way, hence the comparisons.
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(i => vbslq_f32(vcgtq_f32(a[i], b[i]), a[i], b[i]))
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        quarters!(i => vbslq_f32(vcltq_f32(a[i], b[i]), a[i], b[i]))
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        quarters!(i => vabsq_f32(a[i]))
    }

    #[inline(always)]
    fn select_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        quarters!(i => vbslq_f32(vcltq_f32(a[i], b[i]), x[i], y[i]))
    }

    #[inline(always)]
    fn add_exponent(self, a: Self::F, n: Self::F) -> Self::F {
        quarters!(i => {
            let n = vshlq_n_u32::<23>(vreinterpretq_u32_f32(n[i]));
            vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(a[i]), n))
        })
    }

    // A result of arithmetic is never a signaling NaN, the only case in which these instructions give something else.
    #[inline(always)]
    fn bound(self, a: Self::F, low: f32, high: f32) -> Self::F {
        neon!({
            let (low, high) = (vdupq_n_f32(low), vdupq_n_f32(high));
            a.map(|a| vmaxnmq_f32(vminnmq_f32(a, high), low))
        })
    }

    #[inline(always)]
    fn sum_i8(self, x: &[[i8; LANES]]) -> i32 {
        let (fours, rest) = x.as_chunks::<4>();
        neon!({
            let mut sum = vdupq_n_s32(0);
            for x in fours {
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| vld1q_s8(x[i].as_ptr()));
                let (ac, bd) = (vpadalq_s8(vpaddlq_s8(a), c), vpadalq_s8(vpaddlq_s8(b), d));
                sum = vpadalq_s16(sum, vaddq_s16(ac, bd));
            }
            for x in rest {
                sum = vpadalq_s16(sum, vpaddlq_s8(vld1q_s8(x.as_ptr())));
            }
            vaddvq_s32(sum)
        })
    }

    #[inline(always)]
    fn reduce_max(self, v: Self::F) -> f32 {
        // What is not a number loses against infinity here; the rest is free of it, and the sign of a zero is
        // nothing that a maximum is used for.
        let [a, b, c, d] = self.max(v, self.splat(f32::NEG_INFINITY));
        neon!(vmaxvq_f32(vmaxq_f32(vmaxq_f32(a, b), vmaxq_f32(c, d))))
    }
}
