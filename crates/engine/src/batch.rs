//! What one forward pass computes: runs of tokens of one or more sequences.

use std::ops::Range;

/// A run of consecutive tokens of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Which key-value cache the sequence has.
    pub slot: usize,
    /// Position of the first token in its sequence: the tokens before it are in the cache.
    pub start: usize,
    /// Number of tokens.
    pub len: usize,
}

/// The tokens of a forward pass, segment by segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    tokens: Vec<u32>,
    segments: Vec<Segment>,
    positions: Vec<usize>,
}

impl Batch {
    /// A batch with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// One run of tokens of one sequence.
    pub fn one(slot: usize, start: usize, tokens: &[u32]) -> Self {
        let mut batch = Self::new();
        batch.push(slot, start, tokens);
        batch
    }

    /// Adds a run of tokens. A slot occurs at most once in a batch.
    pub fn push(&mut self, slot: usize, start: usize, tokens: &[u32]) {
        self.segments.push(Segment { slot, start, len: tokens.len() });
        self.tokens.extend_from_slice(tokens);
        self.positions.extend(start..start + tokens.len());
    }

    /// All tokens.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Position of every token in its sequence.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The runs, each with the rows it has in the batch.
    pub fn segments(&self) -> impl Iterator<Item = (Segment, Range<usize>)> + '_ {
        let mut row = 0;
        self.segments.iter().map(move |&segment| {
            row += segment.len;
            (segment, row - segment.len..row)
        })
    }
}
