//! `compute_core` as a whole against plain Rust: integers, then f32 in the order of the design, bit by bit.
//!
//! The bench is the stream front and the loader: it writes operands, sends tiles with random gaps, answers header reads
//! after 2 cycles from the header that would be there at that moment, and takes results when it likes.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use std::collections::VecDeque;

use edgewen_rtl::{Model, PortId};
use half::f16;
use pipeline::{canonical, random};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng;

const PORTS: usize = 4;
const GROUP: usize = 64;

/// One group of one block of a port.
struct Group {
    scales: Vec<f16>,        // [channel]
    zeros: Vec<u8>,          // [channel]
    codes: Vec<[u8; GROUP]>, // [channel]; of a segment both planes
}

/// A token's activations of one group.
struct Activations {
    codes: [i8; GROUP],
    scale: f32,
}

impl Group {
    fn new(random: &mut Pcg64Mcg, kind: Kind, channels: usize, largest: u8) -> Self {
        let end = pick(random, &[Some(0), Some(largest), None]).filter(|_| kind == Kind::Ends);
        let code = |random: &mut Pcg64Mcg| end.unwrap_or(random.next_u32() as u8 & largest);
        let zero = |random: &mut Pcg64Mcg| match kind {
            Kind::Ends => pick(random, &[0, 15]),
            _ => random.next_u32() as u8 & 15,
        };
        Self {
            scales: (0..channels).map(|_| scale(random, kind)).collect(),
            zeros: (0..channels).map(|_| zero(random)).collect(),
            codes: (0..channels).map(|_| std::array::from_fn(|_| code(random))).collect(),
        }
    }
}

impl Activations {
    fn new(random: &mut Pcg64Mcg, kind: Kind) -> Self {
        let end =
            pick(random, &[Some(-127), Some(127), Some(0), Some(-128), None]).filter(|_| kind == Kind::Ends);
        let code = |random: &mut Pcg64Mcg| end.unwrap_or((random.next_u32() % 255) as u8 as i8);
        let codes = std::array::from_fn(|_| code(random));
        Self { codes, scale: activation_scale(random, kind) }
    }

    fn sum(&self) -> i32 {
        self.codes.iter().map(|&code| i32::from(code)).sum()
    }
}

struct Operation {
    segments: bool,
    groups: usize,
    tokens: usize,
    bias: Option<Vec<Vec<f32>>>,        // [port][row]
    blocks: [Vec<Vec<Group>>; PORTS],   // [port][block][group]
    activations: Vec<Vec<Activations>>, // [token][group]
}

/// What the random numbers are like.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    /// Codes, zero points and activations at the ends of their ranges.
    Ends,
    /// Scales of all magnitudes, so that products are subnormal, or infinite, or cancel.
    Wild,
}

fn pick<T: Copy>(random: &mut Pcg64Mcg, values: &[T]) -> T {
    values[random.next_u32() as usize % values.len()]
}

fn scale(random: &mut Pcg64Mcg, kind: Kind) -> f16 {
    match kind {
        Kind::Plain => f16::from_f32(0.001 + (random.next_u32() % 4096) as f32 * 1e-5),
        Kind::Ends => f16::from_bits(pick(random, &[0, 1, 0x3ff, 0x400, 0x7bff, 0x3c00])),
        Kind::Wild => {
            f16::from_bits((random.next_u32() & 0xffff) as u16 & !0x4000 | pick(random, &[0, 0, 0x4000]))
        }
    }
}

fn activation_scale(random: &mut Pcg64Mcg, kind: Kind) -> f32 {
    match kind {
        Kind::Plain => (random.next_u32() % 1000) as f32 * 1e-4,
        Kind::Ends => pick(random, &[0.0, f32::from_bits(1), f32::MIN_POSITIVE, 1.0, f32::MAX, 1e30]),
        Kind::Wild => f32::from_bits(random.next_u32() & 0x7fff_ffff).min(f32::MAX),
    }
}

/// What an operation is like.
struct Shape {
    channels: usize,
    segments: bool,
    groups: usize,
    tokens: usize,
    blocks: [usize; PORTS],
}

impl Operation {
    fn new(random: &mut Pcg64Mcg, kind: Kind, shape: &Shape) -> Self {
        let largest = if shape.segments { 255 } else { 15 };
        let blocks = shape.blocks.map(|count| {
            let block = |random: &mut Pcg64Mcg| {
                (0..shape.groups).map(|_| Group::new(random, kind, shape.channels, largest)).collect()
            };
            (0..count).map(|_| block(random)).collect()
        });
        let activations = (0..shape.tokens)
            .map(|_| (0..shape.groups).map(|_| Activations::new(random, kind)).collect())
            .collect();
        let bias = (!shape.segments && random.next_u32() & 1 == 1).then(|| {
            let rows = |count: &usize, random: &mut Pcg64Mcg| {
                (0..count * shape.channels).map(|_| random.next_u32() as i32 as f32 * 1e-9).collect()
            };
            shape.blocks.iter().map(|count| rows(count, random)).collect()
        });
        Self {
            segments: shape.segments,
            groups: shape.groups,
            tokens: shape.tokens,
            bias,
            blocks,
            activations,
        }
    }

    fn rounds(&self) -> usize {
        self.blocks.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Design §2, the slow way.
    fn result(&self, port: usize, block: usize, token: usize, channel: usize) -> u32 {
        let mut sum = 0.0f32;
        for (group, activations) in self.blocks[port][block].iter().zip(&self.activations[token]) {
            let plane = |code: &dyn Fn(u8) -> u8| -> i32 {
                let codes = group.codes[channel].iter().zip(&activations.codes);
                codes.map(|(&both, &activation)| i32::from(code(both)) * i32::from(activation)).sum()
            };
            let offset = i32::from(group.zeros[channel]) * activations.sum();
            let weight_scale = group.scales[channel].to_f32();
            let (exact, weight_scale) = if self.segments {
                (16 * (plane(&|code| code >> 4) - offset) + plane(&|code| code & 15), weight_scale / 16.0)
            } else {
                (plane(&|code| code) - offset, weight_scale)
            };
            let scale = weight_scale * activations.scale;
            let product = exact as f32 * scale;
            sum += product;
        }
        let channels = self.blocks[port][block][0].codes.len();
        let bias = self.bias.as_ref().map(|bias| bias[port][block * channels + channel]);
        canonical(bias.map_or(sum, |bias| sum + bias))
    }
}

/// How often things happen, in 256ths of the cycles.
#[derive(Debug, Clone, Copy)]
struct Load {
    tiles: u32,
    ready: u32,
}

struct Bench {
    model: Model,
    channels: usize,
    random: Pcg64Mcg,
    load: Load,
    round: usize,                                          // of all operations
    headers: [Option<usize>; 2],                           // block whose header is in a bank
    answers: VecDeque<Option<(usize, usize, usize)>>,      // block, group, channel
    results: [VecDeque<(usize, usize, u32, bool)>; PORTS], // token, channel, value, last of a block
    ports: Ports,
}

struct Ports {
    tile_ctrl: PortId,
    tile: PortId,
    request: PortId,
    bank: PortId,
    group: PortId,
    channel: PortId,
    scale: PortId,
    zero: PortId,
    valid: PortId,
    ready: PortId,
    data: PortId,
    res_channel: PortId,
    token: PortId,
    last: PortId,
}

/// A tile as its control word says it.
struct Place {
    group: usize,
    plane: usize, // of a segment: first the high one
    line: usize,
    quad: usize,
    block: usize,
}

impl Bench {
    fn new(tokens: usize, layout: usize) -> Option<Self> {
        let parameters = [("Tokens", &*tokens.to_string()), ("Layout", &*layout.to_string())];
        let mut model = common::model("compute_core", &parameters)?;
        model.reset(2);
        let port = |name| model.port(name);
        let ports = Ports {
            tile_ctrl: port("tile_ctrl_i"),
            tile: port("tile_i"),
            request: port("hdr_req_o"),
            bank: port("hdr_bank_o"),
            group: port("hdr_group_o"),
            channel: port("hdr_channel_o"),
            scale: port("hdr_scale_i"),
            zero: port("hdr_zero_i"),
            valid: port("res_valid_o"),
            ready: port("res_ready_i"),
            data: port("res_data_o"),
            res_channel: port("res_channel_o"),
            token: port("res_token_o"),
            last: port("res_last_o"),
        };
        Some(Self {
            model,
            channels: if layout == 0 { 16 } else { 8 },
            random: random(9),
            load: Load { tiles: 256, ready: 256 },
            round: 0,
            headers: [None; 2],
            answers: VecDeque::from([None, None]),
            results: Default::default(),
            ports,
        })
    }

    fn chance(&mut self, rate: u32) -> bool {
        rate >= 256 || self.random.next_u32() % 256 < rate
    }

    /// Writes the operands as the loader does.
    fn load(&mut self, operation: &Operation) {
        let model = &mut self.model;
        model.set("act_we_i", 1);
        for (token, groups) in operation.activations.iter().enumerate() {
            model.set("act_token_i", token as u64);
            let codes: Vec<u8> = groups.iter().flat_map(|group| group.codes.map(|code| code as u8)).collect();
            for (beat, bytes) in codes.chunks(16).enumerate() {
                model.set("act_beat_i", beat as u64);
                let words: Vec<u32> = bytes
                    .chunks(4)
                    .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("four of them")))
                    .collect();
                model.set_words("act_data_i", &words);
                model.clock();
            }
        }
        model.set("act_we_i", 0);
        model.set("side_we_i", 1);
        for (token, groups) in operation.activations.iter().enumerate() {
            model.set("side_token_i", token as u64);
            for (pair, groups) in groups.chunks(2).enumerate() {
                model.set("side_pair_i", pair as u64);
                let words: Vec<u32> =
                    groups.iter().flat_map(|group| [group.scale.to_bits(), group.sum() as u32]).collect();
                model.set_words("side_data_i", &words);
                model.clock();
            }
        }
        model.set("side_we_i", 0);
        model.set("bias_we_i", u64::from(operation.bias.is_some()));
        for (port, rows) in operation.bias.iter().flatten().enumerate() {
            model.set("bias_port_i", port as u64);
            for (beat, rows) in rows.chunks(4).enumerate() {
                model.set("bias_beat_i", beat as u64);
                let words: Vec<u32> = rows.iter().map(|row| row.to_bits()).collect();
                model.set_words("bias_data_i", &words);
                model.clock();
            }
        }
        model.set("bias_we_i", 0);
        model.set_bits("config_i", 146, 3, operation.tokens as u64 - 1);
        model.set_bits("config_i", 149, 1, u64::from(operation.segments));
        model.set_bits("config_i", 145, 1, u64::from(operation.bias.is_some()));
        assert_eq!(model.get("idle_o"), 1);
        model.set("start_i", 1);
        model.clock();
        model.set("start_i", 0);
    }

    /// One clock, with a tile or without.
    fn clock(&mut self, operation: &Operation, tile: Option<Place>) {
        let rounds = operation.rounds();
        match tile {
            Some(Place { group, plane, line, quad, block }) => {
                let bank = (self.round & 1) as u64;
                let mut words = [0; 16];
                let mut active = 0;
                for (port, blocks) in operation.blocks.iter().enumerate() {
                    let Some(block) = blocks.get(block) else {
                        words[4 * port..4 * port + 4].fill(self.random.next_u32());
                        continue;
                    };
                    active |= 1 << port;
                    for channel in 0..4 {
                        let codes = &block[group].codes[4 * quad + channel][8 * line..8 * line + 8];
                        let shift = if operation.segments && plane == 0 { 4 } else { 0 };
                        let nibble = |code: u8| u32::from(code >> shift & 15);
                        let nibbles = codes.iter().enumerate().map(|(i, &code)| nibble(code) << (4 * i));
                        words[4 * port + channel] = nibbles.sum();
                    }
                }
                let bit = u64::from;
                let last_plane = usize::from(operation.segments);
                let ctrl = 1 << 22
                    | bank << 21
                    | bit(group == 0) << 20
                    | bit(group + 1 == operation.groups) << 19
                    | bit(line == 0 && plane == 0) << 18
                    | bit(line == 7 && plane == last_plane) << 17
                    | (quad as u64) << 15
                    | (line as u64) << 12
                    | (group as u64) << 4
                    | active;
                self.model.set_at(self.ports.tile_ctrl, ctrl);
                self.model.set_words_at(self.ports.tile, &words);
            }
            None => {
                // Only the valid bit counts.
                let noise = u64::from(self.random.next_u32() & 0x3f_ffff);
                self.model.set_at(self.ports.tile_ctrl, noise);
            }
        }
        self.header(operation);
        let ready = (0..PORTS).fold(0, |mask, port| mask | u64::from(self.chance(self.load.ready)) << port);
        self.model.set_at(self.ports.ready, ready);
        self.model.eval();
        self.take(ready);
        self.model.clock();
        assert!(self.round <= 1_000_000 + rounds);
    }

    /// Answers the read of 2 cycles ago from the header that is in the bank now.
    fn header(&mut self, operation: &Operation) {
        let read = (self.model.get_at(self.ports.request) == 1).then(|| {
            let bank = self.model.get_at(self.ports.bank) as usize;
            let block = self.headers[bank].expect("a header is read from an empty bank");
            (
                block,
                self.model.get_at(self.ports.group) as usize,
                self.model.get_at(self.ports.channel) as usize,
            )
        });
        self.answers.push_back(read);
        let (mut scales, mut zeros) =
            (u64::from(self.random.next_u32()) << 20, self.random.next_u32() & 0xffff);
        if let Some((block, group, channel)) = self.answers.pop_front().flatten() {
            for (port, blocks) in operation.blocks.iter().enumerate() {
                if let Some(block) = blocks.get(block) {
                    let mask = 0xffff << (16 * port);
                    scales =
                        scales & !mask | u64::from(block[group].scales[channel].to_bits()) << (16 * port);
                    let mask = 15 << (4 * port);
                    zeros = zeros & !mask | u32::from(block[group].zeros[channel]) << (4 * port);
                }
            }
        }
        self.model.set_at(self.ports.scale, scales);
        self.model.set_at(self.ports.zero, zeros.into());
    }

    fn take(&mut self, ready: u64) {
        let taken = self.model.get_at(self.ports.valid) & ready;
        if taken == 0 {
            return;
        }
        let mut data = [0; PORTS];
        self.model.get_words_at(self.ports.data, &mut data);
        for (port, value) in data.into_iter().enumerate() {
            if taken >> port & 1 == 0 {
                continue;
            }
            let channel = self.model.get_at(self.ports.res_channel) >> (4 * port) & 15;
            let token = self.model.get_at(self.ports.token) >> (3 * port) & 7;
            let last = self.model.get_at(self.ports.last) >> port & 1 == 1;
            self.results[port].push_back((token as usize, channel as usize, value, last));
        }
    }

    /// Runs the operation and checks every result.
    fn run(&mut self, operation: &Operation, load: Load) {
        self.load = load;
        self.load(operation);
        let quads = self.channels / 4;
        for block in 0..operation.rounds() {
            let mut waited = 0;
            while self.model.get("bank_free_o") == 0 {
                self.clock(operation, None);
                waited += 1;
                assert!(waited < 100_000, "the bank is never free");
            }
            self.headers[self.round & 1] = Some(block);
            let planes = if operation.segments { 2 } else { 1 };
            for index in 0..operation.groups * planes * 8 * quads {
                let (group, plane) = (index / (planes * 8 * quads), index / (8 * quads) % planes);
                let (line, quad) = (index / quads % 8, index % quads);
                while !self.chance(load.tiles) {
                    self.clock(operation, None);
                }
                self.clock(operation, Some(Place { group, plane, line, quad, block }));
            }
            self.round += 1;
        }
        let mut waited = 0;
        self.clock(operation, None);
        while self.model.get("idle_o") == 0 {
            self.clock(operation, None);
            waited += 1;
            assert!(waited < 100_000, "it never becomes idle");
        }
        self.check(operation);
    }

    fn check(&mut self, operation: &Operation) {
        for port in 0..PORTS {
            for block in 0..operation.blocks[port].len() {
                for token in 0..operation.tokens {
                    for channel in 0..self.channels {
                        let last = token + 1 == operation.tokens && channel + 1 == self.channels;
                        let expected = (token, channel, operation.result(port, block, token, channel), last);
                        let found = self.results[port].pop_front();
                        assert_eq!(
                            found,
                            Some(expected),
                            "port {port} block {block}: token, channel, value, last"
                        );
                    }
                }
            }
            assert_eq!(self.results[port].pop_front(), None, "more results of port {port} than there are");
        }
    }
}

const FULL: Load = Load { tiles: 256, ready: 256 };

fn run_all(tokens: usize, layout: usize) {
    let Some(mut bench) = Bench::new(tokens, layout) else { return };
    let mut random = random((10 * tokens + layout) as u64);
    let loads = [
        FULL,
        Load { tiles: 128, ready: 256 },
        Load { tiles: 256, ready: 40 },
        Load { tiles: 40, ready: 200 },
    ];
    for index in 0..36 {
        let kind = [Kind::Plain, Kind::Ends, Kind::Wild][index % 3];
        let used = if index < 3 { tokens } else { 1 + random.next_u32() as usize % tokens };
        let groups = 1 + random.next_u32() as usize % 5;
        let most = 1 + random.next_u32() as usize % 4;
        // Ports differ by at most a block.
        let mut blocks: [usize; PORTS] = std::array::from_fn(|_| most - (random.next_u32() & 1) as usize);
        blocks[random.next_u32() as usize % PORTS] = most;
        let segments = layout == 0 && random.next_u32().is_multiple_of(3);
        let shape = Shape { channels: bench.channels, segments, groups, tokens: used, blocks };
        let operation = Operation::new(&mut random, kind, &shape);
        bench.run(&operation, loads[index % 4]);
        if index == 20 {
            abandon(&mut bench, &operation);
        }
    }
}

/// A reset in the middle of an operation.
fn abandon(bench: &mut Bench, operation: &Operation) {
    bench.load(operation);
    bench.headers = [Some(0); 2];
    for line in 0..8 {
        for quad in 0..bench.channels / 4 {
            bench.clock(operation, Some(Place { group: 0, plane: 0, line, quad, block: 0 }));
        }
    }
    bench.model.set_at(bench.ports.tile_ctrl, 0);
    bench.model.reset(1);
    bench.answers = VecDeque::from([None, None]);
    bench.round = 0;
    for results in &mut bench.results {
        results.clear();
    }
    for _ in 0..200 {
        bench.clock(operation, None);
    }
    assert_eq!((bench.model.get("idle_o"), bench.model.get("bank_free_o")), (1, 1));
    assert!(bench.results.iter().all(VecDeque::is_empty));
}

#[test]
fn computes_row_blocks_for_8_tokens() {
    run_all(8, 0);
}

#[test]
fn computes_awq_macros_for_4_tokens() {
    run_all(4, 1);
}

#[test]
fn computes_row_blocks_for_1_token() {
    run_all(1, 0);
}

#[test]
fn computes_awq_macros_for_2_tokens() {
    run_all(2, 1);
}

#[test]
fn computes_6144_inputs_and_one_block() {
    let Some(mut bench) = Bench::new(8, 0) else { return };
    let mut random = random(77);
    let shape = Shape { channels: 16, segments: false, groups: 96, tokens: 8, blocks: [0, 0, 0, 1] };
    let long = Operation::new(&mut random, Kind::Plain, &shape);
    bench.run(&long, FULL);
    let many = Shape { groups: 1, tokens: 1, blocks: [64, 64, 63, 64], ..shape };
    let many = Operation::new(&mut random, Kind::Plain, &many);
    bench.run(&many, FULL);
}
