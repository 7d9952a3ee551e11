//! An AXI4 write slave for the benches of the write side: it keeps what was written, checks the rules of the protocol,
//! answers after a while, and with an error when told.

use std::collections::{BTreeMap, VecDeque};

use edgewen_rtl::{Model, PortId};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// The slave. Call [`WriteSlave::before`], clock the model, then go on.
pub struct WriteSlave {
    /// Cycles from WLAST to B.
    pub latency: u64,
    /// How often an address or a beat is taken, in 256ths.
    pub rate: u32,
    /// The burst that is answered with this BRESP; 4 stands for no answer at all, to it and all after it.
    pub fault: Option<(usize, u64)>,
    /// Beats by address.
    pub memory: BTreeMap<u64, [u32; 4]>,
    /// Bursts: address and beats.
    pub bursts: Vec<(u64, u64)>,
    /// Most bursts without an answer at once.
    pub most: usize,
    open: VecDeque<(u64, u64)>,
    beats: VecDeque<([u32; 4], bool)>,
    answers: VecDeque<u64>,
    finished: usize,
    answered: usize,
    held_address: Option<(u64, u64)>,
    held_beat: Option<([u32; 4], u64)>,
    now: u64,
    random: Pcg64Mcg,
    ports: [PortId; 11],
}

const NAMES: [&str; 11] = [
    "m_awvalid_o",
    "m_awready_i",
    "m_awaddr_o",
    "m_awlen_o",
    "m_wvalid_o",
    "m_wready_i",
    "m_wdata_o",
    "m_wlast_o",
    "m_bvalid_i",
    "m_bready_o",
    "m_bresp_i",
];

impl WriteSlave {
    /// A slave at the ports `m_aw*`, `m_w*` and `m_b*` of the model.
    pub fn new(model: &Model) -> Self {
        Self {
            latency: 12,
            rate: 256,
            fault: None,
            memory: BTreeMap::new(),
            bursts: Vec::new(),
            most: 0,
            open: VecDeque::new(),
            beats: VecDeque::new(),
            answers: VecDeque::new(),
            finished: 0,
            answered: 0,
            held_address: None,
            held_beat: None,
            now: 0,
            random: Pcg64Mcg::seed_from_u64(31),
            ports: NAMES.map(|name| model.port(name)),
        }
    }

    fn chance(&mut self) -> bool {
        self.rate >= 256 || self.random.next_u32() % 256 < self.rate
    }

    /// Forgets what is open, as a memory that was reset.
    pub fn forget(&mut self) {
        self.fault = None;
        self.answers.clear();
        self.answered = self.finished;
        (self.held_address, self.held_beat) = (None, None);
    }

    /// Nothing waits for an answer.
    pub fn quiet(&self) -> bool {
        self.answered == self.bursts.len() && self.beats.is_empty()
    }

    /// Takes an address, takes a beat and answers, perhaps, in the cycle that comes.
    pub fn before(&mut self, model: &mut Model) {
        let [awvalid, awready, awaddr, awlen, wvalid, wready, wdata, wlast, bvalid, bready, bresp] =
            self.ports;
        self.now += 1;
        let ready = self.chance();
        model.set_at(awready, u64::from(ready));
        if model.get_at(awvalid) == 1 {
            let address = (model.get_at(awaddr), model.get_at(awlen) + 1);
            assert!(self.held_address.is_none_or(|held| held == address), "a held address changed");
            self.held_address = (!ready).then_some(address);
            if ready {
                let (address, beats) = address;
                assert!(address % 16 == 0 && beats <= 16);
                assert_eq!(address / 4096, (address + 16 * beats - 1) / 4096, "4 KiB at {address:#x}");
                self.open.push_back((address, beats));
                self.bursts.push((address, beats));
                self.most = self.most.max(self.bursts.len() - self.answered);
            }
        } else {
            assert_eq!(self.held_address, None, "a held address was taken back");
        }
        let ready = self.chance();
        model.set_at(wready, u64::from(ready));
        if model.get_at(wvalid) == 1 {
            let mut data = [0; 4];
            model.get_words_at(wdata, &mut data);
            let beat = (data, model.get_at(wlast));
            assert!(self.held_beat.is_none_or(|held| held == beat), "a held beat changed");
            self.held_beat = (!ready).then_some(beat);
            if ready {
                self.beats.push_back((data, beat.1 == 1));
            }
        } else {
            assert_eq!(self.held_beat, None, "a held beat was taken back");
        }
        self.settle();
        let due = self.answers.front().is_some_and(|&due| due <= self.now);
        let fault = self.fault.filter(|&(at, _)| at <= self.answered);
        let silent = matches!(fault, Some((_, 4)));
        let response = fault.filter(|&(at, _)| at == self.answered).map_or(0, |(_, code)| code);
        model.set_at(bvalid, u64::from(due && !silent));
        if due && !silent {
            model.set_at(bresp, response);
            assert_eq!(model.get_at(bready), 1);
            self.answers.pop_front();
            self.answered += 1;
        }
    }

    /// Stores the beats of bursts whose address is known.
    fn settle(&mut self) {
        while let Some(&(address, beats)) = self.open.front() {
            let Some((data, last)) = self.beats.pop_front() else { return };
            self.memory.insert(address, data);
            assert_eq!(last, beats == 1, "WLAST at {address:#x}");
            self.open[0] = (address + 16, beats - 1);
            if beats == 1 {
                self.open.pop_front();
                self.finished += 1;
                self.answers.push_back(self.now + self.latency);
            }
        }
    }
}
