//! The SystemVerilog sources, embedded in the program, and which of them a module needs.
//!
//! A module lives in a file of its name, so a file is needed when its name occurs as a word in a file that is needed.
//! That may take one too many (a comment or a port of that name), never one too few.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::error::{Error, Result};

/// One source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// File name, `module.sv`.
    pub name: Cow<'static, str>,
    /// Its text.
    pub text: Cow<'static, str>,
}

/// The files of `hw/rtl`.
pub static EMBEDDED: &[Source] = include!(concat!(env!("OUT_DIR"), "/sources.rs"));

impl Source {
    /// A source that is not part of the design, for tests.
    #[must_use]
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: Cow::Owned(name.to_owned()), text: Cow::Owned(text.to_owned()) }
    }

    /// File name without `.sv`: the module or package.
    #[must_use]
    pub fn stem(&self) -> &str {
        self.name.strip_suffix(".sv").unwrap_or(&self.name)
    }
}

/// The files that `top` needs, packages first and every file after those that it names.
///
/// # Errors
/// [`Error::UnknownModule`] if there is no file of that name.
pub fn needed<'a>(top: &str, all: &'a [Source]) -> Result<Vec<&'a Source>> {
    let start = all.iter().position(|source| source.stem() == top);
    let start = start.ok_or_else(|| Error::UnknownModule(top.to_owned()))?;
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    visit(start, all, &mut seen, &mut order);
    // A stable sort: packages keep their order of need among themselves.
    order.sort_by_key(|&index| !all[index].stem().ends_with("_pkg"));
    Ok(order.into_iter().map(|index| &all[index]).collect())
}

/// Depth first, so that what a file names comes before it.
fn visit(index: usize, all: &[Source], seen: &mut BTreeSet<usize>, order: &mut Vec<usize>) {
    if !seen.insert(index) {
        return;
    }
    let words: BTreeSet<&str> = all[index]
        .text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|w| !w.is_empty())
        .collect();
    for (other, source) in all.iter().enumerate() {
        if other != index && words.contains(source.stem()) {
            visit(other, all, seen, order);
        }
    }
    order.push(index);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_files_after_what_they_need() {
        let all = [
            Source::new("a.sv", "module a; import b_pkg::*; c u_c (); endmodule"),
            Source::new("b_pkg.sv", "package b_pkg; localparam int X = a_pkg::Y; endpackage"),
            Source::new("c.sv", "module c; endmodule"),
            Source::new("d.sv", "module d; endmodule"),
            Source::new("a_pkg.sv", "package a_pkg; endpackage"),
        ];
        let names: Vec<&str> = needed("a", &all).unwrap().iter().map(|source| source.stem()).collect();
        assert_eq!(names, ["a_pkg", "b_pkg", "c", "a"]);
        assert!(matches!(needed("e", &all), Err(Error::UnknownModule(_))));
    }
}
