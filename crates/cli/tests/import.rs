//! `edgewen quantize` of quantized checkpoints and `edgewen export --format autoawq`: what they say and refuse.
#![allow(clippy::unwrap_used)]

mod common;

use common::Scratch;
use edgewen_testing::{TinySpec, write_quantized};

fn quantized(scratch: &Scratch, case: &str) {
    let directory = scratch.path(case);
    std::fs::create_dir(&directory).unwrap();
    write_quantized(case, &directory);
}

#[test]
fn a_quantized_checkpoint_is_imported_and_runs() {
    let scratch = Scratch::new();
    quantized(&scratch, "gptq-reordered");
    let run = scratch.run(&["quantize", "gptq-reordered", "-o", "m.ewn", "--report", "r.json"]).succeeds();
    for words in [
        "imported from gptq, no re-quantizing",
        "group 32, head 16 bits",
        "another order",
        "as in the checkpoint",
    ] {
        assert!(run.out.contains(words), "no {words:?} in {}", run.out);
    }
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(scratch.path("r.json")).unwrap()).unwrap();
    assert_eq!((&report["reordered_matrices"], &report["scales"]["rounded"]), (&4.into(), &0.into()));
    let json =
        scratch.run(&["quantize", "gptq-reordered", "-o", "m.ewn", "--force", "--head", "8", "--json"]);
    let json = json.succeeds().json();
    assert_eq!((&json["imported"], &json["head_bits"]), (&"gptq".into(), &8.into()));
    scratch.run(&["inspect", "m.ewn", "--verify"]).succeeds();
    // The packed file and the checkpoint itself.
    for model in ["m.ewn", "gptq-reordered"] {
        scratch.run(&["generate", "hello", "--model", model, "-n", "3"]).succeeds();
    }
}

#[test]
fn flags_without_effect_are_refused() {
    let scratch = Scratch::new();
    quantized(&scratch, "autoawq");
    scratch.write("text.txt", "some text");
    for (flag, value) in [
        ("--method", "awq"),
        ("--effort", "fast"),
        ("--skip", "descent"),
        ("--bits-budget", "4.5"),
        ("--calibration", "text.txt"),
        ("--calibration-tokens", "100"),
        ("--held-out-tokens", "100"),
        ("--report", "page.html"),
    ] {
        let run = scratch.run(&["quantize", "autoawq", "-o", "m.ewn", flag, value]).exits(2);
        assert!(run.err.contains(flag), "no {flag} in {}", run.err);
    }
    scratch
        .run(&["quantize", "autoawq", "-o", "m.ewn", "--group", "64"])
        .fails_with(&["q_proj", "groups of 32"]);
    assert_eq!(scratch.names(), ["autoawq", "text.txt"]);
}

#[test]
fn a_model_goes_to_autoawq_and_comes_back() {
    let scratch = Scratch::new();
    scratch.packed("m.ewn", &TinySpec { dtype: "float16", ..TinySpec::default() });
    let export = ["export", "m.ewn", "--format", "autoawq", "-o", "awq"];
    let run = scratch.run(&export).succeeds();
    for words in ["14 with 4 bits in groups of 64", "every bit kept", "dequantized from 8 bits"] {
        assert!(run.out.contains(words), "no {words:?} in {}", run.out);
    }
    scratch.run(&export).fails_with(&["awq", "exists already", "--force"]);
    let json = scratch.run(&[&export[..], &["--force", "--json"]].concat()).succeeds().json();
    assert_eq!((&json["quantized"], &json["group"]), (&14.into(), &64.into()));
    scratch.run(&["quantize", "awq", "-o", "back.ewn"]).succeeds();
    scratch.run(&["generate", "hello", "--model", "back.ewn", "-n", "3"]).succeeds();
    scratch.write("awq/notes.txt", "mine");
    scratch.run(&[&export[..], &["--force"]].concat()).fails_with(&["notes.txt", "another directory"]);
    // The name that the flag had first.
    scratch.run(&["export", "m.ewn", "--layout", "awq-macro", "-o", "m.bin"]).succeeds();
}

#[test]
fn what_cannot_be_imported_is_named() {
    let scratch = Scratch::new();
    quantized(&scratch, "autoawq");
    let config = scratch.path("autoawq").join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("gemm", "gemv")).unwrap();
    let quantize = ["quantize", "autoawq", "-o", "m.ewn"];
    scratch.run(&quantize).fails_with(&["config.json", "version \"gemv\"", "quantize the float one"]);
    scratch.run(&["generate", "x", "--model", "autoawq"]).fails_with(&["config.json", "gemv"]);
    std::fs::write(&config, text).unwrap();
    std::fs::write(
        scratch.path("autoawq").join("model.safetensors"),
        "version https://git-lfs.github.com/spec/v1\nsize 5\n",
    )
    .unwrap();
    scratch.run(&quantize).fails_with(&["Git-LFS pointer", "git lfs pull"]);
    assert_eq!(scratch.names(), ["autoawq"]);
}
