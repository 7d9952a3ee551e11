//! Rows of logits of a window, a few at a time: a row of Qwen2.5 takes 608 kB.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use edgewen_engine::{Backend, Batch, Forward};

use crate::windows::Window;
use crate::{Error, Result};

/// Tokens of a forward pass, and rows of logits at a time: 32 rows of Qwen2.5's vocabulary are 19 MB.
const BATCH_TOKENS: usize = 512;
const HEAD_ROWS: usize = 32;

/// The cache that is used.
const SLOT: usize = 0;

/// What a measurement tells while it runs, and how it is told to stop.
pub struct Watch<'a> {
    cancel: &'a AtomicBool,
    progress: Option<&'a mut dyn FnMut(usize, usize)>,
    done: usize,
    total: usize,
}

impl<'a> Watch<'a> {
    /// `cancel` is set from outside to stop; `progress` is called with the tokens done and the tokens in all.
    pub fn new(cancel: &'a AtomicBool, progress: &'a mut dyn FnMut(usize, usize)) -> Self {
        Self { cancel, progress: Some(progress), done: 0, total: 0 }
    }

    /// The same without a word about progress.
    pub(crate) fn silent(&self) -> Watch<'a> {
        Watch { cancel: self.cancel, progress: None, done: 0, total: 0 }
    }

    /// Sets the total to the tokens that some windows read.
    pub(crate) fn begin(&mut self, windows: &[Window]) {
        self.total = windows.iter().map(read).sum();
    }

    /// Counts tokens, and fails if the work was cancelled.
    pub(crate) fn advance(&mut self, tokens: usize) -> Result<()> {
        if self.cancel.load(Ordering::SeqCst) {
            return Err(Error::Cancelled);
        }
        self.done += tokens;
        if let Some(progress) = &mut self.progress {
            progress(self.done, self.total);
        }
        Ok(())
    }
}

/// Tokens of a window that are read.
pub(crate) fn read(window: &Window) -> usize {
    window.tokens.len() - 1
}

/// The rows of a window that are wanted, in the pieces in which [`Rows::get`] gives them. Row `t` predicts token
/// `t + 1`.
pub(crate) fn pieces(window: &Window) -> Vec<Range<usize>> {
    let mut result = Vec::new();
    let (mut at, end) = (window.scored - 1, read(window));
    while at < end {
        let batch_end = (at / BATCH_TOKENS + 1) * BATCH_TOKENS;
        let next = end.min(at + HEAD_ROWS).min(batch_end);
        result.push(at..next);
        at = next;
    }
    result
}

/// Computes rows of one window after the other.
pub(crate) struct Rows<'a> {
    backend: &'a mut dyn Backend,
    forward: Forward,
    /// Tokens of the window that are computed, and the first of those whose hidden states are kept.
    computed: usize,
    kept: usize,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(backend: &'a mut dyn Backend) -> Self {
        Self { backend, forward: Forward::default(), computed: 0, kept: 0 }
    }

    pub(crate) fn vocabulary(&self) -> usize {
        self.backend.config().vocab_size
    }

    /// Begins a window with an empty cache.
    pub(crate) fn begin(&mut self) {
        self.backend.truncate(SLOT, 0);
        (self.computed, self.kept) = (0, 0);
    }

    /// Logits [rows, vocabulary] of one of the window's [`pieces`]; they are asked for in order. `watch` counts the
    /// tokens that had to be computed.
    pub(crate) fn get(
        &mut self,
        window: &Window,
        rows: Range<usize>,
        watch: &mut Watch<'_>,
    ) -> Result<&[f32]> {
        while self.computed < rows.end {
            let end = read(window).min(self.computed + BATCH_TOKENS);
            let tokens = &window.tokens[self.computed..end];
            watch.advance(0)?;
            self.forward.hidden(self.backend, &Batch::one(SLOT, self.computed, tokens))?;
            watch.advance(tokens.len())?;
            (self.kept, self.computed) = (self.computed, end);
        }
        Ok(self.forward.head(self.backend, rows.start - self.kept..rows.end - self.kept)?)
    }
}
