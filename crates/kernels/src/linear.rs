//! Linear layers with quantized weights and activations.
//!
//! Per group of inputs the integer `D = sum q q_a - z sum_a` is exact, and `acc += f32(D) * (s_w * s_a)` with every
//! operation rounded once, groups ascending, bias last. So a result depends neither on the instruction set nor on
//! the threads nor on how many tokens are computed at once. With eight bits `D = sum (16 hi + lo) q_a - 16 z sum_a`
//! and the step is `s_w / 16`; `D` stays below 2^23, so that its conversion is exact too. Whether the two planes of
//! eight bits lie apart or group by group changes where a kernel reads, and nothing else.
//!
//! Each file below exports the same two functions for a range of row blocks and all tokens: `few` streams packed
//! weights past one to four tokens at a time, `many` unpacks a panel of weights once for all tokens.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

use edgewen_layout::{BLOCK_ROWS, RowBlockShape, SEGMENT_INPUTS, SEGMENT_SHAPE, Segment, WeightBits};

use self::block::{Block, Group, Parts};
use crate::isa::IsaKind;
use crate::{Activations, Compute, Isa};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod block;
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

    /// The high plane of an 8-bit matrix whose planes lie apart: a 4-bit matrix of the same shape, whose product comes
    /// near that of the whole. Nothing for other matrices.
    pub fn high_plane(&self) -> Option<RowBlocks<'a>> {
        let shape = RowBlockShape { bits: WeightBits::Four, ..self.shape };
        let is_apart = self.shape.bits == WeightBits::Eight;
        is_apart.then(|| Self { shape, data: &self.data[..self.shape.low_plane_offset()] })
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
    let job = Job::new(w, x, bias, out);
    if x.tokens() == 0 || w.shape.rows == 0 {
        return;
    }
    let many = MANY_TOKENS <= x.tokens();
    let blocks = w.shape.blocks();
    let share = blocks.div_ceil(4 * c.pool.threads());
    let task = if many { PANEL_BLOCKS } else { (TASK_BYTES / w.shape.block_bytes().max(1)).clamp(1, share) };
    c.pool.run(blocks.div_ceil(task), |i| {
        let blocks = i * task..blocks.min((i + 1) * task);
        // SAFETY: no two tasks have a block in common.
        unsafe { run(c.isa, many, &job, blocks) };
    });
}

/// [`linear`] for the rows of some row blocks, whose numbers ascend; the other results stay as they are.
///
/// # Panics
/// As [`linear`], and if the numbers do not ascend or there is no such block.
pub fn linear_blocks(
    c: &Compute,
    w: &RowBlocks<'_>,
    x: &Activations,
    bias: Option<&[f32]>,
    blocks: &[usize],
    out: &mut [f32],
) {
    let job = Job::new(w, x, bias, out);
    assert!(blocks.is_sorted_by(|a, b| a < b), "the numbers of the blocks ascend");
    assert!(blocks.last().is_none_or(|&last| last < w.shape.blocks()), "blocks of {}", w.shape.blocks());
    if x.tokens() == 0 {
        return;
    }
    let task = blocks.len().div_ceil(4 * c.pool.threads()).max(1);
    c.pool.run(blocks.len().div_ceil(task), |i| {
        for &block in &blocks[i * task..blocks.len().min((i + 1) * task)] {
            // SAFETY: no number is there twice, so no two tasks have a block in common.
            unsafe { run(c.isa, false, &job, block..block + 1) };
        }
    });
}

/// `out` [tokens, 16] = group `group` of `x`, which has groups of 64, times a segment; on the calling thread.
pub(crate) fn segment_product(isa: Isa, segment: &Segment, x: &Activations, group: usize, out: &mut [f32]) {
    assert_eq!(out.len(), x.tokens() * BLOCK_ROWS, "results [{}, 16]", x.tokens());
    assert!((group + 1) * SEGMENT_INPUTS * x.tokens() <= x.q().len(), "group {group} of the activations");
    let weights = RowBlocks { shape: SEGMENT_SHAPE, data: &segment.0 };
    const { assert!(Parts::SEGMENT.end(0) <= size_of::<Segment>()) };
    let (parts, out) = (Parts::SEGMENT, Output::new(out));
    let job = Job { weights, parts, blocks: 1, activations: x, first_group: group, bias: None, out };
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
    parts: Parts,
    blocks: usize,
    activations: &'a Activations,
    /// Group of the activations that the first group of the weights is multiplied with.
    first_group: usize,
    bias: Option<&'a [f32]>,
    out: Output<'a>,
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
    /// Every token times every row, once all lengths are right.
    fn new(w: &RowBlocks<'a>, x: &'a Activations, bias: Option<&'a [f32]>, out: &'a mut [f32]) -> Self {
        let shape = w.shape;
        assert_eq!(x.inputs(), shape.inputs, "inputs of the activations and of the weights");
        assert!(
            x.group().is_none_or(|group| group == shape.group),
            "group of the activations and of the weights"
        );
        assert_eq!(out.len(), x.tokens() * shape.rows, "results [{}, {}]", x.tokens(), shape.rows);
        assert!(bias.is_none_or(|bias| bias.len() == shape.rows), "bias of {} rows", shape.rows);
        let (parts, blocks) = (Parts::new(&shape), shape.blocks());
        if let Some(last) = blocks.checked_sub(1) {
            assert!(parts.end(last) <= w.data.len(), "{blocks} row blocks in {} bytes", w.data.len());
        }
        Self { weights: *w, parts, blocks, activations: x, first_group: 0, bias, out: Output::new(out) }
    }

    /// Runs of four lines, 32 inputs, in a group.
    fn quads(&self) -> usize {
        self.weights.shape.group.get() / 32
    }

    fn eight_bits(&self) -> bool {
        self.weights.shape.bits != WeightBits::Four
    }

    fn tokens(&self) -> usize {
        self.activations.tokens()
    }

    #[inline(always)]
    fn block(&self, block: usize) -> Block<'_> {
        assert!(block < self.blocks, "row block {block} of {}", self.blocks);
        // SAFETY: `new` has checked that the last block lies within the matrix, and segments are whole.
        unsafe { Block::new(self.weights.data, &self.parts, block) }
    }

    #[inline(always)]
    fn token(&self, token: usize) -> Token<'a> {
        let (x, groups, group) = (self.activations, self.parts.groups, self.weights.shape.group.get());
        let first = token * x.groups() + self.first_group;
        Token {
            q: x.q()[first * group..][..groups * group].as_chunks().0,
            scales: &x.scales()[first..][..groups],
            sums: &x.sums()[first..][..groups],
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
