//! Linear layers with AVX2.
//!
//! `vpmaddubsw` multiplies unsigned codes by signed activations and adds pairs in 16 bits. A pair of 4-bit codes
//! gives at most 2 * 15 * 127 = 3810, so that eight of them are added in 16 bits before one `vpmaddwd` widens.
//! Eight-bit codes would saturate, so their planes are multiplied separately: `16 hi + lo` is taken in 32 bits.

use std::arch::x86_64::*;
use std::ops::Range;

use edgewen_layout::BLOCK_ROWS;

use super::{Block, Group, Job, Token};

/// Bytes that are asked for ahead of use: about the memory's latency times one core's bandwidth.
const PREFETCH_AHEAD: usize = 4096;

/// 16 channels: two registers of eight.
type Pair<V> = [V; 2];

/// The blocks times every token, up to four tokens for one pass over the weights.
///
/// # Safety
/// The CPU must have AVX2 and F16C, and no other thread may be writing these rows.
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn few(job: &Job<'_>, blocks: Range<usize>) {
    for index in blocks {
        let block = job.block(index);
        let mut token = 0;
        while token < job.tokens() {
            // SAFETY: the caller's promise.
            token += unsafe {
                match (job.tokens() - token, job.eight_bits()) {
                    (1, false) => stream::<1, false>(job, index, &block, token),
                    (2 | 3, false) => stream::<2, false>(job, index, &block, token),
                    (_, false) => stream::<4, false>(job, index, &block, token),
                    (1, true) => stream::<1, true>(job, index, &block, token),
                    (_, true) => stream::<2, true>(job, index, &block, token),
                }
            };
        }
    }
}

/// As [`few`]: with 16 registers, unpacking again for every four tokens costs no more than loading a panel.
///
/// # Safety
/// As [`few`].
#[target_feature(enable = "avx2,f16c")]
pub(super) unsafe fn many(job: &Job<'_>, blocks: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { few(job, blocks) }
}

/// One block times the `T` tokens from `first`; returns T.
///
/// # Safety
/// As [`few`].
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn stream<const T: usize, const EIGHT: bool>(
    job: &Job<'_>,
    index: usize,
    block: &Block<'_>,
    first: usize,
) -> usize {
    let tokens: [Token<'_>; T] = std::array::from_fn(|t| job.token(first + t));
    let mut total = [[_mm256_setzero_ps(); 2]; T];
    let quads = job.quads();
    for group in 0..block.groups() {
        let Group { scales, zeros, quads: lines, low_quads } = block.group::<EIGHT>(group);
        let zeros = load_zeros(zeros);
        let mut dot = [[_mm256_setzero_si256(); 2]; T];
        for t in 0..T {
            dot[t] = minus_product(zeros, tokens[t].sums[group]);
        }
        for (quad, lines) in lines.iter().enumerate() {
            add_quad(&mut dot, lines, std::array::from_fn(|t| &tokens[t].q[group * quads + quad]));
        }
        if EIGHT {
            for dot in dot.as_flattened_mut() {
                *dot = _mm256_slli_epi32::<4>(*dot);
            }
            for (quad, lines) in low_quads.iter().enumerate() {
                add_quad(&mut dot, lines, std::array::from_fn(|t| &tokens[t].q[group * quads + quad]));
            }
        }
        let scales = load_scales::<EIGHT>(scales);
        for t in 0..T {
            for half in 0..2 {
                total[t][half] =
                    add_group(total[t][half], dot[t][half], scales[half], tokens[t].scales[group]);
            }
        }
    }
    for (t, total) in total.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { finish(job, first + t, index, total) };
    }
    T
}

/// Adds the products of four lines, 32 inputs: as many as 16 bits hold.
#[inline]
#[target_feature(enable = "avx2")]
fn add_quad<const T: usize>(dot: &mut [Pair<__m256i>; T], lines: &[[u8; 64]; 4], q: [&[i8; 32]; T]) {
    let mask = _mm256_set1_epi8(15);
    let mut sums = [[_mm256_setzero_si256(); 2]; T];
    for (l, line) in lines.iter().enumerate() {
        prefetch(line.as_ptr());
        for (half, codes) in line.as_chunks::<32>().0.iter().enumerate() {
            let codes = load(codes);
            let low = _mm256_and_si256(codes, mask);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), mask);
            for t in 0..T {
                let words = q[t].as_chunks::<4>().0;
                let low = _mm256_maddubs_epi16(low, broadcast(&words[2 * l]));
                let high = _mm256_maddubs_epi16(high, broadcast(&words[2 * l + 1]));
                sums[t][half] = _mm256_add_epi16(sums[t][half], _mm256_add_epi16(low, high));
            }
        }
    }
    let ones = _mm256_set1_epi16(1);
    for t in 0..T {
        for half in 0..2 {
            dot[t][half] = _mm256_add_epi32(dot[t][half], _mm256_madd_epi16(sums[t][half], ones));
        }
    }
}

/// Adds the bias and writes the rows that exist.
///
/// # Safety
/// As [`few`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn finish(job: &Job<'_>, token: usize, block: usize, total: Pair<__m256>) {
    let mut sums = [0.0; BLOCK_ROWS];
    // SAFETY: room for 16 floats.
    unsafe {
        _mm256_storeu_ps(sums.as_mut_ptr(), total[0]);
        _mm256_storeu_ps(sums.as_mut_ptr().add(8), total[1]);
    }
    // SAFETY: the caller's promise.
    unsafe { job.finish(token, block, &sums) };
}

/// `total + f32(dot) * (scales * x_scale)`, every operation rounded once.
#[inline]
#[target_feature(enable = "avx2")]
fn add_group(total: __m256, dot: __m256i, scales: __m256, x_scale: f32) -> __m256 {
    let scale = _mm256_mul_ps(scales, _mm256_set1_ps(x_scale));
    _mm256_add_ps(total, _mm256_mul_ps(_mm256_cvtepi32_ps(dot), scale))
}

#[inline]
#[target_feature(enable = "avx2")]
fn minus_product(zeros: Pair<__m256i>, sum: i32) -> Pair<__m256i> {
    let minus_sum = _mm256_set1_epi32(-sum);
    [_mm256_mullo_epi32(zeros[0], minus_sum), _mm256_mullo_epi32(zeros[1], minus_sum)]
}

/// Scales of a group, as steps of a code.
#[inline]
#[target_feature(enable = "avx2,f16c")]
fn load_scales<const EIGHT: bool>(scales: &[u8; 32]) -> Pair<__m256> {
    // SAFETY: 32 readable bytes.
    let [first, second] =
        unsafe { [_mm_loadu_si128(scales.as_ptr().cast()), _mm_loadu_si128(scales.as_ptr().add(16).cast())] };
    let scales = [_mm256_cvtph_ps(first), _mm256_cvtph_ps(second)];
    if EIGHT {
        let fraction = _mm256_set1_ps(1.0 / 16.0);
        [_mm256_mul_ps(scales[0], fraction), _mm256_mul_ps(scales[1], fraction)]
    } else {
        scales
    }
}

/// Zero points of a group, 32 bits each.
#[inline]
#[target_feature(enable = "avx2")]
fn load_zeros(zeros: &[u8; 8]) -> Pair<__m256i> {
    let pairs = _mm_cvtsi64_si128(i64::from_le_bytes(*zeros));
    let mask = _mm_set1_epi8(15);
    let low = _mm_and_si128(pairs, mask);
    let high = _mm_and_si128(_mm_srli_epi32::<4>(pairs), mask);
    let zeros = _mm_unpacklo_epi8(low, high);
    [_mm256_cvtepu8_epi32(zeros), _mm256_cvtepu8_epi32(_mm_srli_si128::<8>(zeros))]
}

#[inline]
#[target_feature(enable = "avx2")]
fn broadcast(word: &[i8; 4]) -> __m256i {
    _mm256_set1_epi32(i32::from_le_bytes(word.map(i8::cast_unsigned)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(codes: &[u8; 32]) -> __m256i {
    // SAFETY: 32 readable bytes.
    unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
}

#[inline(always)]
fn prefetch(at: *const u8) {
    // SAFETY: a prefetch reads nothing, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(PREFETCH_AHEAD).cast()) }
}
