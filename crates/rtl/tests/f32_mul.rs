//! `f32_mul` against the host's multiplication: every kind of number, halfway cases, results around the smallest normal.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use pipeline::{Pipeline, canonical, random, special_numbers};
use rand_pcg::rand_core::Rng;

struct Bench {
    pipeline: Pipeline,
    // of b
    mask: u32,
}

impl Bench {
    fn new(bits: u32) -> Option<Self> {
        let model = common::model("f32_mul", &[("BBits", &bits.to_string())])?;
        Some(Self {
            pipeline: Pipeline::new(model, &["a_i", "b_i"]).with_tag(),
            mask: u32::MAX << (24 - bits),
        })
    }

    fn check(&mut self, a: u32, b: u32) {
        let b = b & self.mask;
        let expected = canonical(f32::from_bits(a) * f32::from_bits(b));
        self.pipeline.push(&[a.into(), b.into()], expected);
    }
}

fn check_all(bits: u32, rounds: u32) {
    let Some(mut bench) = Bench::new(bits) else { return };
    let special = special_numbers();
    for &a in &special {
        for &b in &special {
            bench.check(a, b);
        }
    }
    let mut random = random(u64::from(bits));
    bench.pipeline.reset();
    for _ in 0..rounds {
        let (a, b, more) = (random.next_u32(), random.next_u32(), random.next_u32());
        bench.check(a, b);
        // The exponents sum up to a result from far below the subnormal numbers to a few binades above the smallest
        // normal one, and to one around overflow.
        let fields = 127 - 30 + more % 36;
        let a_field = (more >> 8) % fields;
        bench.check(a & 0x807f_ffff | a_field << 23, b & 0x807f_ffff | (fields - a_field) << 23);
        let fields = 254 + 127 - 3 + more % 5;
        let a_field = 254 - (more >> 8) % 120;
        bench.check(a & 0x807f_ffff | a_field << 23, b & 0x807f_ffff | (fields - a_field).min(254) << 23);
        // Subnormal times anything, on both sides.
        let small = (a & 0x7f_ffff) >> (more % 23) | a & 1 << 31;
        bench.check(small, b);
        bench.check(b, small);
        // Significands of 12 or 13 bits: the product has 24 to 26, so it is often exactly halfway.
        let short = |bits: u32| bits & 0xffff_f000;
        bench.check(short(a) | 0x800, short(b) & bench.mask);
        bench.check(short(a), short(b) | 0x800);
    }
    assert!(bench.pipeline.finish() >= u64::from(rounds) * 7);
}

#[test]
fn multiplies_like_the_host() {
    check_all(24, 300_000);
}

#[test]
fn multiplies_like_the_host_with_a_short_operand() {
    check_all(21, 60_000);
    check_all(11, 60_000);
}
