//! The ports: bursts are cut into slices, travel to the controller, and come back in order.
//!
//! A port holds what the AXI FIFO interface (AFIFM) of the chip holds: bursts that wait, slices that are under way, and
//! data that has come back and waits for its clock. Several ports may share a controller port (XPI), which takes their
//! slices in turn.

use std::collections::VecDeque;

/// Not known yet.
const NEVER: u64 = u64::MAX;

/// A burst or a piece of one, on its way to the controller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    /// Clock of the controller at which it arrives.
    pub at: u64,
    /// First byte.
    pub address: u64,
    /// Byte after the last.
    pub end: u64,
    /// Its number in the port.
    pub number: u32,
}

#[derive(Debug, Clone, Copy)]
struct Slice {
    beats: u32,
    taken: u32,
    /// Beats of the first 64 bytes that are not part of it.
    skip: u32,
    /// Tick of the programmable logic at which each 64 bytes can be taken.
    ready: [u64; 5],
}

/// Reads and writes of a port.
#[derive(Debug, Clone, Default)]
pub(super) struct Port {
    waiting: VecDeque<(u64, u32)>,
    slices: VecDeque<Slice>,
    first_slice: u32,
    writes: VecDeque<u64>,
    first_write: u32,
    /// Slices of reads on their way.
    pub read_requests: VecDeque<Transfer>,
    /// Slices of writes on their way.
    pub write_requests: VecDeque<Transfer>,
}

impl Port {
    pub fn waiting_bursts(&self) -> usize {
        self.waiting.len()
    }

    pub fn writes_under_way(&self) -> usize {
        self.writes.len()
    }

    pub fn push_read(&mut self, address: u64, beats: u32) {
        self.waiting.push_back((address, beats));
    }

    /// Cuts slices off the oldest waiting burst while `limit` allows; they arrive at the controller at `at`.
    pub fn issue(&mut self, limit: usize, slice_beats: u32, at: u64) {
        while self.slices.len() < limit {
            let Some((address, beats)) = self.waiting.front_mut() else {
                return;
            };
            let now = (*beats).min(slice_beats);
            self.read_requests.push_back(Transfer {
                at,
                address: *address,
                end: *address + u64::from(now) * 16,
                number: self.first_slice.wrapping_add(self.slices.len() as u32),
            });
            self.slices.push_back(Slice {
                beats: now,
                taken: 0,
                skip: (*address >> 4 & 3) as u32,
                ready: [NEVER; 5],
            });
            *address += u64::from(now) * 16;
            *beats -= now;
            if *beats == 0 {
                self.waiting.pop_front();
            }
        }
    }

    pub fn arrived(&mut self, slice: u32, unit: u8, tick: u64) {
        let index = slice.wrapping_sub(self.first_slice) as usize;
        self.slices[index].ready[usize::from(unit)] = tick;
    }

    #[inline]
    pub fn readable(&self, tick: u64) -> bool {
        self.slices.front().is_some_and(|slice| {
            let unit = (slice.skip + slice.taken) / 4;
            slice.ready[unit as usize] <= tick
        })
    }

    #[inline]
    pub fn take(&mut self) {
        if let Some(slice) = self.slices.front_mut() {
            slice.taken += 1;
            if slice.taken == slice.beats {
                self.slices.pop_front();
                self.first_slice = self.first_slice.wrapping_add(1);
            }
        }
    }

    /// All slices of the write carry its number; the one that ends it is the last.
    pub fn push_write(&mut self, address: u64, beats: u32, slice_beats: u32, at: u64) {
        let number = self.first_write.wrapping_add(self.writes.len() as u32);
        self.writes.push_back(NEVER);
        let end = address + u64::from(beats) * 16;
        let mut start = address;
        while start < end {
            let stop = end.min(start + u64::from(slice_beats) * 16);
            self.write_requests.push_back(Transfer { at, address: start, end: stop, number });
            start = stop;
        }
    }

    pub fn written(&mut self, number: u32, tick: u64) {
        let index = number.wrapping_sub(self.first_write) as usize;
        self.writes[index] = tick;
    }

    pub fn write_done(&self, tick: u64) -> bool {
        self.writes.front().is_some_and(|&done| done <= tick)
    }

    pub fn take_write(&mut self) {
        if self.writes.pop_front().is_some() {
            self.first_write = self.first_write.wrapping_add(1);
        }
    }
}

/// The transfer of a controller port that is being handed to the controller, 64 bytes at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub port: u8,
    pub number: u32,
    pub address: u64,
    end: u64,
    pub unit: u8,
}

impl Cursor {
    pub fn new(port: usize, transfer: Transfer) -> Self {
        Self {
            port: port as u8,
            number: transfer.number,
            address: transfer.address,
            end: transfer.end,
            unit: 0,
        }
    }

    /// Goes to the next 64 bytes; false at the end.
    pub fn advance(&mut self) -> bool {
        self.address = (self.address | 63) + 1;
        self.unit += 1;
        self.address < self.end
    }
}

/// The processor: cores that each have some cache lines under way.
#[derive(Debug, Clone)]
pub(super) struct Processor {
    traffic: super::ProcessorTraffic,
    limit: usize,
    bytes_per_tick: f64,
    credit: f64,
    next: Vec<u64>,
    turn: usize,
    in_flight: usize,
    done: Vec<u64>,
    random: u64,
    pub bytes: u64,
}

/// Where the processor's data lies; each core has 16 MiB of its own.
const PROCESSOR_BASE: u64 = 0x4000_0000;
const CORE_BYTES: u64 = 16 << 20;

impl Processor {
    pub fn new(traffic: super::ProcessorTraffic, lines_per_core: usize, tick_ns: f64) -> Self {
        let cores = traffic.cores.max(1) as usize;
        Self {
            traffic,
            limit: cores * lines_per_core,
            bytes_per_tick: traffic.gigabytes_per_second * tick_ns,
            credit: 0.0,
            next: (0..cores as u64).map(|core| PROCESSOR_BASE + core * (CORE_BYTES + 0x5000)).collect(),
            turn: 0,
            in_flight: 0,
            done: Vec::new(),
            random: 0x9E37_79B9_7F4A_7C15,
            bytes: 0,
        }
    }

    pub fn change(&mut self, traffic: super::ProcessorTraffic, lines_per_core: usize, tick_ns: f64) {
        let old = std::mem::replace(self, Self::new(traffic, lines_per_core, tick_ns));
        self.in_flight = old.in_flight;
        self.done = old.done;
        self.bytes = old.bytes;
        self.random = old.random;
        for (next, old) in self.next.iter_mut().zip(old.next) {
            *next = old;
        }
    }

    /// One tick: takes what has come back, and gives the line to ask for next if there is one.
    pub fn tick(&mut self, tick: u64) {
        let before = self.done.len();
        self.done.retain(|&at| at > tick);
        let back = before - self.done.len();
        self.in_flight -= back;
        self.bytes += back as u64 * 64;
        let most = self.limit as f64 * 64.0;
        self.credit = (self.credit + self.bytes_per_tick).min(most.max(self.bytes_per_tick));
    }

    pub fn next_line(&mut self) -> Option<u64> {
        if self.in_flight >= self.limit || self.credit < 64.0 {
            return None;
        }
        self.credit -= 64.0;
        self.in_flight += 1;
        self.turn = (self.turn + 1) % self.next.len();
        let core = self.turn;
        match self.traffic.pattern {
            super::Pattern::Streaming => {
                let base = PROCESSOR_BASE + core as u64 * (CORE_BYTES + 0x5000);
                let line = self.next[core];
                self.next[core] = if line + 64 >= base + CORE_BYTES { base } else { line + 64 };
                Some(line)
            }
            super::Pattern::Random => {
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                Some(PROCESSOR_BASE + (self.random % (4 * CORE_BYTES)) / 64 * 64)
            }
        }
    }

    pub fn arrived(&mut self, tick: u64) {
        self.done.push(tick);
    }
}
