/// IEEE 754 binary32 multiplication, round to nearest even, with subnormal operands and results.
///
/// Latency 6 cycles (`Latency`), throughput one product a cycle; there is no back-pressure. A NaN result is always
/// 0x7FC00000, and no exception is flagged. `tag_i` travels along with the operands. Nothing is clocked while there is
/// nothing to do.
///
///   1 take apart          4 coarse shift
///   2 multiply            5 fine shift, round
///   3 how far to shift    6 pack
///
/// An operand that is subnormal is not normalized first. Its leading zeros are counted while the DSP multiplies, and one
/// shift then brings the product to its place, whichever side was subnormal: left over the zeros, or less far or to the
/// right if the result is subnormal. If both are, the product is too small for any of this to matter.
///
/// `BBits` tells how many of the 24 significant bits of b may be other than zero. A DSP48E2 multiplies 26 by 17 unsigned
/// bits, so with 17 or fewer the product is one of them; with more it is two and an adder in stage 3.
module f32_mul #(
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

  // Stage 1: fields. The exponent of a subnormal number counts as 1.
  logic             a_tiny, b_tiny;
  logic             sign1_q, a_tiny1_q, b_tiny1_q, a_max1_q, b_max1_q, a_frac1_q, b_frac1_q;
  logic [23:0]      a_sig1_q;
  logic [BBits-1:0] b_sig1_q;
  logic [9:0]       exp1_q;

  assign a_tiny = (a_i[30:23] == '0);
  assign b_tiny = (b_i[30:23] == '0);

  always_ff @(posedge clk_i) begin
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
    end
  end

  // Stage 2: product, zeros of the subnormal operand, exponent of the product if nothing had to move.
  localparam int unsigned ProductBits = 24 + BBits;
  localparam int unsigned DspBits     = 17;

  logic [23:0]            sub_sig;
  logic [4:0]             zeros, zeros2_q;
  logic                   nan2_q, inf2_q, sign2_q;
  logic signed [10:0]     exp2_q;
  logic [ProductBits-1:0] product3_q;

  if (BBits <= DspBits) begin : g_one_dsp
    logic [ProductBits-1:0] product2_q;

    always_ff @(posedge clk_i) begin
      if (valid_q[1]) product2_q <= ProductBits'(a_sig1_q) * ProductBits'(b_sig1_q);
      if (valid_q[2]) product3_q <= product2_q;
    end
  end else begin : g_two_dsps
    logic [24+DspBits-1:0]        low2_q;
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

  assign sub_sig = a_tiny1_q ? a_sig1_q : {b_sig1_q, {(24 - BBits){1'b0}}};

  leading_zeros #(.Width(24)) u_leading_zeros (
    .data_i (sub_sig),
    .count_o(zeros)
  );

  always_ff @(posedge clk_i) begin
    if (valid_q[1]) begin
      zeros2_q <= zeros;
      sign2_q  <= sign1_q;
      exp2_q   <= $signed({1'b0, exp1_q}) - 11'sd127;
      nan2_q   <= (a_max1_q && (a_frac1_q || (b_tiny1_q && !b_frac1_q)))
                  || (b_max1_q && (b_frac1_q || (a_tiny1_q && !a_frac1_q)));
      inf2_q   <= a_max1_q || b_max1_q;
    end
  end

  // Stage 3: the product moves 24 places up and then `right` down, so that its one stands at bit 46 or 47 of the word
  // that stage 5 rounds, or where exponent 1 puts it if the result is subnormal.
  logic signed [10:0] exp_normal, right_subnormal;
  logic               subnormal, far;
  logic [5:0]         right3_q;
  logic [9:0]         exp3_q;
  logic               nan3_q, inf3_q, sign3_q;

  assign exp_normal      = exp2_q - $signed({6'd0, zeros2_q});
  assign subnormal       = exp_normal < 11'sd1;
  assign right_subnormal = 11'sd25 - exp2_q;
  assign far             = |right_subnormal[9:6];

  always_ff @(posedge clk_i) begin
    if (valid_q[2]) begin
      right3_q <= !subnormal ? 6'd24 - {1'b0, zeros2_q}
                  : far ? 6'd63 : right_subnormal[5:0];
      exp3_q   <= subnormal ? 10'd1 : exp_normal[9:0];
      nan3_q   <= nan2_q;
      inf3_q   <= inf2_q;
      sign3_q  <= sign2_q;
    end
  end

  // Stage 4: move by a multiple of 16 and keep what the rest of the move can still bring into the upper 26 bits.
  logic [47:0] product;
  logic [40:0] coarse4_q;
  logic        lost4_q;
  logic [3:0]  right4_q;
  logic [9:0]  exp4_q;
  logic        nan4_q, inf4_q, sign4_q;

  assign product = {product3_q, {(48 - ProductBits){1'b0}}};

  always_ff @(posedge clk_i) begin
    if (valid_q[3]) begin
      unique case (right3_q[5:4])
        2'd0:    coarse4_q <= {product[38:0], 2'd0};
        2'd1:    coarse4_q <= {7'd0, product[47:14]};
        2'd2:    coarse4_q <= {23'd0, product[47:30]};
        default: coarse4_q <= {39'd0, product[47:46]};
      endcase
      lost4_q  <= (right3_q[5:4] != 2'd0 && |product[13:0])
                  || (right3_q[5] && |product[29:14])
                  || (right3_q[5:4] == 2'd3 && |product[45:30]);
      right4_q <= right3_q[3:0];
      exp4_q   <= exp3_q;
      nan4_q   <= nan3_q;
      inf4_q   <= inf3_q;
      sign4_q  <= sign3_q;
    end
  end

  // Stage 5: the rest of the move; 24 bits stay, the next is half a unit, the others only say whether it is more.
  logic [25:0] fine;
  logic        lost, half, more;
  logic [23:0] sig;
  logic [22:0] frac5_q;
  logic [9:0]  field5_q;
  logic        up5_q, nan5_q, inf5_q, sign5_q;

  assign fine = 26'(coarse4_q >> right4_q);
  assign lost = lost4_q || |(coarse4_q[14:0] & ~(15'h7FFF << right4_q));
  assign sig  = fine[25] ? fine[25:2] : fine[24:1];
  assign half = fine[25] ? fine[1] : fine[0];
  assign more = lost || (fine[25] && fine[0]);

  always_ff @(posedge clk_i) begin
    if (valid_q[4]) begin
      frac5_q  <= sig[22:0];
      field5_q <= sig[23] ? exp4_q + 10'(fine[25]) : 10'd0;
      up5_q    <= half && (more || sig[0]);
      nan5_q   <= nan4_q;
      inf5_q   <= inf4_q;
      sign5_q  <= sign4_q;
    end
  end

  // Stage 6: rounding up may carry into the exponent, which is just what makes the next binade, or infinity, of it.
  logic [30:0] rounded;
  logic        overflow;
  logic [31:0] result6_q;

  assign rounded  = {field5_q[7:0], frac5_q} + 31'(up5_q);
  assign overflow = inf5_q || |field5_q[9:8] || &field5_q[7:0];

  always_ff @(posedge clk_i) begin
    if (valid_q[5]) begin
      if (nan5_q)        result6_q <= 32'h7FC0_0000;
      else if (overflow) result6_q <= {sign5_q, 8'hFF, 23'd0};
      else               result6_q <= {sign5_q, rounded};
    end
  end

  assign valid_o  = valid_q[Latency];
  assign result_o = result6_q;
  assign tag_o    = tag_q[Latency];

  logic unused;
  assign unused = ^{exp_normal[10], right_subnormal[10]};

endmodule
