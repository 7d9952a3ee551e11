//! The memory model against what others measured on the KV260.
//!
//! Each case repeats the access pattern of a measurement: which ports, how many bytes from which addresses, how results
//! are written. The measurements are those of bitnet-kv260 (`results/kria-ddr-results.txt`, `probe-2026-09-26.txt`,
//! `sweep-2026-09-26.txt`) and of the team SEC of the AICAS 2025 challenge. A case says whether the model's fitted
//! parameters were chosen with its help, or whether it is a check.

mod traffic;

pub use traffic::{Stream, Writes, run_streams};

use super::{DataRate, MemoryConfig, MemoryModel, Pattern, ProcessorTraffic};
use serde::Serialize;

/// What a measurement was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Looked at when parameters were chosen; held to 7 %.
    Fitted,
    /// Decided no parameter; held to 7 %.
    Check,
    /// Shown, with what is known against it.
    Shown,
}

/// A measurement and the model's answer.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// What was measured.
    pub name: String,
    /// How the memory was used.
    pub pattern: &'static str,
    /// Unit of the figures.
    pub unit: &'static str,
    /// What they measured.
    pub measured: f64,
    /// What the model says.
    pub modelled: f64,
    /// What it was used for.
    pub used: Use,
}

impl Case {
    /// How far off the model is: 0.01 is one percent too high.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.modelled / self.measured - 1.0
    }
}

/// The engines are started one after the other; what fits the sweep of addresses best.
const STAGGER_US: f64 = 0.5;
/// Starting and polling in the benchmark's time: two ports take 560.3 us for what their beats need 553.0.
const RUN_US: f64 = 7.0;
/// Address of bitnet-kv260's weights.
const WEIGHTS: u64 = 0x3830_0000;
/// Address of its sums.
const SUMS: u64 = 0x58B0_0000;
/// Bytes of its benchmark's matrix.
const MATRIX: u64 = 4_423_680;

fn board() -> MemoryConfig {
    MemoryConfig::kv260(DataRate::Mts2133, 250.0)
}

/// Engines that read a piece each, `spacing` bytes apart, and write sums in pieces of `write_bytes`.
fn engines(
    config: &MemoryConfig,
    ports: &[usize],
    bytes: u64,
    spacing: u64,
    writes: Option<Writes>,
) -> Vec<Stream> {
    ports
        .iter()
        .enumerate()
        .map(|(i, &port)| Stream {
            port,
            address: WEIGHTS + i as u64 * spacing,
            beats: bytes / 16,
            start: ((0.3 + STAGGER_US * i as f64) * config.pl_mhz) as u64,
            burst_beats: 16,
            writes: writes.map(|plan| Writes { address: plan.address + i as u64 * plan.spacing, ..plan }),
        })
        .collect()
}

/// GB/s of `bytes` in `ticks`.
fn rate(config: &MemoryConfig, bytes: u64, ticks: u64) -> f64 {
    bytes as f64 / (ticks as f64 * 1000.0 / config.pl_mhz)
}

/// The benchmark of bitnet-kv260: a matrix in equal contiguous pieces, a sum of 4 bytes for 640 bytes of weights.
fn benchmark(ports: &[usize], write_bytes: u64) -> f64 {
    let config = board();
    let piece = MATRIX / ports.len() as u64;
    let writes =
        Writes { address: SUMS, spacing: 6912, bytes: write_bytes, every_beats: write_bytes * 10, offset: 0 };
    let mut memory = MemoryModel::new(config.clone());
    let done = run_streams(&mut memory, &engines(&config, ports, piece, piece, Some(writes)));
    rate(&config, MATRIX, done.into_iter().max().unwrap_or(1) + (RUN_US * config.pl_mhz) as u64)
}

/// A phase of a layer: GB/s of all, and how much later than HP0 and HP3 the ports HP1 and HP2 finish.
fn phase(bytes: u64, spacing: u64, bytes_a_sum: u64) -> (f64, f64) {
    let config = board();
    let writes = Writes {
        address: SUMS,
        spacing: 0x10000,
        bytes: 4096,
        every_beats: bytes_a_sum * 1024 / 16,
        offset: 0,
    };
    let mut memory = MemoryModel::new(config.clone());
    let done = run_streams(&mut memory, &engines(&config, &[0, 1, 2, 3], bytes, spacing, Some(writes)));
    let late = (done[1] + done[2]) as f64 / (done[0] + done[3]) as f64 - 1.0;
    (rate(&config, 4 * bytes, done.into_iter().max().unwrap_or(1)), 100.0 * late)
}

/// The processor alone, in GB/s.
fn processor_alone() -> f64 {
    let config = board();
    let mut memory = MemoryModel::new(config.clone());
    memory.set_processor(Some(three_cores()));
    for _ in 0..100_000 {
        memory.tick();
    }
    rate(&config, memory.processor_bytes(), memory.now())
}

/// Three cores that do nothing but read.
fn three_cores() -> ProcessorTraffic {
    ProcessorTraffic { gigabytes_per_second: 1000.0, cores: 3, pattern: Pattern::Streaming }
}

/// The benchmark and the processor at once: GB/s of the ports and of the processor.
fn both() -> (f64, f64) {
    let config = board();
    let mut memory = MemoryModel::new(config.clone());
    memory.set_processor(Some(three_cores()));
    let piece = MATRIX / 4;
    let writes = Writes { address: SUMS, spacing: 6912, bytes: 4096, every_beats: 40_960, offset: 0 };
    let done = run_streams(&mut memory, &engines(&config, &[0, 1, 2, 3], piece, piece, Some(writes)));
    let ticks = done.into_iter().max().unwrap_or(1);
    (rate(&config, MATRIX, ticks), rate(&config, memory.processor_bytes(), memory.now()))
}

/// SEC's weights: 256-bit words, one half on HP2 and one on HP3, with the key/value cache's share between. The
/// addresses are not known, so this is the mean over eight distances between the halves.
fn sec() -> f64 {
    let config = MemoryConfig::kv260(DataRate::Mts2133, 375.0);
    let mut sum = 0.0;
    for step in 0..8 {
        sum += traffic::lockstep_pair(&config, [2, 3], 2 << 20, 0x40_0000 + step * 0x2000);
    }
    sum / 8.0
}

/// All cases.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, pattern, unit, measured, modelled, used| {
        cases.push(Case { name: name.into(), pattern, unit, measured, modelled, used });
    };
    let matrix = "bitnet-kv260's benchmark: 4.42 MB in contiguous equal pieces, 4 KiB result writes";
    add("1 port", matrix, "GB/s", 3.96, benchmark(&[0], 4096), Use::Fitted);
    for (ports, measured) in
        [([0, 1], 7.896), ([0, 2], 7.890), ([0, 3], 7.896), ([1, 2], 7.894), ([2, 3], 7.897)]
    {
        let name = format!("2 ports, HP{} and HP{}", ports[0], ports[1]);
        add(&name, matrix, "GB/s", measured, benchmark(&ports, 4096), Use::Fitted);
    }
    add("3 ports", matrix, "GB/s", 11.63, benchmark(&[0, 1, 2], 4096), Use::Fitted);
    add("4 ports", matrix, "GB/s", 13.33, benchmark(&[0, 1, 2, 3], 4096), Use::Fitted);
    let small = "the same, results written in pieces";
    add("4 ports, 1 KiB writes", small, "GB/s", 13.09, benchmark(&[0, 1, 2, 3], 1024), Use::Check);
    add("4 ports, 64 B writes", small, "GB/s", 12.19, benchmark(&[0, 1, 2, 3], 64), Use::Fitted);

    let runs =
        "one matrix of a layer, all four ports started together, first addresses as far apart as they were";
    for (name, bytes, spacing, bytes_a_sum, measured, late) in [
        ("qkv", 491_520, 491_520, 512, 14.42, 9.3),
        ("o", 327_680, 327_680, 512, 11.76, 28.3),
        ("gate, up", 884_736, 1_769_472, 512, 11.73, 26.0),
        ("down", 890_880, 890_880, 1392, 14.31, 9.5),
        ("piece of the head", 2_052_096, 16_416_768, 512, 13.44, 14.8),
    ] {
        let (modelled, modelled_late) = phase(bytes, spacing, bytes_a_sum);
        add(&format!("4 ports, {name}"), runs, "GB/s", measured, modelled, Use::Check);
        add(&format!("HP1, HP2 later, {name}"), runs, "%", late, modelled_late, Use::Shown);
    }
    let long = "a contiguous quarter of the matrix a port, in one run";
    let (two_bits, _) = phase(20_520_960, 20_520_960, 640);
    add("4 ports, head of 82.1 MB", long, "GB/s", 13.73, two_bits, Use::Check);
    // 65.67 MB in 4.103 ms. What overlaps with the processor is missing in that time: the same author's probe gives
    // 13.44 GB/s for the pieces of this head, in a run whose own log says 3.998 ms, which would be 16.4 GB/s; four
    // ports carry 16.0.
    let (five_in_a_byte, _) = phase(16_416_768, 16_416_768, 512);
    add("4 ports, head of 65.7 MB", long, "GB/s", 15.97, five_in_a_byte, Use::Shown);

    add("processor alone", "three A53 cores read 64 MB each", "GB/s", 5.70, processor_alone(), Use::Fitted);
    let (ports, processor) = both();
    let pattern = "the benchmark and three A53 cores at once";
    add("both, ports", pattern, "GB/s", 9.50, ports, Use::Fitted);
    add("both, processor", pattern, "GB/s", 4.52, processor, Use::Fitted);
    add(
        "SEC, 2 ports at 375 MHz",
        "HP2 and HP3 in lock-step, cache reads between",
        "GB/s",
        10.76,
        sec(),
        Use::Check,
    );
    cases
}

/// Four ports that read 327,680 bytes each.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SweepPoint {
    /// First addresses in KiB, modulo 64 KiB.
    pub offsets: [u64; 4],
    /// Until the last was done, as measured.
    pub measured_us: f64,
    /// The same in the model.
    pub modelled_us: f64,
}

/// A quarter of bitnet-kv260's sweep of addresses. The scheduler's parameters are fitted to it.
#[must_use]
pub fn sweep() -> Vec<SweepPoint> {
    let config = board();
    let mut points = Vec::new();
    for (first, table) in [(0, &SWEEP_0), (32, &SWEEP_32)] {
        for (i, row) in table.iter().enumerate() {
            for (j, &measured) in row.iter().enumerate() {
                let offsets = [0, first, 8 * i as u64, 8 * j as u64];
                let mut streams = engines(&config, &[0, 1, 2, 3], 327_680, 2 << 20, None);
                for (stream, offset) in streams.iter_mut().zip(offsets) {
                    stream.address += offset * 1024;
                }
                let mut memory = MemoryModel::new(config.clone());
                let done = run_streams(&mut memory, &streams);
                let modelled_us = done.into_iter().max().unwrap_or(0) as f64 / config.pl_mhz;
                points.push(SweepPoint { offsets, measured_us: measured, modelled_us });
            }
        }
    }
    points
}

/// Root mean square of the relative error, and correlation, of [`sweep`].
#[must_use]
pub fn sweep_agreement(points: &[SweepPoint]) -> (f64, f64) {
    let n = points.len() as f64;
    let mean = |of: &dyn Fn(&SweepPoint) -> f64| points.iter().map(of).sum::<f64>() / n;
    let error = mean(&|p| (p.modelled_us / p.measured_us - 1.0).powi(2)).sqrt();
    let (x, y) = (mean(&|p| p.measured_us), mean(&|p| p.modelled_us));
    let covariance = mean(&|p| (p.measured_us - x) * (p.modelled_us - y));
    let spread = (mean(&|p| (p.measured_us - x).powi(2)) * mean(&|p| (p.modelled_us - y).powi(2))).sqrt();
    (error, covariance / spread)
}

/// `sweep-2026-09-26.txt`, "all": HP1 at offset 0; HP2 down, HP3 across, in steps of 8 KiB.
#[rustfmt::skip]
const SWEEP_0: [[f64; 8]; 8] = [
    [108.8, 111.6, 101.7, 91.4, 98.3, 101.5, 96.0, 95.2],
    [104.8, 110.2, 95.0, 90.8, 94.0, 97.5, 96.0, 94.8],
    [96.6, 103.1, 92.4, 90.4, 90.9, 95.8, 95.4, 94.4],
    [97.8, 104.7, 93.7, 91.3, 90.5, 90.6, 92.5, 95.4],
    [102.3, 106.7, 95.9, 91.9, 89.1, 87.9, 91.0, 96.2],
    [99.6, 105.0, 98.8, 91.4, 89.9, 89.7, 90.8, 91.3],
    [92.3, 101.2, 88.2, 87.3, 90.4, 92.2, 91.4, 90.5],
    [96.8, 105.7, 90.4, 88.2, 91.1, 94.6, 93.1, 92.0],
];

/// The same with HP1 at offset 32 KiB.
#[rustfmt::skip]
const SWEEP_32: [[f64; 8]; 8] = [
    [102.7, 105.4, 95.3, 91.9, 89.0, 87.9, 90.6, 94.4],
    [100.6, 107.1, 96.0, 92.7, 89.9, 88.8, 91.7, 97.1],
    [99.1, 100.9, 96.1, 93.5, 92.6, 91.7, 89.3, 95.8],
    [100.9, 104.8, 107.2, 116.7, 110.6, 106.0, 88.5, 95.1],
    [105.8, 112.3, 101.7, 98.2, 99.4, 101.5, 95.6, 100.1],
    [103.9, 106.4, 99.8, 97.7, 98.0, 97.0, 88.9, 90.9],
    [97.4, 101.7, 94.7, 94.5, 96.3, 93.3, 88.3, 87.0],
    [96.5, 101.9, 91.5, 90.6, 95.4, 91.4, 90.6, 88.4],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fitted_and_checked_measurement_is_met_within_seven_percent() {
        for case in cases() {
            if case.used != Use::Shown {
                let percent = 100.0 * case.error();
                assert!(
                    percent.abs() < 7.0,
                    "{}: {} for {}, {percent:+.1} %",
                    case.name,
                    case.modelled,
                    case.measured
                );
            }
        }
    }

    /// HP1 and HP2 share a port of the controller: they finish 9 to 33 % after the others.
    #[test]
    fn the_ports_that_share_finish_later() {
        for case in cases().iter().filter(|case| case.name.starts_with("HP1, HP2 later")) {
            assert!((5.0..33.0).contains(&case.modelled), "{}: {}", case.name, case.modelled);
            assert!((case.modelled - case.measured).abs() < 6.0, "{}: {}", case.name, case.modelled);
        }
    }

    #[test]
    fn the_sweep_of_addresses_is_followed() {
        let (error, correlation) = sweep_agreement(&sweep());
        assert!(error < 0.04, "{error}");
        assert!(correlation > 0.8, "{correlation}");
    }
}
