/// What rr_arbiter promises: one input at a time, the one that index_o names, with its data, and none
/// waits for more than the others' one word each.
module rr_arbiter_props (
  input logic            clk_i,
  input logic [3:0]      valid_i,
  input logic [3:0][1:0] data_i,
  input logic            ready_i
);
  localparam int unsigned NumIn = 4;

  logic             rst_ni = 1'b0;
  logic [NumIn-1:0] ready_o;
  logic             valid_o;
  logic [1:0]       data_o, index_o;

  always_ff @(posedge clk_i) rst_ni <= 1'b1;

  rr_arbiter #(
    .NumIn(NumIn),
    .Width(2)
  ) i_dut (
    .clk_i,
    .rst_ni,
    .valid_i,
    .ready_o,
    .data_i,
    .valid_o,
    .ready_i,
    .data_o,
    .index_o
  );

  // An input that is valid stays so until it is served.
  logic [NumIn-1:0] waiting = '0;
  always_ff @(posedge clk_i) waiting <= rst_ni ? valid_i & ~ready_o : '0;
  always_comb assume ((waiting & ~valid_i) == '0);

  // How many others were served while an input waited.
  logic [NumIn-1:0][2:0] passed = '0;
  always_ff @(posedge clk_i) begin
    for (int unsigned i = 0; i < NumIn; i++) begin
      if (!rst_ni || !valid_i[i] || ready_o[i]) passed[i] <= '0;
      else if (valid_o && ready_i)              passed[i] <= passed[i] + 3'd1;
    end
  end

  logic [NumIn-1:0] unfair;
  always_comb begin
    for (int unsigned i = 0; i < NumIn; i++) unfair[i] = passed[i] >= 3'(NumIn);
  end

  always @(posedge clk_i) begin
    if (rst_ni) begin
      a_one: assert ((ready_o & (ready_o - 4'd1)) == '0);
      a_asked: assert ((ready_o & ~valid_i) == '0);
      a_work: assert (valid_o == (valid_i != '0));
      a_index: assert (!(valid_o && ready_i) || ready_o[index_o]);
      a_wait: assert ((ready_o == '0) || (valid_o && ready_i));
      a_data: assert (!valid_o || data_o == data_i[index_o]);
      a_fair: assert (unfair == '0);
      c_last: cover (passed[2] == 3'd3 && ready_o[2]);
    end
  end
endmodule
