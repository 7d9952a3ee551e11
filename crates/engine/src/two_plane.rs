//! The likeliest tokens of an 8-bit head at little more than the traffic of a 4-bit one.
//!
//! The high plane of such a head is a 4-bit matrix that comes near it. It is multiplied whole, the rows with the largest
//! results are candidates, and only their row blocks are read again with both planes. A logit that is returned is the
//! exact one, to the bit; a row that the high plane ranks behind [`CANDIDATES`] others is never returned. How often that
//! differs from all logits was measured: docs/packed-format.md, section 4.

use edgewen_kernels::{Activations, Compute, RowBlocks, linear, linear_blocks};
use edgewen_layout::BLOCK_ROWS;

use crate::top_k::{keep_largest, largest};

/// Rows whose exact logits are computed.
pub(crate) const CANDIDATES: usize = 512;

/// Most entries that are asked for from so many candidates; who wants more gets them from all logits.
pub(crate) const MOST_TOP_K: usize = 64;

/// The `k` largest logits of one token among the candidates of the high plane. `logits` is memory to work in.
pub(crate) fn top_k(
    compute: &Compute,
    head: &RowBlocks<'_>,
    high_plane: &RowBlocks<'_>,
    x: &Activations,
    k: usize,
    logits: &mut Vec<f32>,
) -> Vec<(u32, f32)> {
    logits.resize(head.shape().rows, 0.0);
    linear(compute, high_plane, x, None, logits);
    let mut entries = largest(logits, CANDIDATES);
    let mut blocks: Vec<usize> = entries.iter().map(|(id, _)| *id as usize / BLOCK_ROWS).collect();
    blocks.sort_unstable();
    blocks.dedup();
    linear_blocks(compute, head, x, None, &blocks, logits);
    for (id, logit) in &mut entries {
        *logit = logits[*id as usize];
    }
    keep_largest(&mut entries, k);
    entries
}
