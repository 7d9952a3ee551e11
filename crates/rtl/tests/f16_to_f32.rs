//! `f16_to_f32` against the `half` crate, for every encoding.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use half::f16;
use pipeline::{Pipeline, canonical};

#[test]
fn converts_every_half() {
    let Some(model) = common::model("f16_to_f32", &[]) else { return };
    let mut pipeline = Pipeline::new(model, &["half_i"]);
    for bits in 0..=u16::MAX {
        pipeline.push(&[u64::from(bits)], canonical(f16::from_bits(bits).to_f32()));
    }
    assert_eq!(pipeline.finish(), 1 << 16);
    pipeline.reset();
}
