//! Sixteen virtual lanes of `f32`, the unit in which every float operation is written.
//!
//! An operation is written once over [`Simd`] and instantiated for each instruction set, so that all of them do the
//! same IEEE operations in the same order; the [`scalar::Scalar`] instance is the specification. A value of a type
//! that implements [`Simd`] proves that the CPU has its instructions, which is what makes the methods safe. There is
//! no fused multiply-add here, because not every instruction set has one.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use crate::isa::{Isa, IsaKind};

/// Number of virtual lanes.
pub(crate) const LANES: usize = 16;

/// Sixteen floats that share a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [f32; LANES]);

impl Line {
    pub(crate) const ZERO: Self = Self([0.0; LANES]);
}

/// All floats of the lines.
#[inline(always)]
pub(crate) fn flatten(lines: &[Line]) -> &[f32] {
    // SAFETY: a line is sixteen floats and nothing else: 64 bytes, aligned to 64.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LANES) }
}

/// All floats of the lines.
#[inline(always)]
pub(crate) fn flatten_mut(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: as in `flatten`; the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LANES) }
}

/// One instruction set. Methods act lane by lane, and each rounds once, to nearest with ties to even.
pub(crate) trait Simd: Copy {
    /// Sixteen `f32`.
    type F: Copy;

    /// Whether sixteen vectors of [`Self::F`] fit the registers.
    const MANY_REGISTERS: bool;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, x: &[f32; LANES]) -> Self::F;
    fn store(self, v: Self::F, out: &mut [f32; LANES]);
    /// From half precision, exactly.
    fn load_f16(self, x: &[u16; LANES]) -> Self::F;
    /// To half precision, to nearest with ties to even. The caller bounds the values.
    fn store_f16(self, v: Self::F, out: &mut [u16; LANES]);
    /// To the nearest integer with ties to even. The caller bounds the values to -127..=127.
    fn store_i8(self, v: Self::F, out: &mut [i8; LANES]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a > b { a } else { b }`, so `b` if either is not a number.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a < b { a } else { b }`, so `b` if either is not a number.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    /// `if a < b { x } else { y }`.
    fn select_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F;
    /// The bits of `a` plus those of `n` shifted left by 23, wrapping: `a` times two to the power that the low bits
    /// of `n` hold.
    fn add_exponent(self, a: Self::F, n: Self::F) -> Self::F;

    /// Up to sixteen values; the lanes without one hold `fill`.
    #[inline(always)]
    fn load_partial(self, x: &[f32], fill: f32) -> Self::F {
        let mut lanes = [fill; LANES];
        lanes[..x.len()].copy_from_slice(x);
        self.load(&lanes)
    }

    /// The first lanes, as many as `out` has room for.
    #[inline(always)]
    fn store_partial(self, v: Self::F, out: &mut [f32]) {
        let lanes = self.to_array(v);
        out.copy_from_slice(&lanes[..out.len()]);
    }

    #[inline(always)]
    fn to_array(self, v: Self::F) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        self.store(v, &mut lanes);
        lanes
    }

    /// The sum of the lanes as the fixed tree: eight apart, then four, two and one.
    #[inline(always)]
    fn reduce_add(self, v: Self::F) -> f32 {
        let mut lanes = self.to_array(v);
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
            width /= 2;
        }
        lanes[0]
    }

    /// `max(min(a, high), low)` of a result of arithmetic: what is not a number becomes `high`.
    #[inline(always)]
    fn bound(self, a: Self::F, low: f32, high: f32) -> Self::F {
        self.max(self.min(a, self.splat(high)), self.splat(low))
    }

    /// The sum of eight-bit numbers.
    #[inline(always)]
    fn sum_i8(self, x: &[[i8; LANES]]) -> i32 {
        x.as_flattened().iter().map(|&x| i32::from(x)).sum()
    }

    /// The greatest lane; those that are not numbers do not count.
    #[inline(always)]
    fn reduce_max(self, v: Self::F) -> f32 {
        let mut max = f32::NEG_INFINITY;
        for lane in self.to_array(v) {
            max = if lane > max { lane } else { max };
        }
        max
    }
}

/// A piece of work written once for all instruction sets. Implementations of `run` are `#[inline(always)]`, so that
/// they are compiled with the instructions of the function they end up in.
pub(crate) trait Kernel {
    fn run<S: Simd>(self, simd: S);
}

/// Runs `kernel` with the instructions of `isa`.
pub(crate) fn dispatch(isa: Isa, kernel: impl Kernel) {
    match isa.kind() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of this kind exists only on a CPU with AVX2 and F16C.
        IsaKind::Avx2 => unsafe { avx2::run(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of this kind exists only on a CPU with AVX-512 F, BW, DQ and VL.
        IsaKind::Avx512 => unsafe { avx512::run(kernel) },
        #[cfg(target_arch = "aarch64")]
        IsaKind::Neon | IsaKind::NeonDotprod => kernel.run(neon::Neon),
        _ => kernel.run(scalar::Scalar),
    }
}
