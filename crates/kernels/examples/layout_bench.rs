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
        let read = time(rounds, || read(&c, &memory));
        let gigabytes = size_of_val(&memory[..]) as f64 / 1e9;
        println!(
            "  read                          {:6.1} GB/s (best {:.1})",
            gigabytes / read.median(),
            gigabytes / read.best()
        );
        let bytes = bytes_of(&memory);
        let decode = |name: &str, size: Size, multiply: Multiply<'_>| {
            let total: usize = matrices.iter().map(|&[rows, inputs]| size(rows, inputs)).sum();
            assert!(total <= bytes.len(), "{name} needs {total} bytes");
            let taken = time(rounds, || {
                let mut start = 0;
                for &[rows, inputs] in &matrices {
                    let end = start + size(rows, inputs);
                    multiply(rows, inputs, &bytes[start..end]);
                    start = end;
                }
            });
            let decoded = total as f64 / 1e9;
            println!(
                "  decode {name:<22} {:6.1} GB/s (best {:.1}), {:3.0} % of read, {:6.1} tok/s (best {:.1}), {decoded:.4} GB",
                decoded / taken.median(),
                decoded / taken.best(),
                100.0 * decoded / gigabytes * read.best() / taken.best(),
                1.0 / taken.median(),
                1.0 / taken.best(),
            );
        };
        for (name, isa) in [("row blocks", c.isa), ("row blocks, avx2", isa_or_scalar(IsaKind::Avx2))] {
            let c = Compute::new(isa, threads);
            let mut library = Library::new(&c, 1);
            decode(name, library_bytes, &mut |rows, inputs, data| library.multiply(rows, inputs, data));
        }
        #[cfg(target_arch = "x86_64")]
        if c.isa.kind() == IsaKind::Avx512 {
            use alternatives::*;
            let x = Quantized::new();
            decode("inline, 576 B a group", |n, k| inline_bytes(576, n, k), &mut |n, k, data| {
                inline::<576>(&c, &x, n, k, data);
            });
            decode("inline, 552 B a group", |n, k| inline_bytes(552, n, k), &mut |n, k, data| {
                inline::<552>(&c, &x, n, k, data);
            });
            decode("32-row blocks", wide_bytes, &mut |n, k, data| wide(&c, &x, n, k, data));
            decode("row-major", row_major_bytes, &mut |n, k, data| row_major(&c, &x, n, k, data));
        }
        for tokens in [1, 2, 4, 8, 16, PREFILL_TOKENS] {
            let mut library = Library::new(&c, tokens);
            let taken = time(rounds, || {
                let mut start = 0;
                for &[rows, inputs] in &matrices[..matrices.len() - 1] {
                    let end = start + library_bytes(rows, inputs);
                    library.multiply(rows, inputs, &bytes[start..end]);
                    start = end;
                }
            });
            let products: usize = matrices[..matrices.len() - 1].iter().map(|[n, k]| n * k).sum();
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

type Size = fn(usize, usize) -> usize;
type Multiply<'a> = &'a mut dyn FnMut(usize, usize, &[u8]);

fn isa_or_scalar(kind: IsaKind) -> Isa {
    Isa::new(kind).unwrap_or(Isa::SCALAR)
}

/// Seconds of several rounds, ascending.
struct Rounds(Vec<f64>);

impl Rounds {
    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    /// What the least disturbed round took: the figure to read on a busy machine.
    fn best(&self) -> f64 {
        self.0[0]
    }
}

fn time(rounds: usize, mut f: impl FnMut()) -> Rounds {
    f();
    let mut seconds: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            f();
            start.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    Rounds(seconds)
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
struct Library<'a> {
    compute: &'a Compute,
    inputs: [Activations; 2],
    out: Vec<f32>,
    tokens: usize,
}

impl<'a> Library<'a> {
    fn new(compute: &'a Compute, tokens: usize) -> Self {
        let inputs = [896, 4864].map(|inputs| {
            let x: Vec<f32> = (0..tokens * inputs).map(|i| (i * 37 % 255) as f32 - 127.0).collect();
            let mut activations = Activations::new();
            activations.quantize(compute, &x, tokens, inputs, GroupSize::G64);
            activations
        });
        Self { compute, inputs, out: vec![0.0; (tokens * 9728).max(HEAD[0])], tokens }
    }

    fn multiply(&mut self, rows: usize, inputs: usize, data: &[u8]) {
        let x = self.inputs.iter().find(|x| x.inputs() == inputs).expect("one of the two widths");
        let w = RowBlocks::new(shape(rows, inputs), data).expect("a whole matrix");
        linear(self.compute, &w, x, None, &mut self.out[..self.tokens * rows]);
    }
}

#[cfg(target_arch = "x86_64")]
#[path = "layout_bench/alternatives.rs"]
mod alternatives;
