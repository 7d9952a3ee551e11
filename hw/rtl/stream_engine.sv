/// Fetches the weights of one port: a queue of commands, a read master and the deep run-ahead FIFO.
module stream_engine
  import accel_pkg::*;
#(
  parameter int unsigned FifoDepth      = 28672,  // beats
  parameter int unsigned MaxOutstanding = 16,     // bursts
  localparam int unsigned LevelWidth    = $clog2(FifoDepth + 1)
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  flush_i,      // level: drop the commands and all data; hold until idle_o
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
  output logic                  idle_o,         // no command, nothing under way

  output logic                  error_valid_o,  // held until flush_i
  output error_e                error_code_o,
  output addr_t                 error_address_o
);
endmodule
