/// Runs the operations: reads a descriptor, checks it, has the operands fetched, starts the data
/// path and counts the operation as done when its last result is in memory.
///
/// One operation at a time, in the order of the ring, whenever the doorbell count is ahead of the
/// done count. The weights were asked for long before by `stream_prefetch`, which reads the same
/// descriptors at its own pace. What an operation costs besides loading, rounds and writing:
/// 18 cycles for the descriptor, 4 for checks and decisions, 2 to start, 5 at the end, in which
/// an error that came with the last answer still stops the count.
///
/// A descriptor that breaks a rule raises descriptor_error_o and nothing runs. With error_i
/// high no operation starts or ends; if none was running, the descriptor of the next one is read
/// for its tag alone, so that the host learns which operation was due.
module op_sequencer
  import accel_pkg::*;
#(
  parameter int unsigned Tokens    = 8,
  parameter int unsigned MaxGroups = 96,
  parameter int unsigned BiasRows  = 4096,
  parameter int unsigned Layout    = LayoutRowBlock
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,

  input  logic                      enable_i,
  input  logic                      error_i,
  input  logic [31:0]               doorbell_i,
  input  logic [8:0]                ring_entries_i,
  output logic [31:0]               done_count_o,
  output logic                      done_o,            // pulse: an operation ended
  output logic                      busy_o,
  output logic                      descriptor_error_o,
  output logic [31:0]               tag_o,

  output logic                      desc_req_o,        // data 2 cycles later
  output logic [7:0]                desc_index_o,
  output logic [3:0]                desc_word_o,
  input  logic [31:0]               desc_data_i,

  output op_config_t                config_o,          // stable while the operation runs
  output logic [NumPorts-1:0][17:0] first_block_o,     // of each port, in the matrix
  output logic [17:0]               total_blocks_o,
  output addr_t                     activations_o,
  output addr_t                     activation_stride_o,
  output addr_t                     results_o,
  output addr_t                     result_stride_o,
  output addr_t                     bias_o,

  output logic                      load_start_o,
  input  logic                      load_done_i,
  output logic                      loading_o,
  output logic                      start_o,
  input  logic                      compute_idle_i,
  input  logic                      results_done_i
);
  localparam int unsigned BlockChannels = block_channels(Layout);
  localparam int unsigned ChannelBits   = $clog2(BlockChannels);
  localparam int unsigned BiasBlocks    = BiasRows / NumPorts / BlockChannels;

  if (Tokens < 1 || Tokens > 8) begin : g_check_tokens
    $error("op_sequencer: Tokens must be 1 to 8");
  end
  if (MaxGroups < 1 || MaxGroups > 255 || BiasRows < 64 || BiasRows > 65535) begin : g_check_sizes
    $error("op_sequencer: MaxGroups must be 1 to 255 and BiasRows 64 to 65535");
  end

  typedef enum logic [3:0] {
    Idle,
    Read,
    Sum,
    Compare,
    Decide,
    Load,
    Start,
    Started,
    Run,
    Settle,
    Halted
  } state_e;

  state_e      state_q;
  logic [31:0] done_count_q;
  logic [7:0]  index_q;
  logic        due_q;
  logic        done_q, load_start_q;
  logic [2:0]  settle_q;

  assign done_count_o       = done_count_q;
  assign done_o             = done_q;
  assign busy_o             = state_q != Idle && state_q != Halted;
  assign loading_o          = state_q == Load;
  assign load_start_o       = load_start_q;
  assign start_o            = state_q == Start;

  // ------------------------------------------------------------------- reading the descriptor
  logic [4:0] asked_q;          // words asked for, 16: all
  logic [1:0] arriving_q;
  logic [3:0] word_q;           // the word at desc_data_i

  assign desc_req_o   = state_q == Read && !asked_q[4];
  assign desc_index_o = index_q;
  assign desc_word_o  = asked_q[3:0];

  op_config_t                config_q;
  logic [3:0]                kind_q, tokens_field_q;
  logic [31:0]               tag_q;
  logic [31:0]               activations_q, results_q, bias_q, result_stride_q, act_stride_q;

  assign config_o            = config_q;
  assign tag_o               = tag_q;
  assign activations_o       = {2'b00, activations_q, 6'b0};
  assign activation_stride_o = {2'b00, act_stride_q, 6'b0};
  assign results_o           = {2'b00, results_q, 6'b0};
  assign result_stride_o     = {2'b00, result_stride_q, 6'b0};
  assign bias_o              = {2'b00, bias_q, 6'b0};

  always_ff @(posedge clk_i) begin
    if (!rst_ni || state_q != Read) begin
      asked_q    <= '0;
      arriving_q <= '0;
      word_q     <= '0;
    end else begin
      if (desc_req_o) asked_q <= asked_q + 5'd1;
      arriving_q <= {arriving_q[0], desc_req_o};
      if (arriving_q[1]) word_q <= word_q + 4'd1;
    end
    if (arriving_q[1]) begin
      unique case (word_q)
        4'd0: begin
          config_q.has_bias  <= desc_data_i[0];
          config_q.top_k     <= desc_data_i[1];
          config_q.segments  <= desc_data_i[2];
          config_q.tokens_m1 <= desc_data_i[6:4];
          tokens_field_q     <= desc_data_i[7:4];
          kind_q             <= desc_data_i[31:28];
        end
        4'd1: begin
          config_q.groups      <= desc_data_i[15:0];
          config_q.block_beats <= desc_data_i[31:16];
        end
        4'd2:  config_q.rows <= desc_data_i;
        4'd3:  tag_q <= desc_data_i;
        4'd8:  config_q.blocks[1:0] <= desc_data_i;
        4'd9:  config_q.blocks[3:2] <= desc_data_i;
        4'd10: activations_q <= desc_data_i;
        4'd11: results_q <= desc_data_i;
        4'd12: bias_q <= desc_data_i;
        4'd13: result_stride_q <= desc_data_i;
        4'd14: act_stride_q <= desc_data_i;
        4'd15: config_q.header_beats <= desc_data_i[15:0];
        default: ;
      endcase
    end
  end

  // ------------------------------------------------------------------------ checks, in 3 steps
  logic [17:0]               sum01_q, sum23_q, total_q;
  logic [NumPorts-1:0][17:0] first_q;
  logic [32:0]               rows_up_q;
  logic [15:0]               want_beats_q, want_header_q;
  logic                      bad_blocks_q, bad_size_q, bad_kind_q, bad_bias_q;

  assign first_block_o      = first_q;
  assign total_blocks_o     = total_q;
  assign descriptor_error_o = state_q == Decide && !error_i
                              && (bad_blocks_q || bad_size_q || bad_kind_q || bad_bias_q);

  always_ff @(posedge clk_i) begin
    unique case (state_q)
      Sum: begin
        sum01_q       <= 18'(config_q.blocks[0]) + 18'(config_q.blocks[1]);
        sum23_q       <= 18'(config_q.blocks[2]) + 18'(config_q.blocks[3]);
        rows_up_q     <= {1'b0, config_q.rows} + 33'(BlockChannels - 1);
        want_beats_q  <= config_q.segments ? 16'(config_q.groups * 16'(SegmentBeats))
                                           : expected_block_beats(config_q.groups, Layout);
        want_header_q <= (Layout == LayoutAwqMacro || config_q.segments)
                         ? '0 : row_block_header_beats(config_q.groups);
        bad_kind_q    <= kind_q != 4'd1 || 32'(tokens_field_q) >= Tokens
                         || (config_q.top_k && tokens_field_q != '0)
                         || (config_q.segments && Layout == LayoutAwqMacro)
                         || config_q.groups == '0 || config_q.groups > 16'(MaxGroups);
        bad_bias_q    <= 1'b0;
        if (config_q.has_bias) begin
          bad_bias_q <= config_q.rows > BiasRows;
          for (int unsigned p = 0; p < NumPorts; p++) begin
            if (32'(config_q.blocks[p]) > BiasBlocks) bad_bias_q <= 1'b1;
          end
        end
      end
      Compare: begin
        first_q[0]   <= '0;
        first_q[1]   <= 18'(config_q.blocks[0]);
        first_q[2]   <= sum01_q;
        first_q[3]   <= sum01_q + 18'(config_q.blocks[2]);
        total_q      <= sum01_q + sum23_q;
        bad_blocks_q <= 33'(18'(sum01_q + sum23_q)) != (rows_up_q >> ChannelBits)
                        || config_q.rows == '0;
        bad_size_q   <= config_q.block_beats != want_beats_q
                        || config_q.header_beats != want_header_q;
      end
      default: ;
    endcase
  end

  // ------------------------------------------------------------------------- the operation
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q      <= Idle;
      done_count_q <= '0;
      index_q      <= '0;
      due_q        <= 1'b0;
      done_q       <= 1'b0;
      load_start_q <= 1'b0;
      settle_q     <= '0;
    end else begin
      // The count moves in the same cycle as due_q is used: it must not fire twice.
      due_q        <= enable_i && doorbell_i != done_count_q && state_q == Idle;
      done_q       <= 1'b0;
      load_start_q <= 1'b0;
      settle_q     <= (state_q == Settle) ? settle_q + 3'd1 : '0;
      unique case (state_q)
        Idle:    if (due_q || error_i) state_q <= Read;
        Read:    if (arriving_q[1] && word_q == 4'd15) state_q <= error_i ? Halted : Sum;
        Sum:     state_q <= Compare;
        Compare: state_q <= Decide;
        Decide: begin
          state_q <= Load;
          if (error_i || descriptor_error_o) state_q <= Halted;
          else                               load_start_q <= 1'b1;
        end
        Load: begin
          if (error_i)          state_q <= Halted;
          else if (load_done_i) state_q <= Start;
        end
        Start:   state_q <= Started;
        Started: state_q <= Run;
        Run: begin
          if (error_i)                               state_q <= Halted;
          else if (results_done_i && compute_idle_i) state_q <= Settle;
        end
        Settle: begin
          if (error_i) begin
            state_q <= Halted;
          end else if (settle_q == 3'd3) begin
            state_q      <= Idle;
            done_q       <= 1'b1;
            done_count_q <= done_count_q + 32'd1;
            index_q      <= (9'(index_q) + 9'd1 == ring_entries_i) ? '0 : index_q + 8'd1;
          end
        end
        Halted:  ;
        default: state_q <= Halted;
      endcase
    end
  end
endmodule
