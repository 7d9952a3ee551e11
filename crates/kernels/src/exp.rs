//! Filled in by its own change.

/// `e` to the power `x`.
pub fn exp(x: f32) -> f32 {
    let _ = x;
    unimplemented!()
}
