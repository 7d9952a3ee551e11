/// The arithmetic of an operation: tiles of four ports and the activations in, results of the
/// matrix product out.
///
///   tile -- 2 cycles --> pe_array -> group_buffer -> group_accumulate -> result_drain ->   x4
///   line -> activation_buffer -^                          ^                    ^
///   slot -> header, side data ----------------------------+      bias_buffer --+
///
/// Throughput one tile a port a cycle, never stalled: the results have a second bank of
/// accumulators, and a block must not start unless `bank_free_o` was set after the first tile of
/// the block before it (it follows by 2 cycles).
///
/// When the last tile of a group is summed, the slots of that group follow in a fixed order, one a
/// cycle: quad, channel, token of a lane's pair. They take no longer than the tiles of the next
/// group, so two banks of sums are enough. From the last tile of a block its first result takes
/// about 85 cycles.
///
/// Operands are written while `idle_o`, before `start_i`. Lanes of tokens that an operation does
/// not have, and all of it while there is nothing to do, are not clocked. It knows no addresses and
/// no errors; reset is the only way to stop.
module compute_core
  import accel_pkg::*;
#(
  parameter int unsigned Tokens    = 8,     // 1, 2, 4 or 8
  parameter int unsigned MaxGroups = 96,
  parameter int unsigned BiasRows  = 4096,  // of all ports; each port keeps a quarter
  parameter int unsigned Layout    = LayoutRowBlock
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,

  input  logic                       start_i,        // before the first tile, while idle_o: a pulse
  input  op_config_t                 config_i,       // stable until idle_o

  input  tile_ctrl_t                 tile_ctrl_i,
  input  tile_t [NumPorts-1:0]       tile_i,
  output logic                       bank_free_o,    // another block may start

  output logic                       hdr_req_o,
  output logic                       hdr_bank_o,
  output logic [7:0]                 hdr_group_o,
  output logic [3:0]                 hdr_channel_o,
  input  logic [NumPorts-1:0][15:0]  hdr_scale_i,    // 2 cycles after hdr_req_o
  input  logic [NumPorts-1:0][3:0]   hdr_zero_i,

  input  logic                       act_we_i,       // inputs 16 beat .. 16 beat + 15 of a token
  input  logic [2:0]                 act_token_i,
  input  logic [8:0]                 act_beat_i,
  input  beat_t                      act_data_i,
  input  logic                       side_we_i,      // {sum, scale} of groups 2 pair, 2 pair + 1
  input  logic [2:0]                 side_token_i,
  input  logic [6:0]                 side_pair_i,
  input  beat_t                      side_data_i,
  input  logic                       bias_we_i,      // rows 4 beat .. 4 beat + 3 of a port
  input  logic [1:0]                 bias_port_i,
  input  logic [9:0]                 bias_beat_i,
  input  beat_t                      bias_data_i,

  output logic [NumPorts-1:0]        res_valid_o,
  input  logic [NumPorts-1:0]        res_ready_i,
  output logic [NumPorts-1:0][31:0]  res_data_o,
  output logic [NumPorts-1:0][3:0]   res_channel_o,
  output logic [NumPorts-1:0][2:0]   res_token_o,
  output logic [NumPorts-1:0]        res_last_o,     // last result of a block

  output logic                       idle_o          // no block in work and no result waiting
);

  if (!(Tokens inside {1, 2, 4, 8})) begin : g_check_tokens
    $error("compute_core: Tokens must be 1, 2, 4 or 8");
  end
  if (BiasRows < 64 || BiasRows % 64 != 0 || BiasRows > 16384) begin : g_check_bias_rows
    $error("compute_core: BiasRows must be a multiple of 64, at most 16384");
  end
  if (Layout != LayoutRowBlock && Layout != LayoutAwqMacro) begin : g_check_layout
    $error("compute_core: Layout must be 0 or 1");
  end

  localparam int unsigned Lanes        = (Tokens + 1) / 2;
  localparam int unsigned Channels     = block_channels(Layout);
  localparam logic [1:0]  LastQuad     = 2'(Channels / TileChannels - 1);
  localparam logic [4:0]  LastSlot     = 5'(2 * Channels - 1);
  localparam int unsigned LineLatency  = 2;   // of activation_buffer
  localparam int unsigned ChainLatency = 10;  // of dot_chain
  localparam int unsigned SumLatency   = LineLatency + ChainLatency;
  localparam int unsigned PortRows     = BiasRows / NumPorts;
  localparam int unsigned PortRowWidth = $clog2(PortRows);

  // Enabled tokens.
  logic [Tokens-1:0] token_en_q;

  always_ff @(posedge clk_i) token_en_q <= Tokens'((9'd2 << config_i.tokens_m1) - 9'd1);

  // Tiles wait for their line; what they are waits for their sums.
  tile_ctrl_t           ctrl_q [1:SumLatency];
  logic [SumLatency:1]  ctrl_valid;
  tile_t [NumPorts-1:0] tile1_q, tile2_q;
  tile_ctrl_t           sum_ctrl;
  logic                 move_q;

  for (genvar s = 1; s <= SumLatency; s++) begin : g_ctrl
    if (s == 1) begin : g_first
      always_ff @(posedge clk_i) begin
        if (!rst_ni) ctrl_q[s] <= '0;
        else if (tile_ctrl_i.valid || move_q) ctrl_q[s] <= tile_ctrl_i;
      end
    end else begin : g_next
      always_ff @(posedge clk_i) begin
        if (!rst_ni) ctrl_q[s] <= '0;
        else if (move_q) ctrl_q[s] <= ctrl_q[s-1];
      end
    end
    assign ctrl_valid[s] = ctrl_q[s].valid;
  end

  assign sum_ctrl = ctrl_q[SumLatency];

  always_ff @(posedge clk_i) begin
    if (!rst_ni) move_q <= 1'b0;
    else         move_q <= tile_ctrl_i.valid || |ctrl_valid;
  end

  always_ff @(posedge clk_i) begin
    if (tile_ctrl_i.valid)   tile1_q <= tile_i;
    if (ctrl_q[1].valid)     tile2_q <= tile1_q;
  end

  // The slots of a finished group.
  typedef struct packed {
    logic                bank;        // of header and accumulators
    logic                sum_bank;
    logic                first_group;
    logic                last_group;
    logic [7:0]          group;
    logic [NumPorts-1:0] active;
  } group_t;

  logic                sum_bank_q;
  logic                group_done;
  logic                slot_valid_q;
  logic [4:0]          slot_q;        // {quad, channel, token of the pair}
  group_t              group_q;

  // Only a segment comes to line 0 twice.
  logic low_plane;
  assign low_plane = sum_ctrl.line == '0 && !sum_ctrl.first_line;

  assign group_done = sum_ctrl.valid && sum_ctrl.last_line && sum_ctrl.quad == LastQuad;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      sum_bank_q   <= 1'b0;
      slot_valid_q <= 1'b0;
    end else begin
      if (group_done) sum_bank_q <= !sum_bank_q;
      if (group_done)                slot_valid_q <= 1'b1;
      else if (slot_q == LastSlot)   slot_valid_q <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (group_done) begin
      slot_q  <= '0;
      group_q <= '{bank: sum_ctrl.bank, sum_bank: sum_bank_q, first_group: sum_ctrl.first_group,
                   last_group: sum_ctrl.last_group, group: sum_ctrl.group, active: sum_ctrl.active};
    end else if (slot_valid_q) begin
      slot_q <= slot_q + 5'd1;
    end
  end

  // The data of a slot need 2 cycles.
  logic       slot_valid1_q, slot_valid2_q;
  logic [4:0] slot1_q, slot2_q;
  group_t     group1_q, group2_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      slot_valid1_q <= 1'b0;
      slot_valid2_q <= 1'b0;
    end else begin
      slot_valid1_q <= slot_valid_q;
      slot_valid2_q <= slot_valid1_q;
    end
  end

  always_ff @(posedge clk_i) begin
    if (slot_valid_q) begin
      slot1_q  <= slot_q;
      group1_q <= group_q;
    end
    if (slot_valid1_q) begin
      slot2_q  <= slot1_q;
      group2_q <= group1_q;
    end
  end

  assign hdr_req_o     = slot_valid_q;
  assign hdr_bank_o    = group_q.bank;
  assign hdr_group_o   = group_q.group;
  assign hdr_channel_o = slot_q[4:1];

  // Activations.
  logic [Tokens-1:0][TileInputs-1:0][7:0] activation;
  logic [Lanes-1:0][31:0]                 act_scale;
  logic [Lanes-1:0][13:0]                 act_sum;

  activation_buffer #(
    .Tokens   (Tokens),
    .MaxGroups(MaxGroups)
  ) u_activation_buffer (
    .clk_i,
    .code_we_i   (act_we_i),
    .code_token_i(act_token_i),
    .code_beat_i (act_beat_i),
    .code_data_i (act_data_i),
    .side_we_i,
    .side_token_i,
    .side_pair_i,
    .side_data_i,
    .token_en_i  (token_en_q),
    .move_i      (move_q),
    .line_en_i   (tile_ctrl_i.valid),
    .line_group_i(tile_ctrl_i.group),
    .line_i      (tile_ctrl_i.line),
    .activation_o(activation),
    .side_en_i   (slot_valid_q),
    .side_group_i(group_q.group),
    .side_slot_i (slot_q[0]),
    .scale_o     (act_scale),
    .sum_o       (act_sum)
  );

  // Banks of accumulators: taken by the first tile of a block, given back by the drains of all
  // ports that had it.
  logic [1:0][NumPorts-1:0] busy_q, freed;
  logic                     block_start, next_bank_q;

  assign block_start = tile_ctrl_i.valid && tile_ctrl_i.first_group && tile_ctrl_i.first_line
                       && tile_ctrl_i.quad == 2'd0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q      <= '0;
      next_bank_q <= 1'b0;
      bank_free_o <= 1'b1;
    end else begin
      busy_q <= busy_q & ~freed;
      if (block_start) begin
        busy_q[tile_ctrl_i.bank] <= tile_ctrl_i.active;
        next_bank_q              <= !tile_ctrl_i.bank;
      end
      bank_free_o <= busy_q[next_bank_q] == '0;
    end
  end

  logic [NumPorts-1:0] drain_idle;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) idle_o <= 1'b1;
    else         idle_o <= busy_q == '0 && &drain_idle && !tile_ctrl_i.valid;
  end

  for (genvar p = 0; p < NumPorts; p++) begin : g_port
    logic [Tokens-1:0][1:0][37:0] sum;
    logic [Lanes-1:0][21:0]       dot;
    logic                         slot_valid;
    logic                         block_done, block_bank;
    logic [1:0]                   port_freed;
    logic                         read_en, read_bank;
    logic [2:0]                   read_token;
    logic [3:0]                   read_channel;
    logic [31:0]                  read_data, bias;
    logic [PortRowWidth-1:0]      bias_row;

    pe_array #(
      .Tokens(Tokens)
    ) u_pe_array (
      .clk_i,
      .en_i        (move_q),
      .token_en_i  (token_en_q),
      .tile_i      (tile2_q[p]),
      .activation_i(activation),
      .sum_o       (sum)
    );

    group_buffer #(
      .Tokens(Tokens)
    ) u_group_buffer (
      .clk_i,
      .valid_i       (sum_ctrl.valid && sum_ctrl.active[p]),
      .token_en_i    (token_en_q),
      .bank_i        (sum_bank_q),
      .quad_i        (sum_ctrl.quad),
      .first_line_i  (sum_ctrl.first_line),
      .low_plane_i   (low_plane),
      .sum_i         (sum),
      .read_en_i     ({slot_valid1_q && group1_q.active[p], slot_valid_q && group_q.active[p]}),
      .read_bank_i   (group_q.sum_bank),
      .read_quad_i   (slot_q[4:3]),
      .read_channel_i(slot_q[2:1]),
      .read_token_i  (slot_q[0]),
      .dot_o         (dot)
    );

    assign slot_valid = slot_valid2_q && group2_q.active[p];

    group_accumulate #(
      .Tokens(Tokens)
    ) u_group_accumulate (
      .clk_i,
      .rst_ni,
      .valid_i       (slot_valid),
      .token_en_i    (token_en_q),
      .token_i       (slot2_q[0]),
      .channel_i     (slot2_q[4:1]),
      .bank_i        (group2_q.bank),
      .first_i       (group2_q.first_group),
      .end_i         (group2_q.last_group && slot2_q[4:1] == LastSlot[4:1]),
      .segments_i    (config_i.segments),
      .dot_i         (dot),
      .act_sum_i     (act_sum),
      .act_scale_i   (act_scale),
      .scale_i       (hdr_scale_i[p]),
      .zero_i        (hdr_zero_i[p]),
      .done_o        (block_done),
      .done_bank_o   (block_bank),
      .read_en_i     (read_en),
      .read_bank_i   (read_bank),
      .read_token_i  (read_token),
      .read_channel_i(read_channel),
      .read_data_o   (read_data)
    );

    bias_buffer #(
      .Rows(PortRows)
    ) u_bias_buffer (
      .clk_i,
      .write_i  (bias_we_i && bias_port_i == 2'(p)),
      .beat_i   ((PortRowWidth - 2)'(bias_beat_i)),
      .data_i   (bias_data_i),
      .read_en_i(read_en),
      .row_i    (bias_row),
      .bias_o   (bias)
    );

    result_drain #(
      .Channels(Channels),
      .BiasRows(PortRows)
    ) u_result_drain (
      .clk_i,
      .rst_ni,
      .start_i,
      .tokens_m1_i   (config_i.tokens_m1),
      .has_bias_i    (config_i.has_bias),
      .block_i       (block_done),
      .block_bank_i  (block_bank),
      .freed_o       (port_freed),
      .read_en_o     (read_en),
      .read_bank_o   (read_bank),
      .read_token_o  (read_token),
      .read_channel_o(read_channel),
      .read_data_i   (read_data),
      .bias_row_o    (bias_row),
      .bias_i        (bias),
      .valid_o       (res_valid_o[p]),
      .ready_i       (res_ready_i[p]),
      .data_o        (res_data_o[p]),
      .channel_o     (res_channel_o[p]),
      .token_o       (res_token_o[p]),
      .last_o        (res_last_o[p]),
      .idle_o        (drain_idle[p])
    );

    assign freed[0][p] = port_freed[0];
    assign freed[1][p] = port_freed[1];
  end

  logic unused;
  assign unused = ^{config_i, bias_beat_i, sum_ctrl, group2_q};

endmodule
