//! `edgewen eval kl`: how far a model's predictions are from those of a reference.

use anyhow::bail;

use crate::args::KlArgs;

/// Measures and prints, or stores the reference's logits.
pub fn run(arguments: &KlArgs) -> anyhow::Result<()> {
    bail!("a comparison with {} is not built yet", arguments.reference)
}
