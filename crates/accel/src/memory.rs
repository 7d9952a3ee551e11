//! The DDR4 memory of the board: how long reads and writes take. To be written.
