//! `edgewen eval perplexity` and `edgewen eval kl`: figures recomputed by hand, runs that go on, mixed up models.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Scratch, edit_bytes};
use edgewen_testing::TinySpec;
use safetensors::SafeTensors;
use serde_json::Value;

/// Longer than the context of a random model, in two documents.
fn text() -> String {
    let story = "Once upon a time there was a king who had a golden bird, and it sang. ";
    format!("{}<|endoftext|>\n{}", story.repeat(2), story.repeat(9))
}

fn spec() -> TinySpec {
    TinySpec { max_position: 256, ..TinySpec::default() }
}

/// Rows of a file of `edgewen logits`, as logarithms of probabilities.
fn log_probabilities(path: &Path) -> Vec<Vec<f64>> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("logits").unwrap();
    let (words, _) = tensor.data().as_chunks::<4>();
    let values: Vec<f64> = words.iter().map(|word| f64::from(f32::from_le_bytes(*word))).collect();
    let log_softmax = |row: &[f64]| {
        let sum: f64 = row.iter().map(|x| x.exp()).sum();
        row.iter().map(|x| x - sum.ln()).collect()
    };
    values.chunks_exact(tensor.shape()[1]).map(log_softmax).collect()
}

#[test]
fn divergence_is_the_one_that_the_logits_of_both_give() {
    let scratch = Scratch::new();
    scratch.packed("q.ewn", &spec());
    scratch.write("t.txt", "Once upon a time there was a king.");
    let tokens =
        scratch.run(&["tokenize", "--model", "q.ewn", "Once upon a time there was a king.", "--json"]);
    let ids: Vec<usize> = serde_json::from_value(tokens.succeeds().json()["ids"].clone()).unwrap();
    let list = ids.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
    for (model, file) in [("q.ewn", "q.safetensors"), ("q.ewn.checkpoint", "r.safetensors")] {
        scratch.run(&["logits", "--model", model, "--tokens", &list, "-o", file]).succeeds();
    }
    let (q, p) = (
        log_probabilities(&scratch.path("q.safetensors")),
        log_probabilities(&scratch.path("r.safetensors")),
    );
    let kl: Vec<f64> = (1..ids.len())
        .map(|at| p[at - 1].iter().zip(&q[at - 1]).map(|(p, q)| p.exp() * (p - q)).sum())
        .collect();
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let loss = |rows: &[Vec<f64>]| mean((1..ids.len()).map(|at| -rows[at - 1][ids[at]]).collect());

    let arguments = ["eval", "kl", "--model", "q.ewn", "--json", "--reference"];
    let measured = scratch.run(&[&arguments[..], &["q.ewn.checkpoint", "--file", "t.txt"]].concat());
    let json = measured.succeeds().json();
    let number = |value: &Value| value.as_f64().unwrap();
    assert_eq!(json["tokens"], ids.len() - 1);
    assert!((number(&json["kl"]["mean"]["value"]) - mean(kl.clone())).abs() < 1e-9);
    assert!((number(&json["kl"]["maximum"]) - kl.iter().copied().fold(0.0, f64::max)).abs() < 1e-9);
    assert!((number(&json["perplexity"]["value"]).ln() - loss(&q)).abs() < 1e-9);
    assert!((number(&json["reference_perplexity"]["value"]).ln() - loss(&p)).abs() < 1e-9);
    // The file of `edgewen logits` is a reference by itself.
    let stored = scratch.run(&[&arguments[..], &["r.safetensors"]].concat()).succeeds().json();
    assert_eq!(stored["kl"], json["kl"]);
    // And a model does not differ from itself.
    let same =
        scratch.run(&["eval", "kl", "--model", "q.ewn", "--reference", "q.ewn", "--file", "t.txt", "--json"]);
    let same = same.succeeds().json();
    assert!(number(&same["kl"]["maximum"]).abs() < 1e-12 && same["same_top"]["value"] == 1.0, "{same}");
}

#[test]
fn stored_logits_bring_text_and_protocol_and_give_the_same_figures() {
    let scratch = Scratch::new();
    scratch.packed("q.ewn", &spec());
    scratch.write("t.txt", text());
    scratch.write("other.txt", "Another text that is long enough.");
    let protocol = ["--file", "t.txt", "--context", "64", "--stride", "32", "--separator", "<|endoftext|>"];
    let reference = ["eval", "kl", "--reference", "q.ewn.checkpoint"];
    let model = ["eval", "kl", "--model", "q.ewn", "--reference", "ref.safetensors"];
    scratch.run(&[&reference[..], &protocol, &["--save-logits", "ref.safetensors"]].concat()).succeeds();
    let live =
        scratch.run(&[&reference[..], &protocol, &["--model", "q.ewn", "--json"]].concat()).succeeds().json();
    let stored = scratch.run(&[&model[..], &["--json"]].concat()).succeeds().json();
    assert_eq!(live["kl"], stored["kl"]);
    assert_eq!(live["reference_sha256"], stored["reference_sha256"]);
    scratch.run(&[&model[..], &["--file", "t.txt"]].concat()).succeeds();
    scratch
        .run(&[&model[..], &["--file", "other.txt"]].concat())
        .fails_with(&["ref.safetensors", "other.txt"]);
    scratch.run(&[&model[..], &["--stride", "8"]].concat()).exits(2);
    scratch.run(&[&model[..], &["--save-logits", "x"]].concat()).exits(2);
    scratch.run(&reference).exits(2);
    edit_bytes(&scratch.path("ref.safetensors"), |bytes| bytes.truncate(bytes.len() - 1));
    scratch.run(&model).fails_with(&["ref.safetensors", "logits"]);
}

#[test]
fn a_run_goes_on_where_it_stopped_and_notices_what_changed() {
    let scratch = Scratch::new();
    scratch.packed("q.ewn", &spec());
    scratch.packed("other.ewn", &TinySpec { seed: 9, ..spec() });
    scratch.write("t.txt", text());
    for (verb, extra) in [("perplexity", &[][..]), ("kl", &["--reference", "q.ewn.checkpoint"])] {
        let base = ["eval", verb, "--file", "t.txt", "--json", "-o", verb];
        let with = |model: &str, context: &str| {
            scratch.run(&[&base[..], extra, &["--model", model, "--context", context]].concat())
        };
        let whole = with("q.ewn", "64").succeeds().json();
        let path = scratch.path(verb);
        let lines = std::fs::read_to_string(&path).unwrap();
        // As a kill would leave it: two items and half of the third.
        let third = lines.match_indices('\n').nth(2).unwrap().0 + 20;
        edit_bytes(&path, |bytes| bytes.truncate(third));
        let continued = with("q.ewn", "64").succeeds();
        assert!(continued.err.contains("goes on after 2 windows"), "{}", continued.err);
        assert_eq!(continued.json()["perplexity"], whole["perplexity"]);
        assert_eq!(continued.json()["kl"], whole["kl"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines);

        with("other.ewn", "64").fails_with(&[verb, "the model changed", "--restart"]);
        with("q.ewn", "32").fails_with(&["the protocol changed", "context 64", "context 32"]);
        scratch.write("t.txt", text().replace("king", "queen"));
        with("q.ewn", "64").fails_with(&["the data changed"]);
        scratch.write("t.txt", text());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), lines);
        let anew = [&base[..], extra, &["--model", "other.ewn", "--restart"]].concat();
        scratch.run(&anew).succeeds();
    }
}

#[test]
fn models_that_cannot_be_compared_are_refused() {
    let scratch = Scratch::new();
    scratch.packed("q.ewn", &spec());
    scratch.checkpoint("big", &TinySpec { vocab: 400, ..spec() });
    scratch.write("t.txt", text());
    let base = ["eval", "kl", "--model", "q.ewn", "--file", "t.txt", "--reference"];
    scratch.run(&[&base[..], &["big"]].concat()).fails_with(&["q.ewn", "big", "vocabularies", "400"]);
    scratch.run(&[&base[..], &["missing"]].concat()).fails_with(&["missing"]);
    // The same size, another tokenizer.
    scratch.checkpoint("turned", &spec());
    common::edit_json(&scratch.path("turned/tokenizer.json"), |json| {
        let vocabulary = json["model"]["vocab"].as_object_mut().unwrap();
        let (a, b) = (vocabulary["a"].clone(), vocabulary["e"].clone());
        vocabulary["a"] = b;
        vocabulary["e"] = a;
    });
    scratch.run(&[&base[..], &["turned"]].concat()).fails_with(&["tokenizers cut t.txt differently"]);
}

#[test]
fn texts_and_windows_that_do_not_fit_are_refused() {
    let scratch = Scratch::new();
    scratch.packed("q.ewn", &spec());
    scratch.write("short.txt", "a");
    scratch.write("t.txt", text());
    let run = |file: &str, flags: &[&str]| {
        scratch.run(&[&["eval", "perplexity", "--model", "q.ewn", "--file", file][..], flags].concat())
    };
    run("short.txt", &[]).fails_with(&["short.txt", "at least 2"]);
    run("short.txt", &["--windows", "llama-cpp", "--context", "16"]).fails_with(&["at least 16"]);
    run("t.txt", &["--context", "257"]).fails_with(&["257", "2 to 256"]);
    run("t.txt", &["--stride", "8", "--windows", "rolling"]).exits(2);
    run("t.txt", &["--separator", "x", "--windows", "llama-cpp"]).exits(2);
    run("t.txt", &["--restart"]).exits(2);
    #[cfg(target_os = "linux")]
    run("t.txt", &["-o", "/dev/full"]).fails_with(&["/dev/full", "space"]);
}

#[test]
fn tokens_beyond_a_documents_only_window_are_counted() {
    let scratch = Scratch::new();
    scratch.packed("q.ewn", &spec());
    scratch.write("t.txt", text());
    let measured = |flags: &[&str]| {
        let arguments =
            ["eval", "perplexity", "--model", "q.ewn", "--file", "t.txt", "--context", "16", "--json"];
        let json = scratch.run(&[&arguments[..], flags].concat()).succeeds().json();
        (json["protocol"]["tokens"].as_u64().unwrap(), json["protocol"]["tokens_left_out"].as_u64().unwrap())
    };
    let separator = ["--separator", "not in the text"];
    let (all, none) = measured(&[&separator[..], &["--stride", "15"]].concat());
    assert_eq!((none, measured(&separator)), (0, (15, all - 15)));
}

#[test]
fn rolling_windows_give_words_and_bytes_too() {
    let scratch = Scratch::new();
    scratch.write("t.txt", text());
    let run = |flags: &[&str]| {
        let json = scratch.run(&[&["eval", "perplexity", "--file", "t.txt", "--json"][..], flags].concat());
        json.succeeds().json()
    };
    let rolling = run(&["--windows", "rolling", "--context", "64"]);
    let nll = rolling["negative_log_likelihood"].as_f64().unwrap();
    let bits = rolling["bits_per_byte"].as_f64().unwrap();
    assert!((bits - nll / text().len() as f64 / 2f64.ln()).abs() < 1e-9);
    assert!(rolling["protocol"]["prefix"].is_u64());
    let halves = run(&["--windows", "llama-cpp", "--context", "64", "--limit", "3"]);
    assert_eq!(halves["protocol"]["tokens"], 3 * 31);
    assert!(halves["bits_per_byte"].is_null());
}

#[test]
fn help_of_every_measurement_has_an_example_and_fits_80_columns() {
    let scratch = Scratch::new();
    for verb in ["perplexity", "kl", "wnli", "tasks"] {
        let help = scratch.run(&["eval", verb, "--help"]).succeeds().out;
        assert!(help.contains("Example"), "{verb}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
}
