//! The whole accelerator, simulated: `accel_top` between a processor's register accesses and a memory.
//!
//! One [`Device`] like any other, so the driver that runs on the board runs here. Time passes only when the processor
//! accesses a register, waits, or says that it is busy.

use std::ops::Range;
use std::sync::Arc;

use edgewen_accel::descriptor::{self, Descriptor};
use edgewen_accel::host::{AddressMap, AddressSpace, Device, Memory};
use edgewen_accel::image::ModelImage;
use edgewen_accel::memory::{DATA_PORT, DataRate, MemoryConfig, PORTS};
use edgewen_accel::registers;

use crate::bus::{Fault, Lite, MemoryTiming, READ_LIMIT, ReadPort, Timing, WritePort};
use crate::compile::Speed;
use crate::error::{Error, Result};
use crate::model::{Builder, Model, PortId};

/// Clocks that [`Device::wait`] lets pass when nothing happens.
const WAIT_LIMIT: u64 = 100_000;

/// That limit right after a soft reset, which takes a few hundred and raises no interrupt; it doubles with every wait.
const RESET_WAIT: u64 = 500;

/// ERROR_PORT of the data port's writes.
const WRITE_PORT: usize = 5;

/// How the accelerator is built and what it is connected to.
#[derive(Debug, Clone)]
pub struct RtlOptions {
    /// Parameters of `accel_top`.
    pub parameters: Vec<(String, String)>,
    /// When the memory answers.
    pub timing: MemoryTiming,
    /// What the build optimizes for.
    pub speed: Speed,
    /// Whether lines and toggles are counted.
    pub coverage: bool,
    /// Seed of what registers hold before the reset.
    pub seed: i32,
}

impl Default for RtlOptions {
    fn default() -> Self {
        Self {
            parameters: Vec::new(),
            timing: MemoryTiming::Board(MemoryConfig::kv260(DataRate::Mts2133, 300.0)),
            speed: Speed::Run,
            coverage: false,
            seed: 1,
        }
    }
}

/// The simulated accelerator.
pub struct RtlDevice {
    model: Model,
    clock: PortId,
    irq: PortId,
    reads: [ReadPort; PORTS],
    write: WritePort,
    lite: Lite,
    timing: Timing,
    memory: Box<dyn Memory>,
    map: AddressMap,
    pl_mhz: f64,
    /// The descriptor RAM as software wrote it: says what may be written.
    ring: Vec<[u32; descriptor::WORDS]>,
    wait_limit: u64,
    /// Fractions of a clock that the processor's time left over.
    clocks_due: f64,
    broken: Option<String>,
}

impl RtlOptions {
    /// Whether the RTL is compiled for these options; if not, [`RtlDevice::new`] takes about half a minute.
    ///
    /// # Errors
    /// Missing tools.
    pub fn is_compiled(&self) -> Result<bool> {
        self.builder().is_built()
    }

    fn builder(&self) -> Builder {
        let builder = Model::builder("accel_top").speed(self.speed).coverage(self.coverage).seed(self.seed);
        self.parameters.iter().fold(builder, |builder, (name, value)| builder.parameter(name, value))
    }
}

impl RtlDevice {
    /// Builds the accelerator if need be, and resets it, over the memory of a model.
    ///
    /// # Errors
    /// Missing tools, or what they have to say.
    pub fn new(image: Arc<ModelImage>, options: &RtlOptions) -> Result<Self> {
        let space = AddressSpace::new(image);
        let map = space.map().clone();
        Self::with_memory(Box::new(space), map, options)
    }

    /// [`Self::new`] over any memory.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_memory(memory: Box<dyn Memory>, map: AddressMap, options: &RtlOptions) -> Result<Self> {
        let mut model = options.builder().build()?;
        model.reset(4);
        let prefix = |port| if port == DATA_PORT { "m_axi_d_".to_owned() } else { format!("m_axi_w{port}_") };
        Ok(Self {
            clock: model.port("clk_i"),
            irq: model.port("irq_o"),
            reads: std::array::from_fn(|port| ReadPort::new(&model, port, &prefix(port))),
            write: WritePort::new(&model, DATA_PORT, &prefix(DATA_PORT)),
            lite: Lite::new(&model, "s_axil_"),
            timing: Timing::new(&options.timing),
            memory,
            map,
            pl_mhz: options.timing.pl_mhz(),
            ring: vec![
                [0; descriptor::WORDS];
                (registers::DESCRIPTOR_RAM_BYTES / descriptor::BYTES) as usize
            ],
            wait_limit: WAIT_LIMIT,
            clocks_due: 0.0,
            broken: None,
            model,
        })
    }

    /// Clocks of the programmable logic since the start.
    #[must_use]
    pub fn cycles(&self) -> u64 {
        self.model.cycles()
    }

    /// Beats that the memory gave to each read port.
    #[must_use]
    pub fn beats_read(&self) -> [u64; PORTS] {
        std::array::from_fn(|port| self.reads[port].beats())
    }

    /// Beats that the memory took from the data port.
    #[must_use]
    pub fn beats_written(&self) -> u64 {
        self.write.taken()
    }

    /// Most bursts that were outstanding at a time, of each read port.
    #[must_use]
    pub fn max_outstanding(&self) -> [usize; PORTS] {
        std::array::from_fn(|port| self.reads[port].max_outstanding())
    }

    /// The module, for its coverage counters.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Asks for a fault.
    pub fn inject(&mut self, fault: Fault) {
        match fault.port {
            WRITE_PORT => self.write.add_fault(fault.after, fault.kind),
            port => self.reads[port].add_fault(fault.after, fault.kind),
        }
    }

    /// The address of the burst that last made a fault, of a port as ERROR_PORT counts them.
    #[must_use]
    pub fn fault_address(&self, port: usize) -> Option<u64> {
        match port {
            WRITE_PORT => self.write.fault_address(),
            port => self.reads[port].fault_address(),
        }
    }

    /// Whether the memory has something under way.
    #[must_use]
    pub fn memory_is_busy(&self) -> bool {
        self.write.is_busy() || self.reads.iter().any(ReadPort::is_busy)
    }

    /// Lets so many clocks pass.
    ///
    /// # Errors
    /// [`Error::Bus`] if the design breaks a rule of the bus; from then on always.
    pub fn run(&mut self, clocks: u64) -> Result<()> {
        (0..clocks).try_for_each(|_| self.cycle())
    }

    fn cycle(&mut self) -> Result<()> {
        self.timing.tick();
        for port in &mut self.reads {
            port.drive(&mut self.model, &self.timing);
        }
        self.write.drive(&mut self.model, &self.timing, self.memory.as_mut());
        self.lite.drive(&mut self.model, &self.timing);
        self.model.low(self.clock);
        let sampled = self.sample();
        self.model.high(self.clock);
        match sampled {
            Ok(()) if self.broken.is_none() => Ok(()),
            Ok(()) => Err(self.broken()),
            Err(rule) => {
                self.broken.get_or_insert(rule);
                Err(self.broken())
            }
        }
    }

    fn sample(&mut self) -> std::result::Result<(), String> {
        for port in &mut self.reads {
            port.sample(&self.model, &mut self.timing, self.memory.as_ref())?;
        }
        let asked = self.write.sample(&self.model, &mut self.timing)?;
        if let Some(range) = asked.filter(|range| !self.ring.iter().any(|words| results(words, range))) {
            return Err(format!("a write to {range:#x?}, which no descriptor gave for results"));
        }
        self.lite.sample(&self.model)
    }

    #[cold]
    fn broken(&self) -> Error {
        Error::Bus { cycle: self.model.cycles(), rule: self.broken.clone().unwrap_or_default() }
    }

    fn access(&mut self, offset: u32, write: Option<u32>) -> edgewen_accel::Result<u32> {
        self.lite.begin(offset, write);
        for _ in 0..READ_LIMIT {
            self.cycle().map_err(device_error)?;
            if let Some((data, response)) = self.lite.finish() {
                return match response {
                    0 => Ok(data as u32),
                    _ => {
                        Err(edgewen_accel::Error::Device(format!("register {offset:#x} answers {response}")))
                    }
                };
            }
        }
        Err(edgewen_accel::Error::Device(format!("register {offset:#x} does not answer")))
    }
}

impl std::fmt::Debug for RtlDevice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RtlDevice").field("cycles", &self.cycles()).finish_non_exhaustive()
    }
}

/// Whether the descriptor gives all of `range` for results of one token.
fn results(words: &[u32; descriptor::WORDS], range: &Range<u64>) -> bool {
    let Ok(descriptor) = Descriptor::decode(words) else { return false };
    let bytes = u64::from(descriptor.rows).next_multiple_of(16) * 4;
    (0..u64::from(descriptor.tokens)).any(|token| {
        let start = descriptor.results + token * descriptor.results_stride;
        start <= range.start && range.end <= start + bytes
    })
}

fn device_error(error: Error) -> edgewen_accel::Error {
    edgewen_accel::Error::Device(error.to_string())
}

impl Device for RtlDevice {
    fn name(&self) -> String {
        "rtl".to_owned()
    }

    fn read(&mut self, offset: u32) -> edgewen_accel::Result<u32> {
        self.access(offset, None)
    }

    fn write(&mut self, offset: u32, value: u32) -> edgewen_accel::Result<()> {
        if let Some(place) = offset.checked_sub(registers::DESCRIPTOR_RAM) {
            let (entry, word) = (place / descriptor::BYTES, place % descriptor::BYTES / 4);
            if let Some(words) = self.ring.get_mut(entry as usize) {
                words[word as usize] = value;
            }
        }
        if offset == registers::CONTROL.offset && registers::CONTROL_SOFT_RESET.is_set(value) {
            self.reads.iter_mut().for_each(ReadPort::soft_reset);
            self.write.soft_reset();
            self.wait_limit = RESET_WAIT;
        }
        self.access(offset, Some(value)).map(|_| ())
    }

    fn memory(&mut self) -> &mut dyn Memory {
        self.memory.as_mut()
    }

    fn map(&self) -> AddressMap {
        self.map.clone()
    }

    fn wait(&mut self) -> edgewen_accel::Result<()> {
        for _ in 0..self.wait_limit {
            self.cycle().map_err(device_error)?;
            if self.model.get_at(self.irq) == 1 {
                break;
            }
        }
        self.wait_limit = WAIT_LIMIT.min(2 * self.wait_limit);
        Ok(())
    }

    fn processor_time(&mut self, ns: u64) -> edgewen_accel::Result<()> {
        self.clocks_due += ns as f64 * self.pl_mhz / 1000.0;
        let clocks = self.clocks_due as u64;
        self.clocks_due -= clocks as f64;
        self.run(clocks).map_err(device_error)
    }
}
