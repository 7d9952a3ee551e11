/// Follows the descriptor list ahead of the operations and tells the four engines what to fetch.
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

  output logic [NumPorts-1:0]        cmd_valid_o,
  input  logic [NumPorts-1:0]        cmd_ready_i,
  output addr_t [NumPorts-1:0]       cmd_address_o,
  output logic [NumPorts-1:0][31:0]  cmd_beats_o
);
endmodule
