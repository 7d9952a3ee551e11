/// The unpacking unit of a port: keeps one beat and shows it as a tile of 4 channels x 8 inputs.
///
/// Row blocks: byte 4 c + j of a beat has input j of channel c in its low nibble and input 4 + j in
/// its high one, so the tile is the beat with its wires in another order, 1 cycle after take_i.
///
/// AWQ_MACRO: a 32-bit word has one input of 8 channels, channel c at nibble 0, 4, 1, 5, 2, 6, 3,
/// 7. Two beats (inputs 0-3 and 4-7 of a line) make two tiles: channels 0-3 come 2 cycles after the
/// second beat was taken, channels 4-7 in the cycle after. So there is a tile for every beat and no
/// bubble.
module unpack
  import accel_pkg::*;
#(
  parameter int unsigned Layout = LayoutRowBlock
) (
  input  logic  clk_i,
  input  logic  take_i,   // keep beat_i
  input  logic  pair_i,   // AWQ_MACRO: the beat that is kept is the second of a line
  input  beat_t beat_i,
  output beat_t beat_o,   // the beat that is kept
  output tile_t tile_o
);

  beat_t beat_q;

  always_ff @(posedge clk_i) begin
    if (take_i) beat_q <= beat_i;
  end

  assign beat_o = beat_q;

  if (Layout == LayoutRowBlock) begin : g_row_block
    logic unused_pair;
    assign unused_pair = pair_i;

    always_comb begin
      for (int unsigned c = 0; c < TileChannels; c++) begin
        for (int unsigned i = 0; i < TileInputs; i++) begin
          tile_o[c][i] = beat_q[8 * (4 * c + (i % 4)) + 4 * (i / 4) +: 4];
        end
      end
    end
  end else if (Layout == LayoutAwqMacro) begin : g_awq_macro
    beat_t previous_q;
    tile_t first, second, second_q, tile_q;
    logic  fresh_q, second_valid_q;

    // Channel c of a word is at nibble c / 2, plus 4 if it is odd.
    always_comb begin
      for (int unsigned c = 0; c < TileChannels; c++) begin
        for (int unsigned i = 0; i < 4; i++) begin
          first[c][i]      = previous_q[32 * i + 4 * (c / 2 + 4 * (c % 2)) +: 4];
          first[c][i + 4]  = beat_q    [32 * i + 4 * (c / 2 + 4 * (c % 2)) +: 4];
          second[c][i]     = previous_q[32 * i + 4 * (c / 2 + 2 + 4 * (c % 2)) +: 4];
          second[c][i + 4] = beat_q    [32 * i + 4 * (c / 2 + 2 + 4 * (c % 2)) +: 4];
        end
      end
    end

    always_ff @(posedge clk_i) begin
      fresh_q        <= take_i;
      second_valid_q <= pair_i;
      if (fresh_q) previous_q <= beat_q;
      if (pair_i) begin
        tile_q   <= first;
        second_q <= second;
      end else if (second_valid_q) begin
        tile_q   <= second_q;
      end
    end

    assign tile_o = tile_q;
  end else begin : g_check_layout
    $error("unpack: unknown Layout");
  end

endmodule
