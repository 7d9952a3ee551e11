//! From values to places on an axis, the values worth a tick, and figures as a person reads them.

/// An axis' range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    min: f64,
    max: f64,
    log: bool,
}

impl Scale {
    /// A range that holds all values with some room around them. A logarithmic one takes only those above 0.
    pub fn around(values: impl Iterator<Item = f64>, log: bool, from_zero: bool) -> Self {
        let usable = values.filter(|value| value.is_finite() && (!log || 0.0 < *value));
        let (mut min, mut max) = usable
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| (min.min(value), max.max(value)));
        if max < min {
            (min, max) = (if log { 0.1 } else { 0.0 }, 1.0);
        }
        if log {
            // At least a factor of two and a half, or a flat line looks like mountains.
            let room =
                f64::max((max / min).ln() * 0.08, (2.5f64 / (max / min)).ln().max(0.0) / 2.0).max(0.02);
            return Scale { min: min / room.exp(), max: max * room.exp(), log };
        }
        let span = if max == min { f64::max(max.abs(), 1.0) * 0.2 } else { max - min };
        min = if from_zero && 0.0 <= min { 0.0 } else { min - 0.07 * span };
        Scale { min, max: max + 0.07 * span, log }
    }

    /// Exactly this range.
    pub fn exactly(min: f64, max: f64) -> Self {
        Scale { min, max, log: false }
    }

    /// Where a value lies between the ends: 0 to 1, and the ends for what is beyond them.
    pub fn at(&self, value: f64) -> f64 {
        let place = if self.log {
            if value <= 0.0 {
                return 0.0;
            }
            (value / self.min).ln() / (self.max / self.min).ln()
        } else {
            (value - self.min) / (self.max - self.min)
        };
        place.clamp(0.0, 1.0)
    }

    /// Round values inside, about `wanted` of them.
    pub fn ticks(&self, wanted: usize) -> Vec<f64> {
        let inside = |value: &f64| self.min <= *value && *value <= self.max;
        if !self.log {
            let rough = (self.max - self.min) / wanted.max(1) as f64;
            let decade = 10f64.powf(rough.log10().floor());
            let step = [1.0, 2.0, 2.5, 5.0, 10.0]
                .map(|factor| factor * decade)
                .into_iter()
                .find(|step| rough <= *step);
            let step = step.unwrap_or(10.0 * decade);
            let first = (self.min / step).ceil() as i64;
            let last = (self.max / step).floor() as i64;
            return (first..=last).map(|index| index as f64 * step).filter(|tick| tick.is_finite()).collect();
        }
        let decades = self.min.log10().floor() as i32..=self.max.log10().ceil() as i32;
        let of = |factors: &[f64]| -> Vec<f64> {
            let all = decades
                .clone()
                .flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)));
            all.filter(inside).collect()
        };
        [&[1.0][..], &[1.0, 3.0], &[1.0, 2.0, 5.0], &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0]]
            .into_iter()
            .map(of)
            .find(|ticks| 3.min(wanted) <= ticks.len())
            .unwrap_or_else(|| of(&[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]))
    }
}

/// A tick's label: no more digits than it needs.
pub(super) fn tick(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".to_string()
    } else if 9e-6 < size && size < 1e6 {
        // Ten digits hide what adding steps did to the last ones.
        let text = format!("{:.*}", (9 - size.log10().floor() as i32).clamp(0, 12) as usize, value);
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
    } else {
        format!("{value:.0e}")
    }
}

/// A figure with three digits that count.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "–".to_string()
    } else if size == 0.0 {
        "0".to_string()
    } else if !(1e-4..1e7).contains(&size) {
        format!("{value:.2e}")
    } else {
        format!("{:.*}", (2 - size.log10().floor() as i32).clamp(0, 7) as usize, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let linear = Scale::around([0.0, 23.0].into_iter(), false, true);
        assert_eq!(linear.ticks(5).into_iter().map(tick).collect::<Vec<_>>(), ["0", "5", "10", "15", "20"]);
        let log = Scale::around([0.0021, 0.34].into_iter(), true, false);
        assert_eq!(
            log.ticks(6).into_iter().map(tick).collect::<Vec<_>>(),
            ["0.003", "0.01", "0.03", "0.1", "0.3"]
        );
    }

    #[test]
    fn every_scale_has_a_place_for_every_value() {
        for values in [&[][..], &[0.0], &[3.0, 3.0], &[f64::NAN, 1.0], &[-2.0, 5.0]] {
            for log in [false, true] {
                let scale = Scale::around(values.iter().copied(), log, false);
                assert!(!scale.ticks(5).is_empty() && scale.ticks(5).len() < 20, "{values:?} {log}");
                for value in [-1.0, 0.0, 1e-300, 7.0, 1e300] {
                    assert!((0.0..=1.0).contains(&scale.at(value)), "{values:?} {log} {value}");
                }
            }
        }
    }

    #[test]
    fn figures_have_three_digits() {
        let all = [0.0, 0.012345, 1.0, 12.345, 1234.5, 0.000012345, f64::NAN].map(figure);
        assert_eq!(all, ["0", "0.0123", "1.00", "12.3", "1234", "1.23e-5", "–"]);
    }
}
