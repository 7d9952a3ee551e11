//! Linear layers with AVX-512 VNNI.
//!
//! One `vpdpbusd` multiplies four inputs of 16 channels by one broadcast word of activations; the codes are its
//! unsigned operand. Accumulators start at `-z sum_a`, made by one `vpdpwssd` of z and the 16-bit `-sum_a`.

use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

use edgewen_layout::BLOCK_ROWS;

use super::{Block, Group, Job, Token};

/// Bytes that are asked for ahead of use: about the memory's latency times one core's bandwidth.
const PREFETCH_AHEAD: usize = 4608;

/// The blocks times every token, up to four tokens for one pass over the weights.
///
/// # Safety
/// The CPU must have AVX-512 F, BW, DQ, VL, VNNI, AVX2 and F16C, and no other thread may be writing these rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c")]
pub(super) unsafe fn few(job: &Job<'_>, blocks: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe {
        if job.eight_bits() { few_of_bits::<true>(job, blocks) } else { few_of_bits::<false>(job, blocks) }
    }
}

/// # Safety
/// As [`few`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c")]
unsafe fn few_of_bits<const EIGHT: bool>(job: &Job<'_>, blocks: Range<usize>) {
    for index in blocks {
        let block = job.block(index);
        let mut token = 0;
        while token < job.tokens() {
            // SAFETY: the caller's promise.
            token += unsafe {
                match job.tokens() - token {
                    1 => stream::<1, EIGHT>(job, index, &block, token),
                    2 => stream::<2, EIGHT>(job, index, &block, token),
                    3 => stream::<3, EIGHT>(job, index, &block, token),
                    _ => stream::<4, EIGHT>(job, index, &block, token),
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
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c")]
unsafe fn stream<const T: usize, const EIGHT: bool>(
    job: &Job<'_>,
    index: usize,
    block: &Block<'_>,
    first: usize,
) -> usize {
    let tokens: [Token<'_>; T] = std::array::from_fn(|t| job.token(first + t));
    let mut total = [_mm512_setzero_ps(); T];
    let quads = job.quads();
    // The lines below ask for those ahead of them; this block's header stands for the lines that the next block's
    // header keeps from being asked for.
    if !EIGHT {
        for group in (0..block.groups()).step_by(2) {
            prefetch_ahead(block.group::<EIGHT>(group).scales.as_ptr());
        }
    }
    for group in 0..block.groups() {
        let Group { scales, zeros, quads: lines, low_quads } = block.group::<EIGHT>(group);
        if EIGHT {
            prefetch_ahead(scales.as_ptr());
        }
        let (scales, zeros) = (load_scales::<EIGHT>(scales), load_zeros::<EIGHT>(zeros));
        // One token alone has too few sums to hide the latency of `vpdpbusd`, and gets a second pair.
        let mut even = [[_mm512_setzero_si512(); 2]; T];
        let mut odd = [[_mm512_setzero_si512(); 2]; T];
        for t in 0..T {
            even[t][0] = minus_product(zeros, tokens[t].sums[group]);
        }
        for (quad, lines) in lines.iter().enumerate() {
            let x: [&[[i8; 4]; 8]; T] = std::array::from_fn(|t| words(&tokens[t].q[group * quads + quad]));
            for l in 0..4 {
                let line = &lines[l];
                prefetch_ahead(line.as_ptr());
                let codes = if EIGHT {
                    let low = &low_quads[quad][l];
                    prefetch_ahead(low.as_ptr());
                    unpack_eight(load(line), load(low))
                } else {
                    unpack_four(load(line))
                };
                for t in 0..T {
                    let sums = if T == 1 && l % 2 == 1 { &mut odd[t] } else { &mut even[t] };
                    sums[0] = _mm512_dpbusd_epi32(sums[0], codes[0], broadcast(&x[t][2 * l]));
                    sums[1] = _mm512_dpbusd_epi32(sums[1], codes[1], broadcast(&x[t][2 * l + 1]));
                }
            }
        }
        for t in 0..T {
            let mut dot = _mm512_add_epi32(even[t][0], even[t][1]);
            if T == 1 {
                dot = _mm512_add_epi32(dot, _mm512_add_epi32(odd[t][0], odd[t][1]));
            }
            total[t] = add_group(total[t], dot, scales, tokens[t].scales[group]);
        }
    }
    for (t, total) in total.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { finish(job, first + t, index, total) };
    }
    T
}

/// Two row blocks unpacked to a byte a code, so that unpacking is paid once for all tokens.
#[derive(Default)]
struct Panel {
    /// Codes [inputs / 32][8 words of 4 inputs][block].
    codes: Vec<[[Line; 2]; 8]>,
    /// [group][block]
    scales: Vec<[Line; 2]>,
    /// [group][block]
    zeros: Vec<[Line; 2]>,
}

/// A vector at rest.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; 64]);

thread_local! {
    static PANEL: RefCell<Panel> = RefCell::default();
}

/// The blocks times every token, eight tokens for one pass over a panel.
///
/// # Safety
/// As [`few`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c")]
pub(super) unsafe fn many(job: &Job<'_>, blocks: Range<usize>) {
    let mut panel = PANEL.take();
    for first in blocks.clone().step_by(2) {
        // A last block without a neighbor is its own, and its results are written once.
        let pair = [first, (first + 1).min(blocks.end - 1)];
        let sources = pair.map(|block| job.block(block));
        if job.eight_bits() {
            panel.fill::<true>(&sources)
        } else {
            panel.fill::<false>(&sources)
        }
        let mut token = 0;
        while token < job.tokens() {
            // SAFETY: the caller's promise.
            token += unsafe {
                match job.tokens() - token {
                    1 => panel.times::<1>(job, pair, token),
                    2 | 3 => panel.times::<2>(job, pair, token),
                    4..8 => panel.times::<4>(job, pair, token),
                    _ => panel.times::<8>(job, pair, token),
                }
            };
        }
    }
    PANEL.set(panel);
}

impl Panel {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c")]
    fn fill<const EIGHT: bool>(&mut self, blocks: &[Block<'_>; 2]) {
        let empty = Line([0; 64]);
        let groups = blocks[0].groups();
        self.codes.resize(groups * blocks[0].group_bytes() / size_of::<[Line; 4]>(), [[empty; 2]; 8]);
        self.scales.resize(groups, [empty; 2]);
        self.zeros.resize(groups, [empty; 2]);
        let quads_of_group = self.codes.len().checked_div(groups).unwrap_or(0);
        for (b, block) in blocks.iter().enumerate() {
            for group in 0..groups {
                let Group { scales, zeros, quads, low_quads } = block.group::<EIGHT>(group);
                let codes = &mut self.codes[group * quads_of_group..][..quads_of_group];
                for (quad, (out, lines)) in codes.iter_mut().zip(quads).enumerate() {
                    for l in 0..4 {
                        prefetch_ahead(lines[l].as_ptr());
                        let line = load(&lines[l]);
                        let codes = if EIGHT {
                            unpack_eight(line, load(&low_quads[quad][l]))
                        } else {
                            unpack_four(line)
                        };
                        out[2 * l][b] = Line::from(codes[0]);
                        out[2 * l + 1][b] = Line::from(codes[1]);
                    }
                }
                self.scales[group][b] = Line::from(_mm512_castps_si512(load_scales::<EIGHT>(scales)));
                self.zeros[group][b] = Line::from(load_zeros::<EIGHT>(zeros));
            }
        }
    }

    /// The panel times the `T` tokens from `first`; returns T.
    ///
    /// # Safety
    /// As [`few`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c")]
    unsafe fn times<const T: usize>(&self, job: &Job<'_>, pair: [usize; 2], first: usize) -> usize {
        let tokens: [Token<'_>; T] = std::array::from_fn(|t| job.token(first + t));
        // The results of a token are a row of the output apart: without this, every store would wait for memory.
        for t in 0..T {
            for block in pair {
                prefetch(job.results_address(first + t, block).cast());
            }
        }
        let mut total = [[_mm512_setzero_ps(); 2]; T];
        let quads = job.quads();
        for (group, (scales, zeros)) in self.scales.iter().zip(&self.zeros).enumerate() {
            let mut dot = [[_mm512_setzero_si512(); 2]; T];
            let zeros = [load(&zeros[0].0), load(&zeros[1].0)];
            for t in 0..T {
                let sum = tokens[t].sums[group];
                dot[t] = [minus_product(zeros[0], sum), minus_product(zeros[1], sum)];
            }
            for quad in group * quads..(group + 1) * quads {
                let x: [&[[i8; 4]; 8]; T] = std::array::from_fn(|t| words(&tokens[t].q[quad]));
                for (word, codes) in self.codes[quad].iter().enumerate() {
                    let codes = [load(&codes[0].0), load(&codes[1].0)];
                    for t in 0..T {
                        let x = broadcast(&x[t][word]);
                        dot[t][0] = _mm512_dpbusd_epi32(dot[t][0], codes[0], x);
                        dot[t][1] = _mm512_dpbusd_epi32(dot[t][1], codes[1], x);
                    }
                }
            }
            let scales = [_mm512_castsi512_ps(load(&scales[0].0)), _mm512_castsi512_ps(load(&scales[1].0))];
            for t in 0..T {
                for b in 0..2 {
                    total[t][b] = add_group(total[t][b], dot[t][b], scales[b], tokens[t].scales[group]);
                }
            }
        }
        for (t, total) in total.into_iter().enumerate() {
            for (block, total) in pair.into_iter().zip(total) {
                // SAFETY: the caller's promise.
                unsafe { finish(job, first + t, block, total) };
            }
        }
        T
    }
}

impl From<__m512i> for Line {
    #[inline(always)]
    fn from(v: __m512i) -> Self {
        // SAFETY: both are 64 plain bytes.
        unsafe { std::mem::transmute(v) }
    }
}

/// Adds the bias and writes the rows that exist.
///
/// # Safety
/// As [`few`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn finish(job: &Job<'_>, token: usize, block: usize, total: __m512) {
    // SAFETY: the caller's promise; the borrow ends with this function.
    let out = unsafe { job.results(token, block) };
    let mask = u16::MAX >> (BLOCK_ROWS - out.len());
    let total = match job.bias(block) {
        // SAFETY: the bias has a value for every set bit of the mask.
        Some(bias) => _mm512_add_ps(total, unsafe { _mm512_maskz_loadu_ps(mask, bias.as_ptr()) }),
        None => total,
    };
    // SAFETY: the results have room for every set bit of the mask.
    unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, total) };
}

/// `total + f32(dot) * (scales * x_scale)`, every operation rounded once.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_group(total: __m512, dot: __m512i, scales: __m512, x_scale: f32) -> __m512 {
    let scale = _mm512_mul_ps(scales, _mm512_set1_ps(x_scale));
    _mm512_add_ps(total, _mm512_mul_ps(_mm512_cvtepi32_ps(dot), scale))
}

/// `-zeros * sum`: `sum` fits 16 bits (at most 128 codes of 127), and so do the zero points, whose upper halves are 0.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn minus_product(zeros: __m512i, sum: i32) -> __m512i {
    _mm512_dpwssd_epi32(_mm512_setzero_si512(), zeros, _mm512_set1_epi32(-sum))
}

/// Low and high nibbles of a line.
#[inline]
#[target_feature(enable = "avx512f")]
fn unpack_four(line: __m512i) -> [__m512i; 2] {
    let mask = _mm512_set1_epi8(15);
    [_mm512_and_si512(line, mask), _mm512_and_si512(_mm512_srli_epi32::<4>(line), mask)]
}

/// Eight-bit codes of the low and high nibbles of two lines.
#[inline]
#[target_feature(enable = "avx512f")]
fn unpack_eight(high: __m512i, low: __m512i) -> [__m512i; 2] {
    /// Truth table of `mask ? a : b`, mask being the third operand.
    const SELECT: i32 = 0b1110_0100;
    let mask = _mm512_set1_epi8(15);
    [
        _mm512_ternarylogic_epi32::<SELECT>(low, _mm512_slli_epi32::<4>(high), mask),
        _mm512_ternarylogic_epi32::<SELECT>(_mm512_srli_epi32::<4>(low), high, mask),
    ]
}

/// Scales of a group, as steps of a code.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_scales<const EIGHT: bool>(scales: &[u8; 32]) -> __m512 {
    // SAFETY: 32 readable bytes.
    let scales = _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(scales.as_ptr().cast()) });
    if EIGHT { _mm512_mul_ps(scales, _mm512_set1_ps(1.0 / 16.0)) } else { scales }
}

/// Zero points of a group in steps of a code, 32 bits each.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_zeros<const EIGHT: bool>(zeros: &[u8; 8]) -> __m512i {
    let pairs = _mm_cvtsi64_si128(i64::from_le_bytes(*zeros));
    let mask = _mm_set1_epi8(15);
    let low = _mm_and_si128(pairs, mask);
    let high = _mm_and_si128(_mm_srli_epi32::<4>(pairs), mask);
    let zeros = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(low, high));
    if EIGHT { _mm512_slli_epi32::<4>(zeros) } else { zeros }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn broadcast(word: &[i8; 4]) -> __m512i {
    _mm512_set1_epi32(i32::from_le_bytes(word.map(i8::cast_unsigned)))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(line: &[u8; 64]) -> __m512i {
    // SAFETY: 64 readable bytes.
    unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
}

/// Eight words of four inputs.
#[inline(always)]
fn words(q: &[i8; 32]) -> &[[i8; 4]; 8] {
    q.as_chunks().0.try_into().expect("32 bytes are eight words")
}

#[inline(always)]
fn prefetch(at: *const u8) {
    // SAFETY: a prefetch reads nothing, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
}

/// Asks for the weights that will be needed some lines from now.
#[inline(always)]
fn prefetch_ahead(at: *const u8) {
    prefetch(at.wrapping_add(PREFETCH_AHEAD));
}
