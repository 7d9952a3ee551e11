//! Linear layers with the dot-product instructions of Armv8.2 and later.
//!
//! One `sdot` multiplies four inputs of four channels by one word of activations, taken from a lane of a register.
//! Four tokens of 16 channels fill the registers.

use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::Range;

use edgewen_layout::BLOCK_ROWS;

use super::neon::{add_group, as_quads, load_codes, load_scales, load_zeros, prefetch, store};
use super::{Block, Group, Job, Token};

/// The blocks times every token, up to four tokens for one pass over the weights.
///
/// # Safety
/// The CPU must have the dot-product instructions, and no other thread may be writing the rows of these blocks.
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn few(job: &Job<'_>, blocks: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe {
        if job.eight_bits() { few_of_bits::<true>(job, blocks) } else { few_of_bits::<false>(job, blocks) }
    }
}

/// As [`few`]: unpacking again for every four tokens costs no more than loading a panel.
///
/// # Safety
/// As [`few`].
#[target_feature(enable = "neon,dotprod")]
pub(super) unsafe fn many(job: &Job<'_>, blocks: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { few(job, blocks) }
}

/// # Safety
/// As [`few`].
#[target_feature(enable = "neon,dotprod")]
unsafe fn few_of_bits<const EIGHT: bool>(job: &Job<'_>, blocks: Range<usize>) {
    for index in blocks {
        let block = job.block(index);
        let mut first = 0;
        while first < job.tokens() {
            // SAFETY: the caller's promise.
            first += unsafe {
                match job.tokens() - first {
                    1 => tile::<1, EIGHT>(job, index, &block, first),
                    2 => tile::<2, EIGHT>(job, index, &block, first),
                    3 => tile::<3, EIGHT>(job, index, &block, first),
                    _ => tile::<4, EIGHT>(job, index, &block, first),
                }
            };
        }
    }
}

/// One block times the `T` tokens from `first`; returns T.
///
/// # Safety
/// As [`few`].
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile<const T: usize, const EIGHT: bool>(
    job: &Job<'_>,
    index: usize,
    block: &Block<'_>,
    first: usize,
) -> usize {
    let tokens: [Token<'_>; T] = std::array::from_fn(|t| job.token(first + t));
    let mut total = [[vdupq_n_f32(0.0); 4]; T];
    let quads = job.quads();
    for group in 0..block.groups() {
        let Group { scales, zeros, quads: lines, low_quads } = block.group::<EIGHT>(group);
        let planes = &[as_quads(lines), as_quads(low_quads)][..if EIGHT { 2 } else { 1 }];
        let zeros = load_zeros(zeros);
        let mut dot = [[vdupq_n_s32(0); 4]; T];
        for t in 0..T {
            for r in 0..4 {
                dot[t][r] = vmulq_n_s32(zeros[r], -tokens[t].sums[group]);
            }
        }
        for (plane, lines) in planes.iter().enumerate() {
            if plane == 1 {
                dot = dot.map(|dot| dot.map(|dot| vshlq_n_s32::<4>(dot)));
            }
            for (quad, lines) in lines.iter().enumerate() {
                let x = std::array::from_fn(|t| &tokens[t].q[group * quads + quad]);
                add_quad::<T, EIGHT>(&mut dot, lines, x);
            }
        }
        let scales = load_scales::<EIGHT>(scales);
        for t in 0..T {
            for r in 0..4 {
                total[t][r] = add_group(total[t][r], dot[t][r], scales[r], tokens[t].scales[group]);
            }
        }
    }
    for (t, total) in total.into_iter().enumerate() {
        let mut sums = [0.0; BLOCK_ROWS];
        for (total, sums) in total.into_iter().zip(sums.as_chunks_mut().0) {
            store(total, sums);
        }
        // SAFETY: the caller's promise.
        unsafe { job.finish(first + t, index, &sums) };
    }
    T
}

/// Adds the products of four lines, 32 inputs. (`EIGHT` gives each caller a copy of its own, which is inlined.)
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_quad<const T: usize, const EIGHT: bool>(
    dot: &mut [[int32x4_t; 4]; T],
    quad: &[[[u8; 16]; 4]; 4],
    q: [&[i8; 32]; T],
) {
    let mut x = [vdupq_n_s8(0); T];
    for (l, line) in quad.iter().enumerate() {
        prefetch(line.as_flattened().as_ptr());
        if l % 2 == 0 {
            for t in 0..T {
                // SAFETY: the 16 bytes of this line's and the next one's inputs.
                x[t] = unsafe { vld1q_s8(q[t].as_chunks::<16>().0[l / 2].as_ptr()) };
            }
        }
        for r in 0..4 {
            let [low, high] = load_codes(&line[r]);
            for t in 0..T {
                let sum = &mut dot[t][r];
                *sum = if l % 2 == 0 {
                    sdot::<1>(sdot::<0>(*sum, low, x[t]), high, x[t])
                } else {
                    sdot::<3>(sdot::<2>(*sum, low, x[t]), high, x[t])
                };
            }
        }
    }
}

/// Adds to each lane the products of four codes and the four bytes of lane `LANE` of `x`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: i32>(mut sum: int32x4_t, codes: int8x16_t, x: int8x16_t) -> int32x4_t {
    // Assembly, as the intrinsic is not stable.
    // SAFETY: the instruction only reads and writes the registers given; the CPU has it, as this function's target
    // features say.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {codes:v}.16b, {x:v}.4b[{lane}]",
            sum = inout(vreg) sum,
            codes = in(vreg) codes,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
