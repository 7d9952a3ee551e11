//! `activation_buffer` against arrays: lines with their skew, and the side data of slots.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use rand_pcg::rand_core::Rng;

const TOKENS: usize = 4;
const GROUPS: usize = 6;

#[test]
fn returns_lines_and_side_data() {
    let Some(mut model) = common::model("activation_buffer", &[("Tokens", "4"), ("MaxGroups", "6")]) else {
        return;
    };
    let mut random = pipeline::random(12);
    let codes = [(); TOKENS].map(|()| [(); 64 * GROUPS].map(|()| random.next_u32() as u8));
    let sides = [(); TOKENS].map(|()| [(); GROUPS].map(|()| (random.next_u32(), random.next_u32() & 0x3fff)));
    model.set("code_we_i", 1);
    for (token, codes) in codes.iter().enumerate() {
        model.set("code_token_i", token as u64);
        for (beat, bytes) in codes.chunks(16).enumerate() {
            model.set("code_beat_i", beat as u64);
            let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four of them"));
            model.set_words("code_data_i", &bytes.chunks(4).map(word).collect::<Vec<_>>());
            model.clock();
        }
    }
    // A token that the buffer does not have is ignored.
    model.set("code_token_i", 7);
    model.set("code_beat_i", 0);
    model.clock();
    model.set("code_we_i", 0);
    model.set("side_we_i", 1);
    for (token, sides) in sides.iter().enumerate() {
        model.set("side_token_i", token as u64);
        for (pair, sides) in sides.chunks(2).enumerate() {
            model.set("side_pair_i", pair as u64);
            // Of the sum only 14 bits count: the rest is its sign.
            let words: Vec<u32> = sides.iter().flat_map(|&(scale, sum)| [scale, sum | 0xffff_c000]).collect();
            model.set_words("side_data_i", &words);
            model.clock();
        }
    }
    model.set("side_we_i", 0);

    model.set("token_en_i", (1 << TOKENS) - 1);
    model.set("move_i", 1);
    let cycles = 2000;
    let lines: Vec<Option<usize>> = (0..cycles)
        .map(|_| Some(random.next_u32() as usize % 64).filter(|&line| line < 8 * GROUPS))
        .collect();
    let slots: Vec<Option<usize>> = (0..cycles)
        .map(|_| Some(random.next_u32() as usize % 16).filter(|&slot| slot < 2 * GROUPS))
        .collect();
    for cycle in 0..cycles {
        let line = lines[cycle].unwrap_or(1) as u64;
        model.set("line_en_i", u64::from(lines[cycle].is_some()));
        model.set("line_group_i", line / 8);
        model.set("line_i", line % 8);
        let slot = slots[cycle].unwrap_or(1) as u64;
        model.set("side_en_i", u64::from(slots[cycle].is_some()));
        model.set("side_group_i", slot / 2);
        model.set("side_slot_i", slot % 2);
        model.clock();
        for (token, codes) in codes.iter().enumerate() {
            for i in 0..8 {
                let Some(line) = (cycle + 1).checked_sub(2 + i).and_then(|at| lines[at]) else { continue };
                let found = model.get_bits("activation_o", (64 * token + 8 * i) as u32, 8) as u8;
                assert_eq!(found, codes[8 * line + i], "token {token} line {line} input {i}");
            }
        }
        let Some(slot) = cycle.checked_sub(1).and_then(|at| slots[at]) else { continue };
        for lane in 0..TOKENS / 2 {
            let found = (
                model.get_bits("scale_o", 32 * lane as u32, 32) as u32,
                model.get_bits("sum_o", 14 * lane as u32, 14) as u32,
            );
            assert_eq!(found, sides[2 * lane + slot % 2][slot / 2], "lane {lane} slot {slot}");
        }
    }
}
