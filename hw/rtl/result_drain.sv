/// Reads the results of a port's blocks out of their accumulators, adds the bias and hands them
/// over.
///
/// Order within a block: tokens, channel inside. Throughput one result a cycle as long as the
/// receiver takes them; latency 10 cycles from the accumulator to `valid_o`. A result is read only
/// if there is a place for it in the FIFO at the end, so the adder never has to stop. Without bias
/// +0.0 is added, which changes nothing: a sum that began at +0.0 is never -0.0.
///
/// `block_i` announces a finished block; `freed_o` tells that a bank has been read and may be used
/// again. Up to one block a bank waits; they are taken in turn.
module result_drain #(
  parameter int unsigned Channels = 16,      // of a block
  parameter int unsigned BiasRows = 1024,    // of this port
  localparam int unsigned RowWidth = $clog2(BiasRows)
) (
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                start_i,       // a new operation: the next block begins with row 0
  input  logic [2:0]          tokens_m1_i,
  input  logic                has_bias_i,

  input  logic                block_i,
  input  logic                block_bank_i,
  output logic [1:0]          freed_o,       // pulse, a bit a bank

  output logic                read_en_o,
  output logic                read_bank_o,
  output logic [2:0]          read_token_o,
  output logic [3:0]          read_channel_o,
  input  logic [31:0]         read_data_i,   // 1 cycle later
  output logic [RowWidth-1:0] bias_row_o,
  input  logic [31:0]         bias_i,        // 2 cycles later

  output logic                valid_o,
  input  logic                ready_i,
  output logic [31:0]         data_o,
  output logic [3:0]          channel_o,
  output logic [2:0]          token_o,
  output logic                last_o,        // of a block

  output logic                idle_o         // nothing waits, nothing is on its way
);

  localparam int unsigned FifoDepth = 16;  // at least the latency, so that results flow every cycle

  typedef struct packed {
    logic       last;
    logic [2:0] token;
    logic [3:0] channel;
  } place_t;

  typedef struct packed {
    place_t      place;
    logic [31:0] data;
  } result_t;

  // Which bank is being read, and where. While one is read only the other can be announced, so one
  // bit each is enough.
  logic [1:0]          waiting_q;
  logic                running_q, bank_q;
  logic [2:0]          token_q;
  logic [3:0]          channel_q;
  logic [RowWidth-1:0] row_q;
  logic                issue, last_channel, last, pop;
  logic [4:0]          credits_q;

  assign issue        = running_q && credits_q != '0;
  assign last_channel = channel_q == 4'(Channels - 1);
  assign last         = last_channel && token_q == tokens_m1_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      waiting_q <= '0;
      running_q <= 1'b0;
      bank_q    <= 1'b0;
      token_q   <= '0;
      channel_q <= '0;
      freed_o   <= '0;
    end else begin
      freed_o <= '0;
      if (block_i) waiting_q[block_bank_i] <= 1'b1;
      if (!running_q && waiting_q != '0) begin
        running_q <= 1'b1;
        bank_q    <= waiting_q[1];
        waiting_q[waiting_q[1]] <= 1'b0;
      end
      if (issue) begin
        channel_q <= last_channel ? '0 : channel_q + 4'd1;
        if (last_channel) token_q <= last ? '0 : token_q + 3'd1;
        if (last) begin
          running_q       <= 1'b0;
          freed_o[bank_q] <= 1'b1;
        end
      end
    end
  end

  // Row of the block's channel 0 among the rows of this port.
  always_ff @(posedge clk_i) begin
    if (start_i)            row_q <= '0;
    else if (issue && last) row_q <= row_q + RowWidth'(Channels);
  end

  assign read_en_o      = issue;
  assign read_bank_o    = bank_q;
  assign read_token_o   = token_q;
  assign read_channel_o = channel_q;
  assign bias_row_o     = row_q + RowWidth'(channel_q);

  // Two cycles until the bias is there.
  logic        valid1_q, valid2_q;
  place_t      place1_q, place2_q;
  logic [31:0] data2_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid1_q <= 1'b0;
      valid2_q <= 1'b0;
    end else begin
      valid1_q <= issue;
      valid2_q <= valid1_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (issue) place1_q <= '{last: last, token: token_q, channel: channel_q};
    if (valid1_q) begin
      place2_q <= place1_q;
      data2_q  <= read_data_i;
    end
  end

  logic    sum_valid;
  result_t sum, head;

  f32_add #(
    .TagWidth($bits(place_t))
  ) u_add (
    .clk_i,
    .rst_ni,
    .valid_i (valid2_q),
    .a_i     (data2_q),
    .b_i     (bias_i & {32{has_bias_i}}),
    .tag_i   (place2_q),
    .valid_o (sum_valid),
    .result_o(sum.data),
    .tag_o   (sum.place)
  );

  logic       fifo_ready;
  logic [4:0] fifo_level;

  sync_fifo #(
    .Width($bits(result_t)),
    .Depth(FifoDepth)
  ) u_fifo (
    .clk_i,
    .rst_ni,
    .flush_i(1'b0),
    .valid_i(sum_valid),
    .ready_o(fifo_ready),
    .data_i (sum),
    .valid_o,
    .ready_i,
    .data_o (head),
    .level_o(fifo_level)
  );

  assign pop       = valid_o && ready_i;
  assign data_o    = head.data;
  assign channel_o = head.place.channel;
  assign token_o   = head.place.token;
  assign last_o    = head.place.last;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) credits_q <= 5'(FifoDepth);
    else         credits_q <= credits_q + 5'(pop) - 5'(issue);
  end

  assign idle_o = !running_q && waiting_q == '0 && credits_q == 5'(FifoDepth);

  logic unused;
  assign unused = ^{fifo_ready, fifo_level};

endmodule
