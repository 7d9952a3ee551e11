//! The functional model by its registers alone: ring, streams, errors, counters, soft reset.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use edgewen_accel::descriptor::{Descriptor, PORTS, PortBlocks, WORDS};
use edgewen_accel::host::{AddressSpace, Device};
use edgewen_accel::image::{Layout, ModelImage};
use edgewen_accel::program::Limits;
use edgewen_accel::registers as map;
use edgewen_accel::registers::ErrorCode;
use edgewen_accel::sim::Sim;
use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits};
use half::f16;

const MODEL: u64 = 0x1000_0000;
const ACTIVATIONS: u64 = 0x6000_0000;
const RESULTS: u64 = 0x6000_1000;

/// Two matrices [40, 64], the weights of which are all 1 and all 2: every result is 64 or 128 times the activation.
fn device(limits: Limits) -> Sim {
    let shape = RowBlockShape { rows: 40, inputs: 64, group: GroupSize::G64, bits: WeightBits::Four };
    let mut bytes = Vec::new();
    for code in [1, 2] {
        let mut matrix = QuantizedMatrix::zeroed(shape);
        matrix.codes.fill(code);
        matrix.scales.fill(f16::ONE);
        bytes.extend(matrix.pack());
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
    }
    let mut sim =
        Sim::new(limits, AddressSpace::with_buffers(Arc::new(ModelImage::from_bytes(bytes)), 1 << 16));
    // One token, every code 1, scale 1, sum 64.
    let mut token = vec![1; 64];
    token.extend_from_slice(&1.0_f32.to_le_bytes());
    token.extend_from_slice(&64_i32.to_le_bytes());
    sim.memory().write(ACTIVATIONS, &token).unwrap();
    sim
}

/// The descriptor of matrix 0 or 1: three blocks, of which port 0 has none.
fn descriptor(matrix: u64) -> Descriptor {
    let block = u64::from(Layout::RowBlocks.block_beats(1)) * 16;
    let start = MODEL + matrix * 4096;
    let blocks = |index: u64| PortBlocks { address: start + index * block, blocks: 1 };
    Descriptor {
        tokens: 1,
        top_k: false,
        segments: false,
        groups: 1,
        block_beats: Layout::RowBlocks.block_beats(1),
        header_beats: Layout::RowBlocks.header_beats(1),
        rows: 40,
        tag: 77,
        ports: [PortBlocks { address: start, blocks: 0 }, blocks(0), blocks(1), blocks(2)],
        activations: ACTIVATIONS,
        activations_stride: 128,
        results: RESULTS,
        results_stride: 192,
        bias: None,
    }
}

fn put(sim: &mut Sim, entry: u32, words: &[u32; WORDS]) {
    for (word, &value) in (0..).zip(words) {
        let offset = map::DESCRIPTOR_RAM + 64 * entry + 4 * word;
        sim.write(offset, value).unwrap();
        assert_eq!(sim.read(offset).unwrap(), value);
    }
}

fn set(sim: &mut Sim, register: map::Register, value: u32) {
    sim.write(register.offset, value).unwrap();
}

fn get(sim: &mut Sim, register: map::Register) -> u32 {
    sim.read(register.offset).unwrap()
}

fn enable(sim: &mut Sim) {
    set(sim, map::CONTROL, map::CONTROL_ENABLE.mask());
}

/// The results, which are all equal.
fn result(sim: &mut Sim) -> f32 {
    let mut bytes = [0; 160];
    sim.memory().read(RESULTS, &mut bytes).unwrap();
    let values: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
    values[0]
}

#[test]
fn registers_read_what_the_table_says_after_a_reset() {
    let mut sim = device(Limits::default());
    for register in map::REGISTERS {
        if let map::Reset::Value(value) = register.reset {
            for index in 0..register.count {
                assert_eq!(sim.read(register.at(index)).unwrap(), value, "{}", register.name);
            }
        }
        if register.access == map::Access::ReadOnly {
            let before = sim.read(register.offset).unwrap();
            sim.write(register.offset, !before).unwrap();
            assert_eq!(sim.read(register.offset).unwrap(), before, "{} is read only", register.name);
        }
    }
    assert_eq!(get(&mut sim, map::CAPS0), 0x0020_6084);
    assert_eq!(get(&mut sim, map::CAPS1), 28_672);
    assert_eq!(get(&mut sim, map::CAPS2), 0x1000_0100);
    for hole in [0x014, 0x068, 0x114, 0x300, 0x3ffc] {
        sim.write(hole, 1).unwrap();
        assert_eq!(sim.read(hole).unwrap(), 0, "{hole:#x}");
    }
}

#[test]
fn streams_and_operations_begin_when_all_that_they_need_is_there() {
    let mut sim = device(Limits::default());
    put(&mut sim, 0, &descriptor(0).encode().unwrap());
    put(&mut sim, 1, &descriptor(1).encode().unwrap());
    set(&mut sim, map::STREAM_TAIL, 1);
    set(&mut sim, map::DOORBELL, 2);
    assert_eq!((get(&mut sim, map::STREAM_HEAD), get(&mut sim, map::DONE)), (0, 0), "not enabled");
    enable(&mut sim);
    assert_eq!(
        (get(&mut sim, map::STREAM_HEAD), get(&mut sim, map::DONE)),
        (1, 1),
        "the second is not streamed"
    );
    assert_eq!(result(&mut sim), 64.0);
    assert!(map::STATUS_BUSY.is_set(get(&mut sim, map::STATUS)), "the second waits for its stream");
    set(&mut sim, map::STREAM_TAIL, 2);
    assert_eq!((get(&mut sim, map::STREAM_HEAD), get(&mut sim, map::DONE)), (2, 2));
    assert_eq!(result(&mut sim), 128.0);
    assert_eq!(get(&mut sim, map::STATUS), map::STATUS_IDLE.mask());
    assert_eq!(get(&mut sim, map::IRQ_STATUS), map::IRQ_STATUS_DONE.mask());
    set(&mut sim, map::IRQ_STATUS, map::IRQ_STATUS_DONE.mask());
    assert_eq!(get(&mut sim, map::IRQ_STATUS), 0);
}

#[test]
fn what_is_computed_is_what_was_streamed() {
    // The stream is taken when the tail allows it: a descriptor that names other weights later changes nothing, one
    // that says where results go still counts.
    let mut sim = device(Limits::default());
    enable(&mut sim);
    put(&mut sim, 0, &descriptor(0).encode().unwrap());
    set(&mut sim, map::STREAM_TAIL, 1);
    let later = Descriptor { results: RESULTS + 4096, ..descriptor(1) };
    put(&mut sim, 0, &later.encode().unwrap());
    set(&mut sim, map::DOORBELL, 1);
    let mut bytes = [0; 4];
    sim.memory().read(RESULTS + 4096, &mut bytes).unwrap();
    assert_eq!(f32::from_le_bytes(bytes), 64.0);
}

#[test]
fn the_ring_wraps_where_it_is_told_to() {
    let mut sim = device(Limits::default());
    set(&mut sim, map::RING_ENTRIES, 3);
    for bad in [0, 257] {
        set(&mut sim, map::RING_ENTRIES, bad);
    }
    assert_eq!(get(&mut sim, map::RING_ENTRIES), 3);
    enable(&mut sim);
    for entry in 0..3 {
        put(&mut sim, entry, &descriptor(u64::from(entry % 2)).encode().unwrap());
    }
    for count in 1..10_u32 {
        set(&mut sim, map::STREAM_TAIL, count);
        set(&mut sim, map::DOORBELL, count);
        assert_eq!(get(&mut sim, map::DONE), count);
        assert_eq!(result(&mut sim), if (count - 1) % 3 == 1 { 128.0 } else { 64.0 }, "operation {count}");
    }
}

#[test]
fn streams_run_ahead_as_far_as_the_fifos_and_four_commands_reach() {
    let block = Layout::RowBlocks.block_beats(1);
    let mut sim = device(Limits { fifo_beats: 2 * block, ..Limits::default() });
    enable(&mut sim);
    for entry in 0..10 {
        put(&mut sim, entry, &descriptor(0).encode().unwrap());
    }
    set(&mut sim, map::STREAM_TAIL, 10);
    assert_eq!(get(&mut sim, map::STREAM_HEAD), 6, "two in the FIFO, four in the queue");
    assert_eq!(sim.read(map::PORT_LEVEL.at(1)).unwrap(), 2 * block);
    assert_eq!(sim.read(map::PORT_LEVEL.at(0)).unwrap(), 0, "port 0 has no blocks");
    set(&mut sim, map::DOORBELL, 1);
    assert_eq!(get(&mut sim, map::STREAM_HEAD), 7);
    assert_eq!(sim.read(map::PORT_BEATS.at(1)).unwrap(), 3 * block);
    assert_eq!(sim.read(map::PORT_MAX_LEVEL.at(1)).unwrap(), 2 * block);
    // Activations are 72 bytes, results of three ports 64 bytes each.
    assert_eq!(sim.read(map::PORT_BEATS.at(4)).unwrap(), 5 + 3 * 4);
    set(&mut sim, map::CONTROL, map::CONTROL_ENABLE.mask() | map::CONTROL_CLEAR_COUNTERS.mask());
    assert_eq!(sim.read(map::PORT_BEATS.at(1)).unwrap(), 0);
    set(&mut sim, map::DOORBELL, 10);
    assert_eq!(get(&mut sim, map::DONE), 10);
    assert_eq!(sim.read(map::PORT_BEATS.at(1)).unwrap(), 7 * block);
}

#[test]
fn illegal_descriptors_stop_everything_until_a_soft_reset() {
    type Change = fn(&mut Descriptor);
    let cases: [(&str, Change); 11] = [
        ("too many tokens", |d| d.tokens = 9),
        ("top-k of two tokens", |d| (d.tokens, d.top_k) = (2, true)),
        ("no groups", |d| d.groups = 0),
        ("too many groups", |d| d.groups = 97),
        ("beats of a block", |d| d.block_beats += 1),
        ("beats of a header", |d| d.header_beats = 0),
        ("segments with the beats of row blocks", |d| d.segments = true),
        ("no rows", |d| d.rows = 0),
        ("more blocks than rows", |d| d.ports[0].blocks = 1),
        ("fewer blocks than rows", |d| d.rows = 49),
        ("bias rows", |d| (d.rows, d.ports[3].blocks, d.bias) = (16 * 67, 65, Some(MODEL))),
    ];
    for (name, change) in cases {
        let mut sim = device(Limits::default());
        enable(&mut sim);
        let mut illegal = descriptor(0);
        change(&mut illegal);
        put(&mut sim, 0, &descriptor(1).encode().unwrap());
        put(&mut sim, 1, &illegal.encode().unwrap());
        put(&mut sim, 2, &descriptor(1).encode().unwrap());
        set(&mut sim, map::STREAM_TAIL, 3);
        set(&mut sim, map::DOORBELL, 3);
        assert_eq!(get(&mut sim, map::DONE), 1, "{name}");
        assert_eq!(get(&mut sim, map::ERROR_CODE), ErrorCode::Descriptor as u32, "{name}");
        assert_eq!(get(&mut sim, map::ERROR_PORT), map::NO_PORT, "{name}");
        assert_eq!((get(&mut sim, map::ERROR_OP), get(&mut sim, map::ERROR_TAG)), (1, 77), "{name}");
        assert!(map::STATUS_ERROR.is_set(get(&mut sim, map::STATUS)), "{name}");
        assert!(map::IRQ_STATUS_ERROR.is_set(get(&mut sim, map::IRQ_STATUS)), "{name}");

        set(&mut sim, map::CONTROL, map::CONTROL_SOFT_RESET.mask());
        for register in [map::DONE, map::DOORBELL, map::STREAM_HEAD, map::STREAM_TAIL, map::ERROR_CODE] {
            assert_eq!(get(&mut sim, register), 0, "{name} {}", register.name);
        }
        enable(&mut sim);
        set(&mut sim, map::STREAM_TAIL, 1);
        set(&mut sim, map::DOORBELL, 1);
        assert_eq!(
            (get(&mut sim, map::DONE), result(&mut sim)),
            (1, 128.0),
            "{name}: descriptors stay in the RAM"
        );
    }
}

#[test]
fn a_descriptor_that_was_never_written_is_an_error() {
    let mut sim = device(Limits::default());
    enable(&mut sim);
    set(&mut sim, map::STREAM_TAIL, 1);
    set(&mut sim, map::DOORBELL, 1);
    assert_eq!(get(&mut sim, map::ERROR_CODE), ErrorCode::Descriptor as u32);
}

#[test]
fn top_k_leaves_out_rows_that_only_fill_the_last_block_and_writes_nothing() {
    let mut sim = device(Limits::default());
    enable(&mut sim);
    put(&mut sim, 0, &Descriptor { top_k: true, ..descriptor(0) }.encode().unwrap());
    set(&mut sim, map::STREAM_TAIL, 1);
    set(&mut sim, map::DOORBELL, 1);
    assert_eq!((get(&mut sim, map::DONE), get(&mut sim, map::TOPK_COUNT)), (1, 32));
    for index in 0..32 {
        assert_eq!(sim.read(map::TOPK_INDEX.at(index)).unwrap(), index, "equal ones by row");
        assert_eq!(f32::from_bits(sim.read(map::TOPK_VALUE.at(index)).unwrap()), 64.0);
    }
    assert_eq!(result(&mut sim), 0.0);
    assert_eq!(PORTS, 4);
}
