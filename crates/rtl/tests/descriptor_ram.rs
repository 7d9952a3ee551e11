//! `descriptor_ram` against an array: every port sees the same words, 2 cycles late.

mod common;

use std::collections::VecDeque;

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

const WORDS: usize = 16 * 16;

#[test]
fn every_port_reads_what_the_host_wrote() {
    let Some(mut model) = common::model("descriptor_ram", &[("Entries", "16")]) else { return };
    let mut random = Pcg64Mcg::seed_from_u64(5);
    let mut words = [0_u32; WORDS];
    for (address, word) in words.iter_mut().enumerate() {
        *word = random.next_u32();
        model.set("host_we_i", 1);
        model.set("host_address_i", address as u64);
        model.set("host_wdata_i", u64::from(*word));
        model.set("host_wstrb_i", 15);
        model.clock();
    }
    let reads = ["host_rdata_o", "prefetch_data_o", "sequencer_data_o"];
    // What must be at each output in this cycle and the next.
    let mut due: [VecDeque<Option<u32>>; 3] = std::array::from_fn(|_| VecDeque::from([None]));
    for _ in 0..20_000 {
        let [write, strobes, host] = std::array::from_fn(|_| random.next_u32() as usize % WORDS);
        let writes = random.next_u32().is_multiple_of(2);
        model.set("host_we_i", u64::from(writes));
        model.set("host_wstrb_i", strobes as u64 % 16);
        let data = random.next_u32();
        model.set("host_wdata_i", u64::from(data));
        model.set("host_address_i", if writes { write } else { host } as u64);
        model.set("host_re_i", u64::from(!writes));
        due[0].push_back((!writes).then_some(words[host]));
        for (port, name) in ["prefetch", "sequencer"].into_iter().enumerate() {
            let address = random.next_u32() as usize % WORDS;
            let asks = !random.next_u32().is_multiple_of(4);
            model.set(&format!("{name}_req_i"), u64::from(asks));
            model.set(&format!("{name}_index_i"), address as u64 / 16);
            model.set(&format!("{name}_word_i"), address as u64 % 16);
            // A word that is being written may be the old or the new one.
            let certain = asks && !(writes && address == write);
            due[port + 1].push_back(certain.then_some(words[address]));
        }
        if writes {
            for lane in 0..4 {
                if strobes >> lane & 1 == 1 {
                    let mask = 0xff << (8 * lane);
                    words[write] = words[write] & !mask | data & mask;
                }
            }
        }
        model.clock();
        for (name, due) in reads.iter().zip(&mut due) {
            if let Some(Some(word)) = due.pop_front() {
                assert_eq!(model.get(name), u64::from(word), "{name}");
            }
        }
    }
}
