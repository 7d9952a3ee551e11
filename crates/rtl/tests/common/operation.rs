//! Random operations in a memory of their own, run by register accesses on any device.

use edgewen_accel::descriptor::{Descriptor, PORTS, PortBlocks, WORDS};
use edgewen_accel::host::{AddressMap, BusError, Device, Memory};
use edgewen_accel::image::Layout;
use edgewen_accel::program::Limits;
use edgewen_accel::registers as map;
use edgewen_accel::sim::Sim;
use edgewen_rtl::{RtlDevice, RtlOptions};
use half::f16;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// First byte of the memory: beyond 4 GiB, so that all bits of an address count.
pub const BASE: u64 = 0x8_1234_5000;

/// Memory without gaps, as both devices get a copy of.
#[derive(Debug, Clone)]
pub struct Flat(pub Vec<u8>);

impl Flat {
    fn range(&self, address: u64, len: usize) -> Result<std::ops::Range<usize>, BusError> {
        let start = address.checked_sub(BASE).ok_or(BusError::Decode)? as usize;
        if self.0.len() < start + len { Err(BusError::Decode) } else { Ok(start..start + len) }
    }
}

impl Memory for Flat {
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), BusError> {
        out.copy_from_slice(&self.0[self.range(address, out.len())?]);
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), BusError> {
        let range = self.range(address, data.len())?;
        self.0[range].copy_from_slice(data);
        Ok(())
    }
}

/// What the numbers of an operation are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    /// Of ordinary size.
    Usual,
    /// Zeros, subnormals, the largest; so also infinities and NaN.
    Extreme,
}

/// The shape of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub rows: u32,
    pub groups: u32,
    pub tokens: u32,
    pub bias: bool,
    pub top_k: bool,
    /// Keys or values instead of weights: 8 bits in two planes.
    pub segments: bool,
    /// Blocks of each port; `None`: a quarter each.
    pub blocks: Option<[u32; PORTS]>,
    pub numbers: Numbers,
}

impl Shape {
    /// A matrix as they are, for one token.
    pub fn new(rows: u32, groups: u32) -> Self {
        let numbers = Numbers::Usual;
        Self { rows, groups, tokens: 1, bias: false, top_k: false, segments: false, blocks: None, numbers }
    }

    /// For so many tokens.
    pub fn tokens(self, tokens: u32) -> Self {
        Self { tokens, ..self }
    }

    /// With a bias.
    pub fn bias(self) -> Self {
        Self { bias: true, ..self }
    }

    /// Of segments.
    pub fn segments(self) -> Self {
        Self { segments: true, ..self }
    }
}

/// Memory in the making, and the operations in it.
pub struct Program {
    pub memory: Flat,
    pub descriptors: Vec<Descriptor>,
    layout: Layout,
    random: Pcg64Mcg,
}

impl Program {
    pub fn new(layout: Layout, shapes: &[Shape]) -> Self {
        let random = Pcg64Mcg::seed_from_u64(71);
        let mut program = Self { memory: Flat(Vec::new()), descriptors: Vec::new(), layout, random };
        for (index, shape) in shapes.iter().enumerate() {
            program.add(index as u32, shape);
        }
        program
    }

    fn place(&mut self, align: usize, data: &[u8]) -> u64 {
        let start = self.memory.0.len().next_multiple_of(align);
        self.memory.0.resize(start, 0);
        self.memory.0.extend_from_slice(data);
        BASE + start as u64
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.random.next_u32() as u8).collect()
    }

    fn scale(&mut self, numbers: Numbers) -> [u8; 2] {
        let random = self.random.next_u32();
        let bits = match numbers {
            Numbers::Usual => f16::from_f32(1e-5 * (1 + random % 4096) as f32).to_bits(),
            Numbers::Extreme => [0, 1, 0x3ff, 0x400, 0x7bff, 0x8001, 0xfbff, 0x3c00][random as usize % 8],
        };
        bits.to_le_bytes()
    }

    fn number(&mut self, numbers: Numbers) -> f32 {
        let random = self.random.next_u32();
        match numbers {
            Numbers::Usual => (random as i32 >> 8) as f32 * 1e-6,
            Numbers::Extreme => {
                [0.0, -0.0, f32::MAX, f32::MIN_POSITIVE, 1e-45, 3e33, 1.0][random as usize % 7]
            }
        }
    }

    fn layout(&self, shape: &Shape) -> Layout {
        if shape.segments { Layout::Segments } else { self.layout }
    }

    /// A block of random codes and zero points; macros and segments have their scales in every group.
    fn block(&mut self, shape: &Shape) -> Vec<u8> {
        let layout = self.layout(shape);
        let mut bytes = self.bytes(16 * layout.block_beats(shape.groups) as usize);
        let (stride, scales) = match layout {
            Layout::RowBlocks => (bytes.len(), 0..32 * shape.groups as usize),
            Layout::AwqMacro => (288, 16..32),
            Layout::Segments => (1088, 0..32),
        };
        for part in bytes.chunks_exact_mut(stride) {
            for scale in part[scales.clone()].chunks_exact_mut(2) {
                scale.copy_from_slice(&self.scale(shape.numbers));
            }
        }
        if shape.numbers == Numbers::Extreme {
            // All codes and zero points 0, or all 15.
            let (value, header) =
                ([0, 0xff][self.random.next_u32() as usize % 2], 32 * shape.groups as usize);
            if layout == Layout::RowBlocks {
                bytes[header..].fill(value);
            }
        }
        bytes
    }

    /// Codes, then scale and sum of every group.
    fn activations(&mut self, shape: &Shape) -> Vec<u8> {
        let mut codes = self.bytes(64 * shape.groups as usize);
        let mut sides = Vec::new();
        for group in codes.chunks_exact_mut(64) {
            for code in &mut *group {
                *code = match shape.numbers {
                    Numbers::Usual => (*code as i8).max(-127) as u8,
                    Numbers::Extreme => [127, -127_i8 as u8, 0][*code as usize % 3],
                };
            }
            let sum: i32 = group.iter().map(|&code| i32::from(code as i8)).sum();
            let scale = self.number(shape.numbers).abs();
            sides.extend(scale.to_le_bytes().into_iter().chain(sum.to_le_bytes()));
        }
        codes.extend(sides);
        codes.resize(codes.len().next_multiple_of(64), 0);
        codes
    }

    fn add(&mut self, tag: u32, shape: &Shape) {
        let total = shape.rows.div_ceil(self.layout.block_rows() as u32);
        let counts = shape.blocks.unwrap_or_else(|| {
            std::array::from_fn(|port| total * (port as u32 + 1) / 4 - total * port as u32 / 4)
        });
        assert_eq!(counts.iter().sum::<u32>(), total);
        let ports = counts.map(|blocks| {
            let data: Vec<u8> = (0..blocks).flat_map(|_| self.block(shape)).collect();
            PortBlocks { address: self.place(64, &data), blocks }
        });
        let bias = shape.bias.then(|| {
            let data: Vec<u8> =
                (0..shape.rows).flat_map(|_| self.number(shape.numbers).to_le_bytes()).collect();
            self.place(4096, &data)
        });
        let tokens: Vec<Vec<u8>> = (0..shape.tokens).map(|_| self.activations(shape)).collect();
        let activations = self.place(64, &tokens.concat());
        let results_stride = u64::from(total * self.layout.block_rows() as u32 * 4).next_multiple_of(64);
        let results = self.place(64, &vec![0xee; (results_stride * u64::from(shape.tokens)) as usize]);
        // Room behind everything: bias and results are read and written in whole blocks.
        self.place(64, &[0; 64]);
        self.descriptors.push(Descriptor {
            tokens: shape.tokens,
            top_k: shape.top_k,
            segments: shape.segments,
            groups: shape.groups,
            block_beats: self.layout(shape).block_beats(shape.groups),
            header_beats: self.layout(shape).header_beats(shape.groups),
            rows: shape.rows,
            tag: 0x100 + tag,
            ports,
            activations,
            activations_stride: tokens[0].len() as u64,
            results,
            results_stride,
            bias,
        });
    }

    /// The descriptors as words.
    pub fn words(&self) -> Vec<[u32; WORDS]> {
        self.descriptors.iter().map(|descriptor| descriptor.encode().expect("it is legal")).collect()
    }

    fn map(&self) -> AddressMap {
        AddressMap { model: BASE, buffers: BASE..BASE + self.memory.0.len() as u64 }
    }

    /// The functional model with this memory.
    pub fn sim(&self) -> Runner<Sim> {
        let limits = Limits { layout: self.layout, ..Limits::default() };
        Runner::new(Sim::with_memory(limits, Box::new(self.memory.clone()), self.map()))
    }

    /// The simulated RTL with this memory, or nothing without Verilator.
    pub fn rtl(&self, options: &RtlOptions) -> Option<Runner<RtlDevice>> {
        match RtlDevice::with_memory(Box::new(self.memory.clone()), self.map(), options) {
            Ok(device) => Some(Runner::new(device)),
            Err(error) if error.is_missing_tool() && std::env::var("CI").as_deref() != Ok("true") => {
                eprintln!("skipped: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// All of the memory of a device.
    pub fn contents(&self, device: &mut impl Device) -> Vec<u8> {
        let mut bytes = vec![0; self.memory.0.len()];
        device.memory().read(BASE, &mut bytes).expect("it is all there");
        bytes
    }
}

/// A device and its registers.
pub struct Runner<D> {
    pub device: D,
}

/// The error registers: code, port, address, operation, tag.
pub type Failure = (u32, u32, u64, u32, u32);

impl<D: Device> Runner<D> {
    fn new(device: D) -> Self {
        let mut runner = Self { device };
        runner.write(map::CONTROL.offset, map::CONTROL_ENABLE.mask() | map::CONTROL_IRQ_ENABLE.mask());
        runner
    }

    pub fn read(&mut self, offset: u32) -> u32 {
        self.device.read(offset).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn write(&mut self, offset: u32, value: u32) {
        self.device.write(offset, value).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Writes descriptors into the ring, from entry `first` on.
    pub fn put(&mut self, first: u32, words: &[[u32; WORDS]]) {
        for (entry, words) in (first..).zip(words) {
            for (index, &word) in (0..).zip(words) {
                self.write(map::DESCRIPTOR_RAM + 64 * entry + 4 * index, word);
            }
        }
    }

    pub fn stream(&mut self, tail: u32) {
        self.write(map::STREAM_TAIL.offset, tail);
    }

    pub fn ring(&mut self, doorbell: u32) {
        self.write(map::DOORBELL.offset, doorbell);
    }

    /// Waits until `count` operations are done, or for the error.
    pub fn finish(&mut self, count: u32) -> Result<(), Failure> {
        for _ in 0..200 {
            if self.read(map::DONE.offset) == count {
                return Ok(());
            }
            if map::STATUS_ERROR.is_set(self.read(map::STATUS.offset)) {
                let address = u64::from(self.read(map::ERROR_ADDRESS_HI.offset)) << 32
                    | u64::from(self.read(map::ERROR_ADDRESS_LO.offset));
                return Err((
                    self.read(map::ERROR_CODE.offset),
                    self.read(map::ERROR_PORT.offset),
                    address,
                    self.read(map::ERROR_OP.offset),
                    self.read(map::ERROR_TAG.offset),
                ));
            }
            self.device.wait().unwrap_or_else(|error| panic!("{error}"));
            self.write(map::IRQ_STATUS.offset, 3);
        }
        panic!("operation {count} never ends");
    }

    /// Runs these descriptors one after the other, streamed in advance.
    pub fn run(&mut self, words: &[[u32; WORDS]]) {
        self.put(0, words);
        self.stream(words.len() as u32);
        self.ring(words.len() as u32);
        self.finish(words.len() as u32).expect("no fault");
    }

    /// Soft reset.
    pub fn reset(&mut self) {
        self.write(map::CONTROL.offset, map::CONTROL_SOFT_RESET.mask());
        for _ in 0..2000 {
            if !map::CONTROL_SOFT_RESET.is_set(self.read(map::CONTROL.offset)) {
                let switches = map::CONTROL_ENABLE.mask() | map::CONTROL_IRQ_ENABLE.mask();
                return self.write(map::CONTROL.offset, switches);
            }
        }
        panic!("the soft reset does not end");
    }

    /// The list of the best: bits and row.
    pub fn list(&mut self) -> Vec<(u32, u32)> {
        let count = self.read(map::TOPK_COUNT.offset);
        (0..count).map(|i| (self.read(map::TOPK_VALUE.at(i)), self.read(map::TOPK_INDEX.at(i)))).collect()
    }
}
