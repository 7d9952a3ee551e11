//! `group_buffer` against an array: groups and segments, written and read at once.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use edgewen_rtl::Model;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng;

const TOKENS: usize = 4;
const LANES: usize = TOKENS / 2;

/// Sums of a bank, [quad][token][channel of the quad].
type Sums = [[[i64; 4]; TOKENS]; 4];

/// Writes the tiles of a group in order, while every slot of the other bank is read and compared.
fn group(model: &mut Model, random: &mut Pcg64Mcg, bank: u64, planes: usize, other: &Sums) -> Sums {
    let mut sums = Sums::default();
    let mut slots = (0..32usize).chain([32, 32]);
    let mut owed = [None; 2];
    for tile in 0..planes * 32 {
        let (plane, line, quad) = (tile / 32, tile / 4 % 8, tile % 4);
        let extreme = random.next_u32().is_multiple_of(4);
        for (token, sums) in sums[quad].iter_mut().enumerate() {
            for pair in 0..2 {
                let lane = |random: &mut Pcg64Mcg| match extreme {
                    true => [15_240, -15_360][random.next_u32() as usize % 2],
                    false => i64::from(random.next_u32() % 30_600) - 15_360,
                };
                let (low, high) = (lane(random), lane(random));
                let packed = (high << 20) + low;
                model.set_bits("sum_i", (token * 2 + pair) as u32 * 38, 38, packed as u64 & ((1 << 38) - 1));
                for (channel, value) in [(2 * pair, low), (2 * pair + 1, high)] {
                    let sum = &mut sums[channel];
                    *sum = if plane == 1 && line == 0 { *sum * 16 } else { *sum } + value;
                }
            }
        }
        model.set("valid_i", 1);
        model.set("bank_i", bank);
        model.set("quad_i", quad as u64);
        model.set("first_line_i", u64::from(tile < 4));
        model.set("low_plane_i", u64::from(plane == 1 && line == 0));
        let slot =
            if random.next_u32().is_multiple_of(8) { None } else { slots.next() }.filter(|&slot| slot < 32);
        clock(model, slot, bank ^ 1, &mut owed, other);
        if random.next_u32().is_multiple_of(4) {
            model.set("valid_i", 0);
            clock(model, None, bank ^ 1, &mut owed, other);
        }
    }
    model.set("valid_i", 0);
    for slot in slots.filter(|&slot| slot < 32).map(Some).chain([None, None]) {
        clock(model, slot, bank ^ 1, &mut owed, other);
    }
    sums
}

/// Reads a slot, perhaps, and compares the one of 2 cycles ago.
fn clock(model: &mut Model, slot: Option<usize>, bank: u64, owed: &mut [Option<usize>; 2], other: &Sums) {
    let number = slot.unwrap_or(0) as u64;
    model.set("read_en_i", u64::from(slot.is_some()) | u64::from(owed[0].is_some()) << 1);
    model.set("read_bank_i", bank);
    model.set("read_quad_i", number >> 3);
    model.set("read_channel_i", number >> 1 & 3);
    model.set("read_token_i", number & 1);
    model.clock();
    *owed = [slot, owed[0]];
    if let Some(slot) = owed[1] {
        for lane in 0..LANES {
            let found = (model.get_bits("dot_o", lane as u32 * 22, 22) << 42) as i64 >> 42;
            let expected = other[slot >> 3][2 * lane + (slot & 1)][slot >> 1 & 3];
            assert_eq!(found, expected, "slot {slot} of lane {lane}");
        }
    }
}

#[test]
fn sums_groups_and_segments() {
    let Some(mut model) = common::model("group_buffer", &[("Tokens", "4")]) else { return };
    let mut random = pipeline::random(6);
    model.set("token_en_i", 15);
    let mut last = Sums::default();
    // Nothing was written yet, so nothing is compared.
    for quad in 0..4 {
        model.set("valid_i", 1);
        model.set("bank_i", 1);
        model.set("quad_i", quad);
        model.set("first_line_i", 1);
        model.clock();
    }
    for index in 0..60 {
        let planes = 1 + (random.next_u32() & 1) as usize;
        last = group(&mut model, &mut random, index & 1, planes, &last);
    }
}
