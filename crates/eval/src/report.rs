//! Pages that carry their plots with them: HTML with SVG inside, no script, nothing fetched from anywhere. What a page says
//! in a plot it also says in a table.

mod grid;
mod page;
mod panels;
mod plot;
mod rows;
mod scatter;

pub use grid::{Shade, grid};
pub use page::{Cell, Page, Table};
pub use panels::{Panel, Point, Series, panels};
pub use plot::{Area, Axis, COLORS, Drawn, FONT, GRAY, figure, svg};
pub use rows::{Bar, Range, bars, ranges};
pub use scatter::{Label, scatter};

/// Text as the content of an element or the value of a quoted attribute.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
