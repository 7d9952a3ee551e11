/// A binary16 number as binary32, or a sixteenth of it: the scale of a row block, or of a segment,
/// whose codes have a low plane worth a sixteenth of the high one. Exact: a subnormal half and its
/// sixteenth are normal singles, infinities stay, a NaN is 0x7FC00000.
///
/// Latency 2 cycles (`Latency`: leading zeros, shift), throughput one a cycle, no back-pressure.
/// The lowest 13 bits of the result are zero.
module f16_to_f32
  import float_pkg::*;
#(
  localparam int unsigned Latency = 2
) (
  input  logic        clk_i,
  input  logic        rst_ni,

  input  logic        valid_i,
  input  logic [15:0] half_i,
  input  logic        sixteenth_i,

  output logic        valid_o,  // Latency cycles later
  output logic [31:0] result_o
);

  logic [Latency:1] valid_q;
  logic [3:0]       zeros1_q;
  logic [15:0]      half1_q;
  logic [9:0]       normal;
  logic [7:0]       bias, bias1_q;  // between the two exponents, for an exponent field of 0
  logic [31:0]      result2_q;

  assign bias = sixteenth_i ? 8'd108 : 8'd112;

  // The leading one of a subnormal fraction becomes the hidden one.
  assign normal = 10'(half1_q[9:0] << (zeros1_q + 4'd1));

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else         valid_q <= {valid_q[Latency-1:1], valid_i};
  end

  always_ff @(posedge clk_i) begin
    if (valid_i) begin
      half1_q  <= half_i;
      zeros1_q <= 4'(leading_zeros({half_i[9:0], 1'b1, 21'd0}));
      bias1_q  <= bias;
    end
    if (valid_q[1]) begin
      unique case (half1_q[14:10])
        5'd0: begin
          if (zeros1_q == 4'd10) result2_q <= {half1_q[15], 31'd0};
          else                   result2_q <= {half1_q[15], bias1_q - 8'(zeros1_q), normal, 13'd0};
        end
        5'd31: begin
          if (half1_q[9:0] != '0) result2_q <= CanonicalNan;
          else                    result2_q <= {half1_q[15], 8'hFF, 23'd0};
        end
        default: result2_q <= {half1_q[15], bias1_q + 8'(half1_q[14:10]), half1_q[9:0], 13'd0};
      endcase
    end
  end

  assign valid_o  = valid_q[Latency];
  assign result_o = result2_q;

endmodule
