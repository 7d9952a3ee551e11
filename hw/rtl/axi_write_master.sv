/// AXI4 write master for short bursts whose data are already on the chip.
///
/// A command (address, 1 to 16 beats, not across a 4 KiB boundary: the caller splits) is taken
/// only when there is room for its data; the caller then pushes exactly that many beats, whenever
/// it likes. AW and W of a burst start when its last beat is here, so W never pauses and a burst
/// that was begun can always be finished, also during a soft reset. Up to MaxOutstanding bursts
/// wait for their B. Addresses are multiples of 16, all strobes are set.
///
/// The first error (SLVERR or DECERR, a B that nobody waits for, no progress for timeout_i cycles)
/// is held with the address of its burst until flush_i. halt_i stops new bursts; flush_i as well,
/// and idle_o then means that nothing is on the bus. Queued bursts are forgotten by rst_ni only.
/// Throughput: 16 beats every 17 cycles.
module axi_write_master
  import accel_pkg::*;
#(
  parameter int unsigned MaxOutstanding = 8,
  parameter int unsigned BufferBeats    = 64
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        flush_i,
  input  logic        halt_i,
  input  logic [31:0] timeout_i,

  input  logic        cmd_valid_i,
  output logic        cmd_ready_o,
  input  addr_t       cmd_address_i,
  input  logic [4:0]  cmd_beats_i,
  input  logic        data_valid_i,
  input  beat_t       data_i,

  output logic        m_awvalid_o,
  input  logic        m_awready_i,
  output addr_t       m_awaddr_o,
  output logic [7:0]  m_awlen_o,
  output logic        m_wvalid_o,
  input  logic        m_wready_i,
  output beat_t       m_wdata_o,
  output logic        m_wlast_o,
  input  logic        m_bvalid_i,
  output logic        m_bready_o,
  input  logic [1:0]  m_bresp_i,

  output logic        beat_o,
  output logic        stall_o,
  output logic        outstanding_o,
  output logic        idle_o,
  output logic        error_valid_o,
  output error_e      error_code_o,
  output addr_t       error_address_o
);
  localparam int unsigned LevelWidth = $clog2(BufferBeats + 1);
  localparam int unsigned LineWidth  = AddrWidth - 4;

  if (BufferBeats < 2 * BurstBeats || (BufferBeats & (BufferBeats - 1)) != 0) begin : g_check
    $error("axi_write_master: BufferBeats must be a power of two of at least 32");
  end

  // ---------------------------------------------------------------- commands and their data
  logic                 queue_ready, queue_valid, go;
  logic [LineWidth-1:0] line;
  logic [4:0]           beats;
  logic [LevelWidth-1:0] reserved_q;   // beats promised or here, not yet begun
  logic [LevelWidth-1:0] here_q;       // beats here, not yet begun
  logic                 room_q;
  logic                 data_pop;
  beat_t                data;
  logic                 unused_data_ready, unused_data_valid;

  assign cmd_ready_o = queue_ready && room_q;

  sync_fifo #(
    .Width(LineWidth + 5),
    .Depth(4)
  ) i_queue (
    .clk_i,
    .rst_ni,
    .flush_i(1'b0),
    .valid_i(cmd_valid_i && room_q),
    .ready_o(queue_ready),
    .data_i ({cmd_address_i[AddrWidth-1:4], cmd_beats_i}),
    .valid_o(queue_valid),
    .ready_i(go),
    .data_o ({line, beats}),
    .level_o()
  );

  sync_fifo #(
    .Width(BeatWidth),
    .Depth(BufferBeats)
  ) i_data (
    .clk_i,
    .rst_ni,
    .flush_i(1'b0),
    .valid_i(data_valid_i),
    .ready_o(unused_data_ready),
    .data_i,
    .valid_o(unused_data_valid),
    .ready_i(data_pop),
    .data_o (data),
    .level_o()
  );

  // Room is given back when a burst begins. That is up to 16 beats too early, and the test keeps
  // 16 more free for that; room_q is a cycle old, and so are two commands in a row kept apart.
  logic                  taken;
  logic [LevelWidth-1:0] reserved_d;

  assign taken      = cmd_valid_i && cmd_ready_o;
  assign reserved_d = reserved_q + (taken ? LevelWidth'(cmd_beats_i) : '0)
                      - (go ? LevelWidth'(beats) : '0);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      reserved_q <= '0;
      here_q     <= '0;
      room_q     <= 1'b0;
    end else begin
      if (taken || go) reserved_q <= reserved_d;
      if (data_valid_i || go) begin
        here_q <= here_q + LevelWidth'(data_valid_i) - (go ? LevelWidth'(beats) : '0);
      end
      room_q <= !taken && reserved_q <= LevelWidth'(BufferBeats - 2 * BurstBeats);
    end
  end

  // ------------------------------------------------------------------------------- AW and W
  logic                 complete_q, list_ready, list_valid;
  logic                 aw_valid_q;
  logic [LineWidth-1:0] aw_line_q, list_line;
  logic [3:0]           aw_len_q;
  logic [4:0]           w_left_q;
  logic                 error_q, b_taken, b_valid_q;
  logic [1:0]           b_resp_q;

  assign go = complete_q && queue_valid && list_ready && !aw_valid_q && w_left_q == '0
              && !halt_i && !flush_i && !error_q;

  assign m_awvalid_o = aw_valid_q;
  assign m_awaddr_o  = {aw_line_q, 4'b0};
  assign m_awlen_o   = {4'b0, aw_len_q};
  assign m_wvalid_o  = w_left_q != '0;
  assign m_wdata_o   = data;
  assign m_wlast_o   = w_left_q == 5'd1;
  assign data_pop    = m_wvalid_o && m_wready_i;
  assign beat_o      = data_pop;
  assign stall_o     = m_wvalid_o && !m_wready_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      complete_q <= 1'b0;
      aw_valid_q <= 1'b0;
      w_left_q   <= '0;
    end else begin
      complete_q <= queue_valid && !go && here_q >= LevelWidth'(beats);
      if (go) begin
        aw_valid_q <= 1'b1;
        w_left_q   <= beats;
      end else begin
        if (m_awready_i) aw_valid_q <= 1'b0;
        if (data_pop) w_left_q <= w_left_q - 5'd1;
      end
    end
    if (go) begin
      aw_line_q <= line;
      aw_len_q  <= 4'(beats - 5'd1);
    end
  end

  // ---------------------------------------------------------------------------------- answers
  sync_fifo #(
    .Width(LineWidth),
    .Depth(MaxOutstanding)
  ) i_list (
    .clk_i,
    .rst_ni,
    .flush_i(1'b0),
    .valid_i(go),
    .ready_o(list_ready),
    .data_i (line),
    .valid_o(list_valid),
    .ready_i(b_taken),
    .data_o (list_line),
    .level_o()
  );

  assign m_bready_o    = 1'b1;
  assign b_taken       = b_valid_q;
  assign outstanding_o = list_valid;
  assign idle_o        = !list_valid && !b_valid_q
                         && (flush_i || (!queue_valid && reserved_q == '0));

  always_ff @(posedge clk_i) begin
    if (!rst_ni) b_valid_q <= 1'b0;
    else         b_valid_q <= m_bvalid_i;
    if (m_bvalid_i) b_resp_q <= m_bresp_i;
  end

  // ----------------------------------------------------------------------------------- errors
  error_e               error_code, error_code_q;
  logic [LineWidth-1:0] error_line_q;
  logic [31:0]          wait_q;
  logic                 timed_out_q, progress;

  assign progress = !list_valid || data_pop || b_valid_q || (aw_valid_q && m_awready_i);
  assign error_valid_o   = error_q;
  assign error_code_o    = error_code_q;
  assign error_address_o = {error_line_q, 4'b0};

  always_comb begin
    error_code = ErrNone;
    if (b_valid_q && !list_valid)                 error_code = ErrProtocol;
    else if (b_valid_q && b_resp_q == RespSlvErr) error_code = ErrSlave;
    else if (b_valid_q && b_resp_q == RespDecErr) error_code = ErrDecode;
    else if (timed_out_q)                         error_code = ErrTimeout;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || progress || error_q) begin
      wait_q      <= '0;
      timed_out_q <= 1'b0;
    end else begin
      wait_q      <= wait_q + 32'd1;
      timed_out_q <= timeout_i != '0 && wait_q >= timeout_i;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      error_q      <= 1'b0;
      error_code_q <= ErrNone;
    end else if (!error_q && error_code != ErrNone) begin
      error_q      <= 1'b1;
      error_code_q <= error_code;
      error_line_q <= list_valid ? list_line : aw_line_q;
    end
  end

  logic unused;
  assign unused = &{1'b0, unused_data_ready, unused_data_valid, cmd_address_i[3:0]};
endmodule
