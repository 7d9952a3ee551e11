//! How likely a model finds a continuation of a context, scored as lm-evaluation-harness does.
//!
//! Context and continuation are tokens; together they are cut on the left to the model's length and one more, since
//! the last token is only predicted. What consecutive requests have in common is computed once: the backends give
//! the same bits for any way of cutting a sequence into passes, so that this changes no figure.

use edgewen_engine::{Backend, Batch, Forward};
use edgewen_model::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::stats::log_sum_exp;
use crate::{Error, Result};

/// Tokens of a forward pass, and rows of logits at a time.
const BATCH_TOKENS: usize = 512;
const HEAD_ROWS: usize = 32;

/// The cache that is used.
const SLOT: usize = 0;

/// What a model thinks of a continuation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Continuation {
    /// Sum of the natural logarithms of the probabilities of its tokens.
    pub log_likelihood: f64,
    /// Whether every token of it is the likeliest one (the first of equal ones).
    pub is_greedy: bool,
    /// Tokens of the continuation.
    pub tokens: usize,
}

/// Scores continuations on one backend.
pub struct Scorer<'a> {
    backend: &'a mut dyn Backend,
    forward: Forward,
    cached: Vec<u32>,
    max_length: usize,
}

impl<'a> Scorer<'a> {
    /// A scorer that lets the model see at most `max_length` tokens.
    ///
    /// # Errors
    /// A length of 0 or beyond what the model was made for.
    pub fn new(backend: &'a mut dyn Backend, max_length: usize) -> Result<Self> {
        let most = backend.config().max_position;
        if max_length == 0 || most < max_length {
            return Err(Error::Option {
                name: "the context",
                value: max_length.to_string(),
                expected: format!("1 to {most}, what the model was made for"),
            });
        }
        backend.truncate(SLOT, 0);
        Ok(Self { backend, forward: Forward::default(), cached: Vec::new(), max_length })
    }

    /// How likely `continuation` is after `context`.
    ///
    /// # Errors
    /// No context, no continuation, or one longer than the model may see; what the backend says.
    pub fn continuation(&mut self, context: &[u32], continuation: &[u32]) -> Result<Continuation> {
        let wrong = |name, value: usize, expected: &str| Error::Option {
            name,
            value: format!("{value} tokens"),
            expected: expected.to_string(),
        };
        if context.is_empty() {
            return Err(wrong(
                "the context",
                0,
                "at least one token (begin an empty context with the prefix token)",
            ));
        }
        if continuation.is_empty() || self.max_length < continuation.len() {
            let expected = format!("1 to {} tokens, what the model may see", self.max_length);
            return Err(wrong("the continuation", continuation.len(), &expected));
        }
        let mut all = [context, continuation].concat();
        // The last token is predicted, never read: one more than the model's length fits.
        all.drain(..all.len().saturating_sub(self.max_length + 1));
        self.score(&all, continuation.len()).inspect_err(|_| {
            // Some layers may have tokens that others lack.
            self.cached.clear();
            self.backend.truncate(SLOT, 0);
        })
    }

    /// Scores the last `predicted` of `tokens`.
    fn score(&mut self, tokens: &[u32], predicted: usize) -> Result<Continuation> {
        let read = &tokens[..tokens.len() - 1];
        // Row t predicts token t + 1: the rows from here on are wanted, so they are computed anew.
        let first = tokens.len() - predicted - 1;
        let same = self.cached.iter().zip(read).take_while(|(a, b)| a == b).count().min(first);
        self.cached.truncate(same);
        self.backend.truncate(SLOT, same);
        let mut result = Continuation { log_likelihood: 0.0, is_greedy: true, tokens: predicted };
        let vocabulary = self.backend.config().vocab_size;
        let mut start = same;
        for piece in read[same..].chunks(BATCH_TOKENS) {
            self.forward.hidden(self.backend, &Batch::one(SLOT, start, piece))?;
            let end = start + piece.len();
            let mut at = first.max(start);
            while at < end {
                let next = end.min(at + HEAD_ROWS);
                let logits = self.forward.head(self.backend, at - start..next - start)?;
                for (row, &target) in logits.chunks_exact(vocabulary).zip(&tokens[at + 1..]) {
                    let normalizer = log_sum_exp(row).ok_or(edgewen_engine::Error::NonFiniteLogits)?;
                    let id = target as usize;
                    let target = *row
                        .get(id)
                        .ok_or(edgewen_engine::Error::TokenOutOfRange { id: target, vocabulary })?;
                    result.log_likelihood += f64::from(target) - normalizer;
                    result.is_greedy &= crate::stats::argmax(row) == id;
                }
                at = next;
            }
            start = end;
        }
        self.cached.extend_from_slice(&read[same..]);
        Ok(result)
    }
}

/// Tokens of a context and of its continuation, as lm-evaluation-harness makes them: white space at the end of the context
/// belongs to the continuation; both are encoded together, and what comes after as many tokens as the context alone has is
/// the continuation. A BOS token comes first where the tokenizer adds one, but no second one.
///
/// Either part may come out empty: the caller decides what that means.
///
/// # Errors
/// What the tokenizer says.
pub fn encode_pair(tokenizer: &Tokenizer, context: &str, continuation: &str) -> Result<(Vec<u32>, Vec<u32>)> {
    let bos = tokenizer.encode("", true)?.first().copied();
    let encode = |text: &str| -> Result<Vec<u32>> {
        let plain = tokenizer.encode(text, false)?;
        let has_bos = bos.is_some() && plain.first() == bos.as_ref();
        Ok(if has_bos { plain } else { tokenizer.encode(text, true)? })
    };
    // Python's `rstrip` takes the four information separators for white space too.
    let trimmed = context.trim_end_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c));
    let whole = encode(&[context, continuation].concat())?;
    let before = encode(trimmed)?;
    let rest = whole.get(before.len()..).unwrap_or_default().to_vec();
    Ok((before, rest))
}
