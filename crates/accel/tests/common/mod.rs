//! Small models, and backends that run them.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its own part of this")]

use std::path::Path;
use std::sync::Arc;

use edgewen_accel::host::{Accelerator, AddressSpace, Device, HostOptions};
use edgewen_accel::image::{Layout, ModelImage};
use edgewen_accel::program::Limits;
use edgewen_accel::sim::Sim;
use edgewen_engine::CpuBackend;
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::Checkpoint;
use edgewen_model::packed::PackedFile;
use edgewen_testing::rtn::{self, Head};
use edgewen_testing::{TinySpec, fixture, tiny_checkpoint};

/// A head of four bits: the accelerator computes it.
pub const HEAD_4: Head = Head::Bits(WeightBits::Four);

/// A head of eight bits: the processor computes it.
pub const HEAD_8: Head = Head::Bits(WeightBits::Eight);

/// A packed random model. Its folder is gone when this returns, the map of the file stays.
pub fn packed(spec: &TinySpec, group: GroupSize, head: Head) -> Arc<PackedFile> {
    let directory = tiny_checkpoint(spec);
    pack(directory.path(), group, head)
}

/// A checkpoint directory, packed by plain rounding.
pub fn pack(checkpoint: &Path, group: GroupSize, head: Head) -> Arc<PackedFile> {
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(checkpoint).unwrap();
    Arc::new(rtn::pack(&checkpoint, group, head, &directory.path().join("model.ewn")))
}

/// The demo model with a head of four bits.
pub fn demo() -> Arc<PackedFile> {
    pack(&fixture("demo"), GroupSize::G64, HEAD_4)
}

pub fn cpu(file: &Arc<PackedFile>) -> CpuBackend {
    cpu_with(file, KvType::F16)
}

pub fn cpu_with(file: &Arc<PackedFile>, kv_type: KvType) -> CpuBackend {
    CpuBackend::new(file.clone(), Compute::new(Isa::best(), 2), kv_type).unwrap()
}

/// The functional model of a design.
pub fn sim(file: &Arc<PackedFile>, limits: Limits) -> (Sim, Arc<ModelImage>) {
    let image = Arc::new(ModelImage::new(file.clone(), limits.layout).unwrap());
    (Sim::new(limits, AddressSpace::new(image.clone())), image)
}

/// A model on the functional model of a design.
pub fn on_sim(file: &Arc<PackedFile>, limits: Limits, options: HostOptions) -> Accelerator<Sim> {
    let (sim, image) = sim(file, limits);
    on(sim, &image, file, options)
}

pub fn on<D: Device>(
    device: D,
    image: &ModelImage,
    file: &Arc<PackedFile>,
    options: HostOptions,
) -> Accelerator<D> {
    Accelerator::new(device, image, cpu(file), options).unwrap()
}

pub fn awq_macro() -> Limits {
    Limits { layout: Layout::AwqMacro, ..Limits::default() }
}
