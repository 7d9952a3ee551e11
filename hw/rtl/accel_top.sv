/// The accelerator: four weight ports, a data port, registers (docs/accelerator.md).
///
/// Only wiring. Weights flow from the four `stream_engine` through `stream_front` into
/// `compute_core`, whose results go to `data_port` or, for the head, to `top_k`; `accel_control`
/// says what and when. After an error all masters halt; a soft reset empties them, then resets all
/// but registers, descriptor ring and counters.
///
/// The AXI ports carry no _i/_o so that bus tools find them by their prefix. Weights are read as
/// normal memory; the data port asks for coherent access, non-secure as Linux's pages are.
module accel_top
  import accel_pkg::*;
#(
  parameter int unsigned Tokens         = 8,
  parameter int unsigned FifoDepth      = 28672,
  parameter int unsigned MaxOutstanding = 16,
  parameter int unsigned MaxGroups      = 96,
  parameter int unsigned BiasRows       = 4096,
  parameter int unsigned RingEntries    = 256,
  parameter int unsigned TopK           = 32,
  parameter int unsigned Layout         = LayoutRowBlock
) (
  input  logic        clk_i, rst_ni,
  output logic        irq_o,

  input  logic [15:0] s_axil_awaddr, s_axil_araddr,
  input  logic [2:0]  s_axil_awprot, s_axil_arprot,
  input  logic        s_axil_awvalid, s_axil_wvalid, s_axil_bready, s_axil_arvalid, s_axil_rready,
  output logic        s_axil_awready, s_axil_wready, s_axil_bvalid, s_axil_arready, s_axil_rvalid,
  input  logic [31:0] s_axil_wdata,
  input  logic [3:0]  s_axil_wstrb,
  output logic [31:0] s_axil_rdata,
  output logic [1:0]  s_axil_bresp, s_axil_rresp,

  output logic       m_axi_w0_arid, m_axi_w1_arid, m_axi_w2_arid, m_axi_w3_arid,
  output addr_t      m_axi_w0_araddr, m_axi_w1_araddr, m_axi_w2_araddr, m_axi_w3_araddr,
  output logic [7:0] m_axi_w0_arlen, m_axi_w1_arlen, m_axi_w2_arlen, m_axi_w3_arlen,
  output logic [2:0] m_axi_w0_arsize, m_axi_w1_arsize, m_axi_w2_arsize, m_axi_w3_arsize,
  output logic [1:0] m_axi_w0_arburst, m_axi_w1_arburst, m_axi_w2_arburst, m_axi_w3_arburst,
  output logic [3:0] m_axi_w0_arcache, m_axi_w1_arcache, m_axi_w2_arcache, m_axi_w3_arcache,
  output logic [2:0] m_axi_w0_arprot, m_axi_w1_arprot, m_axi_w2_arprot, m_axi_w3_arprot,
  output logic       m_axi_w0_arvalid, m_axi_w1_arvalid, m_axi_w2_arvalid, m_axi_w3_arvalid,
  input  logic       m_axi_w0_arready, m_axi_w1_arready, m_axi_w2_arready, m_axi_w3_arready,
  input  logic       m_axi_w0_rid, m_axi_w1_rid, m_axi_w2_rid, m_axi_w3_rid,
  input  beat_t      m_axi_w0_rdata, m_axi_w1_rdata, m_axi_w2_rdata, m_axi_w3_rdata,
  input  logic [1:0] m_axi_w0_rresp, m_axi_w1_rresp, m_axi_w2_rresp, m_axi_w3_rresp,
  input  logic       m_axi_w0_rlast, m_axi_w1_rlast, m_axi_w2_rlast, m_axi_w3_rlast,
  input  logic       m_axi_w0_rvalid, m_axi_w1_rvalid, m_axi_w2_rvalid, m_axi_w3_rvalid,
  output logic       m_axi_w0_rready, m_axi_w1_rready, m_axi_w2_rready, m_axi_w3_rready,

  output logic       m_axi_d_arid, m_axi_d_awid,
  output addr_t      m_axi_d_araddr, m_axi_d_awaddr,
  output logic [7:0] m_axi_d_arlen, m_axi_d_awlen,
  output logic [2:0] m_axi_d_arsize, m_axi_d_awsize,
  output logic [1:0] m_axi_d_arburst, m_axi_d_awburst,
  output logic [3:0] m_axi_d_arcache, m_axi_d_awcache,
  output logic [2:0] m_axi_d_arprot, m_axi_d_awprot,
  output logic       m_axi_d_arvalid, m_axi_d_awvalid, m_axi_d_wvalid, m_axi_d_wlast,
  input  logic       m_axi_d_arready, m_axi_d_awready, m_axi_d_wready,
  output beat_t      m_axi_d_wdata,
  output logic [BeatBytes-1:0] m_axi_d_wstrb,
  input  logic       m_axi_d_rid, m_axi_d_bid,
  input  beat_t      m_axi_d_rdata,
  input  logic [1:0] m_axi_d_rresp, m_axi_d_bresp,
  input  logic       m_axi_d_rvalid, m_axi_d_rlast, m_axi_d_bvalid,
  output logic       m_axi_d_rready, m_axi_d_bready
);
  localparam int unsigned LevelWidth = $clog2(FifoDepth + 1);

  localparam logic [2:0] Size16    = 3'($clog2(BeatBytes));
  localparam logic [1:0] Incr      = 2'b01;
  localparam logic [3:0] Normal    = 4'b0011;
  localparam logic [3:0] Coherent  = 4'b1111;
  localparam logic [2:0] NonSecure = 3'b010;

  if (FifoDepth < 32 || FifoDepth > 65535) begin : g_check_fifo
    $error("accel_top: FifoDepth must be 32 to 65535");
  end

  // ----------------------------------------------------------------------------------- control
  logic                      core_rst_n, flush, halt;
  logic [31:0]               timeout;
  logic [5:0]                master_error, master_idle;
  error_e [5:0]              master_code;
  addr_t [5:0]               master_address;
  op_config_t                op_config;
  op_places_t                places;
  logic                      load_start, load_done, op_start, compute_idle, writer_done, topk_done;
  logic [7:0]                topk_count, topk_index;
  logic [31:0]               topk_value, topk_row;
  logic [NumPorts-1:0]       cmd_valid, cmd_ready;
  addr_t [NumPorts-1:0]      cmd_address;
  logic [NumPorts-1:0][31:0] cmd_beats;
  logic                      take;
  logic [4:0]                port_beat, port_stall, port_outstanding;
  logic [NumPorts-1:0]                 ar_valid, ar_ready, r_valid, r_ready, r_last;
  addr_t [NumPorts-1:0]                ar_address;
  logic [NumPorts-1:0][7:0]            ar_len;
  beat_t [NumPorts-1:0]                r_data;
  logic [NumPorts-1:0][1:0]            r_resp;
  logic [NumPorts-1:0]                 fifo_valid, fifo_ready;
  beat_t [NumPorts-1:0]                fifo_data;
  logic [NumPorts-1:0][LevelWidth-1:0] fifo_level;

  accel_control #(
    .Tokens     (Tokens),
    .FifoDepth  (FifoDepth),
    .MaxGroups  (MaxGroups),
    .BiasRows   (BiasRows),
    .RingEntries(RingEntries),
    .TopK       (TopK),
    .Layout     (Layout)
  ) i_control (
    .clk_i,
    .rst_ni,
    .irq_o,
    .s_axil_awaddr,
    .s_axil_awvalid,
    .s_axil_awready,
    .s_axil_wdata,
    .s_axil_wstrb,
    .s_axil_wvalid,
    .s_axil_wready,
    .s_axil_bresp,
    .s_axil_bvalid,
    .s_axil_bready,
    .s_axil_araddr,
    .s_axil_arvalid,
    .s_axil_arready,
    .s_axil_rdata,
    .s_axil_rresp,
    .s_axil_rvalid,
    .s_axil_rready,
    .core_rst_no        (core_rst_n),
    .flush_o            (flush),
    .halt_o             (halt),
    .timeout_o          (timeout),
    .master_idle_i      (master_idle),
    .master_error_i     (master_error),
    .master_code_i      (master_code),
    .master_address_i   (master_address),
    .bus_progress_i     (r_valid != '0 || m_axi_d_rvalid || m_axi_d_bvalid),
    .cmd_valid_o        (cmd_valid),
    .cmd_ready_i        (cmd_ready),
    .cmd_address_o      (cmd_address),
    .cmd_beats_o        (cmd_beats),
    .config_o           (op_config),
    .places_o           (places),
    .load_start_o       (load_start),
    .load_done_i        (load_done),
    .start_o            (op_start),
    .compute_idle_i     (compute_idle),
    .results_done_i     (op_config.top_k ? topk_done : writer_done),
    .topk_count_i       (topk_count),
    .topk_index_o       (topk_index),
    .topk_value_i       (topk_value),
    .topk_row_i         (topk_row),
    .take_i             (take),
    .port_beat_i        (port_beat),
    .port_stall_i       (port_stall),
    .port_outstanding_i (port_outstanding),
    .fifo_level_i       (fifo_level)
  );

  // ------------------------------------------------------------------------------ weight ports
  assign ar_ready = {m_axi_w3_arready, m_axi_w2_arready, m_axi_w1_arready, m_axi_w0_arready};
  assign r_valid = {m_axi_w3_rvalid, m_axi_w2_rvalid, m_axi_w1_rvalid, m_axi_w0_rvalid};
  assign r_last = {m_axi_w3_rlast, m_axi_w2_rlast, m_axi_w1_rlast, m_axi_w0_rlast};
  assign r_resp = {m_axi_w3_rresp, m_axi_w2_rresp, m_axi_w1_rresp, m_axi_w0_rresp};
  assign r_data = {m_axi_w3_rdata, m_axi_w2_rdata, m_axi_w1_rdata, m_axi_w0_rdata};
  assign {m_axi_w3_arvalid, m_axi_w2_arvalid, m_axi_w1_arvalid, m_axi_w0_arvalid} = ar_valid;
  assign {m_axi_w3_araddr, m_axi_w2_araddr, m_axi_w1_araddr, m_axi_w0_araddr} = ar_address;
  assign {m_axi_w3_arlen, m_axi_w2_arlen, m_axi_w1_arlen, m_axi_w0_arlen} = ar_len;
  assign {m_axi_w3_rready, m_axi_w2_rready, m_axi_w1_rready, m_axi_w0_rready} = r_ready;
  assign {m_axi_w3_arid, m_axi_w2_arid, m_axi_w1_arid, m_axi_w0_arid} = '0;
  assign {m_axi_w3_arsize, m_axi_w2_arsize, m_axi_w1_arsize, m_axi_w0_arsize} = {4{Size16}};
  assign {m_axi_w3_arburst, m_axi_w2_arburst, m_axi_w1_arburst, m_axi_w0_arburst} = {4{Incr}};
  assign {m_axi_w3_arcache, m_axi_w2_arcache, m_axi_w1_arcache, m_axi_w0_arcache} = {4{Normal}};
  assign {m_axi_w3_arprot, m_axi_w2_arprot, m_axi_w1_arprot, m_axi_w0_arprot} = {4{NonSecure}};

  for (genvar p = 0; p < NumPorts; p++) begin : g_weights
    stream_engine #(
      .FifoDepth     (FifoDepth),
      .MaxOutstanding(MaxOutstanding)
    ) i_engine (
      .clk_i,
      .rst_ni         (core_rst_n),
      .flush_i        (flush),
      .halt_i         (halt),
      .timeout_i      (timeout),
      .cmd_valid_i    (cmd_valid[p]),
      .cmd_ready_o    (cmd_ready[p]),
      .cmd_address_i  (cmd_address[p]),
      .cmd_beats_i    (cmd_beats[p]),
      .m_arvalid_o    (ar_valid[p]),
      .m_arready_i    (ar_ready[p]),
      .m_araddr_o     (ar_address[p]),
      .m_arlen_o      (ar_len[p]),
      .m_rvalid_i     (r_valid[p]),
      .m_rready_o     (r_ready[p]),
      .m_rdata_i      (r_data[p]),
      .m_rresp_i      (r_resp[p]),
      .m_rlast_i      (r_last[p]),
      .valid_o        (fifo_valid[p]),
      .ready_i        (fifo_ready[p]),
      .data_o         (fifo_data[p]),
      .level_o        (fifo_level[p]),
      .beat_o         (port_beat[p]),
      .burst_address_o(),
      .outstanding_o  (port_outstanding[p]),
      .idle_o         (master_idle[p]),
      .error_valid_o  (master_error[p]),
      .error_code_o   (master_code[p]),
      .error_address_o(master_address[p])
    );
  end

  // --------------------------------------------------------------------------------- data path
  tile_ctrl_t                tile_ctrl;
  tile_t [NumPorts-1:0]      tile;
  logic                      bank_free;
  logic                      hdr_req, hdr_bank;
  logic [7:0]                hdr_group;
  logic [3:0]                hdr_channel;
  logic [NumPorts-1:0][15:0] hdr_scale;
  logic [NumPorts-1:0][3:0]  hdr_zero;

  stream_front #(
    .Layout   (Layout),
    .MaxGroups(MaxGroups)
  ) i_front (
    .clk_i,
    .rst_ni       (core_rst_n),
    .flush_i      (flush),
    .start_i      (op_start),
    .config_i     (op_config),
    .done_o       (),
    .s_valid_i    (fifo_valid),
    .s_ready_o    (fifo_ready),
    .s_data_i     (fifo_data),
    .bank_free_i  (bank_free),
    .tile_ctrl_o  (tile_ctrl),
    .tile_o       (tile),
    .hdr_req_i    (hdr_req),
    .hdr_bank_i   (hdr_bank),
    .hdr_group_i  (hdr_group),
    .hdr_channel_i(hdr_channel),
    .hdr_scale_o  (hdr_scale),
    .hdr_zero_o   (hdr_zero),
    .take_o       (take),
    .stall_o      (port_stall[3:0])
  );

  logic                      act_we, side_we, bias_we;
  logic [2:0]                act_token, side_token;
  logic [8:0]                act_beat;
  logic [6:0]                side_pair;
  logic [1:0]                bias_port;
  logic [9:0]                bias_beat;
  beat_t                     operand;
  logic [NumPorts-1:0]       res_valid, res_ready, res_last, writer_ready, topk_ready;
  logic [NumPorts-1:0][31:0] res_data;
  logic [NumPorts-1:0][3:0]  res_channel;
  logic [NumPorts-1:0][2:0]  res_token;

  compute_core #(
    .Tokens   (Tokens),
    .MaxGroups(MaxGroups),
    .BiasRows (BiasRows),
    .Layout   (Layout)
  ) i_compute (
    .clk_i,
    .rst_ni       (core_rst_n),
    .start_i      (op_start),
    .config_i     (op_config),
    .tile_ctrl_i  (tile_ctrl),
    .tile_i       (tile),
    .bank_free_o  (bank_free),
    .hdr_req_o    (hdr_req),
    .hdr_bank_o   (hdr_bank),
    .hdr_group_o  (hdr_group),
    .hdr_channel_o(hdr_channel),
    .hdr_scale_i  (hdr_scale),
    .hdr_zero_i   (hdr_zero),
    .act_we_i     (act_we),
    .act_token_i  (act_token),
    .act_beat_i   (act_beat),
    .act_data_i   (operand),
    .side_we_i    (side_we),
    .side_token_i (side_token),
    .side_pair_i  (side_pair),
    .side_data_i  (operand),
    .bias_we_i    (bias_we),
    .bias_port_i  (bias_port),
    .bias_beat_i  (bias_beat),
    .bias_data_i  (operand),
    .res_valid_o  (res_valid),
    .res_ready_i  (res_ready),
    .res_data_o   (res_data),
    .res_channel_o(res_channel),
    .res_token_o  (res_token),
    .res_last_o   (res_last),
    .idle_o       (compute_idle)
  );

  assign res_ready = op_config.top_k ? topk_ready : writer_ready;

  top_k #(
    .TopK  (TopK),
    .Layout(Layout)
  ) i_top_k (
    .clk_i,
    .rst_ni       (core_rst_n),
    .start_i      (op_start && op_config.top_k),
    .rows_i       (op_config.rows),
    .blocks_i     (op_config.blocks),
    .first_block_i(places.first_block),
    .done_o       (topk_done),
    .res_valid_i  (res_valid & {NumPorts{op_config.top_k}}),
    .res_ready_o  (topk_ready),
    .res_data_i   (res_data),
    .res_channel_i(res_channel),
    .res_last_i   (res_last),
    .count_o      (topk_count),
    .read_index_i (topk_index),
    .read_value_o (topk_value),
    .read_row_o   (topk_row)
  );

  // --------------------------------------------------------------------------------- data port
  data_port #(
    .Tokens(Tokens),
    .Layout(Layout)
  ) i_data (
    .clk_i,
    .rst_ni             (core_rst_n),
    .flush_i            (flush),
    .halt_i             (halt),
    .timeout_i          (timeout),
    .config_i           (op_config),
    .places_i           (places),
    .load_start_i       (load_start),
    .load_done_o        (load_done),
    .start_i            (op_start),
    .results_done_o     (writer_done),
    .act_we_o           (act_we),
    .act_token_o        (act_token),
    .act_beat_o         (act_beat),
    .side_we_o          (side_we),
    .side_token_o       (side_token),
    .side_pair_o        (side_pair),
    .bias_we_o          (bias_we),
    .bias_port_o        (bias_port),
    .bias_beat_o        (bias_beat),
    .operand_o          (operand),
    .res_valid_i        (res_valid & {NumPorts{!op_config.top_k}}),
    .res_ready_o        (writer_ready),
    .res_data_i         (res_data),
    .res_channel_i      (res_channel),
    .res_token_i        (res_token),
    .res_last_i         (res_last),
    .m_arvalid_o        (m_axi_d_arvalid),
    .m_arready_i        (m_axi_d_arready),
    .m_araddr_o         (m_axi_d_araddr),
    .m_arlen_o          (m_axi_d_arlen),
    .m_rvalid_i         (m_axi_d_rvalid),
    .m_rready_o         (m_axi_d_rready),
    .m_rdata_i          (m_axi_d_rdata),
    .m_rresp_i          (m_axi_d_rresp),
    .m_rlast_i          (m_axi_d_rlast),
    .m_awvalid_o        (m_axi_d_awvalid),
    .m_awready_i        (m_axi_d_awready),
    .m_awaddr_o         (m_axi_d_awaddr),
    .m_awlen_o          (m_axi_d_awlen),
    .m_wvalid_o         (m_axi_d_wvalid),
    .m_wready_i         (m_axi_d_wready),
    .m_wdata_o          (m_axi_d_wdata),
    .m_wlast_o          (m_axi_d_wlast),
    .m_bvalid_i         (m_axi_d_bvalid),
    .m_bready_o         (m_axi_d_bready),
    .m_bresp_i          (m_axi_d_bresp),
    .beat_o             (port_beat[4]),
    .stall_o            (port_stall[4]),
    .outstanding_o      (port_outstanding[4]),
    .idle_o             (master_idle[5:4]),
    .error_valid_o      (master_error[5:4]),
    .error_code_o       (master_code[5:4]),
    .error_address_o    (master_address[5:4])
  );

  assign {m_axi_d_arid, m_axi_d_awid}       = '0;
  assign {m_axi_d_arsize, m_axi_d_awsize}   = {2{Size16}};
  assign {m_axi_d_arburst, m_axi_d_awburst} = {2{Incr}};
  assign {m_axi_d_arcache, m_axi_d_awcache} = {2{Coherent}};
  assign {m_axi_d_arprot, m_axi_d_awprot}   = {2{NonSecure}};
  assign m_axi_d_wstrb                      = '1;

  logic unused;
  assign unused = &{1'b0, s_axil_awprot, s_axil_arprot, m_axi_w0_rid, m_axi_w1_rid, m_axi_w2_rid,
                    m_axi_w3_rid, m_axi_d_rid, m_axi_d_bid};
endmodule
