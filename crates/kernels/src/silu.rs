//! Operations that treat every element alike: the gated activation of the feed-forward network, and addition.

use crate::Compute;
use crate::exp::exp_lanes;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Elements of one task of [`add_assign`]: enough to be worth handing to another thread.
const ADD_CHUNK: usize = 32 * 1024;
/// Elements of one task of [`silu_mul`] when there is a single token to split.
const SILU_CHUNK: usize = 640;

/// `out = silu(gate) · up` with `silu(g) = g / (1 + exp(-g))` (Shazeer 2020, arXiv 2002.05202).
///
/// A row of `gate_up` [tokens, 2n] is `n` gates, then `n` ups; `out` is [tokens, n].
///
/// # Panics
/// If the lengths are not whole rows of as many tokens.
pub fn silu_mul(compute: &Compute, gate_up: &[f32], n: usize, out: &mut [f32]) {
    assert_eq!(gate_up.len(), 2 * out.len(), "a gate and an up for each result");
    assert!(n > 0 && out.len().is_multiple_of(n), "whole rows of {n}, not {} results", out.len());
    // A single token has one row: on a slow core it is worth handing out in pieces.
    let chunk = if out.len() == n { SILU_CHUNK } else { n };
    compute.pool.for_each_chunk(out, chunk, |i, out| {
        let (token, first) = (i * chunk / n, i * chunk % n);
        let (gate, up) = gate_up[token * 2 * n..][..2 * n].split_at(n);
        let range = first..first + out.len();
        dispatch(compute.isa, SiluMul { gate: &gate[range.clone()], up: &up[range], out });
    });
}

struct SiluMul<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for SiluMul<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (gate_blocks, gate_tail) = self.gate.as_chunks::<LANES>();
        let (up_blocks, up_tail) = self.up.as_chunks::<LANES>();
        let (out_blocks, out_tail) = self.out.as_chunks_mut::<LANES>();
        for ((gate, up), out) in gate_blocks.iter().zip(up_blocks).zip(out_blocks) {
            s.store(silu_mul_lanes(s, s.load(gate), s.load(up)), out);
        }
        if !out_tail.is_empty() {
            let (gate, up) = (s.load_partial(gate_tail, 0.0), s.load_partial(up_tail, 0.0));
            s.store_partial(silu_mul_lanes(s, gate, up), out_tail);
        }
    }
}

#[inline(always)]
fn silu_mul_lanes<S: Simd>(s: S, gate: S::F, up: S::F) -> S::F {
    let e = exp_lanes(s, s.sub(s.splat(0.0), gate));
    s.mul(s.div(gate, s.add(s.splat(1.0), e)), up)
}

/// `x += y`.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign(compute: &Compute, x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "as many addends as elements");
    compute.pool.for_each_chunk(x, ADD_CHUNK, |i, x| {
        let y = &y[i * ADD_CHUNK..][..x.len()];
        dispatch(compute.isa, Add { x, y });
    });
}

struct Add<'a> {
    x: &'a mut [f32],
    y: &'a [f32],
}

impl Kernel for Add<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x_blocks, x_tail) = self.x.as_chunks_mut::<LANES>();
        let (y_blocks, y_tail) = self.y.as_chunks::<LANES>();
        for (x, y) in x_blocks.iter_mut().zip(y_blocks) {
            s.store(s.add(s.load(x), s.load(y)), x);
        }
        for (x, y) in x_tail.iter_mut().zip(y_tail) {
            *x += y;
        }
    }
}
