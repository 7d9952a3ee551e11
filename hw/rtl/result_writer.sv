/// Collects the results of the four ports and writes them in long bursts.
///
/// Per port and token the results of up to 256 bytes of consecutive rows (a *chunk*: 4 blocks of
/// 16 rows, or 8 of 8) gather in one half of a buffer while the other half is written: one burst of
/// up to 16 beats a token, split where it would cross 4 KiB. A port that ends early closes its
/// chunk early, so the last one may be shorter.
///
/// Four results become a beat and each port stores its beats in its own quarter of the cycles, so
/// one memory with one write and one read port serves all. A port is never held up for
/// longer than its previous half needs to be written. start_i takes the operation; done_o is high
/// when all its blocks are written and answered. The address of chunk c of port p and token t is
/// results + t stride + (first block of p) block bytes + 256 c.
///
/// Rate: 4 results a cycle in, a beat a cycle out and 4 cycles a burst between.
module result_writer
  import accel_pkg::*;
#(
  parameter int unsigned Tokens = 8,
  parameter int unsigned Layout = LayoutRowBlock
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,

  input  logic                       start_i,
  input  logic [2:0]                 tokens_m1_i,
  input  logic [NumPorts-1:0][15:0]  blocks_i,
  input  logic [NumPorts-1:0][17:0]  first_block_i,
  input  addr_t                      results_i,
  input  addr_t                      stride_i,
  output logic                       done_o,

  input  logic [NumPorts-1:0]        res_valid_i,
  output logic [NumPorts-1:0]        res_ready_o,
  input  logic [NumPorts-1:0][31:0]  res_data_i,
  input  logic [NumPorts-1:0][3:0]   res_channel_i,
  input  logic [NumPorts-1:0][2:0]   res_token_i,
  input  logic [NumPorts-1:0]        res_last_i,

  output logic                       cmd_valid_o,
  input  logic                       cmd_ready_i,
  output addr_t                      cmd_address_o,
  output logic [4:0]                 cmd_beats_o,
  output logic                       data_valid_o,
  output beat_t                      data_o,
  input  logic                       master_idle_i
);
  localparam int unsigned BlockBeats  = (Layout == LayoutAwqMacro) ? 2 : 4;
  localparam int unsigned ChunkBlocks = BurstBeats / BlockBeats;
  localparam int unsigned BlockBits   = $clog2(ChunkBlocks);
  localparam int unsigned QuadBits    = $clog2(BlockBeats);
  localparam int unsigned TokenBits   = (Tokens == 1) ? 1 : $clog2(Tokens);
  localparam int unsigned AddressBits = 2 + 1 + TokenBits + 4;
  localparam int unsigned LineWidth   = AddrWidth - 4;

  if (Tokens != 1 && Tokens != 2 && Tokens != 4 && Tokens != 8) begin : g_check
    $error("result_writer: Tokens must be 1, 2, 4 or 8");
  end

  // --------------------------------------------------- gathering: four results to a beat, a port
  logic [1:0]                            slot_q;        // port that may store in this cycle
  logic [NumPorts-1:0]                   hold_valid;
  beat_t [NumPorts-1:0]                  hold_data;
  logic [NumPorts-1:0][TokenBits+4:0]    hold_address;  // half, token, beat
  logic [NumPorts-1:0][1:0]              full_q;        // halves that wait to be written
  logic [NumPorts-1:0]                   waiting;       // the half to be written next is full
  logic [NumPorts-1:0]                   at_rest_q;
  logic [NumPorts-1:0]                   read_half_q;
  logic [NumPorts-1:0][1:0][4:0]         chunk_beats_q;
  logic [NumPorts-1:0]                   chunk_done;    // pulse: the half was read

  always_ff @(posedge clk_i) begin
    if (!rst_ni) slot_q <= '0;
    else         slot_q <= slot_q + 2'd1;
  end

  for (genvar p = 0; p < NumPorts; p++) begin : g_port
    logic [2:0][31:0]     words_q;
    logic [15:0]          left_q;      // blocks not yet seen
    logic [BlockBits-1:0] block_q;     // of the chunk
    logic                 half_q;
    logic                 take, store, beat_ends, block_ends, chunk_ends;
    logic                 hold_valid_q, hold_close_q;
    beat_t                hold_data_q;
    logic [TokenBits+4:0] hold_address_q;
    logic [4:0]           hold_beats_q;

    assign res_ready_o[p]  = !full_q[p][half_q] && left_q != '0;
    assign take            = res_valid_i[p] && res_ready_o[p];
    assign beat_ends       = take && res_channel_i[p][1:0] == 2'd3;
    assign block_ends      = take && res_last_i[p];
    assign chunk_ends      = block_ends && (block_q == '1 || left_q == 16'd1);
    assign store           = hold_valid_q && slot_q == 2'(p);
    assign hold_valid[p]   = hold_valid_q;
    assign hold_data[p]    = hold_data_q;
    assign hold_address[p] = hold_address_q;
    assign waiting[p]      = full_q[p][read_half_q[p]];

    always_ff @(posedge clk_i) begin
      if (!rst_ni) begin
        left_q       <= '0;
        block_q      <= '0;
        half_q       <= 1'b0;
        hold_valid_q <= 1'b0;
        full_q[p]    <= '0;
        read_half_q[p] <= 1'b0;
        at_rest_q[p] <= 1'b1;
      end else begin
        if (start_i)         left_q <= blocks_i[p];
        else if (block_ends) left_q <= left_q - 16'd1;
        if (block_ends) block_q <= chunk_ends ? '0 : block_q + 1'b1;
        if (chunk_ends) half_q <= !half_q;
        if (beat_ends)  hold_valid_q <= 1'b1;
        else if (store) hold_valid_q <= 1'b0;
        if (store && hold_close_q) full_q[p][hold_address_q[TokenBits+4]] <= 1'b1;
        if (chunk_done[p]) begin
          full_q[p][read_half_q[p]] <= 1'b0;
          read_half_q[p]            <= !read_half_q[p];
        end
        at_rest_q[p] <= !start_i && left_q == '0 && !hold_valid_q && full_q[p] == '0;
      end
      if (take) words_q[res_channel_i[p][1:0]] <= res_data_i[p];
      if (beat_ends) begin
        hold_data_q    <= {res_data_i[p], words_q[2], words_q[1], words_q[0]};
        hold_address_q <= {half_q, res_token_i[p][TokenBits-1:0], block_q,
                           res_channel_i[p][QuadBits+1:2]};
        hold_close_q   <= chunk_ends;
        hold_beats_q   <= 5'(block_q) * 5'(BlockBeats) + 5'(BlockBeats);
      end
      if (store && hold_close_q) chunk_beats_q[p][hold_address_q[TokenBits+4]] <= hold_beats_q;
    end
  end

  (* ram_style = "block" *) beat_t mem [2**AddressBits];
  logic [AddressBits-1:0] read_address_q;
  logic                   read_q, read_valid_q, out_valid_q;
  beat_t                  read_data_q, out_data_q;

  always_ff @(posedge clk_i) begin
    if (hold_valid[slot_q]) mem[{slot_q, hold_address[slot_q]}] <= hold_data[slot_q];
    if (read_q) read_data_q <= mem[read_address_q];
  end

  // ----------------------------------------------------------------- writing: chunk, token, burst
  typedef enum logic [2:0] {
    Choose,
    Load,
    Plan,
    Ask,
    Send,
    Next
  } state_e;

  state_e                              state_q;
  logic [1:0]                          port_q;
  logic [NumPorts-1:0][LineWidth-1:0]  chunk_line_q;  // where the port's next chunk goes, token 0
  logic [LineWidth-1:0]                line_q;        // of the token, then of the burst
  logic [LineWidth-1:0]                token_line_q;
  logic [2:0]                          token_q;
  logic [3:0]                          beat_q;        // of the chunk, for the memory
  logic [4:0]                          left_q, burst_q, sent_q, beats_q;
  logic [8:0]                          to_boundary;
  logic                                rest_q;
  logic [2:0]                          tokens_m1_q;
  logic [LineWidth-1:0]                stride_q;

  assign to_boundary   = 9'd256 - {1'b0, line_q[7:0]};
  assign cmd_valid_o   = state_q == Ask;
  assign cmd_address_o = {line_q, 4'b0};
  assign cmd_beats_o   = burst_q;
  assign data_valid_o  = out_valid_q;
  assign data_o        = out_data_q;
  assign done_o        = rest_q;

  always_comb begin
    chunk_done = '0;
    chunk_done[port_q] = state_q == Next && left_q == '0 && token_q == tokens_m1_q;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q      <= Choose;
      port_q       <= '0;
      read_q       <= 1'b0;
      read_valid_q <= 1'b0;
      out_valid_q  <= 1'b0;
      rest_q       <= 1'b1;
    end else begin
      read_q       <= state_q == Send;
      read_valid_q <= read_q;
      out_valid_q  <= read_valid_q;
      rest_q       <= !start_i && at_rest_q == '1 && state_q == Choose && !read_q && !read_valid_q
                      && !out_valid_q && master_idle_i;
      unique case (state_q)
        Choose: begin
          if (waiting[port_q]) state_q <= Load;
          else                 port_q <= port_q + 2'd1;
        end
        Load: state_q <= Plan;
        Plan: state_q <= Ask;
        Ask:  if (cmd_ready_i) state_q <= Send;
        Send: if (sent_q == 5'd1) state_q <= Next;
        Next: begin
          if (left_q != '0)                 state_q <= Plan;
          else if (token_q != tokens_m1_q)  state_q <= Plan;
          else begin
            state_q <= Choose;
            port_q  <= port_q + 2'd1;
          end
        end
        default: state_q <= Choose;
      endcase
    end
    if (start_i) begin
      tokens_m1_q <= tokens_m1_i;
      stride_q    <= stride_i[AddrWidth-1:4];
      for (int unsigned p = 0; p < NumPorts; p++) begin
        chunk_line_q[p] <= results_i[AddrWidth-1:4]
                           + LineWidth'(first_block_i[p]) * LineWidth'(BlockBeats);
      end
    end
    unique case (state_q)
      Load: begin
        line_q       <= chunk_line_q[port_q];
        token_line_q <= chunk_line_q[port_q];
        chunk_line_q[port_q] <= chunk_line_q[port_q] + LineWidth'(BurstBeats);
        beats_q      <= chunk_beats_q[port_q][read_half_q[port_q]];
        left_q       <= chunk_beats_q[port_q][read_half_q[port_q]];
        token_q      <= '0;
        beat_q       <= '0;
      end
      Plan: begin
        burst_q <= (9'(left_q) < to_boundary) ? left_q : to_boundary[4:0];
        sent_q  <= (9'(left_q) < to_boundary) ? left_q : to_boundary[4:0];
      end
      Send: begin
        read_address_q <= {port_q, read_half_q[port_q], token_q[TokenBits-1:0], beat_q};
        beat_q         <= beat_q + 4'd1;
        sent_q         <= sent_q - 5'd1;
        left_q         <= left_q - 5'd1;
        line_q         <= line_q + 1'b1;
      end
      Next: begin
        if (left_q == '0) begin
          line_q       <= token_line_q + stride_q;
          token_line_q <= token_line_q + stride_q;
          left_q       <= beats_q;
          token_q      <= token_q + 3'd1;
          beat_q       <= '0;
        end
      end
      default: ;
    endcase
    if (read_valid_q) out_data_q <= read_data_q;
  end

  logic unused;
  assign unused = &{1'b0, stride_i[3:0], results_i[3:0], res_channel_i, res_token_i};
endmodule
