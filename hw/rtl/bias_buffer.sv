/// The bias of a port's rows: written 4 rows at a time, read one row at a time, 2 cycles after
/// `read_en_i`.
///
/// Reading and writing at once is allowed, but what a read of the beat being written gives is not
/// defined.
module bias_buffer
  import accel_pkg::*;
#(
  parameter int unsigned Rows = 1024,
  localparam int unsigned RowWidth  = $clog2(Rows),
  localparam int unsigned BeatIndex = RowWidth - 2
) (
  input  logic                 clk_i,

  input  logic                 write_i,
  input  logic [BeatIndex-1:0] beat_i,
  input  beat_t                data_i,

  input  logic                 read_en_i,
  input  logic [RowWidth-1:0]  row_i,
  output logic [31:0]          bias_o
);

  if (Rows < 8 || Rows % 4 != 0) begin : g_check_rows
    $error("bias_buffer: Rows must be a multiple of 4, at least 8");
  end

  (* ram_style = "block" *) beat_t mem [Rows / 4];

  beat_t       beat_q;
  logic [1:0]  word_q;
  logic        read_q;
  logic [31:0] bias_q;

  always_ff @(posedge clk_i) begin
    if (write_i) mem[beat_i] <= data_i;
  end

  always_ff @(posedge clk_i) begin
    read_q <= read_en_i;
    if (read_en_i) begin
      beat_q <= mem[row_i[RowWidth-1:2]];
      word_q <= row_i[1:0];
    end
    if (read_q) bias_q <= beat_q[32*word_q+:32];
  end

  assign bias_o = bias_q;

endmodule
