/// The TopK best results of a one-token operation, so that the 151,936 logits are never written.
///
/// Four result streams are merged fairly, one candidate a cycle, into a systolic list: a candidate
/// moves through the entries, one a cycle, and changes places with the first that it beats. The
/// order is that of f32, ties go to the lower row. The NaN of the data path (0x7FC00000) sorts
/// above +infinity, so the host cannot miss one; -0, which no sum of ours can be, sorts below +0.
/// Rows behind the matrix never enter. A candidate that does not beat the last entry now never
/// will, since entries only get better: it is dropped before it moves anything.
///
/// start_i clears the list and takes the shape; done_o is high when every block has been seen and
/// the list is at rest, TopK + 7 cycles after the last result. Read: value and row of entry
/// read_index_i are at the output 2 cycles later; entries from count_o on mean nothing.
module top_k
  import accel_pkg::*;
#(
  parameter int unsigned TopK   = 32,
  parameter int unsigned Layout = LayoutRowBlock
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,

  input  logic                       start_i,
  input  logic [31:0]                rows_i,
  input  logic [NumPorts-1:0][15:0]  blocks_i,
  input  logic [NumPorts-1:0][17:0]  first_block_i,
  output logic                       done_o,

  input  logic [NumPorts-1:0]        res_valid_i,
  output logic [NumPorts-1:0]        res_ready_o,
  input  logic [NumPorts-1:0][31:0]  res_data_i,
  input  logic [NumPorts-1:0][3:0]   res_channel_i,
  input  logic [NumPorts-1:0]        res_last_i,

  output logic [7:0]                 count_o,
  input  logic [7:0]                 read_index_i,
  output logic [31:0]                read_value_o,
  output logic [31:0]                read_row_o
);
  localparam int unsigned ChannelBits = (Layout == LayoutAwqMacro) ? 3 : 4;
  localparam int unsigned RowWidth    = 18 + ChannelBits;
  localparam int unsigned IndexWidth  = (TopK == 1) ? 1 : $clog2(TopK);
  localparam int unsigned DrainCycles = TopK + 4;
  localparam int unsigned DrainWidth  = $clog2(DrainCycles + 1);

  if (TopK < 1 || TopK > 64) begin : g_check
    $error("top_k: TopK must be 1 to 64");
  end

  // A larger entry is a better one. The key 0 would be a negative NaN: it means empty.
  typedef struct packed {
    logic [31:0]         key;
    logic [RowWidth-1:0] not_row;
  } entry_t;

  // ------------------------------------------------------------------------------------ input
  // A register in front of the arbiter: the ready of one stream must not wait for all four.
  localparam int unsigned WordWidth = 1 + ChannelBits + 32;  // last, channel, value

  logic [NumPorts-1:0]                offered, granted;
  logic [NumPorts-1:0][WordWidth-1:0] words;
  logic                               picked;
  logic [WordWidth-1:0]               word;
  logic [1:0]                         port;
  logic [NumPorts-1:0][17:0]          block_q;
  logic [NumPorts-1:0][15:0]          left_q;
  logic [NumPorts-1:0]                seen_q;  // all blocks of the port

  for (genvar p = 0; p < NumPorts; p++) begin : g_input
    logic block_ends;

    skid_buffer #(
      .Width(WordWidth)
    ) i_skid (
      .clk_i,
      .rst_ni,
      .flush_i(1'b0),
      .valid_i(res_valid_i[p]),
      .ready_o(res_ready_o[p]),
      .data_i ({res_last_i[p], res_channel_i[p][ChannelBits-1:0], res_data_i[p]}),
      .valid_o(offered[p]),
      .ready_i(granted[p]),
      .data_o (words[p])
    );

    assign block_ends = granted[p] && word[WordWidth-1];

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        left_q[p] <= '0;
        seen_q[p] <= 1'b1;
      end else begin
        seen_q[p] <= left_q[p] == '0 && !start_i;
        if (start_i)         left_q[p] <= blocks_i[p];
        else if (block_ends) left_q[p] <= left_q[p] - 16'd1;
      end
      if (start_i)         block_q[p] <= first_block_i[p];
      else if (block_ends) block_q[p] <= block_q[p] + 18'd1;
    end
  end

  rr_arbiter #(
    .NumIn(NumPorts),
    .Width(WordWidth)
  ) i_arbiter (
    .clk_i,
    .rst_ni,
    .valid_i(offered),
    .ready_o(granted),
    .data_i (words),
    .valid_o(picked),
    .ready_i(1'b1),
    .data_o (word),
    .index_o(port)
  );

  // ------------------------------------------------- candidate: value and row, then its rank
  logic                value_valid_q, rank_valid_q, cand_valid_q;
  logic [31:0]         value_q;
  logic [RowWidth-1:0] row_q;
  entry_t              rank_q, cand_q;
  logic [31:0]         rows_q;
  entry_t [TopK-1:0]   entry_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || start_i) begin
      value_valid_q <= 1'b0;
      rank_valid_q  <= 1'b0;
      cand_valid_q  <= 1'b0;
    end else begin
      value_valid_q <= picked;
      rank_valid_q  <= value_valid_q && 32'(row_q) < rows_q;
      cand_valid_q  <= rank_valid_q && rank_q > entry_q[TopK-1];
    end
    if (start_i) rows_q <= rows_i;
    if (picked) begin
      value_q <= word[31:0];
      row_q   <= {block_q[port], word[32+:ChannelBits]};
    end
    if (value_valid_q) begin
      // Bits in the order of their numbers: negatives reversed below the positives.
      rank_q.key     <= value_q[31] ? ~value_q : {1'b1, value_q[30:0]};
      rank_q.not_row <= ~row_q;
    end
    if (rank_valid_q) cand_q <= rank_q;
  end

  // ------------------------------------------------------------------------------------- list
  entry_t [TopK:0] moving;
  logic   [TopK:0] moving_valid;

  assign moving[0]       = cand_q;
  assign moving_valid[0] = cand_valid_q;

  for (genvar i = 0; i < TopK; i++) begin : g_entry
    entry_t out_q;
    logic   out_valid_q;

    assign moving[i+1]       = out_q;
    assign moving_valid[i+1] = out_valid_q;

    always_ff @(posedge clk_i) begin
      if (!rst_ni || start_i) begin
        entry_q[i]  <= '0;
        out_valid_q <= 1'b0;
      end else begin
        out_valid_q <= moving_valid[i];
        if (moving_valid[i]) begin
          if (moving[i] > entry_q[i]) begin
            out_q      <= entry_q[i];
            entry_q[i] <= moving[i];
            // What leaves an empty entry is nothing.
            out_valid_q <= entry_q[i].key != '0;
          end else begin
            out_q <= moving[i];
          end
        end
      end
    end
  end

  // --------------------------------------------------------------------------- end and count
  logic [DrainWidth-1:0] drain_q;
  logic [7:0]            count_q;
  logic                  done_q;

  assign done_o  = done_q;
  assign count_o = count_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || start_i) begin
      drain_q <= DrainWidth'(DrainCycles);
      count_q <= '0;
      done_q  <= 1'b0;
    end else begin
      if (picked)               drain_q <= DrainWidth'(DrainCycles);
      else if (drain_q != '0)   drain_q <= drain_q - 1'b1;
      if (cand_valid_q && count_q != 8'(TopK)) count_q <= count_q + 8'd1;
      done_q <= seen_q == '1 && drain_q == '0;
    end
  end

  // ------------------------------------------------------------------------------------- read
  entry_t      read_q;
  logic [31:0] read_value_q, read_row_q;

  assign read_value_o = read_value_q;
  assign read_row_o   = read_row_q;

  always_ff @(posedge clk_i) begin
    read_q <= (32'(read_index_i) < TopK) ? entry_q[read_index_i[IndexWidth-1:0]] : '0;
    read_row_q <= 32'(RowWidth'(~read_q.not_row));
    read_value_q <= read_q.key[31] ? {1'b0, read_q.key[30:0]} : ~read_q.key;
  end

  logic unused;
  assign unused = &{1'b0, moving[TopK], moving_valid[TopK], res_channel_i};
endmodule
