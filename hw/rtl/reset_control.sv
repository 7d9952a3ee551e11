/// Soft reset: stops the masters, waits until nothing is outstanding, then resets the core.
///
/// request_i starts it. flush_o rises at once: the masters start no burst and throw away what
/// still arrives. When all of them have been idle for SettleCycles, core_rst_no is low for
/// ResetCycles and everything but the registers, the descriptor ring and the counters begins
/// anew. A slave that never answers would keep the masters busy for ever, so after timeout_i
/// cycles without any progress the reset is forced (timeout_i = 0: never); beats that the slave
/// sends after that are ignored by the masters only as long as they have nothing outstanding.
module reset_control #(
  parameter int unsigned SettleCycles = 4,
  parameter int unsigned ResetCycles  = 4
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic        request_i,
  input  logic        idle_i,
  input  logic        progress_i,
  input  logic [31:0] timeout_i,
  output logic        flush_o,
  output logic        resetting_o,
  output logic        core_rst_no
);
  typedef enum logic [1:0] {
    Run,
    Drain,
    Reset
  } state_e;

  if (SettleCycles < 1 || SettleCycles > 15 || ResetCycles < 1 || ResetCycles > 15) begin : g_check
    $error("reset_control: SettleCycles and ResetCycles must be 1 to 15");
  end

  state_e      state_q;
  logic [3:0]  count_q;
  logic [31:0] waited_q;
  logic        forced_q, core_rst_n_q;

  assign flush_o     = state_q != Run;
  assign resetting_o = state_q != Run;
  assign core_rst_no = core_rst_n_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q      <= Run;
      core_rst_n_q <= 1'b0;
      count_q      <= '0;
      waited_q     <= '0;
      forced_q     <= 1'b0;
    end else begin
      core_rst_n_q <= 1'b1;
      unique case (state_q)
        Run: begin
          count_q  <= '0;
          waited_q <= '0;
          forced_q <= 1'b0;
          if (request_i) state_q <= Drain;
        end
        Drain: begin
          count_q  <= idle_i ? count_q + 1'b1 : '0;
          waited_q <= progress_i ? '0 : waited_q + 1'b1;
          forced_q <= timeout_i != '0 && waited_q == timeout_i;
          if (forced_q || (idle_i && count_q == 4'(SettleCycles))) begin
            state_q <= Reset;
            count_q <= '0;
          end
        end
        Reset: begin
          core_rst_n_q <= 1'b0;
          count_q      <= count_q + 1'b1;
          if (count_q == 4'(ResetCycles)) state_q <= Run;
        end
        default: state_q <= Run;
      endcase
    end
  end
endmodule
