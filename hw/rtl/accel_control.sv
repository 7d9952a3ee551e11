/// The control half of the accelerator: registers, descriptor ring, sequencer, prefetcher, reset,
/// errors and counters, wired to each other (docs/accelerator.md).
///
/// Only wiring. Downwards it says what to stream (a command for each weight port), what to load,
/// when an operation starts and what it is; upwards come the states of the six masters (0 to 3
/// weights, 4 data read, 5 data write) and the pulses that are counted.
module accel_control
  import accel_pkg::*;
#(
  parameter int unsigned Tokens      = 8,
  parameter int unsigned FifoDepth   = 28672,
  parameter int unsigned MaxGroups   = 96,
  parameter int unsigned BiasRows    = 4096,
  parameter int unsigned RingEntries = 256,
  parameter int unsigned TopK        = 32,
  parameter int unsigned Layout      = LayoutRowBlock,
  localparam int unsigned LevelWidth = $clog2(FifoDepth + 1)
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  output logic               irq_o,

  input  logic [15:0]        s_axil_awaddr,
  input  logic               s_axil_awvalid,
  output logic               s_axil_awready,
  input  logic [31:0]        s_axil_wdata,
  input  logic [3:0]         s_axil_wstrb,
  input  logic               s_axil_wvalid,
  output logic               s_axil_wready,
  output logic [1:0]         s_axil_bresp,
  output logic               s_axil_bvalid,
  input  logic               s_axil_bready,
  input  logic [15:0]        s_axil_araddr,
  input  logic               s_axil_arvalid,
  output logic               s_axil_arready,
  output logic [31:0]        s_axil_rdata,
  output logic [1:0]         s_axil_rresp,
  output logic               s_axil_rvalid,
  input  logic               s_axil_rready,

  // Reset and errors
  output logic                           core_rst_no,
  output logic                           flush_o,
  output logic                           halt_o,
  output logic [31:0]                    timeout_o,
  input  logic [5:0]                     master_idle_i,
  input  logic [5:0]                     master_error_i,
  input  error_e [5:0]                   master_code_i,
  input  addr_t [5:0]                    master_address_i,
  input  logic                           bus_progress_i,

  // Streams that run ahead
  output logic [NumPorts-1:0]            cmd_valid_o,
  input  logic [NumPorts-1:0]            cmd_ready_i,
  output addr_t [NumPorts-1:0]           cmd_address_o,
  output logic [NumPorts-1:0][31:0]      cmd_beats_o,

  // The operation in hand
  output op_config_t                     config_o,
  output op_places_t                     places_o,
  output logic                           load_start_o,
  input  logic                           load_done_i,
  output logic                           start_o,
  input  logic                           compute_idle_i,
  input  logic                           results_done_i,

  // The list of the best results
  input  logic [7:0]                     topk_count_i,
  output logic [7:0]                     topk_index_o,
  input  logic [31:0]                    topk_value_i,
  input  logic [31:0]                    topk_row_i,

  // Counted; index 4 is the data port
  input  logic                           take_i,
  input  logic [4:0]                     port_beat_i,
  input  logic [4:0]                     port_stall_i,
  input  logic [4:0]                     port_outstanding_i,
  input  logic [NumPorts-1:0][LevelWidth-1:0] fifo_level_i
);
  localparam int unsigned RingWidth = $clog2(RingEntries);

  logic        resetting, soft_reset, enable, clear_counters;
  logic [31:0] stream_tail, stream_head, doorbell, done_count, tag;
  logic [8:0]  ring_entries;
  logic        done, busy, loading, error, descriptor_error;
  error_e      error_code;
  logic [3:0]  error_port;
  addr_t       error_address;
  logic [31:0] error_operation;
  logic [6:0]  counter_word;
  logic [31:0] counter_data;
  logic        desc_we, desc_re, counter_re;
  logic [11:0] desc_address;
  logic [31:0] desc_wdata, desc_rdata;
  logic [3:0]  desc_wstrb;

  assign halt_o = error || !enable;

  axil_regs #(
    .Tokens     (Tokens),
    .FifoDepth  (FifoDepth),
    .MaxGroups  (MaxGroups),
    .BiasRows   (BiasRows),
    .RingEntries(RingEntries),
    .TopK       (TopK),
    .Layout     (Layout)
  ) i_regs (
    .clk_i,
    .rst_ni,
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
    .irq_o,
    .enable_o         (enable),
    .soft_reset_o     (soft_reset),
    .clear_counters_o (clear_counters),
    .timeout_o        (timeout_o),
    .ring_entries_o   (ring_entries),
    .stream_tail_o    (stream_tail),
    .doorbell_o       (doorbell),
    .busy_i           (busy),
    .streaming_i      (port_outstanding_i[3:0] != '0),
    .resetting_i      (resetting),
    .done_count_i     (done_count),
    .done_i           (done),
    .stream_head_i    (stream_head),
    .error_i          (error),
    .error_code_i     (error_code),
    .error_port_i     (error_port),
    .error_address_i  (error_address),
    .error_operation_i(error_operation),
    .error_tag_i      (tag),
    .topk_count_i     (topk_count_i),
    .counter_re_o     (counter_re),
    .counter_word_o   (counter_word),
    .counter_data_i   (counter_data),
    .topk_index_o     (topk_index_o),
    .topk_value_i     (topk_value_i),
    .topk_row_i       (topk_row_i),
    .desc_we_o        (desc_we),
    .desc_re_o        (desc_re),
    .desc_address_o   (desc_address),
    .desc_wdata_o     (desc_wdata),
    .desc_wstrb_o     (desc_wstrb),
    .desc_rdata_i     (desc_rdata)
  );

  reset_control i_reset (
    .clk_i,
    .rst_ni,
    .request_i  (soft_reset),
    .idle_i     (master_idle_i == '1),
    .progress_i (bus_progress_i),
    .timeout_i  (timeout_o),
    .flush_o    (flush_o),
    .resetting_o(resetting),
    .core_rst_no(core_rst_no)
  );

  error_latch i_errors (
    .clk_i,
    .rst_ni,
    .clear_i     (resetting),
    .valid_i     (master_error_i),
    .code_i      (master_code_i),
    .address_i   (master_address_i),
    .descriptor_i(descriptor_error),
    .operation_i (done_count),
    .error_o     (error),
    .code_o      (error_code),
    .port_o      (error_port),
    .address_o   (error_address),
    .operation_o (error_operation)
  );

  logic        prefetch_req, sequencer_req;
  logic [7:0]  prefetch_index, sequencer_index;
  logic [3:0]  prefetch_word, sequencer_word;
  logic [31:0] prefetch_data, sequencer_data;

  descriptor_ram #(
    .Entries(RingEntries)
  ) i_ring (
    .clk_i,
    .host_we_i        (desc_we),
    .host_address_i   (desc_address[RingWidth+3:0]),
    .host_wdata_i     (desc_wdata),
    .host_wstrb_i     (desc_wstrb),
    .host_re_i        (desc_re),
    .host_rdata_o     (desc_rdata),
    .prefetch_req_i   (prefetch_req),
    .prefetch_index_i (prefetch_index[RingWidth-1:0]),
    .prefetch_word_i  (prefetch_word),
    .prefetch_data_o  (prefetch_data),
    .sequencer_req_i  (sequencer_req),
    .sequencer_index_i(sequencer_index[RingWidth-1:0]),
    .sequencer_word_i (sequencer_word),
    .sequencer_data_o (sequencer_data)
  );

  op_sequencer #(
    .Tokens   (Tokens),
    .MaxGroups(MaxGroups),
    .BiasRows (BiasRows),
    .Layout   (Layout)
  ) i_sequencer (
    .clk_i,
    .rst_ni             (core_rst_no),
    .enable_i           (enable && !flush_o),
    .error_i            (error),
    .doorbell_i         (doorbell),
    .ring_entries_i     (ring_entries),
    .done_count_o       (done_count),
    .done_o             (done),
    .busy_o             (busy),
    .descriptor_error_o (descriptor_error),
    .tag_o              (tag),
    .desc_req_o         (sequencer_req),
    .desc_index_o       (sequencer_index),
    .desc_word_o        (sequencer_word),
    .desc_data_i        (sequencer_data),
    .config_o           (config_o),
    .first_block_o      (places_o.first_block),
    .total_blocks_o     (places_o.total_blocks),
    .activations_o      (places_o.activations),
    .activation_stride_o(places_o.activation_stride),
    .results_o          (places_o.results),
    .result_stride_o    (places_o.result_stride),
    .bias_o             (places_o.bias),
    .load_start_o       (load_start_o),
    .load_done_i        (load_done_i),
    .loading_o          (loading),
    .start_o            (start_o),
    .compute_idle_i     (compute_idle_i),
    .results_done_i     (results_done_i)
  );

  stream_prefetch #(
    .Layout   (Layout),
    .MaxGroups(MaxGroups)
  ) i_prefetch (
    .clk_i,
    .rst_ni        (core_rst_no),
    .flush_i       (flush_o),
    .halt_i        (halt_o),
    .tail_i        (stream_tail),
    .ring_entries_i(ring_entries),
    .head_o        (stream_head),
    .desc_req_o    (prefetch_req),
    .desc_index_o  (prefetch_index),
    .desc_word_o   (prefetch_word),
    .desc_data_i   (prefetch_data),
    .cmd_valid_o   (cmd_valid_o),
    .cmd_ready_i   (cmd_ready_i),
    .cmd_address_o (cmd_address_o),
    .cmd_beats_o   (cmd_beats_o)
  );

  perf_counters #(
    .LevelWidth(LevelWidth)
  ) i_counters (
    .clk_i,
    .rst_ni,
    .enable_i     (enable),
    .clear_i      (clear_counters),
    .busy_i       (busy),
    .compute_i    (take_i),
    .load_i       (loading),
    .beat_i       (port_beat_i),
    .stall_i      (port_stall_i),
    .outstanding_i(port_outstanding_i),
    .level_i      (fifo_level_i),
    .re_i         (counter_re),
    .word_i       (counter_word),
    .data_o       (counter_data)
  );

  logic unused;
  assign unused = &{1'b0, desc_address, prefetch_index, sequencer_index};
endmodule
