//! Whole tokens: every linear layer of a model on the simulated RTL, with the bits of the CPU.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/system.rs"]
mod system;

use std::path::Path;
use std::sync::Arc;

use edgewen_accel::host::HostOptions;
use edgewen_engine::{Backend, Batch, Forward};
use edgewen_kernels::kv::KvType;
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::Checkpoint;
use edgewen_model::packed::PackedFile;
use edgewen_testing::conformance::conformance;
use edgewen_testing::rtn::{Head, pack};
use edgewen_testing::{TinySpec, fixture, shared, tiny_checkpoint};
use system::{
    accelerator, cpu, cpu_with, generate, generate_top, half_billion, options, packed, try_accelerator,
};

/// Prompt and tokens of the model are those of the CPU, and so is every logit.
fn assert_same_tokens(path: &Path, timing: Option<u64>, prompt: usize, count: usize) {
    let file = Arc::new(PackedFile::open(path).unwrap());
    let Some(mut rtl) = accelerator(&file, &options(timing), HostOptions::default()) else { return };
    let vocabulary = file.config().vocab_size as u32;
    let prompt: Vec<u32> = (0..prompt as u32).map(|i| (i * 37 + 11) % vocabulary).collect();
    let expected = generate(&mut cpu(&file), &prompt, count).unwrap();
    let found = generate(&mut rtl, &prompt, count).unwrap();
    assert_eq!(found.tokens, expected.tokens);
    assert!(found == expected, "the logits have the same bits");
    let expected = generate_top(&mut cpu(&file), &prompt, 4, 20).unwrap();
    assert_eq!(
        generate_top(&mut rtl, &prompt, 4, 20).unwrap(),
        expected,
        "the list of the head is that of the CPU"
    );
}

#[test]
fn the_demo_model_generates_the_tokens_of_the_cpu() {
    assert_same_tokens(&fixture("demo/demo.ewn"), None, 19, 32);
}

#[test]
fn back_pressure_changes_nothing() {
    for seed in [1, 2] {
        assert_same_tokens(&fixture("demo/demo.ewn"), Some(seed), 9, 3);
    }
}

#[test]
fn trained_models_generate_the_tokens_of_the_cpu() {
    // The second one has biases, and neither has inputs in multiples of 64.
    for name in ["stories260k-qwen2", "babyllama361-qwen2-bias"] {
        let Some(folder) = shared(&format!("data/third-party/models/{name}")) else { return };
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("model.ewn");
        pack(&Checkpoint::open(&folder).unwrap(), GroupSize::G64, Head::Bits(WeightBits::Four), &path);
        assert_same_tokens(&path, None, 12, 32);
    }
}

#[test]
fn layers_of_the_half_billion_model_have_the_bits_of_the_cpu() {
    // Two layers and a part of the vocabulary; the example `standin` runs all of it.
    let (_folder, path) = half_billion(2);
    let file = Arc::new(PackedFile::open(&path).unwrap());
    let Some(mut rtl) = accelerator(&file, &options(None), HostOptions::default()) else { return };
    let mut cpu = cpu(&file);
    let (mut expected, mut found) = (Forward::default(), Forward::default());
    let prompt: Vec<u32> = (0..8).map(|i| i * 501).collect();
    for batch in [Batch::one(0, 0, &prompt), Batch::one(0, 8, &[77])] {
        expected.hidden(&mut cpu, &batch).unwrap();
        found.hidden(&mut rtl, &batch).unwrap();
        let last = batch.len() - 1;
        let top = expected.top_k(&mut cpu, last, 32).unwrap();
        assert_eq!(found.top_k(&mut rtl, last, 32).unwrap(), top);
        let bits = |logits: &[f32]| logits.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>();
        let logits = bits(expected.head(&mut cpu, 0..batch.len()).unwrap());
        assert!(bits(found.head(&mut rtl, 0..batch.len()).unwrap()) == logits, "the same logits");
    }
}

#[test]
fn a_head_of_more_bits_is_computed_by_the_processor() {
    for head in [Head::Bits(WeightBits::Eight), Head::Sixteen] {
        let (_folder, path) = packed(&TinySpec::default(), head);
        assert_same_tokens(&path, None, 5, 4);
    }
}

#[test]
fn conforms() {
    let (_folder, path) = packed(&TinySpec::default(), Head::Bits(WeightBits::Four));
    let file = Arc::new(PackedFile::open(&path).unwrap());
    let make = || accelerator(&file, &options(None), HostOptions::default());
    if make().is_some() {
        conformance(&|| Box::new(make().expect("the tools are there")) as Box<dyn Backend>);
    }
}

#[test]
fn attention_on_the_arrays_has_the_bits_of_the_cpu() {
    // Heads of 64 and a cache of eight bits: from position 64 on scores and sums are the accelerator's.
    let spec = TinySpec { hidden: 128, intermediate: 192, heads: 2, kv_heads: 1, ..TinySpec::default() };
    let (_folder, path) = packed(&spec, Head::Bits(WeightBits::Four));
    let file = Arc::new(PackedFile::open(&path).unwrap());
    let prompt: Vec<u32> = (0..133).map(|i| (i * 37 + 11) % 272).collect();
    let expected = generate(&mut cpu_with(&file, KvType::Int8), &prompt, 4).unwrap();
    let run = |seed, kv| {
        let mut rtl = try_accelerator(&file, &options(seed), HostOptions::default(), kv)?.unwrap();
        let found = generate(&mut rtl, &prompt, 4).unwrap();
        Some((found, rtl.driver().device().beats_read()[0]))
    };
    let Some((_, beats_without)) = run(None, KvType::F16) else { return };
    for seed in [None, Some(5)] {
        let Some((found, beats)) = run(seed, KvType::Int8) else { return };
        assert!(found == expected, "the logits have the same bits");
        assert!(
            beats_without < beats,
            "keys and values are streamed: {beats_without} beats without, {beats} with"
        );
    }
}

#[test]
fn a_model_of_other_groups_is_refused_by_name() {
    let folder = tiny_checkpoint(&TinySpec { hidden: 128, ..TinySpec::default() });
    let path = folder.path().join("model.ewn");
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let file = Arc::new(pack(&checkpoint, GroupSize::G128, Head::Bits(WeightBits::Four), &path));
    let refused = try_accelerator(&file, &options(None), HostOptions::default(), KvType::F16);
    if let Some(refused) = refused {
        let error = refused.err().expect("groups of 128 are refused").to_string();
        assert!(error.contains("layers.0."), "{error}");
    }
}
