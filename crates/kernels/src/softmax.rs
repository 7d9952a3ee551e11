//! Softmax of a row, in two passes: the greatest value first, then everything relative to it.
//!
//! The result does not depend on how the row was computed or split, only on its values. The sum runs over sixteen
//! lanes, element `i` into lane `i mod 16`, that are then added as a fixed tree.

use crate::Compute;
use crate::exp::exp_lanes;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Replaces each `x[i]` with `exp(x[i] - max) / sum`.
pub fn softmax(compute: &Compute, x: &mut [f32]) {
    struct Softmax<'a>(&'a mut [f32]);
    impl Kernel for Softmax<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            softmax_row(simd, self.0);
        }
    }
    dispatch(compute.isa, Softmax(x));
}

#[inline(always)]
pub(crate) fn softmax_row<S: Simd>(s: S, x: &mut [f32]) {
    let (blocks, tail) = x.as_chunks_mut::<LANES>();
    let mut max = s.load_partial(tail, f32::NEG_INFINITY);
    for block in &*blocks {
        max = s.max(s.load(block), max);
    }
    let max = s.splat(s.reduce_max(max));

    let mut sum = s.splat(0.0);
    for block in &mut *blocks {
        let e = exp_lanes(s, s.sub(s.load(block), max));
        s.store(e, block);
        sum = s.add(sum, e);
    }
    if !tail.is_empty() {
        let e = exp_lanes(s, s.sub(s.load_partial(tail, f32::NEG_INFINITY), max));
        s.store_partial(e, tail);
        // A lane without an element keeps its sum, whatever its exponential is.
        sum = s.add(sum, s.load_partial(tail, 0.0));
    }

    let sum = s.splat(s.reduce_add(sum));
    for block in blocks {
        s.store(s.div(s.load(block), sum), block);
    }
    let p = s.div(s.load_partial(tail, 0.0), sum);
    s.store_partial(p, tail);
}
