//! The accelerator's SystemVerilog, compiled by Verilator when it is first needed. To be written.
