//! The full-size stand-in through the float reference, against what transformers computes from the same file.
//!
//! `fixtures/golden/standin.json` was made by
//! `cargo run --release -p edgewen-testing --bin standin -- DIR` and
//! `python python/golden.py standin --checkpoint DIR -o fixtures/golden/standin.json`.
#![allow(clippy::unwrap_used)]

use edgewen_engine::{Batch, Forward, Logits, Reference};
use edgewen_model::Checkpoint;
use edgewen_testing::{fixture, standin};
use serde_json::Value;

/// transformers sums in f32, the reference in f64: over 24 layers they differ by about 1e-5 of a logit's size.
const TOLERANCE: f64 = 2e-4;

#[test]
fn logits_of_the_standin_equal_those_of_transformers() {
    let golden: Value =
        serde_json::from_slice(&std::fs::read(fixture("golden/standin.json")).unwrap()).unwrap();
    let tokens: Vec<u32> = serde_json::from_value(golden["tokens"].clone()).unwrap();

    let directory = tempfile::tempdir().unwrap();
    standin::write_standin(directory.path(), 1).unwrap();
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let vocabulary = checkpoint.config().vocab_size;
    let mut reference = Reference::new(checkpoint, 2).unwrap();
    let batch = Batch::one(0, 0, &tokens);
    let mut forward = Forward::default();
    let logits = forward.run(&mut reference, &batch, Logits::All).unwrap();

    for (row, expected) in logits.chunks_exact(vocabulary).zip(golden["positions"].as_array().unwrap()) {
        let argmax = (0..vocabulary).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        assert_eq!(Some(argmax as u64), expected["argmax"].as_u64());
        for (id, value) in
            expected["ids"].as_array().unwrap().iter().zip(expected["logits"].as_array().unwrap())
        {
            let (id, value) = (id.as_u64().unwrap() as usize, value.as_f64().unwrap());
            let difference = (f64::from(row[id]) - value).abs();
            assert!(difference < TOLERANCE, "logit {id}: {} instead of {value}", row[id]);
        }
    }
}
