//! Compares orders of the bits of a 4-bit matrix by how fast they stream: the figures behind docs/packed-format.md.
//!
//! Every matrix of Qwen2.5-0.5B is multiplied by one token (decode), and those of the layers by 512 (prefill), beside
//! the read bandwidth of the machine in the same run: medians, and the best of the rounds.
//! Usage: `layout_bench [THREADS] [ROUNDS]`.
//! The alternatives are written for AVX-512 only; elsewhere only the library's own layout is measured.

use std::hint::black_box;
use std::time::Instant;

use edgewen_kernels::{Activations, Compute, Isa, IsaKind, RowBlocks, linear};
use edgewen_layout::{GroupSize, RowBlockShape, WeightBits};

/// [rows, inputs] of a layer's matrices: query-key-value, output, gate-up, down.
const LAYER: [[usize; 2]; 4] = [[1152, 896], [896, 896], [9728, 896], [896, 4864]];
const LAYERS: usize = 24;
const HEAD: [usize; 2] = [151_936, 896];
const PREFILL_TOKENS: usize = 512;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let threads = arguments.next().unwrap_or(2);
    let rounds = arguments.next().unwrap_or(9);
    let matrices: Vec<_> =
        std::iter::repeat_n(LAYER, LAYERS).flatten().chain(std::iter::once(HEAD)).collect();
    // Small enough exponents for a random f16 to be an ordinary number; the codes do not influence the speed.
    let mut random = 88_172_645_463_325_252_u64;
    let mut memory = vec![Page([0; 512]); (320 << 20) / size_of::<Page>()];
    for word in memory.iter_mut().flat_map(|page| &mut page.0) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        *word = random & 0x3f3f_3f3f_3f3f_3f3f;
    }
    let mut counts = vec![1, threads];
    counts.dedup();
    for threads in counts {
        let c = Compute::new(Isa::best(), threads);
        println!("{} threads, {}", c.pool.threads(), c.isa);
        #[cfg(target_arch = "x86_64")]
        let x = alternatives::Quantized::new();
        let mut libraries = [c.isa, isa_or_scalar(IsaKind::Avx2)]
            .map(|isa| Compute::new(isa, threads))
            .map(|compute| Library::new(compute, 1));
        let [library, narrow] = &mut libraries;
        let mut layouts: Vec<Layout<'_>> = vec![
            ("row blocks", library_bytes, Box::new(|n, k, data| library.multiply(n, k, data))),
            ("row blocks, avx2", library_bytes, Box::new(|n, k, data| narrow.multiply(n, k, data))),
        ];
        #[cfg(target_arch = "x86_64")]
        if c.isa.kind() == IsaKind::Avx512 {
            use alternatives::*;
            let (c, x) = (&c, &x);
            let padded: Size = |n, k| inline_bytes(576, n, k);
            let dense: Size = |n, k| inline_bytes(552, n, k);
            layouts.push(("inline, 576 B a group", padded, Box::new(|n, k, w| inline::<576>(c, x, n, k, w))));
            layouts.push(("inline, 552 B a group", dense, Box::new(|n, k, w| inline::<552>(c, x, n, k, w))));
            layouts.push(("32-row blocks", wide_bytes, Box::new(|n, k, w| wide(c, x, n, k, w))));
            layouts.push(("row-major", row_major_bytes, Box::new(|n, k, w| row_major(c, x, n, k, w))));
        }
        decode(&c, &memory, &matrices, rounds, layouts);
        let layers = &matrices[..matrices.len() - 1];
        for tokens in [1, 2, 4, 8, 16, PREFILL_TOKENS] {
            let mut library = Library::new(Compute::new(c.isa, threads), tokens);
            let mut round = || {
                let mut rest = bytes_of(&memory);
                for &[rows, inputs] in layers {
                    let matrix;
                    (matrix, rest) = rest.split_at(library_bytes(rows, inputs));
                    library.multiply(rows, inputs, matrix);
                }
            };
            let taken = Rounds::new((0..rounds).map(|_| seconds(&mut round)).collect());
            let products: usize = layers.iter().map(|[n, k]| n * k).sum();
            let tops = 2.0 * (products * tokens) as f64 / 1e12;
            println!(
                "  {tokens:3} tokens, layers only: {:.3} TOPS (best {:.3}), {:.1} tok/s (best {:.1})",
                tops / taken.median(),
                tops / taken.best(),
                tokens as f64 / taken.median(),
                tokens as f64 / taken.best(),
            );
        }
    }
}

/// Bytes of a matrix [rows, inputs].
type Size = fn(usize, usize) -> usize;

/// A name, the size of a matrix, and its product with one token.
type Layout<'a> = (&'static str, Size, Box<dyn FnMut(usize, usize, &[u8]) + 'a>);

/// Reads the memory once and decodes a token in every layout, round after round, so that whatever else the machine
/// does disturbs all of them alike.
fn decode(
    c: &Compute,
    memory: &[Page],
    matrices: &[[usize; 2]],
    rounds: usize,
    mut layouts: Vec<Layout<'_>>,
) {
    let bytes = bytes_of(memory);
    let mut reads = Vec::new();
    let mut decodes = vec![Vec::new(); layouts.len()];
    for _ in 0..rounds {
        reads.push(seconds(|| read(c, memory)));
        for ((_, size, multiply), decodes) in layouts.iter_mut().zip(&mut decodes) {
            decodes.push(seconds(|| {
                let mut rest = bytes;
                for &[rows, inputs] in matrices {
                    let matrix;
                    (matrix, rest) = rest.split_at(size(rows, inputs));
                    multiply(rows, inputs, matrix);
                }
            }));
        }
    }
    let gigabytes = bytes.len() as f64 / 1e9;
    let reads = Rounds::new(reads);
    let (median, best) = (gigabytes / reads.median(), gigabytes / reads.best());
    println!("  read                          {median:6.1} GB/s (best {best:.1})");
    for ((name, size, _), decodes) in layouts.iter().zip(decodes) {
        let gigabytes = matrices.iter().map(|&[rows, inputs]| size(rows, inputs)).sum::<usize>() as f64 / 1e9;
        let taken = Rounds::new(decodes);
        println!(
            "  decode {name:<22} {:6.1} GB/s (best {:.1}, {:.0} % of read), {:6.1} tok/s (best {:.1}), {gigabytes:.4} GB",
            gigabytes / taken.median(),
            gigabytes / taken.best(),
            100.0 * gigabytes / taken.best() / best,
            1.0 / taken.median(),
            1.0 / taken.best(),
        );
    }
}

fn isa_or_scalar(kind: IsaKind) -> Isa {
    Isa::new(kind).unwrap_or(Isa::SCALAR)
}

/// Seconds of several rounds, ascending.
struct Rounds(Vec<f64>);

impl Rounds {
    fn new(mut seconds: Vec<f64>) -> Self {
        seconds.sort_by(f64::total_cmp);
        Self(seconds)
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// What the least disturbed round took: the figure to read on a busy machine.
    fn best(&self) -> f64 {
        self.0[0]
    }
}

fn seconds(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

/// Adds all of `memory`, in chunks shared like those of the kernels.
fn read(c: &Compute, memory: &[Page]) {
    let chunks: Vec<_> = memory.chunks((128 << 10) / size_of::<Page>()).collect();
    c.pool.run(chunks.len(), |i| {
        let mut sums = [0_u64; 32];
        for part in chunks[i].iter().flat_map(|page| page.0.as_chunks::<32>().0) {
            for (sum, value) in sums.iter_mut().zip(part) {
                *sum = sum.wrapping_add(*value);
            }
        }
        black_box(sums);
    });
}

/// Aligned like a mapped file.
#[derive(Clone)]
#[repr(align(4096))]
struct Page([u64; 512]);

fn bytes_of(memory: &[Page]) -> &[u8] {
    // SAFETY: pages are plain numbers without padding, and every byte of them is a valid u8.
    unsafe { std::slice::from_raw_parts(memory.as_ptr().cast(), size_of_val(memory)) }
}

fn shape(rows: usize, inputs: usize) -> RowBlockShape {
    RowBlockShape { rows, inputs, group: GroupSize::G64, bits: WeightBits::Four }
}

fn library_bytes(rows: usize, inputs: usize) -> usize {
    shape(rows, inputs).total_bytes()
}

/// The layout of the packed file through the library's public function.
struct Library {
    compute: Compute,
    inputs: [Activations; 2],
    out: Vec<f32>,
    tokens: usize,
}

impl Library {
    fn new(compute: Compute, tokens: usize) -> Self {
        let inputs = [896, 4864].map(|inputs| {
            let x: Vec<f32> = (0..tokens * inputs).map(|i| (i * 37 % 255) as f32 - 127.0).collect();
            let mut activations = Activations::new();
            activations.quantize(&compute, &x, tokens, inputs, GroupSize::G64);
            activations
        });
        Self { compute, inputs, out: vec![0.0; (tokens * 9728).max(HEAD[0])], tokens }
    }

    fn multiply(&mut self, rows: usize, inputs: usize, data: &[u8]) {
        let x = self.inputs.iter().find(|x| x.inputs() == inputs).expect("one of the two widths");
        let w = RowBlocks::new(shape(rows, inputs), data).expect("a whole matrix");
        linear(&self.compute, &w, x, None, &mut self.out[..self.tokens * rows]);
    }
}

#[cfg(target_arch = "x86_64")]
#[path = "layout_bench/alternatives.rs"]
mod alternatives;
