//! Perplexity against its definition: every window by itself, every likelihood by hand.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::AtomicBool;

use common::{by_hand, documents, header, model, watched};
use edgewen_engine::{Backend, Reference};
use edgewen_eval::perplexity::{Item, Score, measure};
use edgewen_eval::windows::{Document, Protocol, Window, cut};
use edgewen_eval::{Error, Result, Run, Watch};
use edgewen_model::{Checkpoint, Tokenizer};
use edgewen_testing::conformance::token_ids;
use edgewen_testing::shared;

fn score(backend: &mut dyn Backend, documents: &[Document], protocol: &Protocol) -> Result<Score> {
    protocol.check(backend.config().max_position)?;
    let windows = cut(documents, protocol, None)?;
    let mut run = Run::in_memory();
    watched(|watch| measure(backend, &windows, &mut run, watch))
}

fn assert_score(found: &Score, losses: &[f64]) {
    let sum: f64 = losses.iter().sum();
    assert_eq!(found.tokens, losses.len());
    assert!((found.negative_log_likelihood - sum).abs() < 1e-6, "{found:?}, by hand {sum}");
    let mean = sum / losses.len() as f64;
    assert!((found.perplexity() - mean.exp()).abs() < 1e-6 * mean.exp());
    let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / losses.len() as f64;
    let error = mean.exp() * (variance / (losses.len() - 1) as f64).sqrt();
    assert!((found.standard_error() - error).abs() < 1e-6 * error);
}

#[test]
fn strided_windows_score_every_token_once_with_the_context_they_promise() {
    let (_directory, mut model) = model();
    let tokens = token_ids(950, 272, 1);
    // The first window is longer than what is computed at once.
    let protocol = Protocol::Strided { context: 600, stride: 250, first_window_only: false };
    let found = score(&mut model, &documents(&[&tokens]), &protocol).unwrap();
    let mut losses = by_hand(&mut model, &tokens[..600], 1);
    losses.extend(by_hand(&mut model, &tokens[250..850], 350));
    losses.extend(by_hand(&mut model, &tokens[500..], 350));
    assert_score(&found, &losses);
}

#[test]
fn documents_are_scored_alone_and_cut_to_the_context() {
    let (_directory, mut model) = model();
    let texts = [token_ids(40, 272, 2), token_ids(3, 272, 3), vec![7], vec![], token_ids(16, 272, 4)];
    let protocol = Protocol::Strided { context: 16, stride: 15, first_window_only: true };
    let list: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
    let found = score(&mut model, &documents(&list), &protocol).unwrap();
    let losses: Vec<f64> = texts
        .iter()
        .filter(|text| 1 < text.len())
        .flat_map(|text| by_hand(&mut model, &text[..text.len().min(16)], 1))
        .collect();
    assert_score(&found, &losses);
}

#[test]
fn rolling_windows_predict_every_token() {
    let (_directory, mut model) = model();
    let tokens = token_ids(25, 272, 5);
    let found =
        score(&mut model, &documents(&[&tokens]), &Protocol::Rolling { context: 10, prefix: 3 }).unwrap();
    let first = [&[3], &tokens[..10]].concat();
    let mut losses = by_hand(&mut model, &first, 1);
    losses.extend(by_hand(&mut model, &tokens[9..20], 1));
    // The last window is filled up on the left: ten tokens are read, five predicted.
    losses.extend(by_hand(&mut model, &tokens[14..25], 6));
    assert_score(&found, &losses);
    let units = found.by_length(&[Document { tokens: vec![], words: 5, bytes: 50 }]);
    assert!((units.bits_per_byte - found.negative_log_likelihood / 50.0 / 2f64.ln()).abs() < 1e-12);
    assert!((units.word_perplexity.ln() - found.negative_log_likelihood / 5.0).abs() < 1e-9);
}

#[test]
fn a_continued_run_gives_the_same_bits_as_one_that_was_not_stopped() {
    let (directory, mut model) = model();
    let tokens = token_ids(60, 272, 9);
    let protocol = Protocol::Strided { context: 16, stride: 8, first_window_only: false };
    let windows = cut(&documents(&[&tokens]), &protocol, None).unwrap();
    let mut whole = Run::in_memory();
    let expected = watched(|watch| measure(&mut model, &windows, &mut whole, watch)).unwrap();

    let path = directory.path().join("items.jsonl");
    let mut run = Run::open(Some(&path), &header("perplexity"), false).unwrap();
    watched(|watch| measure(&mut model, &windows[..3], &mut run, watch)).unwrap();
    drop(run);
    // Killed while it wrote the next line.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"window\":3,\"docum");
    std::fs::write(&path, bytes).unwrap();
    let mut run = Run::open(Some(&path), &header("perplexity"), false).unwrap();
    assert_eq!(run.continued(), 3);
    let found = watched(|watch| measure(&mut model, &windows, &mut run, watch)).unwrap();
    assert_eq!(found, expected);
    assert_eq!(run.items::<Item>().unwrap(), whole.items::<Item>().unwrap());
}

#[test]
fn says_how_far_it_is_and_stops_when_cancelled() {
    let (_directory, mut model) = model();
    let windows: Vec<Window> = [(30, 6), (20, 7)]
        .map(|(len, seed)| Window { document: 0, tokens: token_ids(len, 272, seed), scored: 1 })
        .into();
    let mut seen = Vec::new();
    let cancel = AtomicBool::new(false);
    let mut progress = |done, all| seen.push((done, all));
    let mut run = Run::in_memory();
    measure(&mut model, &windows, &mut run, &mut Watch::new(&cancel, &mut progress)).unwrap();
    seen.dedup();
    assert_eq!(seen, [(0, 48), (29, 48), (48, 48)]);
    let cancel = AtomicBool::new(true);
    let mut run = Run::in_memory();
    let mut progress = |_, _| {};
    let cancelled = measure(&mut model, &windows, &mut run, &mut Watch::new(&cancel, &mut progress));
    assert!(matches!(cancelled, Err(Error::Cancelled)));
}

#[test]
fn refuses_what_cannot_be_scored() {
    let (_directory, mut model) = model();
    let long = token_ids(9, 272, 8);
    let strided = |context, stride| Protocol::Strided { context, stride, first_window_only: false };
    let cases: [(&[u32], Protocol, &str); 5] = [
        (&[1], strided(10, 9), "1 tokens, at least 2"),
        (&long, strided(1, 1), "context is 1, expected 2 to"),
        (&long, strided(701, 1), "context is 701"),
        (&long, strided(10, 10), "stride is 10, expected 1 to"),
        (&[300, 1], strided(10, 9), "token id 300"),
    ];
    for (tokens, protocol, expected) in cases {
        let message = score(&mut model, &documents(&[tokens]), &protocol).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

/// A trained model and the name of its stated perplexity.
const TRAINED: [(&str, &str, &str); 4] = [
    ("stories260k-qwen2", "stories260k-qwen2", "ppl_bf16_weights_f32_math"),
    ("stories260k-qwen2-pad", "stories260k-qwen2-pad", "ppl_bf16_weights_f32_math"),
    ("babyllama361-qwen2-bias", "babyllama361-qwen2-bias", "ppl_bf16"),
    ("babyllama361-qwen2-bias-f32", "babyllama361-qwen2-bias", "ppl_f64"),
];

#[test]
fn equals_the_stated_perplexity_of_trained_models() {
    let Some(folder) = shared("data/third-party/reference") else { return };
    let stated: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("model_refs.json")).unwrap()).unwrap();
    let excerpt = shared("data/third-party/eval/tinystories/tinystories_v2_valid_excerpt.txt").unwrap();
    let text = std::fs::read_to_string(excerpt).unwrap();
    for (name, reference, key) in TRAINED {
        let directory = shared(&format!("data/third-party/models/{name}")).unwrap();
        let mut backend = Reference::new(Checkpoint::open(&directory).unwrap(), 2).unwrap();
        let tokenizer = Tokenizer::from_dir(&directory).unwrap();
        let documents = edgewen_eval::windows::documents(&text, Some("<|endoftext|>"), &tokenizer).unwrap();
        let context = backend.config().max_position;
        let protocol = Protocol::Strided { context, stride: context - 1, first_window_only: true };
        let found = score(&mut backend, &documents, &protocol).unwrap();
        let wanted = stated[reference][key].as_f64().unwrap();
        assert_eq!(found.tokens as u64, stated[reference]["tokens"].as_u64().unwrap(), "{name}: tokens");
        assert!((found.perplexity() - wanted).abs() < 1e-3, "{name}: {} not {wanted}", found.perplexity());
    }
}
