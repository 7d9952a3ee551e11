//! The registers as calls: identity, ring of descriptors, doorbell, errors, soft reset.
//!
//! The driver keeps the four counts and a copy of the descriptor RAM, so that a descriptor that is there already costs
//! no writes: with a ring of as many entries as a token has operations, decoding never writes one. It knows
//! descriptors, not models.

use super::Device;
use crate::descriptor::{BYTES, PORTS, STREAM_WORDS, WORDS};
use crate::image::Layout;
use crate::program::Limits;
use crate::registers as map;
use crate::registers::ErrorCode;
use crate::{Error, Result};

/// Calls of [`Device::wait`] in which nothing at all moves before the driver gives up. The accelerator's own time-out
/// comes first if it works.
const PATIENCE: u32 = 64;

/// A descriptor as it is written.
pub type Words = [u32; WORDS];

/// Why operations did not end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// The accelerator says why.
    Fault(Fault),
    /// It does not: what its registers read.
    Hung(String),
    /// The registers cannot be reached.
    Device(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Device(error)
    }
}

/// The error registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What happened; nothing if the code is one that there is not.
    pub code: Option<ErrorCode>,
    /// ERROR_PORT.
    pub port: u32,
    /// Address of the burst.
    pub address: u64,
    /// Tag of the operation in hand.
    pub tag: u32,
}

/// A device that is ready to run operations.
pub struct Driver<D> {
    device: D,
    limits: Limits,
    /// Entries of the ring in use.
    entries: u32,
    /// What the descriptor RAM holds, as far as it is known.
    shadow: Vec<Option<Words>>,
    tail: u32,
    doorbell: u32,
    done: u32,
    /// A reset was begun and did not end: nothing is known of the device.
    lost: bool,
    resets: u64,
    descriptor_writes: u64,
}

impl<D: Device> Driver<D> {
    /// Checks that the device is an accelerator of this edition and reads what it was built with.
    ///
    /// # Errors
    /// Another device, or one that cannot be reached.
    pub fn new(mut device: D) -> Result<Self> {
        let limits = read_limits(&mut device)?;
        Ok(Self {
            device,
            limits,
            entries: limits.ring_entries,
            shadow: vec![None; limits.ring_entries as usize],
            tail: 0,
            doorbell: 0,
            done: 0,
            lost: true,
            resets: 0,
            descriptor_writes: 0,
        })
    }

    /// What the device is.
    pub fn name(&self) -> String {
        self.device.name()
    }

    /// What the design was built with.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Soft resets so far: one at the start, one for every wrong prediction of the order, one for every error.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Words written to the descriptor RAM so far.
    pub fn descriptor_writes(&self) -> u64 {
        self.descriptor_writes
    }

    /// Resets the accelerator and begins with an empty ring of `entries` descriptors.
    ///
    /// # Errors
    /// The reset does not end.
    pub fn start(&mut self, entries: u32) -> Result<()> {
        self.entries = entries.clamp(1, self.limits.ring_entries);
        self.reset()
    }

    /// Ends everything that runs and empties the ring.
    ///
    /// # Errors
    /// The reset does not end.
    pub fn reset(&mut self) -> Result<()> {
        self.resets += 1;
        self.lost = true;
        self.device.write(map::CONTROL.offset, map::CONTROL_SOFT_RESET.mask())?;
        let mut waits = 0;
        while map::CONTROL_SOFT_RESET.is_set(self.device.read(map::CONTROL.offset)?) {
            waits += 1;
            if waits == PATIENCE {
                let name = self.device.name();
                let message =
                    format!("{name}: the accelerator's soft reset does not end; load its bitstream again");
                return Err(Error::Device(message));
            }
            self.device.wait()?;
        }
        (self.tail, self.doorbell, self.done) = (0, 0, 0);
        self.device.write(map::RING_ENTRIES.offset, self.entries)?;
        let irq = map::IRQ_STATUS_DONE.mask() | map::IRQ_STATUS_ERROR.mask();
        self.device.write(map::IRQ_STATUS.offset, irq)?;
        let switches = map::CONTROL_ENABLE.mask() | map::CONTROL_IRQ_ENABLE.mask();
        self.device.write(map::CONTROL.offset, switches)?;
        self.lost = false;
        Ok(())
    }

    /// Descriptors of the ring.
    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// Whether the last reset failed, so that another one must come first.
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Descriptors that were streamed ahead of the doorbell.
    pub fn queued(&self) -> u32 {
        self.tail.wrapping_sub(self.doorbell)
    }

    /// Descriptors that the ring still has room for.
    pub fn room(&self) -> u32 {
        self.entries - self.tail.wrapping_sub(self.done)
    }

    /// Lets the weights of some more descriptors be streamed.
    ///
    /// # Errors
    /// The registers cannot be reached.
    ///
    /// # Panics
    /// If the ring has no room for them.
    pub fn stream(&mut self, descriptors: &[Words]) -> Result<()> {
        assert!(descriptors.len() <= self.room() as usize, "room in the ring");
        if descriptors.is_empty() {
            return Ok(());
        }
        for words in descriptors {
            self.put(self.tail, words)?;
            self.tail = self.tail.wrapping_add(1);
        }
        self.device.write(map::STREAM_TAIL.offset, self.tail)
    }

    /// Lets the weights of some more descriptors be streamed, of which only the weights are certain: where the ring holds
    /// a descriptor of the same weights already, it stays as it is.
    ///
    /// # Errors
    /// The registers cannot be reached.
    ///
    /// # Panics
    /// If the ring has no room for them.
    pub fn stream_ahead(&mut self, mut descriptors: Vec<Words>) -> Result<()> {
        for (count, words) in (self.tail..).zip(&mut descriptors) {
            let known = self.shadow[(count % self.entries) as usize];
            if let Some(known) =
                known.filter(|known| STREAM_WORDS.iter().all(|&word| known[word] == words[word]))
            {
                *words = known;
            }
        }
        self.stream(&descriptors)
    }

    /// Replaces the `index`th descriptor that waits for its doorbell by one with the same weights.
    ///
    /// # Errors
    /// The registers cannot be reached.
    pub fn update(&mut self, index: u32, words: &Words) -> Result<()> {
        self.put(self.doorbell.wrapping_add(index), words)
    }

    /// Lets the next `count` operations be computed.
    ///
    /// # Errors
    /// The registers cannot be reached.
    ///
    /// # Panics
    /// If fewer are queued.
    pub fn ring(&mut self, count: u32) -> Result<()> {
        assert!(count <= self.queued(), "operations in the ring");
        self.doorbell = self.doorbell.wrapping_add(count);
        self.device.write(map::DOORBELL.offset, self.doorbell)
    }

    /// Operations that the doorbell was rung for since the last reset.
    pub fn rung(&self) -> u32 {
        self.doorbell
    }

    /// Waits until all operations of the doorbell are done.
    ///
    /// # Errors
    /// The accelerator failed, or nothing moves any more.
    pub fn finish(&mut self) -> std::result::Result<(), Stopped> {
        self.wait_for(self.doorbell)
    }

    /// Waits until as many operations are done as [`Self::rung`] said.
    ///
    /// # Errors
    /// The accelerator failed, or nothing moves any more.
    pub fn wait_for(&mut self, count: u32) -> std::result::Result<(), Stopped> {
        let (mut seen, mut waits) = (0, 0);
        loop {
            if count <= self.done {
                return Ok(());
            }
            self.done = self.device.read(map::DONE.offset)?;
            if count <= self.done {
                return Ok(());
            }
            let status = self.device.read(map::STATUS.offset)?;
            if map::STATUS_ERROR.is_set(status) {
                return Err(Stopped::Fault(self.fault()?));
            }
            let moved = self.progress()?;
            waits = if moved == seen { waits + 1 } else { 0 };
            seen = moved;
            if PATIENCE < waits {
                return Err(Stopped::Hung(self.state(status)?));
            }
            self.device.wait()?;
            let irq = map::IRQ_STATUS_DONE.mask() | map::IRQ_STATUS_ERROR.mask();
            self.device.write(map::IRQ_STATUS.offset, irq)?;
        }
    }

    /// The top-k list: rows and values, best first, at most `most`.
    ///
    /// # Errors
    /// The registers cannot be reached, or the list is longer than there can be.
    pub fn top_k(&mut self, most: usize) -> Result<Vec<(u32, f32)>> {
        let count = self.device.read(map::TOPK_COUNT.offset)?;
        if self.limits.top_k < count {
            let (name, limit) = (self.device.name(), self.limits.top_k);
            return Err(Error::Device(format!("{name}: {count} entries in a list of {limit}")));
        }
        let mut entries = Vec::new();
        for index in 0..count.min(u32::try_from(most).unwrap_or(u32::MAX)) {
            let value = self.device.read(map::TOPK_VALUE.at(index))?;
            entries.push((self.device.read(map::TOPK_INDEX.at(index))?, f32::from_bits(value)));
        }
        Ok(entries)
    }

    /// Writes those words of the descriptor of a count that differ from what is there.
    fn put(&mut self, count: u32, words: &Words) -> Result<()> {
        // The counts begin at 0 with every reset and never get near 2^32 between two.
        let entry = count % self.entries;
        let known = self.shadow[entry as usize].take();
        for (word, &value) in words.iter().enumerate() {
            if known.is_none_or(|known| known[word] != value) {
                let offset = map::DESCRIPTOR_RAM + entry * BYTES + 4 * word as u32;
                self.device.write(offset, value)?;
                self.descriptor_writes += 1;
            }
        }
        self.shadow[entry as usize] = Some(*words);
        Ok(())
    }

    /// A number that changes as long as anything is done.
    fn progress(&mut self) -> Result<u64> {
        let mut sum = u64::from(self.done) << 40;
        for port in 0..map::PORT_BEATS.count {
            sum += u64::from(self.device.read(map::PORT_BEATS.at(port))?);
        }
        Ok(sum)
    }

    fn fault(&mut self) -> Result<Fault> {
        let low = self.device.read(map::ERROR_ADDRESS_LO.offset)?;
        let high = self.device.read(map::ERROR_ADDRESS_HI.offset)?;
        Ok(Fault {
            code: ErrorCode::new(self.device.read(map::ERROR_CODE.offset)?),
            port: self.device.read(map::ERROR_PORT.offset)?,
            address: u64::from(high) << 32 | u64::from(low),
            tag: self.device.read(map::ERROR_TAG.offset)?,
        })
    }

    /// The registers in words, for a message.
    fn state(&mut self, status: u32) -> Result<String> {
        let head = self.device.read(map::STREAM_HEAD.offset)?;
        let mut levels = Vec::new();
        for port in 0..PORTS as u32 {
            levels.push(self.device.read(map::PORT_LEVEL.at(port))?.to_string());
        }
        Ok(format!(
            "STATUS {status:#x}, DONE {} of DOORBELL {}, STREAM_HEAD {head} of STREAM_TAIL {}, beats in the FIFOs {}",
            self.done,
            self.doorbell,
            self.tail,
            levels.join(" ")
        ))
    }
}

/// Reads and checks identity and capabilities.
fn read_limits(device: &mut impl Device) -> Result<Limits> {
    let name = device.name();
    let wrong = |problem: String| Err(Error::Mismatch { device: name.clone(), problem });
    let id = device.read(map::ID.offset)?;
    if id != map::ID_VALUE {
        return wrong(format!("its ID is {id:#010x}, expected {:#010x}", map::ID_VALUE));
    }
    let version = device.read(map::VERSION.offset)?;
    let (found, known) = (map::VERSION_MAJOR.get(version), map::VERSION_MAJOR.get(map::VERSION_VALUE));
    if found != known {
        return wrong(format!("its register map is version {found}, this program knows {known}"));
    }
    let (caps0, fifo_beats) = (device.read(map::CAPS0.offset)?, device.read(map::CAPS1.offset)?);
    let caps2 = device.read(map::CAPS2.offset)?;
    let ports = map::CAPS0_PORTS.get(caps0);
    if ports != PORTS as u32 {
        return wrong(format!("it has {ports} weight ports, expected {PORTS}"));
    }
    let code = map::CAPS0_LAYOUT.get(caps0);
    let Some(layout) = Layout::new(code) else {
        return wrong(format!("it reads weights in the unknown layout {code}"));
    };
    let limits = Limits {
        tokens: map::CAPS0_TOKENS.get(caps0),
        max_groups: map::CAPS0_MAX_GROUPS.get(caps0),
        bias_rows: map::CAPS2_BIAS_ROWS.get(caps2),
        ring_entries: map::CAPS2_RING_ENTRIES.get(caps2),
        top_k: map::CAPS0_TOP_K.get(caps0).min(map::TOP_K_ENTRIES as u32),
        fifo_beats,
        layout,
    };
    if limits.tokens == 0
        || limits.ring_entries == 0
        || map::DESCRIPTOR_RAM_BYTES / BYTES < limits.ring_entries
    {
        return wrong(format!("it has {} tokens and a ring of {}", limits.tokens, limits.ring_entries));
    }
    Ok(limits)
}
