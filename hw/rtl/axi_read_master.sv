/// AXI4 read master: one command (address, beats) becomes INCR bursts of at most 16 beats.
module axi_read_master
  import accel_pkg::*;
#(
  parameter int unsigned MaxOutstanding = 16,  // bursts under way at once
  parameter int unsigned BufferBeats    = 0    // room behind the master; 0: the sink takes every beat at once
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        flush_i,      // level: drop the command and all data; hold until idle_o
  input  logic        halt_i,       // level: no new bursts
  input  logic [31:0] timeout_i,    // cycles without progress; 0 = never

  input  logic        cmd_valid_i,
  output logic        cmd_ready_o,
  input  addr_t       cmd_address_i,  // 16-byte aligned
  input  logic [31:0] cmd_beats_i,    // 0 = nothing to do

  output logic        m_arvalid_o,
  input  logic        m_arready_i,
  output addr_t       m_araddr_o,
  output logic [7:0]  m_arlen_o,
  input  logic        m_rvalid_i,
  output logic        m_rready_o,   // always 1
  input  beat_t       m_rdata_i,
  input  logic [1:0]  m_rresp_i,
  input  logic        m_rlast_i,

  output logic        valid_o,      // a beat, in the order of the addresses; no back-pressure
  output beat_t       data_o,
  input  logic        release_i,    // pulse: a beat left the buffer behind the master (BufferBeats > 0)

  output logic        outstanding_o,  // bursts are under way
  output logic        idle_o,         // no command, nothing under way

  output logic        error_valid_o,  // held until flush_i; no beat comes out after it
  output error_e      error_code_o,
  output addr_t       error_address_o // of the burst
);
endmodule
