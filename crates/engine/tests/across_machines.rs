//! The promise that a model, a prompt and a seed give the same tokens on every machine.
//!
//! Token ids and a hash of all logits are written down here once. Whatever runs this test, x86 or ARM, must arrive
//! at them with each of its instruction sets and with any number of threads. The weights come from a seeded
//! generator, so that nothing but arithmetic decides; `tools/test-arm.sh` runs the test on emulated ARM processors.
//! After a wanted change of the arithmetic, the failure prints what to write here instead.
#![allow(clippy::unwrap_used)]

use std::env::consts::ARCH;
use std::sync::Arc;

use edgewen_engine::{Backend, Batch, CpuBackend, Forward, Logits, Sampler, SamplerOptions};
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::packed::PackedFile;
use edgewen_model::{Checkpoint, Tokenizer};
use edgewen_testing::conformance::token_ids;
use edgewen_testing::rtn::{self, Head};
use edgewen_testing::{TinySpec, fixture, tiny_checkpoint};

const GREEDY: SamplerOptions = SamplerOptions {
    temperature: 0.0,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    repetition_penalty: 1.0,
    presence_penalty: 0.0,
    frequency_penalty: 0.0,
    seed: 0,
};

/// Hot enough to make a random model change its mind.
const DRAWN: SamplerOptions = SamplerOptions {
    temperature: 3.0,
    top_k: 50,
    top_p: 0.95,
    repetition_penalty: 1.3,
    presence_penalty: 1.0,
    seed: 7,
    ..GREEDY
};

/// What a model says after a prompt.
#[derive(Debug, PartialEq)]
struct Outcome<T> {
    /// Tokens drawn with a seed, or their text.
    drawn: T,
    /// FNV-1a of the bits of all logits on the way.
    logits: u64,
}

fn generate(
    backend: &mut dyn Backend,
    prompt: &[u32],
    count: usize,
    options: SamplerOptions,
) -> Outcome<Vec<u32>> {
    backend.truncate(0, 0);
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut forward = Forward::default();
    let mut sampler = Sampler::new(options, prompt).unwrap();
    let mut tokens = prompt.to_vec();
    let mut start = 0;
    for _ in 0..count {
        let batch = Batch::one(0, start, &tokens[start..]);
        let logits = forward.run(backend, &batch, Logits::All).unwrap();
        for byte in logits.iter().flat_map(|logit| logit.to_bits().to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        start = tokens.len();
        let last = logits.len() - backend.config().vocab_size;
        tokens.push(sampler.sample(&logits[last..]).unwrap());
    }
    Outcome { drawn: tokens.split_off(prompt.len()), logits: hash }
}

/// A backend of each instruction set with one thread and with three.
fn backends(file: PackedFile, kv_type: KvType) -> impl Iterator<Item = CpuBackend> {
    let file = Arc::new(file);
    let computes =
        Isa::available().into_iter().flat_map(|isa| [1, 3].map(|threads| Compute::new(isa, threads)));
    computes.map(move |compute| CpuBackend::new(file.clone(), compute, kv_type).unwrap())
}

fn check_tiny(spec: &TinySpec, group: GroupSize, head: Head, kv_type: KvType, expected: &Outcome<[u32; 16]>) {
    let directory = tiny_checkpoint(spec);
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let file = rtn::pack(&checkpoint, group, head, &directory.path().join("tiny.ewn"));
    let prompt = token_ids(37, spec.vocab, 5);
    for mut backend in backends(file, kv_type) {
        let Outcome { drawn, logits } = generate(&mut backend, &prompt, 16, DRAWN);
        let found = Outcome { drawn: drawn.try_into().unwrap(), logits };
        assert_eq!(&found, expected, "{} on {ARCH}", backend.name());
    }
}

#[test]
fn four_bits_with_a_tied_head() {
    let spec = TinySpec { hidden: 128, intermediate: 352, layers: 3, ..TinySpec::default() };
    let expected = Outcome {
        drawn: [63, 63, 63, 37, 212, 212, 212, 63, 120, 34, 34, 88, 202, 120, 187, 64],
        logits: 0x194f_4d26_7e51_f995,
    };
    check_tiny(&spec, GroupSize::G64, Head::Bits(WeightBits::Four), KvType::F16, &expected);
}

#[test]
fn eight_bits_for_the_head_and_the_cache() {
    let spec =
        TinySpec { hidden: 96, heads: 6, tied: false, seed: 2, dtype: "float16", ..TinySpec::default() };
    let expected = Outcome {
        drawn: [32, 185, 76, 185, 167, 132, 214, 27, 237, 15, 169, 142, 53, 130, 123, 64],
        logits: 0x1082_49f5_8a06_c3af,
    };
    check_tiny(&spec, GroupSize::G32, Head::Bits(WeightBits::Eight), KvType::Int8, &expected);
}

#[test]
fn sixteen_bits_for_the_head() {
    let spec = TinySpec { intermediate: 200, kv_heads: 1, seed: 3, ..TinySpec::default() };
    let expected = Outcome {
        drawn: [113, 215, 79, 211, 86, 89, 90, 140, 178, 139, 106, 126, 16, 46, 106, 18],
        logits: 0x2d10_2158_c39a_9e25,
    };
    check_tiny(&spec, GroupSize::G128, Head::Sixteen, KvType::F16, &expected);
}

/// The demo's checkpoint: trained, so that its words can be read.
#[test]
fn a_trained_model_tells_the_same_stories() {
    let demo = fixture("demo");
    let checkpoint = Checkpoint::open(&demo).unwrap();
    let tokenizer = Tokenizer::from_dir(&demo).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("demo.ewn");
    let file = rtn::pack(&checkpoint, GroupSize::G64, Head::Bits(WeightBits::Eight), &path);
    let prompt = tokenizer.encode("Once upon a time", true).unwrap();
    let likeliest = Outcome {
        drawn: ", and a little more than a mile away from the other side of the house. The next",
        logits: 0xa08f_0060_9614_6a96,
    };
    let drawn = Outcome {
        drawn: ", when a thought was in the whole course. The result was enough for the country, and",
        logits: 0xfc8b_141c_2c95_bd29,
    };
    let options = SamplerOptions { temperature: 0.8, top_p: 0.9, seed: 7, ..GREEDY };
    for mut backend in backends(file, KvType::F16) {
        for (options, expected) in [(GREEDY, &likeliest), (options, &drawn)] {
            let Outcome { drawn, logits } = generate(&mut backend, &prompt, 20, options);
            let found = Outcome { drawn: &*tokenizer.decode(&drawn, true).unwrap(), logits };
            assert_eq!(&found, expected, "{} on {ARCH}", backend.name());
        }
    }
}
