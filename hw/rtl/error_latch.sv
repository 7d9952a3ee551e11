/// Keeps the first error of the accelerator and stops it.
///
/// Sources: the four weight ports (0 to 3), the data port's reads (4) and writes (5), which hold
/// their error until the soft reset, and the sequencer's verdict on a descriptor (port 15). If
/// several arrive in one cycle the lowest port wins and a bad descriptor comes last. error_o
/// follows a source after 1 cycle and stops every master and the sequencer; code, port and address
/// are right 2 cycles after the source. Only clear_i (soft reset) leaves this state.
module error_latch
  import accel_pkg::*;
(
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         clear_i,

  input  logic [5:0]   valid_i,
  input  error_e [5:0] code_i,
  input  addr_t [5:0]  address_i,
  input  logic         descriptor_i,
  input  logic [31:0]  operation_i,

  output logic         error_o,
  output error_e       code_o,
  output logic [3:0]   port_o,
  output addr_t        address_o,
  output logic [31:0]  operation_o
);
  logic        seen_q, held_q, descriptor_q;
  logic [5:0]  valid_q;
  error_e      code_q;
  logic [3:0]  port_q;
  addr_t       address_q;
  logic [31:0] operation_q;

  assign error_o     = seen_q;
  assign code_o      = code_q;
  assign port_o      = port_q;
  assign address_o   = address_q;
  assign operation_o = operation_q;

  // Two steps: notice, then choose among those that were noticed first.
  always_ff @(posedge clk_i) begin
    if (!rst_ni || clear_i) begin
      seen_q       <= 1'b0;
      valid_q      <= '0;
      descriptor_q <= 1'b0;
      held_q       <= 1'b0;
      code_q       <= ErrNone;
      port_q       <= 4'hF;
      address_q    <= '0;
      operation_q  <= '0;
    end else if (!seen_q) begin
      seen_q       <= (valid_i != '0) || descriptor_i;
      valid_q      <= valid_i;
      descriptor_q <= descriptor_i;
    end else if (!held_q) begin
      held_q      <= 1'b1;
      operation_q <= operation_i;
      if (descriptor_q) code_q <= ErrDescriptor;
      for (int unsigned i = 0; i < 6; i++) begin
        // Downwards, so that the lowest port is written last.
        if (valid_q[5-i]) begin
          code_q    <= code_i[5-i];
          port_q    <= 4'(5 - i);
          address_q <= address_i[5-i];
        end
      end
    end
  end
endmodule
