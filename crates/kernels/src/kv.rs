//! The keys and values of one layer and one sequence.
//!
//! Positions are kept in blocks of sixteen, so that memory grows with the sequence and truncation is cheap. Within a
//! block keys are transposed: the sixteen positions of one key element lie side by side, and a score for each of them
//! comes out of vertical operations only. Values lie row by row. Both are half precision, or eight bits with a scale
//! for each position and head; attention sees what reading them back as `f32` gives.

use crate::Compute;
use crate::simd::{Kernel, LANES, Line, Simd, dispatch};

/// The greatest finite half-precision number, to which stored values saturate.
const F16_MAX: f32 = 65504.0;

/// How keys and values are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KvType {
    /// Half precision, rounded to nearest with ties to even; beyond its range +-65504.
    F16,
    /// Eight bits: `scale = absmax / 127` for each position and head, `code = round_ties_even(x · (127 / absmax))`.
    Int8,
}

/// Keys and values of one layer and one sequence.
pub struct KvLayer {
    kv_type: KvType,
    kv_heads: usize,
    head_dim: usize,
    len: usize,
    blocks: Vec<Block>,
}

/// Sixteen positions. Rows are [kv_heads][head_dim keys + 16 · chunks values][16]: a key row is one element of sixteen
/// positions, a value row sixteen elements of one position, zeros beyond `head_dim`.
enum Block {
    F16(Box<[[u16; LANES]]>),
    /// Codes, and scales [kv_heads][keys, values][16 positions].
    Int8(Box<[[i8; LANES]]>, Box<[[f32; LANES]]>),
}

impl KvLayer {
    /// An empty cache for `kv_heads` heads of `head_dim` elements.
    pub fn new(kv_type: KvType, kv_heads: usize, head_dim: usize) -> Self {
        assert!(kv_heads > 0 && head_dim > 0, "a cache needs heads with elements");
        Self { kv_type, kv_heads, head_dim, len: 0, blocks: Vec::new() }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How keys and values are stored.
    pub fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// Heads of keys and of values.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        let rows = self.kv_heads * self.head_rows() * LANES;
        let block = match self.kv_type {
            KvType::F16 => rows * size_of::<u16>(),
            KvType::Int8 => rows * size_of::<i8>() + self.kv_heads * 2 * LANES * size_of::<f32>(),
        };
        self.blocks.len() * block + self.blocks.capacity() * size_of::<Block>()
    }

    /// Forgets the positions from `len` on, and frees their blocks.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.blocks.truncate(self.len.div_ceil(LANES));
    }

    /// Appends `tokens` positions. Row `t` of `k` and of `v` starts at `t · stride` with [kv_heads, head_dim].
    ///
    /// # Panics
    /// If `k` or `v` is too short.
    pub fn append(&mut self, compute: &Compute, k: &[f32], v: &[f32], stride: usize, tokens: usize) {
        let width = self.kv_heads * self.head_dim;
        let Some(last) = tokens.checked_sub(1) else { return };
        assert!(width <= stride, "{} heads do not fit rows of {stride}", self.kv_heads);
        assert!(last * stride + width <= k.len().min(v.len()), "{tokens} rows of {stride} do not fit");
        while self.blocks.len() * LANES < self.len + tokens {
            self.blocks.push(self.empty_block());
        }
        dispatch(compute.isa, Append { layer: self, k, v, stride, tokens });
    }

    /// Number of rows of sixteen values that hold one position.
    pub(crate) fn chunks(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }

    fn head_rows(&self) -> usize {
        self.head_dim + LANES * self.chunks()
    }

    fn empty_block(&self) -> Block {
        let rows = self.kv_heads * self.head_rows();
        match self.kv_type {
            KvType::F16 => Block::F16(vec![[0; LANES]; rows].into()),
            KvType::Int8 => {
                Block::Int8(vec![[0; LANES]; rows].into(), vec![[0.0; LANES]; 2 * self.kv_heads].into())
            }
        }
    }

    /// The keys of one head and block as [head_dim][16 positions]. Positions not held have unspecified keys.
    #[inline(always)]
    pub(crate) fn keys<S: Simd>(&self, s: S, head: usize, block: usize, out: &mut [Line]) {
        let start = head * self.head_rows();
        match &self.blocks[block] {
            Block::F16(rows) => {
                for (out, row) in out.iter_mut().zip(&rows[start..][..self.head_dim]) {
                    s.store(s.load_f16(row), &mut out.0);
                }
            }
            Block::Int8(rows, scales) => {
                let scale = s.load(&scales[2 * head]);
                for (out, row) in out.iter_mut().zip(&rows[start..][..self.head_dim]) {
                    s.store(s.mul(s.load_i8(row), scale), &mut out.0);
                }
            }
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
        let chunks = self.chunks();
        let start = head * self.head_rows() + self.head_dim;
        let out = &mut out[..positions * chunks];
        match &self.blocks[block] {
            Block::F16(rows) => {
                for (out, row) in out.iter_mut().zip(&rows[start..]) {
                    s.store(s.load_f16(row), &mut out.0);
                }
            }
            Block::Int8(rows, scales) => {
                let positions = out.chunks_exact_mut(chunks).zip(rows[start..].chunks_exact(chunks));
                for ((out, rows), scale) in positions.zip(&scales[2 * head + 1]) {
                    let scale = s.splat(*scale);
                    for (out, row) in out.iter_mut().zip(rows) {
                        s.store(s.mul(s.load_i8(row), scale), &mut out.0);
                    }
                }
            }
        }
    }
}

struct Append<'a> {
    layer: &'a mut KvLayer,
    k: &'a [f32],
    v: &'a [f32],
    stride: usize,
    tokens: usize,
}

impl Kernel for Append<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (head_dim, chunks, head_rows) =
            (self.layer.head_dim, self.layer.chunks(), self.layer.head_rows());
        for token in 0..self.tokens {
            let (block, lane) = (self.layer.len / LANES, self.layer.len % LANES);
            for head in 0..self.layer.kv_heads {
                let source = token * self.stride + head * head_dim;
                let k = &self.k[source..][..head_dim];
                let v = &self.v[source..][..head_dim];
                let (first_key, first_value) =
                    (head * head_rows, head * head_rows + head_dim + lane * chunks);
                match &mut self.layer.blocks[block] {
                    Block::F16(rows) => {
                        let (keys, values) = rows.split_at_mut(first_key + head_dim);
                        let values = &mut values[first_value - first_key - head_dim..];
                        for (keys, k) in keys[first_key..].chunks_mut(LANES).zip(k.chunks(LANES)) {
                            let mut half = [0; LANES];
                            store_saturated(s, k, &mut half);
                            scatter(&half, keys, lane);
                        }
                        for (row, v) in values.iter_mut().zip(v.chunks(LANES)) {
                            store_saturated(s, v, row);
                        }
                    }
                    Block::Int8(rows, scales) => {
                        let (keys, values) = rows.split_at_mut(first_key + head_dim);
                        let values = &mut values[first_value - first_key - head_dim..];
                        let (scale, factor) = scale_and_factor(s, k);
                        scales[2 * head][lane] = scale;
                        for (keys, k) in keys[first_key..].chunks_mut(LANES).zip(k.chunks(LANES)) {
                            let mut codes = [0; LANES];
                            store_codes(s, k, factor, &mut codes);
                            scatter(&codes, keys, lane);
                        }
                        let (scale, factor) = scale_and_factor(s, v);
                        scales[2 * head + 1][lane] = scale;
                        for (row, v) in values.iter_mut().zip(v.chunks(LANES)) {
                            store_codes(s, v, factor, row);
                        }
                    }
                }
            }
            self.layer.len += 1;
        }
    }
}

#[inline(always)]
fn scatter<T: Copy>(elements: &[T; LANES], rows: &mut [[T; LANES]], lane: usize) {
    for (row, element) in rows.iter_mut().zip(elements) {
        row[lane] = *element;
    }
}

#[inline(always)]
fn store_saturated<S: Simd>(s: S, x: &[f32], out: &mut [u16; LANES]) {
    let x = s.load_partial(x, 0.0);
    // What is not a number stays so: the second operand is the result then.
    let x = s.min(s.splat(F16_MAX), s.max(s.splat(-F16_MAX), x));
    s.store_f16(x, out);
}

/// `absmax / 127` and `127 / absmax`, or a factor of zero if that is not finite.
#[inline(always)]
fn scale_and_factor<S: Simd>(s: S, x: &[f32]) -> (f32, f32) {
    let mut max = s.splat(0.0);
    for x in x.chunks(LANES) {
        max = s.max(s.abs(s.load_partial(x, 0.0)), max);
    }
    let absmax = s.reduce_max(max);
    let factor = 127.0 / absmax;
    (absmax / 127.0, if factor.is_finite() { factor } else { 0.0 })
}

#[inline(always)]
fn store_codes<S: Simd>(s: S, x: &[f32], factor: f32, out: &mut [i8; LANES]) {
    let x = s.mul(s.load_partial(x, 0.0), s.splat(factor));
    s.store_i8(s.min(s.max(x, s.splat(-127.0)), s.splat(127.0)), out);
}
