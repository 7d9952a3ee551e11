/// IEEE 754 binary32 addition, round to nearest even, with subnormal operands and results.
///
/// Latency 7 cycles (`Latency`), throughput one sum a cycle; there is no back-pressure. A NaN
/// result is always 0x7FC00000, and no exception is flagged. `tag_i` travels along with the
/// operands. Nothing is clocked while there is nothing to do. Subtraction is the caller's flip of a
/// sign.
///
///   1 compare             4 add or subtract       6 shift the one to the top
///   2 swap                5 count the zeros       7 round, pack
///   3 align the smaller
///
/// Three bits below the significand are enough: a half, a quarter, and whether anything else was
/// shifted out. If the exponents differ by 2 or more, a difference loses at most one leading place,
/// so what was shifted out stays below the half; if they differ by less, nothing was shifted out. A
/// subnormal sum is exact, as all operands are multiples of its last place.
module f32_add
  import float_pkg::*;
#(
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

  // What accompanies a significand.
  typedef struct packed {
    logic [TagWidth-1:0] tag;
    logic                sign;
    logic                subtract;
    logic                nan;
    logic                inf;
  } side_t;

  // The exponent of a subnormal number counts as 1.
  function automatic logic [7:0] exponent(logic [7:0] field);
    return {field[7:1], field[0] | ~|field};
  endfunction

  // y moves down to x's exponent; the lowest bit says whether something fell off.
  function automatic logic [26:0] align(logic [23:0] y, logic [4:0] distance);
    logic [25:0] wide;
    wide = {y, 2'd0};
    return {wide >> distance, |(wide & ~(26'h3FF_FFFF << distance))};
  endfunction

  // Rounding up may carry into the exponent, which is just what makes the next binade, or infinity,
  // of it.
  function automatic logic [31:0] pack(logic [27:0] normal, logic [7:0] exp, logic sign,
                                       logic nan, logic inf);
    logic [7:0] field;
    logic       up;
    field = normal[27] ? exp : 8'd0;
    up    = normal[3] && (normal[4] || |normal[2:0]);
    if (nan)           return CanonicalNan;
    if (inf || &field) return {sign, 8'hFF, 23'd0};
    return {sign, {field, normal[26:4]} + 31'(up)};
  endfunction

  logic [Latency:1]    valid_q;
  side_t               side2_q, side3_q, side4_q, side5_q, side6_q;
  // 1.
  logic [31:0]         a1_q, b1_q;
  logic                swap1_q;
  logic [7:0]          a_over_b1_q, b_over_a1_q;
  logic [TagWidth-1:0] tag1_q;
  // 2. x has the larger magnitude.
  logic [31:0]         x;
  logic [30:0]         y;
  logic [7:0]          distance;
  logic                a_max, b_max;
  logic [23:0]         x_sig2_q, y_sig2_q;
  logic [7:0]          exp2_q;
  logic [4:0]          distance2_q;
  // 3.
  logic [26:0]         x3_q, y3_q;
  logic [7:0]          exp3_q;
  // 4. The top bit of the sum stands for exponent + 1. Stage 6 must not shift further than to
  // exponent 1: a mark in that place ends the count of the zeros.
  logic [27:0]         sum4_q, mark4_q;
  logic [7:0]          exp4_q;
  // 5.
  logic [4:0]          zeros5_q;
  logic [27:0]         sum5_q;
  logic [7:0]          exp5_q;
  // 6, 7.
  logic [27:0]         normal6_q;
  logic [7:0]          exp6_q;
  logic [31:0]         result7_q;
  logic [TagWidth-1:0] tag7_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else         valid_q <= {valid_q[Latency-1:1], valid_i};
  end

  assign x        = swap1_q ? b1_q : a1_q;
  assign y        = swap1_q ? a1_q[30:0] : b1_q[30:0];
  assign distance = swap1_q ? b_over_a1_q : a_over_b1_q;
  assign a_max    = &a1_q[30:23];
  assign b_max    = &b1_q[30:23];

  // The outer condition follows from the others; it spares a simulator the stages of an idle unit.
  // With the last stage first it needs no copies of the registers either.
  always_ff @(posedge clk_i) begin
    if (valid_i || |valid_q) begin
      if (valid_q[6]) begin
        result7_q <= pack(normal6_q, exp6_q, side6_q.sign, side6_q.nan, side6_q.inf);
        tag7_q    <= side6_q.tag;
      end
      if (valid_q[5]) begin
        normal6_q <= sum5_q << zeros5_q;
        exp6_q    <= exp5_q + 8'd1 - {3'd0, zeros5_q};
        side6_q   <= side5_q;
        // A zero that a subtraction left is positive.
        side6_q.sign <= side5_q.sign && !(side5_q.subtract && sum5_q == '0);
      end
      if (valid_q[4]) begin
        zeros5_q <= 5'(leading_zeros({sum4_q | mark4_q, 4'h8}));
        sum5_q   <= sum4_q;
        exp5_q   <= exp4_q;
        side5_q  <= side4_q;
      end
      if (valid_q[3]) begin
        sum4_q  <= {1'b0, x3_q} + ({1'b0, y3_q} ^ {28{side3_q.subtract}}) + 28'(side3_q.subtract);
        mark4_q <= |exp3_q[7:5] ? '0 : 28'h800_0000 >> exp3_q[4:0];
        exp4_q  <= exp3_q;
        side4_q <= side3_q;
      end
      if (valid_q[2]) begin
        x3_q    <= {x_sig2_q, 3'd0};
        y3_q    <= align(y_sig2_q, distance2_q);
        exp3_q  <= exp2_q;
        side3_q <= side2_q;
      end
      if (valid_q[1]) begin
        x_sig2_q    <= {|x[30:23], x[22:0]};
        y_sig2_q    <= {|y[30:23], y[22:0]};
        exp2_q      <= exponent(x[30:23]);
        distance2_q <= |distance[7:5] ? 5'd31 : distance[4:0];
        side2_q     <= '{tag: tag1_q, sign: x[31], subtract: a1_q[31] ^ b1_q[31],
                         nan: (a_max && |a1_q[22:0]) || (b_max && |b1_q[22:0])
                              || (a_max && b_max && (a1_q[31] ^ b1_q[31])),
                         inf: a_max || b_max};
      end
      if (valid_i) begin
        a1_q        <= a_i;
        b1_q        <= b_i;
        swap1_q     <= a_i[30:0] < b_i[30:0];
        a_over_b1_q <= exponent(a_i[30:23]) - exponent(b_i[30:23]);
        b_over_a1_q <= exponent(b_i[30:23]) - exponent(a_i[30:23]);
        tag1_q      <= tag_i;
      end
    end
  end

  assign valid_o  = valid_q[Latency];
  assign result_o = result7_q;
  assign tag_o    = tag7_q;

  logic unused;
  assign unused = side6_q.subtract;

endmodule
