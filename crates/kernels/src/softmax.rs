//! Filled in by its own change.
use crate::Compute;

/// Softmax of one row, in place.
pub fn softmax(_c: &Compute, _x: &mut [f32]) {
    unimplemented!()
}
