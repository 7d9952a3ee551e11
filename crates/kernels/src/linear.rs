//! Linear layers with quantized weights and activations.
//!
//! Per group of inputs the integer `D = sum q q_a - z sum_a` is exact, and `acc += f32(D) * (s_w * s_a)` with every
//! operation rounded once, groups ascending, bias last. So a result depends neither on the instruction set nor on
//! the threads nor on how many tokens are computed at once. With eight bits `D = sum (16 hi + lo) q_a - 16 z sum_a`
//! and the step is `s_w / 16`; `D` stays below 2^23, so that its conversion is exact too.
//!
//! Each file below exports the same two functions for a range of row blocks and all tokens: `few` streams packed
//! weights past one to four tokens at a time, `many` unpacks a panel of weights once for all tokens.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use edgewen_layout::{BLOCK_ROWS, RowBlockShape, SEGMENT_INPUTS, SEGMENT_SHAPE, Segment, WeightBits};

use crate::isa::IsaKind;
use crate::{Activations, Compute, Isa};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

/// Tokens from which unpacking a panel pays.
const MANY_TOKENS: usize = 16;

/// Weights of a task of `few`: small enough to share evenly, large enough that the memory streams.
const TASK_BYTES: usize = 128 << 10;

/// Row blocks of a task of `many`: one panel of the widest kernel.
const PANEL_BLOCKS: usize = 2;

/// Packed bytes whose number does not fit the shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthError {
    /// Bytes that the shape asks for; `None` when they do not fit in memory at all.
    pub expected: Option<usize>,
    /// Bytes that were given.
    pub found: usize,
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.expected {
            Some(expected) => write!(f, "packed matrix of {} bytes, expected {expected}", self.found),
            None => write!(f, "packed matrix of {} bytes, expected more than memory can hold", self.found),
        }
    }
}

impl std::error::Error for LengthError {}

/// A quantized matrix [rows, inputs] in row-block order.
#[derive(Debug, Clone, Copy)]
pub struct RowBlocks<'a> {
    shape: RowBlockShape,
    data: &'a [u8],
}

impl<'a> RowBlocks<'a> {
    /// The matrix of this shape in `data`, if that has the right length.
    pub fn new(shape: RowBlockShape, data: &'a [u8]) -> Result<Self, LengthError> {
        let expected = shape.try_total_bytes();
        if expected == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            Err(LengthError { expected, found: data.len() })
        }
    }

    /// Shape.
    pub fn shape(&self) -> &RowBlockShape {
        &self.shape
    }

    /// Row `row` as floats `[inputs]`, each weight rounded once.
    ///
    /// # Panics
    /// If the row does not exist or `out` is not `[inputs]` long.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        edgewen_layout::dequantize_row(&self.shape, self.data, row, out);
    }
}

/// `out` [tokens, rows] = `x` [tokens, inputs] times `w` [rows, inputs] transposed, plus `bias` `[rows]`.
///
/// # Panics
/// If `x` was quantized for another number of inputs or group size, or `bias` or `out` has another length.
pub fn linear(c: &Compute, w: &RowBlocks<'_>, x: &Activations, bias: Option<&[f32]>, out: &mut [f32]) {
    let shape = w.shape;
    let tokens = x.tokens();
    assert_eq!(x.inputs(), shape.inputs, "inputs of the activations and of the weights");
    assert!(
        x.group().is_none_or(|group| group == shape.group),
        "group of the activations and of the weights"
    );
    assert_eq!(out.len(), tokens * shape.rows, "results [{tokens}, {}]", shape.rows);
    assert!(bias.is_none_or(|bias| bias.len() == shape.rows), "bias of {} rows", shape.rows);
    if out.is_empty() {
        return;
    }
    let job = Job { weights: *w, activations: x, first_group: 0, bias, out: Output::new(out) };
    let many = MANY_TOKENS <= tokens;
    let blocks = shape.blocks();
    let share = blocks.div_ceil(4 * c.pool.threads());
    let task = if many { PANEL_BLOCKS } else { (TASK_BYTES / shape.block_bytes().max(1)).clamp(1, share) };
    c.pool.run(blocks.div_ceil(task), |i| {
        let blocks = i * task..blocks.min((i + 1) * task);
        // SAFETY: no two tasks have a block in common.
        unsafe { run(c.isa, many, &job, blocks) };
    });
}

/// `out` [tokens, 16] = group `group` of `x`, which has groups of 64, times a segment; on the calling thread.
pub(crate) fn segment_product(isa: Isa, segment: &Segment, x: &Activations, group: usize, out: &mut [f32]) {
    assert_eq!(out.len(), x.tokens() * BLOCK_ROWS, "results [{}, 16]", x.tokens());
    assert!((group + 1) * SEGMENT_INPUTS * x.tokens() <= x.q().len(), "group {group} of the activations");
    let weights = RowBlocks { shape: SEGMENT_SHAPE, data: &segment.0 };
    let job = Job { weights, activations: x, first_group: group, bias: None, out: Output::new(out) };
    // SAFETY: nobody else has the results.
    unsafe { run(isa, false, &job, 0..1) };
}

/// # Safety
/// No other thread may be using the results of these blocks.
unsafe fn run(isa: Isa, many: bool, job: &Job<'_>, blocks: Range<usize>) {
    // SAFETY: an `Isa` exists only on a CPU that has its instructions, and the caller's promise.
    unsafe {
        match (isa.kind(), many) {
            #[cfg(target_arch = "x86_64")]
            (IsaKind::Avx512, true) => avx512::many(job, blocks),
            #[cfg(target_arch = "x86_64")]
            (IsaKind::Avx512, false) => avx512::few(job, blocks),
            #[cfg(target_arch = "x86_64")]
            (IsaKind::Avx2, true) => avx2::many(job, blocks),
            #[cfg(target_arch = "x86_64")]
            (IsaKind::Avx2, false) => avx2::few(job, blocks),
            #[cfg(target_arch = "aarch64")]
            (IsaKind::NeonDotprod, true) => dotprod::many(job, blocks),
            #[cfg(target_arch = "aarch64")]
            (IsaKind::NeonDotprod, false) => dotprod::few(job, blocks),
            #[cfg(target_arch = "aarch64")]
            (IsaKind::Neon, true) => neon::many(job, blocks),
            #[cfg(target_arch = "aarch64")]
            (IsaKind::Neon, false) => neon::few(job, blocks),
            (_, true) => scalar::many(job, blocks),
            (_, false) => scalar::few(job, blocks),
        }
    }
}

/// A matrix times activations, as the kernels see it.
struct Job<'a> {
    weights: RowBlocks<'a>,
    activations: &'a Activations,
    /// Group of the activations that the first group of the weights is multiplied with.
    first_group: usize,
    bias: Option<&'a [f32]>,
    out: Output<'a>,
}

/// The parts of one row block.
#[derive(Clone, Copy)]
struct Block<'a> {
    /// f16 of 16 channels, one element a group.
    scales: &'a [[u8; 32]],
    /// u4 of 16 channels, one element a group.
    zeros: &'a [[u8; 8]],
    /// Lines of the high plane, or of the only one.
    lines: &'a [[u8; 64]],
    /// Lines of the low plane; none with four bits.
    low_lines: &'a [[u8; 64]],
}

/// The activations of one token.
#[derive(Clone, Copy)]
struct Token<'a> {
    /// Codes, four lines' worth of inputs an element.
    q: &'a [[i8; 32]],
    /// One element a group.
    scales: &'a [f32],
    /// One element a group.
    sums: &'a [i32],
}

impl<'a> Job<'a> {
    /// Runs of four lines, 32 inputs, in a group.
    fn quads(&self) -> usize {
        self.weights.shape.group.get() / 32
    }

    fn eight_bits(&self) -> bool {
        self.weights.shape.bits == WeightBits::Eight
    }

    fn tokens(&self) -> usize {
        self.activations.tokens()
    }

    #[inline(always)]
    fn block(&self, block: usize) -> Block<'a> {
        let RowBlocks { shape, data } = self.weights;
        let (header, lines) =
            data[block * shape.block_bytes()..][..shape.block_bytes()].split_at(shape.header_bytes());
        let low = match shape.bits {
            WeightBits::Four => &[],
            WeightBits::Eight => {
                &data[shape.low_plane_offset() + block * shape.low_block_bytes()..][..shape.low_block_bytes()]
            }
        };
        let (scales, zeros) = header.split_at(shape.zeros_offset());
        Block {
            scales: scales.as_chunks().0,
            zeros: &zeros.as_chunks().0[..shape.groups()],
            lines: lines.as_chunks().0,
            low_lines: low.as_chunks().0,
        }
    }

    #[inline(always)]
    fn token(&self, token: usize) -> Token<'a> {
        let (x, shape) = (self.activations, &self.weights.shape);
        let first = token * x.groups() + self.first_group;
        Token {
            q: x.q()[first * shape.group.get()..][..shape.padded_inputs()].as_chunks().0,
            scales: &x.scales()[first..][..shape.groups()],
            sums: &x.sums()[first..][..shape.groups()],
        }
    }

    /// Bias of the rows of a block that exist.
    #[inline(always)]
    fn bias(&self, block: usize) -> Option<&'a [f32]> {
        self.bias.map(|bias| &bias[self.rows(block)])
    }

    /// The address of [`Self::results`], to be asked for ahead of writing.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn results_address(&self, token: usize, block: usize) -> *const f32 {
        self.out.start.wrapping_add(token * self.weights.shape.rows + block * BLOCK_ROWS)
    }

    /// Where one token's results of the rows of a block that exist go: at most 16.
    ///
    /// # Safety
    /// No other thread may be using this block's results, and the last borrow of these must have ended.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "threads write disjoint columns of the results")]
    unsafe fn results(&self, token: usize, block: usize) -> &mut [f32] {
        let rows = self.rows(block);
        let start = token * self.weights.shape.rows + rows.start;
        // SAFETY: the caller's promise.
        unsafe { self.out.part(start..start + rows.len()) }
    }

    /// Adds the bias to the sums of one token and block and writes those rows that exist.
    ///
    /// # Safety
    /// No other thread may be using this block's results.
    #[inline]
    unsafe fn finish(&self, token: usize, block: usize, sums: &[f32; BLOCK_ROWS]) {
        let bias = self.bias(block);
        // SAFETY: the caller's promise; the borrow ends here.
        for (i, out) in unsafe { self.results(token, block) }.iter_mut().enumerate() {
            *out = bias.map_or(sums[i], |bias| sums[i] + bias[i]);
        }
    }

    #[inline(always)]
    fn rows(&self, block: usize) -> Range<usize> {
        block * BLOCK_ROWS..self.weights.shape.rows.min((block + 1) * BLOCK_ROWS)
    }
}

/// Where the results go: threads write disjoint columns of it, which a slice cannot express.
struct Output<'a> {
    start: *mut f32,
    len: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: the only access is `part`, whose callers keep to disjoint ranges.
unsafe impl Sync for Output<'_> {}

impl<'a> Output<'a> {
    fn new(out: &'a mut [f32]) -> Self {
        Self { start: out.as_mut_ptr(), len: out.len(), borrow: PhantomData }
    }

    /// # Safety
    /// While the result lives, no other part may overlap `range`.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the caller keeps the parts disjoint")]
    unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len, "results {range:?} of {}", self.len);
        // SAFETY: within the borrowed slice by the check above, and nobody else's by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
