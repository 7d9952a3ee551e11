//! Likelihoods of continuations against their definition, with and without what earlier requests left behind.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{by_hand, model};
use edgewen_engine::CpuBackend;
use edgewen_eval::likelihood::{Continuation, Scorer};
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::Checkpoint;
use edgewen_testing::conformance::token_ids;
use edgewen_testing::rtn::{self, Head};

#[test]
fn a_continuation_has_the_likelihood_of_its_tokens() {
    let (_directory, mut model) = model();
    let (context, continuation) = (token_ids(20, 272, 1), token_ids(5, 272, 2));
    let found = Scorer::new(&mut model, 700).unwrap().continuation(&context, &continuation).unwrap();
    let expected: f64 = by_hand(&mut model, &[context, continuation].concat(), 20).iter().sum();
    assert!((found.log_likelihood + expected).abs() < 1e-9);
    assert_eq!((found.tokens, found.is_greedy), (5, false));
}

#[test]
fn the_left_is_cut_so_that_the_last_token_is_only_predicted() {
    let (_directory, mut model) = model();
    let all = token_ids(40, 272, 3);
    for (max_length, first) in [(39, 0), (16, 23), (4, 35)] {
        let mut scorer = Scorer::new(&mut model, max_length).unwrap();
        let found = scorer.continuation(&all[..36], &all[36..]).unwrap();
        let expected: f64 = by_hand(&mut model, &all[first..], 36 - first).iter().sum();
        assert!((found.log_likelihood + expected).abs() < 1e-9, "{max_length}");
    }
}

#[test]
fn greedy_is_what_the_model_would_have_written() {
    let (_directory, mut model) = model();
    let context = token_ids(9, 272, 4);
    let best = |model: &mut edgewen_engine::Reference, tokens: &[u32]| {
        let all = common::rows(model, &[tokens, &[0]].concat());
        edgewen_eval::stats::argmax(all.last().unwrap()) as u32
    };
    let first = best(&mut model, &context);
    let second = best(&mut model, &[&context[..], &[first]].concat());
    let mut scorer = Scorer::new(&mut model, 700).unwrap();
    assert!(scorer.continuation(&context, &[first, second]).unwrap().is_greedy);
    assert!(!scorer.continuation(&context, &[first, (second + 1) % 272]).unwrap().is_greedy);
}

/// Requests that share beginnings, repeat each other, and are too long.
fn requests() -> Vec<(Vec<u32>, Vec<u32>)> {
    let context = token_ids(60, 272, 5);
    let mut list = Vec::new();
    for seed in 0..4 {
        list.push((context.clone(), token_ids(3 + seed as usize, 272, 10 + seed)));
        list.push((context[..30].to_vec(), token_ids(4, 272, 20 + seed)));
    }
    list.push(list[0].clone());
    list.push((token_ids(100, 272, 6), vec![1, 2, 3]));
    list.push((vec![context[0]], context[1..40].to_vec()));
    list
}

#[test]
fn what_requests_share_changes_no_bit() {
    let (directory, mut reference) = model();
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let packed = directory.path().join("model.ewn");
    let file = Arc::new(rtn::pack(&checkpoint, GroupSize::G32, Head::Bits(WeightBits::Eight), &packed));
    let cpu = || CpuBackend::new(Arc::clone(&file), Compute::new(Isa::best(), 2), KvType::F16).unwrap();
    let mut cpu_shared = cpu();
    let shared = |scorer: &mut Scorer<'_>| -> Vec<Continuation> {
        requests().iter().map(|(context, rest)| scorer.continuation(context, rest).unwrap()).collect()
    };
    let mut alone_reference = Vec::new();
    let mut alone_cpu = Vec::new();
    for (context, rest) in requests() {
        alone_reference.push(Scorer::new(&mut reference, 80).unwrap().continuation(&context, &rest).unwrap());
        alone_cpu.push(Scorer::new(&mut cpu(), 80).unwrap().continuation(&context, &rest).unwrap());
    }
    assert_eq!(shared(&mut Scorer::new(&mut reference, 80).unwrap()), alone_reference);
    assert_eq!(shared(&mut Scorer::new(&mut cpu_shared, 80).unwrap()), alone_cpu);
}

#[test]
fn what_cannot_be_scored_is_refused_and_the_next_request_is_right() {
    let (_directory, mut model) = model();
    assert!(Scorer::new(&mut model, 701).is_err());
    let expected = Scorer::new(&mut model, 8).unwrap().continuation(&[1, 2], &[3]).unwrap();
    let mut scorer = Scorer::new(&mut model, 8).unwrap();
    for (context, continuation, message) in [
        (&[][..], &[1][..], "at least one token"),
        (&[1], &[], "expected 1 to 8"),
        (&[1], &[0; 9], "expected 1 to 8"),
        (&[1, 2], &[999], "token id 999"),
        (&[1, 999], &[2], "token id 999"),
    ] {
        let error = scorer.continuation(context, continuation).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    assert_eq!(scorer.continuation(&[1, 2], &[3]).unwrap(), expected);
}
