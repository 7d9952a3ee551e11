//! Linear layers with 16-bit or 32-bit weights, row-major, and f32 activations.
//!
//! Input `i` goes to lane `i mod 16`; a lane adds its products in ascending order, multiplication and addition
//! rounded separately; the lanes are then added as the fixed tree, and the bias last.

use crate::Compute;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Rows that share a load of the activations.
const TILE_ROWS: usize = 4;

/// Weights of a task, in bytes: small enough to share evenly, large enough that the memory streams.
const TASK_BYTES: usize = 128 << 10;

/// Type of a stored weight, little-endian.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DenseType {
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// IEEE single precision.
    F32,
}

impl DenseType {
    /// Bytes of a weight.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
        }
    }
}

/// A matrix [rows, inputs] in row-major order.
#[derive(Debug, Clone, Copy)]
pub struct Dense<'a> {
    /// Output channels.
    pub rows: usize,
    /// Input channels.
    pub inputs: usize,
    /// Type of the weights.
    pub dtype: DenseType,
    /// rows x inputs weights.
    pub data: &'a [u8],
}

impl<'a> Dense<'a> {
    fn row_bytes(&self) -> usize {
        self.inputs * self.dtype.bytes()
    }

    fn row(&self, row: usize) -> &'a [u8] {
        &self.data[row * self.row_bytes()..][..self.row_bytes()]
    }

    /// Row `row` as floats `[inputs]`, exactly.
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) {
        for (out, bytes) in out.iter_mut().zip(self.row(row).chunks_exact(self.dtype.bytes())) {
            *out = match (self.dtype, bytes) {
                (DenseType::F16, &[a, b]) => half::f16::from_le_bytes([a, b]).to_f32(),
                (DenseType::Bf16, &[a, b]) => half::bf16::from_le_bytes([a, b]).to_f32(),
                (_, bytes) => f32::from_le_bytes(bytes.try_into().expect("an f32 has four bytes")),
            };
        }
    }
}

/// `out` [tokens, rows] = `x` [tokens, inputs] times `w` [rows, inputs] transposed, plus `bias` `[rows]`.
///
/// # Panics
/// If a length does not fit the shape.
pub fn dense_linear(
    c: &Compute,
    w: &Dense<'_>,
    x: &[f32],
    tokens: usize,
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    assert_eq!(w.data.len(), w.rows * w.row_bytes(), "weights [{}, {}]", w.rows, w.inputs);
    assert_eq!(x.len(), tokens * w.inputs, "activations [{tokens}, {}]", w.inputs);
    assert_eq!(out.len(), tokens * w.rows, "results [{tokens}, {}]", w.rows);
    assert!(bias.is_none_or(|bias| bias.len() == w.rows), "bias of {} rows", w.rows);
    if out.is_empty() {
        return;
    }
    let share = w.rows.div_ceil(4 * c.pool.threads());
    let rows = (TASK_BYTES / w.row_bytes().max(1)).clamp(1, share).next_multiple_of(TILE_ROWS);
    // Each token's row of results is cut into the same runs of rows; a task takes one run of every token.
    let mut tasks: Vec<Vec<&mut [f32]>> = Vec::new();
    tasks.resize_with(w.rows.div_ceil(rows), || Vec::with_capacity(tokens));
    for out in out.chunks_exact_mut(w.rows) {
        for (task, out) in tasks.iter_mut().zip(out.chunks_mut(rows)) {
            task.push(out);
        }
    }
    c.pool.for_each_chunk(&mut tasks, 1, |i, task| {
        dispatch(c.isa, Task { w, x, bias, first: i * rows, out: &mut task[0] });
    });
}

/// A run of rows, for every token.
struct Task<'a, 'o> {
    w: &'a Dense<'a>,
    x: &'a [f32],
    bias: Option<&'a [f32]>,
    first: usize,
    /// [token][row of the run]
    out: &'a mut [&'o mut [f32]],
}

impl Kernel for Task<'_, '_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        match self.w.dtype {
            DenseType::F16 => self.tiles::<S, F16>(simd),
            DenseType::Bf16 => self.tiles::<S, Bf16>(simd),
            DenseType::F32 => self.tiles::<S, F32>(simd),
        }
    }
}

impl Task<'_, '_> {
    #[inline(always)]
    fn tiles<S: Simd, W: Weight>(&mut self, simd: S) {
        let (rows, tokens) = (self.out[0].len(), self.out.len());
        for row in (0..rows).step_by(TILE_ROWS) {
            let mut token = 0;
            while token < tokens {
                token += match (rows - row < TILE_ROWS, tokens - token) {
                    (false, 4..) if S::MANY_REGISTERS => self.tile::<S, W, TILE_ROWS, 4>(simd, row, token),
                    (false, _) => self.tile::<S, W, TILE_ROWS, 1>(simd, row, token),
                    (true, _) => {
                        (row..rows).for_each(|row| {
                            self.tile::<S, W, 1, 1>(simd, row, token);
                        });
                        1
                    }
                };
            }
        }
    }

    /// `R` rows times `T` tokens; returns T.
    #[inline(always)]
    fn tile<S: Simd, W: Weight, const R: usize, const T: usize>(
        &mut self,
        simd: S,
        row: usize,
        token: usize,
    ) -> usize {
        let inputs = self.w.inputs;
        let weights: [_; R] = std::array::from_fn(|r| W::split(self.w.row(self.first + row + r)));
        let x: [_; T] =
            std::array::from_fn(|t| self.x[(token + t) * inputs..][..inputs].as_chunks::<LANES>());
        let mut acc = [[simd.splat(0.0); T]; R];
        for i in 0..inputs / LANES {
            let x: [S::F; T] = std::array::from_fn(|t| simd.load(&x[t].0[i]));
            for (acc, weights) in acc.iter_mut().zip(&weights) {
                let w = W::load(simd, &weights.0[i]);
                for (acc, x) in acc.iter_mut().zip(x) {
                    *acc = simd.add(*acc, simd.mul(x, w));
                }
            }
        }
        for (r, acc) in acc.into_iter().enumerate() {
            // The lanes without an input add +0 to a sum that is never -0, which changes nothing.
            let w = simd.load(&W::load_rest(weights[r].1));
            let row = row + r;
            for (t, acc) in acc.into_iter().enumerate() {
                let sum = simd.reduce_add(simd.add(acc, simd.mul(simd.load_partial(x[t].1, 0.0), w)));
                self.out[token + t][row] = self.bias.map_or(sum, |bias| sum + bias[self.first + row]);
            }
        }
        T
    }
}

/// A type of stored weights: how sixteen of them become lanes.
trait Weight {
    /// Bytes of sixteen weights.
    type Chunk;
    /// Sixteen at a time, and the bytes left over.
    fn split(row: &[u8]) -> (&[Self::Chunk], &[u8]);
    fn load<S: Simd>(simd: S, chunk: &Self::Chunk) -> S::F;
    /// Fewer than sixteen, and zeros.
    fn load_rest(rest: &[u8]) -> [f32; LANES];
}

struct F16;
struct Bf16;
struct F32;

/// Bytes to words of 16 bits.
#[inline(always)]
fn words(bytes: &[u8; 32]) -> [u16; LANES] {
    std::array::from_fn(|i| u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]))
}

impl Weight for F16 {
    type Chunk = [u8; 32];

    #[inline(always)]
    fn split(row: &[u8]) -> (&[Self::Chunk], &[u8]) {
        row.as_chunks()
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, chunk: &Self::Chunk) -> S::F {
        simd.load_f16(&words(chunk))
    }

    #[inline(always)]
    fn load_rest(rest: &[u8]) -> [f32; LANES] {
        load_rest(rest, |bytes| half::f16::from_le_bytes(bytes).to_f32())
    }
}

impl Weight for Bf16 {
    type Chunk = [u8; 32];

    #[inline(always)]
    fn split(row: &[u8]) -> (&[Self::Chunk], &[u8]) {
        row.as_chunks()
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, chunk: &Self::Chunk) -> S::F {
        simd.load(&words(chunk).map(|bits| f32::from_bits(u32::from(bits) << 16)))
    }

    #[inline(always)]
    fn load_rest(rest: &[u8]) -> [f32; LANES] {
        load_rest(rest, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))
    }
}

impl Weight for F32 {
    type Chunk = [u8; 64];

    #[inline(always)]
    fn split(row: &[u8]) -> (&[Self::Chunk], &[u8]) {
        row.as_chunks()
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, chunk: &Self::Chunk) -> S::F {
        let chunk = chunk.as_chunks::<4>().0;
        simd.load(&std::array::from_fn(|i| f32::from_le_bytes(chunk[i])))
    }

    #[inline(always)]
    fn load_rest(rest: &[u8]) -> [f32; LANES] {
        load_rest(rest, f32::from_le_bytes)
    }
}

#[inline(always)]
fn load_rest<const N: usize>(rest: &[u8], value: impl Fn([u8; N]) -> f32) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    for (lane, bytes) in lanes.iter_mut().zip(rest.as_chunks().0) {
        *lane = value(*bytes);
    }
    lanes
}
