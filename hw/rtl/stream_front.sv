/// Takes the beats of the four ports in lock-step and hands tiles to the compute core; keeps the headers.
module stream_front
  import accel_pkg::*;
#(
  parameter int unsigned Layout    = LayoutRowBlock,
  parameter int unsigned MaxGroups = 96
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       flush_i,      // level: forget the operation

  input  logic                       start_i,      // pulse while idle; config_i stays stable until done_o
  input  op_config_t                 config_i,
  output logic                       done_o,       // pulse: the last beat was taken

  input  logic  [NumPorts-1:0]       s_valid_i,
  output logic  [NumPorts-1:0]       s_ready_o,
  input  beat_t [NumPorts-1:0]       s_data_i,

  input  logic                       bank_free_i,  // sampled before the first beat of every round
  output tile_ctrl_t                 tile_ctrl_o,
  output tile_t [NumPorts-1:0]       tile_o,

  input  logic                       hdr_req_i,    // 2 cycles later: scale and zero
  input  logic                       hdr_bank_i,
  input  logic [7:0]                 hdr_group_i,
  input  logic [3:0]                 hdr_channel_i,
  output logic [NumPorts-1:0][15:0]  hdr_scale_o,
  output logic [NumPorts-1:0][3:0]   hdr_zero_o,

  output logic                       take_o,       // pulse: a beat was taken from every active port
  output logic [NumPorts-1:0]        stall_o       // pulse: a beat of that port was wanted and was not there
);
endmodule
