/// Round-robin arbiter: merges NumIn valid/ready streams into one, fairly.
///
/// Combinational: valid_o rises with the first input that is valid, and the input after the one
/// served last is asked first, so a stream waits for at most NumIn - 1 words of the others. One
/// word a cycle. An input that is valid must stay so until it is served. It does not register: put
/// a `skid_buffer` behind it where the path is long.
module rr_arbiter #(
  parameter int unsigned NumIn = 4,
  parameter int unsigned Width = 32,
  localparam int unsigned IndexWidth = $clog2(NumIn)
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic [NumIn-1:0]            valid_i,
  output logic [NumIn-1:0]            ready_o,
  input  logic [NumIn-1:0][Width-1:0] data_i,
  output logic                        valid_o,
  input  logic                        ready_i,
  output logic [Width-1:0]            data_o,
  output logic [IndexWidth-1:0]       index_o
);
  if (NumIn < 2) begin : g_check
    $error("rr_arbiter: NumIn must be at least 2");
  end

  logic [NumIn-1:0]      after_q;  // inputs behind the one served last: they come first
  logic [NumIn-1:0]      masked, grant;
  logic [IndexWidth-1:0] index;

  assign masked  = valid_i & after_q;
  assign valid_o = valid_i != '0;
  assign ready_o = grant & {NumIn{ready_i}};
  assign index_o = index;
  assign data_o  = data_i[index];

  always_comb begin
    grant = '0;
    index = '0;
    for (int unsigned i = NumIn; i > 0; i--) begin
      if (masked != '0 ? masked[i-1] : valid_i[i-1]) begin
        grant      = '0;
        grant[i-1] = 1'b1;
        index      = IndexWidth'(i - 1);
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      after_q <= '1;
    end else if (valid_o && ready_i) begin
      for (int unsigned i = 0; i < NumIn; i++) after_q[i] <= IndexWidth'(i) > index;
    end
  end
endmodule
