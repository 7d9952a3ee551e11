//! `scale_lane` against the functional model's own step, slot by slot.

mod common;
#[path = "common/pipeline.rs"]
mod pipeline;

use std::collections::VecDeque;

use edgewen_accel::sim::arith;
use edgewen_rtl::Model;
use pipeline::canonical;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng;

/// Cycles between two slots of an accumulator that the lane needs.
const LOOP: usize = 9;
const LATENCY: usize = 26;

struct Bench {
    model: Model,
    accumulators: [f32; 64],
    scales: VecDeque<u32>,
    random: Pcg64Mcg,
}

impl Bench {
    fn clock(&mut self, address: Option<usize>, first: bool, segments: bool) {
        let bits = self.random.next_u32();
        let zero = (bits & 15) as i32;
        let sum = (bits >> 4 & 0x3fff) as i32 - 8192;
        let dot = self.random.next_u32() as i32 >> if segments { 11 } else { 14 };
        let dot = dot.clamp(-2_088_960, 2_088_960);
        // A dot product that belongs to such a sum: D stays within 21 bits.
        let offset = if segments { 16 * zero * sum } else { zero * sum };
        let exact = (dot - offset).clamp(-2_088_960, 2_088_960);
        let dot = exact + offset;
        let dot = dot.clamp(-(1 << 21), (1 << 21) - 1);
        let exact = dot - offset;
        let activation_scale = match bits >> 30 {
            0 => f32::from_bits(self.random.next_u32() & 0x7fff_ffff).min(f32::MAX),
            _ => (self.random.next_u32() % 1000) as f32 * 1e-3,
        };
        let half = (self.random.next_u32() & 0x7bff) as u16;
        let weight_scale = arith::f16_to_f32(half) / if segments { 16.0 } else { 1.0 };
        self.scales.push_back(weight_scale.to_bits());
        let model = &mut self.model;
        model.set("valid_i", u64::from(address.is_some()));
        model.set("address_i", address.unwrap_or(7) as u64);
        model.set("first_i", u64::from(first));
        model.set("dot_i", u64::from(dot as u32 & 0x3f_ffff));
        model.set("zero_i", zero as u64);
        model.set("segments_i", u64::from(segments));
        model.set("act_sum_i", u64::from(sum as u32 & 0x3fff));
        model.set("act_scale_i", u64::from(activation_scale.to_bits()));
        let scale = self.scales.pop_front().expect("two are ahead");
        model.set("weight_scale_i", u64::from(scale));
        model.clock();
        if let Some(address) = address {
            let before = if first { 0.0 } else { self.accumulators[address] };
            self.accumulators[address] = arith::scale_step(before, exact, weight_scale, activation_scale);
        }
    }

    fn check(&mut self) {
        for _ in 0..LATENCY {
            self.clock(None, false, false);
        }
        for (address, value) in self.accumulators.iter().enumerate() {
            self.model.set("read_address_i", address as u64);
            self.model.eval();
            assert_eq!(self.model.get("read_data_o") as u32, canonical(*value), "accumulator {address}");
        }
    }
}

#[test]
fn accumulates_like_the_functional_model() {
    let Some(mut model) = common::model("scale_lane", &[]) else { return };
    model.reset(2);
    let mut bench =
        Bench { model, accumulators: [0.0; 64], scales: VecDeque::from([0, 0]), random: pipeline::random(3) };
    // As the groups of a block: every accumulator once a round, in order.
    for segments in [false, true] {
        for round in 0..12 {
            for address in 0..64 {
                bench.clock(Some(address), round % 6 == 0, segments);
                if bench.random.next_u32().is_multiple_of(8) {
                    bench.clock(None, false, segments);
                }
            }
            // The flag belongs to an operation: it does not change while slots are on their way.
            bench.check();
        }
    }
    // As fast as one accumulator allows.
    for round in 0..40 {
        bench.clock(Some(5), round == 0, false);
        for _ in 1..LOOP {
            bench.clock(None, false, false);
        }
    }
    bench.check();
}

#[test]
fn tells_when_the_last_slot_is_in() {
    let Some(mut model) = common::model("scale_lane", &[]) else { return };
    model.reset(2);
    for bank in [0, 1] {
        model.set("valid_i", 1);
        model.set("end_i", 1);
        model.set("address_i", bank << 5 | 30);
        model.clock();
        model.set("valid_i", 0);
        model.set("end_i", 0);
        let after = (1..40).find(|_| {
            let end = model.get("end_o") == 1;
            if !end {
                model.clock();
            }
            end
        });
        assert_eq!((after, model.get("end_bank_o")), (Some(LATENCY), bank));
        model.clock();
    }
    // A reset on the way: it never comes.
    model.set("valid_i", 1);
    model.set("end_i", 1);
    model.clock();
    model.set("valid_i", 0);
    model.reset(1);
    for _ in 0..40 {
        assert_eq!(model.get("end_o"), 0);
        model.clock();
    }
}
