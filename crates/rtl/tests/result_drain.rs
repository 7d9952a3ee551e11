//! `result_drain` with its accumulators and bias in the bench: order, values, banks, and a receiver that makes it wait.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use edgewen_rtl::Model;
use pipeline::canonical;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng;

const ROWS: usize = 256;

struct Bench {
    model: Model,
    random: Pcg64Mcg,
    sums: [[[f32; 16]; 8]; 2],
    bias: Vec<f32>,
    read: [Option<f32>; 2],
    row: [Option<usize>; 2],
    results: Vec<(u64, u64, u32, bool)>, // token, channel, value, last
    freed: Vec<u64>,
    ready: u32,
}

impl Bench {
    fn new() -> Option<Self> {
        let mut model = common::model("result_drain", &[("BiasRows", "256")])?;
        model.reset(2);
        let mut random = pipeline::random(13);
        let bias = (0..ROWS).map(|_| random.next_u32() as i32 as f32).collect();
        Some(Self {
            model,
            random,
            sums: Default::default(),
            bias,
            read: [None; 2],
            row: [None; 2],
            results: Vec::new(),
            freed: Vec::new(),
            ready: 256,
        })
    }

    fn clock(&mut self) {
        let ready = self.random.next_u32() % 256 < self.ready;
        let model = &mut self.model;
        model.set("ready_i", u64::from(ready));
        // Values that were asked for 1 and 2 cycles ago, noise otherwise.
        model.set("read_data_i", u64::from(self.read[0].map_or(0xdead_beef, f32::to_bits)));
        model.set("bias_i", u64::from(self.row[1].map_or(0xdead_beef, |row| self.bias[row].to_bits())));
        model.eval();
        let asked = model.get("read_en_o") == 1;
        let place = ["read_bank_o", "read_token_o", "read_channel_o"].map(|name| model.get(name) as usize);
        self.read = [asked.then(|| self.sums[place[0]][place[1]][place[2]]), self.read[0]];
        self.row = [asked.then(|| model.get("bias_row_o") as usize), self.row[0]];
        if ready && model.get("valid_o") == 1 {
            let [token, channel, data, last] =
                ["token_o", "channel_o", "data_o", "last_o"].map(|name| model.get(name));
            self.results.push((token, channel, data as u32, last == 1));
        }
        model.clock();
        match model.get("freed_o") {
            0 => (),
            1 => self.freed.push(0),
            2 => self.freed.push(1),
            both => panic!("both banks freed at once: {both}"),
        }
    }

    /// An operation of some blocks; the banks are announced as soon as they are free.
    fn run(&mut self, tokens: usize, has_bias: bool, blocks: usize, first_bank: usize) {
        self.model.set("tokens_m1_i", tokens as u64 - 1);
        self.model.set("has_bias_i", u64::from(has_bias));
        self.model.set("start_i", 1);
        self.clock();
        self.model.set("start_i", 0);
        self.results.clear();
        self.freed.clear();
        let mut expected = Vec::new();
        for block in 0..blocks {
            let bank = (first_bank + block) % 2;
            while self.freed.len() + 2 <= block {
                self.clock();
            }
            for token in 0..tokens {
                for channel in 0..16 {
                    let sum = self.random.next_u32() as i32 as f32 * 0.37;
                    self.sums[bank][token][channel] = sum;
                    let bias = self.bias[(16 * block + channel) % ROWS];
                    let value = canonical(if has_bias { sum + bias } else { sum });
                    expected.push((
                        token as u64,
                        channel as u64,
                        value,
                        token + 1 == tokens && channel == 15,
                    ));
                }
            }
            self.model.set("block_i", 1);
            self.model.set("block_bank_i", bank as u64);
            self.clock();
            self.model.set("block_i", 0);
        }
        self.clock();
        while self.model.get("idle_o") == 0 {
            self.clock();
        }
        assert_eq!(self.results, expected);
        assert_eq!(
            self.freed,
            (0..blocks).map(|block| ((first_bank + block) % 2) as u64).collect::<Vec<_>>()
        );
    }
}

#[test]
fn hands_over_every_block_in_order() {
    let Some(mut bench) = Bench::new() else { return };
    for (index, ready) in [256, 128, 20, 256, 250].into_iter().enumerate() {
        bench.ready = ready;
        bench.run(8, true, 5, index % 2);
        bench.run(1, false, 20, 1);
        bench.run(3, true, 7, 0);
    }
}

#[test]
fn gives_a_result_every_cycle() {
    let Some(mut bench) = Bench::new() else { return };
    let before = bench.model.cycles();
    bench.run(8, true, 16, 0);
    let cycles = bench.model.cycles() - before;
    assert!(cycles < 16 * 128 + 16 * 2 + 16, "{cycles} cycles for {} results", 16 * 128);
}

#[test]
fn forgets_all_at_reset() {
    let Some(mut bench) = Bench::new() else { return };
    bench.ready = 0;
    bench.model.set("block_i", 1);
    bench.clock();
    bench.model.set("block_i", 0);
    for _ in 0..100 {
        bench.clock();
    }
    assert_eq!((bench.model.get("valid_o"), bench.model.get("idle_o")), (1, 0));
    bench.model.reset(1);
    assert_eq!((bench.model.get("valid_o"), bench.model.get("idle_o")), (0, 1));
    bench.read = [None; 2];
    bench.row = [None; 2];
    bench.ready = 256;
    bench.run(2, true, 3, 0);
}
