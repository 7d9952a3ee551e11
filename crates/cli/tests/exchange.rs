//! `edgewen export` and `edgewen import`: the round trip, what they say, and what they refuse.
#![allow(clippy::unwrap_used)]

mod common;

use common::Scratch;
use edgewen_testing::TinySpec;

#[test]
fn a_model_comes_back_as_it_went() {
    let scratch = Scratch::new();
    scratch.checkpoint("c", &TinySpec::default());
    for (head, config) in [("4", "c"), ("8", "m.ewn"), ("16", "c")] {
        let quantize = ["quantize", "c", "-o", "m.ewn", "--method", "rtn", "--force", "--head", head];
        scratch.run(&quantize).succeeds();
        let export = ["export", "m.ewn", "--format", "awq-macro", "-o", "m.bin", "--force", "--json"];
        let json = scratch.run(&export).succeeds().json();
        let bytes = std::fs::metadata(scratch.path("m.bin")).unwrap().len();
        assert_eq!(json["file_bytes"], bytes);
        assert_eq!(json["embedding_bits"].to_string(), head);
        assert_eq!(json["embedding"]["values"], 272 * 64);
        let text = std::fs::read_to_string(scratch.path("m.bin.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        let embedding = &manifest["token_embedding"]["weight"];
        assert_eq!(embedding["offset"].as_u64().unwrap() + embedding["size"].as_u64().unwrap(), bytes);

        let import = ["import", "m.bin", "--config", config, "-o", "back.ewn", "--force", "--json"];
        let json = scratch.run(&import).succeeds().json();
        assert_eq!(json["source_bytes"], bytes);
        scratch.run(&["inspect", "back.ewn", "--verify"]).succeeds();
        scratch.run(&["generate", "hello", "--model", "back.ewn", "-n", "3"]).succeeds();
        scratch
            .run(&["export", "back.ewn", "--format", "awq-macro", "-o", "again.bin", "--force"])
            .succeeds();
        let read = |name: &str| std::fs::read(scratch.path(name)).unwrap();
        assert!(read("m.bin") == read("again.bin"), "head of {head} bits");
    }
}

#[test]
fn export_says_what_was_rounded() {
    let scratch = Scratch::new();
    let run = scratch.run(&["export", "demo", "--format", "awq-macro", "-o", "demo.bin"]).succeeds();
    for word in ["demo.bin.json", "dequantized from 4 bits", "rounded to f16"] {
        assert!(run.out.contains(word), "{word} is not in {}", run.out);
    }
    assert_eq!(scratch.names(), ["demo.bin", "demo.bin.json"]);
    scratch.run(&["import", "demo.bin", "--config", "demo", "-o", "back.ewn"]).succeeds();
    scratch.run(&["inspect", "back.ewn", "--verify"]).succeeds();
}

#[test]
fn what_cannot_be_exchanged_is_refused_and_leaves_nothing() {
    let scratch = Scratch::new();
    scratch.checkpoint("c", &TinySpec::default());
    scratch.run(&["quantize", "c", "-o", "m.ewn", "--method", "rtn", "--group", "32"]).succeeds();
    let export = ["export", "m.ewn", "--format", "awq-macro", "-o", "m.bin"];
    scratch.run(&export).fails_with(&["layers.0.qkv", "32 inputs", "--group 64"]);
    scratch.run(&["export", "c", "--format", "awq-macro", "-o", "m.bin"]).fails_with(&["is a directory"]);
    scratch.write("m.bin.json", "precious");
    scratch.run(&export).fails_with(&["m.bin.json", "--force"]);
    scratch.write("short.bin", [0; 100]);
    let import = ["import", "short.bin", "--config", "c", "-o", "x.ewn"];
    scratch.run(&import).fails_with(&["short.bin", "100 bytes"]);
    scratch.run(&["import", "gone.bin", "--config", "c", "-o", "x.ewn"]).fails_with(&["gone.bin"]);
    scratch.run(&["import", "short.bin", "--config", "gone", "-o", "x.ewn"]).fails_with(&["gone"]);
    assert_eq!(scratch.names(), ["c", "m.bin.json", "m.ewn", "short.bin"]);
}
