//! Filled in by its own change.
use crate::Compute;

/// SiLU of the gate times the up projection.
pub fn silu_mul(_c: &Compute, _gate_up: &[f32], _n: usize, _out: &mut [f32]) {
    unimplemented!()
}

/// `x += y`.
pub fn add_assign(_c: &Compute, _x: &mut [f32], _y: &[f32]) {
    unimplemented!()
}
