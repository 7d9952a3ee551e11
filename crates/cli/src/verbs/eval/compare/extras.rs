//! What other commands wrote about the models: reports of the quantizer and items of tasks.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use edgewen_eval::tasks::{Line, Summary, summarize};
use edgewen_quant::Report;

use crate::args::CompareArgs;
use crate::input::Usage;

/// Stands for a model that has no file.
const NONE: &str = "-";

/// Figures of tasks and the report of every model.
pub fn read(arguments: &CompareArgs) -> anyhow::Result<Vec<(Vec<Summary>, Option<Report>)>> {
    let count = arguments.models.len();
    let fits = |flag: &str, given: usize| {
        if given == count {
            return Ok(());
        }
        Err(Usage(format!(
            "{flag} names {given} files for {count} models: give one a model, in their order, and `{NONE}` for a model \
             without one"
        )))
    };
    let mut all: Vec<(Vec<Summary>, Option<Report>)> = (0..count).map(|_| (Vec::new(), None)).collect();
    if !arguments.reports.is_empty() {
        fits("--reports", arguments.reports.len())?;
        for ((_, report), path) in all.iter_mut().zip(&arguments.reports) {
            if path.as_os_str() != NONE {
                *report = Some(report_of(path)?);
            }
        }
    }
    for list in &arguments.items {
        let paths: Vec<&str> = list.split(',').collect();
        fits("--items", paths.len())?;
        for ((tasks, _), path) in all.iter_mut().zip(paths) {
            if path != NONE {
                tasks.extend(summarize(&items_of(Path::new(path))?));
            }
        }
    }
    Ok(all)
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn report_of(path: &Path) -> anyhow::Result<Report> {
    serde_json::from_str(&text_of(path)?).map_err(|error| {
        anyhow!("{} is no report of `edgewen quantize --report FILE.json`: {error}", path.display())
    })
}

/// The lines after the header.
fn items_of(path: &Path) -> anyhow::Result<Vec<Line>> {
    let text = text_of(path)?;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1) {
        let item = serde_json::from_str(line).map_err(|error| {
            anyhow!(
                "{}, line {}: no item of `edgewen eval wnli` or `edgewen eval tasks`: {error}",
                path.display(),
                number + 1
            )
        })?;
        lines.push(item);
    }
    if lines.is_empty() {
        bail!("{} has no items: it was written by a run that did not finish one", path.display());
    }
    Ok(lines)
}
