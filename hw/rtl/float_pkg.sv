/// What the units for binary32 numbers share.
package float_pkg;

  localparam logic [31:0] CanonicalNan = 32'h7FC0_0000;

  // Zeros above the highest one. For a word of fewer bits put it at the top and a one below it,
  // which ends the count.
  //
  // The first nibble that is not zero gives the upper bits, its own zeros the lower two: flatter
  // than halving the word five times.
  function automatic logic [5:0] leading_zeros(logic [31:0] word);
    logic [7:0] any;
    logic [2:0] first;
    logic [2:0] upper;  // bits of that nibble; if they are zero the last is one
    any = {|word[3:0], |word[7:4], |word[11:8], |word[15:12],
           |word[19:16], |word[23:20], |word[27:24], |word[31:28]};
    if (any == '0) return 6'd32;
    first[2] = ~(|any[3:0]);
    first[1] = (~any[0] & ~any[1]) & ((any[2] | any[3]) | (~any[4] & ~any[5]));
    first[0] = ~any[0] & (any[1] | (~any[2] & (any[3] | (~any[4] & (any[5] | ~any[6])))));
    upper = 3'(word >> {3'd7 - first, 2'b01});
    return {1'b0, first, ~upper[2] & ~upper[1], ~upper[2] & (upper[1] | ~upper[0])};
  endfunction

endpackage
