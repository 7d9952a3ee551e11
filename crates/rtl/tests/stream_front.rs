//! `stream_front`, and with it `beat_sequencer`, `unpack` and `header_buffer`, against the packing of the layout crate.

mod common;
#[path = "common/stream.rs"]
mod stream;

use std::collections::VecDeque;

use edgewen_layout::QuantizedMatrix;
use edgewen_rtl::Model;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use stream::{Layout, TileControl, beats, random_matrix, set_config};

const MAX_GROUPS: usize = 12;

/// A header read that is due: clocks to go, block of each port, group, channel, active ports.
type Read = (u32, usize, usize, usize, u8);

struct Bench {
    model: Model,
    layout: Layout,
    matrix: QuantizedMatrix,
    blocks: [usize; 4],
    first: [usize; 4],
    /// Beats not taken yet.
    feed: [VecDeque<[u32; 4]>; 4],
    ahead: [Option<[u32; 4]>; 4],
    feed_rate: u32,
    free_rate: u32,
    bank: bool,
    round: usize,
    tiles: usize,
    done: bool,
    stalls: u64,
    reads: Vec<Read>,
    random: Pcg64Mcg,
}

impl Bench {
    fn new(layout: Layout) -> Option<Self> {
        let parameters = [("Layout", layout.parameter()), ("MaxGroups", "12")];
        let mut model = common::model("stream_front", &parameters)?;
        model.reset(2);
        Some(Self {
            model,
            layout,
            matrix: random_matrix(layout, 16, 1, 0),
            blocks: [0; 4],
            first: [0; 4],
            feed: Default::default(),
            ahead: [None; 4],
            feed_rate: 256,
            free_rate: 256,
            bank: false,
            round: 0,
            tiles: 0,
            done: false,
            stalls: 0,
            reads: Vec::new(),
            random: Pcg64Mcg::seed_from_u64(5),
        })
    }

    fn start(&mut self, groups: usize, blocks: [usize; 4], seed: u64) {
        let channels = self.layout.channels();
        let total: usize = blocks.iter().sum();
        self.matrix = random_matrix(self.layout, (total * channels).max(channels), groups, seed);
        let all = beats(&self.matrix, self.layout);
        let block_beats = self.layout.block_beats(groups as u64) as usize;
        let mut first = 0;
        for (port, count) in blocks.into_iter().enumerate() {
            self.first[port] = first;
            self.feed[port] = all[first * block_beats..][..count * block_beats].iter().copied().collect();
            self.ahead[port] = None;
            first += count;
        }
        self.blocks = blocks;
        (self.round, self.tiles, self.done, self.stalls) = (0, 0, false, 0);
        set_config(&mut self.model, self.layout, groups as u64, blocks.map(|n| n as u64));
        self.model.set("start_i", 1);
        self.clock();
        self.model.set("start_i", 0);
    }

    fn chance(&mut self, rate: u32) -> bool {
        rate >= 256 || self.random.next_u32() % 256 < rate
    }

    fn clock(&mut self) {
        let mut valid = 0;
        for port in 0..4 {
            if self.ahead[port].is_none() && self.chance(self.feed_rate) {
                self.ahead[port] = self.feed[port].pop_front();
            }
            let beat = self.ahead[port].unwrap_or([0; 4]);
            valid |= u64::from(self.ahead[port].is_some()) << port;
            for (i, word) in beat.into_iter().enumerate() {
                self.model.set_bits("s_data_i", 128 * port as u32 + 32 * i as u32, 32, word.into());
            }
        }
        let free = self.chance(self.free_rate);
        self.model.set("s_valid_i", valid);
        self.model.set("bank_free_i", u64::from(free));
        self.model.eval();
        let taken = valid & self.model.get("s_ready_o");
        self.model.clock();
        for port in 0..4 {
            if taken >> port & 1 == 1 {
                self.ahead[port] = None;
            }
        }
        self.done |= self.model.get("done_o") == 1;
        self.stalls += u64::from(self.model.get("stall_o") != 0);
        self.check_header();
        self.check_tile();
    }

    /// The tile of this cycle, and a header read for a channel of a group that is in.
    fn check_tile(&mut self) {
        let control = TileControl::read(&self.model);
        self.model.set("hdr_req_i", u64::from(control.valid));
        if !control.valid {
            return;
        }
        let (groups, quads) = (self.matrix.shape.groups(), self.layout.channels() / 4);
        let lines = if self.layout == Layout::Segments { 16 } else { 8 };
        let (group, within) = (self.tiles / (lines * quads), self.tiles % (lines * quads));
        let line = within / quads;
        let active = (0..4).fold(0, |mask, port| mask | u8::from(self.round < self.blocks[port]) << port);
        let expected = TileControl {
            valid: true,
            bank: self.bank,
            first_group: group == 0,
            last_group: group + 1 == groups,
            first_line: line == 0,
            last_line: line == lines - 1,
            quad: within % quads,
            line: line % 8,
            group,
            active,
        };
        assert_eq!(control, expected, "round {} tile {}", self.round, self.tiles);
        for port in (0..4).filter(|port| active >> port & 1 == 1) {
            for channel in 0..4 {
                let row =
                    (self.first[port] + self.round) * self.layout.channels() + 4 * control.quad + channel;
                let input = 64 * group + 8 * control.line;
                let codes = &self.matrix.codes[row * self.matrix.shape.inputs + input..][..8];
                // The high plane of a segment comes first.
                let shift = if lines == 16 && line < 8 { 4 } else { 0 };
                let nibble = |code: u8| u64::from(code >> shift & 15);
                let expected = codes.iter().rev().fold(0, |word, &code| word << 4 | nibble(code));
                let found = self.model.get_bits("tile_o", (port * 128 + channel * 32) as u32, 32);
                assert_eq!(found, expected, "port {port} row {row} input {input}");
            }
        }
        // With a header for every group only the headers of this group and those before it are in.
        let group = self.random.next_u32() as usize % (group + 1);
        let channel = self.random.next_u32() as usize % self.layout.channels();
        self.model.set("hdr_bank_i", u64::from(self.bank));
        self.model.set("hdr_group_i", group as u64);
        self.model.set("hdr_channel_i", channel as u64);
        self.reads.push((2, self.round, group, channel, active));
        self.tiles += 1;
        if self.tiles == lines * quads * groups {
            (self.tiles, self.round, self.bank) = (0, self.round + 1, !self.bank);
        }
    }

    /// What was asked for two clocks ago.
    fn check_header(&mut self) {
        self.reads.iter_mut().for_each(|read| read.0 -= 1);
        let Some(position) = self.reads.iter().position(|read| read.0 == 0) else { return };
        let (_, round, group, channel, active) = self.reads.remove(position);
        for port in (0..4).filter(|port| active >> port & 1 == 1) {
            let row = (self.first[port] + round) * self.layout.channels() + channel;
            let at = row * self.matrix.shape.groups() + group;
            let scale = self.model.get_bits("hdr_scale_o", 16 * port as u32, 16);
            let zero = self.model.get_bits("hdr_zero_o", 4 * port as u32, 4);
            let context = format!("port {port} row {row} group {group} channel {channel}");
            assert_eq!(scale, u64::from(self.matrix.scales[at].to_bits()), "{context}");
            assert_eq!(zero, u64::from(self.matrix.zeros[at]), "{context}");
        }
    }

    /// Clocks until the last tile is out, and how many that were.
    fn finish(&mut self) -> u64 {
        let rounds = self.blocks.into_iter().max().unwrap_or(0);
        let start = self.model.cycles();
        while !(self.done && self.round == rounds) {
            self.clock();
            assert!(self.model.cycles() - start < 400_000, "round {} of {rounds}", self.round);
        }
        let cycles = self.model.cycles() - start;
        (0..4).for_each(|_| self.clock());
        assert!(self.feed.iter().all(VecDeque::is_empty), "beats are left");
        cycles
    }
}

#[test]
fn gives_every_tile_and_header_of_random_matrices() {
    for layout in [Layout::RowBlock, Layout::Segments, Layout::AwqMacro] {
        let Some(mut bench) = Bench::new(layout) else { return };
        let blocks = [[3, 3, 3, 3], [1, 2, 2, 2], [0, 1, 0, 1], [2, 0, 5, 1], [0, 0, 0, 0], [1, 1, 1, 1]];
        for (seed, blocks) in blocks.into_iter().enumerate() {
            for groups in [1, 2, 5, MAX_GROUPS] {
                (bench.feed_rate, bench.free_rate) = [(256, 256), (100, 256), (230, 20)][(seed + groups) % 3];
                bench.start(groups, blocks, seed as u64 * 100 + groups as u64);
                bench.finish();
            }
        }
    }
}

#[test]
fn follows_operations_of_both_kinds() {
    let Some(mut bench) = Bench::new(Layout::RowBlock) else { return };
    for seed in 0..12 {
        bench.layout = [Layout::RowBlock, Layout::Segments][seed % 2];
        bench.start(1 + seed % 5, [1, 2, 1, 1], seed as u64);
        bench.finish();
    }
}

#[test]
fn takes_a_beat_every_cycle() {
    for layout in [Layout::RowBlock, Layout::Segments, Layout::AwqMacro] {
        let Some(mut bench) = Bench::new(layout) else { return };
        for groups in [1, 6] {
            bench.start(groups, [5, 5, 5, 5], 1);
            let cycles = bench.finish();
            let beats = 5 * layout.block_beats(groups as u64);
            assert!(cycles < beats + 8, "{layout:?}: {cycles} cycles for {beats} beats");
            assert_eq!(bench.stalls, 0);
        }
    }
}

#[test]
fn waits_for_a_bank_only_before_a_block() {
    let Some(mut bench) = Bench::new(Layout::RowBlock) else { return };
    bench.free_rate = 0;
    bench.start(2, [2, 2, 2, 2], 1);
    (0..100).for_each(|_| bench.clock());
    assert_eq!((bench.round, bench.tiles, bench.stalls), (0, 0, 0), "waiting for compute is no stall");
    bench.free_rate = 256;
    (0..3).for_each(|_| bench.clock());
    bench.free_rate = 0;
    (0..200).for_each(|_| bench.clock());
    assert_eq!((bench.round, bench.tiles), (1, 0), "the block that began runs to its end");
    bench.free_rate = 256;
    bench.finish();
}

#[test]
fn counts_the_cycles_in_which_a_port_had_no_beat() {
    let Some(mut bench) = Bench::new(Layout::RowBlock) else { return };
    bench.start(1, [1, 1, 1, 1], 1);
    let late = std::mem::take(&mut bench.feed[2]);
    (0..50).for_each(|_| bench.clock());
    assert_eq!(bench.model.get("stall_o"), 0b0100);
    assert_eq!(bench.tiles, 0);
    bench.feed[2] = late;
    bench.finish();
}

#[test]
fn forgets_the_operation_when_flushed() {
    for layout in [Layout::RowBlock, Layout::Segments, Layout::AwqMacro] {
        let Some(mut bench) = Bench::new(layout) else { return };
        for cycles in 1..60 {
            bench.start(1, [2, 2, 2, 2], cycles);
            (0..cycles).for_each(|_| bench.clock());
            bench.feed = Default::default();
            bench.ahead = [None; 4];
            bench.model.set("flush_i", 1);
            bench.model.set("s_valid_i", 0);
            bench.model.set("hdr_req_i", 0);
            bench.model.clock();
            bench.model.clock();
            bench.model.set("flush_i", 0);
            bench.reads.clear();
            bench.bank = false;
            bench.start(2, [1, 2, 1, 1], cycles);
            bench.finish();
            bench.bank = false;
            bench.model.set("flush_i", 1);
            bench.model.clock();
            bench.model.set("flush_i", 0);
        }
    }
}
