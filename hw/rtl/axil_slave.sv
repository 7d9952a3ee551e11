/// AXI4-Lite slave: turns the bus into one write strobe and one read strobe.
///
/// AW and W are taken in any order and with any gap; a write happens in the cycle in which both
/// are here and the previous response has left. Reads answer ReadLatency + 2 cycles after AR.
/// One transfer of each direction at a time, and never both strobes in one cycle, so that they can
/// share a port of a memory. Every response is OKAY; what lies behind an address is the business
/// of whoever gets the strobes.
///
/// Throughput: a write every 2 cycles, a read every ReadLatency + 3 cycles.
module axil_slave #(
  parameter int unsigned ReadLatency = 3
) (
  input  logic        clk_i,
  input  logic        rst_ni,

  input  logic [15:0] s_axil_awaddr,
  input  logic        s_axil_awvalid,
  output logic        s_axil_awready,
  input  logic [31:0] s_axil_wdata,
  input  logic [3:0]  s_axil_wstrb,
  input  logic        s_axil_wvalid,
  output logic        s_axil_wready,
  output logic [1:0]  s_axil_bresp,
  output logic        s_axil_bvalid,
  input  logic        s_axil_bready,
  input  logic [15:0] s_axil_araddr,
  input  logic        s_axil_arvalid,
  output logic        s_axil_arready,
  output logic [31:0] s_axil_rdata,
  output logic [1:0]  s_axil_rresp,
  output logic        s_axil_rvalid,
  input  logic        s_axil_rready,

  /// One cycle a write; address, data and byte strobes belong to that cycle.
  output logic        we_o,
  output logic [15:0] waddr_o,
  output logic [31:0] wdata_o,
  output logic [3:0]  wstrb_o,
  /// One cycle a read; rdata_i is taken ReadLatency cycles later, the address stays.
  output logic        re_o,
  output logic [15:0] raddr_o,
  input  logic [31:0] rdata_i
);
  if (ReadLatency < 1) begin : g_check
    $error("axil_slave: ReadLatency must be at least 1");
  end

  logic        aw_full_q, w_full_q, b_valid_q;
  logic [15:0] waddr_q, raddr_q;
  logic [31:0] wdata_q, rdata_q;
  logic [3:0]  wstrb_q;
  logic        r_valid_q, r_busy_q;
  logic [ReadLatency:0] r_wait_q;

  assign s_axil_awready = !aw_full_q;
  assign s_axil_wready  = !w_full_q;
  assign s_axil_bvalid  = b_valid_q;
  assign s_axil_bresp   = 2'b00;
  assign s_axil_arready = !r_busy_q;
  assign s_axil_rvalid  = r_valid_q;
  assign s_axil_rdata   = rdata_q;
  assign s_axil_rresp   = 2'b00;

  assign we_o    = aw_full_q && w_full_q && !b_valid_q && !re_o;
  assign waddr_o = waddr_q;
  assign wdata_o = wdata_q;
  assign wstrb_o = wstrb_q;
  assign re_o    = r_wait_q[0];
  assign raddr_o = raddr_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      aw_full_q <= 1'b0;
      w_full_q  <= 1'b0;
      b_valid_q <= 1'b0;
    end else begin
      if (s_axil_awvalid && s_axil_awready) aw_full_q <= 1'b1;
      if (s_axil_wvalid && s_axil_wready) w_full_q <= 1'b1;
      if (s_axil_bvalid && s_axil_bready) b_valid_q <= 1'b0;
      if (we_o) begin
        aw_full_q <= 1'b0;
        w_full_q  <= 1'b0;
        b_valid_q <= 1'b1;
      end
    end
    if (s_axil_awvalid && s_axil_awready) waddr_q <= s_axil_awaddr;
    if (s_axil_wvalid && s_axil_wready) begin
      wdata_q <= s_axil_wdata;
      wstrb_q <= s_axil_wstrb;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      r_busy_q  <= 1'b0;
      r_valid_q <= 1'b0;
      r_wait_q  <= '0;
    end else begin
      r_wait_q <= {r_wait_q[ReadLatency-1:0], s_axil_arvalid && s_axil_arready};
      if (s_axil_arvalid && s_axil_arready) r_busy_q <= 1'b1;
      if (r_wait_q[ReadLatency]) r_valid_q <= 1'b1;
      if (s_axil_rvalid && s_axil_rready) begin
        r_valid_q <= 1'b0;
        r_busy_q  <= 1'b0;
      end
    end
    if (s_axil_arvalid && s_axil_arready) raddr_q <= s_axil_araddr;
    if (r_wait_q[ReadLatency]) rdata_q <= rdata_i;
  end
endmodule
