//! The wrapper itself, on modules made for it.

mod common;

use edgewen_rtl::sources::Source;
use edgewen_rtl::{Error, Model, Speed};

const WIDE: &str = "
module wide #(parameter int unsigned Width = 128) (
  input  logic clk_i, input logic rst_ni, input logic valid_i, output logic ready_o,
  input  logic [Width-1:0] data_i, output logic [Width-1:0] data_o,
  output logic [3:0][39:0] m_axi__o, output logic [63:0] sum_o, output logic [15:0] low_o
);
  logic [63:0] sum_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) sum_q <= '0;
    else if (valid_i) sum_q <= sum_q + 64'(data_i[31:0]);
  end
  assign ready_o = valid_i;
  assign data_o = ~data_i;
  assign m_axi__o = {40'd4, 40'd3, 40'd2, sum_q[39:0]};
  assign sum_o = sum_q;
  assign low_o = sum_q[15:0];
endmodule";

#[test]
fn drives_ports_of_every_width() {
    for speed in [Speed::Build, Speed::Run] {
        let builder = Model::builder("wide").sources(vec![Source::new("wide.sv", WIDE)]).speed(speed);
        let Some(mut model) =
            common::start(&builder.parameter("Width", "200").coverage(speed == Speed::Build))
        else {
            return;
        };
        assert_eq!(model.width("data_i"), 200);
        model.reset(2);
        model.set("valid_i", 1);
        model.eval();
        assert_eq!(model.get("ready_o"), 1, "a combinational path follows eval");
        model.set_words("data_i", &[u32::MAX, 1, 2, 3, 4, 5, 0xff]);
        for _ in 0..0x1_0001 {
            model.clock();
        }
        assert_eq!(model.get("sum_o"), 0xffff_ffff * 0x1_0001);
        assert_eq!(model.get("low_o"), 0xffff);
        assert_eq!(model.get_bits("m_axi__o", 40, 40), 2);
        assert_eq!(model.get_bits("m_axi__o", 0, 40), (0xffff_ffff * 0x1_0001u64) & 0xff_ffff_ffff);
        let mut words = [0; 8];
        model.get_words("data_o", &mut words);
        assert_eq!(words, [0, !1, !2, !3, !4, !5, 0, 0]);
        model.set_bits("data_i", 30, 4, 0b1001);
        model.set("valid_i", 0);
        model.clock();
        model.get_words("data_o", &mut words);
        assert_eq!(words[..2], [0x8000_0000, !0b10]);
        assert_eq!(model.cycles(), 2 + 0x1_0001 + 1);
    }
}

#[test]
fn writes_coverage() {
    let builder = Model::builder("wide").sources(vec![Source::new("wide.sv", WIDE)]).coverage(true);
    let Some(mut model) = common::start(&builder) else { return };
    model.reset(2);
    model.clock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coverage.dat");
    model.write_coverage(&path).unwrap();
    assert!(std::fs::read_to_string(path).unwrap().contains("wide.sv"));
}

#[test]
fn says_what_verilator_refused() {
    let builder = Model::builder("bad")
        .sources(vec![Source::new("bad.sv", "module bad(input logic a); assign b =; endmodule")]);
    match builder.build() {
        Err(Error::Build { top, output, .. }) => {
            assert_eq!(top, "bad");
            assert!(output.contains("syntax error"), "{output}");
        }
        Err(error) if error.is_missing_tool() => eprintln!("skipped: {error}"),
        other => panic!("{other:?}"),
    }
}
