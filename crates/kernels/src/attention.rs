//! Causal attention with grouped query heads (Ainslie et al. 2023, arXiv 2305.13245).
//!
//! Work is split into tiles: a few query tokens and the query heads that share one key-value head, so that a block of
//! keys or values is converted to `f32` once for all of them. Softmax is the plain one, over all visible positions at
//! once, so neither the tiles nor the threads show in the result.

pub mod int8;
mod tile;

use std::cell::RefCell;
use std::marker::PhantomData;

use crate::Compute;
use crate::kv::{GROUP_POSITIONS, HalfCache, Int8Cache, KvLayer, Store};
use crate::simd::dispatch;
use crate::{Activations, Isa};
use tile::Tile;

/// Query rows (tokens times heads) of a tile.
const TILE_ROWS: usize = 32;
/// Scores of a tile, so that they stay in a second-level cache.
const TILE_SCORES: usize = 64 * 1024;

/// For each query, the mean of the values it sees, weighted by the softmax of its scores.
///
/// Row `t` of `q` starts at `t · q_stride` with [heads, head_dim]; `out` is [tokens, heads · head_dim]. Query `t` is
/// at position `start + t` and sees the positions up to its own, which must be in `kv` already. Query head `h` uses
/// key-value head `h / (heads / kv_heads)`. With keys and values of eight bits the arithmetic is that of [`int8`]. In
/// half precision, every step rounded to `f32`:
/// - `score = (q · k) · (1 / sqrt(head_dim))`, the products of elements `l, l + 16, ..` added up in lane `l`, the
///   lanes then added as the fixed tree; a lane without elements is zero;
/// - [`softmax`](crate::softmax::softmax) over the visible positions;
/// - `out[d] += p[t] · v[t][d]` in ascending order of the positions.
///
/// # Panics
/// If the lengths do not fit, or a query sees positions that `kv` does not hold.
#[expect(
    clippy::too_many_arguments,
    reason = "two strided matrices and a range; a struct would only rename them"
)]
pub fn attention(
    compute: &Compute,
    kv: &KvLayer,
    q: &[f32],
    q_stride: usize,
    heads: usize,
    tokens: usize,
    start: usize,
    out: &mut [f32],
) {
    let width = heads * kv.head_dim();
    assert!(heads > 0 && heads.is_multiple_of(kv.kv_heads()), "{heads} heads share {}", kv.kv_heads());
    assert_eq!(out.len(), tokens * width, "a result for each element of each query");
    let Some(last) = tokens.checked_sub(1) else { return };
    assert!(width <= q_stride, "{heads} heads do not fit rows of {q_stride}");
    assert!(last * q_stride + width <= q.len(), "{tokens} rows of {q_stride} do not fit {}", q.len());
    assert!(start + tokens <= kv.len(), "queries up to {}, but {} positions", start + tokens, kv.len());

    let out = Rows { data: out.as_mut_ptr(), len: out.len(), lifetime: PhantomData };
    let job = Job { q, q_stride, heads, kv_heads: kv.kv_heads(), tokens, start, out };
    match &kv.store {
        Store::F16(cache) => half(compute, cache, &job),
        Store::Int8(cache) => eight_bits(compute, cache, &job),
    }
}

/// The queries of a call, and where the results go.
struct Job<'a> {
    q: &'a [f32],
    q_stride: usize,
    heads: usize,
    kv_heads: usize,
    tokens: usize,
    start: usize,
    out: Rows<'a>,
}

impl Job<'_> {
    /// Query heads of a key-value head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Into how many parts, and of how many heads each, the query heads of a key-value head are split so that
    /// `tasks` tasks occupy the threads: a single token has few tasks.
    fn parts(&self, compute: &Compute, tasks: usize) -> (usize, usize) {
        let parts = compute.pool.threads().div_ceil(tasks).min(self.group());
        let heads = self.group().div_ceil(parts);
        (self.group().div_ceil(heads), heads)
    }
}

fn half(compute: &Compute, kv: &HalfCache, job: &Job<'_>) {
    let group = job.group();
    let rows = (TILE_SCORES / (job.start + job.tokens)).min(TILE_ROWS);
    let tile_tokens = (rows / group).clamp(1, job.tokens);
    let tiles = job.tokens.div_ceil(tile_tokens);
    let (parts, part_heads) = job.parts(compute, tiles * job.kv_heads);
    compute.pool.run(tiles * job.kv_heads * parts, |task| {
        // The last tiles see most and take longest: they go first.
        let first_token = (tiles - 1 - task / (job.kv_heads * parts)) * tile_tokens;
        let kv_head = task / parts % job.kv_heads;
        let first = task % parts * part_heads;
        let tile = Tile {
            kv,
            kv_head,
            q: job.q,
            q_stride: job.q_stride,
            first_token,
            tokens: tile_tokens.min(job.tokens - first_token),
            first_head: kv_head * group + first,
            heads: part_heads.min(group - first),
            start: job.start,
            out: &job.out,
            out_stride: job.heads * kv.head_dim(),
        };
        dispatch(compute.isa, tile);
    });
}

fn eight_bits(compute: &Compute, kv: &Int8Cache, job: &Job<'_>) {
    let (parts, part_heads) = job.parts(compute, job.tokens * job.kv_heads);
    compute.pool.run(job.tokens * job.kv_heads * parts, |task| {
        // The last tokens see most and take longest: they go first.
        let token = job.tokens - 1 - task / (job.kv_heads * parts);
        let kv_head = task / parts % job.kv_heads;
        let first = task % parts * part_heads;
        let heads = part_heads.min(job.group() - first);
        let at = (kv_head * job.group() + first) * kv.head_dim();
        let width = heads * kv.head_dim();
        SCRATCH.with_borrow_mut(|scratch| {
            let q = &job.q[token * job.q_stride + at..][..width];
            let results = scratch.attend(compute.isa, kv, kv_head, job.start + token + 1, q);
            // SAFETY: tasks have disjoint heads and tokens.
            unsafe { job.out.write(token * job.heads * kv.head_dim() + at, results) };
        });
    });
}

/// The steps of [`int8`] for a few heads of one token.
#[derive(Default)]
struct Scratch {
    queries: Activations,
    scores: Vec<f32>,
    weights: Activations,
    sums: Vec<f32>,
    out: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    fn attend(&mut self, isa: Isa, kv: &Int8Cache, kv_head: usize, positions: usize, q: &[f32]) -> &[f32] {
        let groups = positions.div_ceil(GROUP_POSITIONS);
        let stride = groups * GROUP_POSITIONS;
        let heads = q.len() / kv.head_dim();
        self.scores.clear();
        self.scores.resize(heads * stride, 0.0);
        self.sums.resize(heads, 0.0);
        self.out.clear();
        self.out.resize(q.len(), 0.0);
        int8::quantize_queries(isa, q, kv.head_dim(), &mut self.queries);
        int8::add_scores(isa, kv, kv_head, 0..groups, &self.queries, &mut self.scores, stride);
        int8::weigh(isa, kv, kv_head, positions, &mut self.scores, &mut self.weights, &mut self.sums);
        int8::add_values(isa, kv, kv_head, 0..groups, &self.weights, &mut self.out);
        int8::normalize(&mut self.out, &self.sums);
        &self.out
    }
}

/// The results, of which every task writes its own heads of its own tokens.
struct Rows<'a> {
    data: *mut f32,
    len: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer stands for an exclusive borrow of floats, and tasks write disjoint parts of it (see `write`).
unsafe impl Sync for Rows<'_> {}

impl Rows<'_> {
    /// Copies `values` to `at`.
    ///
    /// # Safety
    /// No other thread may write to the same elements at the same time.
    unsafe fn write(&self, at: usize, values: &[f32]) {
        assert!(at + values.len() <= self.len, "{} results at {at} of {}", values.len(), self.len);
        // SAFETY: the range was checked, and nobody else accesses it.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.data.add(at), values.len()) };
    }
}
