/// Ring of operation descriptors: Entries x 16 words of 32 bits, two copies with one content.
///
/// The host writes both copies (byte strobes honored) and reads back the second one. The prefetcher
/// reads the first copy and the sequencer the second, each at its own pace, so that running
/// ahead never delays the operation in hand. Every read port: data 2 cycles after the request, a
/// read a cycle. Reading a word in the very cycle in which the host writes it gives the old or
/// the new word: the host writes a descriptor before it moves the tail past it.
module descriptor_ram #(
  parameter int unsigned Entries = 256,
  localparam int unsigned IndexWidth = $clog2(Entries)
) (
  input  logic                  clk_i,

  /// Host: word address = {entry, word}; a read uses the same address.
  input  logic                  host_we_i,
  input  logic [IndexWidth+3:0] host_address_i,
  input  logic [31:0]           host_wdata_i,
  input  logic [3:0]            host_wstrb_i,
  input  logic                  host_re_i,
  output logic [31:0]           host_rdata_o,

  input  logic                  prefetch_req_i,
  input  logic [IndexWidth-1:0] prefetch_index_i,
  input  logic [3:0]            prefetch_word_i,
  output logic [31:0]           prefetch_data_o,

  input  logic                  sequencer_req_i,
  input  logic [IndexWidth-1:0] sequencer_index_i,
  input  logic [3:0]            sequencer_word_i,
  output logic [31:0]           sequencer_data_o
);
  if (Entries < 2 || (Entries & (Entries - 1)) != 0) begin : g_check
    $error("descriptor_ram: Entries must be a power of two");
  end

  (* ram_style = "block" *) logic [31:0] prefetch_mem  [Entries*16];
  (* ram_style = "block" *) logic [31:0] sequencer_mem [Entries*16];

  logic [31:0] prefetch_q, prefetch_out_q;
  logic [31:0] sequencer_q, sequencer_out_q;
  logic [31:0] host_q, host_out_q;
  logic        prefetch_req_q, sequencer_req_q, host_re_q;

  always_ff @(posedge clk_i) begin
    if (host_we_i) begin
      for (int unsigned lane = 0; lane < 4; lane++) begin
        if (host_wstrb_i[lane]) begin
          prefetch_mem[host_address_i][lane*8+:8] <= host_wdata_i[lane*8+:8];
        end
      end
    end
    if (prefetch_req_i) prefetch_q <= prefetch_mem[{prefetch_index_i, prefetch_word_i}];
  end

  // True dual port: one port for the host, one for the sequencer.
  always_ff @(posedge clk_i) begin
    if (host_we_i) begin
      for (int unsigned lane = 0; lane < 4; lane++) begin
        if (host_wstrb_i[lane]) begin
          sequencer_mem[host_address_i][lane*8+:8] <= host_wdata_i[lane*8+:8];
        end
      end
    end
    if (host_re_i) host_q <= sequencer_mem[host_address_i];
  end

  always_ff @(posedge clk_i) begin
    if (sequencer_req_i) sequencer_q <= sequencer_mem[{sequencer_index_i, sequencer_word_i}];
  end

  always_ff @(posedge clk_i) begin
    prefetch_req_q  <= prefetch_req_i;
    sequencer_req_q <= sequencer_req_i;
    host_re_q       <= host_re_i;
    if (prefetch_req_q) prefetch_out_q <= prefetch_q;
    if (sequencer_req_q) sequencer_out_q <= sequencer_q;
    if (host_re_q) host_out_q <= host_q;
  end

  assign prefetch_data_o  = prefetch_out_q;
  assign sequencer_data_o = sequencer_out_q;
  assign host_rdata_o     = host_out_q;
endmodule
