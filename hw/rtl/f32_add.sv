/// IEEE 754 binary32 addition, round to nearest even, with subnormal operands and results.
///
/// Latency 7 cycles (`Latency`), throughput one sum a cycle; there is no back-pressure. A NaN result is always
/// 0x7FC00000, and no exception is flagged. `tag_i` travels along with the operands. Nothing is clocked while there is
/// nothing to do. Subtraction is the caller's flip of a sign.
///
///   1 compare             4 add or subtract       6 shift the one to the top
///   2 swap                5 count the zeros       7 round, pack
///   3 align the smaller
///
/// Three bits below the significand are enough: a half, a quarter, and whether anything else was shifted out. If the
/// exponents differ by 2 or more, a difference loses at most one leading place, so what was shifted out stays below the
/// half; if they differ by less, nothing was shifted out. A subnormal sum is exact, as all operands are multiples of its
/// last place.
module f32_add #(
  parameter int unsigned TagWidth = 1,
  localparam int unsigned Latency = 7
) (
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                valid_i,
  input  logic [31:0]         a_i,
  input  logic [31:0]         b_i,
  input  logic [TagWidth-1:0] tag_i,

  output logic                valid_o,  // Latency cycles later
  output logic [31:0]         result_o,
  output logic [TagWidth-1:0] tag_o
);

  logic [Latency:1] valid_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else         valid_q <= {valid_q[Latency-1:1], valid_i};
  end

  logic [TagWidth-1:0] tag_q [1:Latency];

  always_ff @(posedge clk_i) begin
    if (valid_i) tag_q[1] <= tag_i;
  end
  for (genvar s = 2; s <= Latency; s++) begin : g_tag
    always_ff @(posedge clk_i) begin
      if (valid_q[s-1]) tag_q[s] <= tag_q[s-1];
    end
  end

  // Stage 1: which magnitude is larger, and how far the exponents lie apart. That of a subnormal number counts as 1.
  logic [7:0]  a_exp, b_exp;
  logic [31:0] a1_q, b1_q;
  logic        swap1_q;
  logic [7:0]  a_over_b1_q, b_over_a1_q;

  assign a_exp = {a_i[30:24], a_i[23] | ~|a_i[30:23]};
  assign b_exp = {b_i[30:24], b_i[23] | ~|b_i[30:23]};

  always_ff @(posedge clk_i) begin
    if (valid_i) begin
      a1_q        <= a_i;
      b1_q        <= b_i;
      swap1_q     <= a_i[30:0] < b_i[30:0];
      a_over_b1_q <= a_exp - b_exp;
      b_over_a1_q <= b_exp - a_exp;
    end
  end

  // Stage 2: the larger becomes x, the smaller y.
  logic [31:0] x;
  logic [30:0] y;
  logic [7:0]  distance;
  logic [23:0] x_sig2_q, y_sig2_q;
  logic [7:0]  exp2_q;
  logic [4:0]  distance2_q;
  logic        sign2_q, subtract2_q, nan2_q, inf2_q;
  logic        a_max, b_max;

  assign x        = swap1_q ? b1_q : a1_q;
  assign y        = swap1_q ? a1_q[30:0] : b1_q[30:0];
  assign distance = swap1_q ? b_over_a1_q : a_over_b1_q;
  assign a_max    = &a1_q[30:23];
  assign b_max    = &b1_q[30:23];

  always_ff @(posedge clk_i) begin
    if (valid_q[1]) begin
      x_sig2_q    <= {|x[30:23], x[22:0]};
      y_sig2_q    <= {|y[30:23], y[22:0]};
      exp2_q      <= {x[30:24], x[23] | ~|x[30:23]};
      distance2_q <= |distance[7:5] ? 5'd31 : distance[4:0];
      sign2_q     <= x[31];
      subtract2_q <= a1_q[31] ^ b1_q[31];
      nan2_q      <= (a_max && |a1_q[22:0]) || (b_max && |b1_q[22:0])
                     || (a_max && b_max && (a1_q[31] ^ b1_q[31]));
      inf2_q      <= a_max || b_max;
    end
  end

  // Stage 3: y moves down to x's exponent; the lowest bit says whether something fell off.
  logic [25:0] y_wide;
  logic [26:0] x3_q, y3_q;
  logic [7:0]  exp3_q;
  logic        sign3_q, subtract3_q, nan3_q, inf3_q;

  assign y_wide = {y_sig2_q, 2'd0};

  always_ff @(posedge clk_i) begin
    if (valid_q[2]) begin
      x3_q        <= {x_sig2_q, 3'd0};
      y3_q        <= {y_wide >> distance2_q, |(y_wide & ~(26'h3FF_FFFF << distance2_q))};
      exp3_q      <= exp2_q;
      sign3_q     <= sign2_q;
      subtract3_q <= subtract2_q;
      nan3_q      <= nan2_q;
      inf3_q      <= inf2_q;
    end
  end

  // Stage 4: the sum, never negative since x is the larger. Its top bit stands for exponent + 1. Stage 6 must not shift
  // further than to exponent 1: a mark in that place ends the count of the zeros.
  logic [27:0] sum4_q, mark4_q;
  logic [7:0]  exp4_q;
  logic        sign4_q, subtract4_q, nan4_q, inf4_q;

  always_ff @(posedge clk_i) begin
    if (valid_q[3]) begin
      sum4_q      <= {1'b0, x3_q} + ({1'b0, y3_q} ^ {28{subtract3_q}}) + 28'(subtract3_q);
      mark4_q     <= |exp3_q[7:5] ? '0 : 28'h800_0000 >> exp3_q[4:0];
      exp4_q      <= exp3_q;
      sign4_q     <= sign3_q;
      subtract4_q <= subtract3_q;
      nan4_q      <= nan3_q;
      inf4_q      <= inf3_q;
    end
  end

  // Stage 5: places that the sum has to move.
  logic [4:0]  zeros, zeros5_q;
  logic [27:0] sum5_q;
  logic [7:0]  exp5_q;
  logic        sign5_q, subtract5_q, nan5_q, inf5_q;

  leading_zeros #(.Width(28)) u_leading_zeros (
    .data_i (sum4_q | mark4_q),
    .count_o(zeros)
  );

  always_ff @(posedge clk_i) begin
    if (valid_q[4]) begin
      zeros5_q    <= zeros;
      sum5_q      <= sum4_q;
      exp5_q      <= exp4_q;
      sign5_q     <= sign4_q;
      subtract5_q <= subtract4_q;
      nan5_q      <= nan4_q;
      inf5_q      <= inf4_q;
    end
  end

  // Stage 6: the one moves to the top. A zero that a subtraction left is positive.
  logic [27:0] normal6_q;
  logic [7:0]  field6_q;
  logic        sign6_q, nan6_q, inf6_q;

  always_ff @(posedge clk_i) begin
    if (valid_q[5]) begin
      normal6_q <= sum5_q << zeros5_q;
      field6_q  <= exp5_q + 8'd1 - {3'd0, zeros5_q};
      sign6_q   <= sign5_q && !(subtract5_q && sum5_q == '0);
      nan6_q    <= nan5_q;
      inf6_q    <= inf5_q;
    end
  end

  // Stage 7: rounding up may carry into the exponent, which is just what makes the next binade, or infinity, of it.
  logic [7:0]  field;
  logic        up;
  logic [30:0] rounded;
  logic [31:0] result7_q;

  assign field   = normal6_q[27] ? field6_q : 8'd0;
  assign up      = normal6_q[3] && (normal6_q[4] || |normal6_q[2:0]);
  assign rounded = {field, normal6_q[26:4]} + 31'(up);

  always_ff @(posedge clk_i) begin
    if (valid_q[6]) begin
      if (nan6_q)                result7_q <= 32'h7FC0_0000;
      else if (inf6_q || &field) result7_q <= {sign6_q, 8'hFF, 23'd0};
      else                       result7_q <= {sign6_q, rounded};
    end
  end

  assign valid_o  = valid_q[Latency];
  assign result_o = result7_q;
  assign tag_o    = tag_q[Latency];

endmodule
