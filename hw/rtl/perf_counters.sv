/// Performance counters: four for the accelerator, five for each of the four weight ports and the
/// data port. All count modulo 2^32 while enable_i; clear_i zeroes them.
///
/// Read: with re_i, word_i is a register offset / 4 (0x20..0x23 or 0x40..0x67); the value is at
/// data_o 2 cycles later and stays. Events are counted 1 cycle late, which no reader can notice.
module perf_counters #(
  parameter int unsigned LevelWidth = 15
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       enable_i,
  input  logic                       clear_i,

  input  logic                       busy_i,
  input  logic                       compute_i,
  input  logic                       load_i,
  /// Index 4 is the data port.
  input  logic [4:0]                 beat_i,
  input  logic [4:0]                 stall_i,
  input  logic [4:0]                 outstanding_i,
  input  logic [3:0][LevelWidth-1:0] level_i,

  input  logic                       re_i,
  input  logic [6:0]                 word_i,
  output logic [31:0]                data_o
);
  logic [3:0][31:0]      global_q;
  logic [4:0][31:0]      beats_q, stalls_q, busy_q;
  logic [3:0][LevelWidth-1:0] level_q, max_q;
  logic [4:0]            beat_q, stall_q, outstanding_q;
  logic [3:0]            event_q;
  logic [4:0][31:0]      port_read_q;
  logic [31:0]           global_read_q, data_q;
  logic [6:2]            word_q;
  logic                  re_q;

  assign data_o = data_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      event_q       <= '0;
      beat_q        <= '0;
      stall_q       <= '0;
      outstanding_q <= '0;
    end else begin
      event_q       <= {load_i, compute_i, busy_i, 1'b1} & {4{enable_i}};
      beat_q        <= beat_i & {5{enable_i}};
      stall_q       <= stall_i & {5{enable_i}};
      outstanding_q <= outstanding_i & {5{enable_i}};
    end
    level_q <= level_i;
  end

  for (genvar i = 0; i < 4; i++) begin : g_global
    always_ff @(posedge clk_i) begin
      if (!rst_ni || clear_i) global_q[i] <= '0;
      else if (event_q[i])    global_q[i] <= global_q[i] + 32'd1;
    end
  end

  for (genvar p = 0; p < 5; p++) begin : g_port
    always_ff @(posedge clk_i) begin
      if (!rst_ni || clear_i) beats_q[p] <= '0;
      else if (beat_q[p])     beats_q[p] <= beats_q[p] + 32'd1;
    end
    always_ff @(posedge clk_i) begin
      if (!rst_ni || clear_i) stalls_q[p] <= '0;
      else if (stall_q[p])    stalls_q[p] <= stalls_q[p] + 32'd1;
    end
    always_ff @(posedge clk_i) begin
      if (!rst_ni || clear_i)    busy_q[p] <= '0;
      else if (outstanding_q[p]) busy_q[p] <= busy_q[p] + 32'd1;
    end
  end

  for (genvar p = 0; p < 4; p++) begin : g_level
    always_ff @(posedge clk_i) begin
      if (!rst_ni || clear_i)          max_q[p] <= '0;
      else if (level_q[p] > max_q[p])  max_q[p] <= level_q[p];
    end
  end

  // Reads: first the counter within each port, then the port.
  always_ff @(posedge clk_i) begin
    re_q <= re_i;
    if (re_i) begin
      word_q        <= word_i[6:2];
      global_read_q <= global_q[word_i[1:0]];
      for (int unsigned p = 0; p < 5; p++) begin
        unique case (word_i[2:0])
          3'd0:    port_read_q[p] <= beats_q[p];
          3'd1:    port_read_q[p] <= stalls_q[p];
          3'd2:    port_read_q[p] <= busy_q[p];
          3'd3:    port_read_q[p] <= (p < 4) ? 32'(level_q[p[1:0]]) : '0;
          3'd4:    port_read_q[p] <= (p < 4) ? 32'(max_q[p[1:0]]) : '0;
          default: port_read_q[p] <= '0;
        endcase
      end
    end
    if (re_q) begin
      if (word_q[6:2] == 5'h08)                  data_q <= global_read_q;
      else if (word_q[6] && word_q[5:3] <= 3'd4) data_q <= port_read_q[word_q[5:3]];
      else                                       data_q <= '0;
    end
  end
endmodule
