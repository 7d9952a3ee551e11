//! Filled in by its own change.
use crate::Compute;

/// Cosines and sines of every position and frequency.
pub struct RopeTable;

impl RopeTable {
    /// Table of `positions` positions.
    pub fn new(_head_dim: usize, _inv_freq: &[f32], _attention_scale: f32, _positions: usize) -> Self {
        unimplemented!()
    }

    /// Makes the table at least `positions` long.
    pub fn extend(&mut self, _positions: usize) {
        unimplemented!()
    }

    /// Number of positions in the table.
    pub fn positions(&self) -> usize {
        unimplemented!()
    }
}

/// Rotates the first `heads` heads of each row.
pub fn rope(
    _c: &Compute,
    _table: &RopeTable,
    _x: &mut [f32],
    _stride: usize,
    _heads: usize,
    _positions: &[usize],
) {
    unimplemented!()
}
