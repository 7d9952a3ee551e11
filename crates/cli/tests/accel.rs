//! `edgewen accel report`: what it prints and what it refuses.
#![allow(clippy::unwrap_used)]

mod common;

use common::Scratch;
use edgewen_testing::TinySpec;

#[test]
fn reports_the_demo_model_as_text_json_and_page() {
    let scratch = Scratch::new();
    let short = ["accel", "report", "--context", "100", "--prefill", "16"];
    let text = scratch.run(&short).succeeds().out;
    assert!(text.contains("projection") && text.contains("tokens/s at context 100"), "{text}");
    let json = scratch.run(&[&short[..], &["--json", "--data-rate", "2400"]].concat()).succeeds().json();
    assert_eq!((&json["schema"], &json["inputs"]["data_rate_mts"]), (&1.into(), &2400.into()));
    let ran = scratch.run(&[&short[..], &["--mode", "seed", "--html", "r.html"]].concat()).succeeds();
    assert!(ran.out.is_empty() && ran.err.contains("r.html"), "{}", ran.err);
    assert!(std::fs::read_to_string(scratch.path("r.html")).unwrap().contains("</html>"));
}

#[test]
fn refuses_what_cannot_be() {
    let scratch = Scratch::new();
    for (flags, expected) in [
        (&["--kv", "f16", "--attention", "arrays"][..], "--kv f16"),
        (&["--context", "1000000"], "--context 1000000"),
        (&["--prefill", "1000000"], "--prefill 1000000"),
        (&["--threads", "5"], "4 cores"),
        (&["--context", "0"], "at least 1"),
        (&["--clock", "0"], "--clock"),
        (&["--data-rate", "3200"], "2133"),
        (&["--json", "--html", "x.html"], "cannot be used with"),
    ] {
        let ran = scratch.run(&[&["accel", "report"], flags].concat());
        assert_eq!(ran.code, 2, "{flags:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{flags:?}: {}", ran.err);
    }
}

#[test]
fn refuses_a_model_that_the_accelerator_cannot_run_by_the_name_of_the_tensor() {
    let scratch = Scratch::new();
    scratch.checkpoint("checkpoint", &TinySpec::default());
    scratch.run(&["quantize", "checkpoint", "-o", "m.ewn", "--method", "rtn", "--group", "32"]).succeeds();
    let ran = scratch.run(&["accel", "report", "--model", "m.ewn"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("layers.0.qkv") && ran.err.contains("64"), "{}", ran.err);
    let ran = scratch.run(&["accel", "report", "--model", "checkpoint"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("packed files"), "{}", ran.err);
}
