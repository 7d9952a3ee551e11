/// Small FIFO in distributed RAM. The oldest word is at the output as soon as it is in (1 cycle
/// after the write).
///
/// Throughput one word in and one out a cycle. For depths of 2 to 64; a deep FIFO is another module.
/// A write while full and a read while empty are ignored. `flush_i` empties it.
module sync_fifo #(
  parameter int unsigned Width      = 32,
  parameter int unsigned Depth      = 16,  // a power of two
  localparam int unsigned PtrWidth  = $clog2(Depth)
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                flush_i,

  input  logic                valid_i,
  output logic                ready_o,
  input  logic [Width-1:0]    data_i,

  output logic                valid_o,
  input  logic                ready_i,
  output logic [Width-1:0]    data_o,

  output logic [PtrWidth:0]   level_o
);

  if (Depth < 2 || (Depth & (Depth - 1)) != 0) begin : g_check_depth
    $error("sync_fifo: Depth must be a power of two, at least 2");
  end

  (* ram_style = "distributed" *) logic [Width-1:0] mem [Depth];

  logic [PtrWidth-1:0] wptr_q, rptr_q;
  logic [PtrWidth:0]   level_q;
  logic                empty_q, full_q;
  logic                push, pop;

  assign push    = valid_i && !full_q;
  assign pop     = ready_i && !empty_q;
  assign ready_o = !full_q;
  assign valid_o = !empty_q;
  assign data_o  = mem[rptr_q];
  assign level_o = level_q;

  // Full and empty are registers of their own: nothing waits for a comparison of the level.
  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      wptr_q  <= '0;
      rptr_q  <= '0;
      level_q <= '0;
      empty_q <= 1'b1;
      full_q  <= 1'b0;
    end else begin
      if (push) wptr_q <= wptr_q + 1'b1;
      if (pop)  rptr_q <= rptr_q + 1'b1;
      if (push && !pop) begin
        level_q <= level_q + 1'b1;
        empty_q <= 1'b0;
        full_q  <= (level_q == (PtrWidth + 1)'(Depth - 1));
      end else if (pop && !push) begin
        level_q <= level_q - 1'b1;
        empty_q <= (level_q == (PtrWidth + 1)'(1));
        full_q  <= 1'b0;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (push) mem[wptr_q] <= data_i;
  end

endmodule
