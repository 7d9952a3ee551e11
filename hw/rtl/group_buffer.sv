/// Sums the lines of a group for every channel and token of a port, and keeps the sums of the last
/// two groups.
///
/// Written: a sum over one line from every chain, one tile a cycle. The two lanes of `mul_pair` are
/// taken apart and added to the sums of their channels; `first_line_i` begins a sum. A segment has
/// 8-bit codes in two planes: with `low_plane_i` the first line of the low plane is added to 16
/// times the sum of the high plane, whose zero points are of no concern here. Sums of 64 products
/// of 8 bits by 8 bits fit 22 bits: 64 * 255 * 128 = 2,088,960.
///
/// Read: a slot (quad, channel, token of a lane's pair) gives the sum of every lane 2 cycles later.
/// A bank belongs to one group; while one fills, `scale_lane` works through the other. A sum can be
/// read, and added to, in the cycle after it was written. There is no protection: the caller must
/// not write a bank whose slots are still to be read.
module group_buffer #(
  parameter int unsigned Tokens = 8,
  localparam int unsigned Lanes = (Tokens + 1) / 2  // a lane serves tokens 2 l and 2 l + 1
) (
  input  logic                               clk_i,

  input  logic                               valid_i,
  input  logic [Tokens-1:0]                  token_en_i,
  input  logic                               bank_i,
  input  logic [1:0]                         quad_i,
  input  logic                               first_line_i,
  input  logic                               low_plane_i,  // first line of the low plane
  input  logic [Tokens-1:0][1:0][37:0]       sum_i,        // [token][channel pair]

  input  logic [1:0]                         read_en_i,    // at the slot, and a cycle later
  input  logic                               read_bank_i,
  input  logic [1:0]                         read_quad_i,
  input  logic [1:0]                         read_channel_i,
  input  logic                               read_token_i,
  output logic [Lanes-1:0][21:0]             dot_o         // signed
);

  localparam int unsigned LaneShift = 20;  // of mul_pair
  localparam int unsigned DotWidth  = 22;

  logic high_q;  // which channel of the pair

  always_ff @(posedge clk_i) begin
    if (read_en_i[0]) high_q <= read_channel_i[0];
  end

  for (genvar l = 0; l < Lanes; l++) begin : g_lane
    logic [1:0][1:0][2*DotWidth-1:0] words;  // [token of the pair][channel pair]
    logic [2*DotWidth-1:0]           word_q;
    logic [DotWidth-1:0]             dot_q;
    logic                            lane_en;

    assign lane_en = token_en_i[2*l];

    for (genvar t = 0; t < 2; t++) begin : g_token
      for (genvar p = 0; p < 2; p++) begin : g_pair
        if (2 * l + t < Tokens) begin : g_memory
          (* ram_style = "distributed" *) logic [2*DotWidth-1:0] mem [8];
          logic [2*DotWidth-1:0] old;
          logic [37:0]           packed_sum;
          logic [DotWidth-1:0]   low_base, high_base, low, high;

          assign old        = mem[{bank_i, quad_i}];
          assign packed_sum = sum_i[2*l+t][p];

          always_comb begin
            low_base  = old[DotWidth-1:0];
            high_base = old[2*DotWidth-1:DotWidth];
            if (first_line_i) begin
              low_base  = '0;
              high_base = '0;
            end else if (low_plane_i) begin
              low_base  = low_base << 4;
              high_base = high_base << 4;
            end
          end

          // The upper lane gives back what a negative lower lane borrowed.
          assign low  = low_base + DotWidth'($signed(packed_sum[LaneShift-1:0]));
          assign high = high_base + DotWidth'($signed(packed_sum[37:LaneShift]))
                        + DotWidth'(packed_sum[LaneShift-1]);

          always_ff @(posedge clk_i) begin
            if (valid_i && token_en_i[2*l+t]) mem[{bank_i, quad_i}] <= {high, low};
          end

          assign words[t][p] = mem[{read_bank_i, read_quad_i}];
        end else begin : g_absent
          assign words[t][p] = '0;
        end
      end
    end

    always_ff @(posedge clk_i) begin
      if (read_en_i[0] && lane_en) word_q <= words[read_token_i][read_channel_i[1]];
      if (read_en_i[1] && lane_en) begin
        dot_q <= high_q ? word_q[2*DotWidth-1:DotWidth] : word_q[DotWidth-1:0];
      end
    end

    assign dot_o[l] = dot_q;
  end

endmodule
