//! The orders that were not chosen, as decode kernels for one token with AVX-512 VNNI.
//!
//! They do the arithmetic of the library's kernel, except that the row-major one adds its lanes at the end of a row.

use std::arch::x86_64::*;

use edgewen_kernels::Compute;

const GROUP: usize = 64;
const TASK_BYTES: usize = 128 << 10;
const PREFETCH_AHEAD: usize = 4608;

/// One token's activations, of the widest matrix.
pub struct Quantized {
    words: Vec<i32>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

impl Quantized {
    pub fn new() -> Self {
        let q: Vec<i8> = (0..4864).map(|i| ((i * 37 + 11) % 255 - 127) as i8).collect();
        Self {
            words: q.as_chunks().0.iter().map(|w| i32::from_le_bytes(w.map(i8::cast_unsigned))).collect(),
            scales: (0..4864 / GROUP).map(|g| 0.01 + 0.001 * g as f32).collect(),
            sums: q.chunks(GROUP).map(|q| q.iter().map(|&q| i32::from(q)).sum()).collect(),
        }
    }
}

/// Runs `f` on runs of `unit` bytes, shared among the threads like the library's row blocks.
fn share(c: &Compute, data: &[u8], unit: usize, f: impl Fn(&[u8]) -> f32 + Sync) {
    let units = data.len() / unit;
    let task = (TASK_BYTES / unit).clamp(1, units.div_ceil(4 * c.pool.threads()));
    c.pool.run(units.div_ceil(task), |i| {
        for part in data[i * task * unit..data.len().min((i + 1) * task * unit)].chunks_exact(unit) {
            std::hint::black_box(f(part));
        }
    });
}

pub fn inline_bytes(stride: usize, rows: usize, inputs: usize) -> usize {
    rows / 16 * (inputs / GROUP) * stride
}

/// Blocks of 16 rows whose scales and zero points lie behind each group: padded to 576 bytes, or 552 without padding.
pub fn inline<const STRIDE: usize>(c: &Compute, x: &Quantized, rows: usize, inputs: usize, data: &[u8]) {
    assert_eq!(data.len(), inline_bytes(STRIDE, rows, inputs));
    share(c, data, inputs / GROUP * STRIDE, |block| {
        // SAFETY: the caller has asked whether this CPU has AVX-512.
        unsafe { inline_block::<STRIDE>(block, x) }
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c")]
fn inline_block<const STRIDE: usize>(block: &[u8], x: &Quantized) -> f32 {
    let mut total = _mm512_setzero_ps();
    for (g, group) in block.as_chunks::<STRIDE>().0.iter().enumerate() {
        let (lines, header) = group.split_at(8 * GROUP);
        let start = minus_product(load_zeros(header[32..40].try_into().expect("8 bytes")), x.sums[g]);
        let dot = add_lines(start, lines, &x.words[g * 16..][..16], 64, 0);
        total = add_group(total, dot, &header[..32], x.scales[g]);
    }
    _mm512_reduce_add_ps(total)
}

pub fn wide_bytes(rows: usize, inputs: usize) -> usize {
    rows / 32 * wide_block_bytes(inputs)
}

fn wide_block_bytes(inputs: usize) -> usize {
    (inputs / GROUP * 80).next_multiple_of(64) + inputs * 16
}

/// Blocks of 32 rows, header first: a line of 128 bytes is 8 inputs of 32 channels.
pub fn wide(c: &Compute, x: &Quantized, rows: usize, inputs: usize, data: &[u8]) {
    assert_eq!(data.len(), wide_bytes(rows, inputs));
    share(c, data, wide_block_bytes(inputs), |block| {
        // SAFETY: the caller has asked whether this CPU has AVX-512.
        unsafe { wide_block(block, inputs / GROUP, x) }
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c")]
fn wide_block(block: &[u8], groups: usize, x: &Quantized) -> f32 {
    let (header, lines) = block.split_at((groups * 80).next_multiple_of(64));
    let (scales, zeros) = header.split_at(groups * 64);
    for line in header.chunks(64) {
        prefetch(line.as_ptr());
    }
    let mut total = [_mm512_setzero_ps(); 2];
    for (g, lines) in lines.chunks_exact(16 * GROUP).enumerate() {
        for half in 0..2 {
            let zeros = load_zeros(zeros[16 * g + 8 * half..][..8].try_into().expect("8 bytes"));
            let start = minus_product(zeros, x.sums[g]);
            let dot = add_lines(start, lines, &x.words[g * 16..][..16], 128, 64 * half);
            total[half] = add_group(total[half], dot, &scales[64 * g + 32 * half..][..32], x.scales[g]);
        }
    }
    _mm512_reduce_add_ps(_mm512_add_ps(total[0], total[1]))
}

pub fn row_major_bytes(rows: usize, inputs: usize) -> usize {
    rows * row_bytes(inputs)
}

fn row_bytes(inputs: usize) -> usize {
    inputs / 2 + inputs / GROUP * 3
}

/// Row by row: inputs i and i + 32 of a group in a byte, then the row's scales, then its zero points, a byte each.
pub fn row_major(c: &Compute, x: &Quantized, rows: usize, inputs: usize, data: &[u8]) {
    assert_eq!(data.len(), row_major_bytes(rows, inputs));
    share(c, data, row_bytes(inputs), |row| {
        // SAFETY: the caller has asked whether this CPU has AVX-512.
        unsafe { row_times(row, inputs / GROUP, x) }
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,f16c")]
fn row_times(row: &[u8], groups: usize, x: &Quantized) -> f32 {
    let (codes, rest) = row.split_at(groups * GROUP / 2);
    let (scales, zeros) = rest.split_at(groups * 2);
    let (scales, words) = (scales.as_chunks::<2>().0, x.words.as_chunks::<16>().0);
    let mut total = _mm512_setzero_ps();
    let mut correction = 0.0;
    for (g, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
        prefetch(codes.as_ptr());
        // SAFETY: 32 readable bytes of codes, 64 of activations.
        let (packed, q) = unsafe {
            (_mm256_loadu_si256(codes.as_ptr().cast()), _mm512_loadu_si512(words[g].as_ptr().cast()))
        };
        let codes = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(packed), _mm256_srli_epi16::<4>(packed));
        let codes = _mm512_and_si512(codes, _mm512_set1_epi8(15));
        let dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, q);
        let scale = half::f16::from_le_bytes(scales[g]);
        let scale = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(scale.to_bits())))) * x.scales[g];
        total = _mm512_add_ps(total, _mm512_mul_ps(_mm512_cvtepi32_ps(dot), _mm512_set1_ps(scale)));
        correction += (i32::from(zeros[g] & 15) * x.sums[g]) as f32 * scale;
    }
    _mm512_reduce_add_ps(total) - correction
}

/// Adds the products of a group: lines of 16 channels x 8 inputs, `stride` bytes apart from `first`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn add_lines(start: __m512i, lines: &[u8], words: &[i32], stride: usize, first: usize) -> __m512i {
    let mask = _mm512_set1_epi8(15);
    let zero = _mm512_setzero_si512();
    let mut sums = [start, zero, zero, zero];
    for (l, (line, words)) in lines.chunks_exact(stride).zip(words.as_chunks::<2>().0).enumerate() {
        let line = &line[first..first + 64];
        prefetch(line.as_ptr());
        // SAFETY: 64 readable bytes.
        let line = unsafe { _mm512_loadu_si512(line.as_ptr().cast()) };
        let (low, high) =
            (_mm512_and_si512(line, mask), _mm512_and_si512(_mm512_srli_epi32::<4>(line), mask));
        let pair = 2 * (l % 2);
        sums[pair] = _mm512_dpbusd_epi32(sums[pair], low, _mm512_set1_epi32(words[0]));
        sums[pair + 1] = _mm512_dpbusd_epi32(sums[pair + 1], high, _mm512_set1_epi32(words[1]));
    }
    _mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]), _mm512_add_epi32(sums[2], sums[3]))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add_group(total: __m512, dot: __m512i, scales: &[u8], x_scale: f32) -> __m512 {
    assert_eq!(scales.len(), 32);
    // SAFETY: 32 readable bytes by the check above.
    let scales = _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(scales.as_ptr().cast()) });
    let scales = _mm512_mul_ps(scales, _mm512_set1_ps(x_scale));
    _mm512_add_ps(total, _mm512_mul_ps(_mm512_cvtepi32_ps(dot), scales))
}

#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn minus_product(zeros: __m512i, sum: i32) -> __m512i {
    _mm512_dpwssd_epi32(_mm512_setzero_si512(), zeros, _mm512_set1_epi32(-sum))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_zeros(zeros: &[u8; 8]) -> __m512i {
    let pairs = _mm_cvtsi64_si128(i64::from_le_bytes(*zeros));
    let mask = _mm_set1_epi8(15);
    let high = _mm_and_si128(_mm_srli_epi32::<4>(pairs), mask);
    _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(_mm_and_si128(pairs, mask), high))
}

#[inline(always)]
fn prefetch(at: *const u8) {
    // SAFETY: a prefetch reads nothing, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(PREFETCH_AHEAD).cast()) }
}
