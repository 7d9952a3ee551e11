/// The register file: what the processor sees of the accelerator (docs/accelerator-registers.md).
///
/// Holds the registers that the processor writes, gathers everything else for reading, and passes
/// the descriptor window on to the ring memory. A read takes 3 steps behind the address: registers,
/// counters, list and ring look their word up, then one of them is chosen. Unknown offsets
/// read 0; writes there and to read-only registers do nothing; every answer is OKAY.
///
/// It does not act: counts, enable and the request for a soft reset go out, states come in.
/// While resetting_i the counts and the interrupt are held at 0.
module axil_regs
  import accel_pkg::*;
  import accel_regs_pkg::*;
#(
  parameter int unsigned Tokens      = 8,
  parameter int unsigned FifoDepth   = 28672,
  parameter int unsigned MaxGroups   = 96,
  parameter int unsigned BiasRows    = 4096,
  parameter int unsigned RingEntries = 256,
  parameter int unsigned TopK        = 32,
  parameter int unsigned Layout      = LayoutRowBlock
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
  output logic        irq_o,

  output logic        enable_o,
  output logic        soft_reset_o,       // pulse
  output logic        clear_counters_o,   // pulse
  output logic [31:0] timeout_o,
  output logic [8:0]  ring_entries_o,
  output logic [31:0] stream_tail_o,
  output logic [31:0] doorbell_o,

  input  logic        busy_i,
  input  logic        streaming_i,
  input  logic        resetting_i,
  input  logic [31:0] done_count_i,
  input  logic        done_i,             // pulse
  input  logic [31:0] stream_head_i,
  input  logic        error_i,
  input  error_e      error_code_i,
  input  logic [3:0]  error_port_i,
  input  addr_t       error_address_i,
  input  logic [31:0] error_operation_i,
  input  logic [31:0] error_tag_i,
  input  logic [7:0]  topk_count_i,

  // Looked up elsewhere: data 2 cycles after the index, which stays.
  output logic        counter_re_o,
  output logic [6:0]  counter_word_o,
  input  logic [31:0] counter_data_i,
  output logic [7:0]  topk_index_o,
  input  logic [31:0] topk_value_i,
  input  logic [31:0] topk_row_i,
  output logic        desc_we_o,
  output logic        desc_re_o,
  output logic [11:0] desc_address_o,
  output logic [31:0] desc_wdata_o,
  output logic [3:0]  desc_wstrb_o,
  input  logic [31:0] desc_rdata_i
);
  if (RingEntries < 2 || RingEntries > 256 || TopK > TopkEntries) begin : g_check
    $error("axil_regs: RingEntries must be 2 to 256 and TopK fit the list of registers");
  end

  logic        we, re;
  logic [15:0] waddr, raddr;
  logic [31:0] wdata, rdata_q;
  logic [3:0]  wstrb;

  axil_slave #(
    .ReadLatency(3)
  ) i_slave (
    .clk_i,
    .rst_ni,
    .s_axil_awaddr,
    .s_axil_awvalid,
    .s_axil_awready,
    .s_axil_wdata,
    .s_axil_wstrb,
    .s_axil_wvalid,
    .s_axil_wready,
    .s_axil_bresp,
    .s_axil_bvalid,
    .s_axil_bready,
    .s_axil_araddr,
    .s_axil_arvalid,
    .s_axil_arready,
    .s_axil_rdata,
    .s_axil_rresp,
    .s_axil_rvalid,
    .s_axil_rready,
    .we_o   (we),
    .waddr_o(waddr),
    .wdata_o(wdata),
    .wstrb_o(wstrb),
    .re_o   (re),
    .raddr_o(raddr),
    .rdata_i(rdata_q)
  );

  // The value of a register after a write of some of its bytes.
  function automatic logic [31:0] merge(logic [31:0] old, logic [31:0] data, logic [3:0] strobes);
    for (int unsigned lane = 0; lane < 4; lane++) begin
      merge[lane*8+:8] = strobes[lane] ? data[lane*8+:8] : old[lane*8+:8];
    end
  endfunction

  // ---------------------------------------------------------------------------------- writes
  logic        enable_q, irq_enable_q, soft_reset_q, clear_q;
  logic [1:0]  irq_status_q;
  logic        error_q;
  logic [31:0] timeout_q, stream_tail_q, doorbell_q;
  logic [8:0]  ring_entries_q;
  logic [31:0] ring_merged;
  logic        ring_legal;
  logic [15:0] woffset;

  assign enable_o         = enable_q;
  assign soft_reset_o     = soft_reset_q;
  assign clear_counters_o = clear_q;
  assign timeout_o        = timeout_q;
  assign ring_entries_o   = ring_entries_q;
  assign stream_tail_o    = stream_tail_q;
  assign doorbell_o       = doorbell_q;
  assign irq_o            = irq_enable_q && irq_status_q != '0;

  assign woffset     = {waddr[15:2], 2'b00};
  assign ring_merged = merge(32'(ring_entries_q), wdata, wstrb);
  assign ring_legal  = ring_merged != '0 && ring_merged <= RingEntries;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      enable_q       <= 1'b0;
      irq_enable_q   <= 1'b0;
      soft_reset_q   <= 1'b0;
      clear_q        <= 1'b0;
      irq_status_q   <= '0;
      error_q        <= 1'b0;
      timeout_q      <= TimeoutReset;
      ring_entries_q <= 9'(RingEntries);
      stream_tail_q  <= '0;
      doorbell_q     <= '0;
    end else begin
      soft_reset_q <= 1'b0;
      clear_q      <= 1'b0;
      error_q      <= error_i;
      if (we) begin
        unique case (woffset)
          RegControl: begin
            if (wstrb[0]) begin
              enable_q     <= wdata[ControlEnableBit];
              irq_enable_q <= wdata[ControlIrqEnableBit];
              soft_reset_q <= wdata[ControlSoftResetBit];
              clear_q      <= wdata[ControlClearCountersBit];
            end
          end
          RegIrqStatus:   if (wstrb[0]) irq_status_q <= irq_status_q & ~wdata[1:0];
          RegTimeout:     timeout_q <= merge(timeout_q, wdata, wstrb);
          RegRingEntries: if (ring_legal) ring_entries_q <= ring_merged[8:0];
          RegStreamTail:  stream_tail_q <= merge(stream_tail_q, wdata, wstrb);
          RegDoorbell:    doorbell_q <= merge(doorbell_q, wdata, wstrb);
          default: ;
        endcase
      end
      // After the writes: an event in the cycle of its acknowledgment is a new one.
      if (done_i) irq_status_q[IrqStatusDoneBit] <= 1'b1;
      if (error_i && !error_q) irq_status_q[IrqStatusErrorBit] <= 1'b1;
      if (resetting_i || soft_reset_q) begin
        stream_tail_q <= '0;
        doorbell_q    <= '0;
        irq_status_q  <= '0;
        error_q       <= 1'b0;
      end
    end
  end

  assign desc_we_o    = we && waddr[15:14] == 2'b01 && {1'b0, waddr[13:6]} < 9'(RingEntries);
  assign desc_wdata_o = wdata;
  assign desc_wstrb_o = wstrb;

  // ----------------------------------------------------------------------------------- reads
  logic [31:0] first_q, second_q;
  logic        idle_q;
  logic [15:0] roffset;
  logic        in_ring, in_list, in_counters;

  assign desc_re_o      = re && raddr[15:14] == 2'b01;
  assign desc_address_o = desc_we_o ? waddr[13:2] : raddr[13:2];
  assign counter_re_o   = re;
  assign counter_word_o = raddr[8:2];
  assign topk_index_o   = {2'b00, raddr[8:3]};
  assign roffset        = {raddr[15:2], 2'b00};
  assign in_ring        = raddr[15:14] == 2'b01 && {1'b0, raddr[13:6]} < 9'(RingEntries);
  assign in_list        = roffset >= RegTopk0 && roffset < RegTopk0 + 16'(TopkStride * TopK);
  assign in_counters    = roffset >= RegCycles && roffset < RegTopk0;

  always_ff @(posedge clk_i) begin
    idle_q <= !busy_i && doorbell_q == done_count_i;
    if (re) begin
      unique case (roffset)
        RegId:             first_q <= IdValue;
        RegVersion:        first_q <= VersionValue;
        RegCaps0:          first_q <= {4'd0, 4'(Layout), 8'(TopK), 8'(MaxGroups), 4'(Tokens),
                                       4'(NumPorts)};
        RegCaps1:          first_q <= FifoDepth;
        RegCaps2:          first_q <= {16'(BiasRows), 16'(RingEntries)};
        RegControl:        first_q <= {29'd0, irq_enable_q, resetting_i || soft_reset_q, enable_q};
        RegStatus:         first_q <= {27'd0, streaming_i, resetting_i, error_i, busy_i, idle_q};
        RegIrqStatus:      first_q <= {30'd0, irq_status_q};
        RegTimeout:        first_q <= timeout_q;
        RegRingEntries:    first_q <= 32'(ring_entries_q);
        RegStreamTail:     first_q <= stream_tail_q;
        RegDoorbell:       first_q <= doorbell_q;
        RegDone:           first_q <= done_count_i;
        RegStreamHead:     first_q <= stream_head_i;
        RegErrorCode:      first_q <= 32'(error_code_i);
        RegErrorPort:      first_q <= 32'(error_port_i);
        RegErrorAddressLo: first_q <= error_address_i[31:0];
        RegErrorAddressHi: first_q <= 32'(error_address_i[AddrWidth-1:32]);
        RegErrorOp:        first_q <= error_operation_i;
        RegErrorTag:       first_q <= error_i ? error_tag_i : '0;
        RegTopkCount:      first_q <= 32'(topk_count_i);
        default:           first_q <= '0;
      endcase
    end
    second_q <= first_q;
    unique case (1'b1)
      in_ring:     rdata_q <= desc_rdata_i;
      in_list:     rdata_q <= raddr[2] ? topk_row_i : topk_value_i;
      in_counters: rdata_q <= counter_data_i;
      default:     rdata_q <= second_q;
    endcase
  end

  // Words are 32 bits: the two lowest address bits say nothing.
  logic unused;
  assign unused = &{1'b0, waddr[1:0], raddr[1:0]};
endmodule
