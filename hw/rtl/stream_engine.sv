/// Fetches the weights of one port: a queue of commands, a read master and the deep run-ahead FIFO.
///
/// Commands are worked off in order, each a range of beats that lie one after the other; the beats
/// of all of them come out as one stream. The engine runs ahead until FifoDepth beats are asked for
/// and not taken. Throughput one beat a cycle. From a command to its first address 4 cycles, from a
/// beat on the bus to the output 5. It does not look at what it fetches.
///
/// flush_i (level, until idle_o) drops the commands and all data, on the way or here.
module stream_engine
  import accel_pkg::*;
#(
  parameter int unsigned FifoDepth      = 28672,  // beats
  parameter int unsigned MaxOutstanding = 16,     // bursts
  localparam int unsigned LevelWidth    = $clog2(FifoDepth + 1)
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  flush_i,
  input  logic                  halt_i,       // level: no new bursts
  input  logic [31:0]           timeout_i,    // cycles without progress; 0 = never

  input  logic                  cmd_valid_i,
  output logic                  cmd_ready_o,
  input  addr_t                 cmd_address_i,  // 64-byte aligned
  input  logic [31:0]           cmd_beats_i,

  output logic                  m_arvalid_o,
  input  logic                  m_arready_i,
  output addr_t                 m_araddr_o,
  output logic [7:0]            m_arlen_o,
  input  logic                  m_rvalid_i,
  output logic                  m_rready_o,   // always 1
  input  beat_t                 m_rdata_i,
  input  logic [1:0]            m_rresp_i,
  input  logic                  m_rlast_i,

  output logic                  valid_o,
  input  logic                  ready_i,
  output beat_t                 data_o,

  output logic [LevelWidth-1:0] level_o,        // beats in the FIFO
  output logic                  beat_o,         // pulse: a beat arrived
  output logic                  outstanding_o,  // bursts are under way
  output addr_t                 burst_address_o,// of the oldest burst under way
  output logic                  idle_o,         // no command, nothing under way

  output logic                  error_valid_o,  // held until flush_i
  output error_e                error_code_o,
  output addr_t                 error_address_o
);

  localparam int unsigned OutDepth       = 8;
  localparam int unsigned FifoLevelWidth = $clog2(FifoDepth + OutDepth + 1);
  localparam int unsigned QueueDepth     = 4;

  logic                        queue_valid, queue_ready;
  addr_t                       queue_address;
  logic [31:0]                 queue_beats;
  logic [$clog2(QueueDepth):0] unused_queue_level;
  logic                        master_idle, beat_valid;
  beat_t                       beat;
  logic                        unused_fifo_ready;  // credits keep the FIFO from being full
  logic [FifoLevelWidth-1:0]   level;

  sync_fifo #(
    .Width(AddrWidth + 32),
    .Depth(QueueDepth)
  ) i_queue (
    .clk_i,
    .rst_ni,
    .flush_i,
    .valid_i (cmd_valid_i),
    .ready_o (cmd_ready_o),
    .data_i  ({cmd_address_i, cmd_beats_i}),
    .valid_o (queue_valid),
    .ready_i (queue_ready),
    .data_o  ({queue_address, queue_beats}),
    .level_o (unused_queue_level)
  );

  axi_read_master #(
    .MaxOutstanding(MaxOutstanding),
    .BufferBeats   (FifoDepth)
  ) i_master (
    .clk_i,
    .rst_ni,
    .flush_i,
    .halt_i,
    .timeout_i,
    .cmd_valid_i   (queue_valid),
    .cmd_ready_o   (queue_ready),
    .cmd_address_i (queue_address),
    .cmd_beats_i   (queue_beats),
    .m_arvalid_o,
    .m_arready_i,
    .m_araddr_o,
    .m_arlen_o,
    .m_rvalid_i,
    .m_rready_o,
    .m_rdata_i,
    .m_rresp_i,
    .m_rlast_i,
    .valid_o       (beat_valid),
    .data_o        (beat),
    .release_i     (valid_o && ready_i),
    .beat_o,
    .outstanding_o,
    .burst_address_o,
    .idle_o        (master_idle),
    .error_valid_o,
    .error_code_o,
    .error_address_o
  );

  stream_fifo #(
    .Width   (BeatWidth),
    .Depth   (FifoDepth),
    .OutDepth(OutDepth)
  ) i_fifo (
    .clk_i,
    .rst_ni,
    .flush_i,
    .valid_i (beat_valid),
    .ready_o (unused_fifo_ready),
    .data_i  (beat),
    .valid_o,
    .ready_i,
    .data_o,
    .level_o (level)
  );

  assign level_o = LevelWidth'(level);
  assign idle_o  = master_idle && !queue_valid;

endmodule
