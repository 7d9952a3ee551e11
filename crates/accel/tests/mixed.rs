//! Files whose layers differ in bits and column order, on the functional model: the CPU's bits.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{HEAD_4, HEAD_8, awq_macro, cpu, on_sim, sim};
use edgewen_accel::host::{Accelerator, HostOptions};
use edgewen_accel::image::Layout;
use edgewen_accel::program::Limits;
use edgewen_engine::{Backend, Batch, Forward};
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::Checkpoint;
use edgewen_model::packed::PackedFile;
use edgewen_testing::conformance::{conformance, logits, token_ids};
use edgewen_testing::rtn::{Head, Mix, pack, pack_mixed};
use edgewen_testing::{TinySpec, tiny_checkpoint};

const ALL: &[&str] = &["qkv", "o", "gate_up", "down"];

/// Subsets of the matrices with 8 bits, and with a column order.
const MIXES: [Mix<'static>; 4] = [
    Mix { eight: &["0.qkv", "1.o", "0.down"], ordered: &[] },
    Mix { eight: &["1.gate_up"], ordered: &["1.gate_up", "0.o", "1.down"] },
    Mix { eight: &[], ordered: ALL },
    Mix { eight: ALL, ordered: &["0.qkv"] },
];

fn packed(spec: &TinySpec, head: Head, mix: Mix<'_>) -> Arc<PackedFile> {
    let folder = tiny_checkpoint(spec);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    Arc::new(pack_mixed(&checkpoint, GroupSize::G64, head, mix, &folder.path().join("model.ewn")))
}

#[test]
fn mixed_files_give_the_bits_of_the_cpu() {
    let spec = TinySpec { hidden: 128, intermediate: 200, seed: 5, ..TinySpec::default() };
    let small =
        Limits { tokens: 2, max_groups: 8, ring_entries: 3, top_k: 4, fifo_beats: 40, ..Limits::default() };
    for mix in MIXES {
        for head in [HEAD_4, HEAD_8] {
            let file = packed(&spec, head, mix);
            let tokens = token_ids(40, spec.vocab, 5);
            let expected = logits(&mut cpu(&file), &tokens, 40);
            for limits in [Limits::default(), small] {
                for piece in [40, 9, 1] {
                    let mut backend = on_sim(&file, limits, HostOptions::default());
                    let found = logits(&mut backend, &tokens, piece);
                    let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{mix:?} {head:?} {limits:?} pieces of {piece}");
                    let program = backend.program().operations();
                    for operation in program {
                        let eight = mix.eight.iter().any(|end| operation.tensor.ends_with(end));
                        assert_eq!(operation.layout == Layout::Segments, eight, "{}", operation.tensor);
                    }
                }
            }
        }
    }
}

#[test]
fn a_head_of_two_planes_gives_the_list_of_the_cpu() {
    let file = packed(&TinySpec { vocab: 900, ..TinySpec::default() }, HEAD_8, MIXES[0]);
    let (mut backend, mut cpu) = (on_sim(&file, Limits::default(), HostOptions::default()), cpu(&file));
    assert_eq!(backend.most_top_k(), cpu.most_top_k());
    assert_ne!(cpu.most_top_k(), 0);
    let mut forward = Forward::default();
    for k in [1, 20, 64, 100] {
        let mut top = |backend: &mut dyn Backend| {
            backend.truncate(0, 0);
            forward.hidden(backend, &Batch::one(0, 0, &[1, 2, 3])).unwrap();
            forward.top_k(backend, 2, k).unwrap()
        };
        assert_eq!(top(&mut backend), top(&mut cpu), "k = {k}");
    }
}

#[test]
fn conforms() {
    let file = packed(&TinySpec::default(), HEAD_4, MIXES[1]);
    conformance(&|| Box::new(on_sim(&file, Limits::default(), HostOptions::default())));
}

#[test]
fn a_design_for_macros_refuses_8_bits_and_takes_column_orders() {
    let refused = |file: &Arc<PackedFile>, limits| {
        let (device, image) = sim(file, limits);
        let error = Accelerator::new(device, &image, cpu(file), HostOptions::default()).err();
        error.expect("the model is refused").to_string()
    };
    let message = refused(&packed(&TinySpec::default(), HEAD_4, MIXES[0]), awq_macro());
    assert!(message.contains("layers.0.qkv") && message.contains("8 bits"), "{message}");
    let ordered = packed(&TinySpec::default(), HEAD_4, MIXES[2]);
    let tokens = token_ids(9, ordered.config().vocab_size, 5);
    let expected = logits(&mut cpu(&ordered), &tokens, 9);
    let found = logits(&mut on_sim(&ordered, awq_macro(), HostOptions::default()), &tokens, 9);
    assert!(found == expected);

    // Other groups and planes apart stay with the processors.
    let folder = tiny_checkpoint(&TinySpec::default());
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let path = folder.path().join("model.ewn");
    let file = Arc::new(pack(&checkpoint, GroupSize::G32, Head::Bits(WeightBits::Four), &path));
    let message = refused(&file, Limits::default());
    assert!(message.contains("layers.0.qkv") && message.contains("groups of 32"), "{message}");
}
