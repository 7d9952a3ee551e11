/// Scales and zero points of one port, in two banks: the block in work and the next one.
///
/// Written beat by beat as they come from memory. A read gives the scale and the zero point of one
/// channel of one group, 2 cycles after req_i, one a cycle. The read and the write port are
/// independent; who reads must know that the word is in (1 cycle after the write).
///
/// Row blocks: beat i of the scales has channels 8 (i mod 2) .. + 7 of group i / 2; beat i of the
/// zero points has groups 2 i and 2 i + 1. AWQ_MACRO: one beat each for every group, 8 channels,
/// the zero points in the nibble order 0, 4, 1, 5, 2, 6, 3, 7.
module header_buffer
  import accel_pkg::*;
#(
  parameter int unsigned Layout    = LayoutRowBlock,
  parameter int unsigned MaxGroups = 96
) (
  input  logic        clk_i,

  input  logic        scale_we_i,
  input  logic        zero_we_i,
  input  logic        segments_i,
  input  logic        bank_i,
  input  logic [7:0]  index_i,
  input  beat_t       beat_i,

  input  logic        req_i,
  input  logic        req_bank_i,
  input  logic [7:0]  req_group_i,
  input  logic [3:0]  req_channel_i,
  output logic [15:0] scale_o,
  output logic [3:0]  zero_o
);

  localparam bit          RowBlock   = (Layout == LayoutRowBlock);
  localparam int unsigned GroupWidth = $clog2(MaxGroups);
  localparam int unsigned ScaleWidth = RowBlock ? GroupWidth + 1 : GroupWidth;
  localparam int unsigned ZeroWidth  = RowBlock ? GroupWidth - 1 : GroupWidth;
  localparam int unsigned ZeroBits   = RowBlock ? 64 : 32;

  if (MaxGroups < 4 || MaxGroups > 128) begin : g_check_groups
    $error("header_buffer: MaxGroups must be 4 to 128");
  end

  (* ram_style = "block" *) beat_t scales [2 ** (ScaleWidth + 1)];

  always_ff @(posedge clk_i) begin
    if (scale_we_i) scales[{bank_i, index_i[ScaleWidth-1:0]}] <= beat_i;
  end

  logic [ScaleWidth-1:0] scale_address;
  logic [ZeroWidth-1:0]  zero_address;
  logic [3:0]            zero_nibble, zero_nibble_q;
  logic [63:0]           zero_word, zero_word_q;
  beat_t                 scale_word_q;
  logic [2:0]            channel_q;
  logic                  req_q;

  if (RowBlock) begin : g_row_block
    // Zero points of the even and of the odd groups.
    (* ram_style = "distributed" *) logic [ZeroBits-1:0] even [2 ** (ZeroWidth + 1)];
    (* ram_style = "distributed" *) logic [ZeroBits-1:0] odd  [2 ** (ZeroWidth + 1)];

    logic [ZeroWidth:0] write_address;

    assign write_address = {bank_i, segments_i ? index_i[ZeroWidth:1] : index_i[ZeroWidth-1:0]};

    always_ff @(posedge clk_i) begin
      if (zero_we_i && !(segments_i && index_i[0])) even[write_address] <= beat_i[63:0];
    end

    always_ff @(posedge clk_i) begin
      if (zero_we_i && (!segments_i || index_i[0])) begin
        odd[write_address] <= segments_i ? beat_i[63:0] : beat_i[127:64];
      end
    end

    assign scale_address = {req_group_i[GroupWidth-1:0], req_channel_i[3]};
    assign zero_address  = req_group_i[GroupWidth-1:1];
    assign zero_word     = req_group_i[0] ? odd[{req_bank_i, zero_address}]
                                          : even[{req_bank_i, zero_address}];
    assign zero_nibble   = req_channel_i;
  end else begin : g_awq_macro
    (* ram_style = "distributed" *) logic [ZeroBits-1:0] zeros [2 ** (ZeroWidth + 1)];

    always_ff @(posedge clk_i) begin
      if (zero_we_i) zeros[{bank_i, index_i[ZeroWidth-1:0]}] <= beat_i[ZeroBits-1:0];
    end

    assign scale_address = req_group_i[GroupWidth-1:0];
    assign zero_address  = req_group_i[GroupWidth-1:0];
    assign zero_word     = {32'b0, zeros[{req_bank_i, zero_address}]};
    assign zero_nibble   = {1'b0, req_channel_i[0], req_channel_i[2:1]};
  end

  always_ff @(posedge clk_i) begin
    req_q <= req_i;
    if (req_i) begin
      scale_word_q  <= scales[{req_bank_i, scale_address}];
      zero_word_q   <= zero_word;
      zero_nibble_q <= zero_nibble;
      channel_q     <= req_channel_i[2:0];
    end
    if (req_q) begin
      scale_o <= scale_word_q[16 * channel_q +: 16];
      zero_o  <= zero_word_q[4 * zero_nibble_q +: 4];
    end
  end

  logic unused_bits;
  assign unused_bits = ^{req_group_i, req_channel_i, index_i, beat_i, segments_i};

endmodule
