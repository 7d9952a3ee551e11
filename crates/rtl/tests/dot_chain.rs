//! `dot_chain` against plain sums, with operands skewed as it wants them, and its lanes after a whole group.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use edgewen_rtl::Model;
use rand_pcg::rand_core::Rng;

/// 8 inputs: the weights of two channels and an activation each.
type Operands = [(u8, u8, i8); 8];

const LATENCY: usize = 10;

/// The two lanes of a sum of 38 bits.
fn lanes(sum: u64) -> (i64, i64) {
    let sum = (sum << 26) as i64 >> 26;
    (sum << 44 >> 44, (sum >> 20) + (sum >> 19 & 1))
}

fn plain(operands: &Operands) -> (i64, i64) {
    let sum = |weight: &dyn Fn(&(u8, u8, i8)) -> u8| {
        operands.iter().map(|input| i64::from(weight(input)) * i64::from(input.2)).sum()
    };
    (sum(&|input| input.0), sum(&|input| input.1))
}

/// Gives all operands, one set a cycle, and returns the sum of each.
fn run(model: &mut Model, all: &[Operands], mut stop: impl FnMut() -> bool) -> Vec<u64> {
    let mut sums = Vec::new();
    for cycle in 0..all.len() + LATENCY {
        let (mut weights, mut activations) = (0, 0);
        for i in 0..8 {
            let Some(operands) = cycle.checked_sub(i).and_then(|index| all.get(index)) else { continue };
            let (weight0, weight1, activation) = operands[i];
            weights |= u64::from(weight1 << 4 | weight0) << (8 * i);
            activations |= u64::from(activation as u8) << (8 * i);
        }
        model.set("weight_i", weights);
        model.set("activation_i", activations);
        while stop() {
            model.set("en_i", 0);
            model.clock();
        }
        model.set("en_i", 1);
        model.clock();
        if cycle + 1 >= LATENCY && sums.len() < all.len() {
            sums.push(model.get("sum_o"));
        }
    }
    sums
}

#[test]
fn sums_the_products_of_8_inputs() {
    let Some(mut model) = common::model("dot_chain", &[]) else { return };
    let mut random = pipeline::random(1);
    let all: Vec<Operands> = (0..2000)
        .map(|_| {
            std::array::from_fn(|_| {
                let bits = random.next_u32();
                (bits as u8 & 15, (bits >> 4) as u8 & 15, (bits >> 8) as i8)
            })
        })
        .collect();
    let sums = run(&mut model, &all, || random.next_u32().is_multiple_of(4));
    for (operands, &sum) in all.iter().zip(&sums) {
        assert_eq!(lanes(sum), plain(operands), "{operands:?}");
    }
}

#[test]
fn lanes_stay_apart_for_the_largest_sums_of_64() {
    let Some(mut model) = common::model("dot_chain", &[]) else { return };
    for weights in [(15, 15), (15, 0), (0, 15), (15, 1)] {
        for activation in [-128, -127, 127] {
            let operands = [(weights.0, weights.1, activation); 8];
            let sums = run(&mut model, &[operands; 8], || false);
            let total = sums.iter().fold(0u64, |total, sum| total.wrapping_add(*sum)) & ((1 << 38) - 1);
            let plain = |weight: u8| 64 * i64::from(weight) * i64::from(activation);
            assert_eq!(lanes(total), (plain(weights.0), plain(weights.1)), "{weights:?} {activation}");
        }
    }
}
