//! What run-ahead is worth: stall cycles of the weight ports while the processor works between the operations.
//!
//! ```text
//! cargo run --release -p edgewen-rtl --example run_ahead -- MODEL.ewn [FILE.json]
//! ```
//! Decodes one token for each processor time of 0, 50, 100 and 200 us before every operation, with and without run-ahead,
//! on the RTL over the model of the board's memory. Prints a table, and writes the same figures to a file.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use edgewen_accel::host::{Accelerator, Device, HostOptions};
use edgewen_accel::image::{Layout, ModelImage};
use edgewen_accel::registers::{COMPUTE_CYCLES, CYCLES, PORT_BEATS, PORT_STALL};
use edgewen_engine::{Batch, CpuBackend, Forward};
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_model::packed::PackedFile;
use edgewen_rtl::{RtlDevice, RtlOptions};

/// What the counters say.
#[derive(Debug, Clone, Copy)]
struct Counters {
    cycles: u32,
    compute: u32,
    stall: [u32; 4],
    beats: [u32; 4],
}

impl Counters {
    fn read(device: &mut RtlDevice) -> edgewen_accel::Result<Self> {
        let mut ports = [[0; 4]; 2];
        for (values, register) in ports.iter_mut().zip([&PORT_STALL, &PORT_BEATS]) {
            for (port, value) in (0..).zip(values) {
                *value = device.read(register.at(port))?;
            }
        }
        let [stall, beats] = ports;
        Ok(Self {
            cycles: device.read(CYCLES.offset)?,
            compute: device.read(COMPUTE_CYCLES.offset)?,
            stall,
            beats,
        })
    }

    /// What was counted since `earlier`; the counters wrap.
    fn since(&self, earlier: &Self) -> Self {
        let less = |now: [u32; 4], before: [u32; 4]| {
            std::array::from_fn(|port| now[port].wrapping_sub(before[port]))
        };
        Self {
            cycles: self.cycles.wrapping_sub(earlier.cycles),
            compute: self.compute.wrapping_sub(earlier.compute),
            stall: less(self.stall, earlier.stall),
            beats: less(self.beats, earlier.beats),
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("usage: run_ahead MODEL.ewn [FILE.json]")?;
    let file = Arc::new(PackedFile::open(Path::new(&model))?);
    let image = Arc::new(ModelImage::new(file.clone(), Layout::RowBlocks)?);
    let options = RtlOptions::default();
    let device = RtlDevice::new(image.clone(), &options)?;
    let cpu = CpuBackend::new(file, Compute::new(Isa::best(), 1), KvType::F16)?;
    let mut rtl = Accelerator::new(device, &image, cpu, HostOptions::default())?;
    let pl_mhz = options.timing.pl_mhz();
    println!("processor   run-ahead      cycles         us   stall cycles of ports 0 to 3");
    let mut json = String::new();
    let mut forward = Forward::default();
    // Without run-ahead first: what was streamed ahead before would count for it.
    for run_ahead in [false, true] {
        for processor_us in [0, 50, 100, 200] {
            rtl.set_options(HostOptions { run_ahead, processor_ns: processor_us * 1000 });
            let before = Counters::read(rtl.driver().device())?;
            forward.hidden(&mut rtl, &Batch::one(0, 0, &[1]))?;
            forward.top_k(&mut rtl, 0, 1)?;
            let counted = Counters::read(rtl.driver().device())?.since(&before);
            let Counters { cycles, compute, stall, beats } = counted;
            let us = f64::from(cycles) / pl_mhz;
            let word = if run_ahead { "yes" } else { "no" };
            println!("{processor_us:>6} us   {word:>9}  {cycles:>10} {us:>10.0}   {stall:?}");
            let comma = if json.is_empty() { "" } else { ",\n" };
            write!(
                json,
                "{comma}    {{\"processor_us\": {processor_us}, \"run_ahead\": {run_ahead}, \"cycles\": {cycles}, \
                 \"compute_cycles\": {compute}, \"stall_cycles\": {stall:?}, \"beats\": {beats:?}}}"
            )?;
        }
    }
    if let Some(path) = arguments.next() {
        let name = Path::new(&model).file_name().unwrap_or_default().to_string_lossy();
        let text = format!(
            "{{\n  \"model\": \"{name}\",\n  \"pl_mhz\": {pl_mhz},\n  \"memory\": \"{:?}\",\n  \"tokens\": [\n{json}\n  ]\n}}\n",
            options.timing
        );
        std::fs::write(path, text)?;
    }
    Ok(())
}
