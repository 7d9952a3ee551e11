/// Takes the beats of the four ports in lock-step, keeps the headers and hands tiles to the compute
/// core.
///
/// Latency from a beat at s_data_i to its tile: 2 cycles (row block), 3 or 4 (AWQ_MACRO).
/// Throughput one beat of every active port a cycle. tile_o of a port that is not active has no
/// meaning. Tiles cannot be held back: the core says with bank_free_i whether the next block may
/// begin.
module stream_front
  import accel_pkg::*;
#(
  parameter int unsigned Layout    = LayoutRowBlock,
  parameter int unsigned MaxGroups = 96
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       flush_i,      // level: forget the operation

  input  logic                       start_i,      // pulse while idle; config_i stable until done_o
  input  op_config_t                 config_i,
  output logic                       done_o,       // pulse: the last beat was taken

  input  logic  [NumPorts-1:0]       s_valid_i,
  output logic  [NumPorts-1:0]       s_ready_o,
  input  beat_t [NumPorts-1:0]       s_data_i,

  input  logic                       bank_free_i,  // looked at before the first beat of every round
  output tile_ctrl_t                 tile_ctrl_o,
  output tile_t [NumPorts-1:0]       tile_o,

  input  logic                       hdr_req_i,    // 2 cycles later: scale and zero point
  input  logic                       hdr_bank_i,
  input  logic [7:0]                 hdr_group_i,
  input  logic [3:0]                 hdr_channel_i,
  output logic [NumPorts-1:0][15:0]  hdr_scale_o,
  output logic [NumPorts-1:0][3:0]   hdr_zero_o,

  output logic                       take_o,       // pulse: a beat was taken from every active port
  output logic [NumPorts-1:0]        stall_o       // pulse: its beat was wanted and not there
);

  logic [NumPorts-1:0] valid, ready;
  tile_ctrl_t          ctrl;
  logic                scale_we, zero_we, segments;
  logic [7:0]          header_index;
  logic                take;

  beat_sequencer #(
    .Layout(Layout)
  ) i_sequencer (
    .clk_i,
    .rst_ni,
    .flush_i,
    .start_i,
    .config_i,
    .done_o,
    .valid_i        (valid),
    .ready_o        (ready),
    .take_o         (take),
    .stall_o,
    .bank_free_i,
    .tile_ctrl_o    (ctrl),
    .scale_we_o     (scale_we),
    .zero_we_o      (zero_we),
    .header_index_o (header_index),
    .segments_o     (segments)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) take_o <= 1'b0;
    else         take_o <= take;
  end

  for (genvar p = 0; p < NumPorts; p++) begin : g_port
    beat_t arrived, kept;

    // The FIFOs lie all over the chip: their valid, data and ready end in registers here.
    skid_buffer #(
      .Width(BeatWidth)
    ) i_skid (
      .clk_i,
      .rst_ni,
      .flush_i,
      .valid_i (s_valid_i[p]),
      .ready_o (s_ready_o[p]),
      .data_i  (s_data_i[p]),
      .valid_o (valid[p]),
      .ready_i (ready[p]),
      .data_o  (arrived)
    );

    unpack #(
      .Layout(Layout)
    ) i_unpack (
      .clk_i,
      .take_i (ready[p]),
      .pair_i (ctrl.valid),
      .beat_i (arrived),
      .beat_o (kept),
      .tile_o (tile_o[p])
    );

    header_buffer #(
      .Layout   (Layout),
      .MaxGroups(MaxGroups)
    ) i_header (
      .clk_i,
      .scale_we_i    (scale_we && ctrl.active[p]),
      .zero_we_i     (zero_we && ctrl.active[p]),
      .segments_i    (segments),
      .bank_i        (ctrl.bank),
      .index_i       (header_index),
      .beat_i        (kept),
      .req_i         (hdr_req_i),
      .req_bank_i    (hdr_bank_i),
      .req_group_i   (hdr_group_i),
      .req_channel_i (hdr_channel_i),
      .scale_o       (hdr_scale_o[p]),
      .zero_o        (hdr_zero_o[p])
    );
  end

  if (Layout == LayoutRowBlock) begin : g_row_block
    assign tile_ctrl_o = ctrl;
  end else begin : g_awq_macro
    // Two tiles for every second beat: the same control twice, but for the quad.
    tile_ctrl_t ctrl_q;
    logic       second_q;

    always_ff @(posedge clk_i) begin
      if (!rst_ni || flush_i) second_q <= 1'b0;
      else                    second_q <= ctrl.valid;
    end

    always_ff @(posedge clk_i) begin
      if (ctrl.valid)    ctrl_q      <= ctrl;
      else if (second_q) ctrl_q.quad <= 2'd1;
    end

    logic valid_q;

    always_ff @(posedge clk_i) begin
      if (!rst_ni || flush_i) valid_q <= 1'b0;
      else                    valid_q <= ctrl.valid || second_q;
    end

    always_comb begin
      tile_ctrl_o       = ctrl_q;
      tile_ctrl_o.valid = valid_q;
    end
  end

endmodule
