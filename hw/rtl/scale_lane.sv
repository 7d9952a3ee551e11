/// Ends the groups of two tokens of a port: takes a dot product of integers and adds it, scaled, to
/// an f32 accumulator.
///
///   D   = dot - zero * sum                       exact; in a segment dot - 16 * zero * sum
///   m   = weight scale * activation scale        rounded to f32
///   p   = f32(D) * m                             rounded
///   acc = acc + p                                rounded; the first group is added to +0.0
///
/// One slot a cycle: a channel of a token. Latency 26 cycles from the slot to the accumulator, of
/// which the loop through the accumulator takes 9: a caller must leave as many cycles between two
/// slots of the same accumulator. There are 2 banks x 2 tokens x 16 channels of accumulators. They
/// can be read at any time through `read_address_i` (same cycle).
module scale_lane (
  input  logic               clk_i,
  input  logic               rst_ni,

  input  logic               valid_i,
  input  logic [5:0]         address_i,       // {bank, token of the pair, channel}
  input  logic               first_i,         // first group of the block
  input  logic               end_i,           // last slot of the block
  input  logic signed [21:0] dot_i,
  input  logic [3:0]         zero_i,
  input  logic               segments_i,
  input  logic signed [13:0] act_sum_i,
  input  logic [31:0]        act_scale_i,
  input  logic [31:0]        weight_scale_i,  // 2 cycles after the others, with f16's precision
                                              // (a sixteenth of it in a segment)

  output logic               end_o,           // the slot with end_i is in its accumulator
  output logic               end_bank_o,      // of that slot

  input  logic [5:0]         read_address_i,
  output logic [31:0]        read_data_o
);

  localparam int unsigned DotWidth = 22;      // |D| <= 255 * 128 * 64 = 2,088,960

  typedef struct packed {
    logic       first;
    logic       last;
    logic [5:0] address;
  } slot_t;

  typedef struct packed {
    slot_t               slot;
    logic [DotWidth-1:0] dot;
  } dot_slot_t;

  typedef struct packed {
    slot_t       slot;
    logic [31:0] scale;
  } scale_slot_t;

  // The exact part: a DSP with its product register and its sum register.
  logic                       valid1_q, valid2_q;
  slot_t                      slot1_q, slot2_q;
  logic signed [DotWidth-1:0] dot1_q;
  logic [31:0]                act_scale1_q, act_scale2_q;
  (* use_dsp = "yes" *) logic signed [DotWidth-1:0] offset1_q;
  (* use_dsp = "yes" *) logic signed [DotWidth-1:0] dot2_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid1_q <= 1'b0;
      valid2_q <= 1'b0;
    end else begin
      valid1_q <= valid_i;
      valid2_q <= valid1_q;
    end
  end

  logic [8:0] zero;
  assign zero = segments_i ? {1'b0, zero_i, 4'd0} : {5'd0, zero_i};

  always_ff @(posedge clk_i) begin
    if (valid_i) begin
      slot1_q      <= '{first: first_i, last: end_i, address: address_i};
      offset1_q    <= DotWidth'($signed(zero)) * DotWidth'(act_sum_i);
      dot1_q       <= dot_i;
      act_scale1_q <= act_scale_i;
    end
    if (valid1_q) begin
      slot2_q      <= slot1_q;
      dot2_q       <= dot1_q - offset1_q;
      act_scale2_q <= act_scale1_q;
    end
  end

  // m
  logic        scale_valid;
  logic [31:0] scale;
  dot_slot_t   scale_tag;

  f32_mul #(
    .BBits   (11),
    .TagWidth($bits(dot_slot_t))
  ) u_scale (
    .clk_i,
    .rst_ni,
    .valid_i (valid2_q),
    .a_i     (act_scale2_q),
    .b_i     (weight_scale_i),
    .tag_i   ({slot2_q, dot2_q}),
    .valid_o (scale_valid),
    .result_o(scale),
    .tag_o   (scale_tag)
  );

  // f32(D)
  logic        dot_valid;
  logic [31:0] dot;
  scale_slot_t dot_tag;

  int_to_f32 #(
    .Width   (DotWidth),
    .TagWidth($bits(scale_slot_t))
  ) u_dot (
    .clk_i,
    .rst_ni,
    .valid_i (scale_valid),
    .int_i   (scale_tag.dot),
    .tag_i   ({scale_tag.slot, scale}),
    .valid_o (dot_valid),
    .result_o(dot),
    .tag_o   (dot_tag)
  );

  // p; 21 bits hold |D|
  logic        product_valid;
  logic [31:0] product;
  slot_t       product_slot;

  f32_mul #(
    .BBits   (DotWidth - 1),
    .TagWidth($bits(slot_t))
  ) u_product (
    .clk_i,
    .rst_ni,
    .valid_i (dot_valid),
    .a_i     (dot_tag.scale),
    .b_i     (dot),
    .tag_i   (dot_tag.slot),
    .valid_o (product_valid),
    .result_o(product),
    .tag_o   (product_slot)
  );

  // acc
  (* ram_style = "distributed" *) logic [31:0] accumulators [64];
  logic        add_valid_q, sum_valid;
  slot_t       add_slot_q, sum_slot;
  logic [31:0] product_q, accumulator_q, sum;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) add_valid_q <= 1'b0;
    else         add_valid_q <= product_valid;
  end

  always_ff @(posedge clk_i) begin
    if (product_valid) begin
      add_slot_q    <= product_slot;
      product_q     <= product;
      accumulator_q <= product_slot.first ? 32'd0 : accumulators[product_slot.address];
    end
  end

  f32_add #(
    .TagWidth($bits(slot_t))
  ) u_add (
    .clk_i,
    .rst_ni,
    .valid_i (add_valid_q),
    .a_i     (accumulator_q),
    .b_i     (product_q),
    .tag_i   (add_slot_q),
    .valid_o (sum_valid),
    .result_o(sum),
    .tag_o   (sum_slot)
  );

  always_ff @(posedge clk_i) begin
    if (sum_valid) accumulators[sum_slot.address] <= sum;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) end_o <= 1'b0;
    else         end_o <= sum_valid && sum_slot.last;
  end

  always_ff @(posedge clk_i) begin
    if (sum_valid) end_bank_o <= sum_slot.address[5];
  end

  assign read_data_o = accumulators[read_address_i];

  logic unused;
  assign unused = sum_slot.first;

endmodule
