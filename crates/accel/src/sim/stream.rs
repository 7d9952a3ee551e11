//! What the weight ports have been told to stream and have not been asked for yet.
//!
//! A port is a queue of ranges of memory. The first beats of it, as many as the FIFO holds, count as read; who takes
//! beats gets them in order, whatever descriptor they came from.

use std::collections::VecDeque;

use crate::descriptor::PORTS;
use crate::image::BEAT_BYTES;

/// Commands that a port holds besides those whose beats are in the FIFO.
const COMMANDS: usize = 4;

/// A piece of memory that a port streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    /// First byte.
    pub(super) address: u64,
    /// Beats of 16 bytes.
    pub(super) beats: u64,
}

/// One port.
#[derive(Debug, Default)]
pub(super) struct Stream {
    ranges: VecDeque<Range>,
    waiting: u64,
    /// Beats that were taken since the counters were cleared.
    taken: u64,
    max_level: u64,
    /// Beats in the FIFO when the counters were cleared: they were counted before.
    counted: u64,
}

/// All ports.
pub(super) type Streams = [Stream; PORTS];

impl Stream {
    /// Whether another command would find room.
    pub(super) fn has_room(&self, fifo_beats: u64) -> bool {
        let mut beats = 0;
        let inside = |range: &&Range| {
            beats += range.beats;
            beats <= fifo_beats
        };
        self.ranges.len() - self.ranges.iter().take_while(inside).count() < COMMANDS
    }

    /// Takes a command; one without beats is nothing.
    pub(super) fn push(&mut self, range: Range, fifo_beats: u64) {
        if range.beats != 0 {
            self.ranges.push_back(range);
            self.waiting += range.beats;
            self.max_level = self.max_level.max(self.level(fifo_beats));
        }
    }

    /// Beats that are queued, in the FIFO or not.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Beats in the FIFO.
    pub(super) fn level(&self, fifo_beats: u64) -> u64 {
        self.waiting.min(fifo_beats)
    }

    /// Takes the next `beats` beats, of which there must be as many: the ranges they lie in.
    pub(super) fn take(&mut self, beats: u64) -> Vec<Range> {
        let mut taken = Vec::new();
        let mut left = beats;
        while left != 0 {
            let Some(first) = self.ranges.front_mut() else { break };
            let part = left.min(first.beats);
            taken.push(Range { address: first.address, beats: part });
            first.address += part * BEAT_BYTES as u64;
            first.beats -= part;
            left -= part;
            if first.beats == 0 {
                self.ranges.pop_front();
            }
        }
        self.waiting -= beats - left;
        self.taken += beats - left;
        taken
    }

    /// Beats received since the counters were cleared.
    pub(super) fn beats(&self, fifo_beats: u64) -> u64 {
        (self.taken + self.level(fifo_beats)).saturating_sub(self.counted)
    }

    /// Highest level since the counters were cleared.
    pub(super) fn max_level(&self) -> u64 {
        self.max_level
    }

    pub(super) fn clear_counters(&mut self, fifo_beats: u64) {
        self.taken = 0;
        self.counted = self.level(fifo_beats);
        self.max_level = self.counted;
    }

    /// Forgets what is queued and keeps the counters: what was in the FIFO was read.
    pub(super) fn reset(&mut self, fifo_beats: u64) {
        self.taken += self.level(fifo_beats);
        self.ranges.clear();
        self.waiting = 0;
    }
}
