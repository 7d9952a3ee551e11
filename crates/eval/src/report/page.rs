//! A page from its parts. Whatever is put in is text and is made safe here; only plots come as markup.

use std::fmt::Write;

use super::escaped;

const STYLE: &str = include_str!("page.css");

/// A page being written, from top to bottom.
pub struct Page {
    title: String,
    body: String,
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// Said smaller behind it.
    pub aside: String,
    /// The best of its column.
    pub best: bool,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell { text: text.to_string(), ..Cell::default() }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell { text, ..Cell::default() }
    }
}

/// Rows under headings. A heading that begins with `#` is of figures, which lean to the right.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// Headings.
    pub headings: Vec<String>,
    /// Rows with as many cells.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headings: &[&str]) -> Self {
        Table { headings: headings.iter().map(|heading| (*heading).to_string()).collect(), rows: Vec::new() }
    }
}

impl Page {
    /// A page with its heading, and a line under it.
    pub fn new(title: &str, lead: &str) -> Self {
        let mut page = Page { title: title.to_string(), body: String::new() };
        page.put(format_args!("<h1>{}</h1>\n", escaped(title)));
        if !lead.is_empty() {
            page.put(format_args!("<p class=\"lead\">{}</p>\n", escaped(lead)));
        }
        page
    }

    // Writing to a String cannot fail.
    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = self.body.write_fmt(text);
    }

    /// Figures that one sees first: name, value, and what explains the value.
    pub fn facts(&mut self, facts: &[(&str, String, String)]) -> &mut Self {
        self.put(format_args!("<dl class=\"facts\">\n"));
        for (name, value, aside) in facts {
            self.put(format_args!("<div><dt>{}</dt><dd>{}", escaped(name), escaped(value)));
            if !aside.is_empty() {
                self.put(format_args!("<small>{}</small>", escaped(aside)));
            }
            self.put(format_args!("</dd></div>\n"));
        }
        self.put(format_args!("</dl>\n"));
        self
    }

    /// The heading of a part.
    pub fn heading(&mut self, text: &str) -> &mut Self {
        self.put(format_args!("<h2>{}</h2>\n", escaped(text)));
        self
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) -> &mut Self {
        self.put(format_args!("<p>{}</p>\n", escaped(text)));
        self
    }

    /// A plot and what to see in it.
    pub fn figure(&mut self, svg: &str, caption: &str) -> &mut Self {
        self.put(format_args!("<figure>\n{svg}<figcaption>{}</figcaption>\n</figure>\n", escaped(caption)));
        self
    }

    /// A table.
    pub fn table(&mut self, table: &Table) -> &mut Self {
        let figures: Vec<bool> = table.headings.iter().map(|heading| heading.starts_with('#')).collect();
        self.put(format_args!("<div class=\"wide\"><table>\n<tr>"));
        for heading in &table.headings {
            let class = if heading.starts_with('#') { " class=\"n\"" } else { "" };
            self.put(format_args!("<th{class}>{}</th>", escaped(heading.trim_start_matches('#'))));
        }
        self.put(format_args!("</tr>\n"));
        for row in &table.rows {
            self.put(format_args!("<tr>"));
            for (cell, figures) in row.iter().zip(&figures) {
                let class = match (*figures, cell.best) {
                    (true, true) => " class=\"n best\"",
                    (true, false) => " class=\"n\"",
                    (false, true) => " class=\"best\"",
                    (false, false) => "",
                };
                self.put(format_args!("<td{class}>{}", escaped(&cell.text)));
                if !cell.aside.is_empty() {
                    self.put(format_args!(" <small>{}</small>", escaped(&cell.aside)));
                }
                self.put(format_args!("</td>"));
            }
            self.put(format_args!("</tr>\n"));
        }
        self.put(format_args!("</table></div>\n"));
        self
    }

    /// Names and what they stand for, one under the other.
    pub fn fields(&mut self, fields: &[(String, String)]) -> &mut Self {
        self.put(format_args!("<table class=\"fields\">\n"));
        for (name, value) in fields {
            self.put(format_args!("<tr><th>{}</th><td>{}</td></tr>\n", escaped(name), escaped(value)));
        }
        self.put(format_args!("</table>\n"));
        self
    }

    /// Begins a part that is folded until somebody opens it; [`Page::unfold`] ends it.
    pub fn fold(&mut self, summary: &str) -> &mut Self {
        self.put(format_args!("<details><summary>{}</summary>\n", escaped(summary)));
        self
    }

    /// Ends a folded part.
    pub fn unfold(&mut self) -> &mut Self {
        self.put(format_args!("</details>\n"));
        self
    }

    /// Text as it is, in letters of one width.
    pub fn verbatim(&mut self, text: &str) -> &mut Self {
        self.put(format_args!("<pre>{}</pre>\n", escaped(text)));
        self
    }

    /// The whole page.
    pub fn finish(&self) -> String {
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
            escaped(&self.title),
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Result;
    use crate::report::{
        Axis, Bar, Label, Panel, Point, Range, Series, Shade, bars, grid, panels, ranges, scatter,
    };

    const HOSTILE: &str = "<script>&\"'";

    fn every_plot() -> Result<Vec<String>> {
        let name = HOSTILE.to_string();
        let point = |x: f64, y: f64| Point { x, y, spread: 0.1, hollow: x == 0.0 };
        let series = [Series {
            name: name.clone(),
            points: vec![point(0.0, 0.0), point(1.0, f64::NAN)],
            faint: false,
        }];
        let label = Label { name: name.clone(), point: point(4.3, 0.02) };
        let (x, y) = (Axis::linear(HOSTILE), Axis::log(HOSTILE));
        [
            scatter(HOSTILE, &x, &y, &[label.clone(), label], true),
            panels(HOSTILE, &x, &y, &[Panel { title: name.clone(), series: series.to_vec() }]),
            ranges(HOSTILE, &y, &[HOSTILE], &[Range { name: name.clone(), values: vec![0.1, f64::NAN] }]),
            bars(HOSTILE, &x, &[Bar { name: name.clone(), value: 1.0, spread: 0.1 }]),
            grid(
                HOSTILE,
                std::slice::from_ref(&name),
                std::slice::from_ref(&name),
                &[vec![Some(0.5)]],
                Shade::AroundOne,
                HOSTILE,
            ),
        ]
        .into_iter()
        .collect()
    }

    #[test]
    fn names_cannot_break_the_page_and_it_needs_nothing_else() {
        let mut page = Page::new(HOSTILE, HOSTILE);
        page.facts(&[(HOSTILE, HOSTILE.into(), HOSTILE.into())]).heading(HOSTILE).paragraph(HOSTILE);
        page.table(&Table { headings: vec![HOSTILE.into()], rows: vec![vec![HOSTILE.into()]] });
        page.fields(&[(HOSTILE.into(), HOSTILE.into())]).fold(HOSTILE).verbatim(HOSTILE).unfold();
        let plots = every_plot().unwrap();
        for plot in &plots {
            page.figure(plot, HOSTILE);
        }
        let page = page.finish();
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;&amp;&quot;&#39;"));
        assert_eq!(page.matches("<svg").count(), plots.len());
        for word in ["href=", "src=", "@import", "url(", "NaN", "inf"] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn plots_of_nothing_are_plots() {
        let (x, y) = (Axis::from_zero("x"), Axis::log("y"));
        for plot in [
            scatter("", &x, &y, &[], true),
            panels("", &x, &y, &[]),
            ranges("", &y, &[], &[]),
            bars("", &x, &[]),
            grid("", &[], &[], &[], Shade::Between(0.0, 1.0), ""),
        ] {
            let plot = plot.unwrap();
            assert!(
                plot.starts_with("<svg role") && plot.contains("</svg>") && !plot.contains("NaN"),
                "{plot}"
            );
        }
    }
}
