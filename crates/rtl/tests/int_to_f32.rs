//! `int_to_f32` against the host's conversion.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use pipeline::{Pipeline, random};
use rand_pcg::rand_core::Rng;

fn check(pipeline: &mut Pipeline, width: u32, bits: u32) {
    let value = (bits << (32 - width)) as i32 >> (32 - width);
    pipeline.push(&[u64::from(bits)], (value as f32).to_bits());
}

#[test]
fn converts_every_integer_of_18_bits() {
    let Some(model) = common::model("int_to_f32", &[("Width", "18")]) else { return };
    let mut pipeline = Pipeline::new(model, &["int_i"]).with_tag();
    for bits in 0..1 << 18 {
        check(&mut pipeline, 18, bits);
    }
    assert_eq!(pipeline.finish(), 1 << 18);
    pipeline.reset();
}

#[test]
fn converts_integers_of_24_bits() {
    let Some(model) = common::model("int_to_f32", &[("Width", "24")]) else { return };
    let mut pipeline = Pipeline::new(model, &["int_i"]).with_tag();
    let mut random = random(2);
    for place in 0..24 {
        for _ in 0..2000 {
            check(&mut pipeline, 24, random.next_u32() >> 8 >> place);
        }
        check(&mut pipeline, 24, 1 << place);
        check(&mut pipeline, 24, 0xff_ffff << place & 0xff_ffff);
    }
    pipeline.finish();
}
