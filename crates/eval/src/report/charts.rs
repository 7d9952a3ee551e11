//! The plots: points, lines, panels of lines, ranges and bars.

use super::canvas::{Anchor, At, Canvas, color, width_of};
use super::figure;
use super::scale::{Scale, tick};

const WIDTH: f64 = 760.0;
const FONT: f64 = 12.5;
const MARK: f64 = 4.2;

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

    fn scale(&self, values: impl Iterator<Item = f64>) -> Scale {
        Scale::around(values, self.log, self.from_zero)
    }

    fn shows(&self, value: f64) -> bool {
        value.is_finite() && (!self.log || 0.0 < value)
    }
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Point {
    /// Along the horizontal axis.
    pub x: f64,
    /// Along the vertical axis.
    pub y: f64,
    /// Half the length of the error bar; none if 0.
    pub spread: f64,
    /// What the pointer shows beside the two values.
    pub note: String,
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
    /// For comparison only: thin and gray.
    pub faint: bool,
}

/// A point with its name beside it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Label {
    /// Name; may be empty.
    pub name: String,
    /// Where.
    pub point: Point,
}

/// One of several plots on the same axes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Panel {
    /// Name.
    pub title: String,
    /// Lines.
    pub series: Vec<Series>,
}

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

/// The part of a canvas that axes span.
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    x: Scale,
    y: Scale,
}

impl Frame {
    fn at(&self, x: f64, y: f64) -> At {
        (self.left + self.x.at(x) * self.width, self.top + (1.0 - self.y.at(y)) * self.height)
    }

    fn right(&self) -> f64 {
        self.left + self.width
    }

    fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// Grid lines, ticks and the titles of the axes: the vertical one's stands above it, to be read without turning.
    fn draw(&self, canvas: &mut Canvas, x: &Axis, y: &Axis, whole: bool) {
        for value in self.y.ticks((self.height / 45.0) as usize) {
            let (_, line) = self.at(0.0, value);
            canvas.line("rule", (self.left, line), (self.right(), line));
            canvas.text("tick", Anchor::End, (self.left - 7.0, line + 4.0), &tick(value));
        }
        self.draw_below(canvas, x, whole);
        canvas.text("axis", Anchor::Start, (0.0, self.top - 14.0), &y.title);
    }

    fn draw_below(&self, canvas: &mut Canvas, x: &Axis, whole: bool) {
        canvas.line("base", (self.left, self.bottom()), (self.right(), self.bottom()));
        for value in self.x.ticks((self.width / 70.0) as usize) {
            if whole && value.fract() != 0.0 {
                continue;
            }
            let (column, _) = self.at(value, 0.0);
            canvas.line("base", (column, self.bottom()), (column, self.bottom() + 4.0));
            canvas.text("tick", Anchor::Middle, (column, self.bottom() + 17.0), &tick(value));
        }
        canvas.text("axis", Anchor::End, (self.right(), self.bottom() + 34.0), &x.title);
    }

    /// A line with its marks; the series' number gives color and shape.
    fn series(&self, canvas: &mut Canvas, number: usize, series: &Series, y: &Axis, marks: bool) {
        let shown = || series.points.iter().filter(|point| y.shows(point.y));
        let places: Vec<At> = shown().map(|point| self.at(point.x, point.y)).collect();
        if series.faint {
            canvas.path("faint", &places);
            return;
        }
        canvas.path(&format!("curve {}", color(number)), &places);
        if marks {
            for (point, place) in shown().zip(places) {
                let title = format!("{}: {}{}", series.name, figure(point.y), noted(&point.note));
                canvas.mark(number, point.hollow, place, 3.1, &title);
            }
        }
    }
}

fn noted(note: &str) -> String {
    if note.is_empty() { String::new() } else { format!(" ({note})") }
}

/// Names with their signs in a row above a plot, in as many rows as they need; returns the height.
fn legend(canvas: &mut Canvas, names: &[(usize, &str, bool)], top: f64) -> f64 {
    let (mut left, mut line) = (0.0, top);
    for (number, name, faint) in names {
        let needed = 24.0 + width_of(name, FONT) + 16.0;
        if 0.0 < left && WIDTH < left + needed {
            (left, line) = (0.0, line + 20.0);
        }
        if *faint {
            canvas.path("faint", &[(left, line - 4.0), (left + 18.0, line - 4.0)]);
        } else {
            canvas
                .path(&format!("curve {}", color(*number)), &[(left, line - 4.0), (left + 18.0, line - 4.0)]);
            canvas.mark(*number, false, (left + 9.0, line - 4.0), MARK - 0.7, "");
        }
        canvas.text("label", Anchor::Start, (left + 24.0, line), name);
        left += needed;
    }
    line - top + 20.0
}

/// Places for texts of one height, as near to the wanted ones as they can be without touching, in the same order.
fn apart(wanted: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut placed = wanted.to_vec();
    let mut last = low - gap;
    for &index in &order {
        placed[index] = placed[index].max(last + gap);
        last = placed[index];
    }
    let mut next = high + gap;
    for &index in order.iter().rev() {
        placed[index] = placed[index].min(next - gap);
        next = placed[index];
    }
    placed
}

/// Whether every horizontal value is a whole number, so that ticks between them would mean nothing.
fn whole<'a>(mut points: impl Iterator<Item = &'a Point>) -> bool {
    points.all(|point| point.x.fract() == 0.0)
}

/// Lines over a common axis, each with its name at its end.
pub fn lines(label: &str, x: &Axis, y: &Axis, series: &[Series]) -> String {
    let all = || series.iter().flat_map(|series| &series.points);
    let names = series.iter().map(|series| width_of(&series.name, FONT)).fold(0.0, f64::max).min(240.0);
    let height = 330.0;
    let frame = Frame {
        left: 54.0,
        top: 34.0,
        width: WIDTH - 54.0 - names - 26.0,
        height: height - 34.0 - 44.0,
        x: x.scale(all().map(|point| point.x)),
        y: y.scale(all().map(|point| point.y)),
    };
    let mut canvas = Canvas::new(WIDTH, height);
    frame.draw(&mut canvas, x, y, whole(all()));
    for (number, series) in series.iter().enumerate() {
        frame.series(&mut canvas, number, series, y, true);
    }
    let ends: Vec<Option<At>> = series
        .iter()
        .map(|series| series.points.iter().rev().find(|point| y.shows(point.y)))
        .map(|point| point.map(|point| frame.at(point.x, point.y)))
        .collect();
    let wanted: Vec<f64> = ends.iter().flatten().map(|end| end.1).collect();
    let placed = apart(&wanted, 17.0, frame.top, frame.bottom());
    let named = series.iter().enumerate().zip(&ends).filter_map(|(series, end)| Some((series, (*end)?)));
    for (((number, series), end), line) in named.zip(placed) {
        let name = (frame.right() + 22.0, line + 4.0);
        canvas.path(
            &format!("leader {}", color(number)),
            &[(end.0 + 6.0, end.1), (frame.right() + 12.0, line), (frame.right() + 18.0, line)],
        );
        canvas.text(
            &format!("label {}", if series.faint { "muted" } else { "" }),
            Anchor::Start,
            name,
            &series.name,
        );
    }
    canvas.finish(label)
}

/// Several plots of lines on the same axes, side by side, with one legend.
pub fn panels(label: &str, x: &Axis, y: &Axis, all: &[Panel]) -> String {
    let points = || all.iter().flat_map(|panel| &panel.series).flat_map(|series| &series.points);
    let columns = match all.len() {
        0..=3 => all.len().max(1),
        4 => 2,
        5..=6 => 3,
        _ => 4,
    };
    let rows = all.len().div_ceil(columns);
    let (left, between, each) = (50.0, 14.0, if columns < 3 { 190.0 } else { 135.0 });
    let width = (WIDTH - left - between * (columns - 1) as f64) / columns as f64;
    let mut names: Vec<(usize, &str, bool)> = Vec::new();
    for panel in all {
        for (number, series) in
            panel.series.iter().enumerate().filter(|(_, series)| !series.points.is_empty())
        {
            if !names.iter().any(|(_, name, _)| *name == series.name) {
                names.push((number, &series.name, series.faint));
            }
        }
    }
    let legend_rows = {
        let mut trial = Canvas::new(WIDTH, 0.0);
        if names.len() < 2 { 0.0 } else { legend(&mut trial, &names, 0.0) }
    };
    let first = legend_rows + 44.0;
    let pitch = each + 48.0;
    let mut canvas = Canvas::new(WIDTH, first + pitch * rows as f64 + 2.0);
    if 0.0 < legend_rows {
        legend(&mut canvas, &names, 14.0);
    }
    canvas.text("axis", Anchor::Start, (0.0, legend_rows + 14.0), &y.title);
    let (x_scale, y_scale) = (x.scale(points().map(|point| point.x)), y.scale(points().map(|point| point.y)));
    for (index, panel) in all.iter().enumerate() {
        let (row, column) = (index / columns, index % columns);
        let frame = Frame {
            left: left + column as f64 * (width + between),
            top: first + row as f64 * pitch,
            width,
            height: each,
            x: x_scale,
            y: y_scale,
        };
        for value in frame.y.ticks(4) {
            let (_, line) = frame.at(0.0, value);
            canvas.line("rule", (frame.left, line), (frame.right(), line));
            if column == 0 {
                canvas.text("tick", Anchor::End, (frame.left - 7.0, line + 4.0), &tick(value));
            }
        }
        canvas.line("base", (frame.left, frame.bottom()), (frame.right(), frame.bottom()));
        for value in frame.x.ticks((width / 45.0) as usize) {
            if value.fract() == 0.0 || !whole(points()) {
                let (place, _) = frame.at(value, 0.0);
                canvas.text("tick", Anchor::Middle, (place, frame.bottom() + 16.0), &tick(value));
            }
        }
        canvas.text("panel", Anchor::Start, (frame.left + 2.0, frame.top - 6.0), &panel.title);
        for (number, series) in panel.series.iter().enumerate() {
            frame.series(&mut canvas, number, series, y, true);
        }
    }
    canvas.text("axis", Anchor::End, (WIDTH, first + pitch * rows as f64 - 8.0), &x.title);
    canvas.finish(label)
}

/// Named points. With `front` a line joins those that no other point beats in both directions, where less is better.
pub fn scatter(label: &str, x: &Axis, y: &Axis, points: &[Label], front: bool) -> String {
    let height = 400.0;
    let ends = |point: &Point| [point.y - point.spread, point.y, point.y + point.spread];
    let frame = Frame {
        left: 62.0,
        top: 34.0,
        width: WIDTH - 62.0 - 20.0,
        height: height - 34.0 - 44.0,
        x: x.scale(points.iter().map(|label| label.point.x)),
        y: y.scale(points.iter().flat_map(|label| ends(&label.point))),
    };
    let mut canvas = Canvas::new(WIDTH, height);
    frame.draw(&mut canvas, x, y, false);
    let shown: Vec<(usize, &Label)> =
        points.iter().enumerate().filter(|(_, label)| y.shows(label.point.y)).collect();
    if front {
        draw_front(&mut canvas, &frame, &shown);
    }
    let mut taken: Vec<(At, At)> = Vec::new();
    for (_, label) in &shown {
        let (column, row) = frame.at(label.point.x, label.point.y);
        taken.push(((column - 7.0, row - 7.0), (column + 7.0, row + 7.0)));
    }
    for (number, label) in &shown {
        let point = &label.point;
        let place = frame.at(point.x, point.y);
        if 0.0 < point.spread {
            let low = frame.at(point.x, f64::max(point.y - point.spread, f64::MIN_POSITIVE));
            canvas.line(&format!("error {}", color(*number)), low, frame.at(point.x, point.y + point.spread));
        }
        let spread = if 0.0 < point.spread { format!(" ± {}", figure(point.spread)) } else { String::new() };
        let title = format!(
            "{}\n{}: {}\n{}: {}{spread}{}",
            label.name,
            x.title,
            figure(point.x),
            y.title,
            figure(point.y),
            noted(&point.note)
        );
        canvas.mark(*number, point.hollow, place, MARK + 1.3, &title);
    }
    for (_, label) in shown.iter().filter(|(_, label)| !label.name.is_empty()) {
        let (column, row) = frame.at(label.point.x, label.point.y);
        let width = width_of(&label.name, FONT);
        let around = [
            (Anchor::Start, column + 9.0, row - 8.0),
            (Anchor::Start, column + 11.0, row + 4.0),
            (Anchor::End, column - 11.0, row + 4.0),
            (Anchor::Start, column + 9.0, row + 18.0),
            (Anchor::Middle, column, row - 12.0),
            (Anchor::Middle, column, row + 21.0),
            (Anchor::End, column - 9.0, row - 10.0),
            (Anchor::End, column - 9.0, row + 18.0),
        ];
        let box_of = |(anchor, x, y): (Anchor, f64, f64)| {
            let from = match anchor {
                Anchor::Start => x,
                Anchor::Middle => x - width / 2.0,
                Anchor::End => x - width,
            };
            ((from, y - 11.0), (from + width, y + 3.0))
        };
        let free = |place: &(Anchor, f64, f64)| {
            let (a, b) = box_of(*place);
            frame.left <= a.0
                && b.0 <= WIDTH
                && frame.top - 8.0 <= a.1
                && b.1 <= frame.bottom()
                && taken.iter().all(|(c, d)| b.0 < c.0 || d.0 < a.0 || b.1 < c.1 || d.1 < a.1)
        };
        // Where every place is taken the name lies over something: better than no name.
        let best = around.into_iter().find(free).unwrap_or(around[0]);
        taken.push(box_of(best));
        canvas.text("label halo", best.0, (best.1, best.2), &label.name);
    }
    canvas.finish(label)
}

/// Steps through the points that are not beaten.
fn draw_front(canvas: &mut Canvas, frame: &Frame, shown: &[(usize, &Label)]) {
    let beaten = |a: &Point| {
        shown.iter().any(|(_, other)| {
            let b = &other.point;
            b.x <= a.x && b.y <= a.y && (b.x < a.x || b.y < a.y)
        })
    };
    let mut best: Vec<&Point> =
        shown.iter().map(|(_, label)| &label.point).filter(|point| !beaten(point)).collect();
    best.sort_by(|a, b| a.x.total_cmp(&b.x));
    let Some(first) = best.first() else { return };
    let mut steps = vec![frame.at(first.x, first.y)];
    for point in &best[1..] {
        let place = frame.at(point.x, point.y);
        steps.push((place.0, steps.last().map_or(place.1, |step| step.1)));
        steps.push(place);
    }
    canvas.path("front", &steps);
}

/// A row for each range with a mark for each of its values, on one axis; `marks` names the values.
pub fn ranges(label: &str, x: &Axis, marks: &[&str], rows: &[Range]) -> String {
    let names = rows.iter().map(|row| width_of(&row.name, FONT)).fold(0.0, f64::max).min(260.0);
    let legend_names: Vec<(usize, &str, bool)> =
        marks.iter().enumerate().map(|(n, name)| (n, *name, false)).collect();
    let top = {
        let mut trial = Canvas::new(WIDTH, 0.0);
        legend(&mut trial, &legend_names, 0.0) + 8.0
    };
    let height = top + 30.0 * rows.len() as f64 + 48.0;
    let values = || rows.iter().flat_map(|row| row.values.iter().copied());
    let frame = Frame {
        left: names + 16.0,
        top,
        width: WIDTH - names - 16.0 - 14.0,
        height: 30.0 * rows.len() as f64,
        x: x.scale(values()),
        y: Scale::exactly(0.0, 1.0),
    };
    let mut canvas = Canvas::new(WIDTH, height);
    let mut left = 0.0;
    for (number, name, _) in &legend_names {
        canvas.mark(*number, false, (left + 6.0, 10.0), MARK, "");
        canvas.text("label", Anchor::Start, (left + 16.0, 14.0), name);
        left += width_of(name, FONT) + 40.0;
    }
    for value in frame.x.ticks((frame.width / 70.0) as usize) {
        let (column, _) = frame.at(value, 0.0);
        canvas.line("rule", (column, frame.top), (column, frame.bottom()));
    }
    frame.draw_below(&mut canvas, x, false);
    for (index, row) in rows.iter().enumerate() {
        let line = frame.top + 30.0 * (index as f64 + 0.5);
        canvas.text("label", Anchor::End, (frame.left - 10.0, line + 4.0), &row.name);
        let shown = || row.values.iter().copied().enumerate().filter(|(_, value)| x.shows(*value));
        let (min, max) =
            shown().fold((f64::MAX, f64::MIN), |(min, max), (_, value)| (min.min(value), max.max(value)));
        if min <= max {
            canvas.line("span", (frame.at(min, 0.0).0, line), (frame.at(max, 0.0).0, line));
        }
        for (number, value) in shown() {
            let title = format!("{}\n{}: {}", row.name, marks.get(number).unwrap_or(&""), figure(value));
            canvas.mark(number, false, (frame.at(value, 0.0).0, line), MARK + 0.8, &title);
        }
    }
    canvas.finish(label)
}

/// Horizontal bars from 0, each with its figure.
pub fn bars(label: &str, x: &Axis, all: &[Bar]) -> String {
    let names = all.iter().map(|bar| width_of(&bar.name, FONT)).fold(0.0, f64::max).min(280.0);
    let height = 10.0 + 28.0 * all.len() as f64 + 46.0;
    let frame = Frame {
        left: names + 16.0,
        top: 6.0,
        width: WIDTH - names - 16.0 - 70.0,
        height: 28.0 * all.len() as f64,
        x: Axis { from_zero: true, ..x.clone() }
            .scale(all.iter().flat_map(|bar| [0.0, bar.value + bar.spread])),
        y: Scale::exactly(0.0, 1.0),
    };
    let mut canvas = Canvas::new(WIDTH, height);
    for value in frame.x.ticks((frame.width / 80.0) as usize) {
        let (column, _) = frame.at(value, 0.0);
        canvas.line("rule", (column, frame.top), (column, frame.bottom()));
    }
    frame.draw_below(&mut canvas, x, false);
    for (index, bar) in all.iter().enumerate() {
        let line = frame.top + 28.0 * (index as f64 + 0.5);
        let end = frame.at(bar.value, 0.0).0;
        canvas.text("label", Anchor::End, (frame.left - 10.0, line + 4.0), &bar.name);
        let title = format!("{}: {}", bar.name, figure(bar.value));
        canvas.rect("bar s0", (frame.left, line - 8.5), (end - frame.left, 17.0), 1.0, &title);
        let far = frame.at(bar.value + bar.spread, 0.0).0;
        if 0.0 < bar.spread {
            canvas.line(
                "error ink",
                (frame.at(f64::max(bar.value - bar.spread, 0.0), 0.0).0, line),
                (far, line),
            );
        }
        canvas.text("label", Anchor::Start, (far + 7.0, line + 4.0), &figure(bar.value));
    }
    canvas.finish(label)
}
