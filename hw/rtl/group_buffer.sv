/// Sums the 8 lines of a group for every channel and token of a port, and keeps the sums of the last two groups.
///
/// Written: a sum over one line from every chain, one tile a cycle. `first_line_i` begins a sum, other lines add to it.
/// A bank belongs to one group; while one fills, `scale_lane` works through the other. Both lanes of `mul_pair` are
/// summed at once, in the packed form; bits 19:18 of the lower lane are copies of its sign and are not stored.
/// Read: a slot (quad, channel, token of a lane's pair) gives the two dot products apart, for all lanes, 2 cycles later.
///
/// The sum of a tile can be read, and added to, in the cycle after it came. There is no protection: the caller must not
/// write a bank whose slots are still to be read.
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
  input  logic [Tokens-1:0][1:0][37:0]       sum_i,  // [token][channel pair]

  input  logic [1:0]                         read_en_i,   // one bit a stage: at the slot, and a cycle later
  input  logic                               read_bank_i,
  input  logic [1:0]                         read_quad_i,
  input  logic [1:0]                         read_channel_i,
  input  logic                               read_token_i,
  output logic [Lanes-1:0][17:0]             dot_o   // signed
);

  logic high_q;  // which channel of the pair

  always_ff @(posedge clk_i) begin
    if (read_en_i[0]) high_q <= read_channel_i[0];
  end

  for (genvar l = 0; l < Lanes; l++) begin : g_lane
    logic [1:0][1:0][35:0] words;  // [token of the pair][channel pair]
    logic [35:0]           word_q;
    logic [17:0]           dot_q;
    logic                  lane_en;

    assign lane_en = token_en_i[2*l];

    for (genvar t = 0; t < 2; t++) begin : g_token
      for (genvar p = 0; p < 2; p++) begin : g_pair
        if (2 * l + t < Tokens) begin : g_memory
          (* ram_style = "distributed" *) logic [35:0] mem [8];
          logic [35:0] old;
          logic [37:0] base, sum;

          assign old  = mem[{bank_i, quad_i}];
          assign base = first_line_i ? '0 : {old[35:18], {2{old[17]}}, old[17:0]};
          assign sum  = base + sum_i[2*l+t][p];

          always_ff @(posedge clk_i) begin
            if (valid_i && token_en_i[2*l+t]) mem[{bank_i, quad_i}] <= {sum[37:20], sum[17:0]};
          end

          assign words[t][p] = mem[{read_bank_i, read_quad_i}];

          logic unused;
          assign unused = ^sum[19:18];
        end else begin : g_absent
          assign words[t][p] = '0;
        end
      end
    end

    // The upper lane gives back what a negative lower lane borrowed.
    always_ff @(posedge clk_i) begin
      if (read_en_i[0] && lane_en) word_q <= words[read_token_i][read_channel_i[1]];
      if (read_en_i[1] && lane_en) begin
        dot_q <= high_q ? word_q[35:18] + 18'(word_q[17]) : word_q[17:0];
      end
    end

    assign dot_o[l] = dot_q;
  end

endmodule
