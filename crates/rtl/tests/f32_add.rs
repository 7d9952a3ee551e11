//! `f32_add` against the host's addition: every kind of number, cancellation, halfway cases, subnormal sums.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use pipeline::{Pipeline, canonical, random, special_numbers};
use rand_pcg::rand_core::Rng;

struct Bench(Pipeline);

impl Bench {
    fn check(&mut self, a: u32, b: u32) {
        let expected = canonical(f32::from_bits(a) + f32::from_bits(b));
        self.0.push(&[a.into(), b.into()], expected);
    }
}

#[test]
fn adds_like_the_host() {
    let Some(model) = common::model("f32_add", &[]) else { return };
    let mut bench = Bench(Pipeline::new(model, &["a_i", "b_i"]).with_tag());
    let special = special_numbers();
    for &a in &special {
        for &b in &special {
            bench.check(a, b);
        }
    }
    bench.0.reset();
    let mut random = random(5);
    let rounds = 300_000;
    for _ in 0..rounds {
        let (a, b, more) = (random.next_u32(), random.next_u32(), random.next_u32());
        bench.check(a, b);
        // Exponents 0 to 31 apart, on either side.
        let field = (a >> 23 & 255).saturating_sub(more % 32);
        let near = b & 0x807f_ffff | field << 23;
        bench.check(a, near);
        bench.check(near, a);
        // Almost the same magnitude with the other sign.
        let opposite = (a ^ 1 << 31).wrapping_add((more & 7).wrapping_sub(3));
        bench.check(a, opposite);
        bench.check(a, (opposite & 0xff80_0000) | b & 0x7f_ffff);
        // Halfway: the smaller has one or two bits, up to 26 places below the larger one's last.
        let halfway = field << 23 | b & 1 << 31 | (more >> 5 & 3) << 21;
        bench.check(a, halfway);
        // Subnormal, or just not.
        bench.check(a & 0x81ff_ffff, b & 0x80ff_ffff);
    }
    assert!(bench.0.finish() >= rounds * 7);
}
