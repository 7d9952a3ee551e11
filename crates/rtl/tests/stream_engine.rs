//! `stream_engine`: a queue of commands becomes one stream of beats that runs ahead as far as the FIFO is deep.

mod common;
#[path = "common/read_slave.rs"]
mod read_slave;

use std::collections::VecDeque;

use edgewen_rtl::Model;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use read_slave::{Fault, ReadSlave, beat_at};

struct Bench {
    model: Model,
    slave: ReadSlave,
    commands: VecDeque<(u64, u64)>,
    expected: VecDeque<u64>,
    taken: u64,
    take_rate: u32,
    random: Pcg64Mcg,
}

impl Bench {
    fn new(depth: &str) -> Option<Self> {
        let mut model = common::model("stream_engine", &[("FifoDepth", depth)])?;
        model.reset(2);
        let slave = ReadSlave::new(&model);
        let (commands, expected) = (VecDeque::new(), VecDeque::new());
        let random = Pcg64Mcg::seed_from_u64(2);
        Some(Self { model, slave, commands, expected, taken: 0, take_rate: 256, random })
    }

    fn command(&mut self, address: u64, beats: u64) {
        self.commands.push_back((address, beats));
        self.expected.extend((0..beats).map(|i| address + 16 * i));
    }

    fn run(&mut self, cycles: u32) {
        for _ in 0..cycles {
            let command = self.commands.front().copied();
            self.model.set("cmd_valid_i", u64::from(command.is_some()));
            if let Some((address, beats)) = command {
                self.model.set("cmd_address_i", address);
                self.model.set("cmd_beats_i", beats);
            }
            let take = self.random.next_u32() % 256 < self.take_rate;
            self.model.set("ready_i", u64::from(take));
            self.slave.before(&mut self.model);
            self.model.eval();
            if command.is_some() && self.model.get("cmd_ready_o") == 1 {
                self.commands.pop_front();
            }
            if take && self.model.get("valid_o") == 1 {
                let mut beat = [0; 4];
                self.model.get_words("data_o", &mut beat);
                let address = self.expected.pop_front().expect("a beat that nobody asked for");
                assert_eq!(beat, beat_at(address), "beat at {address:#x}");
                self.taken += 1;
            }
            self.model.clock();
            self.slave.after();
        }
    }

    fn finish(&mut self, limit: u32) {
        for _ in 0..limit / 50 {
            if self.expected.is_empty() {
                break;
            }
            self.run(50);
        }
        assert!(self.expected.is_empty(), "{} beats are missing", self.expected.len());
        self.run(2);
        assert_eq!(self.model.get("idle_o"), 1);
        assert_eq!(self.model.get("level_o"), 0);
    }
}

#[test]
fn streams_commands_one_after_the_other() {
    for (take_rate, data_rate) in [(256, 256), (256, 100), (80, 256), (128, 128)] {
        let Some(mut bench) = Bench::new("200") else { return };
        (bench.take_rate, bench.slave.data_rate) = (take_rate, data_rate);
        for i in 0..40 {
            let beats = [484, 4, 1, 36, 0, 2000][i as usize % 6];
            bench.command(0x1000_0000 + 64 * (i * 7919 % 10_007), beats);
        }
        bench.finish(200_000);
    }
}

#[test]
fn runs_ahead_until_the_fifo_is_full_and_no_further() {
    let Some(mut bench) = Bench::new("1000") else { return };
    bench.command(0x1000_0040, 5000);
    bench.take_rate = 0;
    bench.run(1500);
    let level = bench.model.get("level_o");
    assert!((985..=1000).contains(&level), "{level}");
    assert_eq!(bench.model.get("outstanding_o"), 0);
    bench.take_rate = 256;
    bench.run(1000);
    assert_eq!(bench.taken, 1000, "a beat every cycle, from the first");
    bench.finish(10_000);
    assert_eq!(bench.taken, 5000);
}

#[test]
fn gives_a_beat_a_cycle_while_the_bus_does() {
    let Some(mut bench) = Bench::new("4096") else { return };
    bench.slave.latency = 200;
    (0..4).for_each(|i| bench.command(0x1000_0000 * (i + 1), 5000));
    bench.run(300);
    let before = bench.taken;
    bench.run(15_000);
    // Between two commands the master pauses for a few cycles, which 16 bursts under way cover.
    assert_eq!(bench.taken - before, 15_000);
}

#[test]
fn starts_again_after_a_flush_and_after_an_error() {
    let Some(mut bench) = Bench::new("128") else { return };
    for round in 0..60 {
        bench.slave.forget();
        bench.slave.fault = (round % 2 == 1).then_some((round as usize / 4, Fault::Slave));
        bench.take_rate = [256, 60][round as usize % 2];
        (0..5).for_each(|i| bench.command(0x2000_0000 + 0x1_0000 * i, 200 + i));
        bench.run(10 * round);
        bench.commands.clear();
        bench.model.set("flush_i", 1);
        bench.take_rate = 0;
        bench.run(2);
        for _ in 0..100 {
            if bench.model.get("idle_o") == 0 {
                bench.run(20);
            }
        }
        bench.model.set("flush_i", 0);
        bench.expected.clear();
        bench.slave.forget();
        bench.take_rate = 256;
        bench.command(0x40 * round as u64, 77);
        bench.finish(3000);
    }
}
