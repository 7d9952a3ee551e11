//! The keys and values of one layer and one sequence.
//!
//! Memory grows with the sequence, in blocks, and truncation is cheap. Attention reads half-precision keys and values
//! back as `f32`, and multiplies those of eight bits as integers.

mod half;
mod int8;

pub(crate) use half::HalfCache;
pub use int8::{GROUP_POSITIONS, Int8Cache};

use crate::Compute;
use crate::simd::{Kernel, Simd, dispatch};

/// How keys and values are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KvType {
    /// Half precision, rounded to nearest with ties to even; beyond its range +-65504.
    F16,
    /// Eight bits with a scale for each position and head: `code = round_ties_even(x / step)` within +-127. The step
    /// of a value is `absmax / 127`; that of a key is the same, rounded to half precision (sixteen steps are
    /// stored). Queries and attention weights are quantized too; see [`attention`](crate::attention).
    Int8,
}

/// Keys and values of one layer and one sequence.
pub struct KvLayer {
    kv_heads: usize,
    head_dim: usize,
    len: usize,
    pub(crate) store: Store,
}

pub(crate) enum Store {
    F16(HalfCache),
    Int8(Int8Cache),
}

impl KvLayer {
    /// An empty cache for `kv_heads` heads of `head_dim` elements.
    pub fn new(kv_type: KvType, kv_heads: usize, head_dim: usize) -> Self {
        assert!(kv_heads > 0 && head_dim > 0, "a cache needs heads with elements");
        let store = match kv_type {
            KvType::F16 => Store::F16(HalfCache::new(kv_heads, head_dim)),
            KvType::Int8 => Store::Int8(Int8Cache::new(kv_heads, head_dim)),
        };
        Self { kv_heads, head_dim, len: 0, store }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The keys and values, if they have eight bits.
    pub fn int8(&self) -> Option<&Int8Cache> {
        match &self.store {
            Store::F16(_) => None,
            Store::Int8(cache) => Some(cache),
        }
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
        match &self.store {
            Store::F16(cache) => cache.bytes(),
            Store::Int8(cache) => cache.bytes(),
        }
    }

    /// Forgets the positions from `len` on, and frees their blocks.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.fit();
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
        let first = self.len;
        self.len += tokens;
        self.fit();
        dispatch(compute.isa, Append { layer: self, k, v, stride, first });
    }

    fn fit(&mut self) {
        match &mut self.store {
            Store::F16(cache) => cache.resize(self.len),
            Store::Int8(cache) => cache.resize(self.len),
        }
    }
}

/// Stores the positions from `first` on.
struct Append<'a> {
    layer: &'a mut KvLayer,
    k: &'a [f32],
    v: &'a [f32],
    stride: usize,
    first: usize,
}

impl Kernel for Append<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (kv_heads, head_dim) = (self.layer.kv_heads, self.layer.head_dim);
        for (token, position) in (self.first..self.layer.len).enumerate() {
            for head in 0..kv_heads {
                let source = token * self.stride + head * head_dim;
                let (k, v) = (&self.k[source..][..head_dim], &self.v[source..][..head_dim]);
                match &mut self.layer.store {
                    Store::F16(cache) => cache.set(s, head, position, k, v),
                    Store::Int8(cache) => cache.set(s, head, position, k, v),
                }
            }
        }
    }
}
