//! The report of projected speeds: its sums are made again here from its JSON, and its figures are held to what was
//! published and to common sense.
#![allow(clippy::unwrap_used)]

use edgewen_accel::memory::DataRate;
use edgewen_accel::perf::ladder::ladder;
use edgewen_accel::perf::report::{Mode, Request, report, seed_rows};
use edgewen_accel::perf::token::{Attention, Head, Shape, System, total_ns};
use edgewen_kernels::kv::KvType;
use edgewen_model::packed::PackedFile;
use edgewen_testing::fixture;
use serde_json::Value;

fn demo() -> Shape {
    let file = PackedFile::open(&fixture("demo/demo.ewn")).unwrap();
    Shape { name: "demo".to_string(), config: file.config().clone(), head: Head::Accelerator }
}

/// Qwen2.5-0.5B.
fn half_billion() -> Shape {
    let mut shape = demo();
    let config = &mut shape.config;
    (config.hidden_size, config.intermediate_size, config.layers) = (896, 4864, 24);
    (config.heads, config.kv_heads, config.head_dim, config.vocab_size) = (14, 2, 64, 151_936);
    shape
}

fn request() -> Request {
    Request {
        mode: Mode::Hybrid,
        context: 200,
        prefill_tokens: 30,
        data_rate: DataRate::Mts2133,
        mhz: None,
        interval: None,
        run_ahead: true,
        kv: KvType::Int8,
        attention: Attention::Arrays,
        threads: 4,
    }
}

fn json(request: &Request) -> Value {
    serde_json::to_value(report(&demo(), request, None)).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The sum of a field over the rows of a table.
fn sum(rows: &Value, field: &str) -> f64 {
    rows.as_array().unwrap().iter().map(|row| number(&row[field])).sum()
}

#[track_caller]
fn assert_close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-6 * a.abs().max(b.abs()) + 1e-9, "{a} and {b}");
}

#[test]
fn sums_can_be_made_again_from_the_json() {
    for mode in [Mode::Hybrid, Mode::Seed] {
        let report = json(&Request { mode, ..request() });
        let (decode, inputs) = (&report["decode"], &report["inputs"]);
        let ms = number(&decode["ms"]);

        let parts = decode["breakdown"].as_object().unwrap();
        assert_close(parts.values().map(number).sum(), ms);
        assert!(number(&parts["other_ms"]).abs() < 0.001 * ms, "every clock has its reason");
        assert_close(number(&decode["tokens_per_second"]), 1e3 / ms);
        assert_close(number(&decode["cycles"]) / number(&inputs["mhz"]) / 1e3, ms);

        let operations = &decode["operations"];
        assert_close(sum(operations, "cycles"), number(&decode["cycles"]));
        assert_close(sum(operations, "weight_bytes"), number(&decode["weight_bytes"]));
        assert_close(sum(&decode["ports"], "beats") * 16.0, number(&decode["weight_bytes"]));
        for row in operations.as_array().unwrap() {
            let reasons = ["compute", "wait", "processor", "load", "hold", "drain"];
            let cycles = reasons.map(|reason| number(&row[format!("{reason}_cycles")])).iter().sum();
            assert_close(number(&row["cycles"]), cycles);
        }

        let gbps = number(&decode["weight_bytes"]) / ms / 1e6;
        assert_close(number(&decode["stream_gbps"]), gbps);
        assert_close(number(&decode["stream_utilization"]), gbps / number(&decode["stream_allowed_gbps"]));

        // A part: cycles at the clock, bytes at the rate of its threads, constants.
        let processor = &inputs["processor"];
        for part in decode["processor"].as_array().unwrap() {
            let memory = number(&part["ns"])
                - number(&part["cycles"]) * 1e3 / number(&processor["mhz"])
                - number(&part["constant_ns"]);
            let bytes = number(&part["bytes"]);
            let bounds = ["cluster_gbps", "thread_gbps"].map(|rate| bytes / number(&processor[rate]));
            assert!(bounds[0] - 1.0 <= memory && memory <= bounds[1] + 1.0, "{part}");
        }
        let busy = sum(&decode["processor"], "ns") / 1e6;
        let waited = number(&decode["breakdown"]["processor_ms"]);
        assert!(busy <= waited * 1.02 + 0.01, "{busy} ms of work in {waited} ms of waiting");
    }
}

#[test]
fn the_schema_is_as_published() {
    let report = json(&request());
    assert_eq!(report["schema"], 1);
    assert!(report["kind"].as_str().unwrap().starts_with("projection"));
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&report),
        "schema kind model inputs decode contexts prefill processor table_one seed ladder what_if roofline resources"
    );
    assert_eq!(
        keys(&report["inputs"]),
        "mode data_rate_mts mhz interval run_ahead fifo_beats max_outstanding kv attention \
         kv_bytes_per_position_and_layer processor kernels"
    );
    assert_eq!(
        keys(&report["decode"]),
        "context ms tokens_per_second cycles breakdown operations ports weight_bytes data_bytes processor_bytes \
         stream_allowed_gbps stream_gbps stream_utilization stream_ms compute_ms processor"
    );
    assert_eq!(
        keys(&report["decode"]["operations"][0]),
        "operation calls cycles compute_cycles wait_cycles processor_cycles load_cycles hold_cycles drain_cycles \
         weight_bytes data_bytes macs stall_cycles"
    );
    assert_eq!(keys(&report["ladder"][0]), "change ms tokens_per_second factor");
    assert_eq!(
        keys(&report["seed"][0]),
        "build interval layers_ms processor_ms head_ms tokens_per_second error"
    );
}

#[test]
fn the_seed_is_explained_within_15_percent() {
    for row in seed_rows(&half_billion(), DataRate::Mts2133) {
        assert!(row.error.abs() < 0.15, "{row:?}");
        assert_close(1e3 / row.tokens_per_second, row.layers_ms + row.processor_ms + row.head_ms);
    }
}

/// The arithmetic of the first of these by hand: 698,880 macros over four ports, 265 clocks each, at 125 MHz.
#[test]
fn the_layers_of_the_seed_take_what_its_synthesis_report_says() {
    let by_hand_ms = 698_880.0 / 4.0 * 265.0 / 125e6 * 1e3;
    let row = &seed_rows(&half_billion(), DataRate::Mts2133)[0];
    assert!((row.layers_ms / by_hand_ms - 1.0).abs() < 0.04, "{} and {by_hand_ms}", row.layers_ms);
}

#[test]
fn the_ladder_leads_from_the_seed_to_the_report() {
    let shape = demo();
    let system = System { processor: Default::default(), ..hybrid() };
    let rungs = ladder(&shape, &system, DataRate::Mts2133);
    assert_eq!(rungs.len(), 8);
    let product: f64 = rungs.iter().map(|rung| rung.factor).product();
    assert_close(product, rungs[7].tokens_per_second / rungs[0].tokens_per_second);
    assert_close(rungs[7].ms * 1e6, total_ns(&system.decode_sampled(&shape, 64)));
}

fn hybrid() -> System {
    System {
        hardware: Default::default(),
        memory: edgewen_accel::memory::MemoryConfig::kv260(DataRate::Mts2133, 300.0),
        processor: Default::default(),
        kv: KvType::F16,
        attention: Attention::Processor,
    }
}

#[test]
fn a_longer_context_takes_longer_and_more_threads_do_not() {
    let shape = half_billion();
    let work = |attention, kv, threads, context| {
        let mut system = System { attention, kv, ..hybrid() };
        system.processor.threads = threads;
        let steps = system.decode_steps(&shape, context, shape.config.layers);
        steps.iter().map(|planned| planned.step.processor_ns).sum::<f64>()
    };
    for (attention, kv) in [
        (Attention::Processor, KvType::F16),
        (Attention::Processor, KvType::Int8),
        (Attention::Arrays, KvType::Int8),
    ] {
        // Three threads are no help to two: the heads are split in fours and threes.
        for (threads, fewer) in [(1, 1), (2, 1), (4, 2)] {
            let at = [65, 128, 256, 1024, 4096].map(|context| work(attention, kv, threads, context));
            assert!(at.is_sorted(), "{attention:?} {kv:?} {threads}: {at:?}");
            let slower = work(attention, kv, fewer, 1024);
            assert!(at[3] <= slower, "{attention:?} {kv:?} {threads}: {} after {slower}", at[3]);
        }
    }
}

#[test]
fn run_ahead_and_a_faster_memory_help() {
    let shape = demo();
    let ns = |change: &dyn Fn(&mut System)| {
        let mut system = hybrid();
        change(&mut system);
        total_ns(&system.decode(&shape, 200))
    };
    let built = ns(&|_| ());
    assert!(built < ns(&|system| system.hardware.run_ahead = false));
    let memory = edgewen_accel::memory::MemoryConfig::kv260(DataRate::Mts2400, 300.0);
    assert!(ns(&|system| system.memory = memory.clone()) <= 1.01 * built);
}

#[test]
fn a_head_on_the_processor_costs_its_bytes() {
    let (with, without) = (demo(), Shape { head: Head::Processor { bytes: 5_700_000 }, ..demo() });
    let processor_ms = |shape: &Shape| {
        let steps = hybrid().decode_steps(shape, 100, shape.config.layers);
        steps.iter().map(|planned| planned.step.processor_ns).sum::<f64>() / 1e6
    };
    let difference = processor_ms(&without) - processor_ms(&with);
    assert!((0.9..1.1).contains(&difference), "a millisecond at 5.7 GB/s, not {difference}");
}
