//! `axi_read_master` against a slave that checks the protocol, is slow, and breaks it.

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
    /// Addresses of the beats that must come.
    expected: VecDeque<u64>,
    received: u64,
    /// Beats in the buffer behind the master, which the bench gives back at `release_rate`.
    buffered: u64,
    release_rate: u32,
    random: Pcg64Mcg,
}

impl Bench {
    fn new(parameters: &[(&str, &str)]) -> Option<Self> {
        let mut model = common::model("axi_read_master", parameters)?;
        model.set("timeout_i", 300);
        model.reset(2);
        let slave = ReadSlave::new(&model);
        Some(Self {
            model,
            slave,
            commands: VecDeque::new(),
            expected: VecDeque::new(),
            received: 0,
            buffered: 0,
            release_rate: 256,
            random: Pcg64Mcg::seed_from_u64(11),
        })
    }

    fn command(&mut self, address: u64, beats: u64) {
        self.commands.push_back((address, beats));
        self.expected.extend((0..beats).map(|i| address + 16 * i));
    }

    fn clock(&mut self) {
        let command = self.commands.front().copied();
        self.model.set("cmd_valid_i", u64::from(command.is_some()));
        if let Some((address, beats)) = command {
            self.model.set("cmd_address_i", address);
            self.model.set("cmd_beats_i", beats);
        }
        let release = self.buffered > 0 && self.random.next_u32() % 256 < self.release_rate;
        self.buffered -= u64::from(release);
        self.model.set("release_i", u64::from(release));
        self.slave.before(&mut self.model);
        self.model.eval();
        if command.is_some() && self.model.get("cmd_ready_o") == 1 {
            self.commands.pop_front();
        }
        self.model.clock();
        self.slave.after();
        if self.model.get("valid_o") == 1 {
            let mut beat = [0; 4];
            self.model.get_words("data_o", &mut beat);
            let address = self.expected.pop_front().expect("a beat that nobody asked for");
            assert_eq!(beat, beat_at(address), "beat at {address:#x}");
            self.received += 1;
            self.buffered += 1;
        }
    }

    fn run(&mut self, cycles: u32) {
        (0..cycles).for_each(|_| self.clock());
    }

    fn until_idle(&mut self, limit: u32) -> u32 {
        for cycle in 0..limit {
            if self.commands.is_empty() && self.model.get("idle_o") == 1 {
                return cycle;
            }
            self.clock();
        }
        let (code, address) = (self.model.get("error_code_o"), self.model.get("error_address_o"));
        panic!("not idle after {limit} cycles, {:?}, error {code} at {address:#x}", self.slave.fault);
    }

    /// Soft reset: flush until idle, then nothing is left.
    fn flush(&mut self) {
        self.commands.clear();
        self.expected.clear();
        self.buffered = 0;
        self.model.set("flush_i", 1);
        self.clock();
        self.until_idle(2000);
        self.model.set("flush_i", 0);
        self.model.eval();
        assert_eq!(self.model.get("error_valid_o"), 0);
        assert_eq!(self.model.get("outstanding_o"), 0);
    }
}

#[test]
fn reads_every_range_once_and_in_order() {
    for (address_rate, data_rate, latency) in [(256, 256, 0), (256, 256, 40), (60, 128, 5), (256, 30, 90)] {
        let Some(mut bench) = Bench::new(&[("MaxOutstanding", "8")]) else { return };
        (bench.slave.address_rate, bench.slave.data_rate, bench.slave.latency) =
            (address_rate, data_rate, latency);
        for i in 0..60 {
            let address = 16 * u64::from(bench.random.next_u32() % 4096) + (i << 33);
            let beats = u64::from(bench.random.next_u32()) % [1, 2, 20, 300][i as usize % 4];
            bench.command(address, beats);
        }
        bench.until_idle(200_000);
        assert!(bench.expected.is_empty());
        assert!(bench.slave.most <= 8);
        assert_eq!(bench.model.get("error_valid_o"), 0);
    }
}

#[test]
fn keeps_the_bus_busy_with_sixteen_bursts_under_way() {
    let Some(mut bench) = Bench::new(&[("MaxOutstanding", "16")]) else { return };
    bench.slave.latency = 220;
    bench.command(0x8_0000_0040, 4096 + 100);
    let cycles = bench.until_idle(10_000);
    assert_eq!(bench.slave.most, 16);
    // 64-byte aligned: the first burst is short, all others are full and aligned.
    assert!(bench.slave.bursts[1..].iter().all(|burst| burst.address % 256 == 0));
    assert!(cycles < 4196 + 240, "{cycles} cycles");
}

#[test]
fn asks_only_for_what_the_buffer_can_take() {
    let Some(mut bench) = Bench::new(&[("BufferBeats", "50")]) else { return };
    bench.command(0x1000_0000, 2000);
    bench.release_rate = 0;
    bench.run(500);
    let asked: u64 = bench.slave.bursts.iter().map(|burst| burst.beats).sum();
    assert_eq!(asked, 48, "three full bursts, and not two beats more");
    for rate in [16, 256] {
        bench.release_rate = rate;
        for _ in 0..1000 {
            bench.clock();
            let asked: u64 = bench.slave.bursts.iter().map(|burst| burst.beats).sum();
            assert!(
                asked - bench.received + bench.buffered <= 50 + 1,
                "the release of this cycle is not seen yet"
            );
        }
    }
    bench.until_idle(20_000);
    assert_eq!(bench.received, 2000);
}

#[test]
fn stops_when_halted_and_goes_on() {
    let Some(mut bench) = Bench::new(&[]) else { return };
    bench.command(0x1000_0000, 3000);
    bench.run(300);
    bench.model.set("halt_i", 1);
    bench.run(400);
    let bursts = bench.slave.bursts.len();
    assert_eq!(bench.model.get("outstanding_o"), 0);
    bench.run(200);
    assert_eq!(bench.slave.bursts.len(), bursts);
    bench.model.set("halt_i", 0);
    bench.until_idle(20_000);
    assert_eq!(bench.received, 3000);
}

#[test]
fn reports_the_first_error_with_the_address_of_its_burst_and_recovers() {
    let Some(mut bench) = Bench::new(&[("BufferBeats", "4096")]) else { return };
    let faults = [
        (Fault::Slave, 1),
        (Fault::Decode, 2),
        (Fault::Silence, 3),
        (Fault::Short, 4),
        (Fault::EarlyLast, 4),
        (Fault::Long, 4),
        (Fault::NoLast, 4),
    ];
    for (latency, data_rate) in [(3, 256), (60, 100)] {
        for at in [0, 5, 17] {
            for (fault, code) in faults {
                bench.slave.forget();
                (bench.slave.latency, bench.slave.data_rate) = (latency, data_rate);
                bench.slave.fault = Some((at, fault));
                bench.received = 0;
                bench.command(0x2000_0000, 1000);
                for _ in 0..4000 {
                    if bench.model.get("error_valid_o") == 1 {
                        break;
                    }
                    bench.clock();
                }
                let context = format!("{fault:?} of burst {at}");
                assert_eq!(bench.model.get("error_code_o"), code, "{context}");
                assert_eq!(bench.model.get("error_address_o"), 0x2000_0000 + 256 * at as u64, "{context}");
                assert!(bench.received <= 16 * (at as u64 + 1), "{context}");
                let (received, bursts) = (bench.received, bench.slave.bursts.len());
                bench.run(50);
                assert_eq!(bench.received, received, "nothing comes out after an error: {context}");
                assert!(bench.slave.bursts.len() <= bursts + 1, "only an address that was shown: {context}");
                bench.flush();
                assert!(fault == Fault::Silence || bench.slave.quiet(), "{context}");
                bench.slave.forget();
                bench.command(0x3000_0010, 100);
                bench.until_idle(5000);
                assert!(bench.expected.is_empty(), "{context}");
            }
        }
    }
}

#[test]
fn times_out_when_an_address_is_not_taken() {
    let Some(mut bench) = Bench::new(&[]) else { return };
    bench.slave.fault = Some((2, Fault::Refuse));
    bench.command(0x2000_0000, 100);
    bench.run(1000);
    assert_eq!(bench.model.get("error_code_o"), 3);
    assert_eq!(bench.model.get("error_address_o"), 0x2000_0200);
    // It cannot take the address back, but it recovers as soon as the slave does.
    bench.model.set("flush_i", 1);
    bench.run(1000);
    assert_eq!(bench.model.get("idle_o"), 0);
    bench.slave.fault = None;
    bench.flush();
    assert_eq!(bench.slave.bursts.len(), 3);
    bench.model.set("timeout_i", 0);
    bench.slave.fault = Some((3, Fault::Silence));
    bench.command(0, 10);
    bench.run(2000);
    assert_eq!(bench.model.get("error_valid_o"), 0, "0 means never");
}

#[test]
fn takes_in_what_is_under_way_when_flushed_at_any_time() {
    let Some(mut bench) = Bench::new(&[("BufferBeats", "512")]) else { return };
    for cycle in 0..150 {
        (bench.slave.latency, bench.slave.data_rate) = (cycle % 70, 128);
        bench.slave.address_rate = 100;
        bench.command(0x1_2345_6780, 700);
        bench.run(cycle as u32);
        bench.flush();
        assert!(bench.slave.quiet());
        bench.command(16 * cycle, 33);
        bench.until_idle(5000);
        assert!(bench.expected.is_empty());
    }
}

#[test]
fn an_answer_nobody_asked_for_is_an_error() {
    let Some(mut bench) = Bench::new(&[]) else { return };
    bench.run(10);
    bench.model.set("m_rvalid_i", 1);
    bench.model.clock();
    bench.model.set("m_rvalid_i", 0);
    bench.model.clock();
    assert_eq!(bench.model.get("error_code_o"), 4);
    bench.flush();
    bench.command(0x100, 20);
    bench.until_idle(1000);
}
