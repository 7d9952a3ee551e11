//! The table: every register and field, in the order of their offsets.

use super::Access::{ReadOnly, ReadWrite, SelfClearing, WriteOneToClear};
use super::{Access, COUNTED_PORTS, Field, ID_VALUE, Register, Reset, TOP_K_ENTRIES, VERSION_VALUE};

const fn register(
    name: &'static str,
    offset: u32,
    access: Access,
    meaning: &'static str,
    fields: &'static [Field],
) -> Register {
    Register { name, offset, count: 1, stride: 4, access, reset: Reset::Value(0), meaning, fields }
}

const fn field(name: &'static str, low: u32, width: u32, access: Access, meaning: &'static str) -> Field {
    Field { name, low, width, access, meaning }
}

/// What the device is.
pub const ID: Register = Register {
    reset: Reset::Value(ID_VALUE),
    ..register("ID", 0x000, ReadOnly, "\"EWAC\": this is an edgewen accelerator", &[])
};

/// Which edition of this register map it has.
pub const VERSION: Register = Register {
    reset: Reset::Value(VERSION_VALUE),
    ..register(
        "VERSION",
        0x004,
        ReadOnly,
        "edition of registers and descriptors; another major number is another map",
        &[VERSION_MINOR, VERSION_MAJOR],
    )
};
/// Minor number of the edition.
pub const VERSION_MINOR: Field = field("MINOR", 0, 16, ReadOnly, "grows with additions");
/// Major number of the edition.
pub const VERSION_MAJOR: Field = field("MAJOR", 16, 16, ReadOnly, "grows with anything else");

/// Capabilities: sizes of the data path.
pub const CAPS0: Register = Register {
    reset: Reset::Parameter,
    ..register(
        "CAPS0",
        0x008,
        ReadOnly,
        "what the design was built with: the data path",
        &[CAPS0_PORTS, CAPS0_TOKENS, CAPS0_MAX_GROUPS, CAPS0_TOP_K, CAPS0_LAYOUT],
    )
};
/// Weight ports.
pub const CAPS0_PORTS: Field = field("PORTS", 0, 4, ReadOnly, "weight ports");
/// Tokens of an operation.
pub const CAPS0_TOKENS: Field = field("TOKENS", 4, 4, ReadOnly, "most tokens of one operation");
/// Groups of an operation.
pub const CAPS0_MAX_GROUPS: Field =
    field("MAX_GROUPS", 8, 8, ReadOnly, "most groups of 64 inputs of one operation");
/// Entries of the top-k list.
pub const CAPS0_TOP_K: Field = field("TOP_K", 16, 8, ReadOnly, "entries of the top-k list; 0 without one");
/// Order of the weights.
pub const CAPS0_LAYOUT: Field =
    field("LAYOUT", 24, 4, ReadOnly, "order of the weights: 0 row blocks, 1 AWQ_MACRO");

/// Capabilities: the run-ahead buffers.
pub const CAPS1: Register = Register {
    reset: Reset::Parameter,
    ..register("CAPS1", 0x00c, ReadOnly, "beats of 16 bytes that each weight port can run ahead", &[])
};

/// Capabilities: ring and bias buffer.
pub const CAPS2: Register = Register {
    reset: Reset::Parameter,
    ..register(
        "CAPS2",
        0x010,
        ReadOnly,
        "what the design was built with: ring and bias buffer",
        &[CAPS2_RING_ENTRIES, CAPS2_BIAS_ROWS],
    )
};
/// Descriptors that the RAM holds.
pub const CAPS2_RING_ENTRIES: Field =
    field("RING_ENTRIES", 0, 16, ReadOnly, "descriptors that the RAM holds");
/// Rows that an operation with a bias may have.
pub const CAPS2_BIAS_ROWS: Field =
    field("BIAS_ROWS", 16, 16, ReadOnly, "rows of bias that the four ports hold together, a quarter each");

/// Switches.
pub const CONTROL: Register = register(
    "CONTROL",
    0x020,
    ReadWrite,
    "switches",
    &[CONTROL_ENABLE, CONTROL_SOFT_RESET, CONTROL_IRQ_ENABLE, CONTROL_CLEAR_COUNTERS],
);
/// Lets operations and streams begin.
pub const CONTROL_ENABLE: Field =
    field("ENABLE", 0, 1, ReadWrite, "streams and operations may begin; those that run go on without it");
/// Ends everything.
pub const CONTROL_SOFT_RESET: Field = field(
    "SOFT_RESET",
    1,
    1,
    SelfClearing,
    "write 1: stop, absorb what is outstanding, empty the FIFOs, clear the four counts and the error; reads 1 until done",
);
/// Lets the interrupt out.
pub const CONTROL_IRQ_ENABLE: Field =
    field("IRQ_ENABLE", 2, 1, ReadWrite, "the interrupt line follows IRQ_STATUS");
/// Clears the counters.
pub const CONTROL_CLEAR_COUNTERS: Field =
    field("CLEAR_COUNTERS", 3, 1, SelfClearing, "write 1: clear CYCLES and all counters of cycles and ports");

/// What it does.
pub const STATUS: Register = Register {
    reset: Reset::Value(1),
    ..register(
        "STATUS",
        0x024,
        ReadOnly,
        "what the accelerator is doing",
        &[STATUS_IDLE, STATUS_BUSY, STATUS_ERROR, STATUS_RESETTING, STATUS_STREAMING],
    )
};
/// Nothing to compute.
pub const STATUS_IDLE: Field = field("IDLE", 0, 1, ReadOnly, "no operation runs or is due");
/// An operation runs.
pub const STATUS_BUSY: Field = field("BUSY", 1, 1, ReadOnly, "an operation runs");
/// Stopped by an error.
pub const STATUS_ERROR: Field = field(
    "ERROR",
    2,
    1,
    ReadOnly,
    "stopped by an error: see ERROR_CODE; only a soft reset goes on from here",
);
/// A soft reset is under way.
pub const STATUS_RESETTING: Field = field("RESETTING", 3, 1, ReadOnly, "a soft reset is under way");
/// Bursts are outstanding.
pub const STATUS_STREAMING: Field =
    field("STREAMING", 4, 1, ReadOnly, "a weight port has bursts outstanding");

/// Why the interrupt came.
pub const IRQ_STATUS: Register = register(
    "IRQ_STATUS",
    0x028,
    WriteOneToClear,
    "why the interrupt came; the line is IRQ_ENABLE and any of these",
    &[IRQ_STATUS_DONE, IRQ_STATUS_ERROR],
);
/// An operation ended.
pub const IRQ_STATUS_DONE: Field = field("DONE", 0, 1, WriteOneToClear, "DONE advanced");
/// An error stopped everything.
pub const IRQ_STATUS_ERROR: Field = field("ERROR", 1, 1, WriteOneToClear, "an error stopped everything");

/// Reset value of [`TIMEOUT`]: 10 ms at 300 MHz.
pub const TIMEOUT_RESET: u32 = 3_000_000;

/// Patience with the memory.
pub const TIMEOUT: Register = Register {
    reset: Reset::Value(TIMEOUT_RESET),
    ..register(
        "TIMEOUT",
        0x02c,
        ReadWrite,
        "cycles that a port may wait for an outstanding burst before the error TIMEOUT; 0 waits for ever",
        &[],
    )
};

/// Length of the ring.
pub const RING_ENTRIES: Register = Register {
    reset: Reset::Value(256),
    ..register(
        "RING_ENTRIES",
        0x030,
        ReadWrite,
        "descriptors of the ring in use, 1 to 256; change it only after a soft reset",
        &[],
    )
};

/// How far the streams may run.
pub const STREAM_TAIL: Register = register(
    "STREAM_TAIL",
    0x034,
    ReadWrite,
    "count of descriptors whose weights may be streamed, modulo 2^32",
    &[],
);

/// How many operations may be computed.
pub const DOORBELL: Register = register(
    "DOORBELL",
    0x038,
    ReadWrite,
    "count of operations whose activations are in memory, modulo 2^32",
    &[],
);

/// How many are finished.
pub const DONE: Register = register(
    "DONE",
    0x03c,
    ReadOnly,
    "count of operations whose results are in memory (write responses received), modulo 2^32",
    &[],
);

/// How far the streams are.
pub const STREAM_HEAD: Register = register(
    "STREAM_HEAD",
    0x040,
    ReadOnly,
    "count of descriptors that the stream engines have taken, modulo 2^32",
    &[],
);

/// What went wrong.
pub const ERROR_CODE: Register =
    register("ERROR_CODE", 0x050, ReadOnly, "the first error since the last soft reset", &[]);
/// On which port.
pub const ERROR_PORT: Register = Register {
    reset: Reset::Value(15),
    ..register("ERROR_PORT", 0x054, ReadOnly, "the port it happened on", &[])
};
/// Where, lower half.
pub const ERROR_ADDRESS_LO: Register =
    register("ERROR_ADDRESS_LO", 0x058, ReadOnly, "address of the failed burst, bits 31 to 0", &[]);
/// Where, upper half.
pub const ERROR_ADDRESS_HI: Register =
    register("ERROR_ADDRESS_HI", 0x05c, ReadOnly, "address of the failed burst, bits 39 to 32", &[]);
/// During which operation.
pub const ERROR_OP: Register =
    register("ERROR_OP", 0x060, ReadOnly, "DONE at that time: the operation in hand", &[]);
/// Its tag.
pub const ERROR_TAG: Register =
    register("ERROR_TAG", 0x064, ReadOnly, "tag in the descriptor of the operation in hand", &[]);

/// Entries of the list.
pub const TOPK_COUNT: Register =
    register("TOPK_COUNT", 0x070, ReadOnly, "valid entries of the top-k list", &[]);

/// Time base of the counters.
pub const CYCLES: Register =
    register("CYCLES", 0x080, ReadOnly, "cycles since the counters were cleared, while enabled", &[]);
/// Cycles with an operation.
pub const BUSY_CYCLES: Register =
    register("BUSY_CYCLES", 0x084, ReadOnly, "cycles in which an operation ran", &[]);
/// Cycles that took weights.
pub const COMPUTE_CYCLES: Register =
    register("COMPUTE_CYCLES", 0x088, ReadOnly, "cycles in which beats of weights were taken", &[]);
/// Cycles that fetched operands.
pub const LOAD_CYCLES: Register =
    register("LOAD_CYCLES", 0x08c, ReadOnly, "cycles in which activations or bias were fetched", &[]);

const fn of_port(name: &'static str, offset: u32, meaning: &'static str) -> Register {
    Register { count: COUNTED_PORTS as u32, stride: 0x20, ..register(name, offset, ReadOnly, meaning, &[]) }
}

/// Beats of a port.
pub const PORT_BEATS: Register =
    of_port("PORT_BEATS", 0x100, "beats of 16 bytes received (data port: received and sent)");
/// Cycles in which the compute side waited for a port.
pub const PORT_STALL: Register =
    of_port("PORT_STALL", 0x104, "cycles in which a beat of this port was wanted and there was none");
/// Cycles with bursts outstanding.
pub const PORT_BUSY: Register = of_port("PORT_BUSY", 0x108, "cycles with bursts outstanding");
/// Fill of the FIFO.
pub const PORT_LEVEL: Register = of_port("PORT_LEVEL", 0x10c, "beats in the run-ahead FIFO now");
/// Highest fill of the FIFO.
pub const PORT_MAX_LEVEL: Register =
    of_port("PORT_MAX_LEVEL", 0x110, "most beats in the run-ahead FIFO since the counters were cleared");

const fn of_entry(name: &'static str, offset: u32, meaning: &'static str) -> Register {
    Register { count: TOP_K_ENTRIES as u32, stride: 8, ..register(name, offset, ReadOnly, meaning, &[]) }
}

/// A logit of the list.
pub const TOPK_VALUE: Register = of_entry(
    "TOPK_VALUE",
    0x200,
    "bits of the f32 result, best first; NaN before everything, equal ones by index",
);
/// A row of the list.
pub const TOPK_INDEX: Register = of_entry("TOPK_INDEX", 0x204, "row of that result");

/// All registers by offset; a row of registers stands at its first.
pub const REGISTERS: &[Register] = &[
    ID,
    VERSION,
    CAPS0,
    CAPS1,
    CAPS2,
    CONTROL,
    STATUS,
    IRQ_STATUS,
    TIMEOUT,
    RING_ENTRIES,
    STREAM_TAIL,
    DOORBELL,
    DONE,
    STREAM_HEAD,
    ERROR_CODE,
    ERROR_PORT,
    ERROR_ADDRESS_LO,
    ERROR_ADDRESS_HI,
    ERROR_OP,
    ERROR_TAG,
    TOPK_COUNT,
    CYCLES,
    BUSY_CYCLES,
    COMPUTE_CYCLES,
    LOAD_CYCLES,
    PORT_BEATS,
    PORT_STALL,
    PORT_BUSY,
    PORT_LEVEL,
    PORT_MAX_LEVEL,
    TOPK_VALUE,
    TOPK_INDEX,
];
