/// The activations of an operation: int8 codes, and for every group their sum and their scale, for
/// all tokens.
///
/// Written by the loader, 16 bytes a cycle: two lines of codes, or the side data {sum, scale} of
/// two groups. So lines and groups lie in an even and an odd memory each. Read by the compute core,
/// for all tokens at once and with independent ports: a line of codes 2 cycles after `line_en_i`,
/// input i another i cycles later (the skew that `dot_chain` wants); the side data of a slot 2
/// cycles after `side_en_i`. Throughput one each a cycle.
///
/// `move_i` keeps the skew moving until the last input of the last line is out. A token whose
/// `token_en_i` is low is not read. Of a sum the lowest 14 bits are kept: |sum| <= 64 * 128.
module activation_buffer
  import accel_pkg::*;
#(
  parameter int unsigned Tokens    = 8,
  parameter int unsigned MaxGroups = 96,
  localparam int unsigned Lanes    = (Tokens + 1) / 2
) (
  input  logic                                   clk_i,

  input  logic                                   code_we_i,
  input  logic [2:0]                             code_token_i,
  input  logic [8:0]                             code_beat_i,
  input  beat_t                                  code_data_i,
  input  logic                                   side_we_i,
  input  logic [2:0]                             side_token_i,
  input  logic [6:0]                             side_pair_i,   // groups 2 pair, 2 pair + 1
  input  beat_t                                  side_data_i,

  input  logic [Tokens-1:0]                      token_en_i,
  input  logic                                   move_i,
  input  logic                                   line_en_i,
  input  logic [7:0]                             line_group_i,
  input  logic [2:0]                             line_i,
  output logic [Tokens-1:0][TileInputs-1:0][7:0] activation_o,  // [token][input], skewed

  input  logic                                   side_en_i,
  input  logic [7:0]                             side_group_i,
  input  logic                                   side_slot_i,   // token of each lane's pair
  output logic [Lanes-1:0][31:0]                 scale_o,
  output logic [Lanes-1:0][13:0]                 sum_o
);

  if (MaxGroups < 2 || MaxGroups > 128 || MaxGroups % 2 != 0) begin : g_check_groups
    $error("activation_buffer: MaxGroups must be even, 2 to 128");
  end

  localparam int unsigned CodeBeats = MaxGroups * 4;
  localparam int unsigned CodeWidth = $clog2(CodeBeats);
  localparam int unsigned PairWidth = (MaxGroups > 2) ? $clog2(MaxGroups / 2) : 1;

  typedef struct packed {
    logic [13:0] sum;
    logic [31:0] scale;
  } side_t;

  // Both memories take a cycle, choosing between even and odd another one.
  logic line_en_q, odd_line_q, side_en_q, odd_group_q;

  always_ff @(posedge clk_i) begin
    line_en_q <= line_en_i;
    side_en_q <= side_en_i;
    if (line_en_i) odd_line_q  <= line_i[0];
    if (side_en_i) odd_group_q <= side_group_i[0];
  end

  logic [CodeWidth-1:0] line_beat;
  assign line_beat = CodeWidth'({line_group_i, line_i[2:1]});

  for (genvar t = 0; t < Tokens; t++) begin : g_token
    (* ram_style = "block" *) logic [63:0] even_mem [CodeBeats];
    (* ram_style = "block" *) logic [63:0] odd_mem [CodeBeats];
    logic [63:0] even_q, odd_q, line_q;

    always_ff @(posedge clk_i) begin
      if (code_we_i && code_token_i == 3'(t)) begin
        even_mem[CodeWidth'(code_beat_i)] <= code_data_i[63:0];
        odd_mem[CodeWidth'(code_beat_i)]  <= code_data_i[127:64];
      end
    end

    always_ff @(posedge clk_i) begin
      if (line_en_i && token_en_i[t]) begin
        even_q <= even_mem[line_beat];
        odd_q  <= odd_mem[line_beat];
      end
      if (line_en_q && token_en_i[t]) line_q <= odd_line_q ? odd_q : even_q;
    end

    for (genvar i = 0; i < TileInputs; i++) begin : g_input
      if (i == 0) begin : g_direct
        assign activation_o[t][i] = line_q[7:0];
      end else begin : g_skew
        logic [8*i-1:0] delay_q;
        always_ff @(posedge clk_i) begin
          if (move_i && token_en_i[t]) delay_q <= (8*i)'({delay_q, line_q[8*i+:8]});
        end
        assign activation_o[t][i] = delay_q[8*i-1-:8];
      end
    end
  end

  // Side data: a lane reads one of its two tokens.
  side_t even_side, odd_side;
  assign even_side = '{sum: side_data_i[45:32], scale: side_data_i[31:0]};
  assign odd_side  = '{sum: side_data_i[109:96], scale: side_data_i[95:64]};

  logic [PairWidth:0] side_write, side_read;
  assign side_write = {side_token_i[0], PairWidth'(side_pair_i)};
  assign side_read  = {side_slot_i, PairWidth'(side_group_i >> 1)};

  for (genvar l = 0; l < Lanes; l++) begin : g_lane
    (* ram_style = "block" *) side_t even_mem [2 << PairWidth];
    (* ram_style = "block" *) side_t odd_mem [2 << PairWidth];
    side_t even_q, odd_q, side_q;

    always_ff @(posedge clk_i) begin
      if (side_we_i && side_token_i[2:1] == 2'(l)) begin
        even_mem[side_write] <= even_side;
        odd_mem[side_write]  <= odd_side;
      end
    end

    always_ff @(posedge clk_i) begin
      if (side_en_i && token_en_i[2*l]) begin
        even_q <= even_mem[side_read];
        odd_q  <= odd_mem[side_read];
      end
      if (side_en_q && token_en_i[2*l]) side_q <= odd_group_q ? odd_q : even_q;
    end

    assign scale_o[l] = side_q.scale;
    assign sum_o[l]   = side_q.sum;
  end

  logic unused;
  assign unused = ^{side_data_i[127:110], side_data_i[63:46], side_pair_i, side_group_i,
                    code_beat_i, line_group_i};

endmodule
