//! Keys and values in the accelerator's memory: whole groups of 64 positions, as the ports stream them.
//!
//! The cache of the CPU backend is what counts. A group in which no position will change any more is copied here once:
//! block p of its keys and block p of its values to port p's region, behind the groups before it. So one region serves
//! both as keys, a matrix of one group of inputs with a block of rows for every group of positions, and as values, one
//! block of rows with a group of inputs for every group of positions.

use std::ops::Range;

use edgewen_kernels::kv::{GROUP_POSITIONS, Int8Cache};
use edgewen_layout::{BLOCK_ROWS, SEGMENT_BYTES};
use edgewen_model::Config;

use super::address_space::BusError;
use super::buffers::Place;
use super::{Memory, driver::Words};
use crate::descriptor::{ADDRESS_UNIT, Descriptor, PORTS, PortBlocks};
use crate::image::{BANK, BANK_CYCLE, Layout};
use crate::program::{Limits, activation_bytes};
use crate::{Error, Result};

/// Elements of a head: other heads stay with the processor.
const HEAD_DIM: usize = 64;

/// The only slot that is copied: that of a session.
pub(super) const SLOT: usize = 0;

/// The two kinds of contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Keys,
    Values,
}

/// Where keys and values lie, and how many groups of each layer are there.
#[derive(Debug)]
pub(super) struct KvStore {
    base: u64,
    /// Bytes from one port's region to the next.
    region: u64,
    kv_heads: usize,
    /// Query heads of a key-value head: the tokens of an operation.
    queries: u32,
    /// Most groups of a layer.
    capacity: usize,
    /// Groups of each layer that are there.
    groups: Vec<usize>,
    /// Where operands and results are, in four equal parts.
    operands: Range<u64>,
}

impl KvStore {
    /// A store at the beginning of `buffers`, of which it takes at most half; nothing if the design or the model is not
    /// made for it.
    pub(super) fn new(config: &Config, limits: &Limits, buffers: &Range<u64>) -> Option<Self> {
        let queries = config.heads / config.kv_heads;
        let fits = limits.layout == Layout::RowBlocks
            && config.head_dim == HEAD_DIM
            && queries <= limits.tokens as usize;
        let base = buffers.start.next_multiple_of(BANK_CYCLE);
        let half = (buffers.end - buffers.start) / 2;
        let group_bytes = (config.layers * config.kv_heads * 2 * SEGMENT_BYTES) as u64;
        // One cycle of banks a port is lost to rounding.
        let room = (half / PORTS as u64).saturating_sub(BANK_CYCLE + BANK) / group_bytes;
        let most = config.max_position.div_ceil(GROUP_POSITIONS).min(limits.max_groups as usize);
        let capacity = most.min(usize::try_from(room).unwrap_or(most));
        if !fits || capacity == 0 {
            return None;
        }
        let region = (capacity as u64 * group_bytes).next_multiple_of(BANK_CYCLE) + BANK;
        let (kv_heads, queries, groups) = (config.kv_heads, queries as u32, vec![0; config.layers]);
        let operands = base + PORTS as u64 * region..buffers.end;
        let store = Self { base, region, kv_heads, queries, capacity, groups, operands };
        (store.at_once(capacity) != 0 && kv_heads <= limits.ring_entries as usize).then_some(store)
    }

    /// Tokens with at most so many groups whose operands and results fit beside those of three other products.
    pub(super) fn at_once(&self, groups: usize) -> usize {
        let most = [Kind::Keys, Kind::Values].map(|kind| self.token_bytes(kind, groups));
        ((self.part_bytes() - BANK) / most[0].max(most[1])) as usize
    }

    fn part_bytes(&self) -> u64 {
        (self.operands.end.saturating_sub(self.operands.start) / 4).max(BANK) / BANK * BANK
    }

    /// Bytes of operands and results of a token.
    fn token_bytes(&self, kind: Kind, groups: usize) -> u64 {
        let heads = (self.kv_heads * self.queries()) as u64;
        heads * (self.activation_bytes(kind, groups) + self.result_bytes(kind, groups))
    }

    /// The end of keys and values.
    pub(super) fn end(&self) -> u64 {
        self.base + PORTS as u64 * self.region
    }

    /// Heads of keys and of values: operations of each kind and layer.
    pub(super) fn kv_heads(&self) -> usize {
        self.kv_heads
    }

    /// Query heads of one of them.
    pub(super) fn queries(&self) -> usize {
        self.queries as usize
    }

    /// Groups of a layer that are there.
    pub(super) fn groups(&self, layer: usize) -> usize {
        self.groups[layer]
    }

    /// Forgets the groups of a layer that are not whole below position `len`. Returns whether there were any.
    pub(super) fn truncate(&mut self, layer: usize, len: usize) -> bool {
        let before = self.groups[layer];
        self.groups[layer] = before.min(len / GROUP_POSITIONS);
        self.groups[layer] != before
    }

    /// Copies the groups of a layer that are whole below position `len` and not there yet.
    pub(super) fn copy(
        &mut self,
        memory: &mut dyn Memory,
        layer: usize,
        cache: &Int8Cache,
        len: usize,
    ) -> std::result::Result<(), BusError> {
        let whole = (len / GROUP_POSITIONS).min(self.capacity);
        for group in self.groups[layer]..whole {
            for kv_head in 0..self.kv_heads {
                let (keys, values) = (cache.keys(kv_head, group), cache.values(kv_head, group));
                for (kind, segments) in [(Kind::Keys, keys), (Kind::Values, values)] {
                    for (port, segment) in segments.iter().enumerate() {
                        let start = self.address(layer, kv_head, kind, port);
                        memory.write(start + (group * SEGMENT_BYTES) as u64, &segment.0)?;
                    }
                }
            }
            self.groups[layer] = group + 1;
        }
        Ok(())
    }

    /// First byte of what port `port` streams.
    fn address(&self, layer: usize, kv_head: usize, kind: Kind, port: usize) -> u64 {
        let index = (layer * self.kv_heads + kv_head) * 2 + usize::from(kind == Kind::Values);
        self.base + port as u64 * self.region + (index * self.capacity * SEGMENT_BYTES) as u64
    }

    /// The layer whose keys or values lie at an address.
    pub(super) fn layer_at(&self, address: u64) -> Option<usize> {
        let offset = address.checked_sub(self.base)? % self.region;
        let layer = offset as usize / (self.kv_heads * 2 * self.capacity * SEGMENT_BYTES);
        (address < self.end() && layer < self.groups.len()).then_some(layer)
    }

    /// Where the operands and results of all heads of a token lie: number `token` in its part of a kind, of which there
    /// are two, while others have at most `most` groups.
    pub(super) fn place(&self, kind: Kind, part: usize, token: usize, groups: usize, most: usize) -> Place {
        let part = 2 * u64::from(kind == Kind::Values) + part as u64;
        let start = self.operands.start.next_multiple_of(ADDRESS_UNIT) + part * self.part_bytes();
        let activations = start + token as u64 * self.token_bytes(kind, most);
        let heads = (self.kv_heads * self.queries()) as u64;
        Place { activations, results: activations + heads * self.activation_bytes(kind, groups) }
    }

    /// Bytes of the operands of one query head.
    pub(super) fn activation_bytes(&self, kind: Kind, groups: usize) -> u64 {
        activation_bytes(if kind == Kind::Keys { 1 } else { groups as u32 })
    }

    /// Bytes of the results of one query head.
    pub(super) fn result_bytes(&self, kind: Kind, groups: usize) -> u64 {
        4 * (if kind == Kind::Keys { groups * GROUP_POSITIONS } else { HEAD_DIM }) as u64
    }

    /// The descriptor of one key-value head for the first `groups` groups.
    pub(super) fn descriptor(
        &self,
        kind: Kind,
        layer: usize,
        kv_head: usize,
        groups: usize,
        place: Place,
        tag: u32,
    ) -> Result<Words> {
        let (inputs, blocks) = if kind == Kind::Keys { (1, groups) } else { (groups, 1) };
        let (operands, results) = (self.activation_bytes(kind, groups), self.result_bytes(kind, groups));
        let first = kv_head as u64 * u64::from(self.queries);
        let too_many = |_| Error::Descriptor { detail: format!("{groups} groups of positions") };
        let blocks: u32 = blocks.try_into().map_err(too_many)?;
        let descriptor = Descriptor {
            tokens: self.queries,
            top_k: false,
            segments: true,
            groups: inputs as u32,
            block_beats: Layout::Segments.block_beats(inputs as u32),
            header_beats: 0,
            rows: PORTS as u32 * blocks * BLOCK_ROWS as u32,
            tag,
            ports: std::array::from_fn(|port| PortBlocks {
                address: self.address(layer, kv_head, kind, port),
                blocks,
            }),
            activations: place.activations + first * operands,
            activations_stride: operands,
            results: place.results + first * results,
            results_stride: results,
            bias: None,
        };
        descriptor.encode()
    }
}

/// Puts one query head's products with the keys, which come port by port, in the order of the positions.
pub(super) fn in_order(found: &[f32], scores: &mut [f32]) {
    let groups = found.len() / GROUP_POSITIONS;
    for (block, found) in found.chunks_exact(BLOCK_ROWS).enumerate() {
        let (port, group) = (block / groups, block % groups);
        scores[group * GROUP_POSITIONS + port * BLOCK_ROWS..][..BLOCK_ROWS].copy_from_slice(found);
    }
}
