/// Types and constants that the modules of the accelerator share.
///
/// A *beat* is one 128-bit word of a weight port. A beat of weights is a *tile*: 4 output channels
/// x 8 inputs of 4 bits. A *line* is the 8 inputs of all channels of a block (4 tiles, or 2 in the
/// AWQ_MACRO layout), a *group* is 8 lines = 64 inputs, a *block* is the rows that share one
/// header. In a *round* every port works on one block.
package accel_pkg;

  parameter int unsigned NumPorts = 4;
  parameter int unsigned AddrWidth = 40;
  parameter int unsigned BeatWidth = 128;
  parameter int unsigned BeatBytes = BeatWidth / 8;
  parameter int unsigned TileChannels = 4;
  parameter int unsigned TileInputs = 8;
  parameter int unsigned SegmentBeats = 68;  // header 4, high plane 32, low plane 32
  parameter int unsigned BurstBeats = 16;  // the longest burst that the AFI does not slice

  // Values of the elaboration parameter Layout.
  parameter int unsigned LayoutRowBlock = 0;
  parameter int unsigned LayoutAwqMacro = 1;

  typedef logic [AddrWidth-1:0] addr_t;
  typedef logic [BeatWidth-1:0] beat_t;

  // [channel][input], unsigned codes
  typedef logic [TileChannels-1:0][TileInputs-1:0][3:0] tile_t;

  typedef enum logic [1:0] {
    RespOkay   = 2'd0,
    RespExOkay = 2'd1,
    RespSlvErr = 2'd2,
    RespDecErr = 2'd3
  } axi_resp_e;

  typedef enum logic [2:0] {
    ErrNone       = 3'd0,
    ErrSlave      = 3'd1,
    ErrDecode     = 3'd2,
    ErrTimeout    = 3'd3,
    ErrProtocol   = 3'd4,
    ErrDescriptor = 3'd5
  } error_e;

  // What a tile is. All ports share one, since they work in lock-step.
  typedef struct packed {
    logic                valid;
    logic                bank;         // of header and accumulators: alternates with every round
    logic                first_group;
    logic                last_group;
    logic                first_line;
    logic                last_line;
    logic [1:0]          quad;         // channels 4 quad .. 4 quad + 3 of the block
    logic [2:0]          line;         // inputs 8 line .. 8 line + 7 of the group
    logic [7:0]          group;
    logic [NumPorts-1:0] active;       // ports that have a block in this round
  } tile_ctrl_t;

  // An operation, as the descriptor says it. Stable while the operation runs.
  typedef struct packed {
    logic                      segments;      // codes of 8 bits in two planes, a header for every group
    logic [2:0]                tokens_m1;
    logic                      has_bias;
    logic                      top_k;
    logic [15:0]               groups;
    logic [15:0]               header_beats;
    logic [15:0]               block_beats;   // header and weights
    logic [31:0]               rows;
    logic [NumPorts-1:0][15:0] blocks;
  } op_config_t;

  // Where an operation's data lie, and which rows each port has. Stable while the operation runs.
  typedef struct packed {
    addr_t                     activations;
    addr_t                     activation_stride;
    addr_t                     results;
    addr_t                     result_stride;
    addr_t                     bias;
    logic [17:0]               total_blocks;
    logic [NumPorts-1:0][17:0] first_block;
  } op_places_t;

  // Channels of a block.
  function automatic int unsigned block_channels(int unsigned layout);
    return (layout == LayoutAwqMacro) ? 8 : 16;
  endfunction

  // Beats of the header of a row block: 40 bytes a group, rounded up to 64 bytes.
  function automatic logic [15:0] row_block_header_beats(logic [15:0] groups);
    logic [18:0] eights;
    eights = (19'(groups) * 19'd5 + 19'd7) >> 3;
    return 16'(eights << 2);
  endfunction

  // Beats of a whole block, header included.
  function automatic logic [15:0] expected_block_beats(logic [15:0] groups, int unsigned layout);
    if (layout == LayoutAwqMacro) return 16'(groups * 16'd18);
    return 16'(groups << 5) + row_block_header_beats(groups);
  endfunction

endpackage
