//! The slave of one read channel.

use std::collections::VecDeque;

use edgewen_accel::host::Memory;
use edgewen_accel::memory::Direction;

use super::fault::{FaultKind, Faults};
use super::timing::Timing;
use super::{Address, BEAT, MAX_BEATS, OKAY, response};
use crate::model::{Model, PortId};

/// Bursts that the slave takes before it has answered the oldest; a port of the board takes no more.
const MAX_BURSTS: usize = 64;

/// The slave of one read channel.
#[derive(Debug)]
pub(crate) struct ReadPort {
    port: usize,
    name: String,
    signals: Signals,
    bursts: VecDeque<Burst>,
    /// What is driven.
    ready: bool,
    driven: bool,
    /// A beat waits for RREADY.
    valid: bool,
    /// ARVALID without ARREADY in the clock before.
    held: Option<Address>,
    count: u64,
    faults: Faults,
    fault_address: Option<u64>,
    /// The port answers nothing more until a soft reset.
    dead: bool,
    beats: u64,
    max_outstanding: usize,
}

#[derive(Debug)]
struct Signals {
    arvalid: PortId,
    arready: PortId,
    araddr: PortId,
    arlen: PortId,
    arid: PortId,
    arsize: PortId,
    arburst: PortId,
    rvalid: PortId,
    rready: PortId,
    rdata: PortId,
    rresp: PortId,
    rlast: PortId,
}

/// A burst that was asked for.
#[derive(Debug)]
struct Burst {
    next: usize,
    /// Beats that come.
    beats: usize,
    /// The beat with RLAST.
    last: usize,
    data: [u32; MAX_BEATS * BEAT / 4],
    /// First beat that fails, and its response.
    error: Option<(usize, u64)>,
    /// Whether it is answered at all.
    answered: bool,
}

impl ReadPort {
    pub fn new(model: &Model, port: usize, prefix: &str) -> Self {
        let id = |signal: &str| model.port(&format!("{prefix}{signal}"));
        let signals = Signals {
            arvalid: id("arvalid"),
            arready: id("arready"),
            araddr: id("araddr"),
            arlen: id("arlen"),
            arid: id("arid"),
            arsize: id("arsize"),
            arburst: id("arburst"),
            rvalid: id("rvalid"),
            rready: id("rready"),
            rdata: id("rdata"),
            rresp: id("rresp"),
            rlast: id("rlast"),
        };
        Self {
            port,
            name: prefix.to_owned(),
            signals,
            bursts: VecDeque::with_capacity(MAX_BURSTS),
            ready: false,
            driven: false,
            valid: false,
            held: None,
            count: 0,
            faults: Faults::default(),
            fault_address: None,
            dead: false,
            beats: 0,
            max_outstanding: 0,
        }
    }

    /// Beats delivered so far.
    pub fn beats(&self) -> u64 {
        self.beats
    }

    /// Most bursts that were outstanding at a time.
    pub fn max_outstanding(&self) -> usize {
        self.max_outstanding
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
        self.bursts.retain(|burst| burst.answered);
    }

    /// Whether bursts are asked for that will be answered.
    pub fn is_busy(&self) -> bool {
        self.bursts.iter().any(|burst| burst.answered)
    }

    #[inline]
    pub fn drive(&mut self, model: &mut Model, timing: &Timing) {
        let ready = self.bursts.len() < MAX_BURSTS && timing.accepts(self.port, Direction::Read);
        if ready != self.ready {
            model.set_at(self.signals.arready, u64::from(ready));
            self.ready = ready;
        }
        // A beat that was shown stays until it is taken: `sample` clears `valid` then.
        if self.valid {
            return;
        }
        match self.bursts.front() {
            Some(burst) if burst.answered && timing.readable(self.port) => {
                let Signals { rvalid, rdata, rresp, rlast, .. } = self.signals;
                let first = burst.next * BEAT / 4;
                model.set_words_at(rdata, &burst.data[first..first + BEAT / 4]);
                let error = burst.error.filter(|&(from, _)| from <= burst.next);
                model.set_at(rresp, error.map_or(OKAY, |(_, response)| response));
                model.set_at(rlast, u64::from(burst.next == burst.last));
                model.set_at(rvalid, 1);
                self.driven = true;
                self.valid = true;
            }
            _ if self.driven => {
                model.set_at(self.signals.rvalid, 0);
                self.driven = false;
            }
            _ => {}
        }
    }

    /// Takes the handshakes of this clock.
    #[inline]
    pub fn sample(&mut self, model: &Model, timing: &mut Timing, memory: &dyn Memory) -> Result<(), String> {
        if model.get_at(self.signals.arvalid) == 1 {
            self.address(model, timing, memory)?;
        } else if self.held.is_some() {
            return Err(format!("{}arvalid fell before arready", self.name));
        }
        if self.valid && model.get_at(self.signals.rready) == 1 {
            self.valid = false;
            self.beats += 1;
            timing.take(self.port);
            let burst = self.bursts.front_mut().expect("a beat is shown of the first burst");
            burst.next += 1;
            if burst.next == burst.beats {
                self.bursts.pop_front();
            }
        }
        Ok(())
    }

    fn address(&mut self, model: &Model, timing: &mut Timing, memory: &dyn Memory) -> Result<(), String> {
        let Signals { araddr, arlen, arid, arsize, arburst, .. } = self.signals;
        let address = Address {
            address: model.get_at(araddr),
            len: model.get_at(arlen),
            kind: [arid, arsize, arburst].map(|id| model.get_at(id)),
        };
        if self.held.is_some_and(|held| held != address) {
            return Err(format!(
                "{}ar* changed before arready: {:?}, then {address:?}",
                self.name, self.held
            ));
        }
        if !self.ready {
            self.held = Some(address);
            return Ok(());
        }
        self.held = None;
        if let Some(rule) = address.broken_rule() {
            return Err(format!("{}: {rule}", self.name));
        }
        let fault = self.faults.take(self.count);
        self.count += 1;
        self.fault_address = fault.map(|_| address.address).or(self.fault_address);
        self.dead |= fault == Some(FaultKind::NoAnswer);
        let mut burst = fetch(&address, memory);
        burst.answered = !self.dead;
        match fault {
            Some(FaultKind::SlaveError { beat }) => burst.error = Some((beat as usize, 2)),
            Some(FaultKind::DecodeError { beat }) => burst.error = Some((beat as usize, 3)),
            Some(FaultKind::EarlyLast { beat }) if (beat as usize) < burst.beats => {
                burst.beats = beat as usize + 1;
                burst.last = beat as usize;
            }
            Some(FaultKind::MissingLast) => burst.last = usize::MAX,
            _ => {}
        }
        if burst.answered {
            timing.push(self.port, Direction::Read, address.address, burst.beats as u32);
        }
        self.bursts.push_back(burst);
        self.max_outstanding = self.max_outstanding.max(self.bursts.len());
        Ok(())
    }
}

/// The data of a burst, and where it fails.
fn fetch(address: &Address, memory: &dyn Memory) -> Burst {
    let beats = address.len as usize + 1;
    let mut bytes = [0; MAX_BEATS * BEAT];
    let mut error = None;
    if memory.read(address.address, &mut bytes[..beats * BEAT]).is_err() {
        // Some beats may be there.
        for beat in 0..beats {
            let range = beat * BEAT..(beat + 1) * BEAT;
            if let Err(why) = memory.read(address.address + range.start as u64, &mut bytes[range]) {
                error = error.or(Some((beat, response(why))));
            }
        }
    }
    let mut data = [0; MAX_BEATS * BEAT / 4];
    for (word, bytes) in data.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    Burst { next: 0, beats, last: beats - 1, data, error, answered: true }
}
