//! A field of cells whose shade is their value: rows of matrices over columns of layers.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::plot::{FONT, WIDTH, color, figure, svg, width_of};
use crate::Result;

/// How a value becomes a shade.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shade {
    /// From nothing at the first value to full at the second.
    Between(f64, f64),
    /// Of a ratio: one color the further below 1, another the further above.
    AroundOne,
}

impl Shade {
    /// A color, and how much of it there is in white.
    fn of(self, value: f64) -> (RGBColor, f64) {
        match self {
            Shade::Between(low, high) => (color(0), ((value - low) / (high - low)).clamp(0.0, 1.0)),
            Shade::AroundOne if value <= 1.0 => (color(0), (1.0 - value).clamp(0.0, 1.0)),
            // Twice as bad is as full as nothing left.
            Shade::AroundOne => (color(1), (value - 1.0).clamp(0.0, 1.0)),
        }
    }

    fn key(self) -> Vec<f64> {
        match self {
            Shade::Between(low, high) => {
                (0..=4).map(|step| low + (high - low) * f64::from(step) / 4.0).collect()
            }
            Shade::AroundOne => vec![0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0],
        }
    }
}

const TALL: i32 = 24;
const TOP: i32 = 40;

/// The field. A missing value is an empty place.
///
/// # Errors
/// What the plotting library says.
pub fn grid(
    label: &str,
    rows: &[String],
    columns: &[String],
    values: &[Vec<Option<f64>>],
    shade: Shade,
    quantity: &str,
) -> Result<String> {
    let left = rows.iter().map(|row| width_of(row)).max().unwrap_or(0) + 20;
    let wide = ((WIDTH as i32 - left - 8) / columns.len().max(1) as i32).min(64);
    let bottom = TOP + TALL * rows.len() as i32;
    svg(label, (bottom + 46) as u32, |area| {
        let text = |text: &str, at: (i32, i32), to: HPos, color: RGBColor| {
            let style = FONT.into_text_style(area).color(&color).pos(Pos::new(to, VPos::Center));
            area.draw_text(text, &style, at)
        };
        let cell = |at: (i32, i32), size: (i32, i32), value: f64| {
            let (color, share) = shade.of(value);
            let corners = [at, (at.0 + size.0, at.1 + size.1)];
            area.draw(&Rectangle::new(corners, color.mix(share).filled()))?;
            area.draw(&Rectangle::new(corners, color.mix(0.25).stroke_width(1)))
        };
        text(quantity, (8, 13), HPos::Left, BLACK)?;
        let mut key_left = width_of(quantity) + 26;
        for value in shade.key() {
            cell((key_left, 6), (15, 14), value)?;
            text(&figure(value), (key_left + 20, 13), HPos::Left, BLACK)?;
            key_left += 38 + width_of(&figure(value));
        }
        for (row, name) in rows.iter().enumerate() {
            let top = TOP + TALL * row as i32;
            text(name, (left - 8, top + TALL / 2), HPos::Right, BLACK)?;
            let found = values.get(row).into_iter().flatten().take(columns.len()).enumerate();
            for (column, value) in found.filter_map(|(column, value)| Some((column as i32, (*value)?))) {
                let at = (left + wide * column, top);
                cell(at, (wide - 2, TALL - 2), value)?;
                if 38 <= wide {
                    let over = if 0.55 < shade.of(value).1 { WHITE } else { BLACK };
                    text(&figure(value), (at.0 + wide / 2, top + TALL / 2), HPos::Center, over)?;
                }
            }
        }
        // As many column names as have room.
        for (column, name) in columns.iter().enumerate().step_by((26 / wide.max(1) + 1) as usize) {
            text(name, (left + wide * column as i32 + wide / 2, bottom + 12), HPos::Center, BLACK)?;
        }
        text("layer", (left, bottom + 32), HPos::Left, BLACK)
    })
}
