//! `perf_counters` against counts kept beside it.

mod common;

use edgewen_rtl::Model;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

const PORTS: usize = 5;

#[derive(Default)]
struct Expected {
    globals: [u64; 4],
    /// Beats, stalls, busy, level, highest level.
    ports: [[u64; 5]; PORTS],
}

fn read(model: &mut Model, offset: u64) -> u64 {
    model.set("word_i", offset / 4);
    model.set("re_i", 1);
    model.clock();
    model.set("re_i", 0);
    model.clock();
    model.get("data_o")
}

fn check(model: &mut Model, expected: &Expected) {
    for (index, &value) in expected.globals.iter().enumerate() {
        assert_eq!(read(model, 0x80 + 4 * index as u64), value, "global {index}");
    }
    for (port, counters) in expected.ports.iter().enumerate() {
        for (index, &value) in counters.iter().enumerate() {
            let offset = 0x100 + 0x20 * port as u64 + 4 * index as u64;
            assert_eq!(read(model, offset), value, "port {port}, counter {index}");
        }
    }
    for offset in [0x90, 0xfc, 0x114, 0x11c, 0x194, 0x1a0, 0x1fc] {
        assert_eq!(read(model, offset), 0, "{offset:#x}");
    }
}

#[test]
fn counts_every_event_while_enabled() {
    let Some(mut model) = common::model("perf_counters", &[]) else { return };
    model.reset(2);
    let mut random = Pcg64Mcg::seed_from_u64(3);
    let mut expected = Expected::default();
    for cycle in 0..20_000 {
        let enabled = cycle % 1000 < 900;
        model.set("enable_i", u64::from(enabled));
        let bit = |random: &mut Pcg64Mcg, rate: u32| u64::from(random.next_u32() % 8 < rate);
        let events = [1, bit(&mut random, 5), bit(&mut random, 3), bit(&mut random, 1)];
        for (name, value) in ["busy_i", "compute_i", "load_i"].iter().zip(&events[1..]) {
            model.set(name, *value);
        }
        for (counter, event) in expected.globals.iter_mut().zip(events) {
            *counter += event * u64::from(enabled);
        }
        for port in 0..PORTS {
            for (index, name) in ["beat_i", "stall_i", "outstanding_i"].iter().enumerate() {
                let event = bit(&mut random, port as u32 + 1);
                model.set_bits(name, port as u32, 1, event);
                expected.ports[port][index] += event * u64::from(enabled);
            }
            if port < 4 {
                let level = u64::from(random.next_u32() % 28_673);
                model.set_bits("level_i", 15 * port as u32, 15, level);
                expected.ports[port][3] = level;
                expected.ports[port][4] = expected.ports[port][4].max(level);
            }
        }
        model.clock();
    }
    for name in ["enable_i", "busy_i", "compute_i", "load_i", "beat_i", "stall_i", "outstanding_i"] {
        model.set(name, 0);
    }
    (0..3).for_each(|_| model.clock());
    check(&mut model, &expected);

    model.set("level_i", 0);
    (0..2).for_each(|_| model.clock());
    model.set("clear_i", 1);
    model.clock();
    model.set("clear_i", 0);
    check(&mut model, &Expected::default());
}
