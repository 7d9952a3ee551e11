//! What the tests of measurements share.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::sync::atomic::AtomicBool;

use edgewen_engine::{Backend, Reference};
use edgewen_eval::windows::Document;
use edgewen_eval::{Header, Identity, Result, Watch};
use edgewen_model::Checkpoint;
use edgewen_testing::conformance::logits;
use edgewen_testing::{TinySpec, tiny_checkpoint};
use serde_json::json;

/// A random model, and the folder that must outlive it.
pub fn model() -> (tempfile::TempDir, Reference) {
    let directory = tiny_checkpoint(&TinySpec { hidden: 32, max_position: 700, ..TinySpec::default() });
    let checkpoint = Checkpoint::open(directory.path()).expect("the checkpoint is sound");
    (directory, Reference::new(checkpoint, 2).expect("the checkpoint is sound"))
}

/// Token lists as documents.
pub fn documents(lists: &[&[u32]]) -> Vec<Document> {
    lists.iter().map(|tokens| Document { tokens: tokens.to_vec(), words: 1, bytes: 1 }).collect()
}

/// A header of a measurement of nothing in particular.
pub fn header(kind: &str) -> Header {
    let identity = |name: &str| Identity::of_bytes(name, name.as_bytes());
    Header::new(kind, identity("model"), identity("data"), json!({ "context": 8 }))
}

/// Does some work that is not cancelled.
pub fn watched<T>(work: impl FnOnce(&mut Watch<'_>) -> Result<T>) -> Result<T> {
    work(&mut Watch::new(&AtomicBool::new(false), &mut |_, _| {}))
}

/// Rows of logits of all tokens but the last, each for the token after it.
pub fn rows(model: &mut dyn Backend, tokens: &[u32]) -> Vec<Vec<f32>> {
    let rows = logits(model, tokens, tokens.len());
    let vocabulary = rows.len() / tokens.len();
    rows.chunks_exact(vocabulary).take(tokens.len() - 1).map(<[f32]>::to_vec).collect()
}

/// Logarithms of the probabilities that a row of logits stands for, by the definition.
pub fn log_softmax(row: &[f32]) -> Vec<f64> {
    let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
    row.iter().map(|&logit| f64::from(logit) - sum.ln()).collect()
}

/// Negative log-likelihoods of `tokens[scored..]` in a window of their own.
pub fn by_hand(model: &mut dyn Backend, tokens: &[u32], scored: usize) -> Vec<f64> {
    let rows = rows(model, tokens);
    (scored..tokens.len()).map(|at| -log_softmax(&rows[at - 1])[tokens[at] as usize]).collect()
}
