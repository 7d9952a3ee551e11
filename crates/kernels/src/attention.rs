//! Causal attention with grouped query heads (Ainslie et al. 2023, arXiv 2305.13245).
//!
//! Work is split into tiles: a few query tokens and the query heads that share one key-value head, so that a block of
//! keys or values is converted to `f32` once for all of them. Softmax is the plain one, over all visible positions at
//! once, so neither the tiles nor the threads show in the result.

mod tile;

use std::marker::PhantomData;

use crate::Compute;
use crate::kv::KvLayer;
use crate::simd::dispatch;
use tile::Tile;

/// Query rows (tokens times heads) of a tile.
const TILE_ROWS: usize = 32;
/// Scores of a tile, so that they stay in a second-level cache.
const TILE_SCORES: usize = 64 * 1024;

/// For each query, the mean of the values it sees, weighted by the softmax of its scores.
///
/// Row `t` of `q` starts at `t · q_stride` with [heads, head_dim]; `out` is [tokens, heads · head_dim]. Query `t` is
/// at position `start + t` and sees the positions up to its own, which must be in `kv` already. Query head `h` uses
/// key-value head `h / (heads / kv_heads)`. The arithmetic, every step rounded to `f32`:
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

    let group = heads / kv.kv_heads();
    let rows = (TILE_SCORES / (start + tokens)).min(TILE_ROWS);
    let tile_tokens = (rows / group).clamp(1, tokens);
    let tiles = tokens.div_ceil(tile_tokens);
    // A single token has few tiles: then the heads that share keys and values are split, too.
    let parts = compute.pool.threads().div_ceil(tiles * kv.kv_heads()).min(group);
    let part_heads = group.div_ceil(parts);
    let parts = group.div_ceil(part_heads);

    let out = Rows { data: out.as_mut_ptr(), len: out.len(), lifetime: PhantomData };
    compute.pool.run(tiles * kv.kv_heads() * parts, |task| {
        // The last tiles see most and take longest: they go first.
        let first_token = (tiles - 1 - task / (kv.kv_heads() * parts)) * tile_tokens;
        let kv_head = task / parts % kv.kv_heads();
        let first = task % parts * part_heads;
        let tile = Tile {
            kv,
            kv_head,
            q,
            q_stride,
            first_token,
            tokens: tile_tokens.min(tokens - first_token),
            first_head: kv_head * group + first,
            heads: part_heads.min(group - first),
            start,
            out: &out,
            out_stride: width,
        };
        dispatch(compute.isa, tile);
    });
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
