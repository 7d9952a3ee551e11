//! `op_sequencer` with a ring, a loader and a data path in Rust: what it starts, when it counts, what it refuses.

mod common;
#[allow(dead_code)]
#[path = "common/op_config.rs"]
mod op_config;

use edgewen_accel::descriptor::{Descriptor, PortBlocks, WORDS};
use edgewen_rtl::Model;
use op_config::OpConfig;

const TAG: u32 = 0xbeef;

fn legal() -> Descriptor {
    let port = |address, blocks| PortBlocks { address, blocks };
    Descriptor {
        tokens: 5,
        top_k: false,
        segments: false,
        groups: 14,
        block_beats: 36 + 14 * 32,
        header_beats: 36,
        rows: 1150,
        tag: TAG,
        ports: [port(0x1000_0000, 18), port(0x1002_0000, 17), port(0x1004_0000, 19), port(0x2_0000_0040, 18)],
        activations: 0x6000_0000,
        activations_stride: 0x440,
        results: 0x3f_0010_0000,
        results_stride: 0x1200,
        bias: Some(0x1234_5600),
    }
}

struct Bench {
    model: Model,
    ring: Vec<[u32; WORDS]>,
    /// Words on their way.
    words: [u32; 2],
}

impl Bench {
    fn new(parameters: &[(&str, &str)], ring: usize) -> Option<Self> {
        let mut model = common::model("op_sequencer", parameters)?;
        model.set("ring_entries_i", ring as u64);
        model.set("enable_i", 1);
        model.set("compute_idle_i", 1);
        model.reset(2);
        Some(Self { model, ring: vec![[0; WORDS]; ring], words: [0; 2] })
    }

    fn clock(&mut self) {
        let index = self.model.get("desc_index_o") as usize;
        let word = self.ring[index % self.ring.len()][self.model.get("desc_word_o") as usize];
        let next = if self.model.get("desc_req_o") == 1 { word } else { 0xdead_dead };
        self.model.clock();
        self.words = [next, self.words[0]];
        self.model.set("desc_data_i", u64::from(self.words[1]));
        self.model.eval();
    }

    fn until(&mut self, name: &str, limit: u32) -> u32 {
        for cycle in 0..limit {
            if self.model.get(name) == 1 {
                return cycle;
            }
            self.clock();
        }
        panic!("no {name} in {limit} cycles");
    }

    fn never(&mut self, names: &[&str], cycles: u32) {
        for _ in 0..cycles {
            self.clock();
            names.iter().for_each(|name| assert_eq!(self.model.get(name), 0, "{name}"));
        }
    }

    fn pulse(&mut self, name: &str) {
        self.model.set(name, 1);
        self.clock();
        self.model.set(name, 0);
    }

    /// Runs the operation that is due and gives the cycles that are the sequencer's own.
    fn operation(&mut self) -> u32 {
        let mut cycles = self.until("load_start_o", 60);
        self.never(&["start_o", "done_o"], 10);
        self.pulse("load_done_i");
        cycles += self.until("start_o", 5);
        self.model.set("results_done_i", 0);
        self.model.set("compute_idle_i", 0);
        self.never(&["start_o", "done_o", "load_start_o"], 30);
        self.model.set("compute_idle_i", 1);
        self.never(&["done_o"], 10);
        self.model.set("results_done_i", 1);
        cycles + self.until("done_o", 20)
    }
}

#[test]
fn runs_what_the_descriptor_says() {
    let Some(mut bench) = Bench::new(&[], 3) else { return };
    bench.ring[0] = legal().encode().expect("it is legal");
    bench.never(&["load_start_o", "busy_o"], 50);
    bench.model.set("doorbell_i", 1);
    let cycles = bench.operation();
    assert!(cycles < 36, "{cycles} cycles");
    let (model, descriptor) = (&bench.model, legal());
    let get = |name| model.get(name);
    let mut words = [0; 5];
    model.get_words("config_o", &mut words);
    let config = OpConfig::from_words(&words);
    let blocks = descriptor.ports.map(|port| u64::from(port.blocks));
    assert_eq!((config.tokens, config.has_bias, config.top_k), (5, true, false));
    assert_eq!((config.groups, config.header_beats, config.block_beats), (14, 36, 484));
    assert_eq!((config.rows, config.blocks), (1150, blocks));
    assert_eq!((get("activations_o"), get("activation_stride_o")), (descriptor.activations, 0x440));
    assert_eq!((get("results_o"), get("result_stride_o")), (descriptor.results, 0x1200));
    assert_eq!((get("bias_o"), get("tag_o")), (0x1234_5600, u64::from(TAG)));
    assert_eq!(get("total_blocks_o"), 72);
    for (port, first) in [0, 18, 35, 54].into_iter().enumerate() {
        assert_eq!(model.get_bits("first_block_o", 18 * port as u32, 18), first);
    }
    assert_eq!(get("done_count_o"), 1);
}

#[test]
fn goes_round_the_ring_as_far_as_the_doorbell() {
    let Some(mut bench) = Bench::new(&[], 3) else { return };
    for entry in 0..3 {
        let descriptor = Descriptor { tag: entry as u32, ..legal() };
        bench.ring[entry] = descriptor.encode().expect("it is legal");
    }
    let mut done = 0;
    for doorbell in [2, 3, 8, 9] {
        bench.model.set("doorbell_i", doorbell);
        while done < doorbell {
            bench.operation();
            assert_eq!(bench.model.get("tag_o"), done % 3);
            done += 1;
            assert_eq!(bench.model.get("done_count_o"), done);
        }
        bench.never(&["busy_o", "load_start_o", "done_o"], 60);
    }
}

#[test]
fn waits_while_disabled() {
    let Some(mut bench) = Bench::new(&[], 2) else { return };
    bench.ring[0] = legal().encode().expect("it is legal");
    bench.model.set("enable_i", 0);
    bench.model.set("doorbell_i", 1);
    bench.never(&["busy_o"], 60);
    bench.model.set("enable_i", 1);
    bench.operation();
}

type Change = fn(&mut [u32; WORDS]);

const ILLEGAL: &[(&str, Change)] = &[
    ("kind 0", |words| words[0] &= 0x0fff_ffff),
    ("kind 2", |words| words[0] = words[0] & 0x0fff_ffff | 2 << 28),
    ("16 tokens", |words| words[0] |= 0xf0),
    ("9 tokens", |words| words[0] = words[0] & !0xf0 | 0x80),
    ("list of 5 tokens", |words| words[0] |= 2),
    ("no groups", |words| words[1] &= 0xffff_0000),
    ("97 groups", |words| words[1] = 97 | (4 * (97 * 5_u32).div_ceil(8) + 97 * 32) << 16),
    ("too few beats", |words| words[1] -= 1 << 16),
    ("too many beats", |words| words[1] += 4 << 16),
    ("header", |words| words[15] += 4),
    ("segments with a header", |words| (words[0], words[1]) = (words[0] | 4, 14 | (14 * 68) << 16)),
    ("segments as long as row blocks", |words| (words[0], words[15]) = (words[0] | 4, 0)),
    ("no rows", |words| (words[2], words[8], words[9]) = (0, 0, 0)),
    ("a row too many", |words| words[2] = 72 * 16 + 1),
    ("a row too few", |words| words[2] = 71 * 16),
    ("a block too many", |words| words[9] += 1 << 16),
    ("bias of more rows than the memory has", |words| {
        (words[2], words[8], words[9]) = (4112, 64 | 64 << 16, 64 | 65 << 16);
    }),
    ("bias of a port with more than a quarter", |words| {
        (words[2], words[8], words[9]) = (1200, 65 | 10 << 16, 0);
    }),
];

#[test]
fn refuses_what_breaks_a_rule() {
    for &(name, change) in ILLEGAL {
        let Some(mut bench) = Bench::new(&[], 2) else { return };
        bench.ring[0] = legal().encode().expect("it is legal");
        change(&mut bench.ring[0]);
        bench.model.set("doorbell_i", 1);
        for cycle in 0..60 {
            bench.clock();
            assert_eq!(bench.model.get("load_start_o"), 0, "{name}");
            if bench.model.get("descriptor_error_o") == 1 {
                break;
            }
            assert!(cycle < 50, "{name} was not noticed");
        }
        bench.model.set("error_i", 1);
        bench.never(&["load_start_o", "start_o", "done_o", "busy_o"], 60);
        assert_eq!((bench.model.get("done_count_o"), bench.model.get("tag_o")), (0, u64::from(TAG)));
    }
}

#[test]
fn accepts_what_is_just_legal() {
    let beats = |groups: u32| groups | (4 * (groups * 5).div_ceil(8) + groups * 32) << 16;
    let changes: [(&str, Change); 5] = [
        ("segments", |words| {
            (words[0], words[1], words[15]) =
                (words[0] | 4, words[1] & 0xffff | ((words[1] & 0xffff) * 68) << 16, 0);
        }),
        ("8 tokens", |words| words[0] = words[0] & !0xf0 | 0x70),
        ("a row", |words| (words[2], words[8], words[9]) = (1, 0, 1 << 16)),
        ("4096 rows of bias", |words| (words[2], words[8], words[9]) = (4096, 64 | 64 << 16, 64 | 64 << 16)),
        ("a list without a bias", |words| {
            words[0] = 1 << 28 | 2;
            (words[2], words[8], words[9]) = (262_120, 16_383 << 16, 0);
        }),
    ];
    for (name, change) in changes {
        for groups in [14, 1, 96] {
            let Some(mut bench) = Bench::new(&[], 2) else { return };
            let mut words = legal().encode().expect("it is legal");
            (words[1], words[15]) = (beats(groups), 4 * (groups * 5).div_ceil(8));
            change(&mut words);
            bench.ring[0] = words;
            bench.model.set("doorbell_i", 1);
            bench.until("load_start_o", 60);
            assert_eq!(bench.model.get("descriptor_error_o"), 0, "{name}");
        }
    }
}

#[test]
fn macro_blocks_have_no_header() {
    let Some(mut bench) = Bench::new(&[("Layout", "1")], 2) else { return };
    let descriptor = Descriptor { block_beats: 18 * 14, header_beats: 0, rows: 576, ..legal() };
    bench.ring[0] = descriptor.encode().expect("it is legal");
    bench.ring[1] =
        Descriptor { segments: true, block_beats: 68 * 14, ..descriptor }.encode().expect("it is legal");
    bench.model.set("doorbell_i", 2);
    bench.operation();
    // Segments are for a design of row blocks.
    bench.until("descriptor_error_o", 60);
}

#[test]
fn an_error_stops_it_wherever_it_is() {
    for cycles in 0..90 {
        let Some(mut bench) = Bench::new(&[], 2) else { return };
        bench.ring[0] = legal().encode().expect("it is legal");
        bench.model.set("doorbell_i", 1);
        bench.model.set("results_done_i", 0);
        for cycle in 0..cycles {
            bench.model.set("load_done_i", u64::from(cycle == 40));
            bench.model.set("results_done_i", u64::from(cycle > 60));
            bench.clock();
        }
        if bench.model.get("done_count_o") == 1 {
            assert!(cycles > 60);
            return;
        }
        bench.model.set("error_i", 1);
        bench.clock();
        let late = bench.model.get("done_count_o");
        bench.model.set("results_done_i", 1);
        bench.never(&["load_start_o", "start_o", "done_o"], 40);
        assert_eq!(bench.model.get("done_count_o"), late);
        assert_eq!(bench.model.get("tag_o"), u64::from(TAG), "after {cycles} cycles");
        assert_eq!(bench.model.get("busy_o"), 0);
    }
    panic!("it never came to its end");
}
