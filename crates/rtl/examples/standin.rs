//! Runs a packed model through the RTL and compares every logit with the CPU's: one prefill pass and decode steps.
//!
//! ```text
//! cargo run --release -p edgewen-rtl --example standin -- MODEL.ewn [--prefill 8] [--decode 1] [--random SEED]
//! ```
//! Prints cycles, cycles a second and the ports' counters. Made for the stand-in of Qwen2.5-0.5B, whose weights are
//! random but whose shapes are the real ones.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use edgewen_accel::host::{Accelerator, Device, HostOptions};
use edgewen_accel::image::{Layout, ModelImage};
use edgewen_accel::registers;
use edgewen_engine::{Batch, CpuBackend, Forward};
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_model::packed::PackedFile;
use edgewen_rtl::{MemoryTiming, RtlDevice, RtlOptions};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    model: String,
    prefill: usize,
    decode: usize,
    random: Option<u64>,
}

fn arguments() -> Result<Arguments, Box<dyn std::error::Error>> {
    let mut result = Arguments { model: String::new(), prefill: 8, decode: 1, random: None };
    let mut list = std::env::args().skip(1);
    while let Some(argument) = list.next() {
        let mut value = || list.next().ok_or_else(|| format!("{argument} needs a number"));
        match argument.as_str() {
            "--prefill" => result.prefill = value()?.parse()?,
            "--decode" => result.decode = value()?.parse()?,
            "--random" => result.random = Some(value()?.parse()?),
            _ => result.model = argument,
        }
    }
    if result.model.is_empty() {
        return Err("usage: standin MODEL.ewn [--prefill N] [--decode N] [--random SEED]".into());
    }
    Ok(result)
}

fn run() -> Result<bool, Box<dyn std::error::Error>> {
    let arguments = arguments()?;
    let file = Arc::new(PackedFile::open(Path::new(&arguments.model))?);
    let cpu = || CpuBackend::new(file.clone(), Compute::new(Isa::best(), 1), KvType::F16);
    let image = Arc::new(ModelImage::new(file.clone(), Layout::RowBlocks)?);
    let mut options = RtlOptions::default();
    if let Some(seed) = arguments.random {
        options.timing = MemoryTiming::Random { seed, pl_mhz: options.timing.pl_mhz() };
    }
    let start = Instant::now();
    let device = RtlDevice::new(image.clone(), &options)?;
    println!("the simulator was ready after {:.1} s", start.elapsed().as_secs_f64());
    let mut rtl = Accelerator::new(device, &image, cpu()?, HostOptions::default())?;
    let mut cpu = cpu()?;
    let (mut expected, mut found) = (Forward::default(), Forward::default());
    let vocabulary = file.config().vocab_size as u32;
    let prompt: Vec<u32> = (0..arguments.prefill as u32).map(|i| (i * 7919 + 13) % vocabulary).collect();
    let mut equal = true;
    for step in 0..=arguments.decode {
        let batch = match step {
            0 => Batch::one(0, 0, &prompt),
            _ => Batch::one(0, prompt.len() + step - 1, &prompt[step % prompt.len()..][..1]),
        };
        if batch.is_empty() {
            continue;
        }
        expected.hidden(&mut cpu, &batch)?;
        let top = expected.top_k(&mut cpu, batch.len() - 1, 32)?;
        let (start, before) = (Instant::now(), rtl.driver().device().cycles());
        found.hidden(&mut rtl, &batch)?;
        let same = found.top_k(&mut rtl, batch.len() - 1, 32)? == top;
        let seconds = start.elapsed().as_secs_f64();
        let cycles = rtl.driver().device().cycles() - before;
        let tokens = batch.len();
        println!(
            "{tokens} token(s): {cycles} cycles in {seconds:.1} s, {:.3} million cycles a second, top 32 {}",
            cycles as f64 / seconds / 1e6,
            if same { "bit-equal" } else { "DIFFERENT" }
        );
        equal &= same;
    }
    // All logits, not only the best: the head writes them then.
    let rows = 0..1;
    let logits: Vec<u32> =
        expected.head(&mut cpu, rows.clone())?.iter().map(|logit| logit.to_bits()).collect();
    let same = found.head(&mut rtl, rows)?.iter().map(|logit| logit.to_bits()).eq(logits);
    println!("{} logits {}", vocabulary, if same { "bit-equal" } else { "DIFFERENT" });
    counters(rtl.driver().device())?;
    Ok(equal && same)
}

fn counters(device: &mut RtlDevice) -> edgewen_accel::Result<()> {
    for (name, register) in [
        ("cycles", &registers::CYCLES),
        ("busy", &registers::BUSY_CYCLES),
        ("compute", &registers::COMPUTE_CYCLES),
        ("load", &registers::LOAD_CYCLES),
    ] {
        println!("{name:>8} {:>10}", device.read(register.offset)?);
    }
    println!("{:>8} {:>10} {:>10} {:>10} {:>10}", "port", "beats", "stall", "busy", "max level");
    for port in 0..registers::COUNTED_PORTS as u32 {
        let of = [
            &registers::PORT_BEATS,
            &registers::PORT_STALL,
            &registers::PORT_BUSY,
            &registers::PORT_MAX_LEVEL,
        ];
        let values = of.map(|register| device.read(register.at(port)));
        let [beats, stall, busy, level] = values;
        println!("{port:>8} {:>10} {:>10} {:>10} {:>10}", beats?, stall?, busy?, level?);
    }
    Ok(())
}
