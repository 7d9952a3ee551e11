//! Activations of a linear layer, quantized to eight bits per group of inputs.
//!
//! Per group: `s = absmax / 127`, `r = 127 / absmax`, `q = round_ties_even(x r)`, each rounded once to f32. A group
//! whose absmax is zero, or so small (below 3.8e-37) that `r` overflows, has `s = 0` and codes of zero.

use edgewen_layout::GroupSize;

use crate::simd::{Kernel, LANES, Simd, dispatch};
use crate::{Compute, Isa};

/// Tokens of a task: enough work to be worth handing to another thread.
const TASK_TOKENS: usize = 4;
/// Groups of a task when there is a single token to split.
const TASK_GROUPS: usize = 10;

/// Quantized activations [tokens, inputs]; the memory is reused from call to call.
#[derive(Debug, Default)]
pub struct Activations {
    q: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
    tokens: usize,
    inputs: usize,
    group: Option<GroupSize>,
}

impl Activations {
    /// No activations yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Quantizes `x` [tokens, k] in groups of `group` inputs; the last group of a token is padded with zeros.
    ///
    /// Infinities and NaN do not survive as such: a group with an infinity has an infinite scale, a NaN becomes the
    /// code 127.
    ///
    /// # Panics
    /// If `x` is not [tokens, k].
    pub fn quantize(&mut self, c: &Compute, x: &[f32], tokens: usize, k: usize, group: GroupSize) {
        self.resize(x, tokens, k, group);
        if tokens == 0 || k == 0 {
            return;
        }
        let groups = k.div_ceil(group.get());
        let group = group.get();
        // Inputs and groups of a task: some whole tokens, or some groups of a single one.
        let (task_inputs, task_groups) = match tokens {
            1 => (TASK_GROUPS * group, TASK_GROUPS),
            _ => (TASK_TOKENS * k, TASK_TOKENS * groups),
        };
        let mut tasks: Vec<_> = x
            .chunks(task_inputs)
            .zip(self.q.chunks_mut(task_groups * group))
            .zip(self.scales.chunks_mut(task_groups))
            .zip(self.sums.chunks_mut(task_groups))
            .map(|(((x, q), scales), sums)| {
                let inputs = if tokens == 1 { x.len() } else { k };
                Quantize { x, q, scales, sums, inputs, group }
            })
            .collect();
        c.pool.for_each_chunk(&mut tasks, 1, |_, tasks| {
            tasks.iter_mut().for_each(|task| dispatch(c.isa, &mut *task));
        });
    }

    /// [`Self::quantize`] on the calling thread alone.
    pub(crate) fn quantize_alone(&mut self, isa: Isa, x: &[f32], tokens: usize, k: usize, group: GroupSize) {
        self.resize(x, tokens, k, group);
        if tokens == 0 || k == 0 {
            return;
        }
        let Self { q, scales, sums, .. } = self;
        dispatch(isa, &mut Quantize { x, q, scales, sums, inputs: k, group: group.get() });
    }

    /// Makes room for `x` [tokens, k].
    fn resize(&mut self, x: &[f32], tokens: usize, k: usize, group: GroupSize) {
        assert_eq!(x.len(), tokens * k, "activations [{tokens}, {k}]");
        let groups = k.div_ceil(group.get());
        (self.tokens, self.inputs, self.group) = (tokens, k, Some(group));
        self.q.resize(tokens * groups * group.get(), 0);
        self.scales.resize(tokens * groups, 0.0);
        self.sums.resize(tokens * groups, 0);
    }

    /// Codes [tokens, padded inputs]: -127..=127, zero in the padding.
    pub fn q(&self) -> &[i8] {
        &self.q
    }

    /// Scale of a group [tokens, groups].
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Sum of the codes of a group [tokens, groups].
    pub fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// Tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Inputs of a token, without padding.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Groups of a token.
    pub(crate) fn groups(&self) -> usize {
        self.group.map_or(0, |group| self.inputs.div_ceil(group.get()))
    }

    /// Group size, once something was quantized.
    pub fn group(&self) -> Option<GroupSize> {
        self.group
    }
}

/// A few tokens, or a few groups of one, and where their codes go.
struct Quantize<'a> {
    x: &'a [f32],
    q: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
    inputs: usize,
    group: usize,
}

impl Kernel for &mut Quantize<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let groups = self.inputs.div_ceil(self.group);
        let tokens = self.x.chunks_exact(self.inputs).zip(self.q.chunks_exact_mut(groups * self.group));
        let results = self.scales.chunks_exact_mut(groups).zip(self.sums.chunks_exact_mut(groups));
        for ((x, q), (scales, sums)) in tokens.zip(results) {
            let codes = x.chunks(self.group).zip(q.chunks_exact_mut(self.group));
            for ((x, q), (scale, sum)) in codes.zip(scales.iter_mut().zip(sums)) {
                (*scale, *sum) = quantize_group(simd, x, q);
            }
        }
    }
}

/// Writes the codes of one group and returns its scale and the sum of its codes.
#[inline(always)]
fn quantize_group<S: Simd>(simd: S, x: &[f32], q: &mut [i8]) -> (f32, i32) {
    let (whole, rest) = x.as_chunks::<LANES>();
    // Two maxima, so that one need not wait for the other; neither is ever NaN.
    let (mut even, mut odd) = (simd.splat(0.0), simd.splat(0.0));
    let (pairs, single) = whole.as_chunks::<2>();
    for [a, b] in pairs {
        even = simd.max(simd.abs(simd.load(a)), even);
        odd = simd.max(simd.abs(simd.load(b)), odd);
    }
    for x in single {
        even = simd.max(simd.abs(simd.load(x)), even);
    }
    if !rest.is_empty() {
        even = simd.max(simd.abs(simd.load_partial(rest, 0.0)), even);
    }
    let absmax = simd.reduce_max(simd.max(even, odd));
    let reciprocal = 127.0 / absmax;
    if !reciprocal.is_finite() {
        q.fill(0);
        return (0.0, 0);
    }
    let r = simd.splat(reciprocal);
    // Only a NaN is changed by the bounds: |x r| is at most 127 and a rounding.
    let code = |x: S::F| simd.bound(simd.mul(x, r), -127.0, 127.0);
    let mut chunks = q.as_chunks_mut::<LANES>().0.iter_mut();
    for (x, q) in whole.iter().zip(&mut chunks) {
        simd.store_i8(code(simd.load(x)), q);
    }
    if !rest.is_empty()
        && let Some(q) = chunks.next()
    {
        simd.store_i8(code(simd.load_partial(rest, 0.0)), q);
    }
    chunks.for_each(|q| q.fill(0));
    (absmax / 127.0, simd.sum_i8(q.as_chunks::<LANES>().0))
}
