//! What the tests of the float operations share.

use rand_pcg::rand_core::{Rng, SeedableRng};

/// Reproducible numbers.
pub struct Numbers(rand_pcg::Pcg64Mcg);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(rand_pcg::Pcg64Mcg::seed_from_u64(seed))
    }

    /// `n` numbers between `-range` and `range`.
    pub fn vec(&mut self, n: usize, range: f32) -> Vec<f32> {
        (0..n).map(|_| (self.0.next_u32() as f32 / 2_f32.powi(31) - 1.0) * range).collect()
    }
}

/// Fails unless the bits are the same; what is not a number only has to be none on both sides.
#[track_caller]
pub fn assert_same_bits(result: &[f32], expected: &[f32], what: &str) {
    assert_eq!(result.len(), expected.len(), "{what}");
    for (i, (a, b)) in result.iter().zip(expected).enumerate() {
        let same = a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        assert!(same, "{what}: {a:e} instead of {b:e} at {i}");
    }
}

#[track_caller]
pub fn assert_close(result: f32, truth: f64, relative: f64, absolute: f64) {
    let error = (f64::from(result) - truth).abs();
    assert!(error <= truth.abs() * relative + absolute, "{result:e} instead of {truth:e}");
}
