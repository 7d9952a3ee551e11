//! Divergence against its definition, and stored logits against the model they are of.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{documents, log_softmax, model, rows, watched};
use edgewen_engine::Reference as Model;
use edgewen_eval::kl::{Item, Statistics, Subject, measure};
use edgewen_eval::reference_logits::{Origin, Reference, Stored, save};
use edgewen_eval::windows::{Protocol, Window, cut};
use edgewen_eval::{Identity, Result, Run};
use edgewen_model::Checkpoint;
use edgewen_testing::conformance::token_ids;
use edgewen_testing::{TinySpec, tiny_checkpoint};
use serde_json::json;

/// Another random model with the same vocabulary.
fn other() -> (tempfile::TempDir, Model) {
    let directory =
        tiny_checkpoint(&TinySpec { hidden: 32, max_position: 700, seed: 5, ..TinySpec::default() });
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    (directory, Model::new(checkpoint, 1).unwrap())
}

fn windows() -> Vec<Window> {
    let lists = [token_ids(40, 272, 1), token_ids(30, 272, 2)];
    let protocol = Protocol::Strided { context: 24, stride: 12, first_window_only: false };
    cut(&documents(&[&lists[0], &lists[1]]), &protocol, None).unwrap()
}

fn compare(
    model: &mut Model,
    reference: Reference<'_>,
    windows: &[Window],
    run: &mut Run,
) -> Result<Statistics> {
    let subject = Subject { name: "model", backend: model };
    watched(|watch| measure(subject, reference, windows, run, watch, 2))
}

fn origin() -> Origin {
    let identity = |name: &str| Identity::of_bytes(name, name.as_bytes());
    Origin { model: identity("reference"), data: identity("text"), protocol: json!({ "windows": "strided" }) }
}

fn store(path: &Path, reference: &mut Model, windows: &[Window]) -> u64 {
    let subject = Subject { name: "reference", backend: reference };
    watched(|watch| save(path, subject, &origin(), windows, watch)).unwrap()
}

#[test]
fn every_token_has_the_divergence_of_the_definition() {
    let ((_a, mut model), (_b, mut reference)) = (model(), other());
    let windows = windows();
    let mut run = Run::in_memory();
    let subject = Subject { name: "reference", backend: &mut reference };
    let found = compare(&mut model, Reference::Model(subject), &windows, &mut run).unwrap();
    let mut all = Vec::new();
    for (window, item) in windows.iter().zip(run.items::<Item>().unwrap()) {
        let (q, p) = (rows(&mut model, &window.tokens), rows(&mut reference, &window.tokens));
        for (index, at) in (window.scored..window.tokens.len()).enumerate() {
            let (q, p) = (log_softmax(&q[at - 1]), log_softmax(&p[at - 1]));
            let kl: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
            let target = window.tokens[at] as usize;
            let top = |list: &[f64]| (0..list.len()).max_by(|&a, &b| list[a].total_cmp(&list[b]));
            assert!((item.kl[index] - kl).abs() < 1e-9, "{} instead of {kl}", item.kl[index]);
            assert!((item.nll[index] + q[target]).abs() < 1e-9);
            assert!((item.reference_nll[index] + p[target]).abs() < 1e-9);
            assert_eq!(item.same_top[index] == 1, top(&q) == top(&p));
            all.push(kl);
        }
    }
    assert_eq!(found.tokens, all.len());
    assert!((found.kl.mean.value - all.iter().sum::<f64>() / all.len() as f64).abs() < 1e-9);
}

#[test]
fn stored_logits_give_the_same_bits_as_the_model_itself() {
    let ((directory, mut model), (_b, mut reference)) = (model(), other());
    let windows = windows();
    let subject = Subject { name: "reference", backend: &mut reference };
    let expected = compare(&mut model, Reference::Model(subject), &windows, &mut Run::in_memory()).unwrap();
    let path = directory.path().join("logits.safetensors");
    let bytes = store(&path, &mut reference, &windows);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes);
    let mut stored = Stored::open(&path).unwrap();
    assert_eq!((stored.windows(), stored.vocabulary()), (&windows[..], 272));
    assert_eq!(stored.origin(), Some(&origin()));
    let found = compare(&mut model, Reference::Stored(&mut stored), &windows, &mut Run::in_memory()).unwrap();
    assert_eq!(found, expected);
    // Only the last windows: a continued run begins in the middle of the file.
    let mut run = Run::in_memory();
    run.push(&Item::default()).unwrap();
    compare(&mut model, Reference::Stored(&mut stored), &windows, &mut run).unwrap();
    assert_eq!(run.items::<Item>().unwrap().len(), windows.len());
}

#[test]
fn different_vocabularies_are_refused() {
    let (_a, mut model) = model();
    let directory = tiny_checkpoint(&TinySpec { vocab: 288, hidden: 32, ..TinySpec::default() });
    let mut reference = Model::new(Checkpoint::open(directory.path()).unwrap(), 1).unwrap();
    let subject = Subject { name: "big", backend: &mut reference };
    let message = compare(&mut model, Reference::Model(subject), &windows(), &mut Run::in_memory())
        .unwrap_err()
        .to_string();
    assert!(message.contains("model and big") && message.contains("272 and 288"), "{message}");
}

#[test]
fn damaged_files_of_logits_are_refused_by_the_part_that_is_wrong() {
    let (directory, mut reference) = other();
    let path = directory.path().join("logits.safetensors");
    store(&path, &mut reference, &windows());
    let whole = std::fs::read(&path).unwrap();
    let refuse = |bytes: &[u8], expected: &str| {
        std::fs::write(&path, bytes).unwrap();
        let message = Stored::open(&path).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("logits.safetensors"), "{message}");
    };
    refuse(&whole[..whole.len() - 4], "logits: lies outside the file");
    refuse(&whole[..5], "too short");
    refuse(&[0xff; 64], "not a safetensors file");
    let text = String::from_utf8_lossy(&whole[8..700]).into_owned();
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        let at = 8 + text.find(from).unwrap();
        let mut bytes = whole.clone();
        bytes.splice(at..at + from.len(), to.bytes());
        bytes
    };
    refuse(&changed("\"F32\"", "\"F16\""), "logits: expected a tensor of F32");
    refuse(&changed("\"tokens\"", "\"tokenz\""), "tokens: expected a tensor of I64");
    // The first token becomes one that no vocabulary has.
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let mut bytes = whole.clone();
    bytes[8 + header + 4] = 1;
    refuse(&bytes, "no token id");
    bytes[8 + header..8 + header + 8].copy_from_slice(&5000i64.to_le_bytes());
    refuse(&bytes, "outside the vocabulary");
}
