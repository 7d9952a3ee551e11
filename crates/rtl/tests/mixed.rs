//! Files whose layers differ in bits and column order through the whole RTL: the bits of the CPU.
#![allow(clippy::unwrap_used)]

#[path = "common/system.rs"]
mod system;

use std::sync::Arc;

use edgewen_accel::host::HostOptions;
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::Checkpoint;
use edgewen_testing::rtn::{Head, Mix, pack_mixed};
use edgewen_testing::{TinySpec, tiny_checkpoint};
use system::{accelerator, cpu, generate, options};

/// 8-bit matrices between 4-bit ones, with a bias and without, of one round of blocks and of several, the last group of
/// `down` short; then a model whose layers are all of 8 bits.
const MIXES: [Mix<'static>; 2] = [
    Mix { eight: &["0.qkv", "0.down", "1.gate_up"], ordered: &["0.qkv", "1.o", "1.down"] },
    Mix { eight: &["qkv", "o", "gate_up", "down"], ordered: &[] },
];

#[test]
fn mixed_files_give_the_bits_of_the_cpu() {
    let spec = TinySpec { hidden: 192, intermediate: 360, heads: 6, seed: 6, ..TinySpec::default() };
    let folder = tiny_checkpoint(&spec);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let prompt: Vec<u32> = (0..11).map(|i| (i * 37 + 11) % 272).collect();
    for mix in MIXES {
        let (head, path) = (Head::Bits(WeightBits::Four), folder.path().join("model.ewn"));
        let file = Arc::new(pack_mixed(&checkpoint, GroupSize::G64, head, mix, &path));
        let expected = generate(&mut cpu(&file), &prompt, 4).unwrap();
        for seed in [None, Some(7)] {
            let Some(mut rtl) = accelerator(&file, &options(seed), HostOptions::default()) else { return };
            let found = generate(&mut rtl, &prompt, 4).unwrap();
            assert!(found == expected, "{mix:?}, back-pressure {seed:?}: the logits have the same bits");
        }
        drop(file);
    }
}
