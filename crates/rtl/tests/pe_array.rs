//! `pe_array` against plain sums for every channel and token.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use rand_pcg::rand_core::Rng;

const TOKENS: usize = 4;
const DISABLED: usize = 2;
const LATENCY: usize = 10;

#[test]
fn multiplies_a_tile_with_every_token() {
    let Some(mut model) = common::model("pe_array", &[("Tokens", "4")]) else { return };
    let mut random = pipeline::random(4);
    let cycles = 600;
    // [cycle][channel][input] and [cycle][token][input]
    let tiles: Vec<[[u8; 8]; 4]> =
        (0..cycles).map(|_| [(); 4].map(|()| [(); 8].map(|()| random.next_u32() as u8 & 15))).collect();
    let activations: Vec<[[i8; 8]; TOKENS]> =
        (0..cycles).map(|_| [(); TOKENS].map(|()| [(); 8].map(|()| random.next_u32() as i8))).collect();
    model.set("en_i", 1);
    model.set("token_en_i", 0b1111 & !(1 << DISABLED));
    let mut stopped = None;
    for cycle in 0..cycles + LATENCY {
        let tile: [u32; 4] = std::array::from_fn(|channel| {
            let codes = tiles.get(cycle).map_or([0; 8], |tile| tile[channel]);
            codes.iter().enumerate().map(|(i, &code)| u32::from(code) << (4 * i)).sum()
        });
        model.set_words("tile_i", &tile);
        // The skew that the activation buffer makes.
        let mut words = [0u32; 2 * TOKENS];
        for token in 0..TOKENS {
            for i in 0..8 {
                let line = cycle.checked_sub(i).and_then(|at| activations.get(at));
                let code = line.map_or(0, |line| line[token][i] as u8);
                words[2 * token + i / 4] |= u32::from(code) << (8 * (i % 4));
            }
        }
        model.set_words("activation_i", &words);
        model.clock();
        let Some(at) = (cycle + 1).checked_sub(LATENCY).filter(|&at| at < cycles) else { continue };
        for (token, activations) in activations[at].iter().enumerate() {
            let pairs = [0, 1].map(|pair| model.get_bits("sum_o", (token * 2 + pair) as u32 * 38, 38));
            if token == DISABLED {
                assert_eq!(*stopped.get_or_insert(pairs), pairs, "a token that is not enabled moves");
                continue;
            }
            for (channel, codes) in tiles[at].iter().enumerate() {
                let sum = pairs[channel / 2] as i64;
                let found =
                    if channel % 2 == 0 { sum << 44 >> 44 } else { (sum << 26 >> 46) + (sum >> 19 & 1) };
                let products = codes.iter().zip(activations);
                let expected: i64 = products.map(|(&code, &x)| i64::from(code) * i64::from(x)).sum();
                assert_eq!(found, expected, "tile {at} token {token} channel {channel}");
            }
        }
    }
}
