//! Keys and values of eight bits through the whole RTL: the bits of the CPU for prompts and single tokens.
#![allow(clippy::unwrap_used)]

#[path = "common/system.rs"]
mod system;

use std::sync::Arc;

use edgewen_accel::host::{Accelerator, HostOptions};
use edgewen_accel::image::{Layout, ModelImage};
use edgewen_engine::CpuBackend;
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::Checkpoint;
use edgewen_rtl::RtlDevice;
use edgewen_testing::conformance::{logits, token_ids};
use edgewen_testing::rtn::{Head, pack};
use edgewen_testing::{TinySpec, tiny_checkpoint};
use system::options;

#[test]
fn attention_over_whole_groups_of_positions_gives_the_bits_of_the_cpu() {
    let spec = TinySpec { hidden: 256, heads: 4, kv_heads: 2, ..TinySpec::default() };
    let directory = tiny_checkpoint(&spec);
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let head = Head::Bits(WeightBits::Four);
    let file = Arc::new(pack(&checkpoint, GroupSize::G64, head, &directory.path().join("model.ewn")));
    let cpu = || CpuBackend::new(file.clone(), Compute::new(Isa::best(), 1), KvType::Int8).unwrap();
    let tokens = token_ids(140, spec.vocab, 4);
    for seed in [None, Some(3)] {
        let image = Arc::new(ModelImage::new(file.clone(), Layout::RowBlocks).unwrap());
        let device = match RtlDevice::new(image.clone(), &options(seed)) {
            Ok(device) => device,
            Err(error) if error.is_missing_tool() && std::env::var("CI").as_deref() != Ok("true") => {
                return eprintln!("skipped: {error}");
            }
            Err(error) => panic!("{error}"),
        };
        let mut rtl = Accelerator::new(device, &image, cpu(), HostOptions::default()).unwrap();
        let mut expected = cpu();
        for (count, piece) in [(140, 140), (75, 1)] {
            let same =
                logits(&mut rtl, &tokens[..count], piece) == logits(&mut expected, &tokens[..count], piece);
            assert!(same, "{count} tokens in pieces of {piece}, back-pressure {seed:?}");
        }
    }
}
