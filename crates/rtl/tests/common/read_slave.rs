//! An AXI4 read slave for the benches of the masters: what lies at an address follows from the address, it checks the
//! rules of the protocol, answers after a latency with random gaps, and breaks the rules when told.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::collections::VecDeque;

use edgewen_rtl::{Model, PortId};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// What is wrong with one burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// RRESP = SLVERR on its last beat.
    Slave,
    /// RRESP = DECERR on its first beat.
    Decode,
    /// RLAST one beat early; that beat is the last.
    Short,
    /// RLAST one beat early, and all beats are sent.
    EarlyLast,
    /// RLAST one beat late.
    Long,
    /// RLAST is missing.
    NoLast,
    /// No answer, to it and all after it.
    Silence,
    /// ARREADY stays low.
    Refuse,
}

/// A burst as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Burst {
    /// First byte.
    pub address: u64,
    /// Beats.
    pub beats: u64,
    due: u64,
}

/// The slave. Call [`ReadSlave::before`], clock the model, then [`ReadSlave::after`].
pub struct ReadSlave {
    /// Cycles from an address to its first beat.
    pub latency: u64,
    /// How often an address is taken, in 256ths.
    pub address_rate: u32,
    /// How often a beat is given, in 256ths.
    pub data_rate: u32,
    /// The burst, counted from 0 since the last reset of the counter, that goes wrong.
    pub fault: Option<(usize, Fault)>,
    /// All bursts that were asked for.
    pub bursts: Vec<Burst>,
    /// Most bursts under way at once.
    pub most: usize,
    queue: VecDeque<(usize, Burst)>,
    sent: u64,
    held: Option<(u64, u64)>,
    now: u64,
    random: Pcg64Mcg,
    ports: Ports,
}

struct Ports {
    arvalid: PortId,
    arready: PortId,
    araddr: PortId,
    arlen: PortId,
    rvalid: PortId,
    rready: PortId,
    rdata: PortId,
    rresp: PortId,
    rlast: PortId,
}

/// The beat at an address.
pub fn beat_at(address: u64) -> [u32; 4] {
    std::array::from_fn(|i| {
        let x = (address + i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (x ^ x >> 29) as u32
    })
}

impl ReadSlave {
    /// A slave at the ports `m_ar*_o` and `m_r*_i` of the model.
    pub fn new(model: &Model) -> Self {
        let port = |name: &str| model.port(name);
        Self {
            latency: 20,
            address_rate: 256,
            data_rate: 256,
            fault: None,
            bursts: Vec::new(),
            most: 0,
            queue: VecDeque::new(),
            sent: 0,
            held: None,
            now: 0,
            random: Pcg64Mcg::seed_from_u64(3),
            ports: Ports {
                arvalid: port("m_arvalid_o"),
                arready: port("m_arready_i"),
                araddr: port("m_araddr_o"),
                arlen: port("m_arlen_o"),
                rvalid: port("m_rvalid_i"),
                rready: port("m_rready_o"),
                rdata: port("m_rdata_i"),
                rresp: port("m_rresp_i"),
                rlast: port("m_rlast_i"),
            },
        }
    }

    /// Forgets what was asked for, as a memory that was reset, and the fault.
    pub fn forget(&mut self) {
        self.queue.clear();
        self.bursts.clear();
        self.sent = 0;
        self.fault = None;
        self.held = None;
    }

    fn fault_of(&self, index: usize) -> Option<Fault> {
        self.fault.filter(|&(at, _)| at == index).map(|(_, fault)| fault)
    }

    fn chance(&mut self, rate: u32) -> bool {
        rate >= 256 || self.random.next_u32() % 256 < rate
    }

    /// Takes an address and gives a beat, perhaps, in the cycle that comes.
    pub fn before(&mut self, model: &mut Model) {
        let refused = self.fault_of(self.bursts.len()) == Some(Fault::Refuse);
        let ready = !refused && self.chance(self.address_rate);
        model.set_at(self.ports.arready, u64::from(ready));
        if model.get_at(self.ports.arvalid) == 1 {
            let (address, len) = (model.get_at(self.ports.araddr), model.get_at(self.ports.arlen));
            assert!(self.held.is_none_or(|held| held == (address, len)), "a held address changed");
            self.held = (!ready).then_some((address, len));
            if ready {
                assert_eq!(address % 16, 0);
                assert!(len < 16, "a burst of {} beats", len + 1);
                assert_eq!(address / 4096, (address + 16 * (len + 1) - 1) / 4096, "4 KiB at {address:#x}");
                let burst = Burst { address, beats: len + 1, due: self.now + self.latency };
                self.queue.push_back((self.bursts.len(), burst));
                self.bursts.push(burst);
                self.most = self.most.max(self.queue.len());
            }
        } else {
            assert_eq!(self.held, None, "a held address was taken back");
        }
        let front = self.queue.front().copied();
        let rate = self.data_rate;
        match front {
            Some((index, burst)) if burst.due < self.now && self.chance(rate) => {
                self.answer(model, index, burst)
            }
            _ => model.set_at(self.ports.rvalid, 0),
        }
    }

    fn answer(&mut self, model: &mut Model, index: usize, burst: Burst) {
        let fault = self.fault_of(index);
        if fault == Some(Fault::Silence) {
            model.set_at(self.ports.rvalid, 0);
            return;
        }
        let (beats, last_at) = match fault {
            Some(Fault::Short) => (burst.beats - 1, burst.beats - 2),
            Some(Fault::EarlyLast) => (burst.beats, burst.beats - 2),
            Some(Fault::Long) => (burst.beats + 1, burst.beats),
            Some(Fault::NoLast) => (burst.beats, u64::MAX),
            _ => (burst.beats, burst.beats - 1),
        };
        let response = match fault {
            Some(Fault::Slave) if self.sent == last_at => 2,
            Some(Fault::Decode) if self.sent == 0 => 3,
            _ => 0,
        };
        model.set_at(self.ports.rvalid, 1);
        model.set_words_at(self.ports.rdata, &beat_at(burst.address + 16 * self.sent));
        model.set_at(self.ports.rresp, response);
        model.set_at(self.ports.rlast, u64::from(self.sent == last_at));
        assert_eq!(model.get_at(self.ports.rready), 1, "the master has room for what it asks for");
        self.sent += 1;
        if self.sent == beats {
            self.sent = 0;
            self.queue.pop_front();
        }
    }

    /// Counts the cycle.
    pub fn after(&mut self) {
        self.now += 1;
    }

    /// Nothing is under way.
    pub fn quiet(&self) -> bool {
        self.queue.is_empty()
    }
}
