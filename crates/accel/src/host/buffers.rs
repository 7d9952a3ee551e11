//! Operands and results in the shared buffers: where they lie and how they are written.

use std::ops::Range;

use edgewen_kernels::Activations;

use super::Memory;
use super::address_space::BusError;
use crate::program::{GROUP_INPUTS, Operation, activation_bytes};

/// Boundary at which results begin: a page.
const ALIGNMENT: u64 = 4096;

/// Where the operands and results of some tokens of one operation lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Activations of the first token.
    pub(super) activations: u64,
    /// Results of the first token.
    pub(super) results: u64,
}

/// Divides the buffers for `tokens` tokens; nothing if they do not fit.
pub(super) fn place(buffers: &Range<u64>, operation: &Operation, tokens: usize) -> Option<Place> {
    let activations = buffers.start.next_multiple_of(ALIGNMENT);
    let end = activations + tokens as u64 * operation.activation_bytes();
    let results = end.next_multiple_of(ALIGNMENT);
    let end = results + tokens as u64 * operation.result_bytes();
    (end <= buffers.end).then_some(Place { activations, results })
}

/// Writes the tokens `range` of `x`: the codes of the first `groups` groups, then scale and sum of each.
pub(super) fn write_activations(
    memory: &mut dyn Memory,
    address: u64,
    groups: usize,
    x: &Activations,
    range: Range<usize>,
) -> Result<(), BusError> {
    let stride = x.scales().len() / x.tokens();
    let token_bytes = activation_bytes(groups as u32) as usize;
    let mut bytes = Vec::with_capacity(range.len() * token_bytes);
    for token in range.clone() {
        let codes = &x.q()[token * stride * GROUP_INPUTS..][..groups * GROUP_INPUTS];
        bytes.extend(codes.iter().map(|&code| code as u8));
        let side = x.scales()[token * stride..].iter().zip(&x.sums()[token * stride..]).take(groups);
        for (scale, sum) in side {
            bytes.extend_from_slice(&scale.to_le_bytes());
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        bytes.resize((token + 1 - range.start) * token_bytes, 0);
    }
    memory.write(address, &bytes)
}

/// Reads the results of some tokens, [tokens, rows], leaving out rows that only fill the last block.
pub(super) fn read_results(
    memory: &dyn Memory,
    address: u64,
    operation: &Operation,
    out: &mut [f32],
) -> Result<(), BusError> {
    for (token, out) in out.chunks_exact_mut(operation.rows).enumerate() {
        read_floats(memory, address + token as u64 * operation.result_bytes(), out)?;
    }
    Ok(())
}

/// Reads floats that lie side by side.
pub(super) fn read_floats(memory: &dyn Memory, address: u64, out: &mut [f32]) -> Result<(), BusError> {
    let mut bytes = vec![0; 4 * out.len()];
    memory.read(address, &mut bytes)?;
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *out = f32::from_le_bytes(*bytes);
    }
    Ok(())
}
