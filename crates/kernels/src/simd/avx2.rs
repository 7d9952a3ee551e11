//! Sixteen lanes as two AVX2 registers.

use std::arch::x86_64::*;

use super::{Kernel, LANES, Simd};

/// AVX2 and F16C. A value exists only inside [`run`].
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// Runs `kernel` compiled for AVX2.
#[target_feature(enable = "avx2,f16c")]
pub(crate) fn run(kernel: impl Kernel) {
    kernel.run(Avx2(()));
}

/// An expression of intrinsics that need AVX2 or F16C.
macro_rules! avx2 {
    ($value:expr) => {
        // SAFETY: `self` proves that the CPU has AVX2 and F16C, and references are valid for their whole length.
        unsafe { $value }
    };
}

/// One intrinsic on both halves.
macro_rules! halves {
    ($intrinsic:ident, $a:expr, $b:expr) => {
        avx2!([$intrinsic($a[0], $b[0]), $intrinsic($a[1], $b[1])])
    };
}

impl Simd for Avx2 {
    type F = [__m256; 2];

    const MANY_REGISTERS: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        avx2!([_mm256_set1_ps(x); 2])
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::F {
        avx2!([_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))])
    }

    #[inline(always)]
    fn store(self, v: Self::F, out: &mut [f32; LANES]) {
        avx2!({
            _mm256_storeu_ps(out.as_mut_ptr(), v[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), v[1]);
        });
    }

    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> Self::F {
        let x = x.as_ptr().cast::<__m128i>();
        avx2!([_mm256_cvtph_ps(_mm_loadu_si128(x)), _mm256_cvtph_ps(_mm_loadu_si128(x.add(1)))])
    }

    #[inline(always)]
    fn store_f16(self, v: Self::F, out: &mut [u16; LANES]) {
        let out = out.as_mut_ptr().cast::<__m128i>();
        avx2!({
            _mm_storeu_si128(out, _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v[0]));
            _mm_storeu_si128(out.add(1), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v[1]));
        });
    }

    #[inline(always)]
    fn store_i8(self, v: Self::F, out: &mut [i8; LANES]) {
        avx2!({
            // Packing works within halves of 128 bits: the words come out as 0..4, 8..12, 4..8, 12..16.
            let words = _mm256_packs_epi32(_mm256_cvtps_epi32(v[0]), _mm256_cvtps_epi32(v[1]));
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
        });
    }

    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_add_ps, a, b)
    }

    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_sub_ps, a, b)
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_mul_ps, a, b)
    }

    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_div_ps, a, b)
    }

    // `maxps` and `minps` return their second operand unless the comparison holds.
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_max_ps, a, b)
    }

    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        halves!(_mm256_min_ps, a, b)
    }

    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        let sign = self.splat(-0.0);
        halves!(_mm256_andnot_ps, sign, a)
    }

    #[inline(always)]
    fn select_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        avx2!([
            _mm256_blendv_ps(y[0], x[0], _mm256_cmp_ps::<_CMP_LT_OQ>(a[0], b[0])),
            _mm256_blendv_ps(y[1], x[1], _mm256_cmp_ps::<_CMP_LT_OQ>(a[1], b[1])),
        ])
    }

    #[inline(always)]
    fn add_exponent(self, a: Self::F, n: Self::F) -> Self::F {
        avx2!({
            let n = n.map(|n| _mm256_slli_epi32::<23>(_mm256_castps_si256(n)));
            [
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a[0]), n[0])),
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a[1]), n[1])),
            ]
        })
    }
}
