//! Run-ahead: while the processor is busy the weights of the next operations come into the buffers.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/system.rs"]
mod system;

use std::sync::Arc;

use edgewen_accel::host::{Device, HostOptions};
use edgewen_accel::registers::{CYCLES, PORT_STALL};
use edgewen_model::packed::PackedFile;
use edgewen_rtl::RtlDevice;
use system::{accelerator, generate_top, options};

/// Stall cycles of the four weight ports and all cycles of some tokens, with the processor busy for `processor_ns` before
/// every operation.
fn stalls(run_ahead: bool, processor_ns: u64) -> Option<([u32; 4], u32)> {
    let (_folder, path) = system::half_billion(1);
    let file = Arc::new(PackedFile::open(&path).unwrap());
    let host = HostOptions { run_ahead, processor_ns };
    let mut rtl = accelerator(&file, &options(None), host)?;
    let (before, start) = counters(rtl.driver().device());
    generate_top(&mut rtl, &[1], 2, 1).unwrap();
    let (after, end) = counters(rtl.driver().device());
    Some((std::array::from_fn(|port| after[port] - before[port]), end - start))
}

fn counters(device: &mut RtlDevice) -> ([u32; 4], u32) {
    let stalls = std::array::from_fn(|port| device.read(PORT_STALL.at(port as u32)).unwrap());
    (stalls, device.read(CYCLES.offset).unwrap())
}

#[test]
fn ports_stall_less_when_streams_run_ahead() {
    let Some((with, with_cycles)) = stalls(true, 50_000) else { return };
    let Some((without, without_cycles)) = stalls(false, 50_000) else { return };
    // The ports whose memory is fastest never stall; what counts is the sum.
    let [with, without] = [with, without].map(|ports| ports.iter().sum::<u32>());
    assert!(3 * with < without, "stall cycles: {with} with, {without} without run-ahead");
    assert!(with_cycles < without_cycles);
}
