/// What sync_fifo promises: nothing is lost, doubled or changed, order is kept, the level is right.
///
/// One word, chosen freely among all that go in, is followed to the output: what holds for it holds
/// for every word.
module sync_fifo_props (
  input logic       clk_i,
  input logic       flush_i,
  input logic       valid_i,
  input logic       ready_i,
  input logic [1:0] data_i,
  input logic       choose_i   // follow the word that goes in now
);
  localparam int unsigned Depth = 4;

  logic       rst_ni = 1'b0;
  logic       ready_o, valid_o;
  logic [1:0] data_o;
  logic [2:0] level_o;

  always_ff @(posedge clk_i) rst_ni <= 1'b1;

  sync_fifo #(
    .Width(2),
    .Depth(Depth)
  ) i_dut (
    .clk_i,
    .rst_ni,
    .flush_i,
    .valid_i,
    .ready_o,
    .data_i,
    .valid_o,
    .ready_i,
    .data_o,
    .level_o
  );

  logic       push, pop;
  logic [2:0] count = '0;
  logic       followed = 1'b0;
  logic [2:0] ahead = '0;     // words before it
  logic [1:0] word = '0;

  assign push = valid_i && ready_o;
  assign pop  = valid_o && ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      count    <= '0;
      followed <= 1'b0;
    end else begin
      count <= count + 3'(push) - 3'(pop);
      if (push && choose_i && !followed) begin
        followed <= 1'b1;
        ahead    <= count - 3'(pop);
        word     <= data_i;
      end else if (followed && pop) begin
        followed <= (ahead != '0);
        ahead    <= ahead - 3'd1;
      end
    end
  end

  always @(posedge clk_i) begin
    if (rst_ni) begin
      a_level: assert (level_o == count);
      a_room: assert (ready_o == (count < 3'(Depth)));
      a_shown: assert (valid_o == (count != '0));
      a_first: assert (!(followed && ahead == '0) || (valid_o && data_o == word));
      c_full: cover (!ready_o && followed && ahead == 3'd3);
      c_flush: cover (flush_i && !ready_o);
    end
  end
endmodule
