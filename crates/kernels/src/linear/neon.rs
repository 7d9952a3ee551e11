//! Linear layers with NEON alone, for cores without `sdot` such as the Cortex-A53.
//!
//! `smlal` multiplies eight bytes and adds to eight 16-bit lanes. A code times an activation is at most 15 x 127, so
//! a lane holds 17 products; the 16 that 64 inputs give it are widened once, at the end. Two tokens of 16 channels
//! or four tokens of eight fill the registers.

use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::Range;

use edgewen_layout::BLOCK_ROWS;

use super::{Block, Group, Job, Token};

/// Bytes that are asked for ahead of use: the memory's latency times one core's share of its bandwidth.
const PREFETCH_AHEAD: usize = 1024;

/// A quarter of a line holds four channels.
const CHANNELS: usize = 4;

/// Four lines of quarters, 32 inputs.
type Quad = [[[u8; 16]; 4]; 4];

/// The blocks times every token, up to four tokens for one pass over the weights.
///
/// # Safety
/// No other thread may be writing the rows of these blocks.
pub(super) unsafe fn few(job: &Job<'_>, blocks: Range<usize>) {
    // SAFETY: NEON is part of every AArch64 target with the standard library; the caller's promise.
    unsafe {
        if job.eight_bits() { few_of_bits::<true>(job, blocks) } else { few_of_bits::<false>(job, blocks) }
    }
}

/// As [`few`]: unpacking again for every four tokens is a tenth of the work, about what loading a panel would be.
///
/// # Safety
/// As [`few`].
pub(super) unsafe fn many(job: &Job<'_>, blocks: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { few(job, blocks) }
}

/// # Safety
/// As [`few`].
#[target_feature(enable = "neon")]
unsafe fn few_of_bits<const EIGHT: bool>(job: &Job<'_>, blocks: Range<usize>) {
    for index in blocks {
        let block = job.block(index);
        let mut first = 0;
        while first < job.tokens() {
            // SAFETY: the caller's promise.
            first += unsafe {
                match job.tokens() - first {
                    1 => tile::<1, 4, EIGHT>(job, index, &block, first),
                    2 | 3 => tile::<2, 4, EIGHT>(job, index, &block, first),
                    _ => tile::<4, 2, EIGHT>(job, index, &block, first),
                }
            };
        }
    }
}

/// One block times the `T` tokens from `first`, `R` registers of four channels at a time; returns T.
///
/// # Safety
/// As [`few`].
#[inline]
#[target_feature(enable = "neon")]
unsafe fn tile<const T: usize, const R: usize, const EIGHT: bool>(
    job: &Job<'_>,
    index: usize,
    block: &Block<'_>,
    first: usize,
) -> usize {
    let tokens: [Token<'_>; T] = std::array::from_fn(|t| job.token(first + t));
    let mut sums = [[0.0; BLOCK_ROWS]; T];
    for start in (0..BLOCK_ROWS).step_by(R * CHANNELS) {
        let total = part::<T, R, EIGHT>(job.quads(), block, &tokens, start / CHANNELS);
        for (total, sums) in total.into_iter().zip(&mut sums) {
            for (total, sums) in total.into_iter().zip(&mut sums.as_chunks_mut().0[start / CHANNELS..]) {
                store(total, sums);
            }
        }
    }
    for (t, sums) in sums.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { job.finish(first + t, index, sums) };
    }
    T
}

/// The `R` quarters of a block from `quarter` times `T` tokens.
#[inline]
#[target_feature(enable = "neon")]
fn part<const T: usize, const R: usize, const EIGHT: bool>(
    quads: usize,
    block: &Block<'_>,
    tokens: &[Token<'_>; T],
    quarter: usize,
) -> [[float32x4_t; R]; T] {
    let mut total = [[vdupq_n_f32(0.0); R]; T];
    for group in 0..block.groups() {
        let Group { scales, zeros, quads: lines, low_quads } = block.group::<EIGHT>(group);
        let zeros = load_zeros(zeros);
        let mut dot = [[vdupq_n_s32(0); R]; T];
        for t in 0..T {
            for r in 0..R {
                dot[t][r] = vmulq_n_s32(zeros[quarter + r], -tokens[t].sums[group]);
            }
        }
        add_quads(&mut dot, as_quads(lines), tokens, group * quads, quarter);
        if EIGHT {
            dot = dot.map(|dot| dot.map(|dot| vshlq_n_s32::<4>(dot)));
            add_quads(&mut dot, as_quads(low_quads), tokens, group * quads, quarter);
        }
        let scales = load_scales::<EIGHT>(scales);
        for t in 0..T {
            for r in 0..R {
                total[t][r] = add_group(total[t][r], dot[t][r], scales[quarter + r], tokens[t].scales[group]);
            }
        }
    }
    total
}

/// Adds the products of one plane of a group.
#[inline]
#[target_feature(enable = "neon")]
fn add_quads<const T: usize, const R: usize>(
    dot: &mut [[int32x4_t; R]; T],
    quads: &[Quad],
    tokens: &[Token<'_>; T],
    first: usize,
    quarter: usize,
) {
    // Two quads, 64 inputs, are as many as 16 bits hold.
    for (pair, quads) in quads.chunks(2).enumerate() {
        let mut products = [[[vdupq_n_s16(0); 2]; R]; T];
        for (i, quad) in quads.iter().enumerate() {
            let q = std::array::from_fn(|t| &tokens[t].q[first + 2 * pair + i]);
            add_quad(&mut products, quad, q, quarter);
        }
        for t in 0..T {
            for r in 0..R {
                let [low, high] = products[t][r].map(|products| vpaddlq_s16(products));
                dot[t][r] = vaddq_s32(dot[t][r], vpaddq_s32(low, high));
            }
        }
    }
}

/// Adds the products of 32 inputs. Of the two sums of a quarter, each has two channels of four lanes.
#[inline]
#[target_feature(enable = "neon")]
fn add_quad<const T: usize, const R: usize>(
    products: &mut [[[int16x8_t; 2]; R]; T],
    quad: &Quad,
    q: [&[i8; 32]; T],
    quarter: usize,
) {
    for (l, line) in quad.iter().enumerate() {
        prefetch(line[quarter].as_ptr());
        let mut codes = [[vdupq_n_s8(0); 2]; R];
        for r in 0..R {
            codes[r] = load_codes(&line[quarter + r]);
        }
        for t in 0..T {
            let x = broadcast(&q[t].as_chunks::<8>().0[l]);
            for half in 0..2 {
                for r in 0..R {
                    let [low, high] = &mut products[t][r];
                    *low = vmlal_s8(*low, vget_low_s8(codes[r][half]), vget_low_s8(x[half]));
                    *high = vmlal_high_s8(*high, codes[r][half], x[half]);
                }
            }
        }
    }
}

/// `total + f32(dot) * (scales * x_scale)`, every operation rounded once.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn add_group(
    total: float32x4_t,
    dot: int32x4_t,
    scales: float32x4_t,
    x_scale: f32,
) -> float32x4_t {
    let scale = vmulq_n_f32(scales, x_scale);
    vaddq_f32(total, vmulq_f32(vcvtq_f32_s32(dot), scale))
}

/// Scales of a group, as steps of a code.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_scales<const EIGHT: bool>(scales: &[u8; 32]) -> [float32x4_t; 4] {
    let mut out = [vdupq_n_f32(0.0); 4];
    for (scales, out) in scales.as_chunks::<8>().0.iter().zip(&mut out) {
        // Assembly, as the intrinsic is newer than the oldest compiler supported.
        // SAFETY: the instruction only reads and writes the registers given, and every AArch64 CPU has it.
        unsafe {
            asm!(
                "fcvtl {out:v}.4s, {half:v}.4h",
                out = lateout(vreg) *out,
                half = in(vreg) vld1_u8(scales.as_ptr()),
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        if EIGHT {
            *out = vmulq_n_f32(*out, 1.0 / 16.0);
        }
    }
    out
}

/// Zero points of a group, 32 bits each.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_zeros(zeros: &[u8; 8]) -> [int32x4_t; 4] {
    let pairs = vcreate_u8(u64::from_le_bytes(*zeros));
    let (low, high) = (vand_u8(pairs, vdup_n_u8(15)), vshr_n_u8::<4>(pairs));
    let halves = [vzip1_u8(low, high), vzip2_u8(low, high)].map(|zeros| vmovl_u8(zeros));
    let [a, b] = halves.map(|zeros| vreinterpretq_s16_u16(zeros));
    [vmovl_s16(vget_low_s16(a)), vmovl_high_s16(a), vmovl_s16(vget_low_s16(b)), vmovl_high_s16(b)]
}

/// The low and the high nibbles of a quarter: four channels of inputs 0..4 and of inputs 4..8.
#[inline]
#[target_feature(enable = "neon")]
pub(super) fn load_codes(quarter: &[u8; 16]) -> [int8x16_t; 2] {
    // SAFETY: 16 readable bytes.
    let codes = unsafe { vld1q_u8(quarter.as_ptr()) };
    [vandq_u8(codes, vdupq_n_u8(15)), vshrq_n_u8::<4>(codes)].map(|codes| vreinterpretq_s8_u8(codes))
}

/// Inputs 0..4 and inputs 4..8, each four times.
#[inline]
#[target_feature(enable = "neon")]
fn broadcast(x: &[i8; 8]) -> [int8x16_t; 2] {
    // SAFETY: eight readable bytes, and NEON loads need no alignment.
    let int32x4x2_t(low, high) = unsafe { vld2q_dup_s32(x.as_ptr().cast()) };
    [vreinterpretq_s8_s32(low), vreinterpretq_s8_s32(high)]
}

#[inline]
#[target_feature(enable = "neon")]
pub(super) fn store(total: float32x4_t, sums: &mut [f32; CHANNELS]) {
    // SAFETY: room for four floats.
    unsafe { vst1q_f32(sums.as_mut_ptr(), total) }
}

#[inline]
pub(super) fn as_quads(lines: &[[[u8; 64]; 4]]) -> &[Quad] {
    lines.as_flattened().as_flattened().as_chunks::<16>().0.as_chunks::<4>().0.as_chunks::<4>().0
}

#[inline(always)]
pub(super) fn prefetch(at: *const u8) {
    // SAFETY: a prefetch reads nothing, whatever the address.
    unsafe {
        asm!(
            "prfm pldl1keep, [{at}]",
            at = in(reg) at.addr().wrapping_add(PREFETCH_AHEAD),
            options(nomem, nostack, preserves_flags),
        );
    }
}
