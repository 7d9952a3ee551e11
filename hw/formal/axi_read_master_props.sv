/// What axi_read_master promises on the bus and behind it, with a slave that keeps the rules of AXI but
/// answers when it likes and with any response.
///
/// Addresses: shown until taken, INCR bursts of at most 16 beats inside 4 KiB. The bursts of a command cover its
/// range once and in order. No more bursts than MaxOutstanding are under way, no more beats are asked
/// for than the buffer holds. Every beat comes out, in order; an error response is reported with the
/// address of its burst and stops all that follows. idle_o means that nothing is under way.
module axi_read_master_props
  import accel_pkg::*;
#(
  parameter bit Bus    = 1'b1,  // check what is seen on the address channel
  parameter bit Stream = 1'b1,  // check what comes out, and the errors
  parameter int unsigned BufferBeats = 40
) (
  input logic        clk_i,
  input logic        halt_i,
  input logic        flush_i,
  input logic        cmd_valid_i,
  input logic [9:0]  cmd_line_i,   // an address of 16 KiB
  input logic [6:0]  cmd_beats_i,
  input logic        arready_i,
  input logic        rvalid_i,
  input logic        rbad_i,
  input logic        rdata_i,      // one bit stands for all
  input logic        release_i
);
  localparam int unsigned MaxOutstanding = 2;

  logic       rst_ni = 1'b0;
  logic       cmd_ready, arvalid, rready, valid, beat, outstanding, idle, error_valid;
  addr_t      araddr, error_address, burst_address;
  logic [7:0] arlen;
  beat_t      data;
  error_e     error_code;
  logic       rlast;
  addr_t      cmd_address;

  assign cmd_address = {AddrWidth'(cmd_line_i) << 4};

  always_ff @(posedge clk_i) rst_ni <= 1'b1;

  axi_read_master #(
    .MaxOutstanding(MaxOutstanding),
    .BufferBeats   (BufferBeats)
  ) i_dut (
    .clk_i,
    .rst_ni,
    .flush_i,
    .halt_i,
    .timeout_i      ('0),
    .cmd_valid_i,
    .cmd_ready_o    (cmd_ready),
    .cmd_address_i  (cmd_address),
    .cmd_beats_i    (32'(cmd_beats_i)),
    .m_arvalid_o    (arvalid),
    .m_arready_i    (arready_i),
    .m_araddr_o     (araddr),
    .m_arlen_o      (arlen),
    .m_rvalid_i     (rvalid_i),
    .m_rready_o     (rready),
    .m_rdata_i      (beat_t'(rdata_i)),
    .m_rresp_i      ({rbad_i, 1'b0}),
    .m_rlast_i      (rlast),
    .valid_o        (valid),
    .data_o         (data),
    .release_i,
    .beat_o         (beat),
    .outstanding_o  (outstanding),
    .burst_address_o(burst_address),
    .idle_o         (idle),
    .error_valid_o  (error_valid),
    .error_code_o   (error_code),
    .error_address_o(error_address)
  );

  logic ar, r;
  logic was_held = 1'b0;   // an address was shown and not taken a cycle ago
  assign ar = arvalid && arready_i;
  assign r  = rvalid_i && rready;

  // ---- the slave: bursts it has taken and not finished, oldest first
  logic [2:0] taken = '0;
  logic [3:0] len [MaxOutstanding];
  addr_t      first [MaxOutstanding];
  logic [3:0] index = '0;

  assign rlast = (index == len[0]);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      taken <= '0;
      index <= '0;
    end else begin
      taken <= taken + 3'(ar) - 3'(r && rlast);
      if (r) index <= rlast ? '0 : index + 4'd1;
      if (r && rlast) begin
        len[0]   <= len[1];
        first[0] <= first[1];
      end
      if (ar && (taken - 3'(r && rlast)) == 3'd0) begin
        len[0]   <= arlen[3:0];
        first[0] <= araddr;
      end
      if (ar && (taken - 3'(r && rlast)) == 3'd1) begin
        len[1]   <= arlen[3:0];
        first[1] <= araddr;
      end
    end
  end

  // ---- the command: where its next burst must begin, and how many beats are left. Counted when an
  // address is first shown, since the next command may come while it waits.
  logic  shown;
  logic  command = 1'b0;
  addr_t next = '0;
  logic [6:0] left = '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      command <= 1'b0;
    end else if (cmd_valid_i && cmd_ready) begin
      command <= (cmd_beats_i != '0);
    end else if (shown && command) begin
      command <= (left != 7'(arlen) + 7'd1);
    end
    if (cmd_valid_i && cmd_ready) begin
      next <= cmd_address;
      left <= 7'(cmd_beats_i);
    end else if (shown) begin
      next <= next + ((AddrWidth'(arlen) + 1'b1) << 4);
      left <= left - 7'(arlen) - 7'd1;
    end
  end

  assign shown = arvalid && !was_held;

  // ---- the buffer: beats asked for and not given back
  logic [7:0] asked = '0, here = '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      asked <= '0;
      here  <= '0;
    end else begin
      asked <= asked + (ar ? arlen + 8'd1 : '0) - 8'(release_i);
      here  <= here + 8'(valid) - 8'(release_i);
    end
  end

  // ---- what was the case a cycle ago
  logic       was_flush = 1'b1, r_q = 1'b0, r_good_q = 1'b0, bad = 1'b0;
  addr_t      was_addr = '0, bad_addr = '0;
  logic [7:0] was_len = '0;
  logic       data_q = 1'b0, data_qq = 1'b0;

  always_ff @(posedge clk_i) begin
    was_held  <= rst_ni && arvalid && !arready_i;
    was_addr  <= araddr;
    was_len   <= arlen;
    was_flush <= !rst_ni || flush_i;
    r_q       <= rst_ni && r && !flush_i && !rbad_i && !bad;
    r_good_q  <= r_q && !flush_i;
    data_q    <= rdata_i;
    data_qq   <= data_q;
    if (!rst_ni || flush_i) begin
      bad <= 1'b0;
    end else if (r && rbad_i && !bad) begin
      bad      <= 1'b1;
      bad_addr <= first[0];
    end
  end

  always_comb begin
    assume (!rvalid_i || taken != '0);
    assume (!release_i || here != '0);
    // A flush lasts until idle_o.
    assume (flush_i || was_flush == 1'b0 || idle || !rst_ni);
  end

  if (Bus) begin : g_bus
    always @(posedge clk_i) begin
      if (rst_ni) begin
        a_held: assert (!was_held || (arvalid && araddr == was_addr && arlen == was_len));
        a_4k: assert (!arvalid || {1'b0, araddr[11:0]} + ((13'(arlen) + 13'd1) << 4) <= 13'd4096);
        a_len: assert (!arvalid || arlen < 8'd16);
        a_ready: assert (rready);
        a_count: assert (taken <= 3'(MaxOutstanding));
        a_idle: assert (!idle || (taken == '0 && !arvalid));
      end
    end
  end

  if (Stream) begin : g_stream
    always @(posedge clk_i) begin
      if (rst_ni) begin
        a_room: assert (flush_i || was_flush || asked <= 8'(BufferBeats));
        a_whole: assert (flush_i || was_flush || !idle || !command);
        a_beat: assert (flush_i || was_flush || valid == r_good_q);
        a_data: assert (!valid || data[0] == data_qq);
        a_error: assert (!error_valid
                         || (bad && error_code == ErrSlave && error_address == bad_addr));
      end
    end

    // The bursts of a command, one after the other.
    always @(posedge clk_i) begin
      if (rst_ni && !flush_i && !was_flush && shown) begin
        a_range: assert (command && araddr == next && 7'(arlen) + 7'd1 <= left);
      end
    end
  end
endmodule
