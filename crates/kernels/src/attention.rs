//! Filled in by its own change.
use crate::Compute;
use crate::kv::KvLayer;

/// Causal attention with grouped heads.
#[expect(clippy::too_many_arguments)]
pub fn attention(
    _c: &Compute,
    _kv: &KvLayer,
    _q: &[f32],
    _q_stride: usize,
    _heads: usize,
    _tokens: usize,
    _start: usize,
    _out: &mut [f32],
) {
    unimplemented!()
}
