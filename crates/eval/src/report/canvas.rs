//! SVG elements in drawing order. Colors are classes of the page's style sheet, never values.

use std::fmt::Write;

use super::escaped;

/// Series that the style sheet has a color for; more begin again.
pub(super) const COLORS: usize = 8;
/// Width of a letter in heights of the font, on the wide side of what sans-serif fonts have.
const LETTER: f64 = 0.57;

/// Where a text has its anchor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Drawn so far.
pub(super) struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

/// A position in units of the picture, from its upper left corner.
pub(super) type At = (f64, f64);

/// The class that gives a series its color.
pub(super) fn color(series: usize) -> String {
    format!("s{}", series % COLORS)
}

/// About how wide a text becomes.
pub(super) fn width_of(text: &str, font: f64) -> f64 {
    text.chars().count() as f64 * font * LETTER
}

impl Canvas {
    pub fn new(width: f64, height: f64) -> Self {
        Canvas { width, height, body: String::new() }
    }

    // Writing to a String cannot fail.
    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.body.write_fmt(element);
        self.body.push('\n');
    }

    pub fn line(&mut self, class: &str, a: At, b: At) {
        self.put(format_args!(
            r#"<line class="{class}" x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}"/>"#,
            a.0, a.1, b.0, b.1
        ));
    }

    /// A line through the points.
    pub fn path(&mut self, class: &str, points: &[At]) {
        let mut d = String::new();
        for (index, (x, y)) in points.iter().enumerate() {
            let _ = write!(d, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        self.put(format_args!(r#"<path class="{class}" d="{d}"/>"#));
    }

    /// A rectangle of `opacity`, with a title unless it is empty.
    pub fn rect(&mut self, class: &str, at: At, size: At, opacity: f64, title: &str) {
        self.put(format_args!(
            r#"<rect class="{class}" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="1.5" fill-opacity="{opacity:.3}">{}</rect>"#,
            at.0,
            at.1,
            size.0.max(0.0),
            size.1.max(0.0),
            title_element(title)
        ));
    }

    /// The sign of a series: each has a shape of its own, so that colors are not needed to tell them apart.
    pub fn mark(&mut self, series: usize, hollow: bool, at: At, size: f64, title: &str) {
        let (x, y) = at;
        let class = format!("{} {}", if hollow { "hollow" } else { "mark" }, color(series));
        let title = title_element(title);
        let r = size;
        let points: Vec<At> = match series % 6 {
            0 => {
                self.put(format_args!(
                    r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{r:.1}">{title}</circle>"#
                ));
                return;
            }
            1 => vec![(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
            2 => vec![(0.0, -1.2), (1.1, 0.85), (-1.1, 0.85)],
            3 => vec![(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
            4 => vec![(0.0, 1.2), (1.1, -0.85), (-1.1, -0.85)],
            _ => vec![
                (-0.45, -1.2),
                (0.45, -1.2),
                (0.45, -0.45),
                (1.2, -0.45),
                (1.2, 0.45),
                (0.45, 0.45),
                (0.45, 1.2),
                (-0.45, 1.2),
                (-0.45, 0.45),
                (-1.2, 0.45),
                (-1.2, -0.45),
                (-0.45, -0.45),
            ],
        };
        let mut list = String::new();
        for (dx, dy) in points {
            let _ = write!(list, "{:.1},{:.1} ", x + dx * r, y + dy * r);
        }
        self.put(format_args!(r#"<polygon class="{class}" points="{}">{title}</polygon>"#, list.trim_end()));
    }

    pub fn text(&mut self, class: &str, anchor: Anchor, at: At, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(format_args!(
            r#"<text class="{class}" x="{:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
            at.0,
            at.1,
            escaped(text)
        ));
    }

    /// The picture; `label` says in words what it shows.
    pub fn finish(self, label: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {:.0} {:.0}\" width=\"{:.0}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
            self.width,
            self.height,
            self.width,
            escaped(label),
            self.body
        )
    }
}

fn title_element(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(title)) }
}
