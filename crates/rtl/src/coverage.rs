//! Merges the coverage that Verilator counted into a table of files.
//!
//! A point is a place in a source file: a line, or a bit that rises or falls. It is covered if any instance of its
//! module, in any run, was there. Verilator writes one line a point, `C '<fields>' <count>`, whose fields are a name and
//! a value between the bytes 1 and 2.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::error::{Error, Result};

/// What a point counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A statement or branch was reached.
    Line,
    /// A bit changed.
    Toggle,
}

/// A place in a source file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// File name without folders.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// What it counts.
    pub kind: Kind,
    /// The signal's bit, or the kind of branch.
    pub what: String,
}

/// Points and how often they were reached.
#[derive(Debug, Default)]
pub struct Coverage {
    points: BTreeMap<Point, u64>,
}

/// A file's share: points covered, of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Reached at least once.
    pub covered: usize,
    /// All.
    pub total: usize,
}

impl Share {
    /// In percent; 100 of nothing.
    #[must_use]
    pub fn percent(self) -> f64 {
        if self.total == 0 { 100.0 } else { 100.0 * self.covered as f64 / self.total as f64 }
    }
}

impl Coverage {
    /// Adds a file that [`Model::write_coverage`](crate::Model::write_coverage) wrote.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let text = std::fs::read(path).map_err(Error::file(path))?;
        self.add(&String::from_utf8_lossy(&text));
        Ok(())
    }

    /// Adds Verilator's text.
    pub fn add(&mut self, text: &str) {
        for (point, count) in text.lines().filter_map(point) {
            *self.points.entry(point).or_default() += count;
        }
    }

    /// The files that have points.
    #[must_use]
    pub fn files(&self) -> BTreeSet<&str> {
        self.points.keys().map(|point| point.file.as_str()).collect()
    }

    /// How much of a kind is covered in a file.
    #[must_use]
    pub fn share(&self, file: &str, kind: Kind) -> Share {
        let points = self.points.iter().filter(|(point, _)| point.file == file && point.kind == kind);
        points.fold(Share::default(), |share, (_, count)| Share {
            covered: share.covered + usize::from(*count > 0),
            total: share.total + 1,
        })
    }

    /// The points that nothing reached.
    pub fn gaps(&self) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(|(_, count)| **count == 0).map(|(point, _)| point)
    }
}

/// One line of Verilator's text.
fn point(line: &str) -> Option<(Point, u64)> {
    let (fields, count) = line.strip_prefix("C '")?.rsplit_once("' ")?;
    let field = |name: &str| {
        fields
            .split('\u{1}')
            .filter_map(|field| field.split_once('\u{2}'))
            .find(|(key, _)| *key == name)
            .map(|f| f.1)
    };
    let kind = match field("page")? {
        page if page.starts_with("v_toggle") => Kind::Toggle,
        page if page.starts_with("v_line") || page.starts_with("v_branch") => Kind::Line,
        _ => return None,
    };
    let file = field("f")?;
    let point = Point {
        file: Path::new(file).file_name()?.to_string_lossy().into_owned(),
        line: field("l")?.parse().ok()?,
        column: field("n").and_then(|column| column.parse().ok()).unwrap_or(0),
        kind,
        what: field("o").unwrap_or_default().to_owned(),
    };
    Some((point, count.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_instances_and_runs() {
        let line = |h: &str, count| {
            format!(
                "C '\u{1}f\u{2}/x/fifo.sv\u{1}l\u{2}12\u{1}n\u{2}3\u{1}page\u{2}v_line/fifo\u{1}o\u{2}block\u{1}h\u{2}{h}' {count}\n"
            )
        };
        let mut coverage = Coverage::default();
        coverage.add(&line("TOP.a", 0));
        assert_eq!(coverage.share("fifo.sv", Kind::Line), Share { covered: 0, total: 1 });
        assert_eq!(coverage.gaps().count(), 1);
        coverage.add(&line("TOP.b", 3));
        coverage.add("C '\u{1}f\u{2}fifo.sv\u{1}l\u{2}4\u{1}page\u{2}v_toggle/fifo\u{1}o\u{2}data_i[3]' 0\n");
        assert_eq!(coverage.share("fifo.sv", Kind::Line), Share { covered: 1, total: 1 });
        assert_eq!(coverage.share("fifo.sv", Kind::Toggle), Share { covered: 0, total: 1 });
        assert_eq!(coverage.gaps().next().map(|gap| gap.what.as_str()), Some("data_i[3]"));
        assert_eq!(coverage.files().into_iter().collect::<Vec<_>>(), ["fifo.sv"]);
    }
}
