//! The bench of a unit that takes operands every cycle and gives the result of each after a fixed number of cycles:
//! ports `valid_i`, operands, `valid_o`, `result_o`, and `tag_i`, `tag_o` where it has them.

// Every bench uses some of this.
#![allow(dead_code)]

use std::collections::VecDeque;

use edgewen_rtl::{Model, PortId};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// The pattern of every NaN that the accelerator makes.
pub const NAN: u32 = 0x7fc0_0000;

/// A result of the host as the accelerator writes it.
pub fn canonical(value: f32) -> u32 {
    if value.is_nan() { NAN } else { value.to_bits() }
}

/// A random source for the operands.
pub fn random(seed: u64) -> Pcg64Mcg {
    Pcg64Mcg::seed_from_u64(seed)
}

/// Encodings at the edges of every kind of number, both signs.
pub fn special_numbers() -> Vec<u32> {
    let mut all = Vec::new();
    for exponent in [0, 1, 2, 23, 24, 25, 63, 64, 126, 127, 128, 150, 151, 190, 252, 253, 254, 255] {
        for fraction in [0, 1, 2, 3, 0x3f_ffff, 0x40_0000, 0x40_0001, 0x55_5555, 0x7f_fffe, 0x7f_ffff] {
            all.extend([exponent << 23 | fraction, 1 << 31 | exponent << 23 | fraction]);
        }
    }
    all
}

/// A unit and the results it still owes.
pub struct Pipeline {
    model: Model,
    operands: Vec<PortId>,
    valid_i: PortId,
    valid_o: PortId,
    result_o: PortId,
    tags: Option<(PortId, PortId)>,
    owed: VecDeque<(u64, Vec<u64>, u32)>,
    bubbles: u32,
    count: u64,
    random: Pcg64Mcg,
}

impl Pipeline {
    /// Resets the unit. A cycle in 16 will be without operands.
    pub fn new(mut model: Model, operands: &[&str]) -> Self {
        model.reset(2);
        Self {
            operands: operands.iter().map(|name| model.port(name)).collect(),
            valid_i: model.port("valid_i"),
            valid_o: model.port("valid_o"),
            result_o: model.port("result_o"),
            tags: None,
            owed: VecDeque::new(),
            bubbles: 16,
            count: 0,
            random: random(11),
            model,
        }
    }

    /// Checks that a tag stays with its operands, too.
    pub fn with_tag(mut self) -> Self {
        self.tags = Some((self.model.port("tag_i"), self.model.port("tag_o")));
        self
    }

    /// Gives operands that must lead to `expected`, and checks the result that comes out meanwhile.
    pub fn push(&mut self, operands: &[u64], expected: u32) {
        if self.random.next_u32() % 256 < self.bubbles {
            self.clock(None);
        }
        self.owed.push_back((self.count, operands.to_vec(), expected));
        self.clock(Some(operands));
        self.count += 1;
    }

    fn clock(&mut self, operands: Option<&[u64]>) {
        self.model.set_at(self.valid_i, u64::from(operands.is_some()));
        for (&port, &value) in self.operands.iter().zip(operands.unwrap_or_default()) {
            self.model.set_at(port, value);
        }
        if let Some((tag_i, _)) = self.tags {
            self.model.set_at(tag_i, self.count & 1);
        }
        self.model.clock();
        if self.model.get_at(self.valid_o) == 1 {
            let (count, operands, expected) = self.owed.pop_front().expect("a result for nothing");
            let found = self.model.get_at(self.result_o) as u32;
            assert_eq!(
                found, expected,
                "operands {operands:#x?}: found {found:#010x}, expected {expected:#010x}"
            );
            if let Some((_, tag_o)) = self.tags {
                assert_eq!(self.model.get_at(tag_o), count & 1, "the tag of another operation");
            }
        }
    }

    /// Waits for all results, and returns how many there were.
    pub fn finish(&mut self) -> u64 {
        for _ in 0..16 {
            self.clock(None);
        }
        assert!(self.owed.is_empty(), "{} results are missing", self.owed.len());
        self.count
    }

    /// A reset in the middle: what was under way is lost, and nothing comes out by itself.
    pub fn reset(&mut self) {
        self.model.set_at(self.valid_i, 0);
        self.model.reset(1);
        self.owed.clear();
        self.finish();
    }
}
