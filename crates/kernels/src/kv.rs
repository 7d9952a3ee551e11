//! Filled in by its own change.
use crate::Compute;

/// How keys and values are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KvType {
    /// Half precision.
    F16,
    /// Eight bits with a scale for each position and head.
    Int8,
}

/// Keys and values of one layer and one sequence.
pub struct KvLayer;

impl KvLayer {
    /// An empty cache.
    pub fn new(_kv_type: KvType, _kv_heads: usize, _head_dim: usize) -> Self {
        unimplemented!()
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        unimplemented!()
    }

    /// Whether no position is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the positions from `len` on.
    pub fn truncate(&mut self, _len: usize) {
        unimplemented!()
    }

    /// Appends `tokens` positions; row t of `k` and `v` starts at `t * stride`.
    pub fn append(&mut self, _c: &Compute, _k: &[f32], _v: &[f32], _stride: usize, _tokens: usize) {
        unimplemented!()
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        unimplemented!()
    }
}
