/// Counts the zeros above the highest one of a word; an all-zero word gives Width. Combinational.
///
/// A word of up to 32 bits is cut into 8 nibbles: the first that is not zero gives the upper bits of the count, its
/// own zeros the lower two. That is about 4 levels of logic, where halving the word 5 times would be 8.
module leading_zeros #(
  parameter int unsigned Width = 32,  // 2 to 32
  localparam int unsigned CountWidth = $clog2(Width + 1)
) (
  input  logic [Width-1:0]      data_i,
  output logic [CountWidth-1:0] count_o
);

  if (Width < 2 || Width > 32) begin : g_check_width
    $error("leading_zeros: Width must be 2 to 32");
  end

  // A one below the word ends the count of an all-zero word.
  logic [32:0] padded;
  assign padded = {data_i, 1'b1, {(32 - Width){1'b0}}};

  logic [7:0] any;
  logic [2:0] first;
  logic [3:0] nibble;
  logic [5:0] count;

  always_comb begin
    any[0] = |padded[32:29];
    any[1] = |padded[28:25];
    any[2] = |padded[24:21];
    any[3] = |padded[20:17];
    any[4] = |padded[16:13];
    any[5] = |padded[12:9];
    any[6] = |padded[8:5];
    any[7] = |padded[4:1];

    // Each bit on its own, which is flatter than a priority chain.
    first[2] = ~(|any[3:0]);
    first[1] = (~any[0] & ~any[1]) & ((any[2] | any[3]) | (~any[4] & ~any[5]));
    first[0] = ~any[0] & (any[1] | (~any[2] & (any[3] | (~any[4] & (any[5] | ~any[6])))));

    nibble = 4'(padded[32:1] >> {3'd7 - first, 2'b00});

    count[5]   = ~(|any);
    count[4:2] = count[5] ? 3'd0 : first;
    count[1]   = ~count[5] & ~nibble[3] & ~nibble[2];
    count[0]   = ~count[5] & ~nibble[3] & (nibble[2] | ~nibble[1]);
  end

  assign count_o = CountWidth'(count);

  // The count is at most Width, so its top bits may be cut; the last bit of a nibble that is not zero is known.
  logic unused;
  assign unused = ^{count, padded[0], nibble[0]};

endmodule
