//! The bench of everything that takes words in and gives the same words out in the same order.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::collections::VecDeque;

use edgewen_rtl::Model;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// How busy the two sides are, in 256ths of the cycles.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// The writer has a word.
    pub write: u32,
    /// The reader is ready.
    pub read: u32,
}

/// A FIFO under test and what must be in it.
pub struct Bench {
    /// The module, with ports `valid_i ready_o data_i valid_o ready_i data_o flush_i`.
    pub model: Model,
    /// Words that went in and did not come out.
    pub inside: VecDeque<[u32; 4]>,
    /// Most words that were inside at once.
    pub most: usize,
    words: usize,
    level: bool,
    random: Pcg64Mcg,
}

impl Bench {
    /// Resets the module. `words` is the width of the data in 32-bit words.
    pub fn new(mut model: Model, words: usize, level: bool) -> Self {
        model.reset(2);
        Self { model, inside: VecDeque::new(), most: 0, words, level, random: Pcg64Mcg::seed_from_u64(7) }
    }

    /// Clocks with random traffic, checks every word that comes out, and returns how many did.
    pub fn run(&mut self, cycles: u32, load: Load) -> u32 {
        let mut out = 0;
        for _ in 0..cycles {
            let word: [u32; 4] =
                std::array::from_fn(|i| if i < self.words { self.random.next_u32() } else { 0 });
            let write = self.random.next_u32() % 256 < load.write;
            let read = self.random.next_u32() % 256 < load.read;
            self.model.set("valid_i", u64::from(write));
            self.model.set("ready_i", u64::from(read));
            self.model.set_words("data_i", &word[..self.words]);
            self.model.eval();
            if read && self.model.get("valid_o") == 1 {
                let mut found = [0; 4];
                self.model.get_words("data_o", &mut found);
                assert_eq!(Some(found), self.inside.pop_front(), "at cycle {}", self.model.cycles());
                out += 1;
            }
            if write && self.model.get("ready_o") == 1 {
                self.inside.push_back(word);
                self.most = self.most.max(self.inside.len());
            }
            self.model.clock();
            if self.level {
                assert_eq!(self.model.get("level_o"), self.inside.len() as u64);
            }
        }
        out
    }

    /// Empties the FIFO by its flush input.
    pub fn flush(&mut self) {
        self.model.set("valid_i", 0);
        self.model.set("ready_i", 0);
        self.model.set("flush_i", 1);
        self.model.clock();
        self.model.set("flush_i", 0);
        self.model.eval();
        self.inside.clear();
        assert_eq!(self.model.get("valid_o"), 0);
    }

    /// Traffic of every kind, with resets in the middle of it, until everything is out again.
    pub fn all_loads(&mut self, cycles: u32) {
        for (write, read) in [(256, 256), (128, 128), (256, 64), (64, 256), (20, 20), (250, 250)] {
            self.run(cycles, Load { write, read });
            if write == 128 {
                self.flush();
            }
            if write == 64 {
                self.model.reset(1);
                self.inside.clear();
            }
        }
        self.run(cycles + 4096, Load { write: 0, read: 256 });
        assert!(self.inside.is_empty(), "{} words are lost", self.inside.len());
    }
}
