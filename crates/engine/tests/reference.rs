//! The float reference against what others computed: `transformers` on small random models, and an f64 forward pass
//! and `transformers` on the shared trained models.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use edgewen_engine::{Backend, Batch, Forward, Logits, Reference};
use edgewen_model::Checkpoint;
use edgewen_testing::{fixture, read_npy_f32, shared};
use safetensors::SafeTensors;
use serde_json::Value;

fn reference(directory: &Path) -> Reference {
    let checkpoint = Checkpoint::open(directory).unwrap();
    checkpoint.validate().unwrap();
    Reference::new(checkpoint, 2).unwrap()
}

fn all_logits(backend: &mut dyn Backend, tokens: &[u32]) -> Vec<f32> {
    backend.truncate(0, 0);
    Forward::default().run(backend, &Batch::one(0, 0, tokens), Logits::All).unwrap().to_vec()
}

fn likeliest(logits: &[f32]) -> u32 {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32
}

fn greedy(backend: &mut dyn Backend, prompt: &[u32], count: usize) -> Vec<u32> {
    backend.truncate(0, 0);
    let mut forward = Forward::default();
    let mut tokens = prompt.to_vec();
    let mut start = 0;
    while tokens.len() < prompt.len() + count {
        let batch = Batch::one(0, start, &tokens[start..]);
        start = tokens.len();
        let next = likeliest(forward.run(backend, &batch, Logits::Last).unwrap());
        tokens.push(next);
    }
    tokens
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn equals_transformers_on_random_models() {
    for name in ["tiny-yarn", "tiny-f16", "tiny-f32"] {
        let directory = fixture("golden").join(name);
        let bytes = std::fs::read(directory.join("expected.safetensors")).unwrap();
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let ids = |key: &str| -> Vec<u32> {
            let (words, _) = expected.tensor(key).unwrap().data().as_chunks::<8>();
            words.iter().map(|word| u32::try_from(i64::from_le_bytes(*word)).unwrap()).collect()
        };
        let (words, _) = expected.tensor("logits").unwrap().data().as_chunks::<4>();
        let logits: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
        let (tokens, continuation) = (ids("tokens"), ids("greedy"));

        let mut backend = reference(&directory);
        let difference = largest_difference(&all_logits(&mut backend, &tokens), &logits);
        assert!(difference < 1e-4, "{name}: logits differ by {difference}");
        let continued = greedy(&mut backend, &tokens[..8], continuation.len());
        assert_eq!(continued[8..], continuation, "{name}");
    }
}

/// A trained model, whose values are stated, and how far `transformers` in f32 is from the stated logits. These are of
/// the original f32 weights, so a bf16 checkpoint differs from them by the rounding of its weights. The distances are the
/// largest |logit - stated| of `Qwen2ForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)` on the `ref_ids`, with
/// the versions of python/requirements.txt.
struct Case {
    checkpoint: &'static str,
    stated: &'static str,
    logits_of_transformers: f32,
}

const CASES: [Case; 4] = [
    Case {
        checkpoint: "stories260k-qwen2",
        stated: "stories260k-qwen2",
        logits_of_transformers: 0.156_169_3,
    },
    Case {
        checkpoint: "stories260k-qwen2-pad",
        stated: "stories260k-qwen2-pad",
        logits_of_transformers: 0.156_169_3,
    },
    Case {
        checkpoint: "babyllama361-qwen2-bias",
        stated: "babyllama361-qwen2-bias",
        logits_of_transformers: 0.105_826_38,
    },
    Case {
        checkpoint: "babyllama361-qwen2-bias-f32",
        stated: "babyllama361-qwen2-bias",
        logits_of_transformers: 0.0,
    },
];

#[test]
fn equals_the_stated_values_on_trained_models() {
    let Some(folder) = shared("data/third-party/reference") else { return };
    let refs: Value =
        serde_json::from_slice(&std::fs::read(folder.join("model_refs.json")).unwrap()).unwrap();
    for case in CASES {
        let name = case.checkpoint;
        let stated = &refs[case.stated];
        let ids = |key: &str| -> Vec<u32> { serde_json::from_value(stated[key].clone()).unwrap() };
        let directory = shared(&format!("data/third-party/models/{name}")).unwrap();
        let mut backend = reference(&directory);

        let (logits, _) = read_npy_f32(&folder.join(format!("{}.npy", case.stated)));
        let difference = largest_difference(&all_logits(&mut backend, &ids("ref_ids")), &logits);
        assert!(
            (difference - case.logits_of_transformers).abs() < 1e-4,
            "{name}: logits differ by {difference}"
        );

        let continuation = ids("greedy_ids");
        assert_eq!(greedy(&mut backend, &continuation[..1], continuation.len() - 1), continuation, "{name}");
    }
}
