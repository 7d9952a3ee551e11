/// The scale step of one port: a lane for every two tokens, all on the same slot, and the way to
/// read the results.
///
/// A slot is a channel of a token of each lane's pair. Its dot products, activation sums and scales
/// and the channel's zero point and scale come in one cycle; `scale_lane` says what is done with
/// them and when an accumulator may be used again. Throughput one slot a cycle. `done_o` tells,
/// once a block, that its accumulators hold the results: slots must come in the order of channels,
/// token inside, and the results be read in the order of tokens, channel inside.
///
/// `read_data_o` follows `read_en_i` by one cycle.
module group_accumulate #(
  parameter int unsigned Tokens = 8,
  localparam int unsigned Lanes = (Tokens + 1) / 2
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,

  input  logic                    valid_i,
  input  logic [Tokens-1:0]       token_en_i,
  input  logic                    token_i,      // of the pair
  input  logic [3:0]              channel_i,
  input  logic                    bank_i,
  input  logic                    first_i,      // first group of the block
  input  logic                    end_i,        // last channel of the last group
  input  logic                    segments_i,
  input  logic [Lanes-1:0][21:0]  dot_i,
  input  logic [Lanes-1:0][13:0]  act_sum_i,
  input  logic [Lanes-1:0][31:0]  act_scale_i,
  input  logic [15:0]             scale_i,      // f16
  input  logic [3:0]              zero_i,

  output logic                    done_o,
  output logic                    done_bank_o,

  input  logic                    read_en_i,
  input  logic                    read_bank_i,
  input  logic [2:0]              read_token_i,
  input  logic [3:0]              read_channel_i,
  output logic [31:0]             read_data_o
);

  logic        scale_valid;
  logic [31:0] scale;

  f16_to_f32 u_f16_to_f32 (
    .clk_i,
    .rst_ni,
    .valid_i,
    .half_i     (scale_i),
    .sixteenth_i(segments_i),
    .valid_o    (scale_valid),
    .result_o   (scale)
  );

  logic [Lanes-1:0][31:0] read_data;
  logic [Lanes-1:0]       lane_end, lane_end_bank;

  for (genvar l = 0; l < Lanes; l++) begin : g_lane
    logic second_en;  // of the pair
    if (2 * l + 1 < Tokens) begin : g_pair
      assign second_en = token_en_i[2*l+1];
    end else begin : g_single
      assign second_en = 1'b0;
    end

    scale_lane u_scale_lane (
      .clk_i,
      .rst_ni,
      .valid_i       (valid_i && (token_i ? second_en : token_en_i[2*l])),
      .address_i     ({bank_i, token_i, channel_i}),
      .first_i,
      // Token 0 of the last channel: the other token's sum comes a cycle later, long before it is
      // read.
      .end_i         (end_i && !token_i),
      .dot_i         (dot_i[l]),
      .zero_i,
      .segments_i,
      .act_sum_i     (act_sum_i[l]),
      .act_scale_i   (act_scale_i[l]),
      .weight_scale_i(scale),
      .end_o         (lane_end[l]),
      .end_bank_o    (lane_end_bank[l]),
      .read_address_i({read_bank_i, read_token_i[0], read_channel_i}),
      .read_data_o   (read_data[l])
    );
  end

  // Token 0 takes part in every operation.
  assign done_o      = lane_end[0];
  assign done_bank_o = lane_end_bank[0];

  if (Lanes == 1) begin : g_read_one
    always_ff @(posedge clk_i) begin
      if (read_en_i) read_data_o <= read_data[0];
    end
    logic unused;
    assign unused = ^read_token_i[2:1];
  end else begin : g_read
    localparam int unsigned LaneBits = $clog2(Lanes);
    always_ff @(posedge clk_i) begin
      if (read_en_i) read_data_o <= read_data[read_token_i[LaneBits:1]];
    end
    if (LaneBits < 2) begin : g_unused
      logic unused;
      assign unused = read_token_i[2];
    end
  end

  logic unused;
  assign unused = ^{scale_valid, lane_end, lane_end_bank};

endmodule
