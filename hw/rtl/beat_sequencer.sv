/// Decides when a beat is taken from every active port, and says what that beat is.
///
/// The ports work in lock-step: a beat is taken in the cycles in which each port that is active in
/// this round has one. Round r is block r of every port; a port with fewer blocks is not active in
/// the last rounds. bank_free_i is looked at before the first beat of a round and must say that the
/// bank of the block two rounds ago is no longer needed. While beats are there and bank_free_i is
/// high a beat is taken in every cycle, with no gap between header, groups and blocks; an operation
/// begins 2 cycles after start_i. The description of a beat comes 1 cycle after it was taken.
///
/// Row block: 2 beats of scales a group, 1 beat of zero points for 2 groups, padding, then 32 beats
/// of weights a group, each a tile. AWQ_MACRO: for each group a beat of zero points, a beat of
/// scales and 16 beats of weights; `tile_ctrl_o` is valid with every second one, as the first tile
/// of the pair.
module beat_sequencer
  import accel_pkg::*;
#(
  parameter int unsigned Layout = LayoutRowBlock
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                flush_i,

  input  logic                start_i,       // pulse; config_i stays stable until done_o
  input  op_config_t          config_i,
  output logic                done_o,        // pulse: the last beat was taken

  input  logic [NumPorts-1:0] valid_i,
  output logic [NumPorts-1:0] ready_o,
  output logic                take_o,
  output logic [NumPorts-1:0] stall_o,       // pulse: an active port had no beat
  input  logic                bank_free_i,

  output tile_ctrl_t          tile_ctrl_o,
  output logic                scale_we_o,
  output logic                zero_we_o,
  output logic [7:0]          header_index_o, // which beat of scales or zero points
  output logic                segments_o
);

  localparam bit RowBlock = (Layout == LayoutRowBlock);

  typedef enum logic [2:0] {
    StIdle,
    StSetup,
    StScales,
    StZeros,
    StPadding,
    StWeights
  } state_e;

  localparam state_e FirstState = RowBlock ? StScales : StZeros;

  state_e                    state_q, state_d;
  logic [NumPorts-1:0]       active_q, next_active_q;
  logic [NumPorts-1:0][15:0] left_q;       // blocks of each port, this round's included
  logic                      first_beat_q; // the next beat begins a round
  logic                      bank_q;
  logic [8:0]                header_q;     // beat of the header, or of its part
  logic [7:0]                group_q;
  logic [5:0]                beat_q;       // beat of the group, with segments of both planes
  logic                      wanted, take, last_group, last_beat, round_end;

  assign wanted    = (state_q > StSetup) && (!first_beat_q || bank_free_i);
  assign take      = wanted && ((valid_i | ~active_q) == '1);
  assign take_o    = take;
  assign ready_o    = take ? active_q : '0;

  // Limits of this operation, in registers so that the state waits for one comparison only.
  logic [8:0] last_scale_q, last_zero_q, last_padding_q;
  logic       no_padding_q, segments_q;
  logic [7:0] last_group_q;
  logic [5:0] last_beat_q;

  always_ff @(posedge clk_i) begin
    if (state_q == StSetup || start_i) begin
      segments_q   <= RowBlock && config_i.segments;
      last_group_q <= 8'(config_i.groups - 16'd1);
      if (RowBlock && config_i.segments) begin
        last_scale_q   <= 9'd1;
        last_zero_q    <= 9'd0;
        last_padding_q <= 9'd0;
        no_padding_q   <= 1'b0;
        last_beat_q    <= 6'd63;
      end else begin
        last_scale_q   <= 9'(config_i.groups * 16'd2 - 16'd1);
        last_zero_q    <= 9'((config_i.groups + 16'd1) / 16'd2 - 16'd1);
        last_padding_q <= 9'(config_i.header_beats - config_i.groups * 16'd2
                             - (config_i.groups + 16'd1) / 16'd2 - 16'd1);
        no_padding_q   <= config_i.header_beats
                          == config_i.groups * 16'd2 + (config_i.groups + 16'd1) / 16'd2;
        last_beat_q    <= RowBlock ? 6'd31 : 6'd15;
      end
    end
  end

  assign segments_o = segments_q;
  assign last_group = (group_q == last_group_q);
  assign last_beat  = (beat_q == last_beat_q);
  assign round_end  = take && (state_q == StWeights) && last_group && last_beat;

  // State after a beat was taken.
  always_comb begin
    state_d = state_q;
    unique case (state_q)
      StScales: begin
        if (!RowBlock)                     state_d = StWeights;
        else if (header_q == last_scale_q) state_d = StZeros;
      end
      StZeros: begin
        if (!RowBlock)                    state_d = StScales;
        else if (header_q == last_zero_q) state_d = no_padding_q ? StWeights : StPadding;
      end
      StPadding: begin
        if (header_q == last_padding_q) state_d = StWeights;
      end
      StWeights: begin
        if (last_beat) begin
          if (last_group) state_d = (next_active_q == '0) ? StIdle : FirstState;
          else if (!RowBlock || segments_q) state_d = FirstState;
        end
      end
      default: state_d = state_q;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      state_q      <= StIdle;
      bank_q       <= 1'b0;
      first_beat_q <= 1'b0;
      done_o       <= 1'b0;
    end else begin
      done_o <= 1'b0;
      if (state_q == StIdle) begin
        if (start_i) state_q <= StSetup;
      end else if (state_q == StSetup) begin
        state_q      <= (left_q == '0) ? StIdle : FirstState;
        done_o       <= (left_q == '0);
        first_beat_q <= 1'b1;
      end else if (take) begin
        state_q      <= state_d;
        first_beat_q <= round_end;
        bank_q       <= bank_q ^ round_end;
        done_o       <= round_end && (next_active_q == '0);
      end
    end
  end

  // Counters
  always_ff @(posedge clk_i) begin
    if (state_q == StSetup) begin
      header_q <= '0;
      group_q  <= '0;
      beat_q   <= '0;
    end else if (take) begin
      if (state_q == StWeights) begin
        beat_q <= last_beat ? '0 : beat_q + 6'd1;
        if (last_beat) group_q <= last_group ? '0 : group_q + 8'd1;
      end else begin
        header_q <= (state_d != state_q) ? '0 : header_q + 9'd1;
      end
    end
  end

  // A round has at least 18 beats, so next_active_q is right long before it is looked at.
  always_ff @(posedge clk_i) begin
    for (int unsigned p = 0; p < NumPorts; p++) begin
      next_active_q[p] <= (left_q[p] > 16'd1);
      if (state_q == StIdle) begin
        if (start_i) left_q[p] <= config_i.blocks[p];
      end else if (state_q == StSetup) begin
        active_q[p] <= (left_q[p] != '0);
      end else if (round_end) begin
        active_q[p] <= next_active_q[p];
        if (active_q[p]) left_q[p] <= left_q[p] - 16'd1;
      end
    end
  end

  // ---------------------------------------------------------------- what was taken
  logic tile_valid_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || flush_i) begin
      tile_valid_q <= 1'b0;
      scale_we_o   <= 1'b0;
      zero_we_o    <= 1'b0;
      stall_o      <= '0;
    end else begin
      tile_valid_q <= take && (state_q == StWeights) && (RowBlock || beat_q[0]);
      scale_we_o   <= take && (state_q == StScales);
      zero_we_o    <= take && (state_q == StZeros);
      stall_o      <= wanted ? (active_q & ~valid_i) : '0;
    end
  end

  tile_ctrl_t ctrl_q;

  always_ff @(posedge clk_i) begin
    if (take) begin
      ctrl_q.valid       <= 1'b0;
      ctrl_q.bank        <= bank_q;
      ctrl_q.first_group <= (group_q == '0);
      ctrl_q.last_group  <= last_group;
      ctrl_q.quad        <= RowBlock ? beat_q[1:0] : 2'd0;
      ctrl_q.line        <= RowBlock ? beat_q[4:2] : beat_q[3:1];
      ctrl_q.first_line  <= RowBlock ? (beat_q[5:2] == 4'd0) : (beat_q[3:1] == 3'd0);
      ctrl_q.last_line   <= RowBlock ? (beat_q[5:2] == last_beat_q[5:2]) : (beat_q[3:1] == 3'd7);
      ctrl_q.group       <= group_q;
      ctrl_q.active      <= active_q;
      // Of a segment: scales 2 group and 2 group + 1, half a word of zero points for each group.
      if (!RowBlock)        header_index_o <= group_q;
      else if (!segments_q) header_index_o <= header_q[7:0];
      else if (state_q == StScales) header_index_o <= {group_q[6:0], header_q[0]};
      else                  header_index_o <= group_q;
    end
  end

  always_comb begin
    tile_ctrl_o       = ctrl_q;
    tile_ctrl_o.valid = tile_valid_q;
  end

  logic unused_config;
  assign unused_config = ^config_i;

endmodule
