//! Models on the functional model: the suite of every backend, and the CPU's bits.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use common::{HEAD_4, HEAD_8, awq_macro, cpu, demo, on_sim, pack, packed};
use edgewen_accel::host::HostOptions;
use edgewen_accel::program::Limits;
use edgewen_engine::{
    Backend, Batch, Forward, GenerateOptions, Logits, SamplerOptions, Session, StopOptions,
};
use edgewen_layout::GroupSize;
use edgewen_model::packed::PackedFile;
use edgewen_testing::conformance::{conformance, logits, token_ids};
use edgewen_testing::rtn::Head;
use edgewen_testing::{TinySpec, fixture, shared};

/// Designs that differ in everything a model can notice.
fn designs() -> Vec<Limits> {
    let small =
        Limits { tokens: 2, max_groups: 8, ring_entries: 3, top_k: 4, fifo_beats: 40, ..Limits::default() };
    vec![Limits::default(), Limits { tokens: 1, ..Limits::default() }, small, awq_macro()]
}

fn models() -> Vec<(TinySpec, Head)> {
    let spec = TinySpec::default;
    vec![
        (spec(), HEAD_4),
        (TinySpec { hidden: 128, intermediate: 352, layers: 3, vocab: 304, tied: false, ..spec() }, HEAD_4),
        (TinySpec { hidden: 72, kv_heads: 4, dtype: "float32", seed: 4, ..spec() }, HEAD_8),
    ]
}

fn assert_same_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let different = found.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
    assert_eq!(different, None, "{what}: first different logit");
}

#[test]
fn conforms() {
    for (spec, head) in models() {
        let file = packed(&spec, GroupSize::G64, head);
        for limits in designs() {
            conformance(&|| Box::new(on_sim(&file, limits, HostOptions::default())));
        }
        conformance(&|| {
            Box::new(on_sim(&file, Limits::default(), HostOptions { run_ahead: false, processor_ns: 9 }))
        });
    }
}

#[test]
fn logits_are_the_bits_of_the_cpu_for_every_design() {
    for (spec, head) in models() {
        let file = packed(&spec, GroupSize::G64, head);
        let tokens = token_ids(40, spec.vocab, 5);
        let expected = logits(&mut cpu(&file), &tokens, 40);
        for limits in designs() {
            for piece in [40, 9, 1] {
                let found = logits(&mut on_sim(&file, limits, HostOptions::default()), &tokens, piece);
                assert_same_bits(&found, &expected, &format!("{spec:?} {limits:?} pieces of {piece}"));
            }
        }
    }
}

/// Tokens that a backend generates.
fn generate(backend: &mut dyn Backend, file: &PackedFile, sampler: SamplerOptions) -> Vec<u32> {
    let tokenizer = file.tokenizer().unwrap();
    let prompt = tokenizer.encode("Once upon a time, there was", true).unwrap();
    let options = GenerateOptions {
        max_tokens: Some(32),
        sampler,
        stop: StopOptions { ignore_eos: true, ..Default::default() },
    };
    let context = file.config().max_position;
    let mut session = Session::new(backend, tokenizer, Vec::new(), context);
    session.generate(&prompt, &options, &AtomicBool::new(false), &mut |_| true).unwrap().tokens
}

fn samplers() -> [SamplerOptions; 3] {
    [
        SamplerOptions::default(),
        SamplerOptions { temperature: 0.9, top_k: 20, top_p: 0.9, seed: 7, ..Default::default() },
        SamplerOptions { repetition_penalty: 1.2, ..Default::default() },
    ]
}

fn same_tokens_and_logits(file: &Arc<PackedFile>, name: &str) {
    for sampler in samplers() {
        let expected = generate(&mut cpu(file), file, sampler);
        for limits in [Limits::default(), awq_macro()] {
            let found = generate(&mut on_sim(file, limits, HostOptions::default()), file, sampler);
            assert_eq!(found, expected, "{name} {limits:?} {sampler:?}");
        }
    }
    let tokens = token_ids(24, file.config().vocab_size, 3);
    let expected = logits(&mut cpu(file), &tokens, 24);
    let found = logits(&mut on_sim(file, Limits::default(), HostOptions::default()), &tokens, 24);
    assert_same_bits(&found, &expected, name);
}

#[test]
fn the_demo_model_gives_the_tokens_and_logits_of_the_cpu() {
    same_tokens_and_logits(&demo(), "demo, 4-bit head");
    let file = Arc::new(PackedFile::open(&fixture("demo/demo.ewn")).unwrap());
    same_tokens_and_logits(&file, "demo");
}

#[test]
fn trained_models_give_the_tokens_and_logits_of_the_cpu() {
    let Some(models) = shared("data/third-party/models") else { return };
    for name in ["stories260k-qwen2", "babyllama361-qwen2-bias"] {
        same_tokens_and_logits(&pack(&models.join(name), GroupSize::G64, HEAD_4), name);
    }
}

#[test]
fn the_top_k_list_is_the_top_of_the_logits() {
    let file = packed(&TinySpec::default(), GroupSize::G64, HEAD_4);
    let mut backend = on_sim(&file, Limits::default(), HostOptions::default());
    assert_eq!(backend.most_top_k(), 32);
    let (mut forward, batch) = (Forward::default(), Batch::one(0, 0, &[1, 2, 3]));
    let expected = {
        let mut logits: Vec<(u32, f32)> =
            (0..).zip(forward.run(&mut cpu(&file), &batch, Logits::Last).unwrap().iter().copied()).collect();
        logits.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        logits
    };
    for k in [1, 5, 32] {
        forward.hidden(&mut backend, &batch).unwrap();
        assert_eq!(forward.top_k(&mut backend, 2, k).unwrap(), expected[..k], "k = {k}");
        // The default over all logits says the same.
        forward.hidden(&mut cpu(&file), &batch).unwrap();
        assert_eq!(forward.top_k(&mut cpu(&file), 2, k).unwrap(), expected[..k], "k = {k}");
    }
    assert!(forward.top_k(&mut backend, 2, 33).unwrap_err().to_string().contains("top-k is 33"));
    let eight = packed(&TinySpec::default(), GroupSize::G64, HEAD_8);
    assert_eq!(on_sim(&eight, Limits::default(), HostOptions::default()).most_top_k(), 0);
}

#[test]
fn decoding_writes_no_descriptor_and_never_resets() {
    let file = packed(&TinySpec::default(), GroupSize::G64, HEAD_4);
    let mut backend = on_sim(&file, Limits::default(), HostOptions::default());
    let mut forward = Forward::default();
    let mut step = |backend: &mut dyn Backend, position| {
        forward.hidden(backend, &Batch::one(0, position, &[7])).unwrap();
        forward.top_k(backend, 0, 1).unwrap();
    };
    step(&mut backend, 0);
    step(&mut backend, 1);
    let written = backend.driver().descriptor_writes();
    for position in 2..12 {
        step(&mut backend, position);
    }
    assert_eq!(backend.driver().descriptor_writes(), written, "words of descriptors that were written again");
    assert_eq!(backend.driver().resets(), 1, "only the one at the start");
}
