/// The dot product of 8 activations with 2 x 8 weights: 8 multipliers in a systolic chain, one
/// DSP48E2 each.
///
/// Link i adds its product to the sum of link i - 1 and registers it, so the sum moves along the
/// column of DSPs on their cascade wires and needs no adder tree. Therefore input i must come i
/// cycles after input 0: `pe_array` and `activation_buffer` skew the operands. Each link registers
/// its operands, its product and its sum.
///
///   cycle          0     1     2     3    ...   10
///   input 0        in    reg   prod  sum0
///   input 1              in    reg   prod  sum1
///   input 7                    ...              sum7 = sum_o
///
/// Latency 10 cycles from input 0, throughput one dot product a cycle. There is no valid:
/// everything moves while `en_i` is set, and whoever sets it knows which sums mean something. The
/// sum has the two lanes of `mul_pair`.
module dot_chain
  import accel_pkg::*;
(
  input  logic                              clk_i,
  input  logic                              en_i,
  input  logic [TileInputs-1:0][1:0][3:0]   weight_i,      // [input][channel of the pair], skewed
  input  logic [TileInputs-1:0][7:0]        activation_i,  // [input], signed, skewed
  output logic [37:0]                       sum_o
);

  localparam int unsigned SumWidth = 48;  // of the DSP; the lanes of 64 products fill 38

  logic [TileInputs-1:0][1:0][3:0] weight_q;
  logic [TileInputs-1:0][7:0]      activation_q;

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      weight_q     <= weight_i;
      activation_q <= activation_i;
    end
  end

  for (genvar i = 0; i < TileInputs; i++) begin : g_link
    logic signed [32:0]         product_d, product_q;
    logic signed [SumWidth-1:0] above, sum_q;

    mul_pair u_mul_pair (
      .weight0_i   (weight_q[i][0]),
      .weight1_i   (weight_q[i][1]),
      .activation_i(activation_q[i]),
      .product_o   (product_d)
    );

    if (i == 0) begin : g_first
      assign above = '0;
    end else begin : g_next
      assign above = g_link[i-1].sum_q;
    end

    always_ff @(posedge clk_i) begin
      if (en_i) begin
        product_q <= product_d;
        sum_q     <= above + SumWidth'(product_q);
      end
    end
  end

  assign sum_o = g_link[TileInputs-1].sum_q[37:0];

  logic unused;
  assign unused = ^g_link[TileInputs-1].sum_q[SumWidth-1:38];

endmodule
