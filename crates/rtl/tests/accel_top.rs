//! The whole accelerator at its registers, against the functional model: every kind of operation, run-ahead, counters,
//! soft resets in mid-stream, faults of the memory, illegal descriptors.

mod common;
#[path = "common/operation.rs"]
mod operation;

use edgewen_accel::image::Layout;
use edgewen_accel::registers as map;
use edgewen_rtl::{Fault, FaultKind, MemoryTiming, RtlDevice, RtlOptions, Speed};
use operation::{Numbers, Program, Runner, Shape};

fn options(seed: u64) -> RtlOptions {
    RtlOptions { timing: MemoryTiming::Random { seed, pl_mhz: 300.0 }, ..RtlOptions::default() }
}

/// Whether the memories agree after both ran the program.
fn check(program: &Program, rtl: &mut Runner<RtlDevice>, what: &str) {
    let mut sim = program.sim();
    sim.run(&program.words());
    let (found, expected) = (program.contents(&mut rtl.device), program.contents(&mut sim.device));
    for descriptor in program.descriptors.iter().filter(|descriptor| !descriptor.top_k) {
        for token in 0..u64::from(descriptor.tokens) {
            for row in 0..u64::from(descriptor.rows) {
                let at = (descriptor.results + token * descriptor.results_stride + 4 * row - operation::BASE)
                    as usize;
                assert_eq!(found[at..at + 4], expected[at..at + 4], "{what}: token {token}, row {row}");
            }
        }
    }
    assert!(found == expected, "{what}: something else was written");
    assert_eq!(rtl.list(), sim.list(), "{what}");
}

fn compare(program: &Program, options: &RtlOptions, what: &str) {
    let Some(mut rtl) = program.rtl(options) else { return };
    rtl.run(&program.words());
    check(program, &mut rtl, what);
}

#[test]
fn computes_every_shape() {
    let shapes = [
        Shape::new(64, 1),
        Shape::new(1, 1).tokens(8),
        Shape::new(200, 14).bias(),
        Shape::new(1152, 14).tokens(8).bias(),
        Shape::new(130, 76).tokens(2),
        Shape::new(64, 96).tokens(3).bias(),
        Shape { blocks: Some([0, 7, 1, 3]), ..Shape::new(170, 5).tokens(5).bias() },
        Shape { blocks: Some([9, 0, 0, 0]), ..Shape::new(144, 2).tokens(7) },
        Shape { top_k: true, ..Shape::new(500, 3) },
        Shape { numbers: Numbers::Extreme, ..Shape::new(300, 9).tokens(4).bias() },
        Shape::new(128, 1).tokens(7).segments(),
        Shape::new(64, 5).tokens(7).segments(),
        Shape::new(200, 3).segments().bias(),
        Shape { numbers: Numbers::Extreme, ..Shape::new(100, 2) },
        Shape { numbers: Numbers::Extreme, ..Shape::new(64, 2).tokens(2).segments() },
        Shape { numbers: Numbers::Extreme, top_k: true, ..Shape::new(210, 2) },
    ];
    for (index, &shape) in shapes.iter().enumerate() {
        compare(&Program::new(Layout::RowBlocks, &[shape]), &options(index as u64), &format!("{shape:?}"));
    }
}

#[test]
fn computes_any_number_of_tokens() {
    for tokens in 1..=8 {
        let program = Program::new(Layout::RowBlocks, &[Shape::new(96, 3).tokens(tokens)]);
        compare(&program, &options(tokens.into()), &format!("{tokens} tokens"));
    }
}

/// A layer or two in small, of which a short ring holds a part.
fn sequence() -> Vec<Shape> {
    let layer = [
        Shape::new(192, 4).bias(),
        Shape::new(64, 3),
        Shape::new(300, 4).tokens(3),
        Shape::new(64, 2).tokens(7).segments(),
        Shape { top_k: true, ..Shape::new(333, 4) },
        Shape::new(70, 9).tokens(8).bias(),
    ];
    [layer, layer].concat()
}

#[test]
fn runs_ahead_of_the_doorbell() {
    let program = Program::new(Layout::RowBlocks, &sequence());
    let words = program.words();
    for seed in 0..3 {
        let Some(mut rtl) = program.rtl(&options(seed)) else { return };
        let entries = 4;
        rtl.write(map::RING_ENTRIES.offset, entries);
        let count = words.len() as u32;
        for done in 0..count {
            // Everything that fits the ring streams before the doorbell of the operation in hand.
            for ahead in if done == 0 { 0..entries } else { done + entries - 1..done + entries } {
                if ahead < count {
                    rtl.put(ahead % entries, &[words[ahead as usize]]);
                    rtl.stream(ahead + 1);
                }
            }
            rtl.device.run(100 * seed).unwrap();
            rtl.ring(done + 1);
            rtl.finish(done + 1).expect("no fault");
        }
        check(&program, &mut rtl, &format!("seed {seed}"));
        assert_eq!(rtl.read(map::STREAM_HEAD.offset), count);
        assert_eq!(rtl.read(map::STATUS.offset), map::STATUS_IDLE.mask());
    }
}

#[test]
fn a_small_buffer_changes_nothing() {
    let program = Program::new(Layout::RowBlocks, &sequence());
    let parameters =
        [("FifoDepth", "32"), ("MaxOutstanding", "2")].map(|(name, value)| (name.into(), value.into()));
    // Short builds for the variants; the design as it is is built for speed and shared with other tests.
    let options = RtlOptions { parameters: parameters.into(), speed: Speed::Build, ..options(4) };
    compare(&program, &options, "32 beats");
}

#[test]
fn counts_beats_and_cycles() {
    let program = Program::new(Layout::RowBlocks, &[Shape::new(256, 6).tokens(4), Shape::new(100, 3).bias()]);
    let Some(mut rtl) = program.rtl(&RtlOptions::default()) else { return };
    rtl.run(&program.words());
    let mut rounds = 0;
    for port in 0..4 {
        let beats =
            program.descriptors.iter().map(|one| one.ports[port].blocks * one.block_beats).sum::<u32>();
        assert_eq!(rtl.read(map::PORT_BEATS.at(port as u32)), beats);
        assert_eq!(rtl.read(map::PORT_LEVEL.at(port as u32)), 0);
        let busy = rtl.read(map::PORT_BUSY.at(port as u32));
        assert!(beats <= busy, "{busy} cycles for {beats} beats");
        assert!(rtl.read(map::PORT_MAX_LEVEL.at(port as u32)) > 0);
        rounds = rounds.max(beats);
    }
    let data = rtl.read(map::PORT_BEATS.at(4));
    // Bias, codes and sides; results of 16 blocks for 4 tokens and of 7 for one.
    assert_eq!(data, 7 * 4 + 4 * (24 + 4) + 12 + 4 + 4 * 16 * 4 + 7 * 4);
    let compute = rtl.read(map::COMPUTE_CYCLES.offset);
    assert_eq!(compute, rounds);
    let (cycles, busy) = (rtl.read(map::CYCLES.offset), rtl.read(map::BUSY_CYCLES.offset));
    let load = rtl.read(map::LOAD_CYCLES.offset);
    assert!(load > 0 && load + compute < busy && busy < cycles, "{load} {compute} {busy} {cycles}");
    rtl.write(map::CONTROL.offset, map::CONTROL_CLEAR_COUNTERS.mask());
    for offset in
        [map::CYCLES.offset, map::BUSY_CYCLES.offset, map::PORT_BEATS.at(0), map::PORT_MAX_LEVEL.at(3)]
    {
        assert_eq!(rtl.read(offset), 0);
    }
}

#[test]
fn computes_right_after_a_soft_reset_at_any_time() {
    let program = Program::new(Layout::RowBlocks, &sequence());
    let words = program.words();
    let Some(mut rtl) = program.rtl(&options(5)) else { return };
    for clocks in [0, 1, 20, 33, 57, 90, 140, 333, 600, 1000, 1500, 2222, 3500, 5000] {
        rtl.put(0, &words);
        rtl.stream(words.len() as u32);
        rtl.ring(words.len() as u32);
        rtl.device.run(clocks).unwrap();
        rtl.reset();
        assert_eq!((rtl.read(map::DONE.offset), rtl.read(map::STREAM_HEAD.offset)), (0, 0));
        assert!(!rtl.device.memory_is_busy(), "after {clocks} clocks");
    }
    rtl.run(&words);
    check(&program, &mut rtl, "after resets");
}

#[test]
fn names_operation_port_and_address_of_a_fault() {
    let program = Program::new(Layout::RowBlocks, &[Shape::new(192, 4).bias(), Shape::new(256, 5).tokens(3)]);
    let words = program.words();
    let Some(mut rtl) = program.rtl(&options(6)) else { return };
    rtl.write(map::TIMEOUT.offset, 2000);
    let kinds = [
        (FaultKind::SlaveError { beat: 2 }, 1),
        (FaultKind::DecodeError { beat: 0 }, 2),
        (FaultKind::NoAnswer, 3),
        (FaultKind::EarlyLast { beat: 3 }, 4),
        (FaultKind::MissingLast, 4),
    ];
    for port in 0..6_usize {
        for (kind, code) in kinds {
            // A write has no data in its answer.
            if port == 5 && code == 4 {
                continue;
            }
            rtl.device.inject(Fault { port, after: 3, kind });
            rtl.put(0, &words);
            rtl.stream(2);
            rtl.ring(2);
            let (found, at, address, operation, tag) = rtl.finish(2).expect_err("a fault");
            assert_eq!((found, at), (code, port as u32), "{kind:?} of port {port}");
            assert!(
                operation < 2 && tag == 0x100 + operation,
                "{kind:?} of port {port}: {operation} {tag:#x}"
            );
            let inside = |start: u64, bytes: u64| (start..start + bytes).contains(&address);
            let known = program.descriptors.iter().any(|one| match port {
                0..4 => {
                    inside(one.ports[port].address, u64::from(one.ports[port].blocks * one.block_beats) * 16)
                }
                4 => {
                    inside(one.activations, one.activations_stride * u64::from(one.tokens))
                        || one.bias.is_some_and(|bias| inside(bias, u64::from(one.rows) * 4))
                }
                _ => inside(one.results, one.results_stride * u64::from(one.tokens)),
            });
            assert!(known, "{kind:?} of port {port}: address {address:#x}");
            assert_eq!(rtl.read(map::DONE.offset), operation);
            rtl.reset();
            assert_eq!(rtl.read(map::STATUS.offset), map::STATUS_IDLE.mask());
            rtl.run(&words);
            check(&program, &mut rtl, &format!("after {kind:?} of port {port}"));
            rtl.reset();
        }
    }
}

#[test]
fn refuses_illegal_descriptors_and_recovers() {
    let program = Program::new(Layout::RowBlocks, &[Shape::new(64, 2), Shape::new(64, 2).tokens(2)]);
    let words = program.words();
    let Some(mut rtl) = program.rtl(&options(7)) else { return };
    let changes: [fn(&mut [u32; 16]); 5] = [
        |words| words[0] = 0,
        |words| words[0] |= 0xf0,
        |words| words[1] += 1 << 16,
        |words| words[2] += 100,
        |words| words[0] |= 2,
    ];
    for change in changes {
        let mut illegal = words.clone();
        change(&mut illegal[1]);
        rtl.put(0, &illegal);
        rtl.stream(2);
        rtl.ring(2);
        assert_eq!(rtl.finish(2), Err((5, 15, 0, 1, 0x101)));
        rtl.reset();
    }
    rtl.run(&words);
    check(&program, &mut rtl, "after illegal descriptors");
}

#[test]
fn reads_macros() {
    let shapes = [
        Shape::new(64, 1),
        Shape::new(200, 14).tokens(8).bias(),
        Shape { blocks: Some([0, 7, 1, 3]), ..Shape::new(85, 5).tokens(5) },
        Shape { top_k: true, ..Shape::new(500, 3) },
    ];
    let program = Program::new(Layout::AwqMacro, &shapes);
    let parameters = vec![("Layout".to_owned(), "1".to_owned())];
    compare(&program, &RtlOptions { parameters, speed: Speed::Build, ..options(8) }, "macros");
}

#[test]
fn an_operation_costs_few_cycles_of_its_own() {
    let shape = Shape::new(896, 14);
    let program = Program::new(Layout::RowBlocks, &[shape]);
    let Some(mut rtl) = program.rtl(&RtlOptions::default()) else { return };
    // The weights wait in the FIFOs, so that no beat is missing.
    rtl.put(0, &program.words());
    rtl.stream(1);
    rtl.device.run(40_000).unwrap();
    rtl.ring(1);
    rtl.finish(1).expect("no fault");
    let (busy, compute) = (rtl.read(map::BUSY_CYCLES.offset), rtl.read(map::COMPUTE_CYCLES.offset));
    let load = rtl.read(map::LOAD_CYCLES.offset);
    assert_eq!((0..4).map(|port| rtl.read(map::PORT_STALL.at(port))).sum::<u32>(), 0);
    let own = busy - compute - load;
    println!("busy {busy}, load {load}, compute {compute}: {own} of its own");
    assert!(own < 400, "{own} cycles");
}
