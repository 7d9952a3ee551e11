//! From the last beat of a block to its results in memory: accumulators, `result_drain`, `result_writer`,
//! `axi_write_master`.

use super::{HardwareConfig, Operation, WEIGHT_PORTS};
use crate::memory::{DATA_PORT, Direction, MemoryModel};
use std::collections::VecDeque;

/// Where the results go.
const RESULTS: u64 = 0x6100_0000;
/// From the last beat of a block to its results in the accumulators, without the slots of the scale step.
const PIPELINE: u64 = 48;
/// From an accumulator to the writer's buffer.
const DRAIN: u64 = 16;
/// Clocks of the writer for a burst besides its beats, and for a chunk.
const BURST: u64 = 3;
const CHUNK: u64 = 2;
/// Beats that wait in the write master.
const BUFFER_BEATS: u64 = 64;

#[derive(Debug, Clone, Default)]
struct Port {
    /// When the finished blocks were finished.
    blocks: VecDeque<(u64, usize)>,
    /// Results of the block that are still to be read.
    left: u32,
    bank: usize,
    /// Blocks of the operation that have not been read.
    blocks_left: u32,
    /// Blocks in the open chunk.
    in_chunk: u32,
    /// Chunks that wait: when they are complete, and their bytes a token.
    chunks: VecDeque<(u64, u32)>,
    line: u64,
}

/// The data path behind the beats.
#[derive(Debug, Clone)]
pub(super) struct Results {
    ports: [Port; WEIGHT_PORTS],
    /// Ports that have not read this bank's block yet.
    busy: [u32; 2],
    tokens: u32,
    stride: u64,
    block_results: u32,
    block_bytes: u32,
    chunk_blocks: u32,
    slots: u64,
    top_k: bool,
    /// Port whose turn it is, and bursts of its chunk that are to be written.
    turn: usize,
    bursts: VecDeque<(u64, u32)>,
    writer_free: u64,
    /// Bursts in the write master: when their data are there.
    queued: VecDeque<(u64, u32, u64)>,
    queued_beats: u64,
    channel_free: u64,
    unanswered: u32,
    /// Last clock in which anything moved.
    quiet_from: u64,
}

impl Results {
    pub fn new() -> Self {
        Self {
            ports: Default::default(),
            busy: [0; 2],
            tokens: 1,
            stride: 0,
            block_results: 16,
            block_bytes: 64,
            chunk_blocks: 4,
            slots: 32,
            top_k: false,
            turn: 0,
            bursts: VecDeque::new(),
            writer_free: 0,
            queued: VecDeque::new(),
            queued_beats: 0,
            channel_free: 0,
            unanswered: 0,
            quiet_from: 0,
        }
    }

    pub fn start(
        &mut self,
        hardware: &HardwareConfig,
        operation: &Operation,
        blocks: &[(u32, u32); WEIGHT_PORTS],
    ) {
        let channels = super::block_channels(hardware.layout);
        self.tokens = operation.tokens;
        self.block_results = channels * operation.tokens;
        self.block_bytes = channels * 4;
        self.chunk_blocks = (hardware.result_burst_bytes / self.block_bytes).max(1);
        self.stride = u64::from(operation.rows).next_multiple_of(64) * 4;
        self.slots = if operation.tokens > 1 { 32 } else { 16 };
        self.top_k = operation.top_k;
        for (port, &(first, count)) in self.ports.iter_mut().zip(blocks) {
            port.blocks_left = count;
            port.in_chunk = 0;
            port.line = RESULTS + u64::from(first * self.block_bytes);
        }
    }

    /// The bank may take a new block.
    pub fn free(&self, bank: usize) -> bool {
        self.busy[bank] == 0
    }

    /// The last beat of a block of each of the `active` ports was taken.
    pub fn block(&mut self, bank: usize, active: &[bool; WEIGHT_PORTS], now: u64) {
        for (port, &active) in self.ports.iter_mut().zip(active) {
            if active {
                self.busy[bank] += 1;
                port.blocks.push_back((now + PIPELINE + self.slots, bank));
            }
        }
    }

    /// Nothing is on its way any more.
    pub fn done(&self, now: u64) -> bool {
        self.unanswered == 0
            && self.busy == [0; 2]
            && self.queued.is_empty()
            && self.bursts.is_empty()
            && now > self.quiet_from
            && self.ports.iter().all(|port| port.chunks.is_empty() && port.blocks_left == 0)
    }

    /// A clock. Nothing to do is the usual case.
    #[inline]
    pub fn step(&mut self, memory: &mut MemoryModel, now: u64) {
        if self.busy != [0; 2] {
            self.drain(now);
        }
        if !self.top_k {
            self.write(memory, now);
        }
    }

    fn drain(&mut self, now: u64) {
        for port in &mut self.ports {
            if port.left == 0 {
                match port.blocks.front() {
                    Some(&(at, bank)) if at <= now => {
                        port.blocks.pop_front();
                        port.left = self.block_results;
                        port.bank = bank;
                    }
                    _ => continue,
                }
            }
            if port.chunks.len() == 2 {
                continue;
            }
            port.left -= 1;
            if port.left > 0 {
                continue;
            }
            self.busy[port.bank] -= 1;
            self.quiet_from = now + DRAIN;
            port.blocks_left -= 1;
            if self.top_k {
                continue;
            }
            port.in_chunk += 1;
            if port.in_chunk == self.chunk_blocks || port.blocks_left == 0 {
                port.chunks.push_back((now + DRAIN, port.in_chunk * self.block_bytes));
                port.in_chunk = 0;
            }
        }
    }

    fn write(&mut self, memory: &mut MemoryModel, now: u64) {
        if self.unanswered > 0 && memory.write_done(DATA_PORT) {
            memory.take_write(DATA_PORT);
            self.unanswered -= 1;
            self.quiet_from = now + 2;
        }
        if let Some(&(address, beats, at)) = self.queued.front()
            && at <= now
            && self.channel_free <= now
            && memory.accepts(DATA_PORT, Direction::Write)
        {
            // Address and data begin together; the memory has the burst when its last beat has crossed.
            self.queued.pop_front();
            self.queued_beats -= u64::from(beats);
            self.channel_free = now + u64::from(beats) + 1;
            memory.push(DATA_PORT, Direction::Write, address, beats);
            self.unanswered += 1;
        }
        if self.writer_free > now {
            return;
        }
        if let Some(&(address, beats)) = self.bursts.front() {
            if self.queued_beats + u64::from(beats) > BUFFER_BEATS {
                return;
            }
            self.bursts.pop_front();
            self.writer_free = now + u64::from(beats) + BURST;
            self.queued_beats += u64::from(beats);
            // The write master waits for the last beat; then the data need as long again to cross.
            self.queued.push_back((address, beats, self.writer_free + u64::from(beats)));
            if self.bursts.is_empty() {
                self.ports[self.turn].chunks.pop_front();
                self.turn = (self.turn + 1) % WEIGHT_PORTS;
                self.writer_free += CHUNK;
            }
            return;
        }
        let port = &mut self.ports[self.turn];
        match port.chunks.front() {
            Some(&(at, bytes)) if at <= now => {
                for token in 0..u64::from(self.tokens) {
                    let mut address = port.line + token * self.stride;
                    let end = address + u64::from(bytes);
                    while address < end {
                        let stop = end.min(address + 256).min((address | 4095) + 1);
                        self.bursts.push_back((address, ((stop - address) / 16) as u32));
                        address = stop;
                    }
                }
                port.line += u64::from(bytes);
            }
            _ => self.turn = (self.turn + 1) % WEIGHT_PORTS,
        }
    }
}
