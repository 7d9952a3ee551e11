/// What skid_buffer promises: nothing is lost, doubled or changed, order is kept, and a word that is
/// shown stays until it is taken.
module skid_buffer_props (
  input logic       clk_i,
  input logic       flush_i,
  input logic       valid_i,
  input logic       ready_i,
  input logic [1:0] data_i,
  input logic       choose_i   // follow the word that goes in now
);
  logic       rst_ni = 1'b0;
  logic       ready_o, valid_o;
  logic [1:0] data_o;

  always_ff @(posedge clk_i) rst_ni <= 1'b1;

  skid_buffer #(
    .Width(2)
  ) i_dut (
    .clk_i,
    .rst_ni,
    .flush_i,
    .valid_i,
    .ready_o,
    .data_i,
    .valid_o,
    .ready_i,
    .data_o
  );

  logic       push, pop;
  logic [1:0] count = '0;
  logic       followed = 1'b0;
  logic [1:0] ahead = '0;
  logic [1:0] word = '0;
  logic       held = 1'b0;
  logic [1:0] held_word = '0;

  assign push = valid_i && ready_o;
  assign pop  = valid_o && ready_i;

  always_ff @(posedge clk_i) begin
    held      <= rst_ni && !flush_i && valid_o && !ready_i;
    held_word <= data_o;
    if (!rst_ni || flush_i) begin
      count    <= '0;
      followed <= 1'b0;
    end else begin
      count <= count + 2'(push) - 2'(pop);
      if (push && choose_i && !followed) begin
        followed <= 1'b1;
        ahead    <= count - 2'(pop);
        word     <= data_i;
      end else if (followed && pop) begin
        followed <= (ahead != '0);
        ahead    <= ahead - 2'd1;
      end
    end
  end

  always @(posedge clk_i) begin
    if (rst_ni) begin
      a_room: assert (ready_o == (count < 2'd2));
      a_shown: assert (valid_o == (count != '0));
      a_first: assert (!(followed && ahead == '0) || data_o == word);
      a_held: assert (!held || (valid_o && data_o == held_word));
      c_full: cover (count == 2'd2 && followed);
      c_flush: cover (flush_i && count == 2'd2);
    end
  end
endmodule
