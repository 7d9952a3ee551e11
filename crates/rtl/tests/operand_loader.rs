//! `operand_loader` with a memory behind it: every beat goes to its place in its buffer, and nothing else does.

mod common;
#[allow(dead_code)]
#[path = "common/op_config.rs"]
mod op_config;
#[path = "common/read_slave.rs"]
mod read_slave;

use std::collections::BTreeMap;

use edgewen_rtl::Model;
use op_config::OpConfig;
use read_slave::{Fault, ReadSlave, beat_at};

/// Where a beat goes: the buffer, then token or port, then its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Codes(u64, u64),
    Side(u64, u64),
    Bias(u64, u64),
}

#[derive(Debug, Clone, Copy)]
struct Case {
    tokens: u64,
    groups: u64,
    /// With a bias.
    bias: bool,
    blocks: [u64; 4],
}

const BIAS: u64 = 0x3_0000_0fc0;
const ACTIVATIONS: u64 = 0x6000_0f40;

struct Bench {
    model: Model,
    slave: ReadSlave,
    block_beats: u64,
}

impl Bench {
    fn new(layout: &str) -> Option<Self> {
        let mut model = common::model("operand_loader", &[("Layout", layout)])?;
        model.set("timeout_i", 300);
        model.reset(2);
        let slave = ReadSlave::new(&model);
        Some(Self { model, slave, block_beats: if layout == "0" { 4 } else { 2 } })
    }

    fn expected(&self, case: &Case) -> BTreeMap<Place, u64> {
        let mut expected = BTreeMap::new();
        let mut address = BIAS;
        for (port, blocks) in (0..).zip(case.blocks) {
            for beat in 0..if case.bias { blocks * self.block_beats } else { 0 } {
                expected.insert(Place::Bias(port, beat), address);
                address += 16;
            }
        }
        for token in 0..case.tokens {
            let start = ACTIVATIONS + token * stride(case);
            for beat in 0..4 * case.groups {
                expected.insert(Place::Codes(token, beat), start + 16 * beat);
            }
            for pair in 0..case.groups.div_ceil(2) {
                expected.insert(Place::Side(token, pair), start + 64 * case.groups + 16 * pair);
            }
        }
        expected
    }

    fn start(&mut self, case: &Case) {
        let config = OpConfig {
            tokens: case.tokens,
            has_bias: case.bias,
            groups: case.groups,
            blocks: case.blocks,
            ..OpConfig::default()
        };
        self.model.set_words("config_i", &config.words());
        self.model.set("total_blocks_i", case.blocks.iter().sum());
        self.model.set("bias_i", BIAS);
        self.model.set("activations_i", ACTIVATIONS);
        self.model.set("stride_i", stride(case));
        self.model.set("start_i", 1);
        self.clock();
        self.model.set("start_i", 0);
    }

    fn clock(&mut self) {
        self.slave.before(&mut self.model);
        self.model.eval();
        self.model.clock();
        self.slave.after();
    }

    /// Runs to the end and gives the cycles from start to done.
    fn run(&mut self, case: &Case) -> u64 {
        let mut places = self.expected(case);
        let beats = places.len() as u64;
        self.start(case);
        for cycle in 1..100_000 {
            let get = |name| self.model.get(name);
            let writes = [
                (get("act_we_o"), Place::Codes(get("act_token_o"), get("act_beat_o"))),
                (get("side_we_o"), Place::Side(get("side_token_o"), get("side_pair_o"))),
                (get("bias_we_o"), Place::Bias(get("bias_port_o"), get("bias_beat_o"))),
            ];
            assert!(writes.iter().map(|write| write.0).sum::<u64>() <= 1);
            for (_, place) in writes.into_iter().filter(|write| write.0 == 1) {
                let address = places.remove(&place).unwrap_or_else(|| panic!("{place:?} of {case:?}"));
                let mut beat = [0; 4];
                self.model.get_words("data_o", &mut beat);
                assert_eq!(beat, beat_at(address), "{place:?} of {case:?}");
            }
            if self.model.get("done_o") == 1 {
                assert!(places.is_empty(), "{case:?}: {} of {beats} are missing", places.len());
                assert_eq!((self.model.get("idle_o"), self.slave.quiet()), (1, true));
                return cycle;
            }
            self.clock();
        }
        panic!("not done: {case:?}");
    }
}

/// Bytes from one token to the next: not the least, so that a token's place is its own.
fn stride(case: &Case) -> u64 {
    (72 * case.groups).next_multiple_of(64) + 128
}

const CASES: &[Case] = &[
    Case { tokens: 1, groups: 14, bias: false, blocks: [14; 4] },
    Case { tokens: 8, groups: 14, bias: true, blocks: [18; 4] },
    Case { tokens: 3, groups: 1, bias: true, blocks: [0, 1, 0, 2] },
    Case { tokens: 2, groups: 96, bias: true, blocks: [64, 0, 0, 64] },
    Case { tokens: 5, groups: 76, bias: false, blocks: [0; 4] },
    Case { tokens: 4, groups: 8, bias: true, blocks: [0, 0, 3, 0] },
];

#[test]
fn fills_the_buffers() {
    let Some(mut bench) = Bench::new("0") else { return };
    for (address_rate, data_rate, latency) in [(256, 256, 0), (256, 256, 60), (60, 100, 9)] {
        (bench.slave.address_rate, bench.slave.data_rate, bench.slave.latency) =
            (address_rate, data_rate, latency);
        CASES.iter().for_each(|case| {
            bench.run(case);
        });
    }
}

#[test]
fn knows_blocks_of_eight_rows() {
    let Some(mut bench) = Bench::new("1") else { return };
    CASES.iter().for_each(|case| {
        bench.run(case);
    });
}

#[test]
fn costs_little_more_than_its_beats() {
    let Some(mut bench) = Bench::new("0") else { return };
    bench.slave.latency = 60;
    // 304 beats of codes, 40 of sums and scales with their padding.
    let one = bench.run(&Case { tokens: 1, groups: 76, bias: false, blocks: [14; 4] });
    assert!(one < 344 + 60 + 20, "{one} cycles");
    let eight = bench.run(&Case { tokens: 8, groups: 76, bias: false, blocks: [14; 4] });
    assert!(eight < 8 * (344 + 4) + 60 + 20, "{eight} cycles");
}

#[test]
fn begins_anew_after_a_reset_in_mid_stream() {
    let Some(mut bench) = Bench::new("0") else { return };
    for cycles in [1, 3, 30, 77, 200] {
        bench.start(&CASES[1]);
        (0..cycles).for_each(|_| bench.clock());
        bench.model.set("flush_i", 1);
        (0..300).for_each(|_| bench.clock());
        assert_eq!((bench.model.get("idle_o"), bench.slave.quiet()), (1, true));
        bench.model.reset(1);
        bench.model.set("flush_i", 0);
        bench.run(&CASES[2]);
    }
}

#[test]
fn never_ends_after_an_error() {
    let Some(mut bench) = Bench::new("0") else { return };
    bench.slave.fault = Some((3, Fault::Slave));
    bench.start(&CASES[1]);
    for _ in 0..3000 {
        bench.clock();
        assert_eq!(bench.model.get("done_o"), 0);
    }
    let burst = bench.slave.bursts[3].address;
    let get = |name| bench.model.get(name);
    assert_eq!((get("error_valid_o"), get("error_code_o"), get("error_address_o")), (1, 1, burst));
}
