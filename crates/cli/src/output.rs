//! What goes to standard output: JSON, tables and figures a person can read.
//!
//! Nothing here uses `println!`, which panics when the reader has gone; every write returns its error, and `main`
//! takes a broken pipe for the end of the work, not for a failure.

use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

/// Prints one JSON object or list and a line break.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    text_out(&text)
}

/// Prints text as it is and makes it visible at once.
pub fn text_out(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Tells something on standard error; that nobody reads it is no reason to stop.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "edgewen: {text}");
}

/// Which side the cells of a column lean to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Names.
    Left,
    /// Figures.
    Right,
}

/// Rows of cells, printed in columns two spaces apart.
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading over each column.
    pub fn new<const N: usize>(columns: [(&str, Align); N]) -> Self {
        let columns = columns.into_iter().map(|(name, align)| (name.to_string(), align)).collect();
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row with as many cells as there are columns.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(cells.into());
    }

    /// The table as lines of text without spaces at their ends.
    pub fn render(&self) -> String {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let heading = self.columns[column].0.chars().count();
                self.rows.iter().map(|row| row[column].chars().count()).fold(heading, usize::max)
            })
            .collect();
        let headings: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let mut text = String::new();
        for row in std::iter::once(&headings).chain(&self.rows) {
            let cells =
                row.iter().zip(&self.columns).zip(&widths).map(|((cell, (_, align)), &width)| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Names and values, the values one under the other, long ones broken at spaces to stay within 80 columns.
pub fn fields(pairs: &[(&str, String)]) -> String {
    const COLUMNS: usize = 80;
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (name, value) in pairs {
        let mut line = format!("{name:<width$}");
        let mut used = width;
        for (index, word) in value.split(' ').enumerate() {
            let length = word.chars().count();
            if index != 0 && COLUMNS < used + 1 + length {
                text.push_str(line.trim_end());
                text.push('\n');
                line = " ".repeat(width);
                used = width;
            } else if index != 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// 1234567 as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index != 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in units of 1,000, as disks and bandwidths are given.
pub fn bytes(number: u64) -> String {
    let value = number as f64;
    match number {
        0..1_000 => format!("{number} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.2} GB", value / 1e9),
    }
}

/// A duration as a person says it.
pub fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{:.0} ms", value * 1e3)
    } else if value < 120.0 {
        format!("{value:.1} s")
    } else {
        let whole = value.round() as u64;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_aligns_columns_and_leaves_no_spaces_at_line_ends() {
        let mut table = Table::new([("name", Align::Left), ("bytes", Align::Right), ("kind", Align::Left)]);
        table.row(["a".into(), "10".into(), "x".into()]);
        table.row(["longer".into(), "1,000".into(), String::new()]);
        assert_eq!(table.render(), "name    bytes  kind\na          10  x\nlonger  1,000\n");
    }

    #[test]
    fn fields_break_long_values_before_column_80() {
        let text = fields(&[("a", "word ".repeat(40)), ("longer", "b".into())]);
        assert!(text.lines().all(|line| line.chars().count() <= 80));
        assert!(text.ends_with("longer  b\n"));
        assert_eq!(text.matches("word").count(), 40);
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(151_936_896), "151,936,896");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_999_999), "2.0 MB");
        assert_eq!(seconds(0.0123), "12 ms");
        assert_eq!(seconds(754.0), "12 min 34 s");
    }
}
