/// IEEE 754 binary32 multiplication, round to nearest even, with subnormal operands and results.
///
/// Latency 6 cycles (`Latency`), throughput one product a cycle; there is no back-pressure. A NaN
/// result is always 0x7FC00000, and no exception is flagged. `tag_i` travels along with the
/// operands. Nothing is clocked while there is nothing to do.
///
///   1 take apart          4 coarse shift
///   2 multiply            5 fine shift, round
///   3 how far to shift    6 pack
///
/// An operand that is subnormal is not normalized first. Its leading zeros are counted while the
/// DSP multiplies, and one shift then brings the product to its place, whichever side was
/// subnormal: left over the zeros, or less far or to the right if the result is subnormal. If both
/// are, the product is too small for any of this to matter.
///
/// `BBits` tells how many of the 24 significant bits of b may be other than zero. A DSP48E2
/// multiplies 26 by 17 unsigned bits, so with 17 or fewer the product is one of them; with more it
/// is two and an adder in stage 3.
module f32_mul
  import float_pkg::*;
#(
  parameter int unsigned BBits    = 24,
  parameter int unsigned TagWidth = 1,
  localparam int unsigned Latency = 6
) (
  input  logic                clk_i,
  input  logic                rst_ni,

  input  logic                valid_i,
  input  logic [31:0]         a_i,
  input  logic [31:0]         b_i,      // the lowest 24 - BBits bits must be zero
  input  logic [TagWidth-1:0] tag_i,

  output logic                valid_o,  // Latency cycles later
  output logic [31:0]         result_o,
  output logic [TagWidth-1:0] tag_o
);

  if (BBits < 2 || BBits > 24) begin : g_check_bits
    $error("f32_mul: BBits must be 2 to 24");
  end

  localparam int unsigned ProductBits = 24 + BBits;
  localparam int unsigned DspBits     = 17;

  // What accompanies a significand.
  typedef struct packed {
    logic [TagWidth-1:0] tag;
    logic                sign;
    logic                nan;
    logic                inf;
  } side_t;

  // How the product moves, see below.
  typedef struct packed {
    logic [5:0] right;
    logic [9:0] exponent;
  } move_t;

  typedef struct packed {
    logic [9:0]  exponent;
    logic [22:0] fraction;
    logic        up;
  } rounded_t;

  // The product moves 24 places up and then `right` down, so that its one stands at bit 46 or 47 of
  // the word that is rounded, or where exponent 1 puts it if the result is subnormal.
  function automatic move_t move(logic signed [10:0] exponent, logic [4:0] zeros);
    logic signed [10:0] normal, right;
    normal = exponent - $signed({6'd0, zeros});
    right  = 11'sd25 - exponent;
    if (normal >= 11'sd1) return '{right: 6'd24 - {1'b0, zeros}, exponent: normal[9:0]};
    return '{right: |right[10:6] ? 6'd63 : right[5:0], exponent: 10'd1};
  endfunction

  // 24 bits stay, the next is half a unit, the others only say whether it is more.
  function automatic rounded_t round(logic [40:0] coarse, logic [3:0] right, logic lost,
                                     logic [9:0] exponent);
    logic [25:0] fine;
    logic        more;
    fine = 26'(coarse >> right);
    more = lost || |(coarse[14:0] & ~(15'h7FFF << right));
    if (fine[25]) begin
      return '{exponent: exponent + 10'd1, fraction: fine[24:2],
               up: fine[1] && (more || fine[0] || fine[2])};
    end
    return '{exponent: fine[24] ? exponent : '0, fraction: fine[23:1],
             up: fine[0] && (more || fine[1])};
  endfunction

  // Rounding up may carry into the exponent, which is just what makes the next binade, or infinity,
  // of it.
  function automatic logic [31:0] pack(rounded_t rounded, logic sign, logic nan, logic inf);
    if (nan) return CanonicalNan;
    if (inf || |rounded.exponent[9:8] || &rounded.exponent[7:0]) return {sign, 8'hFF, 23'd0};
    return {sign, {rounded.exponent[7:0], rounded.fraction} + 31'(rounded.up)};
  endfunction

  logic [Latency:1]       valid_q;
  side_t                  side2_q, side3_q, side4_q, side5_q;
  // 1. The exponent of a subnormal number counts as 1.
  logic                   a_tiny, b_tiny;
  logic                   sign1_q, a_tiny1_q, b_tiny1_q, a_max1_q, b_max1_q, a_frac1_q, b_frac1_q;
  logic [TagWidth-1:0]    tag1_q;
  logic [23:0]            a_sig1_q;
  logic [BBits-1:0]       b_sig1_q;
  logic [9:0]             exp1_q;
  // 2. Zeros of the subnormal operand; the exponent of the product if nothing had to move.
  logic [4:0]             zeros2_q;
  logic signed [10:0]     exp2_q;
  // 3.
  logic [ProductBits-1:0] product3_q;
  logic [47:0]            product;
  move_t                  move3_q;
  // 4. The 41 bits that the rest of the move can still bring into the upper 26.
  logic [40:0]            coarse4_q;
  logic                   lost4_q;
  move_t                  move4_q;
  // 5, 6.
  rounded_t               rounded5_q;
  logic [31:0]            result6_q;
  logic [TagWidth-1:0]    tag6_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else         valid_q <= {valid_q[Latency-1:1], valid_i};
  end

  assign a_tiny  = (a_i[30:23] == '0);
  assign b_tiny  = (b_i[30:23] == '0);
  assign product = {product3_q, {(48 - ProductBits){1'b0}}};

  // The outer condition follows from the others; it spares a simulator the stages of an idle unit.
  // With the last stage first it needs no copies of the registers either.
  always_ff @(posedge clk_i) begin
    if (valid_i || |valid_q) begin
      if (valid_q[5]) begin
        result6_q <= pack(rounded5_q, side5_q.sign, side5_q.nan, side5_q.inf);
        tag6_q    <= side5_q.tag;
      end
      if (valid_q[4]) begin
        rounded5_q <= round(coarse4_q, move4_q.right[3:0], lost4_q, move4_q.exponent);
        side5_q    <= side4_q;
      end
      if (valid_q[3]) begin
        unique case (move3_q.right[5:4])
          2'd0:    coarse4_q <= {product[38:0], 2'd0};
          2'd1:    coarse4_q <= {7'd0, product[47:14]};
          2'd2:    coarse4_q <= {23'd0, product[47:30]};
          default: coarse4_q <= {39'd0, product[47:46]};
        endcase
        lost4_q <= (move3_q.right[5:4] != 2'd0 && |product[13:0])
                   || (move3_q.right[5] && |product[29:14])
                   || (move3_q.right[5:4] == 2'd3 && |product[45:30]);
        move4_q <= move3_q;
        side4_q <= side3_q;
      end
      if (valid_q[2]) begin
        move3_q <= move(exp2_q, zeros2_q);
        side3_q <= side2_q;
      end
      if (valid_q[1]) begin
        zeros2_q <= 5'(leading_zeros({a_tiny1_q ? a_sig1_q : 24'(b_sig1_q) << (24 - BBits),
                                      8'h80}));
        exp2_q   <= $signed({1'b0, exp1_q}) - 11'sd127;
        side2_q  <= '{tag: tag1_q, sign: sign1_q, inf: a_max1_q || b_max1_q,
                      nan: (a_max1_q && (a_frac1_q || (b_tiny1_q && !b_frac1_q)))
                           || (b_max1_q && (b_frac1_q || (a_tiny1_q && !a_frac1_q)))};
      end
      if (valid_i) begin
        sign1_q   <= a_i[31] ^ b_i[31];
        a_tiny1_q <= a_tiny;
        b_tiny1_q <= b_tiny;
        a_max1_q  <= &a_i[30:23];
        b_max1_q  <= &b_i[30:23];
        a_frac1_q <= |a_i[22:0];
        b_frac1_q <= |b_i[22:0];
        a_sig1_q  <= {!a_tiny, a_i[22:0]};
        b_sig1_q  <= {!b_tiny, b_i[22-:BBits-1]};
        exp1_q    <= 10'({a_i[30:24], a_i[23] | a_tiny}) + 10'({b_i[30:24], b_i[23] | b_tiny});
        tag1_q    <= tag_i;
      end
    end
  end

  // Stages 2 and 3 of the product, in a form that DSPs can take with their own registers.
  if (BBits <= DspBits) begin : g_one_dsp
    logic [ProductBits-1:0] product2_q;

    always_ff @(posedge clk_i) begin
      if (valid_q[1]) product2_q <= ProductBits'(a_sig1_q) * ProductBits'(b_sig1_q);
      if (valid_q[2]) product3_q <= product2_q;
    end
  end else begin : g_two_dsps
    logic [24+DspBits-1:0]          low2_q;
    logic [ProductBits-DspBits-1:0] high2_q;

    always_ff @(posedge clk_i) begin
      if (valid_q[1]) begin
        low2_q  <= (24 + DspBits)'(a_sig1_q) * (24 + DspBits)'(b_sig1_q[DspBits-1:0]);
        high2_q <= (ProductBits - DspBits)'(a_sig1_q)
                   * (ProductBits - DspBits)'(b_sig1_q[BBits-1:DspBits]);
      end
      if (valid_q[2]) begin
        product3_q[DspBits-1:0]           <= low2_q[DspBits-1:0];
        product3_q[ProductBits-1:DspBits] <= high2_q + (ProductBits - DspBits)'(low2_q >> DspBits);
      end
    end
  end

  assign valid_o  = valid_q[Latency];
  assign result_o = result6_q;
  assign tag_o    = tag6_q;

  logic unused;
  assign unused = ^move4_q.right[5:4];

endmodule
