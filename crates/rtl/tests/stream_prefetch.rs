//! `stream_prefetch` against the descriptors it reads.

mod common;

use std::collections::VecDeque;

use edgewen_rtl::Model;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

struct Bench {
    model: Model,
    ring: Vec<[u32; 16]>,
    /// Words asked for one and two clocks ago.
    asked: [Option<u32>; 2],
    /// Commands that each port must get.
    expected: [VecDeque<(u64, u64)>; 4],
    ready_rate: u32,
    random: Pcg64Mcg,
}

impl Bench {
    fn new(entries: usize) -> Option<Self> {
        let mut model = common::model("stream_prefetch", &[])?;
        model.set("ring_entries_i", entries as u64);
        model.reset(2);
        Some(Self {
            model,
            ring: vec![[0; 16]; entries],
            asked: [None; 2],
            expected: Default::default(),
            ready_rate: 256,
            random: Pcg64Mcg::seed_from_u64(9),
        })
    }

    /// Fills an entry with a random operation and expects its commands.
    fn operation(&mut self, count: usize, expect: bool) {
        let mut next = || self.random.next_u32();
        let mut words: [u32; 16] = std::array::from_fn(|_| next());
        let groups = 1 + next() % 96;
        words[0] = words[0] & 0x0fff_ffff | 1 << 28;
        let segments = words[0] >> 2 & 1 == 1;
        let beats = if segments { 68 * groups } else { (40 * groups).div_ceil(64) * 4 + 32 * groups };
        words[1] = groups | beats << 16;
        let blocks: [u32; 4] =
            std::array::from_fn(|_| [0, 1, next() % 40, next() % 65_536][next() as usize % 4]);
        words[8] = blocks[0] | blocks[1] << 16;
        words[9] = blocks[2] | blocks[3] << 16;
        for port in 0..4 {
            if expect && blocks[port] > 0 {
                let command = (u64::from(words[4 + port]) * 64, u64::from(blocks[port]) * u64::from(beats));
                self.expected[port].push_back(command);
            }
        }
        let entries = self.ring.len();
        self.ring[count % entries] = words;
    }

    fn run(&mut self, cycles: u32) {
        for _ in 0..cycles {
            let ready = (0..4).fold(0, |bits, port| {
                bits | u64::from(self.random.next_u32() % 256 < self.ready_rate) << port
            });
            self.model.set("cmd_ready_i", ready);
            let data = self.asked[1].unwrap_or_else(|| self.random.next_u32());
            self.model.set("desc_data_i", data.into());
            self.model.eval();
            let fired = ready & self.model.get("cmd_valid_o");
            for port in (0..4).filter(|port| fired >> port & 1 == 1) {
                let found = (
                    self.model.get_bits("cmd_address_o", 40 * port as u32, 40),
                    self.model.get_bits("cmd_beats_o", 32 * port as u32, 32),
                );
                assert_eq!(Some(found), self.expected[port].pop_front(), "port {port}");
            }
            self.asked[1] = self.asked[0];
            self.asked[0] = (self.model.get("desc_req_o") == 1).then(|| {
                let (index, word) = (self.model.get("desc_index_o"), self.model.get("desc_word_o"));
                self.ring[index as usize][word as usize]
            });
            self.model.clock();
        }
    }
}

#[test]
fn gives_every_port_the_ranges_of_the_descriptors() {
    for entries in [1, 5, 256] {
        let Some(mut bench) = Bench::new(entries) else { return };
        let mut tail = 0;
        for step in 0..300 {
            bench.ready_rate = [256, 10, 60][step % 3];
            let count = if step % 7 == 0 { entries.min(4) } else { 1 };
            (0..count).for_each(|i| bench.operation(tail + i, true));
            tail += count;
            bench.model.set("tail_i", tail as u64);
            bench.run(count as u32 * 30);
            while bench.model.get("head_o") != tail as u64 {
                bench.run(10);
            }
            assert!(bench.expected.iter().all(VecDeque::is_empty));
        }
    }
}

#[test]
fn takes_a_descriptor_in_less_than_twenty_cycles() {
    let Some(mut bench) = Bench::new(64) else { return };
    (0..64).for_each(|i| bench.operation(i, true));
    bench.model.set("tail_i", 64);
    bench.run(64 * 20);
    assert_eq!(bench.model.get("head_o"), 64);
}

#[test]
fn passes_over_what_cannot_be_an_operation() {
    let Some(mut bench) = Bench::new(8) else { return };
    let wrong: [fn(&mut [u32; 16]); 7] = [
        |words| words[0] ^= 1 << 2,
        |words| words[0] ^= 3 << 28,
        |words| words[1] &= 0xffff_0000,
        |words| words[1] ^= 1 << 16,
        |words| words[1] ^= 1 << 31,
        |words| words[1] = 97 | (97 * 32 + 61 * 4) << 16,
        |words| words[1] = 0xffff_ffff,
    ];
    for (count, spoil) in wrong.into_iter().enumerate() {
        bench.operation(2 * count, false);
        spoil(&mut bench.ring[2 * count % 8]);
        bench.operation(2 * count + 1, true);
        bench.model.set("tail_i", 2 * count as u64 + 2);
        bench.run(60);
        assert_eq!(bench.model.get("head_o"), 2 * count as u64 + 2);
        assert!(bench.expected.iter().all(VecDeque::is_empty), "{count}");
    }
}

#[test]
fn waits_while_halted_and_begins_anew_when_flushed() {
    let Some(mut bench) = Bench::new(8) else { return };
    bench.model.set("halt_i", 1);
    (0..8).for_each(|i| bench.operation(i, true));
    bench.model.set("tail_i", 3);
    bench.run(100);
    assert_eq!(bench.model.get("head_o"), 0);
    bench.model.set("halt_i", 0);
    bench.run(100);
    assert_eq!(bench.model.get("head_o"), 3);
    bench.ready_rate = 0;
    bench.model.set("tail_i", 5);
    bench.run(50);
    bench.model.set("flush_i", 1);
    bench.model.set("tail_i", 0);
    bench.run(1);
    bench.model.set("flush_i", 0);
    bench.run(50);
    assert_eq!((bench.model.get("head_o"), bench.model.get("cmd_valid_o")), (0, 0));
    bench.expected = Default::default();
    bench.ready_rate = 256;
    (0..2).for_each(|i| bench.operation(i, true));
    bench.model.set("tail_i", 2);
    bench.run(60);
    assert!(bench.expected.iter().all(VecDeque::is_empty));
}
