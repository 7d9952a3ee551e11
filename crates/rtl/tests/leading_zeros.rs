//! `leading_zeros` against Rust's own count.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use rand_pcg::rand_core::Rng;

#[test]
fn counts_the_zeros_of_every_width() {
    for width in [2, 10, 18, 24, 28, 32] {
        let Some(mut model) = common::model("leading_zeros", &[("Width", &width.to_string())]) else {
            return;
        };
        let mut random = pipeline::random(1);
        let mut check = |word: u32| {
            model.set("data_i", u64::from(word));
            model.eval();
            let zeros = u64::from(word.leading_zeros() + width - 32);
            assert_eq!(model.get("count_o"), zeros, "{word:#x} of {width} bits");
        };
        check(0);
        for one in 0..width {
            check(1 << one);
            for _ in 0..100 {
                check(1 << one | random.next_u32() & ((1 << one) - 1));
            }
        }
    }
}
