//! `axi_read_master` and, with a FIFO behind it, `stream_engine`: commands become bursts, beats come back.

use crate::memory::{Direction, MemoryModel};
use std::collections::VecDeque;

/// From a beat on the bus to the place where it is used.
const FIFO_LATENCY: u32 = 6;

/// A range of memory to be read; `skip` bytes lie between its runs of `run_beats`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Command {
    pub address: u64,
    pub beats: u64,
    pub run_beats: u64,
    pub skip: u64,
}

/// A master of one port.
#[derive(Debug, Clone)]
pub(super) struct ReadMaster {
    port: usize,
    burst_beats: u64,
    max_outstanding: usize,
    /// Room for beats behind the master; none: no limit.
    room: Option<u64>,
    pub commands: VecDeque<Command>,
    active: Option<Command>,
    /// Beats of the active command's run not yet asked for.
    run_left: u64,
    burst_ready: bool,
    address: Option<(u64, u32)>,
    under_way: VecDeque<u32>,
    reserved: u64,
    arriving: u32,
    /// Beats that can be taken.
    pub level: u32,
    /// Beats that have come.
    pub arrived: u64,
}

impl ReadMaster {
    pub fn new(port: usize, burst_beats: u32, max_outstanding: u32, room: Option<u32>) -> Self {
        Self {
            port,
            burst_beats: u64::from(burst_beats),
            max_outstanding: max_outstanding as usize,
            room: room.map(u64::from),
            commands: VecDeque::new(),
            active: None,
            run_left: 0,
            burst_ready: false,
            address: None,
            under_way: VecDeque::new(),
            reserved: 0,
            arriving: 0,
            level: 0,
            arrived: 0,
        }
    }

    pub fn busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Takes a beat out of the FIFO.
    pub fn take(&mut self) {
        self.level -= 1;
        self.reserved -= 1;
    }

    /// What the master does in a clock before the memory's tick.
    #[inline]
    pub fn ask(&mut self, memory: &mut MemoryModel) {
        if let Some((address, beats)) = self.address
            && memory.accepts(self.port, Direction::Read)
        {
            memory.push(self.port, Direction::Read, address, beats);
            self.address = None;
        }
        let Some(command) = &mut self.active else {
            if let Some(next) = self.commands.pop_front() {
                self.run_left = next.run_beats.min(next.beats);
                self.active = Some(next);
                self.burst_ready = false;
            }
            return;
        };
        if !self.burst_ready {
            self.burst_ready = true;
            return;
        }
        let credit = self.room.is_none_or(|room| self.reserved + self.burst_beats <= room);
        if self.address.is_some() || !credit || self.under_way.len() >= self.max_outstanding {
            return;
        }
        let to_boundary = self.burst_beats - (command.address >> 4) % self.burst_beats;
        let beats = to_boundary.min(self.run_left);
        self.address = Some((command.address, beats as u32));
        self.under_way.push_back(beats as u32);
        if self.room.is_some() {
            self.reserved += beats;
        }
        command.address += beats * 16;
        command.beats -= beats;
        self.run_left -= beats;
        if self.run_left == 0 {
            command.address += command.skip;
            self.run_left = command.run_beats.min(command.beats);
        }
        if command.beats == 0 {
            self.active = None;
        }
        self.burst_ready = false;
    }

    /// What it does after.
    #[inline]
    pub fn receive(&mut self, memory: &mut MemoryModel) {
        self.arriving <<= 1;
        if let Some(beats) = self.under_way.front_mut()
            && memory.readable(self.port)
        {
            memory.take(self.port);
            self.arriving |= 1;
            self.arrived += 1;
            *beats -= 1;
            if *beats == 0 {
                self.under_way.pop_front();
            }
        }
        self.level += self.arriving >> FIFO_LATENCY & 1;
    }
}
