//! `top_k` against a sort: random streams of four ports, ties, NaN, infinities, rows behind the matrix.

mod common;

use edgewen_rtl::Model;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

const PORTS: usize = 4;

struct Case {
    name: &'static str,
    /// Rows of the matrix; the last block may have more.
    rows: u32,
    blocks: [u32; PORTS],
    channels: u32,
    value: fn(&mut Pcg64Mcg, u32) -> u32,
}

fn random_number(random: &mut Pcg64Mcg, _: u32) -> u32 {
    (random.next_u32() as i32 as f32 * 1e-6).to_bits()
}

/// Few values, so that most rows tie, among them all that are special.
fn special(random: &mut Pcg64Mcg, _: u32) -> u32 {
    let values =
        [0, 1, 0x8000_0001, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0x3f80_0000, 0xbf80_0000, 0x007f_ffff];
    values[random.next_u32() as usize % values.len()]
}

fn descending(_: &mut Pcg64Mcg, row: u32) -> u32 {
    (-(row as f32)).to_bits()
}

fn ascending(_: &mut Pcg64Mcg, row: u32) -> u32 {
    (row as f32 - 100.0).to_bits()
}

const CASES: &[Case] = &[
    Case { name: "random", rows: 640, blocks: [10, 10, 10, 10], channels: 16, value: random_number },
    Case { name: "uneven", rows: 203, blocks: [0, 7, 1, 5], channels: 16, value: random_number },
    Case { name: "special", rows: 330, blocks: [5, 5, 5, 6], channels: 16, value: special },
    Case { name: "fewer than entries", rows: 9, blocks: [1, 0, 0, 0], channels: 16, value: special },
    Case { name: "descending", rows: 400, blocks: [6, 6, 6, 7], channels: 16, value: descending },
    Case { name: "ascending", rows: 400, blocks: [6, 6, 6, 7], channels: 16, value: ascending },
];

const MACRO_CASES: &[Case] =
    &[Case { name: "macro", rows: 157, blocks: [5, 5, 5, 5], channels: 8, value: random_number }];

/// The order of the list: larger is better.
fn rank(bits: u32) -> u32 {
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn start(model: &mut Model, case: &Case) -> [u32; PORTS] {
    let mut first = [0; PORTS];
    let mut sum = 0;
    for (port, &blocks) in case.blocks.iter().enumerate() {
        first[port] = sum;
        model.set_bits("blocks_i", 16 * port as u32, 16, blocks.into());
        model.set_bits("first_block_i", 18 * port as u32, 18, sum.into());
        sum += blocks;
    }
    model.set("rows_i", case.rows.into());
    model.set("start_i", 1);
    model.clock();
    model.set("start_i", 0);
    assert_eq!(model.get("done_o"), 0);
    first
}

fn run(model: &mut Model, case: &Case, random: &mut Pcg64Mcg, rate: u32) {
    let first = start(model, case);
    let mut expected = Vec::new();
    let mut streams: [Vec<(u32, u32, bool)>; PORTS] = Default::default();
    for port in 0..PORTS {
        for block in 0..case.blocks[port] {
            for channel in 0..case.channels {
                let row = (first[port] + block) * case.channels + channel;
                let value = (case.value)(random, row);
                streams[port].push((value, channel, channel + 1 == case.channels));
                if row < case.rows {
                    expected.push((rank(value), !row, value));
                }
            }
        }
        streams[port].reverse();
    }
    let mut cycles = 0;
    let results: usize = streams.iter().map(Vec::len).sum();
    let mut offered = [false; PORTS];
    while streams.iter().any(|stream| !stream.is_empty()) {
        let mut valid = 0;
        for port in 0..PORTS {
            offered[port] |= random.next_u32() % 256 < rate;
            let Some(&(value, channel, last)) = streams[port].last().filter(|_| offered[port]) else {
                continue;
            };
            valid |= 1 << port;
            model.set_bits("res_data_i", 32 * port as u32, 32, value.into());
            model.set_bits("res_channel_i", 4 * port as u32, 4, channel.into());
            model.set_bits("res_last_i", port as u32, 1, last.into());
        }
        model.set("res_valid_i", valid);
        model.eval();
        let taken = valid & model.get("res_ready_o");
        for port in (0..PORTS).filter(|port| taken >> port & 1 == 1) {
            streams[port].pop();
            offered[port] = false;
        }
        model.clock();
        cycles += 1;
        assert_eq!(model.get("done_o"), 0);
    }
    model.set("res_valid_i", 0);
    let waited = (0..200).find(|_| {
        model.clock();
        model.get("done_o") == 1
    });
    let waited = waited.unwrap_or_else(|| panic!("{}: not done", case.name));
    if rate == 256 {
        // A candidate a cycle, then the way through the list.
        assert!(cycles + waited < results + 45, "{}: {cycles} + {waited} for {results}", case.name);
    }

    expected.sort_unstable_by(|a, b| b.cmp(a));
    expected.truncate(32);
    assert_eq!(model.get("count_o"), expected.len() as u64, "{}", case.name);
    for (index, &(_, not_row, value)) in expected.iter().enumerate() {
        model.set("read_index_i", index as u64);
        model.clock();
        model.clock();
        let found = (model.get("read_value_o") as u32, model.get("read_row_o") as u32);
        assert_eq!(found, (value, !not_row), "{}: entry {index}", case.name);
    }
}

#[test]
fn keeps_the_best_in_order() {
    let Some(mut model) = common::model("top_k", &[]) else { return };
    model.reset(2);
    let mut random = Pcg64Mcg::seed_from_u64(21);
    for case in CASES {
        for rate in [256, 100, 12] {
            run(&mut model, case, &mut random, rate);
        }
    }
}

#[test]
fn knows_blocks_of_eight_rows() {
    let Some(mut model) = common::model("top_k", &[("Layout", "1")]) else { return };
    model.reset(2);
    for case in MACRO_CASES {
        run(&mut model, case, &mut Pcg64Mcg::seed_from_u64(22), 100);
    }
}

#[test]
fn begins_anew_after_a_reset_in_mid_stream() {
    let Some(mut model) = common::model("top_k", &[]) else { return };
    model.reset(2);
    start(&mut model, &CASES[0]);
    model.set("res_valid_i", 15);
    (0..50).for_each(|_| model.clock());
    model.set("res_valid_i", 0);
    model.reset(1);
    assert_eq!(model.get("count_o"), 0);
    run(&mut model, &CASES[1], &mut Pcg64Mcg::seed_from_u64(23), 256);
}
