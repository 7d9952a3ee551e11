//! The registers of the accelerator: the one table from which everything else follows.
//!
//! The driver uses these constants, [`generate`] writes the SystemVerilog package and the tables of
//! docs/accelerator-registers.md from them, and a test compares the committed files with what it would write. A
//! register has 32 bits; offsets are in bytes from the start of the AXI4-Lite window.

pub mod generate;
mod table;

pub use table::*;

/// Value of [`ID`]: "EWAC".
pub const ID_VALUE: u32 = 0x4557_4143;

/// Value of [`VERSION`]: major in the upper half, minor in the lower one. Software refuses another major version.
pub const VERSION_VALUE: u32 = 0x0001_0000;

/// Ports that have a block of [`PORT_BEATS`] and its neighbours: weights 0 to 3, then the data port.
pub const COUNTED_PORTS: usize = 5;

/// Entries that the top-k registers have room for.
pub const TOP_K_ENTRIES: usize = 32;

/// First byte of the descriptor RAM: entry i lies at `DESCRIPTOR_RAM + 64 i`, word w of it 4 w further.
pub const DESCRIPTOR_RAM: u32 = 0x4000;

/// Bytes of the descriptor RAM: 256 descriptors of 64 bytes.
pub const DESCRIPTOR_RAM_BYTES: u32 = 0x4000;

/// Bytes of the whole window.
pub const WINDOW_BYTES: u32 = 0x8000;

/// Who may change a register or field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Only the accelerator; writes are ignored.
    ReadOnly,
    /// Software; it reads what was written.
    ReadWrite,
    /// Software sets it, the accelerator clears it when it has done what was asked.
    SelfClearing,
    /// The accelerator sets it, software clears it by writing 1.
    WriteOneToClear,
}

impl Access {
    /// The abbreviation in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "RO",
            Self::ReadWrite => "RW",
            Self::SelfClearing => "SC",
            Self::WriteOneToClear => "W1C",
        }
    }
}

/// What a register reads after a reset of the whole accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// This value.
    Value(u32),
    /// What the design was built with.
    Parameter,
}

/// A range of bits of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Name in the tables.
    pub name: &'static str,
    /// Lowest bit.
    pub low: u32,
    /// Number of bits.
    pub width: u32,
    /// Who may change it.
    pub access: Access,
    /// What it means.
    pub meaning: &'static str,
}

impl Field {
    /// The field's bits in the register.
    pub const fn mask(self) -> u32 {
        (u32::MAX >> (32 - self.width)) << self.low
    }

    /// The field's value in a register that reads `register`.
    pub const fn get(self, register: u32) -> u32 {
        (register & self.mask()) >> self.low
    }

    /// Whether any bit of the field is set in `register`.
    pub const fn is_set(self, register: u32) -> bool {
        register & self.mask() != 0
    }

    /// `value` at the place of the field; bits that do not fit are dropped.
    pub const fn put(self, value: u32) -> u32 {
        value << self.low & self.mask()
    }
}

/// A register, or a row of equal ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register {
    /// Name in the tables.
    pub name: &'static str,
    /// Bytes from the start of the window; of the first one in a row.
    pub offset: u32,
    /// Registers in the row.
    pub count: u32,
    /// Bytes from one to the next in the row.
    pub stride: u32,
    /// Who may change it, where the fields do not say otherwise.
    pub access: Access,
    /// What it reads after a reset.
    pub reset: Reset,
    /// What it is for.
    pub meaning: &'static str,
    /// Its parts; none where the register is one number.
    pub fields: &'static [Field],
}

impl Register {
    /// Offset of register `index` of the row.
    ///
    /// # Panics
    /// If the row has no such register.
    pub const fn at(&self, index: u32) -> u32 {
        assert!(index < self.count, "no such register");
        self.offset + index * self.stride
    }
}

/// What ended the work, as in [`ERROR_CODE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// Nothing did.
    None = 0,
    /// A memory answered SLVERR.
    Slave = 1,
    /// No memory is at the address: DECERR.
    Decode = 2,
    /// A memory did not answer for [`TIMEOUT`] cycles.
    Timeout = 3,
    /// A burst ended too early or too late.
    Protocol = 4,
    /// A descriptor that this accelerator cannot run.
    Descriptor = 5,
}

impl ErrorCode {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::None, Self::Slave, Self::Decode, Self::Timeout, Self::Protocol, Self::Descriptor];

    /// The code of a register value.
    pub fn new(value: u32) -> Option<Self> {
        Self::ALL.get(value as usize).copied()
    }

    /// Name in the tables and in the SystemVerilog package.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Slave => "SLVERR",
            Self::Decode => "DECERR",
            Self::Timeout => "TIMEOUT",
            Self::Protocol => "PROTOCOL",
            Self::Descriptor => "DESCRIPTOR",
        }
    }

    /// What it means.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::None => "no error",
            Self::Slave => "a memory answered SLVERR",
            Self::Decode => "no memory is at the address (DECERR)",
            Self::Timeout => "a memory did not answer for TIMEOUT cycles",
            Self::Protocol => "RLAST came too early or too late",
            Self::Descriptor => "a descriptor that this accelerator cannot run",
        }
    }
}

/// Value of [`ERROR_PORT`] for reads of the data port.
pub const PORT_DATA_READ: u32 = 4;

/// Value of [`ERROR_PORT`] for writes of the data port.
pub const PORT_DATA_WRITE: u32 = 5;

/// Value of [`ERROR_PORT`] where no port is to blame.
pub const NO_PORT: u32 = 15;

/// Values of [`ERROR_PORT`] with their names; 0 to 3 are the weight ports.
pub const ERROR_PORTS: [(&str, u32, &str); 4] = [
    ("WEIGHTS", 0, "0 to 3: the weight port of that number"),
    ("DATA_READ", PORT_DATA_READ, "the data port, reading activations or bias"),
    ("DATA_WRITE", PORT_DATA_WRITE, "the data port, writing results"),
    ("NONE", NO_PORT, "no port: the descriptor itself"),
];
