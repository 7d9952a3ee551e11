//! Sixteen lanes as one AVX-512 register.

use std::arch::x86_64::*;

use super::{Kernel, LANES, Simd};

/// AVX-512 F, BW, DQ and VL. A value exists only inside [`run`].
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

/// Runs `kernel` compiled for AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,f16c")]
pub(crate) fn run(kernel: impl Kernel) {
    kernel.run(Avx512(()));
}

/// An expression of intrinsics that need AVX-512.
macro_rules! avx512 {
    ($value:expr) => {
        // SAFETY: `self` proves that the CPU has AVX-512, and references are valid for their whole length.
        unsafe { $value }
    };
}

impl Simd for Avx512 {
    type F = __m512;

    const MANY_REGISTERS: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        avx512!(_mm512_set1_ps(x))
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        avx512!(_mm512_loadu_ps(x.as_ptr()))
    }

    #[inline(always)]
    fn store(self, v: Self::F, out: &mut [f32; LANES]) {
        avx512!(_mm512_storeu_ps(out.as_mut_ptr(), v));
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> Self::F {
        avx512!(_mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())))
    }

    #[inline(always)]
    fn store_f16(self, v: Self::F, out: &mut [u16; LANES]) {
        avx512!({
            let half = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), half);
        });
    }

    #[inline(always)]
    fn store_i8(self, v: Self::F, out: &mut [i8; LANES]) {
        avx512!({
            let bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
            _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
        });
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(_mm512_div_ps(a, b))
    }

    // `maxps` and `minps` return their second operand unless the comparison holds.
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        avx512!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        avx512!(_mm512_abs_ps(a))
    }

    #[inline(always)]
    fn select_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        avx512!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x))
    }

    #[inline(always)]
    fn add_exponent(self, a: Self::F, n: Self::F) -> Self::F {
        avx512!({
            let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(n));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), n))
        })
    }
}
