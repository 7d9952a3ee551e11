//! Masters that do nothing but move data: the access patterns of the measurements.

use super::super::{Direction, MemoryConfig, MemoryModel};
use std::collections::VecDeque;

/// Results that a stream writes while it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writes {
    /// Where the first goes.
    pub address: u64,
    /// From one stream's to the next one's.
    pub spacing: u64,
    /// Bytes of a write; more than 256 go as bursts of 256.
    pub bytes: u64,
    /// Beats that are read for one write.
    pub every_beats: u64,
    /// Beats before the first.
    pub offset: u64,
}

/// A master that reads ascending addresses at one beat a clock, and may write results over the same port.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Port.
    pub port: usize,
    /// First byte.
    pub address: u64,
    /// Beats to read.
    pub beats: u64,
    /// Tick at which it begins.
    pub start: u64,
    /// Beats of a burst.
    pub burst_beats: u32,
    /// Results.
    pub writes: Option<Writes>,
}

struct Running {
    stream: Stream,
    asked: u64,
    got: u64,
    written: u64,
    /// Bursts of results that wait for their data to cross the port: address, beats, tick.
    data: VecDeque<(u64, u32, u64)>,
    done: u64,
}

/// Runs the streams until all have all their data; gives the tick at which each had.
pub fn run_streams(memory: &mut MemoryModel, streams: &[Stream]) -> Vec<u64> {
    let begin = memory.now();
    let mut running: Vec<Running> = streams
        .iter()
        .map(|stream| Running {
            stream: stream.clone(),
            asked: 0,
            got: 0,
            written: 0,
            data: VecDeque::new(),
            done: 0,
        })
        .collect();
    while running.iter().any(|one| one.done == 0) {
        let now = memory.now() - begin;
        for one in &mut running {
            one.ask(memory, now);
            one.write(memory, now);
        }
        memory.tick();
        for one in &mut running {
            let port = one.stream.port;
            if memory.readable(port) && one.got < one.stream.beats {
                memory.take(port);
                one.got += 1;
                if one.got == one.stream.beats {
                    one.done = memory.now() - begin;
                }
            }
            if memory.write_done(port) {
                memory.take_write(port);
            }
        }
    }
    running.into_iter().map(|one| one.done).collect()
}

impl Running {
    fn ask(&mut self, memory: &mut MemoryModel, now: u64) {
        let port = self.stream.port;
        if now < self.stream.start
            || self.asked == self.stream.beats
            || !memory.accepts(port, Direction::Read)
        {
            return;
        }
        let beats = u64::from(self.stream.burst_beats).min(self.stream.beats - self.asked);
        memory.push(port, Direction::Read, self.stream.address + self.asked * 16, beats as u32);
        self.asked += beats;
    }

    fn write(&mut self, memory: &mut MemoryModel, now: u64) {
        let Some(plan) = self.stream.writes else {
            return;
        };
        let due = if self.got < plan.offset { 0 } else { (self.got - plan.offset) / plan.every_beats };
        if due > self.written {
            let mut at = self.data.back().map_or(now, |last| last.2.max(now));
            let mut from = 0;
            while from < plan.bytes {
                let bytes = (plan.bytes - from).min(256);
                at += bytes.div_ceil(16);
                let address = plan.address + self.written * plan.bytes + from;
                self.data.push_back((address, bytes.div_ceil(16) as u32, at));
                from += bytes;
            }
            self.written += 1;
        }
        if let Some(&(address, beats, at)) = self.data.front()
            && at <= now
            && memory.accepts(self.stream.port, Direction::Write)
        {
            memory.push(self.stream.port, Direction::Write, address, beats);
            self.data.pop_front();
        }
    }
}

/// Two ports that read halves of the same words: a word is taken when both halves are there. For 17 words of weights
/// there is one of the key/value cache, in bursts from another place (16.5 MB against 281 MB a pass). GB/s of weights.
pub fn lockstep_pair(config: &MemoryConfig, ports: [usize; 2], bytes_a_port: u64, distance: u64) -> f64 {
    const WEIGHT_BURSTS: u64 = 17;
    let mut memory = MemoryModel::new(config.clone());
    let bursts = bytes_a_port / 256;
    let mut asked = [0; 2];
    let mut taken = 0;
    let total = bursts * 16 + bursts.div_ceil(WEIGHT_BURSTS) * 16;
    let mut asked_total = [0; 2];
    while taken < total {
        for (half, &port) in ports.iter().enumerate() {
            // No more in flight than a FIFO of 64 bursts holds: one half cannot run far ahead of the other.
            if asked_total[half] * 16 < total
                && asked_total[half] * 16 < taken + 1024
                && memory.accepts(port, Direction::Read)
            {
                let turn = asked_total[half] % (WEIGHT_BURSTS + 1);
                let address = if turn == WEIGHT_BURSTS {
                    0x7000_0000 + half as u64 * 0x2_2000 + asked_total[half] / (WEIGHT_BURSTS + 1) * 256
                } else {
                    asked[half] += 1;
                    0x4000_0000 + half as u64 * distance + (asked[half] - 1) * 256
                };
                memory.push(port, Direction::Read, address, 16);
                asked_total[half] += 1;
            }
        }
        memory.tick();
        if ports.iter().all(|&port| memory.readable(port)) {
            for &port in &ports {
                memory.take(port);
            }
            taken += 1;
        }
    }
    2.0 * bytes_a_port as f64 / (memory.now() as f64 * 1000.0 / config.pl_mhz)
}
