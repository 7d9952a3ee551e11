/// What stream_fifo promises: order and contents are kept across the memory, the registers behind it
/// and the output FIFO, the level counts all of it, Depth words always fit, and a word is not kept
/// waiting. The memory is small and not a power of two here.
module stream_fifo_props (
  input logic clk_i,
  input logic flush_i,
  input logic valid_i,
  input logic ready_i,
  input logic data_i,
  input logic choose_i   // follow the word that goes in now
);
  localparam int unsigned Depth       = 3;
  localparam int unsigned OutDepth    = 4;
  localparam int unsigned ReadLatency = 2;

  logic       rst_ni = 1'b0;
  logic       ready_o, valid_o, data_o;
  logic [2:0] level_o;

  always_ff @(posedge clk_i) rst_ni <= 1'b1;

  stream_fifo #(
    .Width      (1),
    .Depth      (Depth),
    .ReadLatency(ReadLatency),
    .OutDepth   (OutDepth)
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
  logic [3:0] count = '0;
  logic       followed = 1'b0;
  logic [3:0] ahead = '0;
  logic       word = 1'b0;
  logic [2:0] waited = '0;    // cycles in which there was a word and none was shown

  assign push = valid_i && ready_o;
  assign pop  = valid_o && ready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      count    <= '0;
      followed <= 1'b0;
      waited   <= '0;
    end else begin
      count  <= count + 4'(push) - 4'(pop);
      waited <= (count != '0 && !valid_o) ? waited + 3'd1 : '0;
      if (push && choose_i && !followed) begin
        followed <= 1'b1;
        ahead    <= count - 4'(pop);
        word     <= data_i;
      end else if (followed && pop) begin
        followed <= (ahead != '0);
        ahead    <= ahead - 4'd1;
      end
    end
  end

  always @(posedge clk_i) begin
    if (rst_ni) begin
      a_level: assert (4'(level_o) == count);
      a_bound: assert (count <= 4'(Depth + OutDepth));
      a_room: assert (ready_o || count >= 4'(Depth + OutDepth - 1));
      a_shown: assert (!valid_o || count != '0);
      a_first: assert (!(followed && ahead == '0 && valid_o) || data_o == word);
      a_prompt: assert (waited <= 3'(ReadLatency + 1));
      c_full: cover (!ready_o && count == 4'(Depth + OutDepth));
      c_stream: cover (followed && ahead == 4'd3 && push && pop);
    end
  end
endmodule
