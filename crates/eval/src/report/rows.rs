//! A row a name: marks on a common axis, or bars.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::plot::{Area, Axis, Chart, Drawn, FONT, GRAY, Span, color, figure, mesh, svg, width_of};
use crate::Result;

/// Marks of one row, from the least to the greatest.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Range {
    /// Name of the row.
    pub name: String,
    /// Values in the order of the names of the marks; a value that is not known is not finite.
    pub values: Vec<f64>,
}

/// A value with a name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bar {
    /// Name.
    pub name: String,
    /// Length.
    pub value: f64,
    /// Half the length of the error bar; none if 0.
    pub spread: f64,
}

/// The height of a row, of the legend above all rows, and of the axis below them.
const ROW: u32 = 30;
const LEGEND: u32 = 26;
const AXIS: u32 = 54;

/// A row for each range with a mark for each of its values, on one axis; `marks` names the values.
///
/// # Errors
/// What the plotting library says.
pub fn ranges(label: &str, x: &Axis, marks: &[&str], rows: &[Range]) -> Result<String> {
    let span = x.span(rows.iter().flat_map(|row| row.values.iter().copied()));
    svg(label, LEGEND + ROW * rows.len() as u32 + AXIS, |area| {
        let (head, body) = area.split_vertically(LEGEND);
        let mut left = 14;
        for (number, name) in marks.iter().enumerate() {
            head.draw(&Circle::new((left, 13), 5, color(number).filled()))?;
            head.draw_text(name, &FONT.into_text_style(&head), (left + 10, 6))?;
            left += width_of(name) + 40;
        }
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        let mut chart = named_rows(&body, span, &x.title, &names, 14)?;
        for (index, row) in rows.iter().enumerate() {
            let middle = middle(rows.len(), index);
            let shown = || row.values.iter().copied().enumerate().filter(|(_, value)| x.shows(*value));
            let line = shown().map(|(_, value)| (value, middle));
            chart.draw_series(LineSeries::new(line, GRAY.stroke_width(2)))?;
            for (number, value) in shown() {
                chart.draw_series([Circle::new((value, middle), 5, color(number).filled())])?;
            }
        }
        Ok(())
    })
}

/// Horizontal bars from 0, each with its figure.
///
/// # Errors
/// What the plotting library says.
pub fn bars(label: &str, x: &Axis, all: &[Bar]) -> Result<String> {
    let axis = Axis { from_zero: true, ..x.clone() };
    let span = axis.span(all.iter().flat_map(|bar| [0.0, bar.value + bar.spread]));
    svg(label, ROW * all.len() as u32 + AXIS, |area| {
        let names: Vec<&str> = all.iter().map(|bar| bar.name.as_str()).collect();
        let mut chart = named_rows(area, span, &x.title, &names, 70)?;
        for (index, bar) in all.iter().enumerate().filter(|(_, bar)| bar.value.is_finite()) {
            let middle = middle(all.len(), index);
            let body = Rectangle::new([(0.0, middle - 0.3), (bar.value, middle + 0.3)], color(0).filled());
            chart.draw_series([body])?;
            let (low, high) = ((bar.value - bar.spread).max(0.0), bar.value + bar.spread);
            chart.draw_series(LineSeries::new([(low, middle), (high, middle)], BLACK.stroke_width(2)))?;
            let (column, row) = chart.backend_coord(&(high, middle));
            let style = FONT.into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw_text(&figure(bar.value), &style, (column + 6, row))?;
        }
        Ok(())
    })
}

/// The vertical place of a row: the first one is on top.
fn middle(rows: usize, index: usize) -> f64 {
    (rows - index) as f64 - 0.5
}

/// A plot with the names of its rows to the left, and room to the right.
fn named_rows<'a, 'b>(
    area: &'a Area<'b>,
    x: Span,
    title: &str,
    names: &[&str],
    right: i32,
) -> std::result::Result<Chart<'a, 'b>, DrawingAreaErrorKind<std::io::Error>> {
    let widest = names.iter().map(|name| width_of(name)).max().unwrap_or(0).min(300);
    let mut chart = ChartBuilder::on(area)
        .margin_top(6)
        .margin_bottom(6)
        .margin_left(widest + 20)
        .margin_right(right)
        .x_label_area_size(AXIS - 12)
        .build_cartesian_2d(x, Span::exactly(0.0..names.len().max(1) as f64))?;
    mesh(&mut chart, title, "", (8, 0), false)?;
    write_names(&chart, area, names)?;
    Ok(chart)
}

fn write_names(chart: &Chart<'_, '_>, area: &Area<'_>, names: &[&str]) -> Drawn {
    let (origin, style) = (area.get_base_pixel(), FONT.into_text_style(area));
    let style = style.pos(Pos::new(HPos::Right, VPos::Center));
    let left = chart.plotting_area().get_base_pixel().0;
    for (index, name) in names.iter().enumerate() {
        let row = chart.backend_coord(&(0.0, middle(names.len(), index))).1;
        area.draw_text(name, &style, (left - 10 - origin.0, row - origin.1))?;
    }
    Ok(())
}
