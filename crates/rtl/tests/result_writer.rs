//! `result_writer` with `axi_write_master` behind it in Rust: every result lands at its address, in long bursts.

mod common;

use std::collections::{BTreeMap, VecDeque};

use edgewen_rtl::Model;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

const PORTS: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Case {
    tokens: u64,
    blocks: [u64; PORTS],
    results: u64,
    stride: u64,
    /// How often a result is offered and a command is taken, in 256ths.
    rates: (u32, u32),
}

struct Bench {
    model: Model,
    channels: u64,
    random: Pcg64Mcg,
}

/// What a port has still to send: value, channel, token, last.
type Stream = VecDeque<(u32, u64, u64, bool)>;

impl Bench {
    fn new(layout: &str) -> Option<Self> {
        let mut model = common::model("result_writer", &[("Layout", layout)])?;
        model.reset(2);
        let channels = if layout == "0" { 16 } else { 8 };
        Some(Self { model, channels, random: Pcg64Mcg::seed_from_u64(51) })
    }

    fn start(&mut self, case: &Case) -> ([Stream; PORTS], BTreeMap<u64, u32>) {
        let mut streams: [Stream; PORTS] = Default::default();
        let mut expected = BTreeMap::new();
        let mut first = 0;
        for (port, &blocks) in case.blocks.iter().enumerate() {
            self.model.set_bits("blocks_i", 16 * port as u32, 16, blocks);
            self.model.set_bits("first_block_i", 18 * port as u32, 18, first);
            for block in first..first + blocks {
                for token in 0..case.tokens {
                    for channel in 0..self.channels {
                        let value = self.random.next_u32();
                        let last = token + 1 == case.tokens && channel + 1 == self.channels;
                        streams[port].push_back((value, channel, token, last));
                        let row = block * self.channels + channel;
                        expected.insert(case.results + token * case.stride + 4 * row, value);
                    }
                }
            }
            first += blocks;
        }
        self.model.set("tokens_m1_i", case.tokens - 1);
        self.model.set("results_i", case.results);
        self.model.set("stride_i", case.stride);
        self.model.set("start_i", 1);
        self.model.clock();
        self.model.set("start_i", 0);
        (streams, expected)
    }

    fn offer(&mut self, streams: &[Stream; PORTS], rate: u32) -> u64 {
        let mut valid = 0;
        for (port, stream) in streams.iter().enumerate() {
            let Some(&(value, channel, token, last)) = stream.front() else { continue };
            if self.random.next_u32() % 256 >= rate {
                continue;
            }
            valid |= 1 << port;
            let port = port as u32;
            self.model.set_bits("res_data_i", 32 * port, 32, value.into());
            self.model.set_bits("res_channel_i", 4 * port, 4, channel);
            self.model.set_bits("res_token_i", 3 * port, 3, token);
            self.model.set_bits("res_last_i", port, 1, last.into());
        }
        self.model.set("res_valid_i", valid);
        valid
    }

    /// Runs the operation and gives the cycles and the bursts.
    fn run(&mut self, case: &Case) -> (u32, Vec<(u64, u64)>) {
        let (mut streams, expected) = self.start(case);
        let mut bursts: Vec<(u64, u64)> = Vec::new();
        let mut open: VecDeque<u64> = VecDeque::new();
        let mut memory = BTreeMap::new();
        for cycle in 0..200_000 {
            let valid = self.offer(&streams, case.rates.0);
            let takes = self.random.next_u32() % 256 < case.rates.1;
            self.model.set("cmd_ready_i", u64::from(takes));
            let sent = streams.iter().all(VecDeque::is_empty);
            self.model.set("master_idle_i", u64::from(open.is_empty()));
            self.model.eval();
            let taken = valid & self.model.get("res_ready_o");
            for (port, stream) in streams.iter_mut().enumerate() {
                if taken >> port & 1 == 1 {
                    stream.pop_front();
                }
            }
            if takes && self.model.get("cmd_valid_o") == 1 {
                let (address, beats) = (self.model.get("cmd_address_o"), self.model.get("cmd_beats_o"));
                assert!((1..=16).contains(&beats));
                assert_eq!(address >> 12, (address + 16 * beats - 1) >> 12, "4 KiB at {address:#x}");
                bursts.push((address, beats));
                open.extend((0..beats).map(|beat| address + 16 * beat));
            }
            if self.model.get("data_valid_o") == 1 {
                let mut beat = [0; 4];
                self.model.get_words("data_o", &mut beat);
                let address = open.pop_front().expect("a beat without a burst");
                for (lane, value) in beat.into_iter().enumerate() {
                    assert!(memory.insert(address + 4 * lane as u64, value).is_none(), "written twice");
                }
            }
            self.model.clock();
            if self.model.get("done_o") == 1 && cycle > 3 {
                assert!(sent && open.is_empty(), "done too early");
                assert_eq!(memory, expected, "{case:?}");
                return (cycle, bursts);
            }
        }
        panic!("not done: {case:?}");
    }
}

const FULL: (u32, u32) = (256, 256);

#[test]
fn every_result_lands_at_its_address() {
    let Some(mut bench) = Bench::new("0") else { return };
    let cases = [
        Case { tokens: 1, blocks: [4, 4, 4, 4], results: 0x1000, stride: 0, rates: FULL },
        Case { tokens: 8, blocks: [9, 9, 9, 10], results: 0x7_0000_0fc0, stride: 0xac0, rates: FULL },
        Case { tokens: 3, blocks: [0, 13, 1, 5], results: 0x40, stride: 0x4c0, rates: (128, 256) },
        Case { tokens: 8, blocks: [1, 0, 0, 0], results: 0x3fc0, stride: 0x40, rates: (256, 20) },
        Case {
            tokens: 2,
            blocks: [17, 16, 15, 14],
            results: 0xff_0000_0080,
            stride: 0x1_0000,
            rates: (60, 60),
        },
    ];
    for case in &cases {
        bench.run(case);
    }
}

#[test]
fn knows_blocks_of_eight_rows() {
    let Some(mut bench) = Bench::new("1") else { return };
    let case = Case { tokens: 5, blocks: [9, 8, 17, 3], results: 0x2000, stride: 0x500, rates: (200, 200) };
    bench.run(&case);
    bench.run(&Case { tokens: 1, blocks: [0, 0, 0, 1], rates: FULL, ..case });
}

#[test]
fn bursts_are_as_long_as_they_can_be() {
    let Some(mut bench) = Bench::new("0") else { return };
    let case = Case { tokens: 4, blocks: [8, 8, 8, 8], results: 0x1_0000, stride: 0x1000, rates: FULL };
    let (_, bursts) = bench.run(&case);
    assert!(bursts.iter().all(|&(_, beats)| beats == 16), "{bursts:?}");
    assert_eq!(bursts.len(), 4 * 32 * 4 / 16);
}

#[test]
fn keeps_up_with_a_small_matrix() {
    // 128 results a block and port come in no less than 128 cycles.
    let Some(mut bench) = Bench::new("0") else { return };
    let case = Case { tokens: 8, blocks: [16; 4], results: 0, stride: 0x1000, rates: FULL };
    let (cycles, _) = bench.run(&case);
    assert!(cycles < 16 * 128 * 3 / 2, "{cycles} cycles for 16 blocks a port");
}

#[test]
fn begins_anew_after_a_reset_in_mid_stream() {
    let Some(mut bench) = Bench::new("0") else { return };
    let case = Case { tokens: 8, blocks: [9, 9, 9, 10], results: 0x1000, stride: 0xac0, rates: FULL };
    for cycles in [10, 100, 333, 1000] {
        bench.start(&case);
        bench.model.set("cmd_ready_i", 1);
        bench.model.set("res_valid_i", 15);
        (0..cycles).for_each(|_| bench.model.clock());
        bench.model.set("res_valid_i", 0);
        bench.model.reset(1);
        bench.run(&case);
    }
}
