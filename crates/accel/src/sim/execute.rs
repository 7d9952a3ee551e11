//! Runs one operation: operands from memory, weights from the streams, results to memory or to the top-k list.

use rayon::prelude::*;

use super::arith::{result, scale_step};
use super::block::{CHANNELS, Group};
use super::stream::{Range, Streams};
use super::top_k::TopK;
use crate::descriptor::{Descriptor, PORTS, WORDS};
use crate::host::{BusError, Memory};
use crate::image::{BEAT_BYTES, Layout};
use crate::program::{GROUP_INPUTS, Limits};
use crate::registers::{ErrorCode, NO_PORT, PORT_DATA_READ, PORT_DATA_WRITE};

/// Bytes of a burst: none crosses a multiple of this.
const BURST_BYTES: u64 = 256;

/// Why and where an operation failed, as the error registers say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: ErrorCode,
    pub(super) port: u32,
    pub(super) address: u64,
}

/// Why an operation did not end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its weights are not (all) in the streams: it goes on when they are.
    Starved,
    /// An error.
    Failed(Fault),
}

/// What an operation multiplies with, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Operands {
    /// Groups of inputs.
    pub groups: usize,
    /// Codes [tokens, 64 groups].
    pub codes: Vec<i8>,
    /// Scale of every group [tokens, groups].
    pub scales: Vec<f32>,
    /// Sum of the codes of every group [tokens, groups].
    pub sums: Vec<i32>,
    /// Bias of the block's rows, or nothing where there is none.
    pub bias: Option<Vec<f32>>,
}

/// Multiplies one block, given as its bytes, with all tokens: bits of the results [tokens, rows of a block]. `first_row`
/// is where the bias of the block begins.
pub fn execute(layout: Layout, block: &[u8], operands: &Operands, first_row: usize) -> Vec<u32> {
    let (groups, rows) = (operands.groups, layout.block_rows());
    let tokens = operands.scales.len() / groups.max(1);
    let mut sums = vec![[0.0_f32; CHANNELS]; tokens];
    let mut group = Group::EMPTY;
    for index in 0..groups {
        group.unpack(layout, block, groups, index);
        for (token, acc) in sums.iter_mut().enumerate() {
            let at = token * groups + index;
            let dot = group.dot(&operands.codes[at * GROUP_INPUTS..][..GROUP_INPUTS], operands.sums[at]);
            for (acc, (dot, scale)) in acc.iter_mut().zip(dot.iter().zip(&group.scales)) {
                *acc = scale_step(*acc, *dot, *scale, operands.scales[at]);
            }
        }
    }
    // Rows beyond the last one have no bias; their results mean nothing.
    let bias =
        |row: usize| operands.bias.as_ref().map(|bias| bias.get(first_row + row).copied().unwrap_or(0.0));
    sums.iter().flat_map(|acc| (0..rows).map(|row| result(acc[row], bias(row)))).collect()
}

/// The order of the weights of a descriptor; nothing if the design does not have it.
fn layout_of(descriptor: &Descriptor, limits: &Limits) -> Option<Layout> {
    match (descriptor.segments, limits.layout) {
        (false, layout) => Some(layout),
        (true, Layout::RowBlocks) => Some(Layout::Segments),
        (true, _) => None,
    }
}

/// Whether the stream engines can follow a descriptor.
pub(super) fn legal_stream(descriptor: &Descriptor, limits: &Limits) -> bool {
    (1..=limits.max_groups).contains(&descriptor.groups)
        && layout_of(descriptor, limits)
            .is_some_and(|layout| descriptor.block_beats == layout.block_beats(descriptor.groups))
}

/// Whether the accelerator can run a descriptor whose weights lie in this order.
fn legal(descriptor: &Descriptor, layout: Layout, limits: &Limits) -> bool {
    let block_rows = layout.block_rows() as u64;
    let blocks = descriptor.ports.map(|port| u64::from(port.blocks));
    let port_rows = blocks.into_iter().max().unwrap_or(0) * block_rows;
    legal_stream(descriptor, limits)
        && descriptor.header_beats == layout.header_beats(descriptor.groups)
        && descriptor.tokens <= limits.tokens
        && (!descriptor.top_k || descriptor.tokens == 1 && limits.top_k != 0)
        && descriptor.rows != 0
        && blocks.iter().sum::<u64>() == u64::from(descriptor.rows).div_ceil(block_rows)
        && (descriptor.bias.is_none() || port_rows <= u64::from(limits.bias_rows / PORTS as u32))
}

/// Runs the operation that `words` describe; returns the beats that went through the data port.
pub(super) fn run(
    words: &[u32; WORDS],
    limits: &Limits,
    memory: &mut dyn Memory,
    streams: &mut Streams,
    top_k: &mut TopK,
) -> Result<u64, Stop> {
    let illegal = Stop::Failed(Fault { code: ErrorCode::Descriptor, port: NO_PORT, address: 0 });
    let Ok(descriptor) = Descriptor::decode(words) else { return Err(illegal) };
    let layout = layout_of(&descriptor, limits).filter(|&layout| legal(&descriptor, layout, limits));
    let Some(layout) = layout else { return Err(illegal) };
    let (operands, mut data_beats) = load(&descriptor, &*memory)?;

    let beats = |port: usize| u64::from(descriptor.ports[port].blocks) * u64::from(descriptor.block_beats);
    if (0..PORTS).any(|port| streams[port].waiting() < beats(port)) {
        return Err(Stop::Starved);
    }
    if descriptor.top_k {
        top_k.clear();
    }
    let mut first_block = 0;
    for (port, stream) in streams.iter_mut().enumerate() {
        let ranges = stream.take(beats(port));
        let blocks = descriptor.ports[port].blocks as usize;
        let results = multiply(&descriptor, layout, port, &ranges, first_block, &operands, &*memory)?;
        let first_row = first_block * layout.block_rows();
        if descriptor.top_k {
            for (row, bits) in (first_row as u32..descriptor.rows).zip(results.concat()) {
                top_k.offer(row, bits);
            }
        } else {
            data_beats += store(&descriptor, layout, first_row, &results, memory)?;
        }
        first_block += blocks;
    }
    Ok(data_beats)
}

/// Reads bias and activations.
fn load(descriptor: &Descriptor, memory: &dyn Memory) -> Result<(Operands, u64), Stop> {
    let (groups, tokens) = (descriptor.groups as usize, u64::from(descriptor.tokens));
    let mut beats = 0;
    let mut fetch = |address: u64, bytes: usize| {
        let mut data = vec![0; bytes];
        read(memory, address, &mut data, PORT_DATA_READ)?;
        beats += (bytes as u64).div_ceil(BEAT_BYTES as u64);
        Ok(data)
    };
    let bias = match descriptor.bias {
        None => None,
        Some(address) => {
            let bytes: Vec<u8> = fetch(address, 4 * descriptor.rows as usize)?;
            Some(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        }
    };
    let mut operands = Operands { groups, codes: Vec::new(), scales: Vec::new(), sums: Vec::new(), bias };
    for token in 0..tokens {
        let address = descriptor.activations.wrapping_add(token * descriptor.activations_stride);
        let bytes = fetch(address, groups * (GROUP_INPUTS + 8))?;
        let (codes, side) = bytes.split_at(groups * GROUP_INPUTS);
        operands.codes.extend(codes.iter().map(|&code| code as i8));
        for &[a, b, c, d, e, f, g, h] in side.as_chunks().0 {
            operands.scales.push(f32::from_le_bytes([a, b, c, d]));
            operands.sums.push(i32::from_le_bytes([e, f, g, h]));
        }
    }
    Ok((operands, beats))
}

/// Multiplies the blocks of a port, each [tokens, rows of a block].
fn multiply(
    descriptor: &Descriptor,
    layout: Layout,
    port: usize,
    ranges: &[Range],
    first_block: usize,
    operands: &Operands,
    memory: &dyn Memory,
) -> Result<Vec<Vec<u32>>, Stop> {
    let block_bytes = descriptor.block_beats as usize * BEAT_BYTES;
    let blocks = descriptor.ports[port].blocks as usize;
    (0..blocks)
        .into_par_iter()
        .map_init(
            || vec![0; block_bytes],
            |bytes, block| {
                read_stream(memory, ranges, block * block_bytes, bytes, port as u32)?;
                Ok(execute(layout, bytes, operands, (first_block + block) * layout.block_rows()))
            },
        )
        .collect()
}

/// Reads what lies `offset` bytes into a list of ranges.
fn read_stream(
    memory: &dyn Memory,
    ranges: &[Range],
    offset: usize,
    mut out: &mut [u8],
    port: u32,
) -> Result<(), Stop> {
    let mut skip = offset as u64;
    for range in ranges {
        let bytes = range.beats * BEAT_BYTES as u64;
        if skip < bytes && !out.is_empty() {
            let part = (bytes - skip).min(out.len() as u64);
            let (now, rest) = out.split_at_mut(part as usize);
            read(memory, range.address + skip, now, port)?;
            out = rest;
        }
        skip = skip.saturating_sub(bytes);
    }
    Ok(())
}

/// Writes the results of a port's blocks, whose rows begin at `first_row`; returns the beats.
fn store(
    descriptor: &Descriptor,
    layout: Layout,
    first_row: usize,
    results: &[Vec<u32>],
    memory: &mut dyn Memory,
) -> Result<u64, Stop> {
    let rows = layout.block_rows();
    let mut beats = 0;
    for token in 0..descriptor.tokens as usize {
        let of_token = results.iter().flat_map(|block| &block[token * rows..][..rows]);
        let bytes: Vec<u8> = of_token.flat_map(|bits| bits.to_le_bytes()).collect();
        if bytes.is_empty() {
            continue;
        }
        let base = descriptor.results.wrapping_add(token as u64 * descriptor.results_stride);
        let address = base.wrapping_add(4 * first_row as u64);
        beats += (bytes.len() as u64).div_ceil(BEAT_BYTES as u64);
        if let Err(error) = memory.write(address, &bytes) {
            let burst = |(address, part): (u64, std::ops::Range<usize>)| {
                Some((address, memory.write(address, &bytes[part]).err()?))
            };
            let first = bursts(address, bytes.len()).find_map(burst);
            return Err(failed(PORT_DATA_WRITE, first.unwrap_or((address, error))));
        }
    }
    Ok(beats)
}

/// Reads through a port; an error names the burst that it came with.
fn read(memory: &dyn Memory, address: u64, out: &mut [u8], port: u32) -> Result<(), Stop> {
    let Err(error) = memory.read(address, out) else { return Ok(()) };
    let len = out.len();
    let burst = |(address, part): (u64, std::ops::Range<usize>)| {
        Some((address, memory.read(address, &mut out[part]).err()?))
    };
    let first = bursts(address, len).find_map(burst);
    Err(failed(port, first.unwrap_or((address, error))))
}

fn failed(port: u32, (address, error): (u64, BusError)) -> Stop {
    let code = match error {
        BusError::Slave => ErrorCode::Slave,
        BusError::Decode => ErrorCode::Decode,
    };
    Stop::Failed(Fault { code, port, address })
}

/// The bursts of a transfer: address, and which of its bytes.
fn bursts(address: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let end = address.saturating_add(len as u64);
    let mut next = address;
    std::iter::from_fn(move || {
        let start = next;
        next = (start / BURST_BYTES + 1).saturating_mul(BURST_BYTES).min(end);
        (start < end).then(|| (start, (start - address) as usize..(next - address) as usize))
    })
}
