/// Two products of unsigned 4-bit weights with one signed 8-bit activation, from one multiplier.
/// Combinational.
///
///   wide operand   w0 + w1 * 2^20       {0, w1, 16 zeros, w0}: 25 of a DSP48E2's 27 bits
///   product        w0*a + w1*a * 2^20
///
///   bit   47 ........ 20 | 19 ......... 0
///         hi = w1 * a    | lo = w0 * a     signed; if lo is negative it borrows 1 from hi
///
/// Sums of such products keep this form as long as each lane fits its width: 64 products lie within
/// 64 * 15 * -128 = -122,880 and 64 * 15 * 127 = 121,920, which is 18 bits of the lower lane's 20.
/// Whoever takes a sum apart gives the borrow back: lo = sum[19:0] as a signed number, hi = (sum >>
/// 20) + sum[19]. That is `group_buffer`.
module mul_pair (
  input  logic [3:0]         weight0_i,
  input  logic [3:0]         weight1_i,
  input  logic signed [7:0]  activation_i,
  output logic signed [32:0] product_o
);

  localparam int unsigned LaneShift = 20;

  logic signed [24:0] wide;
  assign wide = $signed({1'b0, weight1_i, {(LaneShift - 4){1'b0}}, weight0_i});

  assign product_o = 33'(wide) * 33'(activation_i);

endmodule
