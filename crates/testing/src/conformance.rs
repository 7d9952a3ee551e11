//! What every backend must keep to, whatever computes: a result depends on the tokens alone.
//!
//! Not on how a prompt is cut into pieces, not on which other sequences are in the batch, not on what a cache held
//! before. The suite compares bits, so it needs no tolerance and no expected values; what is right is tested against
//! `transformers` elsewhere.

use edgewen_engine::{Backend, Batch, Error, Forward, Logits};

/// Tokens of the suite's longest sequence. The model's context must hold them.
pub const TOKENS: usize = 90;

/// Ids without a pattern, below `vocabulary`.
pub fn token_ids(count: usize, vocabulary: usize, seed: u32) -> Vec<u32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(1);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % u32::try_from(vocabulary).expect("a vocabulary of u32 ids")
    };
    (0..count).map(next).collect()
}

/// Logits [tokens, vocabulary] of `tokens` in slot 0, computed `piece` tokens at a time.
///
/// # Panics
/// If the backend fails.
pub fn logits(backend: &mut dyn Backend, tokens: &[u32], piece: usize) -> Vec<f32> {
    let mut forward = Forward::default();
    let mut all = Vec::new();
    backend.truncate(0, 0);
    for (index, piece_tokens) in tokens.chunks(piece).enumerate() {
        let batch = Batch::one(0, index * piece, piece_tokens);
        all.extend_from_slice(forward.run(backend, &batch, Logits::All).expect("a forward pass"));
    }
    all
}

/// Runs the suite on fresh backends of one model.
///
/// # Panics
/// If the backend does not conform; the message names the rule.
pub fn conformance(make: &dyn Fn() -> Box<dyn Backend>) {
    let mut backend = make();
    let vocabulary = backend.config().vocab_size;
    let tokens = token_ids(TOKENS, vocabulary, 1);
    let expected = logits(backend.as_mut(), &tokens, TOKENS);
    assert!(expected.iter().all(|logit| logit.is_finite()), "logits are finite");

    pieces_do_not_matter(make, &tokens, &expected);
    last_is_the_last_row_of_all(make, &tokens, &expected);
    other_sequences_do_not_matter(make, &tokens, &expected);
    a_cache_can_be_cut(make, &tokens, &expected);
    strange_batches_are_harmless(make, &tokens, &expected);
}

fn assert_same_bits(found: &[f32], expected: &[f32], rule: &str) {
    assert_eq!(found.len(), expected.len(), "{rule}: number of logits");
    let different = found.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
    if let Some(at) = different {
        panic!("{rule}: logit {at} is {} instead of {}", found[at], expected[at]);
    }
}

fn pieces_do_not_matter(make: &dyn Fn() -> Box<dyn Backend>, tokens: &[u32], expected: &[f32]) {
    for piece in [1, 3, 7, 64] {
        let found = logits(make().as_mut(), tokens, piece);
        assert_same_bits(&found, expected, &format!("a prompt in pieces of {piece} equals one in one piece"));
    }
}

fn last_is_the_last_row_of_all(make: &dyn Fn() -> Box<dyn Backend>, tokens: &[u32], expected: &[f32]) {
    let mut backend = make();
    let vocabulary = backend.config().vocab_size;
    let mut forward = Forward::default();
    let (first, second) = tokens.split_at(TOKENS / 2);
    let none = forward.run(backend.as_mut(), &Batch::one(0, 0, first), Logits::None).expect("a forward pass");
    assert!(none.is_empty(), "no logits are wanted, none are computed");
    let last = forward.run(backend.as_mut(), &Batch::one(0, first.len(), second), Logits::Last);
    let expected = &expected[(TOKENS - 1) * vocabulary..];
    assert_same_bits(last.expect("a forward pass"), expected, "the last row alone equals that of all rows");
}

fn other_sequences_do_not_matter(make: &dyn Fn() -> Box<dyn Backend>, tokens: &[u32], expected: &[f32]) {
    let mut backend = make();
    let vocabulary = backend.config().vocab_size;
    let other = token_ids(TOKENS, vocabulary, 2);
    let other_expected = logits(make().as_mut(), &other, TOKENS);

    // One batch with pieces of both, the second sequence behind the first and in the lower slot.
    let mut forward = Forward::default();
    let (mut found, mut other_found) = (Vec::new(), Vec::new());
    let (mut done, mut other_done) = (0, 0);
    for (piece, other_piece) in [(5, 11), (1, 1), (40, 3), (1, 60), (43, 15)] {
        let mut batch = Batch::new();
        batch.push(3, done, &tokens[done..done + piece]);
        batch.push(1, other_done, &other[other_done..other_done + other_piece]);
        let logits = forward.run(backend.as_mut(), &batch, Logits::All).expect("a forward pass");
        let (a, b) = logits.split_at(piece * vocabulary);
        found.extend_from_slice(a);
        other_found.extend_from_slice(b);
        done += piece;
        other_done += other_piece;
    }
    assert_same_bits(&found, expected, "a sequence beside another equals it alone");
    assert_same_bits(&other_found, &other_expected, "the other sequence equals it alone");
}

fn a_cache_can_be_cut(make: &dyn Fn() -> Box<dyn Backend>, tokens: &[u32], expected: &[f32]) {
    let mut backend = make();
    let vocabulary = backend.config().vocab_size;
    let mut forward = Forward::default();
    let other = token_ids(TOKENS, vocabulary, 3);
    for keep in [0, 1, 16, 31, TOKENS - 1] {
        // What follows the kept tokens is another text first, and must leave no trace.
        let mut mixed = tokens[..keep].to_vec();
        mixed.extend_from_slice(&other[keep..]);
        logits(backend.as_mut(), &mixed, TOKENS);
        backend.truncate(0, keep);
        let batch = Batch::one(0, keep, &tokens[keep..]);
        let found = forward.run(backend.as_mut(), &batch, Logits::All).expect("a forward pass");
        let rule = format!("a cache cut to {keep} tokens continues as if nothing else had been there");
        assert_same_bits(found, &expected[keep * vocabulary..], &rule);
    }
    assert_ne!(backend.kv_bytes(), 0, "the caches take memory");
    backend.truncate(0, 0);
    backend.truncate(100, 0);
}

fn strange_batches_are_harmless(make: &dyn Fn() -> Box<dyn Backend>, tokens: &[u32], expected: &[f32]) {
    let mut backend = make();
    let vocabulary = backend.config().vocab_size;
    let mut forward = Forward::default();
    let nothing = forward.run(backend.as_mut(), &Batch::new(), Logits::All).expect("an empty batch is fine");
    assert!(nothing.is_empty(), "an empty batch has no logits");

    let beyond = u32::try_from(vocabulary).expect("a vocabulary of u32 ids");
    let error =
        forward.run(backend.as_mut(), &Batch::one(0, 0, &[beyond]), Logits::Last).expect_err("no such id");
    assert!(matches!(error, Error::TokenOutOfRange { id, .. } if id == beyond), "{error}");

    let mut batch = Batch::one(2, 0, &[]);
    batch.push(0, 0, tokens);
    let found = forward.run(backend.as_mut(), &batch, Logits::All).expect("an empty segment is fine");
    assert_same_bits(found, expected, "an empty segment changes nothing");
}
