//! The slave of one write channel.

use std::collections::VecDeque;
use std::ops::Range;

use edgewen_accel::host::{BusError, Memory};
use edgewen_accel::memory::Direction;

use super::fault::{FaultKind, Faults};
use super::timing::{Channel, Timing};
use super::{Address, BEAT, OKAY, response};
use crate::model::{Model, PortId};

/// Addresses and answers that the slave keeps.
const MAX_BURSTS: usize = 16;
/// Beats that it takes ahead of their address.
const MAX_EARLY: usize = 32;

/// The slave of one write channel.
#[derive(Debug)]
pub(crate) struct WritePort {
    port: usize,
    name: String,
    signals: Signals,
    /// Addresses whose data is not complete.
    addresses: VecDeque<Burst>,
    /// Data that belongs to no complete burst.
    beats: VecDeque<Beat>,
    /// Complete bursts that the memory did not take yet, then those that it works on.
    complete: VecDeque<Burst>,
    working: VecDeque<Burst>,
    aw_ready: bool,
    w_ready: bool,
    /// BVALID, and whether it waits for BREADY.
    driven: bool,
    valid: bool,
    held_address: Option<Address>,
    held_beat: Option<Beat>,
    count: u64,
    faults: Faults,
    fault_address: Option<u64>,
    dead: bool,
    taken: u64,
}

#[derive(Debug)]
struct Signals {
    awvalid: PortId,
    awready: PortId,
    awaddr: PortId,
    awlen: PortId,
    awid: PortId,
    awsize: PortId,
    awburst: PortId,
    wvalid: PortId,
    wready: PortId,
    wdata: PortId,
    wstrb: PortId,
    wlast: PortId,
    bvalid: PortId,
    bready: PortId,
    bresp: PortId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Beat {
    data: [u32; BEAT / 4],
    strobe: u16,
    last: bool,
}

#[derive(Debug)]
struct Burst {
    address: u64,
    beats: usize,
    data: Vec<Beat>,
    error: Option<u64>,
    answered: bool,
}

impl WritePort {
    pub fn new(model: &Model, port: usize, prefix: &str) -> Self {
        let id = |signal: &str| model.port(&format!("{prefix}{signal}"));
        let signals = Signals {
            awvalid: id("awvalid"),
            awready: id("awready"),
            awaddr: id("awaddr"),
            awlen: id("awlen"),
            awid: id("awid"),
            awsize: id("awsize"),
            awburst: id("awburst"),
            wvalid: id("wvalid"),
            wready: id("wready"),
            wdata: id("wdata"),
            wstrb: id("wstrb"),
            wlast: id("wlast"),
            bvalid: id("bvalid"),
            bready: id("bready"),
            bresp: id("bresp"),
        };
        Self {
            port,
            name: prefix.to_owned(),
            signals,
            addresses: VecDeque::new(),
            beats: VecDeque::new(),
            complete: VecDeque::new(),
            working: VecDeque::new(),
            aw_ready: false,
            w_ready: false,
            driven: false,
            valid: false,
            held_address: None,
            held_beat: None,
            count: 0,
            faults: Faults::default(),
            fault_address: None,
            dead: false,
            taken: 0,
        }
    }

    /// Beats taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The address of the burst that last made a fault.
    pub fn fault_address(&self) -> Option<u64> {
        self.fault_address
    }

    pub fn add_fault(&mut self, after: u64, kind: FaultKind) {
        self.faults.add(self.count + after, kind);
    }

    /// Software resets the accelerator: what was never going to be answered is forgotten.
    pub fn soft_reset(&mut self) {
        self.dead = false;
        self.complete.retain(|burst| burst.answered);
        self.addresses.iter_mut().for_each(|burst| burst.answered = true);
    }

    /// Whether something is under way that will be answered.
    pub fn is_busy(&self) -> bool {
        !self.working.is_empty() || self.complete.iter().chain(&self.addresses).any(|burst| burst.answered)
    }

    #[inline]
    pub fn drive(&mut self, model: &mut Model, timing: &Timing, memory: &mut dyn Memory) {
        let room = self.addresses.len() < 2 && self.complete.len() + self.working.len() < MAX_BURSTS;
        let aw_ready = room && timing.accepts(self.port, Direction::Write);
        if aw_ready != self.aw_ready {
            model.set_at(self.signals.awready, u64::from(aw_ready));
            self.aw_ready = aw_ready;
        }
        let wanted: usize = self.addresses.iter().map(|burst| burst.beats).sum();
        let early = self.beats.len() < MAX_EARLY && timing.allows(self.port, Channel::EarlyW);
        let w_ready = (self.beats.len() < wanted || early) && timing.allows(self.port, Channel::W);
        if w_ready != self.w_ready {
            model.set_at(self.signals.wready, u64::from(w_ready));
            self.w_ready = w_ready;
        }
        if self.valid {
            return;
        }
        let burst = self.working.front().filter(|_| timing.write_done(self.port));
        let valid = burst.is_some();
        if let Some(burst) = burst {
            // The data is in memory before its response says so.
            let response = burst.error.or_else(|| store(burst, memory).err().map(response)).unwrap_or(OKAY);
            model.set_at(self.signals.bresp, response);
        }
        if valid != self.driven {
            model.set_at(self.signals.bvalid, u64::from(valid));
            self.driven = valid;
        }
        self.valid = valid;
    }

    /// Takes the handshakes of this clock; the result is the range of a burst that was asked for.
    #[inline]
    pub fn sample(&mut self, model: &Model, timing: &mut Timing) -> Result<Option<Range<u64>>, String> {
        let mut asked = None;
        if model.get_at(self.signals.awvalid) == 1 {
            asked = self.address(model)?;
        } else if self.held_address.is_some() {
            return Err(format!("{}awvalid fell before awready", self.name));
        }
        if model.get_at(self.signals.wvalid) == 1 {
            self.beat(model)?;
        } else if self.held_beat.is_some() {
            return Err(format!("{}wvalid fell before wready", self.name));
        }
        if self.valid && model.get_at(self.signals.bready) == 1 {
            self.valid = false;
            timing.take_write(self.port);
            self.working.pop_front();
        }
        if !self.addresses.is_empty() || !self.complete.is_empty() {
            self.complete_burst(timing)?;
        }
        Ok(asked)
    }

    fn address(&mut self, model: &Model) -> Result<Option<Range<u64>>, String> {
        let Signals { awaddr, awlen, awid, awsize, awburst, .. } = self.signals;
        let address = Address {
            address: model.get_at(awaddr),
            len: model.get_at(awlen),
            kind: [awid, awsize, awburst].map(|id| model.get_at(id)),
        };
        if self.held_address.is_some_and(|held| held != address) {
            return Err(format!(
                "{}aw* changed before awready: {:?}, then {address:?}",
                self.name, self.held_address
            ));
        }
        if !self.aw_ready {
            self.held_address = Some(address);
            return Ok(None);
        }
        self.held_address = None;
        if let Some(rule) = address.broken_rule() {
            return Err(format!("{}: {rule}", self.name));
        }
        let fault = self.faults.take(self.count);
        self.count += 1;
        self.fault_address = fault.map(|_| address.address).or(self.fault_address);
        self.dead |= fault == Some(FaultKind::NoAnswer);
        let error = match fault {
            Some(FaultKind::SlaveError { .. }) => Some(2),
            Some(FaultKind::DecodeError { .. }) => Some(3),
            _ => None,
        };
        let beats = address.len as usize + 1;
        let answered = !self.dead;
        self.addresses.push_back(Burst {
            address: address.address,
            beats,
            data: Vec::new(),
            error,
            answered,
        });
        Ok(Some(address.address..address.address + (beats * BEAT) as u64))
    }

    fn beat(&mut self, model: &Model) -> Result<(), String> {
        let mut data = [0; BEAT / 4];
        model.get_words_at(self.signals.wdata, &mut data);
        let beat = Beat {
            data,
            strobe: model.get_at(self.signals.wstrb) as u16,
            last: model.get_at(self.signals.wlast) == 1,
        };
        if self.held_beat.is_some_and(|held| held != beat) {
            return Err(format!(
                "{}w* changed before wready: {:?}, then {beat:?}",
                self.name, self.held_beat
            ));
        }
        self.held_beat = if self.w_ready { None } else { Some(beat) };
        if self.w_ready {
            self.taken += 1;
            self.beats.push_back(beat);
        }
        Ok(())
    }

    /// Hands a burst whose data is there to the memory.
    fn complete_burst(&mut self, timing: &mut Timing) -> Result<(), String> {
        if let Some(burst) = self.addresses.front() {
            let count = burst.beats.min(self.beats.len());
            if let Some(beat) = (0..count).find(|&beat| self.beats[beat].last != (beat + 1 == burst.beats)) {
                let (name, beats) = (&self.name, burst.beats);
                return Err(format!("{name}wlast of beat {beat} of a burst of {beats} beats is wrong"));
            }
            if count == burst.beats {
                let mut burst = self.addresses.pop_front().expect("just seen");
                burst.data = self.beats.drain(..count).collect();
                self.complete.push_back(burst);
            }
        }
        match self.complete.front() {
            Some(burst) if burst.answered && timing.accepts(self.port, Direction::Write) => {
                timing.push(self.port, Direction::Write, burst.address, burst.beats as u32);
                self.working.extend(self.complete.pop_front());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Writes the bytes whose strobes are set.
fn store(burst: &Burst, memory: &mut dyn Memory) -> Result<(), BusError> {
    for (index, beat) in burst.data.iter().enumerate() {
        let address = burst.address + (index * BEAT) as u64;
        let mut bytes = [0; BEAT];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(beat.data) {
            *bytes = word.to_le_bytes();
        }
        if beat.strobe == u16::MAX {
            memory.write(address, &bytes)?;
            continue;
        }
        for byte in (0..BEAT).filter(|byte| beat.strobe >> byte & 1 == 1) {
            memory.write(address + byte as u64, &bytes[byte..=byte])?;
        }
    }
    Ok(())
}
