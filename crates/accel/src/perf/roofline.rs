//! The roofline: products a second against products for each byte of weights.
//!
//! Williams, Waterman and Patterson 2009, doi 10.1145/1498765.1498785. One token needs two products for each byte of
//! 4-bit weights, eight tokens at a time sixteen: the first is bound by the memory, the second by the arrays.

use serde::Serialize;

use super::report::Decode;
use super::token::System;

/// Products of a port and clock: a beat has 4 channels of 8 inputs.
const MACS_PER_BEAT: f64 = 32.0;
const PORTS: f64 = 4.0;

/// Roofs and what lies under them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Roofline {
    /// The slope: what the memory gives, GB/s.
    pub stream_gbps: f64,
    /// The ceilings.
    pub ceilings: Vec<Ceiling>,
    /// The operations.
    pub points: Vec<Point>,
}

/// Most products a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ceiling {
    /// For which tokens at a time.
    pub name: &'static str,
    /// Products in 10^9 a second.
    pub gmacs: f64,
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Which.
    pub name: String,
    /// Products for each byte of weights.
    pub macs_per_byte: f64,
    /// Products in 10^9 a second.
    pub gmacs: f64,
}

/// The roofline of a decoded token.
pub fn roofline(decode: &Decode, system: &System) -> Roofline {
    let mhz = system.memory.pl_mhz;
    let interval = f64::from(system.hardware.interval);
    let ceiling = |tokens: f64| PORTS * MACS_PER_BEAT * tokens * mhz / 1e3 / interval;
    let mut points: Vec<_> = decode
        .operations
        .iter()
        .map(|row| Point {
            name: row.operation.to_string(),
            macs_per_byte: row.macs / row.weight_bytes,
            // Without the wait for the processor, which is nothing that the operation could help.
            gmacs: row.macs / ((row.cycles - row.processor_cycles) / mhz * 1e3),
        })
        .collect();
    let macs: f64 = decode.operations.iter().map(|row| row.macs).sum();
    points.push(Point {
        name: "token".to_string(),
        macs_per_byte: macs / decode.weight_bytes,
        gmacs: macs / (decode.ms * 1e6),
    });
    Roofline {
        stream_gbps: decode.stream_allowed_gbps,
        ceilings: vec![
            Ceiling { name: "1 token", gmacs: ceiling(1.0) },
            Ceiling { name: "8 tokens", gmacs: ceiling(8.0) },
        ],
        points,
    }
}
