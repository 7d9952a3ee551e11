//! The accelerator, clock by clock: prefetcher, stream engines, sequencer, and the processor that rings the doorbell.

use super::operands::Loader;
use super::read_master::{Command, ReadMaster};
use super::results::Results;
use super::{
    Division, HardwareConfig, Placement, Step, StepTime, WEIGHT_PORTS, block_beats, block_channels, divide,
};
use crate::memory::{MemoryConfig, MemoryModel, ProcessorTraffic};
use std::collections::{BTreeMap, HashMap};

/// Clocks of the prefetcher for a descriptor.
const PREFETCH: u64 = 18;
/// From the doorbell to the loader: descriptor, checks.
const DESCRIPTOR: u64 = 24;
/// From the operands to the first beat.
const START: u64 = 4;
/// From the last answer to the count.
const SETTLE: u64 = 6;
/// Commands that wait in a stream engine.
const QUEUE: usize = 4;
/// Descriptors in the ring.
const RING: usize = 256;
/// Where the regions of the ports begin.
const MODEL_BASE: u64 = 0x1000_0000;
/// Bytes after which the pairs of banks come round again, and bytes of one of them.
const BANK_CYCLE: u64 = 0x1_0000;
const BANK: u64 = 0x4000;
/// From window to window, besides a bank.
const WINDOW: u64 = 0x1000_0000;
/// Bytes that may still be on their way when the processor is said to be done.
const PROCESSOR_SLACK: u64 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Descriptor { until: u64 },
    Load,
    Start { until: u64 },
    Run,
    Drain,
    Settle { until: u64 },
}

/// What the processor does.
#[derive(Debug, Clone, Copy)]
struct Work {
    step: usize,
    until: u64,
    bytes: u64,
}

/// Gives every port a region: each matrix begins at the same place of all four, and each region one bank further.
fn place(hardware: &HardwareConfig, steps: &[Step]) -> (HashMap<u64, u64>, u64) {
    let longest: BTreeMap<u64, u64> = steps
        .iter()
        .map(|Step { operation, .. }| {
            let blocks = operation.rows.div_ceil(block_channels(hardware.layout));
            let most = divide(&hardware.division, blocks).into_iter().map(|part| part.1).max().unwrap_or(0);
            let bytes = u64::from(most) * u64::from(block_beats(hardware.layout, operation)) * 16;
            (operation.address, bytes.next_multiple_of(64))
        })
        .collect();
    let mut next = MODEL_BASE;
    let mut placed = HashMap::new();
    for (address, bytes) in longest {
        placed.insert(address, next);
        next += bytes;
    }
    (placed, (next - MODEL_BASE).next_multiple_of(BANK_CYCLE) + BANK)
}

/// Everything.
pub(super) struct Machine<'a> {
    hardware: &'a HardwareConfig,
    steps: &'a [Step],
    memory: MemoryModel,
    pl_mhz: f64,
    ports: [ReadMaster; WEIGHT_PORTS],
    loader: Loader,
    results: Results,
    now: u64,
    head: usize,
    prefetch_at: u64,
    doorbell: usize,
    done: usize,
    work: Option<Work>,
    state: State,
    /// Of the round: beats to take, which ports take part, blocks of each port left (this one included).
    beats_left: u32,
    round_begins: bool,
    active: [bool; WEIGHT_PORTS],
    blocks_left: [u32; WEIGHT_PORTS],
    block: u32,
    bank: usize,
    next_take: u64,
    times: Vec<StepTime>,
    began: u64,
    /// With [`Placement::Staggered`]: where a matrix begins in the first region, and from region to region.
    placed: HashMap<u64, u64>,
    region: u64,
}

impl<'a> Machine<'a> {
    pub fn new(hardware: &'a HardwareConfig, memory: &MemoryConfig, steps: &'a [Step]) -> Self {
        let port = |port| {
            ReadMaster::new(port, hardware.burst_beats, hardware.max_outstanding, Some(hardware.fifo_depth))
        };
        let (placed, region) = place(hardware, steps);
        Self {
            hardware,
            steps,
            placed,
            region,
            memory: MemoryModel::new(memory.clone()),
            pl_mhz: memory.pl_mhz,
            ports: std::array::from_fn(port),
            loader: Loader::new(),
            results: Results::new(),
            now: 0,
            head: 0,
            prefetch_at: PREFETCH,
            doorbell: 0,
            done: 0,
            work: None,
            state: State::Idle,
            beats_left: 0,
            round_begins: false,
            active: [false; WEIGHT_PORTS],
            blocks_left: [0; WEIGHT_PORTS],
            block: 0,
            bank: 0,
            next_take: 0,
            times: vec![StepTime::default(); steps.len()],
            began: 0,
        }
    }

    pub fn run(mut self) -> Vec<StepTime> {
        while self.done < self.steps.len() {
            self.processor();
            self.prefetch();
            for port in &mut self.ports {
                port.ask(&mut self.memory);
            }
            self.loader.ask(&mut self.memory, self.now);
            self.sequence();
            self.results.step(&mut self.memory, self.now);
            self.memory.tick();
            self.now += 1;
            for port in &mut self.ports {
                port.receive(&mut self.memory);
            }
            self.loader.receive(&mut self.memory, self.now);
            let time = &mut self.times[self.done.min(self.steps.len() - 1)];
            for (i, port) in self.ports.iter().enumerate() {
                time.busy[i] += u64::from(port.busy());
                time.max_level[i] = time.max_level[i].max(port.level);
            }
        }
        self.times
    }

    /// Works for the next doorbell as soon as the results it needs are there.
    fn processor(&mut self) {
        if let Some(work) = self.work {
            if self.now < work.until || self.memory.processor_bytes() < work.bytes {
                return;
            }
            self.memory.set_processor(None);
            self.doorbell = work.step + 1;
            self.work = None;
        }
        let step = self.doorbell;
        let Some(next) = self.steps.get(step) else {
            return;
        };
        if self.done + (next.lag as usize) < step + 1 {
            return;
        }
        if next.processor_bytes > 0 && next.processor_ns > 0.0 {
            self.memory.set_processor(Some(ProcessorTraffic {
                gigabytes_per_second: next.processor_bytes as f64 / next.processor_ns,
                cores: 4,
                pattern: self.hardware.processor_pattern,
            }));
        }
        self.work = Some(Work {
            step,
            until: self.now + (next.processor_ns * self.pl_mhz / 1000.0).round() as u64,
            bytes: (self.memory.processor_bytes() + next.processor_bytes).saturating_sub(PROCESSOR_SLACK),
        });
        if next.processor_ns == 0.0 {
            self.work = None;
            self.doorbell = step + 1;
        }
    }

    /// Follows the descriptors and hands each port its range.
    fn prefetch(&mut self) {
        let tail =
            if self.hardware.run_ahead { self.steps.len().min(self.done + RING) } else { self.doorbell };
        if self.head >= tail {
            self.prefetch_at = self.now + PREFETCH;
            return;
        }
        if self.now < self.prefetch_at || self.ports.iter().any(|port| port.commands.len() >= QUEUE) {
            return;
        }
        let operation = &self.steps[self.head].operation;
        let beats = u64::from(block_beats(self.hardware.layout, operation));
        let blocks = operation.rows.div_ceil(block_channels(self.hardware.layout));
        let divided = divide(&self.hardware.division, blocks);
        for (p, (port, (first, count))) in self.ports.iter_mut().zip(divided).enumerate() {
            if count > 0 {
                let (run_beats, skip) = match self.hardware.division {
                    Division::RoundRobin => (beats, 3 * beats * 16),
                    _ => (u64::MAX, 0),
                };
                let in_file = operation.address + u64::from(first) * beats * 16;
                let address = match self.hardware.placement {
                    Placement::AsInFile => in_file,
                    Placement::Windows => in_file + p as u64 * (WINDOW + BANK),
                    Placement::Staggered => self.placed[&operation.address] + p as u64 * self.region,
                };
                port.commands.push_back(Command {
                    address,
                    beats: u64::from(count) * beats,
                    run_beats,
                    skip,
                });
            }
        }
        self.head += 1;
        self.prefetch_at = self.now + PREFETCH;
    }

    fn sequence(&mut self) {
        let time = &mut self.times[self.done];
        match self.state {
            State::Idle => {
                if self.doorbell > self.done {
                    self.state = State::Descriptor { until: self.now + DESCRIPTOR };
                    time.load_cycles += 1;
                } else {
                    time.processor_cycles += 1;
                }
            }
            State::Descriptor { until } => {
                time.load_cycles += 1;
                if self.now >= until {
                    let operation = &self.steps[self.done].operation;
                    time.data_bytes += 16 * self.loader.start(operation, self.hardware.layout, self.now);
                    self.state = State::Load;
                }
            }
            State::Load => {
                time.load_cycles += 1;
                if self.loader.finished(self.now) {
                    self.state = State::Start { until: self.now + START };
                }
            }
            State::Start { until } => {
                time.load_cycles += 1;
                if self.now >= until {
                    self.begin();
                }
            }
            State::Run => self.take(),
            State::Drain => {
                time.drain_cycles += 1;
                if self.results.done(self.now) {
                    self.state = State::Settle { until: self.now + SETTLE };
                }
            }
            State::Settle { until } => {
                time.drain_cycles += 1;
                if self.now >= until {
                    time.cycles = self.now + 1 - self.began;
                    time.ns = time.cycles as f64 * 1000.0 / self.pl_mhz;
                    self.began = self.now + 1;
                    self.done += 1;
                    self.state = State::Idle;
                }
            }
        }
    }

    fn begin(&mut self) {
        let operation = &self.steps[self.done].operation;
        let blocks = operation.rows.div_ceil(block_channels(self.hardware.layout));
        let divided = divide(&self.hardware.division, blocks);
        self.results.start(self.hardware, operation, &divided);
        self.blocks_left = divided.map(|(_, count)| count);
        self.block = block_beats(self.hardware.layout, operation);
        let time = &mut self.times[self.done];
        time.weight_bytes = u64::from(blocks) * u64::from(self.block) * 16;
        if !operation.top_k {
            let channels = block_channels(self.hardware.layout);
            time.data_bytes += u64::from(operation.tokens * blocks * channels) * 4;
        }
        self.begin_round();
        self.state = State::Run;
    }

    fn begin_round(&mut self) {
        self.active = self.blocks_left.map(|left| left > 0);
        self.beats_left = self.block;
        self.round_begins = true;
    }

    /// A beat of every active port, if all of them have one.
    #[inline]
    fn take(&mut self) {
        let time = &mut self.times[self.done];
        if self.now < self.next_take || (self.round_begins && !self.results.free(self.bank)) {
            time.hold_cycles += 1;
            return;
        }
        let mut all = true;
        for p in 0..WEIGHT_PORTS {
            if self.active[p] && self.ports[p].level == 0 {
                time.stall[p] += 1;
                all = false;
            }
        }
        if !all {
            time.wait_cycles += 1;
            return;
        }
        time.compute_cycles += 1;
        for p in 0..WEIGHT_PORTS {
            if self.active[p] {
                self.ports[p].take();
                time.beats[p] += 1;
            }
        }
        self.next_take = self.now + u64::from(self.hardware.interval);
        self.round_begins = false;
        self.beats_left -= 1;
        if self.beats_left == 0 {
            self.results.block(self.bank, &self.active, self.now);
            self.bank = 1 - self.bank;
            for left in &mut self.blocks_left {
                *left = left.saturating_sub(1);
            }
            self.begin_round();
            if self.active == [false; WEIGHT_PORTS] {
                self.state = State::Drain;
            }
        }
    }
}
