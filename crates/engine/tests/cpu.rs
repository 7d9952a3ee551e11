//! The CPU backend: the same bits however it computes, and close to what its own weights give in floating point.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use edgewen_engine::{Backend, Batch, CpuBackend, Linear, Norm, Reference, Result};
use edgewen_eval::perplexity;
use edgewen_eval::windows::{self, Protocol};
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, WeightBits, dequantize_row};
use edgewen_model::packed::{PackedFile, TensorKind};
use edgewen_model::{Checkpoint, Config, Tensor, Tokenizer};
use edgewen_testing::conformance::{TOKENS, conformance, logits, token_ids};
use edgewen_testing::rtn::{self, Head};
use edgewen_testing::{TinySpec, shared, tiny_checkpoint};

/// A random model and how it is packed.
struct Case {
    name: &'static str,
    spec: TinySpec,
    group: GroupSize,
    head: Head,
    kv_type: KvType,
}

/// Every width of the head and the cache, every group, shapes that are no multiples of anything.
fn cases() -> Vec<Case> {
    let four = Head::Bits(WeightBits::Four);
    let eight = Head::Bits(WeightBits::Eight);
    let spec = TinySpec::default;
    vec![
        Case {
            name: "tied head of 4 bits, short last group",
            spec: TinySpec { hidden: 128, intermediate: 352, layers: 3, ..spec() },
            group: GroupSize::G64,
            head: four,
            kv_type: KvType::F16,
        },
        Case {
            name: "untied head of 8 bits, rows no multiple of 16, 8-bit cache",
            spec: TinySpec {
                hidden: 96,
                heads: 6,
                vocab: 283,
                tied: false,
                dtype: "float16",
                seed: 2,
                ..spec()
            },
            group: GroupSize::G32,
            head: eight,
            kv_type: KvType::Int8,
        },
        Case {
            name: "tied head of bf16, one kv head",
            spec: TinySpec { intermediate: 200, kv_heads: 1, seed: 3, ..spec() },
            group: GroupSize::G128,
            head: Head::Sixteen,
            kv_type: KvType::F16,
        },
        Case {
            name: "untied head of f16, as many kv heads as heads",
            spec: TinySpec { hidden: 72, kv_heads: 4, tied: false, dtype: "float32", seed: 4, ..spec() },
            group: GroupSize::G64,
            head: Head::Sixteen,
            kv_type: KvType::Int8,
        },
    ]
}

/// The random checkpoint of a case and its packed file, which lie in a folder that must outlive them.
fn make(case: &Case) -> (tempfile::TempDir, Checkpoint, Arc<PackedFile>) {
    let directory = tiny_checkpoint(&case.spec);
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let file = rtn::pack(&checkpoint, case.group, case.head, &directory.path().join("tiny.ewn"));
    (directory, checkpoint, Arc::new(file))
}

fn cpu(file: &Arc<PackedFile>, isa: Isa, threads: usize, kv_type: KvType) -> CpuBackend {
    CpuBackend::new(file.clone(), Compute::new(isa, threads), kv_type).unwrap()
}

#[test]
fn conforms() {
    for case in cases() {
        println!("{}", case.name);
        let (_directory, checkpoint, file) = make(&case);
        conformance(&|| Box::new(cpu(&file, Isa::best(), 2, case.kv_type)));
        let checkpoint = Arc::new(checkpoint);
        conformance(&|| Box::new(Reference::new(checkpoint.clone(), 2).unwrap()));
    }
}

#[test]
fn instruction_sets_threads_and_pieces_give_the_same_bits() {
    for case in cases() {
        let (_directory, _, file) = make(&case);
        let tokens = token_ids(TOKENS, case.spec.vocab, 7);
        let expected = logits(&mut cpu(&file, Isa::SCALAR, 1, case.kv_type), &tokens, TOKENS);
        for isa in Isa::available() {
            for threads in 1..=3 {
                let mut backend = cpu(&file, isa, threads, case.kv_type);
                for piece in [TOKENS, 64, 7, 1] {
                    let found = logits(&mut backend, &tokens, piece);
                    let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{}: {}, pieces of {piece}", case.name, backend.name());
                }
            }
        }
    }
}

/// The weights of a packed file, multiplied in f64 with activations that are not quantized. Everything but matrices
/// and embedding is the float reference's.
struct FloatEvaluation {
    file: Arc<PackedFile>,
    float: Reference,
}

impl FloatEvaluation {
    /// The dequantized matrix `name`, row by row.
    fn matrix(&self, name: &str) -> Vec<f32> {
        if let TensorKind::RowBlocks { .. } = self.file.entry(name).unwrap().kind {
            let (shape, data) = self.file.matrix(name).unwrap();
            let mut weights = vec![0.0; shape.rows * shape.inputs];
            for (row, weights) in weights.chunks_exact_mut(shape.inputs).enumerate() {
                dequantize_row(&shape, data, row, weights);
            }
            return weights;
        }
        let (info, bytes) = self.file.dense(name).unwrap();
        let tensor =
            Tensor { name: name.into(), shape: vec![info.rows, info.inputs], dtype: info.dtype, bytes };
        tensor.to_f32().unwrap()
    }
}

impl Backend for FloatEvaluation {
    fn name(&self) -> String {
        "dequantized weights in floating point".to_string()
    }

    fn config(&self) -> &Config {
        self.float.config()
    }

    fn embed(&mut self, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        let width = self.config().hidden_size;
        let table = self.matrix("embed");
        for (&token, out) in tokens.iter().zip(out.chunks_exact_mut(width)) {
            out.copy_from_slice(&table[token as usize * width..][..width]);
        }
        Ok(())
    }

    fn linear(&mut self, which: Linear, x: &[f32], tokens: usize, out: &mut [f32]) -> Result<()> {
        let name = match which {
            Linear::Qkv(i) => format!("layers.{i}.qkv"),
            Linear::O(i) => format!("layers.{i}.o"),
            Linear::GateUp(i) => format!("layers.{i}.gate_up"),
            Linear::Down(i) => format!("layers.{i}.down"),
            Linear::Head if self.config().tie_word_embeddings => "embed".to_string(),
            Linear::Head => "head".to_string(),
        };
        let weights = self.matrix(&name);
        let inputs = x.len() / tokens;
        let rows = weights.len() / inputs;
        let bias = match which {
            Linear::Qkv(i) => self.file.vector(&format!("layers.{i}.qkv_bias"))?,
            _ => vec![0.0; rows],
        };
        for (x, out) in x.chunks_exact(inputs).zip(out.chunks_exact_mut(rows)) {
            for ((weights, out), bias) in weights.chunks_exact(inputs).zip(out).zip(&bias) {
                let sum: f64 = x.iter().zip(weights).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                *out = (sum + f64::from(*bias)) as f32;
            }
        }
        Ok(())
    }

    fn rms_norm(&mut self, which: Norm, x: &[f32], out: &mut [f32]) -> Result<()> {
        self.float.rms_norm(which, x, out)
    }

    fn rope(&mut self, batch: &Batch, qkv: &mut [f32]) -> Result<()> {
        self.float.rope(batch, qkv)
    }

    fn attention(&mut self, layer: usize, batch: &Batch, qkv: &[f32], out: &mut [f32]) -> Result<()> {
        self.float.attention(layer, batch, qkv, out)
    }

    fn silu_mul(&mut self, gate_up: &[f32], out: &mut [f32]) -> Result<()> {
        self.float.silu_mul(gate_up, out)
    }

    fn add(&mut self, x: &mut [f32], y: &[f32]) -> Result<()> {
        self.float.add(x, y)
    }

    fn truncate(&mut self, slot: usize, len: usize) {
        self.float.truncate(slot, len);
    }

    fn kv_bytes(&self) -> usize {
        self.float.kv_bytes()
    }
}

/// Root mean square of the difference of the logits, relative to their standard deviation.
fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    let n = expected.len() as f64;
    let mean = expected.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
    let variance = expected.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    let error =
        found.iter().zip(expected).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum::<f64>() / n;
    (error / variance).sqrt()
}

/// What rounding activations to 8 bits may cost. A group of 64 normally distributed activations has an absmax of
/// about 2.6 standard deviations, so a step is 2.6 / 127 and its rounding error 2.6 / 127 / sqrt(12) = 0.6 % of the
/// input of a matrix; products of SiLU and up have longer tails, 1 %. A logit is behind 4 matrices a layer and the
/// head, whose errors are independent: 0.8 % sqrt(4 layers + 1), if none of them shrank on its way through the
/// residual stream. About half of that is found. A wrong scale or zero point costs far more.
fn tolerance(layers: usize) -> f64 {
    0.008 * ((4 * layers + 1) as f64).sqrt()
}

#[test]
fn differs_from_its_own_weights_in_floating_point_by_the_rounding_of_activations() {
    for case in cases() {
        let (_directory, checkpoint, file) = make(&case);
        let tokens = token_ids(TOKENS, case.spec.vocab, 11);
        let found = logits(&mut cpu(&file, Isa::best(), 2, case.kv_type), &tokens, TOKENS);
        let float = Reference::new(checkpoint, 2).unwrap();
        let expected = logits(&mut FloatEvaluation { file, float }, &tokens, TOKENS);
        let error = relative_error(&found, &expected);
        println!("{}: {error:.5}, allowed {:.5}", case.name, tolerance(case.spec.layers));
        assert!(error < tolerance(case.spec.layers), "{}: relative error {error}", case.name);
        assert!(1e-4 < error, "{}: relative error {error}, so nothing was rounded", case.name);
    }
}

/// A trained model with four-bit weights by plain rounding: how much worse it may get.
struct Trained {
    name: &'static str,
    /// Of the float reference.
    perplexity: f64,
    /// Bound on the ratio of the packed model's perplexity to that.
    most: f64,
}

/// The bounds are the increase that plain fake quantization in groups of 64 has on these models (12 % and 3 %), and a
/// quarter of it for rounded activations and the quantized embedding.
const TRAINED: [Trained; 3] = [
    Trained { name: "stories260k-qwen2", perplexity: 3.1682, most: 1.15 },
    Trained { name: "stories260k-qwen2-pad", perplexity: 3.1682, most: 1.15 },
    Trained { name: "babyllama361-qwen2-bias", perplexity: 1.6903, most: 1.04 },
];

#[test]
fn trained_models_stay_good() {
    let Some(models) = shared("data/third-party/models") else { return };
    let excerpt = shared("data/third-party/eval/tinystories/tinystories_v2_valid_excerpt.txt").unwrap();
    let text = std::fs::read_to_string(excerpt).unwrap();
    for case in TRAINED {
        let directory = models.join(case.name);
        let checkpoint = Checkpoint::open(&directory).unwrap();
        let tokenizer = Tokenizer::from_dir(&directory).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = pack_trained(&checkpoint, folder.path());

        let tokens = tokenizer.encode(&text[..text.floor_char_boundary(800)], true).unwrap();
        let tokens = &tokens[..tokens.len().min(200)];
        let found = logits(&mut cpu(&file, Isa::best(), 2, KvType::F16), tokens, 200);
        let layers = checkpoint.config().layers;
        let float = Reference::new(checkpoint, 2).unwrap();
        let expected = logits(&mut FloatEvaluation { file: file.clone(), float }, tokens, 200);
        let error = relative_error(&found, &expected);
        assert!(error < tolerance(layers), "{}: relative error {error}", case.name);

        for kv_type in [KvType::F16, KvType::Int8] {
            let found = perplexity_of(&mut cpu(&file, Isa::best(), 2, kv_type), &tokenizer, &text);
            println!(
                "{}: relative error {error:.5}, perplexity {found:.4} with {kv_type:?} cache",
                case.name
            );
            let ratio = found / case.perplexity;
            assert!(ratio < case.most && 0.99 < ratio, "{}: perplexity {found}, {kv_type:?}", case.name);
        }
    }
}

fn pack_trained(checkpoint: &Checkpoint, folder: &Path) -> Arc<PackedFile> {
    let path = folder.join("model.ewn");
    Arc::new(rtn::pack(checkpoint, GroupSize::G64, Head::Bits(WeightBits::Eight), &path))
}

/// Of the stories in `text`, each by itself after BOS and cut to the context.
fn perplexity_of(backend: &mut dyn Backend, tokenizer: &Tokenizer, text: &str) -> f64 {
    let documents = windows::documents(text, Some("<|endoftext|>"), tokenizer).unwrap();
    let context = backend.config().max_position;
    let protocol = Protocol::Strided { context, stride: context - 1, first_window_only: true };
    let windows = windows::cut(&documents, &protocol, None).unwrap();
    perplexity::of_windows(backend, &windows).unwrap().perplexity()
}

#[test]
fn caches_take_what_their_format_needs_and_give_it_back() {
    let case = &cases()[0];
    let (_directory, checkpoint, file) = make(case);
    let tokens = token_ids(TOKENS, case.spec.vocab, 1);
    let config = checkpoint.config();
    let (heads, dim) = (config.layers * config.kv_heads, config.head_dim);
    // Eight bits: segments of 16 positions x 64 key elements and of 16 value elements x 64 positions, 17/16 bytes an
    // element with their headers, and the values' scales.
    let segments = (dim.next_multiple_of(64) + dim.next_multiple_of(16)) * 17 / 16;
    let positions = TOKENS.next_multiple_of(64);
    for (kv_type, exact) in [
        (KvType::F16, TOKENS.next_multiple_of(16) * heads * 2 * dim * 2),
        (KvType::Int8, positions * heads * (segments + 4)),
    ] {
        let mut backend = cpu(&file, Isa::best(), 1, kv_type);
        assert_eq!(backend.kv_bytes(), 0);
        logits(&mut backend, &tokens, 64);
        // The lists of blocks come on top.
        assert!((exact..exact * 5 / 4).contains(&backend.kv_bytes()), "{} of {exact}", backend.kv_bytes());
        let before = backend.kv_bytes();
        backend.truncate(0, 16);
        assert!(backend.kv_bytes() <= before * 5 / 8, "the blocks of forgotten positions are freed");
    }
}
