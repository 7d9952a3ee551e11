//! `group_accumulate`: whole blocks for 4 tokens, slot after slot, against the functional model's step.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use edgewen_accel::sim::arith;
use pipeline::canonical;
use rand_pcg::rand_core::Rng;

const TOKENS: usize = 4;
const LANES: usize = TOKENS / 2;

#[test]
fn accumulates_blocks_of_16_channels() {
    let Some(mut model) = common::model("group_accumulate", &[("Tokens", "4")]) else { return };
    model.reset(2);
    let mut random = pipeline::random(21);
    for block in 0..12 {
        let (bank, groups, tokens) = (block % 2, 1 + block % 4, 1 + block as usize % TOKENS);
        let mut sums = [[0.0f32; 16]; TOKENS];
        model.set("token_en_i", (1 << tokens) - 1);
        model.set("segments_i", u64::from(block % 3 == 2));
        for group in 0..groups {
            let mut scale = 0;
            for slot in 0..32usize {
                let (channel, second) = (slot / 2, slot % 2);
                if second == 0 {
                    scale = (random.next_u32() & 0x3fff) as u16;
                }
                let zero = random.next_u32() as i32 & 15;
                model.set("valid_i", 1);
                model.set("token_i", second as u64);
                model.set("channel_i", channel as u64);
                model.set("bank_i", bank);
                model.set("first_i", u64::from(group == 0));
                model.set("end_i", u64::from(group + 1 == groups && channel == 15));
                model.set("scale_i", u64::from(scale));
                model.set("zero_i", zero as u64);
                for lane in 0..LANES {
                    let dot = random.next_u32() as i32 >> 12;
                    let sum = (random.next_u32() as i32 >> 18) / 2;
                    let activation_scale = f32::from_bits(0x3000_0000 | random.next_u32() >> 6);
                    model.set_bits("dot_i", 22 * lane as u32, 22, u64::from(dot as u32 & 0x3f_ffff));
                    model.set_bits("act_sum_i", 14 * lane as u32, 14, u64::from(sum as u32 & 0x3fff));
                    model.set_bits(
                        "act_scale_i",
                        32 * lane as u32,
                        32,
                        u64::from(activation_scale.to_bits()),
                    );
                    let weight = arith::f16_to_f32(scale);
                    let (exact, weight) = match block % 3 {
                        2 => (dot - 16 * zero * sum, weight / 16.0),
                        _ => (dot - zero * sum, weight),
                    };
                    let sum = &mut sums[2 * lane + second][channel];
                    *sum = arith::scale_step(*sum, exact, weight, activation_scale);
                }
                model.clock();
                assert_eq!(model.get("done_o"), 0, "too early");
            }
        }
        model.set("valid_i", 0);
        let waited = (0..60).take_while(|_| {
            let done = model.get("done_o") == 1;
            if !done {
                model.clock();
            }
            !done
        });
        assert!(waited.count() < 60, "block {block} is never done");
        assert_eq!(model.get("done_bank_o"), bank);
        // In the order in which the drain reads them, from this cycle on.
        model.set("read_en_i", 1);
        model.set("read_bank_i", bank);
        for (token, sums) in sums.iter().enumerate().take(tokens) {
            for (channel, sum) in sums.iter().enumerate() {
                model.set("read_token_i", token as u64);
                model.set("read_channel_i", channel as u64);
                model.clock();
                let found = model.get("read_data_o") as u32;
                assert_eq!(found, canonical(*sum), "block {block} token {token} channel {channel}");
            }
        }
        model.set("read_en_i", 0);
    }
}
