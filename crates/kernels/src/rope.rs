//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864), in Hugging Face's pairing of element `i` with
//! `i + head_dim / 2`.
//!
//! Angles are `f32(position) · inverse frequency` in `f32`, as transformers computes them; their cosines and sines
//! come from the `libm` crate in `f64`, so that they are the same on every machine.

use crate::Compute;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Cosines and sines of every position and frequency.
#[derive(Clone, Debug)]
pub struct RopeTable {
    inv_freq: Vec<f32>,
    attention_scale: f32,
    /// [positions][cosine, sine][head_dim / 2]
    values: Vec<f32>,
}

impl RopeTable {
    /// The table of the first `positions` positions; [`Self::extend`] makes it longer.
    ///
    /// `inv_freq` [head_dim / 2] is in radians a position; every cosine and sine is multiplied by `attention_scale`,
    /// which is 1 unless the model uses YaRN.
    ///
    /// # Panics
    /// If `inv_freq` is not half as long as `head_dim`.
    pub fn new(head_dim: usize, inv_freq: &[f32], attention_scale: f32, positions: usize) -> Self {
        assert!(head_dim > 0 && head_dim == 2 * inv_freq.len(), "a frequency for each pair of {head_dim}");
        let mut table = Self { inv_freq: inv_freq.to_vec(), attention_scale, values: Vec::new() };
        table.extend(positions);
        table
    }

    /// Makes the table at least `positions` long.
    pub fn extend(&mut self, positions: usize) {
        let missing = self.positions()..positions;
        self.values.reserve_exact(missing.len() * self.head_dim());
        let scale = f64::from(self.attention_scale);
        for position in missing {
            for function in [libm::cos, libm::sin] {
                let angles = self.inv_freq.iter().map(|frequency| position as f32 * frequency);
                self.values.extend(angles.map(|angle| (function(f64::from(angle)) * scale) as f32));
            }
        }
    }

    /// Number of positions in the table.
    pub fn positions(&self) -> usize {
        self.values.len() / self.head_dim()
    }

    /// Elements of a head.
    pub fn head_dim(&self) -> usize {
        2 * self.inv_freq.len()
    }

    fn cos_sin(&self, position: usize) -> (&[f32], &[f32]) {
        let head_dim = self.head_dim();
        self.values[position * head_dim..][..head_dim].split_at(head_dim / 2)
    }
}

/// Rotates the first `heads` heads of each row of `x` in place.
///
/// A row starts every `stride` elements, one for each of `positions`; the last may end with its last head.
///
/// # Panics
/// If `x` is too short, or a position is beyond the table.
pub fn rope(
    compute: &Compute,
    table: &RopeTable,
    x: &mut [f32],
    stride: usize,
    heads: usize,
    positions: &[usize],
) {
    let width = heads * table.head_dim();
    let Some(last) = positions.len().checked_sub(1) else { return };
    assert!(width <= stride, "{heads} heads do not fit rows of {stride}");
    let used = last * stride + width;
    assert!(used <= x.len(), "{} rows of {stride} do not fit {} elements", positions.len(), x.len());
    compute.pool.for_each_chunk(&mut x[..used], stride, |token, row| {
        let (cos, sin) = table.cos_sin(positions[token]);
        dispatch(compute.isa, Rotate { heads: &mut row[..width], cos, sin });
    });
}

/// Rotates all heads of one token.
struct Rotate<'a> {
    heads: &'a mut [f32],
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Rotate<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let half = self.cos.len();
        let (cos_blocks, cos_tail) = self.cos.as_chunks::<LANES>();
        let (sin_blocks, sin_tail) = self.sin.as_chunks::<LANES>();
        for head in self.heads.chunks_exact_mut(2 * half) {
            let (a, b) = head.split_at_mut(half);
            let (a_blocks, a_tail) = a.as_chunks_mut::<LANES>();
            let (b_blocks, b_tail) = b.as_chunks_mut::<LANES>();
            for (((a, b), cos), sin) in a_blocks.iter_mut().zip(b_blocks).zip(cos_blocks).zip(sin_blocks) {
                let (x, y) = rotate(s, s.load(a), s.load(b), s.load(cos), s.load(sin));
                s.store(x, a);
                s.store(y, b);
            }
            if !a_tail.is_empty() {
                let (cos, sin) = (s.load_partial(cos_tail, 0.0), s.load_partial(sin_tail, 0.0));
                let (x, y) = rotate(s, s.load_partial(a_tail, 0.0), s.load_partial(b_tail, 0.0), cos, sin);
                s.store_partial(x, a_tail);
                s.store_partial(y, b_tail);
            }
        }
    }
}

#[inline(always)]
fn rotate<S: Simd>(s: S, a: S::F, b: S::F, cos: S::F, sin: S::F) -> (S::F, S::F) {
    (s.sub(s.mul(a, cos), s.mul(b, sin)), s.add(s.mul(b, cos), s.mul(a, sin)))
}
