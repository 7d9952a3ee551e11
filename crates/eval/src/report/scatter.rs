//! Named points.

use plotters::prelude::*;

use super::panels::{Point, mark};
use super::plot::{Axis, Chart, Drawn, FONT, GRAY, WIDTH, color, mesh, svg, width_of};
use crate::Result;

/// A point with its name beside it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Label {
    /// Name; may be empty.
    pub name: String,
    /// Where.
    pub point: Point,
}

/// The points with their error bars. With `front` a line joins those that no other point beats in both directions, where
/// less is better.
///
/// # Errors
/// What the plotting library says.
pub fn scatter(label: &str, x: &Axis, y: &Axis, points: &[Label], front: bool) -> Result<String> {
    let shown: Vec<(usize, &Label)> = points
        .iter()
        .enumerate()
        .filter(|(_, Label { point, .. })| x.shows(point.x) && y.shows(point.y))
        .collect();
    let ends = |point: &Point| [point.y - point.spread, point.y, point.y + point.spread];
    let x_span = x.span(shown.iter().map(|(_, label)| label.point.x));
    let y_span = y.span(shown.iter().flat_map(|(_, label)| ends(&label.point)));
    svg(label, 420, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(64)
            .build_cartesian_2d(x_span, y_span)?;
        mesh(&mut chart, &x.title, &y.title, (8, 7), false)?;
        if front {
            let steps = unbeaten(&shown);
            chart.draw_series(LineSeries::new(steps, GRAY))?;
        }
        for (number, Label { point, .. }) in &shown {
            let [low, middle, high] = ends(point);
            let low = if y.shows(low) { low } else { middle };
            if 0.0 < point.spread {
                let bar = [(point.x, low), (point.x, high)];
                chart.draw_series(LineSeries::new(bar, color(*number).stroke_width(2)))?;
            }
            chart.draw_series([mark(point, 5, color(*number))])?;
        }
        names(&chart, &shown)
    })
}

/// Writes each name beside its point, to the right where there is room, and below the names that are there already.
fn names(chart: &Chart<'_, '_>, shown: &[(usize, &Label)]) -> Drawn {
    let area = chart.plotting_area().strip_coord_spec();
    let origin = area.get_base_pixel();
    let mut places: Vec<((i32, i32), &str)> = shown
        .iter()
        .filter(|(_, label)| !label.name.is_empty())
        .map(|(_, label)| (chart.backend_coord(&(label.point.x, label.point.y)), label.name.as_str()))
        .collect();
    places.sort_by_key(|((_, row), _)| *row);
    let mut taken: Vec<(i32, i32, i32)> = Vec::new();
    for ((column, row), name) in places {
        let width = width_of(name);
        let left = if WIDTH as i32 <= column + 10 + width { column - 10 - width } else { column + 10 };
        let mut top = row - 7;
        for (other_left, other_right, other_top) in &taken {
            if left < *other_right && *other_left < left + width && top < other_top + 14 {
                top = other_top + 14;
            }
        }
        taken.push((left, left + width, top));
        area.draw_text(name, &FONT.into_text_style(&area), (left - origin.0, top - origin.1))?;
    }
    Ok(())
}

/// Steps through the points that are not beaten.
fn unbeaten(shown: &[(usize, &Label)]) -> Vec<(f64, f64)> {
    let all = || shown.iter().map(|(_, label)| &label.point);
    let beaten = |a: &Point| all().any(|b| b.x <= a.x && b.y <= a.y && (b.x < a.x || b.y < a.y));
    let mut best: Vec<&Point> = all().filter(|point| !beaten(point)).collect();
    best.sort_by(|a, b| a.x.total_cmp(&b.x));
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for point in best {
        if let Some((_, height)) = steps.last().copied() {
            steps.push((point.x, height));
        }
        steps.push((point.x, point.y));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_goes_in_steps_through_what_is_not_beaten() {
        let points = [(4.0, 0.3), (5.0, 0.1), (4.5, 0.4), (4.2, 0.2), (6.0, 0.1)];
        let labels =
            points.map(|(x, y)| Label { point: Point { x, y, ..Point::default() }, ..Label::default() });
        let shown: Vec<_> = labels.iter().enumerate().collect();
        assert_eq!(unbeaten(&shown), [(4.0, 0.3), (4.2, 0.3), (4.2, 0.2), (5.0, 0.2), (5.0, 0.1)]);
    }
}
