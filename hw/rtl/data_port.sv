/// The data port: bias and activations in, results out, over one AXI4 port of which reading and
/// writing do not know each other.
///
/// Only wiring: `operand_loader` reads, `result_writer` collects what `axi_write_master` writes.
/// Index 0 of the states is the reading side, 1 the writing side.
module data_port
  import accel_pkg::*;
#(
  parameter int unsigned Tokens = 8,
  parameter int unsigned Layout = LayoutRowBlock
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       flush_i,
  input  logic                       halt_i,
  input  logic [31:0]                timeout_i,

  input  op_config_t                 config_i,
  input  op_places_t                 places_i,
  input  logic                       load_start_i,
  output logic                       load_done_o,
  input  logic                       start_i,
  output logic                       results_done_o,

  output logic                       act_we_o,
  output logic [2:0]                 act_token_o,
  output logic [8:0]                 act_beat_o,
  output logic                       side_we_o,
  output logic [2:0]                 side_token_o,
  output logic [6:0]                 side_pair_o,
  output logic                       bias_we_o,
  output logic [1:0]                 bias_port_o,
  output logic [9:0]                 bias_beat_o,
  output beat_t                      operand_o,

  input  logic [NumPorts-1:0]        res_valid_i,
  output logic [NumPorts-1:0]        res_ready_o,
  input  logic [NumPorts-1:0][31:0]  res_data_i,
  input  logic [NumPorts-1:0][3:0]   res_channel_i,
  input  logic [NumPorts-1:0][2:0]   res_token_i,
  input  logic [NumPorts-1:0]        res_last_i,

  output logic                       m_arvalid_o,
  input  logic                       m_arready_i,
  output addr_t                      m_araddr_o,
  output logic [7:0]                 m_arlen_o,
  input  logic                       m_rvalid_i,
  output logic                       m_rready_o,
  input  beat_t                      m_rdata_i,
  input  logic [1:0]                 m_rresp_i,
  input  logic                       m_rlast_i,
  output logic                       m_awvalid_o,
  input  logic                       m_awready_i,
  output addr_t                      m_awaddr_o,
  output logic [7:0]                 m_awlen_o,
  output logic                       m_wvalid_o,
  input  logic                       m_wready_i,
  output beat_t                      m_wdata_o,
  output logic                       m_wlast_o,
  input  logic                       m_bvalid_i,
  output logic                       m_bready_o,
  input  logic [1:0]                 m_bresp_i,

  output logic                       beat_o,
  output logic                       stall_o,
  output logic                       outstanding_o,
  output logic [1:0]                 idle_o,
  output logic [1:0]                 error_valid_o,
  output error_e [1:0]               error_code_o,
  output addr_t [1:0]                error_address_o
);
  logic       read_beat, write_beat;
  logic [1:0] outstanding;
  logic       write_cmd_valid, write_cmd_ready, write_data_valid;
  addr_t      write_address;
  logic [4:0] write_beats;
  beat_t      write_data;

  assign beat_o        = read_beat || write_beat;
  assign outstanding_o = outstanding != '0;

  operand_loader #(
    .Layout(Layout)
  ) i_loader (
    .clk_i,
    .rst_ni,
    .flush_i,
    .halt_i,
    .timeout_i,
    .start_i        (load_start_i),
    .config_i       (config_i),
    .total_blocks_i (places_i.total_blocks),
    .bias_i         (places_i.bias),
    .activations_i  (places_i.activations),
    .stride_i       (places_i.activation_stride),
    .done_o         (load_done_o),
    .act_we_o,
    .act_token_o,
    .act_beat_o,
    .side_we_o,
    .side_token_o,
    .side_pair_o,
    .bias_we_o,
    .bias_port_o,
    .bias_beat_o,
    .data_o         (operand_o),
    .m_arvalid_o,
    .m_arready_i,
    .m_araddr_o,
    .m_arlen_o,
    .m_rvalid_i,
    .m_rready_o,
    .m_rdata_i,
    .m_rresp_i,
    .m_rlast_i,
    .beat_o         (read_beat),
    .outstanding_o  (outstanding[0]),
    .idle_o         (idle_o[0]),
    .error_valid_o  (error_valid_o[0]),
    .error_code_o   (error_code_o[0]),
    .error_address_o(error_address_o[0])
  );

  result_writer #(
    .Tokens(Tokens),
    .Layout(Layout)
  ) i_writer (
    .clk_i,
    .rst_ni,
    .start_i      (start_i && !config_i.top_k),
    .tokens_m1_i  (config_i.tokens_m1),
    .blocks_i     (config_i.blocks),
    .first_block_i(places_i.first_block),
    .results_i    (places_i.results),
    .stride_i     (places_i.result_stride),
    .done_o       (results_done_o),
    .res_valid_i,
    .res_ready_o,
    .res_data_i,
    .res_channel_i,
    .res_token_i,
    .res_last_i,
    .cmd_valid_o  (write_cmd_valid),
    .cmd_ready_i  (write_cmd_ready),
    .cmd_address_o(write_address),
    .cmd_beats_o  (write_beats),
    .data_valid_o (write_data_valid),
    .data_o       (write_data),
    .master_idle_i(idle_o[1])
  );

  axi_write_master i_write_master (
    .clk_i,
    .rst_ni,
    .flush_i,
    .halt_i,
    .timeout_i,
    .cmd_valid_i    (write_cmd_valid),
    .cmd_ready_o    (write_cmd_ready),
    .cmd_address_i  (write_address),
    .cmd_beats_i    (write_beats),
    .data_valid_i   (write_data_valid),
    .data_i         (write_data),
    .m_awvalid_o,
    .m_awready_i,
    .m_awaddr_o,
    .m_awlen_o,
    .m_wvalid_o,
    .m_wready_i,
    .m_wdata_o,
    .m_wlast_o,
    .m_bvalid_i,
    .m_bready_o,
    .m_bresp_i,
    .beat_o         (write_beat),
    .stall_o        (stall_o),
    .outstanding_o  (outstanding[1]),
    .idle_o         (idle_o[1]),
    .error_valid_o  (error_valid_o[1]),
    .error_code_o   (error_code_o[1]),
    .error_address_o(error_address_o[1])
  );
endmodule
