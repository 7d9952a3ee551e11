//! How long the memory of the board takes: reads and writes of the accelerator's ports over the DDR4 of the KV260.
//!
//! Timing only, no data: whoever simulates puts the beats there. One [`MemoryModel::tick`] is one clock of the
//! programmable logic. Ports 0 to 3 are HP0 to HP3 (weights), 4 is HPC0 (operands and results), 5 is the processor.

/// Ports that can be pushed to: four weight ports, and the data port.
pub const PORTS: usize = 5;
/// The port of operands and results, HPC0.
pub const DATA_PORT: usize = 4;
/// The processor's own traffic: set by [`MemoryModel::set_processor`], counted, never pushed.
pub const PROCESSOR_PORT: usize = 5;

/// Transfers a second of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataRate {
    /// 2133 MT/s: what the stock firmware sets.
    Mts2133,
    /// 2400 MT/s: needs a first stage boot loader of one's own.
    Mts2400,
}

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
    /// Its order.
    pub pattern: Pattern,
}

/// The order of the processor's accesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Ascending addresses, a few streams at a time.
    Streaming,
    /// Cache lines anywhere.
    Random,
}

/// Everything that determines the timing.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryConfig {
    /// Transfers a second.
    pub data_rate: DataRate,
    /// Clock of the programmable logic in MHz.
    pub pl_mhz: f64,
}

impl MemoryConfig {
    /// The KV260: four x16 DDR4 devices, one rank, Zynq UltraScale+ controller.
    #[must_use]
    pub fn kv260(data_rate: DataRate, pl_mhz: f64) -> Self {
        Self { data_rate, pl_mhz }
    }
}

/// The memory, its controller, and the ports.
#[derive(Debug, Clone)]
pub struct MemoryModel {
    config: MemoryConfig,
    now: u64,
    reads: [std::collections::VecDeque<(u64, u32)>; PORTS],
    writes: [std::collections::VecDeque<u64>; PORTS],
}

impl MemoryModel {
    /// A memory at rest.
    #[must_use]
    pub fn new(config: MemoryConfig) -> Self {
        Self { config, now: 0, reads: Default::default(), writes: Default::default() }
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
            Direction::Read => self.reads[port].len() < 16,
            Direction::Write => self.writes[port].len() < 8,
        }
    }

    /// A burst of `beats` 16-byte beats; for a write, push it when its last data beat has been handed over.
    ///
    /// Only if [`Self::accepts`], and at most one of each direction a port and clock.
    pub fn push(&mut self, port: usize, direction: Direction, address: u64, beats: u32) {
        let _ = address;
        match direction {
            Direction::Read => self.reads[port].push_back((self.now + 60, beats)),
            Direction::Write => self.writes[port].push_back(self.now + 60),
        }
    }

    /// One clock of the programmable logic.
    pub fn tick(&mut self) {
        self.now += 1;
    }

    /// RVALID: the next beat of the oldest read burst of the port is here.
    #[must_use]
    pub fn readable(&self, port: usize) -> bool {
        self.reads[port].front().is_some_and(|&(at, _)| at <= self.now)
    }

    /// Takes that beat (RVALID and RREADY), at most one a port and clock.
    pub fn take(&mut self, port: usize) {
        if let Some((_, beats)) = self.reads[port].front_mut() {
            *beats -= 1;
            if *beats == 0 {
                self.reads[port].pop_front();
            }
        }
    }

    /// BVALID: the oldest write of the port is done.
    #[must_use]
    pub fn write_done(&self, port: usize) -> bool {
        self.writes[port].front().is_some_and(|&at| at <= self.now)
    }

    /// Takes that answer (BVALID and BREADY), at most one a port and clock.
    pub fn take_write(&mut self, port: usize) {
        self.writes[port].pop_front();
    }

    /// From now on the processor uses the memory like this too.
    pub fn set_processor(&mut self, traffic: Option<ProcessorTraffic>) {
        let _ = traffic;
    }

    /// Clocks of the programmable logic so far.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }
}
