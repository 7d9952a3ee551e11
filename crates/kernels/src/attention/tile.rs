//! Attention of a few query rows that share one key-value head.
//!
//! The sixteen lanes over `head_dim` of the definition are sixteen sums here, each for sixteen positions at once.

use std::cell::RefCell;

use super::Rows;
use crate::kv::HalfCache;
use crate::simd::{Kernel, LANES, Line, Simd, flatten, flatten_mut};
use crate::softmax::softmax_row;

/// Query heads `first_head..first_head + heads` of query tokens `first_token..first_token + tokens`. Row `r` is head
/// `r mod heads` of token `r / heads`.
pub(super) struct Tile<'a> {
    pub kv: &'a HalfCache,
    pub kv_head: usize,
    pub q: &'a [f32],
    pub q_stride: usize,
    pub first_token: usize,
    pub tokens: usize,
    pub first_head: usize,
    pub heads: usize,
    pub start: usize,
    pub out: &'a Rows<'a>,
    pub out_stride: usize,
}

#[derive(Default)]
struct Scratch {
    /// One block of keys [head_dim][16 positions] or values [16 positions][chunks].
    block: Vec<Line>,
    /// [rows][blocks of positions]
    scores: Vec<Line>,
    /// [rows][chunks]
    sums: Vec<Line>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Kernel for Tile<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // Not borrowed in a closure, which would not be compiled for the instruction set.
        let mut scratch = SCRATCH.take();
        let rows = self.tokens * self.heads;
        let chunks = self.kv.chunks();
        let blocks = self.visible(rows - 1).div_ceil(LANES);
        scratch.block.resize(LANES * chunks, Line::ZERO);
        scratch.scores.resize(rows * blocks, Line::ZERO);
        scratch.sums.clear();
        scratch.sums.resize(rows * chunks, Line::ZERO);

        for block in 0..blocks {
            self.kv.keys(s, self.kv_head, block, &mut scratch.block);
            self.score(s, block, blocks, &scratch.block, &mut scratch.scores);
        }
        for (row, scores) in scratch.scores.chunks_exact_mut(blocks).enumerate().take(rows) {
            softmax_row(s, &mut flatten_mut(scores)[..self.visible(row)]);
        }
        for block in 0..blocks {
            let positions = (self.visible(rows - 1) - block * LANES).min(LANES);
            self.kv.values(s, self.kv_head, block, positions, &mut scratch.block);
            self.accumulate(s, block, blocks, &scratch.block, &scratch.scores, &mut scratch.sums);
        }

        let head_dim = self.kv.head_dim();
        for (row, sums) in scratch.sums.chunks_exact(chunks).enumerate() {
            let (token, head) = (self.first_token + row / self.heads, self.first_head + row % self.heads);
            // SAFETY: tiles have disjoint heads and tokens.
            unsafe { self.out.write(token * self.out_stride + head * head_dim, &flatten(sums)[..head_dim]) };
        }
        SCRATCH.set(scratch);
    }
}

impl Tile<'_> {
    /// Positions that a row sees.
    #[inline(always)]
    fn visible(&self, row: usize) -> usize {
        self.start + self.first_token + row / self.heads + 1
    }

    /// The first row that sees some of a block.
    #[inline(always)]
    fn first_row(&self, block: usize) -> usize {
        self.heads * (block * LANES).saturating_sub(self.start + self.first_token)
    }

    #[inline(always)]
    fn query(&self, row: usize) -> &[f32] {
        let head_dim = self.kv.head_dim();
        let (token, head) = (self.first_token + row / self.heads, self.first_head + row % self.heads);
        &self.q[token * self.q_stride + head * head_dim..][..head_dim]
    }

    /// Scores of one block of positions for every row that sees some of them.
    #[inline(always)]
    fn score<S: Simd>(&self, s: S, block: usize, blocks: usize, keys: &[Line], scores: &mut [Line]) {
        let rows = self.tokens * self.heads;
        let mut row = self.first_row(block);
        while row < rows {
            let at = row * blocks + block;
            row += match rows - row {
                4.. if S::MANY_REGISTERS => self.score_rows::<S, 4>(s, row, keys, &mut scores[at..], blocks),
                2.. => self.score_rows::<S, 2>(s, row, keys, &mut scores[at..], blocks),
                _ => self.score_rows::<S, 1>(s, row, keys, &mut scores[at..], blocks),
            };
        }
    }

    #[inline(always)]
    fn score_rows<S: Simd, const R: usize>(
        &self,
        s: S,
        row: usize,
        keys: &[Line],
        scores: &mut [Line],
        blocks: usize,
    ) -> usize {
        let scale = s.splat(1.0 / (self.kv.head_dim() as f32).sqrt());
        let mut queries: [&[f32]; R] = [&[]; R];
        for (r, query) in queries.iter_mut().enumerate() {
            *query = self.query(row + r);
        }
        let sums = match self.kv.head_dim() {
            64 => dots::<S, R>(s, queries.map(|query| &query[..64]), &keys[..64]),
            128 => dots::<S, R>(s, queries.map(|query| &query[..128]), &keys[..128]),
            head_dim => dots::<S, R>(s, queries, &keys[..head_dim]),
        };
        for (r, sum) in sums.into_iter().enumerate() {
            s.store(s.mul(sum, scale), &mut scores[r * blocks].0);
        }
        R
    }

    /// Adds the weighted values of one block to every row that sees some of them.
    #[inline(always)]
    fn accumulate<S: Simd>(
        &self,
        s: S,
        block: usize,
        blocks: usize,
        values: &[Line],
        weights: &[Line],
        sums: &mut [Line],
    ) {
        let rows = self.tokens * self.heads;
        let positions = |row: usize| (self.visible(row) - block * LANES).min(LANES);
        let mut row = self.first_row(block);
        while row < rows {
            let weights = &weights[row * blocks + block..];
            let sums = &mut sums[row * self.kv.chunks()..];
            let n = positions(row);
            let alike = |count: usize| row + count <= rows && positions(row + count - 1) == n;
            row += if alike(4) {
                self.accumulate_rows::<S, 4>(s, n, values, weights, blocks, sums)
            } else if alike(2) {
                self.accumulate_rows::<S, 2>(s, n, values, weights, blocks, sums)
            } else {
                self.accumulate_rows::<S, 1>(s, n, values, weights, blocks, sums)
            };
        }
    }

    #[inline(always)]
    fn accumulate_rows<S: Simd, const R: usize>(
        &self,
        s: S,
        positions: usize,
        values: &[Line],
        weights: &[Line],
        blocks: usize,
        sums: &mut [Line],
    ) -> usize {
        let chunks = self.kv.chunks();
        let mut rows: [&[f32; LANES]; R] = [&Line::ZERO.0; R];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = &weights[r * blocks].0;
        }
        let mut chunk = 0;
        while chunk < chunks {
            let (values, sums) = (&values[chunk..], &mut sums[chunk..]);
            chunk += if S::MANY_REGISTERS && chunks - chunk >= 4 {
                weigh::<S, R, 4>(s, &values[..(positions - 1) * chunks + 4], rows, chunks, sums)
            } else {
                weigh::<S, R, 1>(s, &values[..(positions - 1) * chunks + 1], rows, chunks, sums)
            };
        }
        R
    }
}

/// The dot products of `R` queries with sixteen keys: the tree of the lanes, depth first, so that few sums are alive.
#[inline(always)]
fn dots<S: Simd, const R: usize>(s: S, queries: [&[f32]; R], keys: &[Line]) -> [S::F; R] {
    add(s, lanes_2(s, queries, keys, 0), lanes_2(s, queries, keys, 1))
}

/// Lanes `first`, `first + 2`, `first + 4`, ..
#[inline(always)]
fn lanes_2<S: Simd, const R: usize>(s: S, queries: [&[f32]; R], keys: &[Line], first: usize) -> [S::F; R] {
    add(s, lanes_4(s, queries, keys, first), lanes_4(s, queries, keys, first + 2))
}

#[inline(always)]
fn lanes_4<S: Simd, const R: usize>(s: S, queries: [&[f32]; R], keys: &[Line], first: usize) -> [S::F; R] {
    add(s, lanes_8(s, queries, keys, first), lanes_8(s, queries, keys, first + 4))
}

#[inline(always)]
fn lanes_8<S: Simd, const R: usize>(s: S, queries: [&[f32]; R], keys: &[Line], first: usize) -> [S::F; R] {
    add(s, lane(s, queries, keys, first), lane(s, queries, keys, first + 8))
}

/// The sum of elements `first`, `first + 16`, ..; zero if there is none.
#[inline(always)]
fn lane<S: Simd, const R: usize>(s: S, queries: [&[f32]; R], keys: &[Line], first: usize) -> [S::F; R] {
    let mut sums = [s.splat(0.0); R];
    if first >= keys.len() {
        return sums;
    }
    let key = s.load(&keys[first].0);
    for r in 0..R {
        sums[r] = s.mul(s.splat(queries[r][first]), key);
    }
    let mut i = first + LANES;
    while i < keys.len() {
        let key = s.load(&keys[i].0);
        for r in 0..R {
            sums[r] = s.add(sums[r], s.mul(s.splat(queries[r][i]), key));
        }
        i += LANES;
    }
    sums
}

#[inline(always)]
fn add<S: Simd, const R: usize>(s: S, mut a: [S::F; R], b: [S::F; R]) -> [S::F; R] {
    for r in 0..R {
        a[r] = s.add(a[r], b[r]);
    }
    a
}

/// Adds `C` chunks of the values of successive positions, times their weights, to the sums of `R` rows.
#[inline(always)]
fn weigh<S: Simd, const R: usize, const C: usize>(
    s: S,
    values: &[Line],
    weights: [&[f32; LANES]; R],
    chunks: usize,
    sums: &mut [Line],
) -> usize {
    let mut local = [[s.splat(0.0); C]; R];
    for r in 0..R {
        for c in 0..C {
            local[r][c] = s.load(&sums[r * chunks + c].0);
        }
    }
    for (position, values) in values.chunks(chunks).enumerate().take(LANES) {
        for r in 0..R {
            let weight = s.splat(weights[r][position]);
            for c in 0..C {
                local[r][c] = s.add(local[r][c], s.mul(weight, s.load(&values[c].0)));
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            s.store(local[r][c], &mut sums[r * chunks + c].0);
        }
    }
    C
}
