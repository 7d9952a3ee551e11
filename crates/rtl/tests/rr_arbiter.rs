//! `rr_arbiter`: no word is lost or doubled, and nobody waits for more than one word of each other stream.

mod common;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

const INPUTS: usize = 4;

#[test]
fn serves_every_stream_fairly() {
    let Some(mut model) = common::model("rr_arbiter", &[("NumIn", "4"), ("Width", "16")]) else { return };
    model.reset(2);
    let mut random = Pcg64Mcg::seed_from_u64(9);
    for rates in [[256, 256, 256, 256], [256, 10, 10, 10], [128, 128, 40, 0], [30, 60, 90, 120]] {
        let mut next = [0_u64; INPUTS];
        let mut offered = [false; INPUTS];
        let mut passed_over = [0; INPUTS];
        let mut served = [0_u32; INPUTS];
        for _ in 0..20_000 {
            for input in 0..INPUTS {
                offered[input] |= random.next_u32() % 256 < rates[input];
                model.set_bits("data_i", 16 * input as u32, 16, (next[input] % 4096) << 4 | input as u64);
            }
            let valid = offered.iter().enumerate().fold(0, |bits, (i, &on)| bits | u64::from(on) << i);
            let ready = !random.next_u32().is_multiple_of(4);
            model.set("valid_i", valid);
            model.set("ready_i", u64::from(ready));
            model.eval();
            assert_eq!(model.get("valid_o") == 1, valid != 0);
            if ready && valid != 0 {
                let index = model.get("index_o") as usize;
                assert_eq!(model.get("ready_o"), 1 << index);
                assert_eq!(model.get("data_o"), (next[index] % 4096) << 4 | index as u64);
                assert!(offered[index]);
                for input in 0..INPUTS {
                    passed_over[input] =
                        if offered[input] && input != index { passed_over[input] + 1 } else { 0 };
                    assert!(passed_over[input] < INPUTS, "input {input} starves");
                }
                next[index] += 1;
                served[index] += 1;
                offered[index] = false;
            } else {
                assert_eq!(model.get("ready_o"), 0);
            }
            model.clock();
        }
        if rates == [256; INPUTS] {
            let (least, most) = (served.iter().min(), served.iter().max());
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{served:?}");
        }
    }
}
