//! Attention over keys and values of eight bits, in five steps of which two are linear layers.
//!
//! For the query heads that share a key-value head, the arithmetic, every step rounded to `f32`:
//! 1. each query head is quantized as the activations of a linear layer, per group of 64 elements;
//! 2. `score = (linear layer of the keys) · (1 / sqrt(head_dim))`;
//! 3. `e = exp(score - max)` over the visible positions, each times its value's scale, and those quantized per group
//!    of 64 positions; the sum of `e` runs over sixteen lanes that are added as the fixed tree;
//! 4. the linear layer of the values;
//! 5. its results divided by the sum: softmax, with one division an element instead of one a position.
//!
//! Groups of positions add up in ascending order, so steps 2 and 4 can be shared between a device that does the whole
//! groups and a processor that does the last, unfinished one. One thread does a step; different heads are independent.

use std::ops::Range;

use edgewen_layout::{BLOCK_ROWS, GroupSize};

use crate::exp::exp_lanes;
use crate::kv::{GROUP_POSITIONS, Int8Cache};
use crate::linear::segment_product;
use crate::simd::{Kernel, LANES, Simd, dispatch};
use crate::{Activations, Isa};

/// Step 1: quantizes `q` [heads, head_dim].
pub fn quantize_queries(isa: Isa, q: &[f32], head_dim: usize, out: &mut Activations) {
    out.quantize_alone(isa, q, q.len() / head_dim, head_dim, GroupSize::G64);
}

/// Step 2 for some groups of positions, without the factor: adds to `scores` [heads, stride], whose column is the
/// position.
///
/// # Panics
/// If the cache does not hold the groups, or `scores` has no room for them.
pub fn add_scores(
    isa: Isa,
    cache: &Int8Cache,
    kv_head: usize,
    groups: Range<usize>,
    queries: &Activations,
    scores: &mut [f32],
    stride: usize,
) {
    let mut sums = vec![0.0; queries.tokens() * BLOCK_ROWS];
    for group in groups {
        let blocks = cache.keys(kv_head, group).chunks_exact(cache.runs());
        for (block, runs) in blocks.enumerate() {
            let first = group * GROUP_POSITIONS + block * BLOCK_ROWS;
            for (run, segment) in runs.iter().enumerate() {
                segment_product(isa, segment, queries, run, &mut sums);
                for (sums, scores) in sums.chunks_exact(BLOCK_ROWS).zip(scores.chunks_exact_mut(stride)) {
                    add(&mut scores[first..first + BLOCK_ROWS], sums);
                }
            }
        }
    }
}

/// Step 3: turns `scores` [heads, stride] into quantized weights of the first `positions` positions, and writes their
/// sum to `sums`, one a head. The stride is that number, rounded up to whole groups; `scores` is overwritten.
///
/// # Panics
/// If the lengths do not fit, or the cache does not hold the positions.
pub fn weigh(
    isa: Isa,
    cache: &Int8Cache,
    kv_head: usize,
    positions: usize,
    scores: &mut [f32],
    out: &mut Activations,
    sums: &mut [f32],
) {
    let stride = positions.next_multiple_of(GROUP_POSITIONS);
    assert_eq!(scores.len(), sums.len() * stride, "scores [{}, {stride}]", sums.len());
    let factor = 1.0 / (cache.head_dim() as f32).sqrt();
    for (scores, sum) in scores.chunks_exact_mut(stride).zip(sums.iter_mut()) {
        dispatch(isa, Weigh { cache, kv_head, positions, factor, scores, sum });
    }
    out.quantize_alone(isa, scores, sums.len(), stride, GroupSize::G64);
}

/// Step 4 for some groups of positions: adds to `out` [heads, head_dim].
///
/// # Panics
/// If the cache or the weights do not hold the groups.
pub fn add_values(
    isa: Isa,
    cache: &Int8Cache,
    kv_head: usize,
    groups: Range<usize>,
    weights: &Activations,
    out: &mut [f32],
) {
    let mut sums = vec![0.0; weights.tokens() * BLOCK_ROWS];
    for group in groups {
        for (block, segment) in cache.values(kv_head, group).iter().enumerate() {
            segment_product(isa, segment, weights, group, &mut sums);
            for (sums, out) in sums.chunks_exact(BLOCK_ROWS).zip(out.chunks_exact_mut(cache.head_dim())) {
                let rest = out.len() - block * BLOCK_ROWS;
                add(&mut out[block * BLOCK_ROWS..][..rest.min(BLOCK_ROWS)], sums);
            }
        }
    }
}

/// Step 5: divides `out` [heads, head_dim] by `sums`, one a head.
pub fn normalize(out: &mut [f32], sums: &[f32]) {
    for (out, sum) in out.chunks_exact_mut(out.len() / sums.len()).zip(sums) {
        out.iter_mut().for_each(|out| *out /= sum);
    }
}

fn add(to: &mut [f32], sums: &[f32]) {
    for (to, sum) in to.iter_mut().zip(sums) {
        *to += sum;
    }
}

struct Weigh<'a> {
    cache: &'a Int8Cache,
    kv_head: usize,
    positions: usize,
    factor: f32,
    scores: &'a mut [f32],
    sum: &'a mut f32,
}

impl Kernel for Weigh<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Positions that are not seen weigh nothing, so that whole blocks can be computed: e to the power -inf is 0.
        self.scores[self.positions..].fill(f32::NEG_INFINITY);
        let factor = s.splat(self.factor);
        let blocks = self.scores.as_chunks_mut::<LANES>().0;
        let mut max = s.splat(f32::NEG_INFINITY);
        for block in &mut *blocks {
            let score = s.mul(s.load(block), factor);
            s.store(score, block);
            max = s.max(score, max);
        }
        let max = s.splat(s.reduce_max(max));
        let mut sum = s.splat(0.0);
        for (group, blocks) in blocks.chunks_mut(GROUP_POSITIONS / LANES).enumerate() {
            let scales = self.cache.value_scales(self.kv_head, group).as_chunks::<LANES>().0;
            for (block, scales) in blocks.iter_mut().zip(scales) {
                let e = exp_lanes(s, s.sub(s.load(block), max));
                sum = s.add(sum, e);
                s.store(s.mul(e, s.load(scales)), block);
            }
        }
        *self.sum = s.reduce_add(sum);
        // Their scales may be anything, and zero times infinity is not a number.
        self.scores[self.positions..].fill(0.0);
    }
}
