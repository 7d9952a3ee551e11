//! What all plots share: the picture, its colors, and axes that are linear or logarithmic.

use std::io;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::combinators::LogCoord;
use plotters::coord::ranged1d::{AsRangedCoord, KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::data::float::pretty_print_float;
use plotters::prelude::*;

use super::escaped;
use crate::{Error, Result};

/// Width of every picture.
pub const WIDTH: u32 = 760;
/// Font of everything that is written in a picture.
pub const FONT: (&str, i32) = ("sans-serif", 13);
/// Of series, by number; they differ in lightness too.
pub const COLORS: [RGBColor; 8] = [
    RGBColor(31, 90, 160),
    RGBColor(230, 159, 0),
    RGBColor(0, 140, 100),
    RGBColor(180, 60, 60),
    RGBColor(110, 80, 180),
    RGBColor(120, 120, 120),
    RGBColor(90, 180, 220),
    RGBColor(130, 85, 55),
];
/// Of lines that are there for comparison only.
pub const GRAY: RGBColor = RGBColor(165, 172, 180);
/// Of the lines that lead from a tick through the picture.
const RULE: RGBColor = RGBColor(228, 231, 234);

/// A picture, or part of one.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// The axes of a plot and what is drawn between them.
pub(super) type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Coordinate, Coordinate>>;
/// What drawing gives.
pub type Drawn = std::result::Result<(), DrawingAreaErrorKind<io::Error>>;

/// A picture as an SVG element; `label` says in words what it shows.
///
/// # Errors
/// What `draw` and the library say.
pub fn svg(label: &str, height: u32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String> {
    let mut text = String::new();
    let whole = || {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE)?;
        draw(&area)?;
        area.present()
    };
    whole().map_err(|error| Error::Plot(error.to_string()))?;
    Ok(text.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{}\" ", escaped(label)), 1))
}

/// The color of a series.
pub(super) fn color(series: usize) -> RGBColor {
    COLORS[series % COLORS.len()]
}

/// About how wide a text becomes, in pixels.
pub(super) fn width_of(text: &str) -> i32 {
    text.chars().count() as i32 * FONT.1 * 57 / 100
}

/// What an axis shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Axis {
    /// Quantity and unit.
    pub title: String,
    /// Logarithmic; values of 0 and below are left out.
    pub log: bool,
    /// Begins at 0 if no value is below.
    pub from_zero: bool,
}

impl Axis {
    /// A linear axis.
    pub fn linear(title: &str) -> Self {
        Axis { title: title.to_string(), ..Axis::default() }
    }

    /// A linear axis that begins at 0.
    pub fn from_zero(title: &str) -> Self {
        Axis { from_zero: true, ..Axis::linear(title) }
    }

    /// A logarithmic axis.
    pub fn log(title: &str) -> Self {
        Axis { log: true, ..Axis::linear(title) }
    }

    pub(super) fn shows(&self, value: f64) -> bool {
        value.is_finite() && (!self.log || 0.0 < value)
    }

    /// A range that holds all values with some room around them.
    pub(super) fn span(&self, values: impl Iterator<Item = f64>) -> Span {
        let shown = values.filter(|value| self.shows(*value));
        let (min, max) =
            shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), v| (min.min(v), max.max(v)));
        let range = match (min <= max, self.log) {
            (false, false) => 0.0..1.0,
            (false, true) => 0.1..1.0,
            (true, false) => {
                let room = if min == max { 0.1 * max.abs().max(1.0) } else { 0.07 * (max - min) };
                (if self.from_zero && 0.0 <= min { 0.0 } else { min - room })..max + room
            }
            (true, true) => {
                // At least a factor of two and a half, or a flat line looks like mountains.
                let room = (max / min).powf(0.08).max((2.5 * min / max).sqrt()).max(1.02);
                min / room..max * room
            }
        };
        Span { range, log: self.log }
    }
}

/// The ends of an axis.
#[derive(Clone)]
pub(super) struct Span {
    range: Range<f64>,
    log: bool,
}

impl Span {
    /// A linear axis with these ends.
    pub fn exactly(range: Range<f64>) -> Self {
        Span { range, log: false }
    }
}

impl AsRangedCoord for Span {
    type CoordDescType = Coordinate;
    type Value = f64;
}

/// Maps the values of an axis to pixels. One type for both kinds, so that one function draws a plot on either.
pub(super) enum Coordinate {
    Linear(RangedCoordf64),
    Log(LogCoord<f64>),
}

impl From<Span> for Coordinate {
    fn from(Span { range, log }: Span) -> Self {
        if log { Self::Log(range.log_scale().into()) } else { Self::Linear(range.into()) }
    }
}

impl Ranged for Coordinate {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        match self {
            Self::Linear(axis) => axis.map(value, limit),
            Self::Log(axis) => axis.map(value, limit),
        }
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match self {
            Self::Linear(axis) => axis.key_points(hint),
            // The library's own have no round values between decades, and none at all on an axis within one.
            Self::Log(axis) => {
                let Range { start, end } = axis.range();
                let decades = start.log10().floor() as i32..=end.log10().ceil() as i32;
                let of = |factors: &[f64]| -> Vec<f64> {
                    let all = decades
                        .clone()
                        .flat_map(|decade| factors.iter().map(move |f| f * 10f64.powi(decade)));
                    all.filter(|value| (start..=end).contains(value)).collect()
                };
                let mut round = [&[1.0][..], &[1.0, 3.0], &[1.0, 2.0, 5.0]].into_iter().map(of);
                round
                    .find(|points| 2 < points.len())
                    .unwrap_or_else(|| RangedCoordf64::from(start..end).key_points(hint))
            }
        }
    }

    fn range(&self) -> Range<f64> {
        match self {
            Self::Linear(axis) => axis.range(),
            Self::Log(axis) => axis.range(),
        }
    }
}

impl ValueFormatter<f64> for Coordinate {
    fn format(value: &f64) -> String {
        pretty_print_float(*value, true)
    }
}

/// A tick's label where only whole numbers mean anything.
pub(super) fn whole(value: &f64) -> String {
    if value.fract() == 0.0 { Coordinate::format(value) } else { String::new() }
}

/// Draws ticks, rules and the titles of the axes; without a title of the vertical axis not its ticks either.
pub(super) fn mesh(
    chart: &mut Chart<'_, '_>,
    x: &str,
    y: &str,
    ticks: (usize, usize),
    is_whole: bool,
) -> Drawn {
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT).bold_line_style(RULE).axis_style(GRAY);
    mesh.label_style(FONT).axis_desc_style(FONT).x_desc(x).y_desc(y).x_labels(ticks.0).y_labels(ticks.1);
    if is_whole {
        mesh.x_label_formatter(&whole);
    }
    if ticks.1 == 0 {
        mesh.disable_y_axis().disable_y_mesh();
    }
    mesh.draw()
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
    use plotters::coord::ranged1d::BoldPoints;

    use super::*;

    #[test]
    fn every_axis_has_a_place_for_every_value() {
        for values in [&[][..], &[0.0], &[3.0, 3.0], &[f64::NAN, 1.0], &[-2.0, 5.0], &[1e-9, 1e9]] {
            for axis in [Axis::linear(""), Axis::from_zero(""), Axis::log("")] {
                let Range { start, end } = axis.span(values.iter().copied()).range;
                assert!(start < end && start.is_finite() && end.is_finite(), "{values:?} {axis:?}");
                for value in values.iter().filter(|value| axis.shows(**value)) {
                    assert!(start <= *value && *value <= end, "{values:?} {axis:?}");
                }
            }
        }
    }

    #[test]
    fn every_axis_has_ticks() {
        for values in [[0.012, 0.037], [0.9, 1.1], [0.003, 0.7], [1e-6, 1.0], [2.0, 2.0]] {
            for axis in [Axis::linear(""), Axis::from_zero(""), Axis::log("")] {
                let span = axis.span(values.into_iter());
                let ticks = Coordinate::from(span.clone()).key_points(BoldPoints(7));
                assert!(2 < ticks.len() && ticks.len() < 12, "{values:?} {axis:?} {ticks:?}");
                assert!(ticks.iter().all(|tick| span.range.start <= *tick && *tick <= span.range.end));
            }
        }
    }

    #[test]
    fn figures_have_three_digits() {
        let all = [0.0, 0.012345, 1.0, 12.345, 1234.5, 0.000012345, f64::NAN].map(figure);
        assert_eq!(all, ["0", "0.0123", "1.00", "12.3", "1234", "1.23e-5", "–"]);
    }
}
