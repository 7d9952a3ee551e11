//! The promise to users: instruction set, threads and the pieces a prompt is read in change no bit of the result.
#![allow(clippy::unwrap_used)]

mod common;

use common::Scratch;
use edgewen_testing::TinySpec;

/// A prompt longer than a row block of the key-value cache, and no multiple of it.
const PROMPT: &str = "Once upon a time there was a little fox who lived near the old mill by the river, and every \
    morning he went to see whether the miller had left his door open.";

fn every_way(scratch: &Scratch, model: &str) {
    let logits = |name: &str, flags: &[&str]| {
        let arguments = ["logits", "--model", model, "--prompt", PROMPT, "-o", name];
        scratch.run(&[&arguments[..], flags].concat()).succeeds();
        std::fs::read(scratch.path(name)).unwrap()
    };
    let expected = logits("scalar.safetensors", &["--isa", "scalar", "--threads", "1"]);
    let mut ways = vec![
        vec!["--threads", "1"],
        vec!["--threads", "2"],
        vec!["--threads", "3"],
        vec!["--chunk", "1"],
        vec!["--chunk", "7", "--threads", "2"],
        vec!["--device", "cpu"],
        vec!["--isa", "scalar", "--chunk", "1", "--threads", "2"],
    ];
    for isa in edgewen_kernels::Isa::available() {
        ways.push(vec!["--isa", isa.name()]);
        ways.push(vec!["--isa", isa.name(), "--chunk", "3"]);
    }
    for way in ways {
        assert!(logits("other.safetensors", &way) == expected, "{model} {way:?}");
    }
}

#[test]
fn logits_of_the_demo_model_are_the_same_bits_in_every_way() {
    every_way(&Scratch::new(), "demo");
}

#[test]
fn logits_of_an_odd_shape_are_the_same_bits_in_every_way() {
    let scratch = Scratch::new();
    // 72 and 200 are no multiples of a group, 9 heads of 8 share 3 key-value heads, 299 rows end inside a row block.
    let spec = TinySpec {
        hidden: 72,
        intermediate: 200,
        heads: 9,
        kv_heads: 3,
        vocab: 299,
        tied: false,
        ..TinySpec::default()
    };
    scratch.packed("odd.ewn", &spec);
    every_way(&scratch, "odd.ewn");
}

#[test]
fn the_int8_cache_is_the_same_bits_in_every_way_too() {
    let scratch = Scratch::new();
    let logits = |flags: &[&str]| {
        let arguments = ["logits", "--prompt", PROMPT, "--kv", "int8", "-o", "l.safetensors"];
        scratch.run(&[&arguments[..], flags].concat()).succeeds();
        std::fs::read(scratch.path("l.safetensors")).unwrap()
    };
    let expected = logits(&["--isa", "scalar", "--threads", "1", "--chunk", "1"]);
    for isa in edgewen_kernels::Isa::available() {
        assert!(logits(&["--isa", isa.name(), "--threads", "2"]) == expected, "{isa}");
    }
}

#[test]
fn sampled_text_depends_on_the_seed_and_on_nothing_else() {
    let scratch = Scratch::new();
    let text = |flags: &[&str]| {
        let arguments = ["generate", "Once upon a time", "--temperature", "1", "--ignore-eos", "-n", "40"];
        scratch.run(&[&arguments[..], flags].concat()).succeeds().out
    };
    let expected = text(&["--seed", "7"]);
    assert_eq!(text(&["--seed", "7", "--isa", "scalar", "--threads", "1"]), expected);
    assert_eq!(text(&["--seed", "7", "--threads", "2", "--no-stream"]), expected);
    assert_ne!(text(&["--seed", "8"]), expected);
}
