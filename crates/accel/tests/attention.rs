//! Attention on the accelerator: with keys and values of eight bits it does the products with whole groups of
//! positions, and the bits are those of the CPU alone.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{HEAD_4, cpu_with, packed, sim};
use edgewen_accel::host::{Accelerator, Device, HostOptions};
use edgewen_accel::program::Limits;
use edgewen_accel::registers as map;
use edgewen_accel::sim::Sim;
use edgewen_engine::{Backend, Batch, Forward, Logits};
use edgewen_kernels::kv::KvType;
use edgewen_layout::GroupSize;
use edgewen_model::packed::PackedFile;
use edgewen_testing::TinySpec;
use edgewen_testing::conformance::{conformance, logits, token_ids};

const TOKENS: usize = 210;

/// Two query heads for each of two key-value heads, of 64 elements.
fn model() -> Arc<PackedFile> {
    let spec = TinySpec { hidden: 256, heads: 4, kv_heads: 2, ..TinySpec::default() };
    packed(&spec, GroupSize::G64, HEAD_4)
}

fn on_sim(file: &Arc<PackedFile>, limits: Limits) -> Accelerator<Sim> {
    let (device, image) = sim(file, limits);
    Accelerator::new(device, &image, cpu_with(file, KvType::Int8), HostOptions::default()).unwrap()
}

/// Operations that the accelerator has done since its last reset.
fn done(backend: &mut Accelerator<Sim>) -> u32 {
    backend.driver().device().read(map::DONE.offset).unwrap()
}

#[test]
fn conforms() {
    let file = model();
    conformance(&|| Box::new(on_sim(&file, Limits::default())));
}

#[test]
fn logits_are_the_bits_of_the_cpu_whatever_the_accelerator_does_of_it() {
    let file = model();
    let tokens = token_ids(TOKENS, 272, 9);
    let expected = logits(&mut cpu_with(&file, KvType::Int8), &tokens, TOKENS);
    let one_group = Limits { max_groups: 4, ring_entries: 5, ..Limits::default() };
    let one_token = Limits { tokens: 1, ..Limits::default() };
    for limits in [Limits::default(), one_group, one_token] {
        for piece in [1, 5, 50, 210] {
            let found = logits(&mut on_sim(&file, limits), &tokens, piece);
            let same = found.iter().zip(&expected).position(|(a, b)| a.to_bits() != b.to_bits());
            assert_eq!(same, None, "{limits:?}, pieces of {piece}: first different logit");
        }
    }
}

#[test]
fn a_single_token_attends_with_one_operation_for_each_head_and_product() {
    let file = model();
    let mut backend = on_sim(&file, Limits::default());
    let mut forward = Forward::default();
    let tokens = token_ids(TOKENS, 272, 9);
    forward.run(&mut backend, &Batch::one(0, 0, &tokens[..130]), Logits::Last).unwrap();
    let mut step = |backend: &mut Accelerator<Sim>, position: usize| {
        let before = done(backend);
        forward.hidden(backend, &Batch::one(0, position, &tokens[position..=position])).unwrap();
        forward.top_k(backend, 0, 1).unwrap();
        done(backend).wrapping_sub(before)
    };
    // The ring comes round once before every entry of it is what it stays.
    (130..133).for_each(|position| assert_ne!(step(&mut backend, position), 0));
    let (resets, written) = (backend.driver().resets(), backend.driver().descriptor_writes());
    for position in 133..191 {
        assert_eq!(step(&mut backend, position), 2 * (4 + 2 * 2) + 1, "position {position}");
    }
    assert_eq!(backend.driver().resets(), resets, "the order is foreseen");
    assert_eq!(backend.driver().descriptor_writes(), written, "and the descriptors stay");
    for position in 191..TOKENS {
        step(&mut backend, position);
    }
    assert!(backend.driver().resets() <= resets + 1, "a new group of positions costs one reset at most");
}

#[test]
fn what_was_cut_off_leaves_no_trace() {
    let file = model();
    let (tokens, other) = (token_ids(TOKENS, 272, 9), token_ids(TOKENS, 272, 10));
    let mut backend = on_sim(&file, Limits::default());
    let mut cpu = cpu_with(&file, KvType::Int8);
    for keep in [0, 40, 64, 100, 128, 140] {
        let mut mixed = tokens[..keep].to_vec();
        mixed.extend_from_slice(&other[keep..]);
        for piece in [1, 64] {
            // Single tokens over the boundary of a group, then the other text in their place.
            let found = logits(&mut backend, &tokens, 1);
            assert!(found == logits(&mut cpu, &tokens, TOKENS), "kept {keep}");
            let mut forward = Forward::default();
            backend.truncate(0, keep);
            for (index, tokens) in mixed[keep..].chunks(piece).enumerate() {
                let batch = Batch::one(0, keep + index * piece, tokens);
                let found = forward.run(&mut backend, &batch, Logits::Last).unwrap().to_vec();
                if keep + (index + 1) * piece >= TOKENS {
                    let expected = logits(&mut cpu, &mixed, TOKENS);
                    assert!(found == expected[expected.len() - 272..], "kept {keep}, pieces of {piece}");
                }
            }
        }
    }
}

#[test]
fn other_shapes_of_heads_stay_with_the_processor() {
    // Heads of 16 elements, and a design that has the weights in another layout.
    let small = packed(&TinySpec::default(), GroupSize::G64, HEAD_4);
    for (file, limits) in [(small, Limits::default()), (model(), common::awq_macro())] {
        let tokens = token_ids(80, 272, 1);
        let expected = logits(&mut cpu_with(&file, KvType::Int8), &tokens, 80);
        let mut backend = on_sim(&file, limits);
        assert!(logits(&mut backend, &tokens, 1) == expected);
        assert_eq!(backend.driver().resets(), 1);
    }
}
