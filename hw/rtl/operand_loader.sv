/// Fetches the operands of an operation over the data port: bias of every port's rows, then the
/// activations of each token.
///
/// The bias is one run in memory and is dealt out to the ports by their numbers of blocks. A
/// token's activations are groups x 4 beats of codes and then a {scale, sum} for each group, two
/// to a beat, padded to 4 beats; the padding is dropped. Commands go to the read master ahead of
/// the data, so tokens follow each other without a gap. Writes leave 1 cycle after the beat; done_o
/// is a pulse after the last one. No back-pressure: the buffers are always able to take a beat.
///
/// Cost of an operation: memory latency + beats + about 4 cycles a token.
module operand_loader
  import accel_pkg::*;
#(
  parameter int unsigned Layout         = LayoutRowBlock,
  parameter int unsigned MaxOutstanding = 8
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      flush_i,
  input  logic                      halt_i,
  input  logic [31:0]               timeout_i,

  input  logic                      start_i,
  input  op_config_t                config_i,
  input  logic [17:0]               total_blocks_i,
  input  addr_t                     bias_i,
  input  addr_t                     activations_i,
  input  addr_t                     stride_i,
  output logic                      done_o,

  output logic                      act_we_o,
  output logic [2:0]                act_token_o,
  output logic [8:0]                act_beat_o,
  output logic                      side_we_o,
  output logic [2:0]                side_token_o,
  output logic [6:0]                side_pair_o,
  output logic                      bias_we_o,
  output logic [1:0]                bias_port_o,
  output logic [9:0]                bias_beat_o,
  output beat_t                     data_o,

  output logic                      m_arvalid_o,
  input  logic                      m_arready_i,
  output addr_t                     m_araddr_o,
  output logic [7:0]                m_arlen_o,
  input  logic                      m_rvalid_i,
  output logic                      m_rready_o,
  input  beat_t                     m_rdata_i,
  input  logic [1:0]                m_rresp_i,
  input  logic                      m_rlast_i,

  output logic                      beat_o,
  output logic                      outstanding_o,
  output logic                      idle_o,
  output logic                      error_valid_o,
  output error_e                    error_code_o,
  output addr_t                     error_address_o
);
  // Binary logarithm of the beats of bias of a block.
  localparam int unsigned BeatShift = (Layout == LayoutAwqMacro) ? 1 : 2;

  // -------------------------------------------------------------------------------- commands
  typedef enum logic [1:0] {
    AskNothing,
    AskBias,
    AskToken
  } ask_e;

  ask_e        ask_q;
  logic [2:0]  ask_token_q;
  addr_t       token_address_q;
  logic        cmd_valid, cmd_ready;
  addr_t       cmd_address;
  logic [31:0] cmd_beats;
  logic [10:0] code_beats_q;   // of a token
  logic [10:0] side_beats_q;
  logic [10:0] token_beats_q;

  assign cmd_valid   = ask_q != AskNothing;
  assign cmd_address = (ask_q == AskBias) ? bias_i : token_address_q;
  assign cmd_beats   = (ask_q == AskBias) ? 32'(total_blocks_i) << BeatShift
                                          : 32'(token_beats_q);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ask_q <= AskNothing;
    end else begin
      unique case (ask_q)
        AskNothing: if (start_i) ask_q <= config_i.has_bias ? AskBias : AskToken;
        AskBias:    if (cmd_ready) ask_q <= AskToken;
        AskToken:   if (cmd_ready && ask_token_q == config_i.tokens_m1) ask_q <= AskNothing;
        default:    ask_q <= AskNothing;
      endcase
    end
    if (start_i) begin
      ask_token_q     <= '0;
      token_address_q <= activations_i;
      code_beats_q    <= {config_i.groups[8:0], 2'b00};
      side_beats_q    <= 11'({(config_i.groups[8:0] + 9'd7) >> 3, 2'b00});
    end else if (ask_q == AskToken && cmd_ready) begin
      ask_token_q     <= ask_token_q + 3'd1;
      token_address_q <= token_address_q + stride_i;
    end
    token_beats_q <= code_beats_q + side_beats_q;
  end

  // The sum of the beats is right 2 cycles after start_i: wait for it.
  logic [1:0] warm_q;
  logic       beat_valid, cmd_ready_raw;
  beat_t      beat;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || start_i) warm_q <= '0;
    else                    warm_q <= {warm_q[0], 1'b1};
  end

  axi_read_master #(
    .MaxOutstanding(MaxOutstanding),
    .BufferBeats   (0)
  ) i_master (
    .clk_i,
    .rst_ni,
    .flush_i,
    .halt_i,
    .timeout_i,
    .cmd_valid_i  (cmd_valid && warm_q[1]),
    .cmd_ready_o  (cmd_ready_raw),
    .cmd_address_i(cmd_address),
    .cmd_beats_i  (cmd_beats),
    .m_arvalid_o,
    .m_arready_i,
    .m_araddr_o,
    .m_arlen_o,
    .m_rvalid_i,
    .m_rready_o,
    .m_rdata_i,
    .m_rresp_i,
    .m_rlast_i,
    .valid_o      (beat_valid),
    .data_o       (beat),
    .release_i    (1'b0),
    .beat_o,
    .outstanding_o,
    .burst_address_o(),
    .idle_o,
    .error_valid_o,
    .error_code_o,
    .error_address_o
  );

  assign cmd_ready = cmd_ready_raw && warm_q[1];

  // ------------------------------------------------------------------------ dealing out beats
  typedef enum logic [1:0] {
    GetNothing,
    GetBias,
    GetCodes,
    GetSides
  } get_e;

  get_e        get_q;
  logic [2:0]  token_q;
  logic [1:0]  port_q, next_port;
  logic        more_ports;
  logic [15:0] left_q;          // beats of this part
  logic [9:0]  beat_q;          // index in this part
  logic [1:0]  first_port;
  logic        last;
  logic        done_q, done_next_q;
  logic [6:0]  pairs_q;

  assign last = left_q == 16'd1;

  // Ports without a block have no bias.
  always_comb begin
    next_port  = port_q;
    more_ports = 1'b0;
    first_port = '0;
    for (int unsigned p = NumPorts; p > 0; p--) begin
      if (config_i.blocks[p-1] != '0) begin
        first_port = 2'(p - 1);
        if (2'(p - 1) > port_q) begin
          next_port  = 2'(p - 1);
          more_ports = 1'b1;
        end
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      get_q       <= GetNothing;
      done_q      <= 1'b0;
      done_next_q <= 1'b0;
      act_we_o    <= 1'b0;
      side_we_o   <= 1'b0;
      bias_we_o   <= 1'b0;
    end else begin
      done_next_q <= 1'b0;
      done_q      <= done_next_q;
      act_we_o    <= beat_valid && get_q == GetCodes;
      side_we_o   <= beat_valid && get_q == GetSides && beat_q < 10'(pairs_q);
      bias_we_o   <= beat_valid && get_q == GetBias;
      if (start_i) begin
        get_q <= config_i.has_bias ? GetBias : GetCodes;
      end else if (beat_valid && last) begin
        unique case (get_q)
          GetBias:  if (!more_ports) get_q <= GetCodes;
          GetCodes: get_q <= GetSides;
          GetSides: begin
            get_q <= GetCodes;
            if (token_q == config_i.tokens_m1) begin
              get_q       <= GetNothing;
              done_next_q <= 1'b1;
            end
          end
          default: ;
        endcase
      end
    end
    if (start_i) begin
      token_q <= '0;
      beat_q  <= '0;
      port_q  <= first_port;
      pairs_q <= 7'((config_i.groups[7:0] + 8'd1) >> 1);
      left_q  <= config_i.has_bias ? 16'(config_i.blocks[first_port] << BeatShift)
                                   : 16'({config_i.groups[8:0], 2'b00});
    end else if (beat_valid) begin
      beat_q <= last ? '0 : beat_q + 10'd1;
      left_q <= left_q - 16'd1;
      if (last) begin
        unique case (get_q)
          GetBias: begin
            port_q <= next_port;
            left_q <= more_ports ? 16'(config_i.blocks[next_port] << BeatShift)
                                 : 16'(code_beats_q);
          end
          GetCodes: left_q <= 16'(side_beats_q);
          default: begin
            left_q  <= 16'(code_beats_q);
            token_q <= token_q + 3'd1;
          end
        endcase
      end
      data_o       <= beat;
      act_token_o  <= token_q;
      act_beat_o   <= beat_q[8:0];
      side_token_o <= token_q;
      side_pair_o  <= beat_q[6:0];
      bias_port_o  <= port_q;
      bias_beat_o  <= beat_q;
    end
  end

  assign done_o = done_q;

  logic unused;
  assign unused = &{1'b0, config_i};
endmodule
