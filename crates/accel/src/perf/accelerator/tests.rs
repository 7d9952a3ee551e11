use super::*;
use crate::memory::DataRate;
use edgewen_model::{Config, Rope, RopeScaling};

/// Qwen2.5-0.5B.
fn qwen() -> Config {
    Config {
        hidden_size: 896,
        intermediate_size: 4864,
        layers: 24,
        heads: 14,
        kv_heads: 2,
        head_dim: 64,
        vocab_size: 151_936,
        max_position: 32_768,
        rms_norm_eps: 1e-6,
        rope: Rope { theta: 1e6, scaling: RopeScaling::None },
        tie_word_embeddings: true,
    }
}

fn small() -> Config {
    Config { layers: 3, vocab_size: 4096, ..qwen() }
}

fn memory() -> MemoryConfig {
    MemoryConfig::kv260(DataRate::Mts2133, 300.0)
}

fn idle(_: &Operation, _: Place) -> ProcessorWork {
    ProcessorWork::default()
}

fn total(times: &[StepTime]) -> u64 {
    times.iter().map(|time| time.cycles).sum()
}

fn placed() -> HardwareConfig {
    HardwareConfig::default()
}

#[test]
fn a_token_reads_every_weight_once() {
    let steps = decode_steps(&qwen(), &mut idle);
    assert_eq!(steps.len(), 97);
    let bytes: u64 = steps
        .iter()
        .map(|step| {
            let blocks = step.operation.rows.div_ceil(16);
            u64::from(blocks * block_beats(WeightLayout::RowBlocks, &step.operation)) * 16
        })
        .sum();
    assert_eq!(bytes, 24 * (72 * 7744 + 56 * 7744 + 608 * 7744 + 56 * 41_984) + 9496 * 7744);
}

#[test]
fn the_parts_of_a_step_are_its_cycles() {
    let mut work = |_: &Operation, _: Place| ProcessorWork { ns: 30_000.0, bytes: 20_000 };
    let steps = decode_steps(&small(), &mut work);
    for time in run(&placed(), &memory(), &steps) {
        let parts = time.processor_cycles
            + time.load_cycles
            + time.compute_cycles
            + time.wait_cycles
            + time.hold_cycles
            + time.drain_cycles;
        assert_eq!(parts, time.cycles);
        assert_eq!(time.beats.iter().sum::<u64>() * 16, time.weight_bytes);
        assert!(time.stall.iter().all(|&stall| stall <= time.wait_cycles));
        assert!(time.max_level.iter().all(|&level| level <= 28_672));
    }
}

#[test]
fn running_ahead_hides_the_processor() {
    let stream = total(&run(&placed(), &memory(), &decode_steps(&small(), &mut idle)));
    for (gap_us, hidden) in [(0.0, 1.0), (20.0, 0.5), (100.0, 0.3)] {
        let mut work = |_: &Operation, _: Place| ProcessorWork { ns: gap_us * 1000.0, bytes: 0 };
        let steps = decode_steps(&small(), &mut work);
        let gaps = steps.len() as f64 * gap_us * 300.0;
        let lost =
            |hardware: &HardwareConfig| total(&run(hardware, &memory(), &steps)) as f64 - stream as f64;
        let ahead = lost(&placed());
        let waiting = lost(&HardwareConfig { run_ahead: false, ..placed() });
        // Without it the first data of every operation are waited for, on top of the gaps.
        assert!(waiting > gaps, "{gap_us} us: {waiting} of {gaps}");
        assert!(ahead <= gaps * (1.0 - hidden), "{gap_us} us: {ahead} of {gaps}");
    }
}

#[test]
fn ports_in_the_same_banks_cost_a_fifth() {
    let steps = decode_steps(&small(), &mut idle);
    let in_file = HardwareConfig { placement: Placement::AsInFile, ..placed() };
    let file = total(&run(&in_file, &memory(), &steps)) as f64;
    let apart = total(&run(&placed(), &memory(), &steps)) as f64;
    assert!(file > 1.15 * apart, "{file} {apart}");
}

#[test]
fn a_slow_pipeline_takes_its_interval() {
    let steps = decode_steps(&small(), &mut idle);
    let slow = HardwareConfig { interval: 5, ..placed() };
    let times = run(&slow, &memory(), &steps);
    let beats: u64 = times.iter().map(|time| time.compute_cycles).sum();
    let cycles = total(&times);
    assert!(cycles > 5 * beats - 5 * 13 && cycles < 5 * beats + beats / 2, "{beats} {cycles}");
}

#[test]
fn eight_tokens_cost_little_more_than_one() {
    let one = total(&run(&placed(), &memory(), &decode_steps(&small(), &mut idle))) as f64;
    let steps = prefill_steps(&small(), 8, &mut idle);
    assert_eq!(steps.len(), 13);
    let eight = total(&run(&placed(), &memory(), &steps)) as f64;
    assert!(eight > one && eight < 1.12 * one, "{one} {eight}");
    assert_eq!(prefill_steps(&small(), 20, &mut idle).len(), 3 * 4 * 3 + 1);
}

#[test]
fn the_processors_work_overlaps_when_it_needs_no_results() {
    let mut work = |_: &Operation, place: Place| ProcessorWork {
        ns: if place.first_token == 0 { 20_000.0 } else { 60_000.0 },
        bytes: 0,
    };
    let steps = prefill_steps(&Config { layers: 1, ..small() }, 32, &mut work);
    assert_eq!(steps.iter().map(|step| step.lag).take(5).collect::<Vec<_>>(), [1, 2, 3, 4, 1]);
    let times = run(&placed(), &memory(), &steps);
    let serial: f64 = steps.iter().map(|step| step.processor_ns * 0.3).sum();
    let idle_cycles: u64 = times.iter().map(|time| time.processor_cycles).sum();
    assert!((idle_cycles as f64) < 0.8 * serial, "{idle_cycles} {serial}");
}

#[test]
fn odd_divisions_cover_every_block() {
    for division in [Division::Quarters, Division::Shares([0.27, 0.23, 0.23, 0.27]), Division::RoundRobin] {
        for blocks in [1, 3, 4, 56, 72, 9496] {
            let divided = divide(&division, blocks);
            assert_eq!(divided.iter().map(|part| part.1).sum::<u32>(), blocks);
        }
    }
}
