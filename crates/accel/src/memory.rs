//! How long the memory of the board takes: reads and writes of the accelerator's ports over the DDR4 of the KV260.
//!
//! Timing only, no data: whoever simulates puts the beats there. One [`MemoryModel::tick`] is one clock of the
//! programmable logic. Ports 0 to 3 are HP0 to HP3 (weights), 4 is HPC0 (operands and results), 5 is the processor.
//! [`calibration`] compares the model with what others measured on the board.

pub mod calibration;
mod config;
mod controller;
mod port;

pub use config::{BankGroupBit, DataRate, Location, MemoryConfig, PagePolicy, Timing};
pub use controller::Activity;

use controller::{Controller, Request};
use port::{Cursor, Port, Processor, Transfer};
use std::collections::VecDeque;

/// Ports that can be pushed to: four weight ports, and the data port.
pub const PORTS: usize = 5;
/// The port of operands and results, HPC0.
pub const DATA_PORT: usize = 4;
/// The processor's own traffic: set by [`MemoryModel::set_processor`], counted, never pushed.
pub const PROCESSOR_PORT: usize = 5;

/// Ports inside of the model: the processor has two, because the CCI has two ways to the controller.
const WAYS: usize = PORTS + 2;

/// Read or write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From memory.
    Read,
    /// To memory.
    Write,
}

/// What the processor does with the memory meanwhile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessorTraffic {
    /// Bytes a nanosecond (GB/s) that it would use if they came at once.
    pub gigabytes_per_second: f64,
    /// Cores that are busy: each waits for its own cache lines.
    pub cores: u32,
    /// Their order.
    pub pattern: Pattern,
}

/// The order of the processor's accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Ascending addresses, a stream a core.
    Streaming,
    /// Cache lines anywhere.
    Random,
}

/// A port of the controller (XPI): what it hands over now, and whose turn is next.
#[derive(Debug, Clone)]
struct ControllerPort {
    ports: Vec<usize>,
    read: Option<Cursor>,
    write: Option<Cursor>,
    read_turn: usize,
    write_turn: usize,
    /// When its way back is free, in clocks of the controller.
    return_free: f64,
}

/// The memory, its controller, and the ports.
#[derive(Debug, Clone)]
pub struct MemoryModel {
    config: MemoryConfig,
    tick: u64,
    clock: u64,
    clocks_per_tick: f64,
    /// Clocks of the controller that 64 bytes take on the way back.
    return_clocks: f64,
    request_clocks: [u64; WAYS],
    return_ticks: [f64; WAYS],
    ports: [Port; WAYS],
    controller_ports: Vec<ControllerPort>,
    read_turn: usize,
    write_turn: usize,
    /// Transfers that have not been handed to the controller whole.
    reads_to_hand_over: usize,
    writes_to_hand_over: usize,
    controller: Controller,
    processor: Option<Processor>,
    processor_active: bool,
}

impl MemoryModel {
    /// A memory at rest.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        let controller_mhz = config.data_rate.memory_mhz() / 2.0;
        let clocks_per_tick = controller_mhz / config.pl_mhz;
        let way = |port: usize, ns: f64| match port {
            0..DATA_PORT => ns,
            DATA_PORT => ns + config.coherent_ns,
            _ => ns + config.processor_ns,
        };
        let count = config.controller_port.iter().max().map_or(0, |&last| usize::from(last) + 1);
        let controller_ports = (0..count)
            .map(|index| ControllerPort {
                ports: (0..WAYS).filter(|&port| usize::from(config.controller_port[port]) == index).collect(),
                read: None,
                write: None,
                read_turn: 0,
                write_turn: 0,
                return_free: 0.0,
            })
            .collect();
        Self {
            tick: 0,
            clock: 0,
            clocks_per_tick,
            return_clocks: 4.0 * controller_mhz / config.switch_mhz,
            request_clocks: std::array::from_fn(|port| {
                (way(port, config.request_ns) * controller_mhz / 1000.0) as u64
            }),
            return_ticks: std::array::from_fn(|port| way(port, config.return_ns) * config.pl_mhz / 1000.0),
            ports: Default::default(),
            controller_ports,
            read_turn: 0,
            write_turn: 0,
            reads_to_hand_over: 0,
            writes_to_hand_over: 0,
            controller: Controller::new(&config),
            processor: None,
            processor_active: false,
            config,
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &MemoryConfig {
        &self.config
    }

    /// ARREADY, AWREADY: the port takes another burst in this clock.
    #[must_use]
    pub fn accepts(&self, port: usize, direction: Direction) -> bool {
        match direction {
            Direction::Read => self.ports[port].waiting_bursts() < self.config.waiting_bursts,
            Direction::Write => self.ports[port].writes_under_way() < self.config.writes_in_flight,
        }
    }

    /// A burst of `beats` 16-byte beats; for a write, push it when its last data beat has been handed over.
    ///
    /// Only if [`Self::accepts`] (for a write: when its address was taken), and at most one of each direction a port
    /// and clock.
    pub fn push(&mut self, port: usize, direction: Direction, address: u64, beats: u32) {
        match direction {
            Direction::Read => {
                self.ports[port].push_read(address, beats);
                self.issue(port);
            }
            Direction::Write => {
                let at = self.clock + self.request_clocks[port];
                let before = self.ports[port].write_requests.len();
                self.ports[port].push_write(address, beats, self.config.slice_beats, at);
                self.writes_to_hand_over += self.ports[port].write_requests.len() - before;
            }
        }
    }

    fn issue(&mut self, port: usize) {
        let at = self.clock + self.request_clocks[port];
        let before = self.ports[port].read_requests.len();
        self.ports[port].issue(self.config.reads_in_flight, self.config.slice_beats, at);
        self.reads_to_hand_over += self.ports[port].read_requests.len() - before;
    }

    /// One clock of the programmable logic.
    pub fn tick(&mut self) {
        self.tick += 1;
        self.processor_tick();
        let until = (self.tick as f64 * self.clocks_per_tick) as u64;
        while self.clock < until {
            self.clock += 1;
            if self.reads_to_hand_over != 0 && self.controller.reads_waiting() < self.config.read_entries {
                self.hand_over_read();
            }
            if self.writes_to_hand_over != 0 && self.controller.writes_waiting() < self.config.write_entries {
                self.hand_over_write();
            }
            if let Some((request, data)) = self.controller.step(self.clock) {
                self.arrived(request, data);
            }
        }
    }

    fn processor_tick(&mut self) {
        let Some(processor) = &mut self.processor else {
            return;
        };
        processor.tick(self.tick);
        if !self.processor_active {
            return;
        }
        while let Some(line) = processor.next_line() {
            let way = PROCESSOR_PORT + (line >> 12 & 1) as usize;
            self.ports[way].read_requests.push_back(Transfer {
                at: self.clock + self.request_clocks[PROCESSOR_PORT],
                address: line,
                end: line + 64,
                number: 0,
            });
            self.reads_to_hand_over += 1;
        }
    }

    /// The next controller port in turn that has a read gives its next 64 bytes to the controller.
    fn hand_over_read(&mut self) {
        let count = self.controller_ports.len();
        for step in 1..=count {
            let index = (self.read_turn + step) % count;
            let from = &mut self.controller_ports[index];
            if from.read.is_none() {
                from.read =
                    next_transfer(&mut self.ports, &from.ports, &mut from.read_turn, self.clock, |port| {
                        &mut port.read_requests
                    });
            }
            let Some(cursor) = &mut from.read else {
                continue;
            };
            let request = Request::new(&self.config, cursor.address, cursor.port, cursor.number, cursor.unit);
            if !cursor.advance() {
                from.read = None;
                self.reads_to_hand_over -= 1;
            }
            self.controller.push_read(request, self.clock);
            self.read_turn = index;
            return;
        }
    }

    fn hand_over_write(&mut self) {
        let count = self.controller_ports.len();
        for step in 1..=count {
            let index = (self.write_turn + step) % count;
            let from = &mut self.controller_ports[index];
            if from.write.is_none() {
                from.write =
                    next_transfer(&mut self.ports, &from.ports, &mut from.write_turn, self.clock, |port| {
                        &mut port.write_requests
                    });
            }
            let Some(cursor) = &mut from.write else {
                continue;
            };
            let (port, number) = (usize::from(cursor.port), cursor.number);
            let request = Request::new(&self.config, cursor.address, cursor.port, number, cursor.unit);
            if !cursor.advance() {
                from.write = None;
                self.writes_to_hand_over -= 1;
                // The last slice of a write overwrites what earlier ones said.
                let tick = (self.clock as f64 / self.clocks_per_tick + self.return_ticks[port]).ceil() as u64;
                self.ports[port].written(number, tick);
            }
            self.controller.push_write(request, self.clock);
            self.write_turn = index;
            return;
        }
    }

    fn arrived(&mut self, request: Request, data: u64) {
        let port = usize::from(request.port);
        let way = &mut self.controller_ports[usize::from(self.config.controller_port[port])];
        let start = way.return_free.max(data as f64 - self.return_clocks);
        way.return_free = start + self.return_clocks;
        let tick = (way.return_free / self.clocks_per_tick + self.return_ticks[port]).ceil() as u64;
        if port >= PROCESSOR_PORT {
            if let Some(processor) = &mut self.processor {
                processor.arrived(tick);
            }
        } else {
            self.ports[port].arrived(request.slice, request.unit, tick);
        }
    }

    /// RVALID: the next beat of the oldest read burst of the port is here.
    #[must_use]
    #[inline]
    pub fn readable(&self, port: usize) -> bool {
        self.ports[port].readable(self.tick)
    }

    /// Takes that beat (RVALID and RREADY), at most one a port and clock.
    #[inline]
    pub fn take(&mut self, port: usize) {
        self.ports[port].take();
        if self.ports[port].waiting_bursts() != 0 {
            self.issue(port);
        }
    }

    /// BVALID: the oldest write of the port is done.
    #[must_use]
    pub fn write_done(&self, port: usize) -> bool {
        self.ports[port].write_done(self.tick)
    }

    /// Takes that answer (BVALID and BREADY), at most one a port and clock.
    pub fn take_write(&mut self, port: usize) {
        self.ports[port].take_write();
    }

    /// From now on the processor uses the memory like this too, or not at all.
    pub fn set_processor(&mut self, traffic: Option<ProcessorTraffic>) {
        let tick_ns = 1000.0 / self.config.pl_mhz;
        self.processor_active = traffic.is_some();
        if let Some(traffic) = traffic {
            match &mut self.processor {
                Some(processor) => processor.change(traffic, self.config.lines_per_core, tick_ns),
                None => self.processor = Some(Processor::new(traffic, self.config.lines_per_core, tick_ns)),
            }
        }
    }

    /// Bytes the processor has got so far.
    #[must_use]
    pub fn processor_bytes(&self) -> u64 {
        self.processor.as_ref().map_or(0, |processor| processor.bytes)
    }

    /// Clocks of the programmable logic so far.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.tick
    }

    /// What the memory did so far.
    #[must_use]
    pub fn activity(&self) -> Activity {
        self.controller.activity()
    }
}

/// The transfer that a controller port takes next: its ports in turn, of those whose oldest has arrived.
fn next_transfer(
    ports: &mut [Port],
    of: &[usize],
    turn: &mut usize,
    clock: u64,
    queue: fn(&mut Port) -> &mut VecDeque<Transfer>,
) -> Option<Cursor> {
    for step in 1..=of.len() {
        let index = (*turn + step) % of.len();
        let requests = queue(&mut ports[of[index]]);
        if requests.front().is_some_and(|first| first.at <= clock) {
            *turn = index;
            return requests.pop_front().map(|first| Cursor::new(of[index], first));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `beats` a port from the given addresses as fast as they come; ticks until each port was done.
    pub(super) fn stream(memory: &mut MemoryModel, from: &[(usize, u64)], beats: u64) -> Vec<u64> {
        let start = memory.now();
        let mut asked = vec![0; from.len()];
        let mut got = vec![0; from.len()];
        let mut done = vec![0; from.len()];
        while done.contains(&0) {
            for (i, &(port, address)) in from.iter().enumerate() {
                if asked[i] < beats && memory.accepts(port, Direction::Read) {
                    memory.push(port, Direction::Read, address + asked[i] * 16, 16);
                    asked[i] += 16;
                }
            }
            memory.tick();
            for (i, &(port, _)) in from.iter().enumerate() {
                if memory.readable(port) {
                    memory.take(port);
                    got[i] += 1;
                    if got[i] == beats {
                        done[i] = memory.now() - start;
                    }
                }
            }
        }
        done
    }

    fn board() -> MemoryModel {
        MemoryModel::new(MemoryConfig::kv260(DataRate::Mts2133, 250.0))
    }

    #[test]
    fn a_read_at_rest_takes_the_latency_of_the_path() {
        let mut memory = board();
        let done = stream(&mut memory, &[(0, 0x1000)], 1);
        let ns = done[0] * 4;
        assert!((150..300).contains(&ns), "{ns} ns");
    }

    #[test]
    fn every_beat_comes_once_whatever_the_alignment() {
        for (address, beats) in [(0x30, 1), (0x70, 16), (0xFF0, 5), (0, 256)] {
            let mut memory = board();
            memory.push(3, Direction::Read, address, beats);
            let mut got = 0;
            for _ in 0..4000 {
                memory.tick();
                if memory.readable(3) {
                    memory.take(3);
                    got += 1;
                }
            }
            assert_eq!(got, beats);
        }
    }

    #[test]
    fn writes_are_answered_and_turn_the_bus_around() {
        let mut memory = board();
        let mut answers = 0;
        for i in 0..10_000u64 {
            if memory.accepts(0, Direction::Read) {
                memory.push(0, Direction::Read, i * 256, 16);
            }
            if i % 500 == 0 {
                memory.push(DATA_PORT, Direction::Write, 0x10_0000 + i * 64, 4);
            }
            memory.tick();
            if memory.readable(0) {
                memory.take(0);
            }
            if memory.write_done(DATA_PORT) {
                memory.take_write(DATA_PORT);
                answers += 1;
            }
        }
        assert_eq!(answers, 20);
        assert_eq!(memory.activity().writes, 20);
        assert!(memory.activity().turnarounds >= 40);
    }

    #[test]
    fn refreshes_keep_their_interval() {
        let mut memory = board();
        stream(&mut memory, &[(0, 0)], 100_000);
        let expected = memory.now() as f64 * 4.0 / 7740.0;
        assert!((memory.activity().refreshes as f64 - expected).abs() <= 1.0);
    }

    #[test]
    fn streams_in_one_bank_slow_each_other_down() {
        let time = |distance: u64| {
            let from: Vec<_> = (0..4).map(|port| (port, port as u64 * distance)).collect();
            stream(&mut board(), &from, 20_480).into_iter().max().unwrap_or(0)
        };
        let (apart, together) = (time(0x20_4000), time(0x20_0000));
        assert!(together as f64 > 1.1 * apart as f64, "{apart} {together}");
    }

    #[test]
    fn a_faster_memory_is_faster() {
        let time = |rate| {
            let mut memory = MemoryModel::new(MemoryConfig::kv260(rate, 300.0));
            let from: Vec<_> = (0..4).map(|port| (port, port as u64 * 0x20_4000)).collect();
            stream(&mut memory, &from, 40_960).into_iter().max().unwrap_or(0) as f64
        };
        let gain = time(DataRate::Mts2133) / time(DataRate::Mts2400);
        assert!((1.05..1.2).contains(&gain), "{gain}");
    }

    #[test]
    fn the_processor_gets_what_it_asks_for_when_there_is_enough() {
        let mut memory = board();
        memory.set_processor(Some(ProcessorTraffic {
            gigabytes_per_second: 2.0,
            cores: 4,
            pattern: Pattern::Random,
        }));
        for _ in 0..100_000 {
            memory.tick();
        }
        let rate = memory.processor_bytes() as f64 / 400_000.0;
        assert!((1.95..2.01).contains(&rate), "{rate}");
    }
}
