//! Several plots of lines on the same axes, side by side, with one legend.

use plotters::prelude::*;

use super::plot::{Area, Axis, Chart, Drawn, FONT, GRAY, WIDTH, color, mesh, svg, width_of};
use crate::Result;

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Point {
    /// Along the horizontal axis.
    pub x: f64,
    /// Along the vertical axis.
    pub y: f64,
    /// Half the length of the error bar; none if 0.
    pub spread: f64,
    /// Drawn as an outline.
    pub hollow: bool,
}

/// Points joined by a line.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Name.
    pub name: String,
    /// Points from left to right.
    pub points: Vec<Point>,
    /// For comparison only: gray.
    pub faint: bool,
}

/// One of several plots on the same axes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Panel {
    /// Name.
    pub title: String,
    /// Lines.
    pub series: Vec<Series>,
}

/// The height of a line of the legend.
const LINE: i32 = 20;

/// The panels in rows. Series of one name have one color: that of their place among the series of a panel.
///
/// # Errors
/// What the plotting library says.
pub fn panels(label: &str, x: &Axis, y: &Axis, all: &[Panel]) -> Result<String> {
    let points = || all.iter().flat_map(|panel| &panel.series).flat_map(|series| &series.points);
    let columns = match all.len() {
        0..=3 => all.len().max(1),
        4 => 2,
        5..=6 => 3,
        _ => 4,
    };
    let rows = all.len().div_ceil(columns).max(1);
    let legend = Legend::of(all);
    let each = if columns < 3 { 240 } else { 190 };
    let spans = (x.span(points().map(|point| point.x)), y.span(points().map(|point| point.y)));
    let is_whole = points().all(|point| point.x.fract() == 0.0);
    svg(label, (legend.height() + LINE + each * rows as i32) as u32, |area| {
        let (head, body) = area.split_vertically(legend.height() + LINE);
        legend.draw(&head)?;
        let title = format!("{} by {}", y.title, x.title);
        head.draw_text(&title, &FONT.into_text_style(&head), (8, legend.height()))?;
        for (panel, cell) in all.iter().zip(body.split_evenly((rows, columns))) {
            let mut chart = ChartBuilder::on(&cell)
                .margin(8)
                .caption(&panel.title, FONT)
                .x_label_area_size(24)
                .y_label_area_size(46)
                .build_cartesian_2d(spans.0.clone(), spans.1.clone())?;
            mesh(&mut chart, "", "", (6, 5), is_whole)?;
            for (number, series) in panel.series.iter().enumerate() {
                draw(&mut chart, number, series, y)?;
            }
        }
        Ok(())
    })
}

/// A line with its marks.
fn draw(chart: &mut Chart<'_, '_>, number: usize, series: &Series, y: &Axis) -> Drawn {
    let color = if series.faint { GRAY } else { color(number) };
    let shown = || series.points.iter().filter(|point| y.shows(point.y));
    chart.draw_series(LineSeries::new(shown().map(|point| (point.x, point.y)), color.stroke_width(2)))?;
    for point in shown() {
        chart.draw_series([mark(point, 3, color)])?;
    }
    Ok(())
}

/// The sign of a point.
pub(super) fn mark(point: &Point, size: i32, color: RGBColor) -> Circle<(f64, f64), i32> {
    let style = if point.hollow { color.stroke_width(1) } else { color.filled() };
    Circle::new((point.x, point.y), size, style)
}

/// Names with their colors, in as many rows as they need. One name alone needs none.
struct Legend<'a> {
    entries: Vec<(RGBColor, &'a str, (i32, i32))>,
}

impl<'a> Legend<'a> {
    fn of(all: &'a [Panel]) -> Self {
        let mut entries: Vec<(RGBColor, &str, (i32, i32))> = Vec::new();
        let (mut left, mut top) = (8, 6);
        for panel in all {
            for (number, series) in panel.series.iter().enumerate() {
                if series.points.is_empty() || entries.iter().any(|(_, name, _)| *name == series.name) {
                    continue;
                }
                let needed = width_of(&series.name) + 50;
                if 8 < left && WIDTH as i32 <= left + needed {
                    (left, top) = (8, top + LINE);
                }
                entries.push((if series.faint { GRAY } else { color(number) }, &series.name, (left, top)));
                left += needed;
            }
        }
        if entries.len() < 2 {
            entries.clear();
        }
        Legend { entries }
    }

    fn height(&self) -> i32 {
        self.entries.last().map_or(6, |(_, _, (_, top))| top + LINE)
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        for (color, name, (left, top)) in &self.entries {
            let line = [(*left, top + 7), (left + 22, top + 7)];
            area.draw(&PathElement::new(line, color.stroke_width(3)))?;
            area.draw_text(name, &FONT.into_text_style(area), (left + 28, *top))?;
        }
        Ok(())
    }
}
