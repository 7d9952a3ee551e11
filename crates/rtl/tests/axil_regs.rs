//! `axil_regs` over AXI4-Lite: any order of address and data, byte strobes, every kind of register.

mod common;

use edgewen_accel::registers::{REGISTERS, Reset};
use edgewen_rtl::Model;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

struct Bench {
    model: Model,
    random: Pcg64Mcg,
}

impl Bench {
    fn new() -> Option<Self> {
        let mut model = common::model("axil_regs", &[])?;
        model.reset(2);
        Some(Self { model, random: Pcg64Mcg::seed_from_u64(61) })
    }

    fn write(&mut self, offset: u16, value: u32) {
        self.write_bytes(offset, value, 15);
    }

    /// A write with random gaps on all three channels.
    fn write_bytes(&mut self, offset: u16, value: u32, strobes: u64) {
        let [address_at, data_at, answer_at] = std::array::from_fn(|_| self.random.next_u32() % 7);
        let (mut address, mut data) = (false, false);
        for cycle in 0..60 {
            self.model.set("s_axil_awvalid", u64::from(!address && cycle >= address_at));
            self.model.set("s_axil_awaddr", u64::from(offset));
            self.model.set("s_axil_wvalid", u64::from(!data && cycle >= data_at));
            self.model.set("s_axil_wdata", u64::from(value));
            self.model.set("s_axil_wstrb", strobes);
            self.model.set("s_axil_bready", u64::from(cycle >= answer_at));
            self.model.eval();
            let taken = |channel: &str, model: &Model| {
                model.get(&format!("s_axil_{channel}valid")) == 1
                    && model.get(&format!("s_axil_{channel}ready")) == 1
            };
            address |= taken("aw", &self.model);
            data |= taken("w", &self.model);
            let answered = taken("b", &self.model);
            self.model.clock();
            if answered {
                assert!(address && data, "an answer before its question");
                assert_eq!(self.model.get("s_axil_bresp"), 0);
                self.model.set("s_axil_bready", 0);
                return;
            }
        }
        panic!("no answer to a write");
    }

    fn read(&mut self, offset: u16) -> u32 {
        let wait = self.random.next_u32() % 9;
        self.model.set("s_axil_arvalid", 1);
        self.model.set("s_axil_araddr", u64::from(offset));
        for cycle in 0..60 {
            self.model.set("s_axil_rready", u64::from(cycle >= wait));
            self.model.eval();
            let asked = self.model.get("s_axil_arvalid") == 1 && self.model.get("s_axil_arready") == 1;
            let got = self.model.get("s_axil_rvalid") == 1 && cycle >= wait;
            let data = self.model.get("s_axil_rdata") as u32;
            self.model.clock();
            if asked {
                self.model.set("s_axil_arvalid", 0);
            }
            if got {
                assert_eq!(self.model.get("s_axil_rresp"), 0);
                return data;
            }
        }
        panic!("no answer to a read");
    }
}

#[test]
fn says_what_it_is() {
    let Some(mut bench) = Bench::new() else { return };
    let expected = [
        (0x000, 0x4557_4143),
        (0x004, 0x0001_0000),
        (0x008, 4 | 8 << 4 | 96 << 8 | 32 << 16),
        (0x00c, 28_672),
        (0x010, 256 | 4096 << 16),
        (0x02c, 3_000_000),
        (0x030, 256),
    ];
    for (offset, value) in expected {
        assert_eq!(bench.read(offset), value, "{offset:#x}");
        bench.write(offset & 0x1c, 0x1234_5678);
        assert_eq!(bench.read(offset), value, "{offset:#x} after a write to a constant");
    }
}

#[test]
fn every_reset_value_is_the_documented_one() {
    let Some(mut bench) = Bench::new() else { return };
    bench.model.set("error_port_i", 15);
    for register in REGISTERS {
        for index in 0..register.count.min(2) {
            let offset = register.offset + index * register.stride;
            // The counters, the list and the ring are behind ports of this module.
            let elsewhere =
                (0x80..0x200).contains(&offset) || offset >= 0x200 || (0x008..0x014).contains(&offset);
            if let Reset::Value(reset) = register.reset
                && !elsewhere
            {
                assert_eq!(bench.read(offset as u16), reset, "{}", register.name);
            }
        }
    }
}

#[test]
fn keeps_what_is_written_byte_by_byte() {
    let Some(mut bench) = Bench::new() else { return };
    let mut values =
        [(0x02c, 3_000_000_u32, "timeout_o"), (0x034, 0, "stream_tail_o"), (0x038, 0, "doorbell_o")];
    for _ in 0..400 {
        let index = bench.random.next_u32() as usize % values.len();
        let (data, strobes) = (bench.random.next_u32(), u64::from(bench.random.next_u32() % 16));
        let (offset, value, _) = &mut values[index];
        bench.write_bytes(*offset, data, strobes);
        for lane in 0..4 {
            let mask = if strobes >> lane & 1 == 1 { 0xff << (8 * lane) } else { 0 };
            *value = *value & !mask | data & mask;
        }
        for (offset, value, port) in values {
            assert_eq!(bench.read(offset), value);
            assert_eq!(bench.model.get(port), u64::from(value));
        }
    }
}

#[test]
fn refuses_a_ring_that_cannot_be() {
    let Some(mut bench) = Bench::new() else { return };
    for (value, expected) in [(97, 97), (0, 97), (257, 97), (0x1_0001, 97), (1, 1), (256, 256)] {
        bench.write(0x030, value);
        assert_eq!(bench.read(0x030), expected);
        assert_eq!(bench.model.get("ring_entries_o"), u64::from(expected));
    }
}

#[test]
fn shows_the_states_of_the_others() {
    let Some(mut bench) = Bench::new() else { return };
    let inputs: [(&str, u64, u16, u32); 8] = [
        ("done_count_i", 0x8000_0001, 0x03c, 0x8000_0001),
        ("stream_head_i", 77, 0x040, 77),
        ("error_code_i", 3, 0x050, 3),
        ("error_port_i", 4, 0x054, 4),
        ("error_address_i", 0x12_3456_7890, 0x058, 0x3456_7890),
        ("error_operation_i", 9, 0x060, 9),
        ("topk_count_i", 32, 0x070, 32),
        ("error_tag_i", 5, 0x064, 0),
    ];
    for (port, value, offset, expected) in inputs {
        bench.model.set(port, value);
        assert_eq!(bench.read(offset), expected, "{port}");
    }
    assert_eq!(bench.read(0x05c), 0x12);
    bench.model.set("error_i", 1);
    assert_eq!(bench.read(0x064), 5, "a tag only with an error");
    for (port, bit) in [("busy_i", 1), ("error_i", 2), ("resetting_i", 3), ("streaming_i", 4)] {
        for other in ["busy_i", "error_i", "resetting_i", "streaming_i"] {
            bench.model.set(other, 0);
        }
        bench.model.set(port, 1);
        assert_eq!(bench.read(0x024), 1 << bit, "{port}");
    }
    bench.model.set("streaming_i", 0);
    assert_eq!(bench.read(0x024), 0, "the doorbell is not the done count");
    bench.model.set("done_count_i", 0);
    assert_eq!(bench.read(0x024), 1);
}

#[test]
fn control_starts_things_and_forgets_them() {
    let Some(mut bench) = Bench::new() else { return };
    bench.write(0x020, 5);
    assert_eq!((bench.read(0x020), bench.model.get("enable_o")), (5, 1));
    for (bit, pulse) in [(2, "soft_reset_o"), (8, "clear_counters_o")] {
        let before = bench.model.cycles();
        bench.model.set("s_axil_awvalid", 1);
        bench.model.set("s_axil_awaddr", 0x020);
        bench.model.set("s_axil_wvalid", 1);
        bench.model.set("s_axil_wdata", 5 | bit);
        bench.model.set("s_axil_wstrb", 1);
        let mut pulses = 0;
        while bench.model.cycles() < before + 10 {
            bench.model.clock();
            bench.model.set("s_axil_awvalid", 0);
            bench.model.set("s_axil_wvalid", 0);
            pulses += bench.model.get(pulse);
        }
        assert_eq!(pulses, 1, "{pulse}");
        bench.model.set("s_axil_bready", 1);
        bench.model.clock();
        bench.model.set("s_axil_bready", 0);
        assert_eq!(bench.read(0x020), 5);
    }
    bench.model.set("resetting_i", 1);
    bench.write(0x034, 9);
    bench.write(0x038, 9);
    assert_eq!((bench.read(0x020), bench.read(0x034), bench.read(0x038)), (7, 0, 0));
}

#[test]
fn interrupts_until_it_is_acknowledged() {
    let Some(mut bench) = Bench::new() else { return };
    bench.model.set("done_i", 1);
    bench.model.clock();
    bench.model.set("done_i", 0);
    assert_eq!((bench.read(0x028), bench.model.get("irq_o")), (1, 0));
    bench.write(0x020, 4);
    assert_eq!(bench.model.get("irq_o"), 1);
    bench.model.set("error_i", 1);
    assert_eq!(bench.read(0x028), 3);
    bench.write(0x028, 1);
    assert_eq!((bench.read(0x028), bench.model.get("irq_o")), (2, 1));
    bench.write(0x028, 2);
    assert_eq!((bench.read(0x028), bench.model.get("irq_o")), (0, 0), "an error interrupts once");
}

#[test]
fn passes_the_windows_on_and_knows_nothing_else() {
    let Some(mut bench) = Bench::new() else { return };
    bench.model.set("counter_data_i", 1111);
    bench.model.set("topk_value_i", 2222);
    bench.model.set("topk_row_i", 3333);
    bench.model.set("desc_rdata_i", 4444);
    let cases = [
        (0x080, 1111, Some(("counter_word_o", 0x20))),
        (0x190, 1111, Some(("counter_word_o", 0x64))),
        (0x200, 2222, Some(("topk_index_o", 0))),
        (0x2fc, 3333, Some(("topk_index_o", 31))),
        (0x300, 0, None),
        (0x3ffc, 0, None),
        (0x4000, 4444, Some(("desc_address_o", 0))),
        (0x7ffc, 4444, Some(("desc_address_o", 4095))),
        (0x8000, 0, None),
        (0x8020, 0, None),
        (0xc000, 0, None),
        (0x044, 0, None),
    ];
    for (offset, value, index) in cases {
        assert_eq!(bench.read(offset), value, "{offset:#x}");
        if let Some((port, value)) = index {
            assert_eq!(bench.model.get(port), value, "{offset:#x}");
        }
    }
    bench.write(0x8020, 1);
    bench.write(0x080, 1);
    assert_eq!(bench.model.get("enable_o"), 0);
}
