/// The multipliers of one port: a tile of 4 channels x 8 inputs times 8 inputs of every token,
/// every cycle.
///
/// A chain of 8 DSPs serves 2 channels of a token, so there are 2 x Tokens chains: with 8 tokens
/// 128 DSPs do 256 multiplications a cycle. The weights are skewed here (input i comes i cycles
/// later, see `dot_chain`); the activations come skewed from `activation_buffer`, since all ports
/// use the same. Latency 10 cycles, one tile a cycle.
///
/// `en_i` keeps everything moving; a token whose `token_en_i` is low is not clocked.
module pe_array
  import accel_pkg::*;
#(
  parameter int unsigned Tokens = 8
) (
  input  logic                                     clk_i,
  input  logic                                     en_i,
  input  logic [Tokens-1:0]                        token_en_i,
  input  tile_t                                    tile_i,
  input  logic [Tokens-1:0][TileInputs-1:0][7:0]   activation_i,  // skewed
  output logic [Tokens-1:0][1:0][37:0]             sum_o          // [token][channel pair]
);

  logic [1:0][TileInputs-1:0][1:0][3:0] weight;  // [channel pair][input][channel of the pair]

  for (genvar p = 0; p < 2; p++) begin : g_pair
    for (genvar i = 0; i < TileInputs; i++) begin : g_input
      logic [7:0] now;
      assign now = {tile_i[2*p+1][i], tile_i[2*p][i]};

      if (i == 0) begin : g_direct
        assign weight[p][i] = now;
      end else begin : g_skew
        logic [8*i-1:0] delay_q;
        always_ff @(posedge clk_i) begin
          if (en_i) delay_q <= (8*i)'({delay_q, now});
        end
        assign weight[p][i] = delay_q[8*i-1-:8];
      end
    end

    for (genvar t = 0; t < Tokens; t++) begin : g_token
      dot_chain u_dot_chain (
        .clk_i,
        .en_i        (en_i && token_en_i[t]),
        .weight_i    (weight[p]),
        .activation_i(activation_i[t]),
        .sum_o       (sum_o[t][p])
      );
    end
  end

endmodule
