//! The whole accelerator under the forward pass: what the system tests share.

// Every test program uses some of this.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use edgewen_accel::host::{Accelerator, HostOptions};
use edgewen_accel::image::{Layout, ModelImage};
use edgewen_engine::{Backend, Batch, CpuBackend, Forward, Logits};
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::Checkpoint;
use edgewen_model::packed::PackedFile;
use edgewen_rtl::{MemoryTiming, RtlDevice, RtlOptions};
use edgewen_testing::rtn::{Head, pack};
use edgewen_testing::{TinySpec, tiny_checkpoint};

/// The CPU's own backend, which says what is right.
pub fn cpu(file: &Arc<PackedFile>) -> CpuBackend {
    cpu_with(file, KvType::F16)
}

/// [`cpu`] with another cache.
pub fn cpu_with(file: &Arc<PackedFile>, kv: KvType) -> CpuBackend {
    CpuBackend::new(file.clone(), Compute::new(Isa::best(), 1), kv).unwrap()
}

/// The board's memory, or with a seed random back-pressure.
pub fn options(seed: Option<u64>) -> RtlOptions {
    let mut options = RtlOptions::default();
    if let Some(seed) = seed {
        options.timing = MemoryTiming::Random { seed, pl_mhz: 300.0 };
    }
    options
}

/// The model on the simulated RTL, or nothing without Verilator.
pub fn accelerator(
    file: &Arc<PackedFile>,
    options: &RtlOptions,
    host: HostOptions,
) -> Option<Accelerator<RtlDevice>> {
    Some(try_accelerator(file, options, host, KvType::F16)?.unwrap_or_else(|error| panic!("{error}")))
}

/// [`accelerator`] for a model that may be refused, with any cache.
pub fn try_accelerator(
    file: &Arc<PackedFile>,
    options: &RtlOptions,
    host: HostOptions,
    kv: KvType,
) -> Option<edgewen_accel::Result<Accelerator<RtlDevice>>> {
    let image = match ModelImage::new(file.clone(), Layout::RowBlocks) {
        Ok(image) => Arc::new(image),
        Err(error) => return Some(Err(error)),
    };
    let device = match RtlDevice::new(image.clone(), options) {
        Ok(device) => device,
        Err(error) if error.is_missing_tool() && std::env::var("CI").as_deref() != Ok("true") => {
            eprintln!("skipped: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    Some(Accelerator::new(device, &image, cpu_with(file, kv), host))
}

/// A random checkpoint, packed; it vanishes with the folder.
pub fn packed(spec: &TinySpec, head: Head) -> (tempfile::TempDir, PathBuf) {
    let folder = tiny_checkpoint(spec);
    let path = folder.path().join("model.ewn");
    pack(&Checkpoint::open(folder.path()).unwrap(), GroupSize::G64, head, &path);
    (folder, path)
}

/// So many layers of the shape of Qwen2.5-0.5B, with a part of its vocabulary and random weights.
pub fn half_billion(layers: usize) -> (tempfile::TempDir, PathBuf) {
    let spec = TinySpec {
        hidden: 896,
        intermediate: 4864,
        layers,
        heads: 14,
        kv_heads: 2,
        vocab: 4096,
        ..TinySpec::default()
    };
    packed(&spec, Head::Bits(WeightBits::Four))
}

/// What a generation computes: the tokens, and the logits before each as bits.
#[derive(Debug, PartialEq, Eq)]
pub struct Generated {
    pub tokens: Vec<u32>,
    pub logits: Vec<Vec<u32>>,
}

/// Prompt in one batch, then `count` likeliest tokens one by one with all their logits.
pub fn generate(
    backend: &mut dyn Backend,
    prompt: &[u32],
    count: usize,
) -> edgewen_engine::Result<Generated> {
    let mut forward = Forward::default();
    let (mut tokens, mut all) = (Vec::new(), Vec::new());
    backend.truncate(0, 0);
    let mut batch = Batch::one(0, 0, prompt);
    for step in 0..count {
        let logits = forward.run(backend, &batch, Logits::Last)?;
        let best = best(logits);
        all.push(logits.iter().map(|logit| logit.to_bits()).collect());
        tokens.push(best);
        batch = Batch::one(0, prompt.len() + step, &[best]);
    }
    Ok(Generated { tokens, logits: all })
}

/// As [`generate`], but the head is asked only for the likeliest tokens, here `k` and their logits.
pub fn generate_top(
    backend: &mut dyn Backend,
    prompt: &[u32],
    count: usize,
    k: usize,
) -> edgewen_engine::Result<Vec<Vec<(u32, u32)>>> {
    let mut forward = Forward::default();
    let mut all = Vec::new();
    backend.truncate(0, 0);
    let mut batch = Batch::one(0, 0, prompt);
    for step in 0..count {
        forward.hidden(backend, &batch)?;
        let top = forward.top_k(backend, batch.len() - 1, k)?;
        let best = top[0].0;
        all.push(top.into_iter().map(|(index, logit)| (index, logit.to_bits())).collect());
        batch = Batch::one(0, prompt.len() + step, &[best]);
    }
    Ok(all)
}

/// The first of the largest.
pub fn best(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best as u32
}
