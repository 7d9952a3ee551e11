//! Root mean square normalization (Zhang and Sennrich 2019, arXiv 1910.07467).
//!
//! The squares are summed in sixteen lanes, element `i` into lane `i mod 16`, that are then added as a fixed tree.

use crate::Compute;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// `out = (x · 1 / sqrt(mean(x²) + eps)) · weight` for each row of `x` [tokens, n]; `weight` has `n` elements.
///
/// # Panics
/// If `x` is not whole rows or `out` is not as long as `x`.
pub fn rms_norm(compute: &Compute, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let n = weight.len();
    assert_eq!(x.len(), out.len(), "as many results as elements");
    assert!(n > 0 && x.len().is_multiple_of(n), "whole rows of {n}, not {} elements", x.len());
    compute.pool.for_each_chunk(out, n, |token, out| {
        let x = &x[token * n..][..n];
        dispatch(compute.isa, Row { x, weight, eps, out });
    });
}

struct Row<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for Row<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let n = self.x.len();
        let (x_blocks, x_tail) = self.x.as_chunks::<LANES>();
        let mut sum = s.splat(0.0);
        for x in x_blocks {
            let x = s.load(x);
            sum = s.add(sum, s.mul(x, x));
        }
        let x = s.load_partial(x_tail, 0.0);
        let sum = s.add(sum, s.mul(x, x));
        let mean = s.reduce_add(sum) / n as f32;
        let r = s.splat(1.0 / (mean + self.eps).sqrt());

        let (weight_blocks, weight_tail) = self.weight.as_chunks::<LANES>();
        let (out_blocks, out_tail) = self.out.as_chunks_mut::<LANES>();
        for ((x, weight), out) in x_blocks.iter().zip(weight_blocks).zip(out_blocks) {
            s.store(s.mul(s.mul(s.load(x), r), s.load(weight)), out);
        }
        let tail = s.mul(s.mul(x, r), s.load_partial(weight_tail, 0.0));
        s.store_partial(tail, out_tail);
    }
}
