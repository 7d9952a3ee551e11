//! `edgewen eval compare`: several models against one reference, as a table and as a page.

use anyhow::bail;

use crate::args::CompareArgs;

/// Measures, prints, and writes the page.
pub fn run(arguments: &CompareArgs) -> anyhow::Result<()> {
    bail!("a comparison with {} is not built yet", arguments.reference)
}
