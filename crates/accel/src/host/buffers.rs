//! Operands and results in the shared buffers: where they lie and how they are written.

use std::ops::Range;

use edgewen_kernels::Activations;

use super::Memory;
use super::address_space::BusError;
use crate::program::{GROUP_INPUTS, Operation};

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

/// Writes the tokens `range` of `x`: codes, then scale and sum of every group.
pub(super) fn write_activations(
    memory: &mut dyn Memory,
    address: u64,
    operation: &Operation,
    x: &Activations,
    range: Range<usize>,
) -> Result<(), BusError> {
    let groups = operation.groups() as usize;
    let padded = groups * GROUP_INPUTS;
    let mut bytes = Vec::with_capacity(range.len() * operation.activation_bytes() as usize);
    for token in range.clone() {
        bytes.extend(x.q()[token * padded..][..padded].iter().map(|&code| code as u8));
        let side = x.scales()[token * groups..].iter().zip(&x.sums()[token * groups..]).take(groups);
        for (scale, sum) in side {
            bytes.extend_from_slice(&scale.to_le_bytes());
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        bytes.resize((token + 1 - range.start) * operation.activation_bytes() as usize, 0);
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
    let mut bytes = vec![0; 4 * operation.rows];
    for (token, out) in out.chunks_exact_mut(operation.rows).enumerate() {
        memory.read(address + token as u64 * operation.result_bytes(), &mut bytes)?;
        for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
            *out = f32::from_le_bytes(*bytes);
        }
    }
    Ok(())
}
