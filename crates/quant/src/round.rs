//! Rounding a group of weights to codes: the only place where weights become integers.
//!
//! Four bits: w = (q - z) s with q and z in 0..=15 and s an f16. The range always includes 0, so that z fits, and q is
//! chosen with the rounded s. A group whose scale rounds to 0 in f16 (all weights below 15 * 2^-25 in magnitude) becomes
//! zeros, one whose scale is subnormal is coarser; nothing here makes an infinity or a NaN.
//! Eight bits: w = (c - 16 z) s / 16 with c in 0..=255, the two planes c = 16 hi + lo.

use half::f16;

/// Adding and subtracting it rounds an f32 below 2^22 to the nearest integer, ties to even: unlike the standard
/// function this is vectorized on every x86.
const ROUNDER: f32 = 12_582_912.0;

/// Scale and zero point of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fit {
    /// As stored.
    pub(crate) scale: f16,
    /// As stored.
    pub(crate) zero: u8,
    /// Distance between two codes.
    pub(crate) step: f32,
    /// Code of 0.
    origin: f32,
    /// Largest code.
    top: f32,
}

impl Fit {
    /// For weights in `low..=high`, four bits. `None` if the scale is too large for f16.
    pub(crate) fn four(low: f32, high: f32) -> Option<Fit> {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let (scale, step) = finite_f16((high - low) / 15.0)?;
        let origin = if step == 0.0 { 0.0 } else { round(-low / step).clamp(0.0, 15.0) };
        Some(Fit { scale, zero: origin as u8, step, origin, top: 15.0 })
    }

    /// For weights in `low..=high`, eight bits in two planes: the zero point that gives the finest step.
    pub(crate) fn eight(low: f32, high: f32) -> Option<Fit> {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let step_of = |zero: u8| {
            let origin = 16.0 * f32::from(zero);
            let below = if low == 0.0 { 0.0 } else { -low / origin };
            below.max(high / (255.0 - origin))
        };
        let finest = (0..16u8).min_by(|&a, &b| step_of(a).total_cmp(&step_of(b)));
        let zero = finest.expect("there are 16 zero points");
        let (scale, high_step) = finite_f16(16.0 * step_of(zero))?;
        let zero = if high_step == 0.0 { 0 } else { zero };
        Some(Fit { scale, zero, step: high_step / 16.0, origin: 16.0 * f32::from(zero), top: 255.0 })
    }

    /// Four bits with this step, or the nearest that an f16 holds, and this zero point. `None` if there is none or it
    /// is 0.
    pub(crate) fn with_step(step: f32, zero: u8) -> Option<Fit> {
        let (scale, step) = finite_f16(step)?;
        (step > 0.0).then_some(Fit { scale, zero, step, origin: f32::from(zero), top: 15.0 })
    }

    /// What a weight becomes.
    #[inline]
    pub(crate) fn rounded(&self, weight: f32) -> f32 {
        if self.step == 0.0 { 0.0 } else { self.relative(weight) * self.step }
    }

    /// The code of a weight.
    pub(crate) fn code(&self, weight: f32) -> u8 {
        if self.step == 0.0 {
            return self.zero;
        }
        (self.relative(weight) + self.origin) as u8
    }

    /// What the codes of some weights stand for.
    pub(crate) fn round_into(&self, weights: &[f32], out: &mut [f32]) {
        if self.step == 0.0 {
            return out.fill(0.0);
        }
        for (out, weight) in out.iter_mut().zip(weights) {
            *out = self.relative(*weight) * self.step;
        }
    }

    /// Codes above that of 0, if the step is not 0.
    #[inline]
    fn relative(&self, weight: f32) -> f32 {
        round((weight / self.step).clamp(-self.origin, self.top - self.origin))
    }
}

/// The nearest f16 that is finite, and its value.
fn finite_f16(value: f32) -> Option<(f16, f32)> {
    let scale = f16::from_f32(value);
    scale.is_finite().then(|| (scale, scale.to_f32()))
}

/// To the nearest integer, ties to even, for magnitudes below 2^22.
fn round(x: f32) -> f32 {
    (x + ROUNDER) - ROUNDER
}

/// Smallest and largest weight.
pub(crate) fn range(weights: &[f32]) -> (f32, f32) {
    let mut low = [f32::INFINITY; 8];
    let mut high = [f32::NEG_INFINITY; 8];
    let (chunks, rest) = weights.as_chunks::<8>();
    for chunk in chunks {
        for (i, &w) in chunk.iter().enumerate() {
            low[i] = if w < low[i] { w } else { low[i] };
            high[i] = if w > high[i] { w } else { high[i] };
        }
    }
    let low = low.iter().chain(rest).fold(f32::INFINITY, |a, &b| a.min(b));
    let high = high.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(fit: &Fit, weight: f32) -> f32 {
        let mut out = [f32::NAN];
        fit.round_into(&[weight], &mut out);
        out[0]
    }

    /// The definition, written as one reads it.
    fn naive(weights: &[f32]) -> Option<(f16, u8, Vec<u8>)> {
        let low = weights.iter().copied().fold(0.0, f32::min);
        let high = weights.iter().copied().fold(0.0, f32::max);
        let scale = f16::from_f32((high - low) / 15.0);
        let s = scale.to_f32();
        if !s.is_finite() {
            return None;
        }
        if s == 0.0 {
            return Some((scale, 0, vec![0; weights.len()]));
        }
        let zero = (-low / s).round_ties_even().min(15.0);
        let code = |w: &f32| ((w / s).round_ties_even() + zero).clamp(0.0, 15.0) as u8;
        Some((scale, zero as u8, weights.iter().map(code).collect()))
    }

    #[test]
    fn four_bits_are_the_plain_definition() {
        let spread: Vec<f32> = (0..64).map(|i| ((i * 37 % 64) as f32 - 20.0) * 0.013).collect();
        let cases: Vec<Vec<f32>> = vec![
            spread.clone(),
            spread.iter().map(|w| w.abs() + 1.0).collect(),
            spread.iter().map(|w| -w.abs() - 1.0).collect(),
            vec![0.0; 64],
            vec![0.7; 64],
            vec![-0.7; 64],
            spread.iter().map(|w| w * 1e-6).collect(),
            spread.iter().map(|w| w * 1e-7).collect(),
            spread.iter().map(|w| w * 1e-30).collect(),
            spread.iter().map(|w| w * f32::MIN_POSITIVE).collect(),
            spread.iter().map(|w| w * 1e6).collect(),
            spread.iter().map(|w| w * 1e38).collect(),
        ];
        for (case, weights) in cases.iter().enumerate() {
            let (low, high) = range(weights);
            let fit = Fit::four(low, high);
            let expected = naive(weights);
            assert_eq!(fit.is_some(), expected.is_some(), "case {case}");
            let (Some(fit), Some((scale, zero, codes))) = (fit, expected) else { continue };
            assert_eq!((fit.scale, fit.zero), (scale, zero), "case {case}");
            for (weight, &code) in weights.iter().zip(&codes) {
                assert_eq!(fit.code(*weight), code, "case {case}");
                let value = (f32::from(code) - f32::from(zero)) * scale.to_f32();
                assert_eq!(rounded(&fit, *weight), value, "case {case}");
            }
        }
    }

    #[test]
    fn eight_bits_are_within_half_a_step() {
        for (low, high) in [(-1.0, 1.0), (0.0, 3.0), (-3.0, 0.0), (0.1, 0.2), (-0.01, 2.0), (-5.0, 0.3)] {
            let fit = Fit::eight(low, high).unwrap();
            assert!(fit.step <= 1.08 * (high.max(0.0) - low.min(0.0)) / 240.0, "{low} {high}: {}", fit.step);
            for i in 0..=1000 {
                let weight = low + (high - low) * i as f32 / 1000.0;
                // The ends may lie outside by the rounding of the scale, 255 * 2^-11 of a step.
                assert!((rounded(&fit, weight) - weight).abs() <= 0.63 * fit.step, "{low} {high} {weight}");
                let code = f32::from(fit.code(weight));
                let value = (code - 16.0 * f32::from(fit.zero)) * (fit.scale.to_f32() / 16.0);
                assert_eq!(value, rounded(&fit, weight));
            }
            assert_eq!(rounded(&fit, 0.0), 0.0);
        }
        for (low, high) in [(0.0, 0.0), (-1e-12, 1e-12), (0.0, f32::MIN_POSITIVE)] {
            let fit = Fit::eight(low, high).unwrap();
            assert_eq!((fit.code(high), fit.zero, rounded(&fit, low)), (0, 0, 0.0));
        }
        assert_eq!(Fit::eight(-3e38, 3e38), None);
    }
}
