//! The time model against the RTL: the same operations over the same memory model must take the same cycles.

mod common;
#[path = "common/operation.rs"]
#[allow(dead_code)]
mod operation;

use edgewen_accel::image::Layout;
use edgewen_accel::memory::{DataRate, MemoryConfig};
use edgewen_accel::perf::accelerator::{
    HardwareConfig, Operation, Placement, Step, StepTime, WeightLayout, run,
};
use edgewen_accel::registers as map;
use edgewen_rtl::{MemoryTiming, RtlOptions};
use operation::{Program, Shape};

/// What both count.
#[derive(Debug, Clone, Copy, Default)]
struct Cycles {
    /// An operation runs.
    busy: u64,
    /// Beats were taken.
    compute: u64,
    /// Operands are fetched; the model's includes the descriptor.
    load: u64,
    /// Compute wanted a beat of the port.
    stall: [u64; 4],
}

fn memory() -> MemoryConfig {
    MemoryConfig::kv260(DataRate::Mts2133, 300.0)
}

/// The RTL's counters after these operations, each rung `gap` clocks after the one before was done.
fn rtl(program: &Program, layout: Layout, gap: u64, run_ahead: bool) -> Option<Cycles> {
    let mut options = RtlOptions { timing: MemoryTiming::Board(memory()), ..RtlOptions::default() };
    if layout == Layout::AwqMacro {
        options.parameters.push(("Layout".into(), "1".into()));
    }
    let mut runner = program.rtl(&options)?;
    let words = program.words();
    let count = words.len() as u32;
    runner.put(0, &words);
    if run_ahead {
        runner.stream(count);
    }
    for done in 0..count {
        runner.device.run(gap).expect("no rule of the bus is broken");
        if !run_ahead {
            runner.stream(done + 1);
        }
        runner.ring(done + 1);
        runner.finish(done + 1).expect("no fault");
    }
    Some(Cycles {
        busy: u64::from(runner.read(map::BUSY_CYCLES.offset)),
        compute: u64::from(runner.read(map::COMPUTE_CYCLES.offset)),
        load: u64::from(runner.read(map::LOAD_CYCLES.offset)),
        stall: std::array::from_fn(|port| u64::from(runner.read(map::PORT_STALL.at(port as u32)))),
    })
}

/// The same by the model.
fn model(program: &Program, layout: Layout, gap: u64, run_ahead: bool) -> Cycles {
    let hardware = HardwareConfig {
        layout: if layout == Layout::RowBlocks { WeightLayout::RowBlocks } else { WeightLayout::AwqMacro },
        run_ahead,
        placement: Placement::AsInFile,
        ..HardwareConfig::default()
    };
    let steps: Vec<Step> = program
        .descriptors
        .iter()
        .map(|descriptor| Step {
            operation: Operation {
                name: "test",
                rows: descriptor.rows,
                groups: descriptor.groups,
                tokens: descriptor.tokens,
                bias: descriptor.bias.is_some(),
                top_k: descriptor.top_k,
                address: descriptor.ports[0].address,
                segments: descriptor.segments,
            },
            processor_ns: gap as f64 / 0.3,
            processor_bytes: 0,
            lag: 1,
        })
        .collect();
    let times = run(&hardware, &memory(), &steps);
    let sum = |of: fn(&StepTime) -> u64| times.iter().map(of).sum::<u64>();
    Cycles {
        busy: sum(|t| t.load_cycles + t.compute_cycles + t.wait_cycles + t.hold_cycles + t.drain_cycles),
        compute: sum(|t| t.compute_cycles),
        load: sum(|t| t.load_cycles),
        stall: std::array::from_fn(|port| times.iter().map(|time| time.stall[port]).sum()),
    }
}

#[test]
fn the_model_takes_the_cycles_of_the_rtl() {
    let layer = |tokens| {
        vec![
            Shape::new(1152, 14).bias().tokens(tokens),
            Shape::new(896, 14).tokens(tokens),
            Shape::new(1216, 14).tokens(tokens),
            Shape::new(448, 76).tokens(tokens),
        ]
    };
    let few = vec![Shape::new(64, 1), Shape::new(640, 2).tokens(8), Shape::new(48, 3)];
    for (name, layout, shapes, gap, run_ahead) in [
        ("one token", Layout::RowBlocks, layer(1), 0, true),
        ("eight tokens", Layout::RowBlocks, layer(8), 0, true),
        ("gaps", Layout::RowBlocks, layer(1), 3000, true),
        ("gaps, no run-ahead", Layout::RowBlocks, layer(1), 3000, false),
        ("small", Layout::RowBlocks, few, 100, true),
        ("macros", Layout::AwqMacro, layer(1)[1..3].to_vec(), 0, true),
    ] {
        let program = Program::new(layout, &shapes);
        let Some(rtl) = rtl(&program, layout, gap, run_ahead) else { return };
        let model = model(&program, layout, gap, run_ahead);
        let off = 100.0 * (model.busy as f64 / rtl.busy as f64 - 1.0);
        println!("{name}: {off:+.2} %\n  rtl   {rtl:?}\n  model {model:?}");
        assert_eq!(model.compute, rtl.compute, "{name}");
        assert!(
            model.load.abs_diff(rtl.load) <= rtl.load / 4,
            "{name}: loading\n  rtl   {rtl:?}\n  model {model:?}"
        );
        // Which of the two ports that share is behind is chance.
        let stalls = |cycles: &Cycles| cycles.stall.iter().sum::<u64>();
        assert!(
            stalls(&model).abs_diff(stalls(&rtl)) <= stalls(&rtl) / 20,
            "{name}: stalls\n  rtl   {rtl:?}\n  model {model:?}"
        );
        assert!(off.abs() < 2.0, "{name}: {off:+.2} % off\n  rtl   {rtl:?}\n  model {model:?}");
    }
}
