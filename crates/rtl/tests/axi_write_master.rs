//! `axi_write_master` against a slave that checks the protocol, is slow, and answers with errors.

mod common;
#[path = "common/write_slave.rs"]
mod write_slave;

use std::collections::{BTreeMap, VecDeque};

use edgewen_rtl::Model;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use write_slave::WriteSlave;

struct Bench {
    model: Model,
    slave: WriteSlave,
    commands: VecDeque<(u64, u64)>,
    /// Beats of the commands that were taken.
    data: VecDeque<[u32; 4]>,
    expected: BTreeMap<u64, [u32; 4]>,
    /// How often a beat is pushed, in 256ths.
    push_rate: u32,
    random: Pcg64Mcg,
}

impl Bench {
    fn new() -> Option<Self> {
        let mut model = common::model("axi_write_master", &[])?;
        model.set("timeout_i", 300);
        model.reset(2);
        let slave = WriteSlave::new(&model);
        Some(Self {
            model,
            slave,
            commands: VecDeque::new(),
            data: VecDeque::new(),
            expected: BTreeMap::new(),
            push_rate: 256,
            random: Pcg64Mcg::seed_from_u64(41),
        })
    }

    /// Random bursts, none across 4 KiB.
    fn commands(&mut self, count: usize) {
        for _ in 0..count {
            let beats = 1 + u64::from(self.random.next_u32() % 16);
            let page = u64::from(self.random.next_u32()) << 12 & 0xff_ffff_ffff;
            let line = u64::from(self.random.next_u32()) % (256 - beats + 1);
            self.commands.push_back((page + 16 * line, beats));
        }
    }

    fn clock(&mut self) {
        let command = self.commands.front().copied();
        self.model.set("cmd_valid_i", u64::from(command.is_some()));
        if let Some((address, beats)) = command {
            self.model.set("cmd_address_i", address);
            self.model.set("cmd_beats_i", beats);
        }
        let push = self.random.next_u32() % 256 < self.push_rate;
        let beat = if push { self.data.pop_front() } else { None };
        self.model.set("data_valid_i", u64::from(beat.is_some()));
        self.model.set_words("data_i", &beat.unwrap_or_default());
        self.slave.before(&mut self.model);
        self.model.eval();
        if let Some((address, beats)) = command.filter(|_| self.model.get("cmd_ready_o") == 1) {
            self.commands.pop_front();
            for beat in 0..beats {
                let data: [u32; 4] = std::array::from_fn(|_| self.random.next_u32());
                self.data.push_back(data);
                self.expected.insert(address + 16 * beat, data);
            }
        }
        self.model.clock();
    }

    fn until_idle(&mut self, limit: u32) -> u32 {
        for cycle in 0..limit {
            if self.commands.is_empty() && self.data.is_empty() && self.model.get("idle_o") == 1 {
                return cycle;
            }
            self.clock();
        }
        panic!("not idle after {limit} cycles");
    }

    fn error(&self) -> (u64, u64, u64) {
        let get = |name| self.model.get(name);
        (get("error_valid_o"), get("error_code_o"), get("error_address_o"))
    }

    /// Soft reset: flush until nothing is on the bus, then reset.
    fn soft_reset(&mut self) {
        self.model.set("flush_i", 1);
        self.commands.clear();
        self.data.clear();
        self.clock();
        for _ in 0..2000 {
            if self.model.get("idle_o") == 1 {
                break;
            }
            self.clock();
        }
        assert!(self.slave.quiet(), "what was begun was not finished");
        self.model.reset(1);
        self.model.set("flush_i", 0);
        self.model.eval();
        assert_eq!(self.error().0, 0);
    }

    /// Fresh bursts arrive in memory.
    fn works(&mut self) {
        self.expected.clear();
        self.slave.memory.clear();
        self.commands(20);
        self.until_idle(10_000);
        assert_eq!(self.slave.memory, self.expected);
        assert_eq!(self.error().0, 0);
    }
}

#[test]
fn writes_every_beat_where_it_belongs() {
    for (rate, push_rate, latency) in
        [(256, 256, 3), (256, 256, 200), (120, 256, 10), (256, 60, 10), (30, 30, 90)]
    {
        let Some(mut bench) = Bench::new() else { return };
        (bench.slave.rate, bench.push_rate, bench.slave.latency) = (rate, push_rate, latency);
        bench.commands(300);
        bench.until_idle(300_000);
        assert_eq!(bench.slave.memory, bench.expected, "{rate} {push_rate} {latency}");
        assert!(bench.slave.most <= 8);
        assert!(latency < 200 || bench.slave.most > 6, "bursts overlap");
        assert_eq!(bench.error().0, 0);
    }
}

#[test]
fn keeps_up_with_nearly_a_beat_a_cycle() {
    let Some(mut bench) = Bench::new() else { return };
    bench.commands.extend((0..100).map(|i| (256 * i, 16)));
    let cycles = bench.until_idle(5000);
    assert!(cycles < 1860, "{cycles} cycles for 1600 beats");
}

#[test]
fn reports_the_burst_that_failed() {
    for (code, name) in [(2, 1), (3, 2)] {
        let Some(mut bench) = Bench::new() else { return };
        bench.slave.fault = Some((5, code));
        bench.commands(30);
        let address = bench.commands[5].0;
        (0..400).for_each(|_| bench.clock());
        assert_eq!(bench.error(), (1, name, address));
        let bursts = bench.slave.bursts.len();
        assert!(bursts < 10, "no burst after an error");
        (0..400).for_each(|_| bench.clock());
        assert_eq!(bench.slave.bursts.len(), bursts);
        bench.soft_reset();
        bench.slave.fault = None;
        bench.works();
    }
}

#[test]
fn gives_up_on_a_silent_slave() {
    let Some(mut bench) = Bench::new() else { return };
    bench.slave.fault = Some((2, 4));
    bench.commands(8);
    let address = bench.commands[2].0;
    (0..900).for_each(|_| bench.clock());
    assert_eq!(bench.error(), (1, 3, address));
    // The reset control forces the reset.
    bench.commands.clear();
    bench.data.clear();
    bench.slave.forget();
    bench.model.reset(1);
}

#[test]
fn refuses_an_answer_that_nobody_waits_for() {
    let Some(mut bench) = Bench::new() else { return };
    bench.works();
    bench.model.set("m_bvalid_i", 1);
    bench.model.clock();
    bench.model.set("m_bvalid_i", 0);
    bench.model.clock();
    let (valid, code, _) = bench.error();
    assert_eq!((valid, code), (1, 4));
}

#[test]
fn begins_nothing_while_halted() {
    let Some(mut bench) = Bench::new() else { return };
    bench.model.set("halt_i", 1);
    bench.commands(3);
    (0..200).for_each(|_| bench.clock());
    assert!(bench.slave.bursts.is_empty());
    bench.model.set("halt_i", 0);
    bench.until_idle(1000);
    assert_eq!(bench.slave.memory, bench.expected);
}

#[test]
fn finishes_what_was_begun_when_it_is_reset_in_mid_stream() {
    for cycles in [9, 15, 21, 22, 33, 60, 101] {
        let Some(mut bench) = Bench::new() else { return };
        (bench.slave.rate, bench.slave.latency) = (100, 40);
        bench.commands(40);
        (0..cycles).for_each(|_| bench.clock());
        bench.soft_reset();
        bench.works();
    }
}
