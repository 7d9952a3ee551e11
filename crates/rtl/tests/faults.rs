//! Faults of the memory: each ends the call with an error that names what failed, and the next call works.

#![allow(clippy::unwrap_used)]

mod common;
#[path = "common/system.rs"]
mod system;

use std::sync::Arc;

use edgewen_accel::host::{Accelerator, Device, HostOptions};
use edgewen_accel::registers::TIMEOUT;
use edgewen_model::packed::PackedFile;
use edgewen_rtl::{Fault, FaultKind, RtlDevice};
use edgewen_testing::fixture;
use system::{Generated, accelerator, cpu, generate, options};

const PROMPT: [u32; 3] = [5, 6, 7];

/// Clocks without an answer after which the tests give a port up; the product waits a thousand times longer.
const CLOCKS: u32 = 3000;

struct Bench {
    rtl: Accelerator<RtlDevice>,
    expected: Generated,
}

impl Bench {
    fn new(timing: Option<u64>) -> Option<Self> {
        let file = Arc::new(PackedFile::open(&fixture("demo/demo.ewn")).unwrap());
        let mut rtl = accelerator(&file, &options(timing), HostOptions::default())?;
        rtl.driver().device().write(TIMEOUT.offset, CLOCKS).unwrap();
        Some(Self { rtl, expected: generate(&mut cpu(&file), &PROMPT, 2).unwrap() })
    }

    /// Generates with the fault and then without.
    fn fails(&mut self, fault: Fault, problem: &str, port: &str) {
        self.rtl.driver().device().inject(fault);
        let resets = self.rtl.driver().resets();
        let error = match generate(&mut self.rtl, &PROMPT, 2) {
            Ok(_) => panic!("{fault:?} was not noticed"),
            Err(error) => error.to_string(),
        };
        let address = self.rtl.driver().device().fault_address(fault.port).expect("the fault was made");
        for part in [problem, port, &format!("{address:#012x}"), "layers."] {
            assert!(error.contains(part), "{fault:?}: `{error}` does not say `{part}`");
        }
        assert!(resets < self.rtl.driver().resets(), "{fault:?}: a soft reset follows");
        assert!(!self.rtl.driver().device().memory_is_busy(), "{fault:?}: everything was taken in");
        let after =
            generate(&mut self.rtl, &PROMPT, 2).unwrap_or_else(|error| panic!("{fault:?}, then {error}"));
        assert!(after == self.expected, "{fault:?}: the same tokens and logits after it");
    }
}

const PORTS: [(usize, &str); 6] = [
    (0, "weight port 0"),
    (1, "weight port 1"),
    (2, "weight port 2"),
    (3, "weight port 3"),
    (4, "data port, reading"),
    (5, "data port, writing"),
];

#[test]
fn error_responses_are_reported() {
    let Some(mut bench) = Bench::new(None) else { return };
    for (port, name) in PORTS {
        // The first burst of all, and one in the middle of a token.
        for (after, beat) in [(0, 0), (9, 1)] {
            bench.fails(Fault { port, after, kind: FaultKind::SlaveError { beat } }, "SLVERR", name);
            bench.fails(Fault { port, after, kind: FaultKind::DecodeError { beat } }, "DECERR", name);
        }
    }
}

#[test]
fn truncated_bursts_are_reported() {
    let Some(mut bench) = Bench::new(None) else { return };
    for (port, name) in &PORTS[..5] {
        for kind in [FaultKind::EarlyLast { beat: 0 }, FaultKind::MissingLast] {
            bench.fails(Fault { port: *port, after: 7, kind }, "RLAST", name);
        }
    }
}

#[test]
fn a_port_without_answers_is_given_up() {
    let Some(mut bench) = Bench::new(None) else { return };
    for (port, name) in PORTS {
        bench.fails(Fault { port, after: 6, kind: FaultKind::NoAnswer }, "did not answer", name);
    }
}

#[test]
fn faults_under_back_pressure_are_reported() {
    let Some(mut bench) = Bench::new(Some(3)) else { return };
    for (port, name) in PORTS {
        bench.fails(Fault { port, after: 11, kind: FaultKind::SlaveError { beat: 2 } }, "SLVERR", name);
    }
    bench.fails(Fault { port: 2, after: 5, kind: FaultKind::EarlyLast { beat: 3 } }, "RLAST", PORTS[2].1);
}
