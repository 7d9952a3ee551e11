//! A field of cells whose shade is their value: rows of matrices over columns of layers.

use super::canvas::{Anchor, Canvas, width_of};
use super::figure;

const WIDTH: f64 = 760.0;
const FONT: f64 = 12.5;

/// How a value becomes a shade.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shade {
    /// From nothing at the first value to full at the second.
    Between(f64, f64),
    /// Of a ratio: one color the further below 1, another the further above.
    AroundOne,
}

impl Shade {
    /// Class and opacity.
    fn of(self, value: f64) -> (&'static str, f64) {
        match self {
            Shade::Between(low, high) => ("cell s0", ((value - low) / (high - low)).clamp(0.0, 1.0)),
            Shade::AroundOne if value <= 1.0 => ("cell s0", (1.0 - value).clamp(0.0, 1.0)),
            // Twice as bad is as full as nothing left.
            Shade::AroundOne => ("cell s1", (value - 1.0).clamp(0.0, 1.0)),
        }
    }

    fn key(self) -> Vec<(f64, String)> {
        match self {
            Shade::Between(low, high) => (0..=4)
                .map(|step| low + (high - low) * step as f64 / 4.0)
                .map(|value| (value, figure(value)))
                .collect(),
            Shade::AroundOne => {
                [0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0].map(|value| (value, figure(value))).to_vec()
            }
        }
    }
}

/// The field. A missing value is an empty place.
pub fn grid(
    label: &str,
    rows: &[String],
    columns: &[String],
    values: &[Vec<Option<f64>>],
    shade: Shade,
    quantity: &str,
) -> String {
    let left = rows.iter().map(|row| width_of(row, FONT)).fold(0.0, f64::max) + 14.0;
    let wide = ((WIDTH - left) / columns.len().max(1) as f64).min(64.0);
    let tall: f64 = 24.0;
    let top = 40.0;
    let bottom = top + tall * rows.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 44.0);
    let mut key_left = width_of(quantity, FONT) + 14.0;
    canvas.text("axis", Anchor::Start, (0.0, 14.0), quantity);
    for (value, name) in shade.key() {
        let (class, opacity) = shade.of(value);
        canvas.rect(class, (key_left, 3.0), (16.0, 13.0), opacity, "");
        canvas.text("tick", Anchor::Start, (key_left + 20.0, 14.0), &name);
        key_left += 34.0 + width_of(&name, 12.0);
    }
    for (row, name) in rows.iter().enumerate() {
        let line = top + tall * row as f64;
        canvas.text("label", Anchor::End, (left - 8.0, line + tall / 2.0 + 4.0), name);
        for (column, column_name) in columns.iter().enumerate() {
            let Some(value) = values.get(row).and_then(|row| row.get(column)).copied().flatten() else {
                continue;
            };
            let (class, opacity) = shade.of(value);
            let title = format!("{name}, {column_name}: {}", figure(value));
            let at = (left + wide * column as f64, line);
            canvas.rect(class, (at.0 + 0.75, at.1 + 0.75), (wide - 1.5, tall - 1.5), opacity, &title);
            if 38.0 <= wide {
                let class = if 0.55 < opacity { "inside over" } else { "inside" };
                canvas.text(
                    class,
                    Anchor::Middle,
                    (at.0 + wide / 2.0, at.1 + tall / 2.0 + 4.0),
                    &figure(value),
                );
            }
        }
    }
    // As many column names as have room.
    let every = (26.0 / wide).ceil() as usize;
    for (column, name) in columns.iter().enumerate().step_by(every.max(1)) {
        canvas.text("tick", Anchor::Middle, (left + wide * (column as f64 + 0.5), bottom + 16.0), name);
    }
    canvas.text("axis", Anchor::Start, (left, bottom + 36.0), "layer");
    canvas.finish(label)
}
