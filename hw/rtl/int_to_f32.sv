/// A signed integer of up to 24 bits as binary32. Exact, since the significand has as many bits;
/// zero is +0.0.
///
/// Latency 3 cycles (`Latency`: magnitude, leading zeros, shift), throughput one a cycle, no
/// back-pressure. `tag_i` travels along. Nothing is clocked while there is nothing to do.
module int_to_f32
  import float_pkg::*;
#(
  parameter int unsigned Width    = 18,  // of the two's complement integer, 2 to 24
  parameter int unsigned TagWidth = 1,
  localparam int unsigned Latency = 3
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,

  input  logic                    valid_i,
  input  logic signed [Width-1:0] int_i,
  input  logic [TagWidth-1:0]     tag_i,

  output logic                    valid_o,  // Latency cycles later
  output logic [31:0]             result_o,
  output logic [TagWidth-1:0]     tag_o
);

  if (Width < 2 || Width > 24) begin : g_check_width
    $error("int_to_f32: Width must be 2 to 24");
  end

  // Of a one in the top bit of the magnitude.
  localparam logic [7:0] TopExponent = 8'(127 + Width - 1);

  logic [Latency:1]    valid_q;
  logic [TagWidth-1:0] tag1_q, tag2_q, tag3_q;
  logic [Width-1:0]    magnitude1_q, magnitude2_q;
  logic                sign1_q, sign2_q;
  logic [4:0]          zeros2_q;
  logic [31:0]         result3_q;

  function automatic logic [31:0] pack(logic [Width-1:0] magnitude, logic [4:0] zeros, logic sign);
    logic [Width-1:0] normal;
    normal = magnitude << zeros;
    return {sign, normal[Width-1] ? TopExponent - 8'(zeros) : 8'd0, normal[Width-2:0],
            {(24 - Width){1'b0}}};
  endfunction

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else         valid_q <= {valid_q[Latency-1:1], valid_i};
  end

  // The outer condition follows from the others; it spares a simulator the stages of an idle unit.
  // With the last stage first it needs no copies of the registers either.
  always_ff @(posedge clk_i) begin
    if (valid_i || |valid_q) begin
      if (valid_q[2]) begin
        result3_q <= pack(magnitude2_q, zeros2_q, sign2_q);
        tag3_q    <= tag2_q;
      end
      if (valid_q[1]) begin
        magnitude2_q <= magnitude1_q;
        zeros2_q     <= 5'(leading_zeros({magnitude1_q, 1'b1, {(31 - Width){1'b0}}}));
        sign2_q      <= sign1_q;
        tag2_q       <= tag1_q;
      end
      if (valid_i) begin
        magnitude1_q <= int_i[Width-1] ? -int_i : int_i;
        sign1_q      <= int_i[Width-1];
        tag1_q       <= tag_i;
      end
    end
  end

  assign valid_o  = valid_q[Latency];
  assign result_o = result3_q;
  assign tag_o    = tag3_q;

endmodule
