//! The slaves against a master that is played by the test: good behavior is served, bad behavior is seen.

use std::sync::{Arc, Mutex};

use edgewen_accel::host::{BusError, Memory};
use edgewen_accel::memory::{DataRate, MemoryConfig};

use super::*;
use crate::model::{Model, PortId};
use crate::sources::Source;

/// Connects every signal of the master to one that the test sets.
const PROBE: &str = "
module probe (
  input logic clk_i,
  input logic t_arvalid, input logic [39:0] t_araddr, input logic [7:0] t_arlen, input logic [2:0] t_arsize,
  input logic t_rready, input logic t_awvalid, input logic [39:0] t_awaddr, input logic [7:0] t_awlen,
  input logic t_wvalid, input logic [127:0] t_wdata, input logic [15:0] t_wstrb, input logic t_wlast,
  input logic t_bready,
  output logic m_arvalid, input logic m_arready, output logic [39:0] m_araddr, output logic [7:0] m_arlen,
  output logic m_arid, output logic [2:0] m_arsize, output logic [1:0] m_arburst,
  input logic m_rvalid, output logic m_rready, input logic [127:0] m_rdata, input logic [1:0] m_rresp, input logic m_rlast,
  output logic m_awvalid, input logic m_awready, output logic [39:0] m_awaddr, output logic [7:0] m_awlen,
  output logic m_awid, output logic [2:0] m_awsize, output logic [1:0] m_awburst,
  output logic m_wvalid, input logic m_wready, output logic [127:0] m_wdata, output logic [15:0] m_wstrb,
  output logic m_wlast, input logic m_bvalid, output logic m_bready, input logic [1:0] m_bresp
);
  assign {m_arvalid, m_araddr, m_arlen, m_arsize, m_rready} = {t_arvalid, t_araddr, t_arlen, t_arsize, t_rready};
  assign {m_arid, m_arburst, m_awid, m_awburst, m_awsize} = {1'b0, 2'b01, 1'b0, 2'b01, 3'd4};
  assign {m_awvalid, m_awaddr, m_awlen, m_bready} = {t_awvalid, t_awaddr, t_awlen, t_bready};
  assign {m_wvalid, m_wdata, m_wstrb, m_wlast} = {t_wvalid, t_wdata, t_wstrb, t_wlast};
endmodule";

/// 64 KiB at address 0, readable everywhere, writable from 4 KiB on.
#[derive(Clone)]
struct Plain(Arc<Mutex<Vec<u8>>>);

impl Memory for Plain {
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), BusError> {
        let bytes = self.0.lock().unwrap();
        out.copy_from_slice(
            bytes.get(address as usize..address as usize + out.len()).ok_or(BusError::Decode)?,
        );
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), BusError> {
        if address < 4096 {
            return Err(BusError::Slave);
        }
        let mut bytes = self.0.lock().unwrap();
        let target =
            bytes.get_mut(address as usize..address as usize + data.len()).ok_or(BusError::Decode)?;
        target.copy_from_slice(data);
        Ok(())
    }
}

struct Bench {
    model: Model,
    clock: PortId,
    timing: Timing,
    read: ReadPort,
    write: WritePort,
    memory: Plain,
}

/// What was seen of the slaves in one clock: the handshakes.
#[derive(Debug, Default)]
struct Seen {
    ar: bool,
    /// Data's lowest byte, response, last.
    r: Option<(u64, u64, bool)>,
    aw: bool,
    w: bool,
    b: Option<u64>,
}

impl Bench {
    fn new(timing: &MemoryTiming) -> Option<Self> {
        let builder = Model::builder("probe").sources(vec![Source::new("probe.sv", PROBE)]);
        let model = match builder.build() {
            Ok(model) => model,
            Err(error) if error.is_missing_tool() && std::env::var("CI").as_deref() != Ok("true") => {
                eprintln!("skipped: {error}");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let bytes = (0..65536u32).map(|address| (address / 16) as u8).collect();
        Some(Self {
            clock: model.port("clk_i"),
            timing: Timing::new(timing),
            read: ReadPort::new(&model, 0, "m_"),
            write: WritePort::new(&model, 4, "m_"),
            memory: Plain(Arc::new(Mutex::new(bytes))),
            model,
        })
    }

    fn set(&mut self, signals: &[(&str, u64)]) {
        for (name, value) in signals {
            self.model.set(&format!("t_{name}"), *value);
        }
    }

    fn clock(&mut self) -> Result<Seen, String> {
        self.timing.tick();
        self.read.drive(&mut self.model, &self.timing);
        self.write.drive(&mut self.model, &self.timing, &mut self.memory);
        self.model.low(self.clock);
        let model = &self.model;
        let both = |a: &str, b: &str| model.get(a) & model.get(b) == 1;
        let r = (model.get("m_rdata") & 0xff, model.get("m_rresp"), model.get("m_rlast") == 1);
        let seen = Seen {
            ar: both("m_arvalid", "m_arready"),
            r: both("m_rvalid", "m_rready").then_some(r),
            aw: both("m_awvalid", "m_awready"),
            w: both("m_wvalid", "m_wready"),
            b: both("m_bvalid", "m_bready").then(|| model.get("m_bresp")),
        };
        self.read.sample(&self.model, &mut self.timing, &self.memory)?;
        self.write.sample(&self.model, &mut self.timing)?;
        self.model.high(self.clock);
        Ok(seen)
    }

    /// Asks for one burst and takes `beats` beats of it.
    fn burst(&mut self, address: u64, len: u64, beats: usize) -> Result<Vec<(u64, u64, bool)>, String> {
        self.set(&[("arvalid", 1), ("araddr", address), ("arlen", len), ("arsize", 4), ("rready", 1)]);
        let mut taken = Vec::new();
        for _ in 0..5000 {
            let seen = self.clock()?;
            if seen.ar {
                self.set(&[("arvalid", 0)]);
            }
            taken.extend(seen.r);
            if taken.len() == beats {
                break;
            }
        }
        Ok(taken)
    }

    /// Asks for one burst of `data` and waits for its response.
    fn store(&mut self, address: u64, data: &[u64], strobe: u64) -> Result<Option<u64>, String> {
        self.set(&[("awvalid", 1), ("awaddr", address), ("awlen", data.len() as u64 - 1), ("bready", 1)]);
        let mut next = 0;
        for _ in 0..5000 {
            if next < data.len() {
                let last = u64::from(next + 1 == data.len());
                self.set(&[("wvalid", 1), ("wdata", data[next]), ("wstrb", strobe), ("wlast", last)]);
            } else {
                self.set(&[("wvalid", 0)]);
            }
            let seen = self.clock()?;
            next += usize::from(seen.w);
            if seen.aw {
                self.set(&[("awvalid", 0)]);
            }
            if seen.b.is_some() {
                assert_eq!(next, data.len(), "the response comes after the data");
                return Ok(seen.b);
            }
        }
        Ok(None)
    }
}

fn timings() -> [MemoryTiming; 3] {
    [
        MemoryTiming::Board(MemoryConfig::kv260(DataRate::Mts2133, 300.0)),
        MemoryTiming::Random { seed: 1, pl_mhz: 300.0 },
        MemoryTiming::Random { seed: 2, pl_mhz: 300.0 },
    ]
}

#[test]
fn serves_reads_in_order() {
    for timing in timings() {
        let Some(mut bench) = Bench::new(&timing) else { return };
        for (address, beats) in [(0x1000, 16), (0x2010, 1), (0x3f0, 3)] {
            let taken = bench.burst(address, beats - 1, beats as usize).unwrap();
            let expected: Vec<_> =
                (0..beats).map(|beat| ((address / 16 + beat) & 0xff, 0, beat + 1 == beats)).collect();
            assert_eq!(taken, expected, "{timing:?}");
        }
        let taken = bench.burst(0x1_0000, 0, 1).unwrap();
        assert_eq!(taken[0].1, 3, "nothing lies there");
    }
}

#[test]
fn serves_writes() {
    for timing in timings() {
        let Some(mut bench) = Bench::new(&timing) else { return };
        assert_eq!(bench.store(0x2000, &[7; 16], 0xffff), Ok(Some(0)));
        assert_eq!(bench.store(0x2010, &[9, 8], 0xfffe), Ok(Some(0)));
        assert_eq!(bench.store(0x100, &[1], 0xffff), Ok(Some(2)), "read only");
        assert_eq!(bench.store(0x1_0000, &[1], 0xffff), Ok(Some(3)), "nothing lies there");
        let bytes = bench.memory.0.lock().unwrap();
        let seen = [0x2000, 0x2010, 0x2011, 0x2020, 0x2030, 0x20f0].map(|address: usize| bytes[address]);
        assert_eq!(seen, [7, 7, 0, 7, 7, 7], "{timing:?}");
    }
}

#[test]
fn makes_faults() {
    let Some(mut bench) = Bench::new(&timings()[0]) else { return };
    bench.read.add_fault(1, FaultKind::SlaveError { beat: 2 });
    bench.read.add_fault(2, FaultKind::EarlyLast { beat: 1 });
    bench.read.add_fault(3, FaultKind::MissingLast);
    bench.read.add_fault(4, FaultKind::NoAnswer);
    let mut ends = |beats| -> Vec<(u64, bool)> {
        bench.burst(0x1000, 3, beats).unwrap().iter().map(|&(_, response, last)| (response, last)).collect()
    };
    assert_eq!(ends(4), [(0, false), (0, false), (0, false), (0, true)]);
    assert_eq!(ends(4), [(0, false), (0, false), (2, false), (2, true)]);
    assert_eq!(ends(2), [(0, false), (0, true)]);
    assert_eq!(ends(4), [(0, false); 4]);
    assert_eq!(ends(1), []);
    assert_eq!(ends(1), [], "the port is dead");
    bench.read.soft_reset();
    assert_eq!(bench.burst(0x1000, 3, 4).unwrap().len(), 4);
    bench.write.add_fault(0, FaultKind::DecodeError { beat: 0 });
    bench.write.add_fault(1, FaultKind::NoAnswer);
    assert_eq!(bench.store(0x2000, &[7; 2], 0xffff), Ok(Some(3)));
    assert_eq!(bench.memory.0.lock().unwrap()[0x2000], 0, "a failed write writes nothing");
    assert_eq!(bench.store(0x2000, &[7; 2], 0xffff), Ok(None));
    bench.write.soft_reset();
    assert_eq!(bench.store(0x2000, &[7; 2], 0xffff), Ok(Some(0)));
}

#[test]
fn sees_broken_rules() {
    type Signals = &'static [(&'static str, u64)];
    let cases: [(&str, Signals, Signals); 8] = [
        ("4 KiB", &[("arvalid", 1), ("araddr", 0xff0), ("arlen", 1), ("arsize", 4)], &[]),
        ("16 beats", &[("arvalid", 1), ("araddr", 0), ("arlen", 16), ("arsize", 4)], &[]),
        ("within a beat", &[("arvalid", 1), ("araddr", 8), ("arlen", 0), ("arsize", 4)], &[]),
        ("incrementing", &[("arvalid", 1), ("araddr", 0), ("arlen", 0), ("arsize", 3)], &[]),
        ("wlast", &[("awvalid", 1), ("awaddr", 0x2000), ("awlen", 1), ("wvalid", 1), ("wlast", 1)], &[]),
        ("arvalid fell", &[("arvalid", 1), ("arsize", 4)], &[("arvalid", 0)]),
        ("changed", &[("awvalid", 1), ("awaddr", 0x2000)], &[("awaddr", 0x2010)]),
        ("wvalid fell", &[("wvalid", 1)], &[("wvalid", 0)]),
    ];
    for (rule, before, after) in cases {
        // In random timing a ready is low often enough for what must be held to be seen.
        let mut found = false;
        for seed in 0..20 {
            let timing = MemoryTiming::Random { seed, pl_mhz: 300.0 };
            let Some(mut bench) = Bench::new(&timing) else { return };
            bench.set(before);
            let mut results = vec![bench.clock()];
            bench.set(after);
            results.extend((0..if after.is_empty() { 200 } else { 1 }).map(|_| bench.clock()));
            found |= results.into_iter().any(|result| result.is_err_and(|text| text.contains(rule)));
        }
        assert!(found, "{rule}");
    }
}
