/// The arithmetic of an operation: tiles in, results of the matrix product out. Stub: ports only.
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

  input  logic                       start_i,        // pulse before the first tile of an operation, while idle_o
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
  input  logic                       side_we_i,      // {sum, scale} of groups 2 pair (low half) and 2 pair + 1
  input  logic [2:0]                 side_token_i,
  input  logic [6:0]                 side_pair_i,
  input  beat_t                      side_data_i,
  input  logic                       bias_we_i,      // rows 4 beat .. 4 beat + 3 of a port, from its first row
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
endmodule
