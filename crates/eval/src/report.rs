//! Pages that carry their plots with them: HTML with SVG inside, no script, nothing fetched from anywhere.
//!
//! The plots are written here, element by element, and not by a plotting library: a page follows the reader's light or
//! dark theme only if its marks are styled by the page's own style sheet, and every mark carries its figures as a title,
//! which a browser shows under the pointer and a screen reader reads. What a page says in a plot it also says in a table.

mod canvas;
mod charts;
mod grid;
mod page;
mod scale;

pub use charts::{Axis, Label, Panel, Point, Series, bars, lines, panels, ranges, scatter};
pub use charts::{Bar, Range};
pub use grid::{Shade, grid};
pub use page::{Cell, Page, Table};
pub use scale::figure;

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
