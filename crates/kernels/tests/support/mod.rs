//! What the tests of the linear layers share: random matrices and the definition of quantized activations.
#![allow(dead_code, reason = "each test file uses its own part")]

use edgewen_layout::{QuantizedMatrix, RowBlockShape, WeightBits};
use half::f16;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng as _;

/// Random numbers from a seed.
pub struct Rng(Pcg32);

impl Rng {
    /// The same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(Pcg32::new(seed, 0x0a02_bdbf_7bb3_c0a7))
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// In -1..1.
    pub fn unit(&mut self) -> f32 {
        self.bits() as f32 / 2.0_f32.powi(31) - 1.0
    }
}

/// Codes, zero points and scales over their whole ranges.
pub fn random_matrix(rng: &mut Rng, shape: RowBlockShape) -> QuantizedMatrix {
    let mask = if shape.bits == WeightBits::Four { 15 } else { 255 };
    let mut matrix = QuantizedMatrix::zeroed(shape);
    matrix.codes.fill_with(|| (rng.bits() & mask) as u8);
    matrix.zeros.fill_with(|| (rng.bits() & 15) as u8);
    matrix.scales.fill_with(|| f16::from_f32(rng.unit() * 0.01));
    matrix
}

/// Values of very different magnitudes.
pub fn random_vector(rng: &mut Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.unit() * 2.0_f32.powi((rng.bits() % 9) as i32 - 4)).collect()
}

/// Codes and scale of one group of activations, as the design defines them.
pub fn activations_of(x: &[f32]) -> (Vec<i8>, f32) {
    let absmax = x.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
    let reciprocal = 127.0 / absmax;
    if !reciprocal.is_finite() {
        return (vec![0; x.len()], 0.0);
    }
    (x.iter().map(|x| (x * reciprocal).round_ties_even() as i8).collect(), absmax / 127.0)
}

/// Equal bit for bit.
pub fn assert_same_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.to_bits(), expected.to_bits(), "{what}: element {i}: {found} and {expected}");
    }
}
