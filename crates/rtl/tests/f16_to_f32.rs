//! `f16_to_f32` against the `half` crate, for every encoding.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use half::f16;
use pipeline::{Pipeline, canonical};

#[test]
fn converts_every_half_and_a_sixteenth_of_it() {
    let Some(model) = common::model("f16_to_f32", &[]) else { return };
    let mut pipeline = Pipeline::new(model, &["half_i", "sixteenth_i"]);
    for bits in 0..=u16::MAX {
        let value = f16::from_bits(bits).to_f32();
        pipeline.push(&[u64::from(bits), 0], canonical(value));
        pipeline.push(&[u64::from(bits), 1], canonical(value / 16.0));
    }
    assert_eq!(pipeline.finish(), 1 << 17);
    pipeline.reset();
}
