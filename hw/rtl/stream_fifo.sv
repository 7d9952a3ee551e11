/// Deep FIFO in UltraRAM: the run-ahead buffer of a weight port.
///
/// The memory has a write port and a read port and ReadLatency registers behind it, so that a
/// cascade of UltraRAMs can be pipelined. A small FIFO of OutDepth words hides that latency: a read
/// is started while fewer than OutDepth words are on their way or waiting, which gives one word a
/// cycle in steady state. A word comes out ReadLatency + 2 cycles after it went in, at the
/// earliest.
///
/// Depth need not be a power of two. The words behind the memory are in excess of Depth: with
/// credits for Depth words the FIFO cannot overflow. A write while full is ignored.
module stream_fifo #(
  parameter int unsigned Width       = 128,
  parameter int unsigned Depth       = 28672,
  parameter int unsigned ReadLatency = 2,
  parameter int unsigned OutDepth    = 8,     // a power of two, at least ReadLatency + 2
  localparam int unsigned PtrWidth   = $clog2(Depth),
  localparam int unsigned LevelWidth = $clog2(Depth + OutDepth + 1)
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  flush_i,

  input  logic                  valid_i,
  output logic                  ready_o,
  input  logic [Width-1:0]      data_i,

  output logic                  valid_o,
  input  logic                  ready_i,
  output logic [Width-1:0]      data_o,

  output logic [LevelWidth-1:0] level_o  // all words that are in
);

  localparam int unsigned OutWidth = $clog2(OutDepth) + 1;
  localparam int unsigned CntWidth = $clog2(Depth + 1);

  if (ReadLatency < 1 || OutDepth < ReadLatency + 2) begin : g_check_latency
    $error("stream_fifo: OutDepth must be at least ReadLatency + 2");
  end

  (* ram_style = "ultra" *) logic [Width-1:0] mem [Depth];

  logic [PtrWidth-1:0]    wptr_q, rptr_q;
  logic [CntWidth-1:0]    stored_q;   // words in the memory
  logic                   full_q, empty_q;
  logic [OutWidth-1:0]    ahead_q;    // words on their way to the output or waiting there
  logic [LevelWidth-1:0]  level_q;
  logic                   push, read, pop;
  logic [ReadLatency-1:0] read_valid_q;
  logic [Width-1:0]       read_data_q [ReadLatency];

  assign ready_o = !full_q;
  assign push    = valid_i && !full_q;
  assign pop     = valid_o && ready_i;
  // A word that leaves makes room only in the next cycle: keeps ready_i off the read address.
  assign read    = !empty_q && (ahead_q != OutWidth'(OutDepth));
  assign level_o = level_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      wptr_q   <= '0;
      rptr_q   <= '0;
      stored_q <= '0;
      full_q   <= 1'b0;
      empty_q  <= 1'b1;
      ahead_q  <= '0;
      level_q  <= '0;
    end else begin
      if (push) wptr_q <= (wptr_q == PtrWidth'(Depth - 1)) ? '0 : wptr_q + 1'b1;
      if (read) rptr_q <= (rptr_q == PtrWidth'(Depth - 1)) ? '0 : rptr_q + 1'b1;
      if (push && !read) begin
        stored_q <= stored_q + 1'b1;
        empty_q  <= 1'b0;
        full_q   <= (stored_q == CntWidth'(Depth - 1));
      end else if (read && !push) begin
        stored_q <= stored_q - 1'b1;
        empty_q  <= (stored_q == CntWidth'(1));
        full_q   <= 1'b0;
      end
      if (read && !pop)      ahead_q <= ahead_q + 1'b1;
      else if (pop && !read) ahead_q <= ahead_q - 1'b1;
      if (push && !pop)      level_q <= level_q + 1'b1;
      else if (pop && !push) level_q <= level_q - 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (push) mem[wptr_q] <= data_i;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) read_valid_q <= '0;
    else                    read_valid_q <= ReadLatency'({read_valid_q, read});
  end

  // The registers behind the memory move only with a word in front of them.
  always_ff @(posedge clk_i) begin
    if (read) read_data_q[0] <= mem[rptr_q];
    for (int unsigned i = 1; i < ReadLatency; i++) begin
      if (read_valid_q[i-1]) read_data_q[i] <= read_data_q[i-1];
    end
  end

  // Never full: ahead_q counts every word that can be in it.
  logic                       unused_ready;
  logic [$clog2(OutDepth):0]  unused_level;

  sync_fifo #(
    .Width(Width),
    .Depth(OutDepth)
  ) i_out (
    .clk_i,
    .rst_ni,
    .flush_i,
    .valid_i (read_valid_q[ReadLatency-1]),
    .ready_o (unused_ready),
    .data_i  (read_data_q[ReadLatency-1]),
    .valid_o,
    .ready_i,
    .data_o,
    .level_o (unused_level)
  );

endmodule
