/// Registers and descriptor of the accelerator: offsets, positions of fields, constants.
///
/// Generated from crates/accel/src/registers and descriptor.rs by
/// `cargo run -p edgewen-accel --example generate`.
/// docs/accelerator-registers.md says what it all means. A field of one bit has a `Bit`, a wider
/// one `Lsb` and `Width`; a row of registers has the offset of its first.
package accel_regs_pkg;

  // A package of constants: every module takes some of them, none takes all.
  /* verilator lint_off UNUSEDPARAM */

  // Byte offsets
  localparam logic [15:0] RegId = 16'h0000;
  localparam logic [15:0] RegVersion = 16'h0004;
  localparam logic [15:0] RegCaps0 = 16'h0008;
  localparam logic [15:0] RegCaps1 = 16'h000c;
  localparam logic [15:0] RegCaps2 = 16'h0010;
  localparam logic [15:0] RegControl = 16'h0020;
  localparam logic [15:0] RegStatus = 16'h0024;
  localparam logic [15:0] RegIrqStatus = 16'h0028;
  localparam logic [15:0] RegTimeout = 16'h002c;
  localparam logic [15:0] RegRingEntries = 16'h0030;
  localparam logic [15:0] RegStreamTail = 16'h0034;
  localparam logic [15:0] RegDoorbell = 16'h0038;
  localparam logic [15:0] RegDone = 16'h003c;
  localparam logic [15:0] RegStreamHead = 16'h0040;
  localparam logic [15:0] RegErrorCode = 16'h0050;
  localparam logic [15:0] RegErrorPort = 16'h0054;
  localparam logic [15:0] RegErrorAddressLo = 16'h0058;
  localparam logic [15:0] RegErrorAddressHi = 16'h005c;
  localparam logic [15:0] RegErrorOp = 16'h0060;
  localparam logic [15:0] RegErrorTag = 16'h0064;
  localparam logic [15:0] RegTopkCount = 16'h0070;
  localparam logic [15:0] RegCycles = 16'h0080;
  localparam logic [15:0] RegBusyCycles = 16'h0084;
  localparam logic [15:0] RegComputeCycles = 16'h0088;
  localparam logic [15:0] RegLoadCycles = 16'h008c;
  localparam logic [15:0] RegPortBeats = 16'h0100;
  localparam logic [15:0] RegPortStall = 16'h0104;
  localparam logic [15:0] RegPortBusy = 16'h0108;
  localparam logic [15:0] RegPortLevel = 16'h010c;
  localparam logic [15:0] RegPortMaxLevel = 16'h0110;
  localparam logic [15:0] RegTopkValue = 16'h0200;
  localparam logic [15:0] RegTopkIndex = 16'h0204;
  localparam logic [15:0] RegPort0 = 16'h0100;
  localparam logic [15:0] RegDataPort = 16'h0180;
  localparam logic [15:0] RegTopk0 = 16'h0200;
  localparam logic [15:0] RegDescriptors = 16'h4000;
  localparam int unsigned PortStride = 32;
  localparam int unsigned TopkStride = 8;
  localparam int unsigned TopkEntries = 32;
  localparam int unsigned DescriptorsBytes = 16384;
  localparam int unsigned WindowBytes = 32768;

  // Values that never change, and reset values other than 0
  localparam logic [31:0] IdValue = 32'h45574143;
  localparam logic [31:0] VersionValue = 32'h00010000;
  localparam logic [31:0] StatusReset = 32'h00000001;
  localparam logic [31:0] TimeoutReset = 32'h002dc6c0;
  localparam logic [31:0] RingEntriesReset = 32'h00000100;
  localparam logic [31:0] ErrorPortReset = 32'h0000000f;

  // Fields of registers
  localparam int unsigned VersionMinorLsb = 0;
  localparam int unsigned VersionMinorWidth = 16;
  localparam int unsigned VersionMajorLsb = 16;
  localparam int unsigned VersionMajorWidth = 16;
  localparam int unsigned Caps0PortsLsb = 0;
  localparam int unsigned Caps0PortsWidth = 4;
  localparam int unsigned Caps0TokensLsb = 4;
  localparam int unsigned Caps0TokensWidth = 4;
  localparam int unsigned Caps0MaxGroupsLsb = 8;
  localparam int unsigned Caps0MaxGroupsWidth = 8;
  localparam int unsigned Caps0TopKLsb = 16;
  localparam int unsigned Caps0TopKWidth = 8;
  localparam int unsigned Caps0LayoutLsb = 24;
  localparam int unsigned Caps0LayoutWidth = 4;
  localparam int unsigned Caps2RingEntriesLsb = 0;
  localparam int unsigned Caps2RingEntriesWidth = 16;
  localparam int unsigned Caps2BiasRowsLsb = 16;
  localparam int unsigned Caps2BiasRowsWidth = 16;
  localparam int unsigned ControlEnableBit = 0;
  localparam int unsigned ControlSoftResetBit = 1;
  localparam int unsigned ControlIrqEnableBit = 2;
  localparam int unsigned ControlClearCountersBit = 3;
  localparam int unsigned StatusIdleBit = 0;
  localparam int unsigned StatusBusyBit = 1;
  localparam int unsigned StatusErrorBit = 2;
  localparam int unsigned StatusResettingBit = 3;
  localparam int unsigned StatusStreamingBit = 4;
  localparam int unsigned IrqStatusDoneBit = 0;
  localparam int unsigned IrqStatusErrorBit = 1;

  // ERROR_CODE
  localparam logic [2:0] ErrorCodeNone = 3'd0;
  localparam logic [2:0] ErrorCodeSlverr = 3'd1;
  localparam logic [2:0] ErrorCodeDecerr = 3'd2;
  localparam logic [2:0] ErrorCodeTimeout = 3'd3;
  localparam logic [2:0] ErrorCodeProtocol = 3'd4;
  localparam logic [2:0] ErrorCodeDescriptor = 3'd5;

  // ERROR_PORT
  localparam logic [3:0] ErrorPortWeights = 4'd0;
  localparam logic [3:0] ErrorPortDataRead = 4'd4;
  localparam logic [3:0] ErrorPortDataWrite = 4'd5;
  localparam logic [3:0] ErrorPortNone = 4'd15;

  // Descriptor
  localparam int unsigned DescWords = 16;
  localparam int unsigned DescBytes = 64;
  localparam int unsigned DescAddressShift = 6;
  localparam logic [3:0] DescKindMatrix = 4'd1;
  localparam int unsigned DescHasBiasWord = 0;
  localparam int unsigned DescHasBiasBit = 0;
  localparam int unsigned DescTopKWord = 0;
  localparam int unsigned DescTopKBit = 1;
  localparam int unsigned DescSegmentsWord = 0;
  localparam int unsigned DescSegmentsBit = 2;
  localparam int unsigned DescTokensM1Word = 0;
  localparam int unsigned DescTokensM1Lsb = 4;
  localparam int unsigned DescTokensM1Width = 4;
  localparam int unsigned DescKindWord = 0;
  localparam int unsigned DescKindLsb = 28;
  localparam int unsigned DescKindWidth = 4;
  localparam int unsigned DescGroupsWord = 1;
  localparam int unsigned DescGroupsLsb = 0;
  localparam int unsigned DescGroupsWidth = 16;
  localparam int unsigned DescBlockBeatsWord = 1;
  localparam int unsigned DescBlockBeatsLsb = 16;
  localparam int unsigned DescBlockBeatsWidth = 16;
  localparam int unsigned DescRowsWord = 2;
  localparam int unsigned DescRowsLsb = 0;
  localparam int unsigned DescRowsWidth = 32;
  localparam int unsigned DescTagWord = 3;
  localparam int unsigned DescTagLsb = 0;
  localparam int unsigned DescTagWidth = 32;
  localparam int unsigned DescAddress0Word = 4;
  localparam int unsigned DescAddress0Lsb = 0;
  localparam int unsigned DescAddress0Width = 32;
  localparam int unsigned DescAddress1Word = 5;
  localparam int unsigned DescAddress1Lsb = 0;
  localparam int unsigned DescAddress1Width = 32;
  localparam int unsigned DescAddress2Word = 6;
  localparam int unsigned DescAddress2Lsb = 0;
  localparam int unsigned DescAddress2Width = 32;
  localparam int unsigned DescAddress3Word = 7;
  localparam int unsigned DescAddress3Lsb = 0;
  localparam int unsigned DescAddress3Width = 32;
  localparam int unsigned DescBlocks0Word = 8;
  localparam int unsigned DescBlocks0Lsb = 0;
  localparam int unsigned DescBlocks0Width = 16;
  localparam int unsigned DescBlocks1Word = 8;
  localparam int unsigned DescBlocks1Lsb = 16;
  localparam int unsigned DescBlocks1Width = 16;
  localparam int unsigned DescBlocks2Word = 9;
  localparam int unsigned DescBlocks2Lsb = 0;
  localparam int unsigned DescBlocks2Width = 16;
  localparam int unsigned DescBlocks3Word = 9;
  localparam int unsigned DescBlocks3Lsb = 16;
  localparam int unsigned DescBlocks3Width = 16;
  localparam int unsigned DescActivationsWord = 10;
  localparam int unsigned DescActivationsLsb = 0;
  localparam int unsigned DescActivationsWidth = 32;
  localparam int unsigned DescResultsWord = 11;
  localparam int unsigned DescResultsLsb = 0;
  localparam int unsigned DescResultsWidth = 32;
  localparam int unsigned DescBiasWord = 12;
  localparam int unsigned DescBiasLsb = 0;
  localparam int unsigned DescBiasWidth = 32;
  localparam int unsigned DescResultsStrideWord = 13;
  localparam int unsigned DescResultsStrideLsb = 0;
  localparam int unsigned DescResultsStrideWidth = 32;
  localparam int unsigned DescActivationsStrideWord = 14;
  localparam int unsigned DescActivationsStrideLsb = 0;
  localparam int unsigned DescActivationsStrideWidth = 32;
  localparam int unsigned DescHeaderBeatsWord = 15;
  localparam int unsigned DescHeaderBeatsLsb = 0;
  localparam int unsigned DescHeaderBeatsWidth = 16;

  /* verilator lint_on UNUSEDPARAM */

endpackage
