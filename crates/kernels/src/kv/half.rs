//! Keys and values in half precision.
//!
//! Within a block of sixteen positions keys are transposed: the positions of one key element lie side by side, and a
//! score for each of them comes out of vertical operations only. Values lie row by row.

use crate::simd::{LANES, Line, Simd};

/// The greatest finite half-precision number, to which stored values saturate.
const F16_MAX: f32 = 65504.0;

/// Keys and values of one layer and one sequence.
pub(crate) struct HalfCache {
    kv_heads: usize,
    head_dim: usize,
    blocks: Vec<Block>,
}

/// Sixteen positions. Rows are [kv_heads][head_dim keys + 16 · chunks values][16]: a key row is one element of sixteen
/// positions, a value row sixteen elements of one position, zeros beyond `head_dim`.
type Block = Box<[[u16; LANES]]>;

impl HalfCache {
    pub(super) fn new(kv_heads: usize, head_dim: usize) -> Self {
        Self { kv_heads, head_dim, blocks: Vec::new() }
    }

    pub(crate) fn head_dim(&self) -> usize {
        self.head_dim
    }

    pub(super) fn bytes(&self) -> usize {
        let block = self.kv_heads * self.head_rows() * LANES * size_of::<u16>();
        self.blocks.len() * block + self.blocks.capacity() * size_of::<Block>()
    }

    /// Makes room for `len` positions and frees the blocks of those behind.
    pub(super) fn resize(&mut self, len: usize) {
        let rows = self.kv_heads * self.head_rows();
        self.blocks.resize_with(len.div_ceil(LANES), || vec![[0; LANES]; rows].into());
    }

    /// Number of rows of sixteen values that hold one position.
    pub(crate) fn chunks(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }

    fn head_rows(&self) -> usize {
        self.head_dim + LANES * self.chunks()
    }

    /// The keys of one head and block as [head_dim][16 positions]. Positions not held have unspecified keys.
    #[inline(always)]
    pub(crate) fn keys<S: Simd>(&self, s: S, head: usize, block: usize, out: &mut [Line]) {
        let start = head * self.head_rows();
        for (out, row) in out.iter_mut().zip(&self.blocks[block][start..][..self.head_dim]) {
            s.store(s.load_f16(row), &mut out.0);
        }
    }

    /// The values of one head and the first positions of a block as [positions][chunks][16].
    #[inline(always)]
    pub(crate) fn values<S: Simd>(
        &self,
        s: S,
        head: usize,
        block: usize,
        positions: usize,
        out: &mut [Line],
    ) {
        let start = head * self.head_rows() + self.head_dim;
        for (out, row) in out[..positions * self.chunks()].iter_mut().zip(&self.blocks[block][start..]) {
            s.store(s.load_f16(row), &mut out.0);
        }
    }

    /// Stores a key and a value of one head at a position that there is room for.
    #[inline(always)]
    pub(super) fn set<S: Simd>(&mut self, s: S, head: usize, position: usize, k: &[f32], v: &[f32]) {
        let (chunks, lane) = (self.chunks(), position % LANES);
        let first = head * self.head_rows();
        let rows = &mut self.blocks[position / LANES][first..];
        let (keys, values) = rows.split_at_mut(self.head_dim);
        for (keys, k) in keys.chunks_mut(LANES).zip(k.chunks(LANES)) {
            let mut half = [0; LANES];
            store_saturated(s, k, &mut half);
            for (row, half) in keys.iter_mut().zip(half) {
                row[lane] = half;
            }
        }
        for (row, v) in values[lane * chunks..].iter_mut().zip(v.chunks(LANES)) {
            store_saturated(s, v, row);
        }
    }
}

#[inline(always)]
fn store_saturated<S: Simd>(s: S, x: &[f32], out: &mut [u16; LANES]) {
    let x = s.load_partial(x, 0.0);
    // What is not a number stays so: the second operand is the result then.
    let x = s.min(s.splat(F16_MAX), s.max(s.splat(-F16_MAX), x));
    s.store_f16(x, out);
}
