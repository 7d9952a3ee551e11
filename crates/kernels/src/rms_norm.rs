//! Filled in by its own change.
use crate::Compute;

/// Root mean square normalization of each row of `x` [tokens, n] with `weight` [n].
pub fn rms_norm(_c: &Compute, _x: &[f32], _weight: &[f32], _eps: f32, _out: &mut [f32]) {
    unimplemented!()
}
