/// Follows the descriptor list ahead of the operations and tells the four engines what to fetch.
///
/// While head_o differs from tail_i it reads 8 words of the next descriptor, multiplies the blocks
/// of each port by the beats of a block and puts one command into the queue of every port that has
/// blocks. 18 cycles a descriptor, or as long as a queue is full. A descriptor whose kind,
/// groups or beats of a block cannot be right is passed over without a command: the operation that
/// needs it reports the error. The other fields of a descriptor are not looked at.
module stream_prefetch
  import accel_pkg::*;
#(
  parameter int unsigned Layout    = LayoutRowBlock,
  parameter int unsigned MaxGroups = 96
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       flush_i,        // level: count and pointer back to 0
  input  logic                       halt_i,         // level: take no new descriptor

  input  logic [31:0]                tail_i,         // STREAM_TAIL
  input  logic [8:0]                 ring_entries_i, // 1 .. 256
  output logic [31:0]                head_o,         // STREAM_HEAD

  output logic                       desc_req_o,     // data 2 cycles later
  output logic [7:0]                 desc_index_o,
  output logic [3:0]                 desc_word_o,
  input  logic [31:0]                desc_data_i,

  output logic  [NumPorts-1:0]       cmd_valid_o,
  input  logic  [NumPorts-1:0]       cmd_ready_i,
  output addr_t [NumPorts-1:0]       cmd_address_o,
  output logic  [NumPorts-1:0][31:0] cmd_beats_o
);

  // Words 0, 1, 4..7, 8, 9 of the descriptor, in the order they are asked for.
  localparam int unsigned NumReads = 8;
  localparam logic [3:0]  KindMatrix = 4'd1;

  typedef enum logic [1:0] {
    StIdle,
    StRead,   // ask for the words and keep them
    StCheck,  // 6 cycles for the products and the checks
    StPush    // wait until every queue has taken its command
  } state_e;

  state_e                    state_q;
  logic [31:0]               head_q;
  logic [7:0]                index_q;
  logic [3:0]                step_q;
  logic [3:0]                kind_q;
  logic                      segments_q;
  logic [15:0]               groups_q, block_beats_q, expected_q;
  logic [NumPorts-1:0][31:0] line_q;    // first block, in units of 64 bytes
  logic [NumPorts-1:0][15:0] blocks_q;
  logic                      good_q;
  logic [NumPorts-1:0]       pending_q;

  assign head_o       = head_q;
  assign desc_index_o = index_q;
  assign desc_req_o   = (state_q == StRead) && (step_q < 4'(NumReads));

  // Step 0, 1 -> words 0, 1; steps 2 .. 7 -> words 4 .. 9.
  assign desc_word_o = (step_q < 4'd2) ? step_q : step_q + 4'd2;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      state_q   <= StIdle;
      head_q    <= '0;
      index_q   <= '0;
      step_q    <= '0;
      pending_q <= '0;
    end else begin
      unique case (state_q)
        StIdle: begin
          step_q <= '0;
          if (head_q != tail_i && !halt_i) state_q <= StRead;
        end
        StRead: begin
          step_q <= step_q + 4'd1;
          if (step_q == 4'(NumReads + 1)) begin
            step_q  <= '0;
            state_q <= StCheck;
          end
        end
        StCheck: begin
          step_q <= step_q + 4'd1;
          if (step_q == 4'd5) begin
            state_q <= StPush;
            for (int unsigned p = 0; p < NumPorts; p++) begin
              pending_q[p] <= good_q && (blocks_q[p] != '0);
            end
          end
        end
        StPush: begin
          pending_q <= pending_q & ~cmd_ready_i;
          if ((pending_q & ~cmd_ready_i) == '0) begin
            state_q <= StIdle;
            head_q  <= head_q + 32'd1;
            index_q <= (9'(index_q) + 9'd1 >= ring_entries_i) ? '0 : index_q + 8'd1;
          end
        end
        default: state_q <= StIdle;
      endcase
    end
  end

  // The word that was asked for in step i is here in step i + 2.
  always_ff @(posedge clk_i) begin
    if (state_q == StRead) begin
      unique case (step_q)
        4'd2: {kind_q, segments_q} <= {desc_data_i[31:28], desc_data_i[2]};
        4'd3: {block_beats_q, groups_q} <= desc_data_i;
        4'd4: line_q[0] <= desc_data_i;
        4'd5: line_q[1] <= desc_data_i;
        4'd6: line_q[2] <= desc_data_i;
        4'd7: line_q[3] <= desc_data_i;
        4'd8: blocks_q[1:0] <= desc_data_i;
        4'd9: blocks_q[3:2] <= desc_data_i;
        default: ;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    if (state_q == StCheck) begin
      expected_q <= segments_q ? 16'(groups_q * 16'(SegmentBeats))
                               : expected_block_beats(groups_q, Layout);
      good_q     <= (kind_q == KindMatrix) && (groups_q != '0)
                    && (groups_q <= 16'(MaxGroups)) && (block_beats_q == expected_q);
    end
  end

  assign cmd_valid_o = pending_q;

  // One multiplier for all ports, with a register on each side: port p goes in at step p.
  logic [15:0]               factor_q;
  logic [NumPorts-1:0][31:0] beats_q;
  (* use_dsp = "yes" *) logic [31:0] product_q;

  always_ff @(posedge clk_i) begin
    if (state_q == StCheck) begin
      factor_q  <= blocks_q[step_q[1:0]];
      product_q <= factor_q * block_beats_q;
      for (int unsigned p = 0; p < NumPorts; p++) begin
        if (step_q == 4'(p + 2)) beats_q[p] <= product_q;
      end
    end
  end

  for (genvar p = 0; p < NumPorts; p++) begin : g_port
    assign cmd_address_o[p] = AddrWidth'({line_q[p], 6'b0});
    assign cmd_beats_o[p]   = beats_q[p];
  end

endmodule
