//! Perplexity against its definition: every window by itself, every likelihood by hand.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicBool;

use edgewen_engine::perplexity::{Options, Score, score};
use edgewen_engine::{Error, Reference};
use edgewen_model::Checkpoint;
use edgewen_testing::conformance::{logits, token_ids};
use edgewen_testing::{TinySpec, tiny_checkpoint};

/// The model, and the folder that must outlive it.
fn model() -> (tempfile::TempDir, Reference) {
    let directory = tiny_checkpoint(&TinySpec { hidden: 32, max_position: 700, ..TinySpec::default() });
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    (directory, Reference::new(checkpoint, 2).unwrap())
}

fn run(model: &mut Reference, documents: &[Vec<u32>], options: &Options) -> edgewen_engine::Result<Score> {
    score(model, documents, options, &AtomicBool::new(false), &mut |_, _| {})
}

/// Negative log-likelihoods of `tokens[scored..]` in a window of their own.
fn by_hand(model: &mut Reference, tokens: &[u32], scored: usize) -> Vec<f64> {
    let rows = logits(model, tokens, tokens.len());
    let vocabulary = rows.len() / tokens.len();
    let loss = |at: usize| {
        let row = &rows[(at - 1) * vocabulary..at * vocabulary];
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        sum.ln() - f64::from(row[tokens[at] as usize])
    };
    (scored..tokens.len()).map(loss).collect()
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
fn rolling_windows_score_every_token_once_with_the_context_they_promise() {
    let (_directory, mut model) = model();
    let tokens = token_ids(950, 272, 1);
    // The first window is longer than what is computed at once.
    let options = Options { context: 600, stride: Some(250), first_window_only: false };
    let found = run(&mut model, std::slice::from_ref(&tokens), &options).unwrap();
    let mut losses = by_hand(&mut model, &tokens[..600], 1);
    losses.extend(by_hand(&mut model, &tokens[250..850], 350));
    losses.extend(by_hand(&mut model, &tokens[500..], 350));
    assert_score(&found, &losses);
}

#[test]
fn documents_are_scored_alone_and_cut_to_the_context() {
    let (_directory, mut model) = model();
    let documents = [token_ids(40, 272, 2), token_ids(3, 272, 3), vec![7], vec![], token_ids(16, 272, 4)];
    let options = Options { context: 16, stride: None, first_window_only: true };
    let found = run(&mut model, &documents, &options).unwrap();
    let losses: Vec<f64> = documents
        .iter()
        .filter(|document| 1 < document.len())
        .flat_map(|document| by_hand(&mut model, &document[..document.len().min(16)], 1))
        .collect();
    assert_score(&found, &losses);
}

#[test]
fn without_a_stride_windows_overlap_by_the_token_they_predict_from() {
    let (_directory, mut model) = model();
    let tokens = token_ids(25, 272, 5);
    let options = Options { context: 10, stride: None, first_window_only: false };
    let found = run(&mut model, std::slice::from_ref(&tokens), &options).unwrap();
    let mut losses = by_hand(&mut model, &tokens[..10], 1);
    losses.extend(by_hand(&mut model, &tokens[9..19], 1));
    losses.extend(by_hand(&mut model, &tokens[18..], 1));
    assert_score(&found, &losses);
}

#[test]
fn says_how_far_it_is_and_stops_when_cancelled() {
    let (_directory, mut model) = model();
    let documents = [token_ids(30, 272, 6), token_ids(20, 272, 7)];
    let options = Options { context: 30, stride: None, first_window_only: true };
    let mut seen = Vec::new();
    score(&mut model, &documents, &options, &AtomicBool::new(false), &mut |done, all| seen.push((done, all)))
        .unwrap();
    assert_eq!(seen, [(30, 50), (50, 50)]);
    let cancelled = score(&mut model, &documents, &options, &AtomicBool::new(true), &mut |_, _| {});
    assert!(matches!(cancelled, Err(Error::Cancelled)));
}

#[test]
fn refuses_what_cannot_be_scored() {
    let (_directory, mut model) = model();
    let long = [token_ids(9, 272, 8)];
    let cases = [
        (&[vec![1]], 10, None, "too short"),
        (&long, 1, None, "context is 1, expected 2 to"),
        (&long, 701, None, "context is 701"),
        (&long, 10, Some(10), "stride is 10, expected 1 to"),
        (&[vec![1, 300]], 10, None, "token id 300"),
    ];
    for (documents, context, stride, expected) in cases {
        let options = Options { context, stride, first_window_only: false };
        let message = run(&mut model, documents, &options).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
