/// AXI4 read master: one command (address, beats) becomes INCR bursts of at most 16 beats.
///
/// A burst ends at a 256-byte boundary, so none crosses 4 KiB and all but the first and the last
/// are full. A burst is asked for every second cycle at most, which keeps up with one beat a cycle.
/// Bursts are answered in order (one ID). With BufferBeats > 0 a burst is only asked for when the
/// buffer behind the master has room for all of it, so that RREADY is always high.
///
/// The first error (SLVERR, DECERR, RLAST early or late, an answer nobody asked for, no progress
/// for timeout_i cycles) is held with the address of its burst until flush_i. After it no burst is
/// asked for and no beat comes out. flush_i drops the command and takes in what is under way;
/// idle_o tells when that is done. After a breach of the protocol that is 255 quiet cycles after
/// either count (bursts by RLAST, beats by number) has come to zero; a port that never answers is
/// given up after timeout_i quiet cycles more. An address that is never accepted cannot be taken
/// back.
///
/// A beat comes out 2 cycles after RVALID. It does not realign: addresses are multiples of 16.
module axi_read_master
  import accel_pkg::*;
#(
  parameter int unsigned MaxOutstanding = 16,  // bursts under way at once, a power of two
  parameter int unsigned BufferBeats    = 0    // room behind the master; 0: no limit
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        flush_i,      // level: drop the command and all data; hold until idle_o
  input  logic        halt_i,       // level: no new bursts
  input  logic [31:0] timeout_i,    // cycles without progress; 0 = never

  input  logic        cmd_valid_i,
  output logic        cmd_ready_o,
  input  addr_t       cmd_address_i,  // 16-byte aligned
  input  logic [31:0] cmd_beats_i,    // 0 = nothing to do

  output logic        m_arvalid_o,
  input  logic        m_arready_i,
  output addr_t       m_araddr_o,
  output logic [7:0]  m_arlen_o,
  input  logic        m_rvalid_i,
  output logic        m_rready_o,   // always 1
  input  beat_t       m_rdata_i,
  input  logic [1:0]  m_rresp_i,
  input  logic        m_rlast_i,

  output logic        valid_o,      // a beat, in the order of the addresses; no back-pressure
  output beat_t       data_o,
  input  logic        release_i,    // pulse: a beat left the buffer behind the master

  output logic        beat_o,         // pulse: a beat arrived, whatever becomes of it
  output logic        outstanding_o,  // bursts are under way
  output addr_t       burst_address_o,// of the oldest burst under way
  output logic        idle_o,         // no command, nothing under way

  output logic        error_valid_o,  // held until flush_i
  output error_e      error_code_o,
  output addr_t       error_address_o // of the burst
);

  localparam int unsigned LineWidth   = AddrWidth - 4;  // an address in beats
  localparam int unsigned CreditWidth = (BufferBeats == 0) ? 1 : $clog2(BufferBeats + 1);
  localparam int unsigned OwedWidth   = $clog2(MaxOutstanding * BurstBeats + 1);

  if (BufferBeats != 0 && BufferBeats < BurstBeats) begin : g_check_buffer
    $error("axi_read_master: the buffer must hold at least one burst");
  end
  if (MaxOutstanding < 2 || (MaxOutstanding & (MaxOutstanding - 1)) != 0) begin : g_check_list
    $error("axi_read_master: MaxOutstanding must be a power of two, at least 2");
  end

  // ---------------------------------------------------------------- command and burst length
  logic [LineWidth-1:0] line_q;
  logic [31:0]          left_q;        // beats not yet asked for
  logic                 active_q;
  logic [4:0]           burst_beats_q; // length of the next burst, 1 .. 16
  logic                 burst_ready_q;
  logic [4:0]           to_boundary;
  logic                 issue;

  assign cmd_ready_o = !active_q && !flush_i;
  assign to_boundary = 5'd16 - {1'b0, line_q[3:0]};

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      active_q      <= 1'b0;
      burst_ready_q <= 1'b0;
    end else if (!active_q) begin
      active_q <= cmd_valid_i && (cmd_beats_i != '0);
    end else if (issue) begin
      burst_ready_q <= 1'b0;
      active_q      <= (left_q != 32'(burst_beats_q));
    end else begin
      burst_ready_q <= 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!active_q) begin
      if (cmd_valid_i) begin
        line_q <= cmd_address_i[AddrWidth-1:4];
        left_q <= cmd_beats_i;
      end
    end else if (issue) begin
      line_q <= line_q + LineWidth'(burst_beats_q);
      left_q <= left_q - 32'(burst_beats_q);
    end else begin
      burst_beats_q <= (left_q < 32'(to_boundary)) ? left_q[4:0] : to_boundary;
    end
  end

  // ---------------------------------------------------------------- read addresses
  logic                 arvalid_q;
  logic [LineWidth-1:0] araddr_q;
  logic [3:0]           arlen_q;
  logic                 list_ready, credit, issued_q;
  logic                 error_q, valid_q;

  assign issue = burst_ready_q && list_ready && credit && (!arvalid_q || m_arready_i)
                 && !halt_i && !error_q && !flush_i;
  assign m_arvalid_o = arvalid_q;
  assign m_araddr_o  = {araddr_q, 4'b0};
  assign m_arlen_o   = {4'b0, arlen_q};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) issued_q <= 1'b0;
    else         issued_q <= issue;
  end

  // An address that was shown stays until it is taken, even while flushing, as AXI asks.
  always_ff @(posedge clk_i) begin
    if (!rst_ni)          arvalid_q <= 1'b0;
    else if (issue)       arvalid_q <= 1'b1;
    else if (m_arready_i) arvalid_q <= 1'b0;
  end

  always_ff @(posedge clk_i) begin
    if (issue) begin
      araddr_q <= line_q;
      arlen_q  <= 4'(burst_beats_q - 5'd1);
    end
  end

  // ---------------------------------------------------------------- room behind the master
  if (BufferBeats == 0) begin : g_no_credit
    logic unused_release;
    assign unused_release = release_i;
    assign credit = 1'b1;
  end else begin : g_credit
    logic [CreditWidth-1:0] reserved_q, reserved_d;
    logic                   credit_q, release_q;

    // Counted a cycle late, which is soon enough: no burst is issued in the cycle after another.
    assign reserved_d = reserved_q + (issued_q ? CreditWidth'(arlen_q) + 1'b1 : '0)
                        - CreditWidth'(release_q);
    assign credit = credit_q;

    // Room for a whole burst whatever its length: one comparison with a constant.
    always_ff @(posedge clk_i) begin
      if (!rst_ni || flush_i) begin
        reserved_q <= '0;
        credit_q   <= 1'b1;
        release_q  <= 1'b0;
      end else begin
        release_q <= release_i;
        if (issued_q || release_q) begin
          reserved_q <= reserved_d;
          credit_q   <= (reserved_d <= CreditWidth'(BufferBeats - BurstBeats));
        end
      end
    end
  end

  // ---------------------------------------------------------------- bursts under way
  logic [LineWidth-1:0] list_line;
  logic [3:0]           list_len;
  logic                 list_valid, list_pop;
  logic [$clog2(MaxOutstanding):0] list_level;
  logic                 r_valid_q, r_last_q;
  logic [1:0]           r_resp_q;
  beat_t                r_data_q;
  logic [3:0]           r_index_q;   // beat of the oldest burst

  sync_fifo #(
    .Width(LineWidth + 4),
    .Depth(MaxOutstanding)
  ) i_list (
    .clk_i,
    .rst_ni,
    .flush_i (1'b0),
    .valid_i (issue),
    .ready_o (list_ready),
    .data_i  ({line_q, 4'(burst_beats_q - 5'd1)}),
    .valid_o (list_valid),
    .ready_i (list_pop),
    .data_o  ({list_line, list_len}),
    .level_o (list_level)
  );

  logic unused_signals;
  assign unused_signals = ^{list_level, cmd_address_i[3:0]};

  assign m_rready_o = 1'b1;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) r_valid_q <= 1'b0;
    else         r_valid_q <= m_rvalid_i;
  end

  always_ff @(posedge clk_i) begin
    if (m_rvalid_i) begin
      r_data_q <= m_rdata_i;
      r_resp_q <= m_rresp_i;
      r_last_q <= m_rlast_i;
    end
  end

  // Beats under way, by number: with a broken RLAST the list alone cannot tell when all is in.
  logic [OwedWidth-1:0] owed_q;
  logic                 owed_any, r_ends_early, r_ends_late, r_stray;
  logic                 broken_q;
  logic [7:0]           quiet_q;
  logic                 settled_q, timed_out_q;

  assign owed_any     = (owed_q != '0);
  assign list_pop     = (r_valid_q && r_last_q) || settled_q;
  assign r_stray      = r_valid_q && !list_valid;
  assign r_ends_early = r_valid_q && r_last_q && (r_index_q != list_len);
  assign r_ends_late  = r_valid_q && !r_last_q && (r_index_q == list_len);

  always_ff @(posedge clk_i) begin
    if (!rst_ni || settled_q) begin
      owed_q <= '0;
    end else if (issued_q || r_valid_q) begin
      owed_q <= owed_q + (issued_q ? OwedWidth'(arlen_q) + 1'b1 : '0)
                - OwedWidth'(r_valid_q && owed_any);
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || settled_q || !list_valid) r_index_q <= '0;
    else if (r_valid_q)                    r_index_q <= r_last_q ? 4'd0 : r_index_q + 4'd1;
  end

  // After a breach of the protocol the two counts may disagree for ever: wait for silence instead.
  always_ff @(posedge clk_i) begin
    if (!rst_ni || (!list_valid && !owed_any)) broken_q <= 1'b0;
    else if (r_stray || r_ends_early || r_ends_late) broken_q <= 1'b1;
  end

  always_ff @(posedge clk_i) begin
    settled_q <= rst_ni && flush_i && !arvalid_q
                 && (timed_out_q || (broken_q && (quiet_q == '1) && (!list_valid || !owed_any)));
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || r_valid_q || !broken_q || !flush_i) quiet_q <= '0;
    else if (quiet_q != '1)                            quiet_q <= quiet_q + 8'd1;
  end

  assign beat_o          = r_valid_q;
  assign outstanding_o   = list_valid;
  assign burst_address_o = {list_line, 4'b0};
  assign idle_o          = !active_q && !list_valid && !arvalid_q && !r_valid_q && !valid_q
                           && !broken_q;

  // ---------------------------------------------------------------- errors
  error_e               error_code_q, error_code;
  logic                 error_now, progress;
  beat_t                data_q;
  logic [31:0]          wait_q;
  logic [LineWidth-1:0] error_line_q;

  assign progress = r_valid_q || (arvalid_q && m_arready_i) || !list_valid;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || progress || error_q) begin
      wait_q      <= '0;
      timed_out_q <= 1'b0;
    end else begin
      wait_q      <= wait_q + 32'd1;
      timed_out_q <= (wait_q >= timeout_i) && (timeout_i != '0);
    end
  end

  always_comb begin
    error_code = ErrNone;
    if (r_valid_q && r_resp_q == RespSlvErr)             error_code = ErrSlave;
    else if (r_valid_q && r_resp_q == RespDecErr)        error_code = ErrDecode;
    else if (r_stray || r_ends_early || r_ends_late)     error_code = ErrProtocol;
    else if (timed_out_q && list_valid)                  error_code = ErrTimeout;
  end

  assign error_now       = (error_code != ErrNone);
  assign error_valid_o   = error_q;
  assign error_code_o    = error_code_q;
  assign error_address_o = {error_line_q, 4'b0};
  assign valid_o         = valid_q;
  assign data_o          = data_q;

  // Judging a beat and filing it behind the master do not fit into one cycle.
  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) valid_q <= 1'b0;
    else                    valid_q <= r_valid_q && !error_q && !error_now;
  end

  always_ff @(posedge clk_i) begin
    if (r_valid_q) data_q <= r_data_q;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      error_q      <= 1'b0;
      error_code_q <= ErrNone;
    end else if (!error_q) begin
      error_q      <= error_now;
      error_code_q <= error_code;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!error_q) error_line_q <= list_valid ? list_line : araddr_q;
  end

endmodule
