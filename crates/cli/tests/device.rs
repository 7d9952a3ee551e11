//! `--device`: the accelerator gives what the CPU gives, and says what it cannot do.
#![allow(clippy::unwrap_used)]

mod common;

use common::Scratch;
use edgewen_testing::TinySpec;

/// Heads of 64 elements, so that the accelerator takes part in attention.
fn spec() -> TinySpec {
    TinySpec { hidden: 256, heads: 4, kv_heads: 2, ..TinySpec::default() }
}

const PROMPT: &str = "Once upon a time there was a little fox who lived near the old mill by the river, and every \
    morning he went to see whether the miller had left his door open.";

/// A packed model with a head of so many bits.
fn packed(scratch: &Scratch, name: &str, head: &str) {
    let checkpoint = format!("{name}.checkpoint");
    scratch.checkpoint(&checkpoint, &spec());
    scratch.run(&["quantize", &checkpoint, "-o", name, "--method", "rtn", "--head", head]).succeeds();
}

#[test]
fn the_functional_model_generates_what_the_cpu_generates() {
    let scratch = Scratch::new();
    packed(&scratch, "four.ewn", "4");
    packed(&scratch, "eight.ewn", "8");
    for model in ["demo", "four.ewn", "eight.ewn"] {
        for kv in ["f16", "int8"] {
            for sampling in
                [&["--temperature", "0"][..], &["--temperature", "0.8", "--top-k", "20", "--seed", "3"]]
            {
                let text = |device: &str| {
                    let arguments = ["generate", PROMPT, "--model", model, "--kv", kv, "--device", device];
                    let more = ["--ignore-eos", "-n", "40", "--json"];
                    let json = scratch.run(&[&arguments[..], &more, sampling].concat()).succeeds().json();
                    assert_eq!(json["settings"]["device"], device);
                    json["tokens"].clone()
                };
                assert_eq!(text("sim"), text("cpu"), "{model} {kv} {sampling:?}");
            }
        }
    }
}

#[test]
fn every_verb_that_computes_takes_the_device() {
    let scratch = Scratch::new();
    scratch.write("text.txt", PROMPT);
    let logits = |device: &str| {
        let arguments = ["logits", "--prompt", PROMPT, "-o", "l.safetensors", "--device", device];
        scratch.run(&arguments).succeeds();
        std::fs::read(scratch.path("l.safetensors")).unwrap()
    };
    assert!(logits("sim") == logits("cpu"));
    let perplexity = |device: &str| {
        scratch.run(&["perplexity", "--file", "text.txt", "--json", "--device", device]).succeeds().json()["perplexity"]
            .clone()
    };
    assert_eq!(perplexity("sim"), perplexity("cpu"));
    let bench = ["bench", "--device", "sim", "--json", "--prompt-tokens", "8", "--generate-tokens", "2"];
    assert_eq!(scratch.run(&bench).succeeds().json()["device"], "sim");
}

#[test]
fn a_head_that_stays_with_the_cpu_is_mentioned_and_others_are_not() {
    let scratch = Scratch::new();
    packed(&scratch, "four.ewn", "4");
    packed(&scratch, "sixteen.ewn", "16");
    let note = |model: &str| {
        scratch.run(&["generate", "x", "--model", model, "--device", "sim", "-n", "1"]).succeeds().err
    };
    assert!(note("sixteen.ewn").contains("the output head runs on the CPU: embed is stored as bf16"));
    assert!(!note("four.ewn").contains("CPU"));
}

#[test]
fn what_the_accelerator_cannot_run_is_refused_before_anything_starts() {
    let scratch = Scratch::new();
    let checkpoint = scratch.checkpoint("tiny", &spec());
    let checkpoint = checkpoint.to_str().unwrap();
    scratch
        .run(&["generate", "x", "--model", checkpoint, "--device", "sim"])
        .fails_with(&["checkpoint directory", "edgewen quantize"]);
    scratch.run(&["quantize", checkpoint, "-o", "g32.ewn", "--method", "rtn", "--group", "32"]).succeeds();
    scratch
        .run(&["generate", "x", "--model", "g32.ewn", "--device", "sim"])
        .fails_with(&["layers.0.qkv has groups of 32", "--device cpu"]);
    scratch.run(&["generate", "x", "--device", "kv260"]).exits(2);
}
