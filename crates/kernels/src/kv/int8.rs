//! Keys and values in eight bits, laid out as the weights of linear layers.
//!
//! The query heads that share a key-value head multiply the same keys, and then the same values: to them these are
//! matrices, and a token's attention is two linear layers with a softmax between. So both are kept in segments,
//! [16 positions, 64 elements] for keys and [16 elements, 64 positions] for values, and whoever multiplies weights
//! can multiply them: the kernels here, and the accelerator, which streams them like weights.
//!
//! Keys have a scale for each position and head in the segment. A value's scale cannot be there, since positions are
//! the inputs; it is multiplied into the attention weight of its position before that is quantized, and the
//! segment's scales are one.

use edgewen_layout::{BLOCK_ROWS, SEGMENT_INPUTS, Segment};
use half::f16;

use crate::simd::{LANES, Simd};

/// Positions of a group: what one segment of values holds.
pub const GROUP_POSITIONS: usize = SEGMENT_INPUTS;

/// Blocks of keys in a group of positions.
const KEY_BLOCKS: usize = GROUP_POSITIONS / BLOCK_ROWS;

/// A segment's scale for codes that stand for themselves.
const ONE: f16 = f16::from_f32_const(16.0);

/// Keys and values of one layer and one sequence.
pub struct Int8Cache {
    kv_heads: usize,
    head_dim: usize,
    groups: Vec<Group>,
}

/// Sixty-four positions.
struct Group {
    /// [kv_heads][blocks of 16 positions][runs of 64 elements]
    keys: Box<[Segment]>,
    /// [kv_heads][blocks of 16 elements]
    values: Box<[Segment]>,
    /// [kv_heads][positions]
    value_scales: Box<[[f32; GROUP_POSITIONS]]>,
}

impl Int8Cache {
    pub(super) fn new(kv_heads: usize, head_dim: usize) -> Self {
        Self { kv_heads, head_dim, groups: Vec::new() }
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Runs of 64 elements in a head, the last one perhaps padded.
    pub fn runs(&self) -> usize {
        self.head_dim.div_ceil(SEGMENT_INPUTS)
    }

    /// Blocks of 16 elements in a head, the last one perhaps padded.
    pub fn dim_blocks(&self) -> usize {
        self.head_dim.div_ceil(BLOCK_ROWS)
    }

    /// Keys of a group of positions: for each of its 4 blocks of positions, the runs of elements.
    pub fn keys(&self, kv_head: usize, group: usize) -> &[Segment] {
        let count = KEY_BLOCKS * self.runs();
        &self.groups[group].keys[kv_head * count..][..count]
    }

    /// Values of a group of positions: one segment for each block of elements.
    pub fn values(&self, kv_head: usize, group: usize) -> &[Segment] {
        &self.groups[group].values[kv_head * self.dim_blocks()..][..self.dim_blocks()]
    }

    /// Scales of the values of a group of positions; unspecified for positions not held.
    pub fn value_scales(&self, kv_head: usize, group: usize) -> &[f32; GROUP_POSITIONS] {
        &self.groups[group].value_scales[kv_head]
    }

    pub(super) fn bytes(&self) -> usize {
        let group = |group: &Group| {
            size_of_val(&*group.keys) + size_of_val(&*group.values) + size_of_val(&*group.value_scales)
        };
        self.groups.iter().map(group).sum::<usize>() + self.groups.capacity() * size_of::<Group>()
    }

    /// Makes room for `len` positions and frees the groups of those behind.
    pub(super) fn resize(&mut self, len: usize) {
        let (keys, values) = (self.kv_heads * KEY_BLOCKS * self.runs(), self.kv_heads * self.dim_blocks());
        let mut value = Segment::default();
        (0..BLOCK_ROWS).for_each(|channel| value.set_scale(channel, ONE));
        self.groups.resize_with(len.div_ceil(GROUP_POSITIONS), || Group {
            keys: vec![Segment::default(); keys].into(),
            values: vec![value.clone(); values].into(),
            value_scales: vec![[0.0; GROUP_POSITIONS]; self.kv_heads].into(),
        });
    }

    /// Stores a key and a value of one head at a position that there is room for.
    #[inline(always)]
    pub(super) fn set<S: Simd>(&mut self, s: S, head: usize, position: usize, k: &[f32], v: &[f32]) {
        let (runs, blocks) = (self.runs(), self.dim_blocks());
        let (group, position) = (&mut self.groups[position / GROUP_POSITIONS], position % GROUP_POSITIONS);

        let (block, channel) = (position / BLOCK_ROWS, position % BLOCK_ROWS);
        let keys = &mut group.keys[(head * KEY_BLOCKS + block) * runs..][..runs];
        let (scale, factor) = key_scale(absmax(s, k));
        for (segment, k) in keys.iter_mut().zip(k.chunks(SEGMENT_INPUTS)) {
            segment.set_scale(channel, scale);
            for (chunk, k) in k.chunks(LANES).enumerate() {
                let codes = codes(s, k, factor);
                for (half, codes) in codes.as_chunks().0.iter().enumerate() {
                    segment.set_codes(channel, chunk * LANES + 8 * half, *codes);
                }
            }
        }

        let values = &mut group.values[head * blocks..][..blocks];
        let max = absmax(s, v);
        group.value_scales[head][position] = max / 127.0;
        let factor = finite(127.0 / max);
        for (segment, v) in values.iter_mut().zip(v.chunks(BLOCK_ROWS)) {
            for (channel, code) in codes(s, v, factor).into_iter().enumerate() {
                segment.set_code(channel, position, code);
            }
        }
    }
}

/// The scale that a segment holds, sixteen steps, rounded to half precision and saturated, and the reciprocal of
/// the step that this leaves.
fn key_scale(absmax: f32) -> (f16, f32) {
    let scale = f16::from_f32(absmax / 127.0 * 16.0).min(f16::MAX);
    (scale, finite(1.0 / (scale.to_f32() * (1.0 / 16.0))))
}

/// `factor`, or zero for a group without values or with values too small to count.
fn finite(factor: f32) -> f32 {
    if factor.is_finite() { factor } else { 0.0 }
}

#[inline(always)]
fn absmax<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut max = s.splat(0.0);
    for x in x.chunks(LANES) {
        max = s.max(s.abs(s.load_partial(x, 0.0)), max);
    }
    s.reduce_max(max)
}

/// `round_ties_even(x · factor)` within +-127; what is not a number becomes -127.
#[inline(always)]
fn codes<S: Simd>(s: S, x: &[f32], factor: f32) -> [i8; LANES] {
    let x = s.mul(s.load_partial(x, 0.0), s.splat(factor));
    let mut codes = [0; LANES];
    s.store_i8(s.min(s.max(x, s.splat(-127.0)), s.splat(127.0)), &mut codes);
    codes
}
