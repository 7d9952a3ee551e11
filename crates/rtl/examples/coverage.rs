//! Prints line and toggle coverage of the RTL as a table of files, and what nothing reached.
//!
//! ```text
//! EDGEWEN_RTL_COVERAGE=FOLDER cargo test -p edgewen-rtl
//! cargo run -p edgewen-rtl --example coverage -- FOLDER
//! ```
//! With the variable set every simulated module leaves its counters in the folder; this merges all that are there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use edgewen_rtl::coverage::{Coverage, Kind, Share};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: coverage FOLDER")?);
    let mut coverage = Coverage::default();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dat") {
            coverage.add_file(&path)?;
        }
    }
    table(&coverage);
    gaps(&coverage);
    Ok(())
}

fn table(coverage: &Coverage) {
    println!("{:<24} {:>14} {:>7}   {:>16} {:>7}", "file", "lines", "", "toggles", "");
    let mut sums = [Share::default(); 2];
    for file in coverage.files() {
        let shares = [Kind::Line, Kind::Toggle].map(|kind| coverage.share(file, kind));
        row(file, shares);
        for (sum, share) in sums.iter_mut().zip(shares) {
            sum.covered += share.covered;
            sum.total += share.total;
        }
    }
    row("all", sums);
}

fn row(name: &str, [lines, toggles]: [Share; 2]) {
    let of = |share: Share| format!("{} of {}", share.covered, share.total);
    let (line, toggle) = (lines.percent(), toggles.percent());
    println!("{name:<24} {:>14} {line:>6.1}%   {:>16} {toggle:>6.1}%", of(lines), of(toggles));
}

/// Lines one by one, toggles by signal with the number of its bits that are missing.
fn gaps(coverage: &Coverage) {
    let mut lines = Vec::new();
    let mut signals: BTreeMap<(&str, u32, &str), u32> = BTreeMap::new();
    for point in coverage.gaps() {
        match point.kind {
            Kind::Line => lines.push(format!("{}:{} {}", point.file, point.line, point.what)),
            Kind::Toggle => {
                let signal = point.what.split(['[', ':']).next().unwrap_or_default();
                *signals.entry((&point.file, point.line, signal)).or_default() += 1;
            }
        }
    }
    println!("\nlines and branches never reached:");
    lines.iter().for_each(|line| println!("  {line}"));
    println!("\nsignals with changes (each bit up and down) that never came, and how many:");
    for ((file, line, signal), count) in signals {
        println!("  {file}:{line} {signal}: {count}");
    }
}
