/// Register slice for a valid/ready stream: cuts the paths of valid, data and ready.
///
/// Latency 1 cycle, throughput one word a cycle. Holds two words. Does not reorder or drop;
/// `flush_i` empties it.
module skid_buffer #(
  parameter int unsigned Width = 128
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             flush_i,

  input  logic             valid_i,
  output logic             ready_o,
  input  logic [Width-1:0] data_i,

  output logic             valid_o,
  input  logic             ready_i,
  output logic [Width-1:0] data_o
);

  logic [Width-1:0] data_q, spare_q;
  logic             valid_q, spare_valid_q;
  logic             advance;  // the output register may take a new word

  assign advance = ready_i || !valid_q;
  assign ready_o = !spare_valid_q;
  assign valid_o = valid_q;
  assign data_o  = data_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      valid_q       <= 1'b0;
      spare_valid_q <= 1'b0;
    end else if (advance) begin
      valid_q       <= valid_i || spare_valid_q;
      spare_valid_q <= 1'b0;
    end else if (valid_i) begin
      spare_valid_q <= 1'b1;
    end
  end

  // A word goes to the spare register only while the output register is held.
  always_ff @(posedge clk_i) begin
    if (advance) begin
      if (spare_valid_q) data_q <= spare_q;
      else if (valid_i)  data_q <= data_i;
    end else if (valid_i && ready_o) begin
      spare_q <= data_i;
    end
  end

endmodule
