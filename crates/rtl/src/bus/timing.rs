//! When the memory answers: as the board's, or as unpleasantly as the rules allow.

use std::collections::VecDeque;

use edgewen_accel::memory::{Direction, MemoryConfig, MemoryModel, PORTS};

/// How the memory behaves in time.
#[expect(clippy::large_enum_variant, reason = "there is one, made once")]
#[derive(Debug, Clone)]
pub enum MemoryTiming {
    /// The model of the board's memory.
    Board(MemoryConfig),
    /// Random latencies, gaps and refusals, for tests; the same seed gives the same.
    Random {
        /// Where the random numbers begin.
        seed: u64,
        /// Clock of the programmable logic in MHz.
        pl_mhz: f64,
    },
}

impl MemoryTiming {
    /// Clock of the programmable logic in MHz.
    pub fn pl_mhz(&self) -> f64 {
        match self {
            Self::Board(config) => config.pl_mhz,
            Self::Random { pl_mhz, .. } => *pl_mhz,
        }
    }
}

/// The timing at work.
#[derive(Debug)]
pub(crate) enum Timing {
    Board(Box<MemoryModel>),
    Random(Box<Random>),
}

/// What may be refused at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    Ar,
    R,
    Aw,
    W,
    B,
    /// Data that is taken before its address.
    EarlyW,
    Lite,
}

impl Timing {
    pub fn new(timing: &MemoryTiming) -> Self {
        match timing {
            MemoryTiming::Board(config) => Self::Board(Box::new(MemoryModel::new(config.clone()))),
            MemoryTiming::Random { seed, .. } => Self::Random(Box::new(Random::new(*seed))),
        }
    }

    #[inline]
    pub fn tick(&mut self) {
        match self {
            Self::Board(model) => model.tick(),
            Self::Random(random) => random.now += 1,
        }
    }

    #[inline]
    pub fn accepts(&self, port: usize, direction: Direction) -> bool {
        match self {
            Self::Board(model) => model.accepts(port, direction),
            Self::Random(random) => {
                let channel = if direction == Direction::Read { Channel::Ar } else { Channel::Aw };
                random.allows(port, channel)
            }
        }
    }

    pub fn push(&mut self, port: usize, direction: Direction, address: u64, beats: u32) {
        match self {
            Self::Board(model) => model.push(port, direction, address, beats),
            Self::Random(random) => random.push(port, direction, beats),
        }
    }

    #[inline]
    pub fn readable(&self, port: usize) -> bool {
        match self {
            Self::Board(model) => model.readable(port),
            Self::Random(random) => {
                random.reads[port].front().is_some_and(|&(at, _)| at <= random.now)
                    && random.allows(port, Channel::R)
            }
        }
    }

    #[inline]
    pub fn take(&mut self, port: usize) {
        match self {
            Self::Board(model) => model.take(port),
            Self::Random(random) => {
                let Some((_, beats)) = random.reads[port].front_mut() else { return };
                *beats -= 1;
                if *beats == 0 {
                    random.reads[port].pop_front();
                }
            }
        }
    }

    #[inline]
    pub fn write_done(&self, port: usize) -> bool {
        match self {
            Self::Board(model) => model.write_done(port),
            Self::Random(random) => {
                random.writes[port].front().is_some_and(|&at| at <= random.now)
                    && random.allows(port, Channel::B)
            }
        }
    }

    #[inline]
    pub fn take_write(&mut self, port: usize) {
        match self {
            Self::Board(model) => model.take_write(port),
            Self::Random(random) => {
                random.writes[port].pop_front();
            }
        }
    }

    /// Whether a channel that the memory's timing says nothing about may go on in this clock.
    #[inline]
    pub fn allows(&self, port: usize, channel: Channel) -> bool {
        match self {
            Self::Board(_) => channel != Channel::EarlyW,
            Self::Random(random) => random.allows(port, channel),
        }
    }
}

/// Random timing: each channel of each port lives through phases of 64 clocks in which it is always, often, seldom or
/// never ready.
#[derive(Debug)]
pub(crate) struct Random {
    seed: u64,
    now: u64,
    reads: [VecDeque<(u64, u32)>; PORTS],
    writes: [VecDeque<u64>; PORTS],
}

impl Random {
    fn new(seed: u64) -> Self {
        Self { seed, now: 0, reads: Default::default(), writes: Default::default() }
    }

    fn push(&mut self, port: usize, direction: Direction, beats: u32) {
        let latency = 1 + self.number(port, 16) % [4, 40, 200][(self.number(port, 17) % 3) as usize];
        let at = self.now + latency;
        match direction {
            Direction::Read => self.reads[port].push_back((at, beats)),
            Direction::Write => self.writes[port].push_back(at),
        }
    }

    fn allows(&self, port: usize, channel: Channel) -> bool {
        let phase = mix(self.seed ^ mix((self.now >> 6) << 8 | (port as u64) << 4 | channel as u64)) % 8;
        match phase {
            0..=3 => true,
            4 | 5 => self.number(port, channel as u64).is_multiple_of(2),
            6 => self.number(port, channel as u64).is_multiple_of(8),
            _ => self.now & 63 == 63,
        }
    }

    /// A number that depends on seed, clock, port and purpose.
    fn number(&self, port: usize, purpose: u64) -> u64 {
        mix(self.seed.rotate_left(32) ^ mix(self.now << 16 | (port as u64) << 8 | purpose))
    }
}

/// The finisher of splitmix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
