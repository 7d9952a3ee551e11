//! Writes the register map and the descriptor format for others: a SystemVerilog package and Markdown tables.
//!
//! `cargo run -p edgewen-accel --example generate` puts them where they belong; a test fails when the committed files
//! are not what this would write.

use std::fmt::{Display, Write};

use super::{
    DESCRIPTOR_RAM, DESCRIPTOR_RAM_BYTES, ERROR_PORTS, ErrorCode, ID, PORT_BEATS, REGISTERS, Register, Reset,
    TOPK_VALUE, VERSION, WINDOW_BYTES,
};
use crate::descriptor;

/// Where the package belongs, from the root of the repository.
pub const PACKAGE_PATH: &str = "hw/rtl/accel_regs_pkg.sv";

/// Where the tables belong, from the root of the repository.
pub const TABLES_PATH: &str = "docs/accelerator-registers.md";

/// How to write both anew.
const COMMAND: &str = "cargo run -p edgewen-accel --example generate";

/// `MAX_GROUPS` as `MaxGroups`.
fn camel(name: &str) -> String {
    name.split('_')
        .flat_map(|word| {
            let (first, rest) = word.split_at(1);
            [first.to_uppercase(), rest.to_lowercase()]
        })
        .collect()
}

/// The package `accel_regs_pkg`.
pub fn systemverilog() -> String {
    let mut out = format!(
        "/// Registers and descriptor of the accelerator: offsets, positions of fields, constants.\n\
         ///\n\
         /// Generated from crates/accel/src/registers and descriptor.rs by\n\
         /// `{COMMAND}`.\n\
         /// docs/accelerator-registers.md says what it all means. A field of one bit has a `Bit`, a wider\n\
         /// one `Lsb` and `Width`; a row of registers has the offset of its first.\n\
         package accel_regs_pkg;\n\n  \
         // A package of constants: every module takes some of them, none takes all.\n  \
         /* verilator lint_off UNUSEDPARAM */\n"
    );
    section(&mut out, "Byte offsets");
    for register in REGISTERS {
        constant(&mut out, OFFSET, &format!("Reg{}", camel(register.name)), hex16(register.offset));
    }
    let (port, entry) = (&PORT_BEATS, &TOPK_VALUE);
    let data_port = port.at(port.count - 1);
    for (name, offset) in [
        ("RegPort0", port.offset),
        ("RegDataPort", data_port),
        ("RegTopk0", entry.offset),
        ("RegDescriptors", DESCRIPTOR_RAM),
    ] {
        constant(&mut out, OFFSET, name, hex16(offset));
    }
    for (name, value) in [
        ("PortStride", port.stride),
        ("TopkStride", entry.stride),
        ("TopkEntries", entry.count),
        ("DescriptorsBytes", DESCRIPTOR_RAM_BYTES),
        ("WindowBytes", WINDOW_BYTES),
    ] {
        constant(&mut out, NUMBER, name, value);
    }
    section(&mut out, "Values that never change, and reset values other than 0");
    for register in REGISTERS {
        let Reset::Value(value @ 1..) = register.reset else { continue };
        let is_constant = [ID.offset, VERSION.offset].contains(&register.offset);
        let name = format!("{}{}", camel(register.name), if is_constant { "Value" } else { "Reset" });
        constant(&mut out, "logic [31:0]", &name, format!("32'h{value:08x}"));
    }
    section(&mut out, "Fields of registers");
    for register in REGISTERS {
        for field in register.fields {
            let name = format!("{}{}", camel(register.name), camel(field.name));
            position(&mut out, &name, field.low, field.width);
        }
    }
    section(&mut out, "ERROR_CODE");
    for code in ErrorCode::ALL {
        let name = format!("ErrorCode{}", camel(code.name()));
        constant(&mut out, "logic [2:0]", &name, format!("3'd{}", code as u32));
    }
    section(&mut out, "ERROR_PORT");
    for (name, value, _) in ERROR_PORTS {
        let name = format!("ErrorPort{}", camel(name));
        constant(&mut out, "logic [3:0]", &name, format!("4'd{value}"));
    }
    section(&mut out, "Descriptor");
    constant(&mut out, NUMBER, "DescWords", descriptor::WORDS);
    constant(&mut out, NUMBER, "DescBytes", descriptor::BYTES);
    constant(&mut out, NUMBER, "DescAddressShift", descriptor::ADDRESS_UNIT.trailing_zeros());
    constant(&mut out, "logic [3:0]", "DescKindMatrix", format!("4'd{}", descriptor::KIND_MATRIX));
    for field in descriptor::FIELDS {
        let name = format!("Desc{}", camel(field.name));
        constant(&mut out, NUMBER, &format!("{name}Word"), field.word);
        position(&mut out, &name, field.low, field.width);
    }
    out.push_str("\n  /* verilator lint_on UNUSEDPARAM */\n\nendpackage\n");
    out
}

const OFFSET: &str = "logic [15:0]";
const NUMBER: &str = "int unsigned";

fn section(out: &mut String, title: &str) {
    let _ = write!(out, "\n  // {title}\n");
}

fn constant(out: &mut String, kind: &str, name: &str, value: impl Display) {
    let _ = writeln!(out, "  localparam {kind} {name} = {value};");
}

fn hex16(value: u32) -> String {
    format!("16'h{value:04x}")
}

fn position(out: &mut String, name: &str, low: u32, width: u32) {
    if width == 1 {
        constant(out, NUMBER, &format!("{name}Bit"), low);
    } else {
        constant(out, NUMBER, &format!("{name}Lsb"), low);
        constant(out, NUMBER, &format!("{name}Width"), width);
    }
}

/// `[7:4]`, or `[3]`.
fn bits(low: u32, width: u32) -> String {
    if width == 1 { format!("[{low}]") } else { format!("[{}:{low}]", low + width - 1) }
}

fn offsets(register: &Register) -> String {
    if register.count == 1 {
        return format!("{:#06x}", register.offset);
    }
    format!("{:#06x} + {:#x} i, i < {}", register.offset, register.stride, register.count)
}

fn reset(register: &Register) -> String {
    match register.reset {
        Reset::Parameter => "as built".to_owned(),
        Reset::Value(value) if value < 10 => value.to_string(),
        Reset::Value(value) => format!("{value:#x}"),
    }
}

/// The Markdown tables.
pub fn markdown() -> String {
    let mut out = format!(
        "<!-- Generated from crates/accel/src/registers and descriptor.rs by `{COMMAND}`. -->\n\
         # Registers and descriptors of the accelerator\n\n\
         What software sees of the accelerator: a window of {} KiB of 32-bit registers on AXI4-Lite, and the descriptors\n\
         that it puts there. docs/accelerator.md says how they are used. Offsets are in bytes.\n\n\
         **How an operation runs.** Software writes a descriptor into the ring, then counts STREAM_TAIL up: from then on\n\
         the weight ports may stream that matrix, ahead of everything else. When the activations are in memory it\n\
         counts DOORBELL up. The accelerator fetches bias and activations, multiplies, writes the results, and counts DONE\n\
         up once the memory has confirmed them. The four counts run modulo 2^32; count c belongs to descriptor c mod\n\
         RING_ENTRIES, and STREAM_TAIL - DONE never exceeds RING_ENTRIES.\n\n\
         Access: RO read only; RW read and write; SC set by software, cleared by the accelerator when done; W1C cleared by\n\
         writing 1. Offsets without a register read 0, writes there and to RO registers are ignored; the bus answers OKAY.\n\n\
         ## Registers\n\n\
         | offset | register | access | reset | meaning |\n|---|---|---|---|---|\n",
        WINDOW_BYTES >> 10
    );
    for register in REGISTERS {
        let _ = writeln!(
            out,
            "| {} | `{}` | {} | {} | {} |",
            offsets(register),
            register.name,
            register.access.name(),
            reset(register),
            register.meaning
        );
    }
    let end = DESCRIPTOR_RAM + DESCRIPTOR_RAM_BYTES - 1;
    let _ = writeln!(
        out,
        "| {DESCRIPTOR_RAM:#06x} to {end:#06x} | descriptor RAM | RW | undefined | descriptor i at {DESCRIPTOR_RAM:#x} + 64 i, \
         word w of it 4 w further |\n\n\
         The index i of the PORT registers is the weight port, 4 the data port (which has no FIFO: its LEVEL and MAX_LEVEL are\n\
         0). Writes to a register need all four byte lanes.\n\n\
         ## Fields\n\n\
         | register | bits | field | access | reset | meaning |\n|---|---|---|---|---|---|"
    );
    for register in REGISTERS {
        for field in register.fields {
            let reset = match register.reset {
                Reset::Value(value) => format!("{}", field.get(value)),
                Reset::Parameter => "as built".to_owned(),
            };
            let _ = writeln!(
                out,
                "| `{}` | {} | `{}` | {} | {reset} | {} |",
                register.name,
                bits(field.low, field.width),
                field.name,
                field.access.name(),
                field.meaning
            );
        }
    }
    out.push_str("\n## Values of ERROR_CODE\n\n| value | name | meaning |\n|---|---|---|\n");
    for code in ErrorCode::ALL {
        let _ = writeln!(out, "| {} | `{}` | {} |", code as u32, code.name(), code.meaning());
    }
    out.push_str("\n## Values of ERROR_PORT\n\n| value | name | meaning |\n|---|---|---|\n");
    for (name, value, meaning) in ERROR_PORTS {
        let _ = writeln!(out, "| {value} | `{name}` | {meaning} |");
    }
    let stream_words = descriptor::STREAM_WORDS.map(|word| word.to_string()).join(", ");
    let _ = writeln!(
        out,
        "\n## Descriptor\n\n\
         {} words. The stream engines read words {stream_words} (and of word 0 KIND and SEGMENTS) when STREAM_TAIL lets them;\n\
         the others are read after the doorbell and may be written until then. Bits that no field has are written as 0 and ignored.\n\n\
         | word | bits | field | meaning |\n|---|---|---|---|",
        descriptor::WORDS
    );
    for field in descriptor::FIELDS {
        let _ = writeln!(
            out,
            "| {} | {} | `{}` | {} |",
            field.word,
            bits(field.low, field.width),
            field.name,
            field.meaning
        );
    }
    out.push_str(DESCRIPTOR_RULES);
    out
}

const DESCRIPTOR_RULES: &str = "
A descriptor that breaks one of these rules ends the work with the error DESCRIPTOR, before anything of it is fetched:

- KIND is 1.
- TOKENS_M1 is less than CAPS0.TOKENS; with TOP_K it is 0, and CAPS0.TOP_K is not 0.
- GROUPS is 1 to CAPS0.MAX_GROUPS.
- HEADER_BEATS and BLOCK_BEATS follow from GROUPS: for row blocks 4 ceil(40 GROUPS / 64) and 32 GROUPS more; for AWQ_MACRO
  0 and 18 GROUPS; with SEGMENTS 0 and 68 GROUPS. SEGMENTS needs CAPS0.LAYOUT 0.
- ROWS is not 0, and BLOCKS_0 to BLOCKS_3 together are as many blocks as ROWS needs.
- With HAS_BIAS, no port has more rows than a quarter of CAPS2.BIAS_ROWS.

## Operands in memory

```
activations of a token     int8 [64 GROUPS]               codes
                           {f32 scale, i32 sum} [GROUPS]  of each group
                           zeros up to a multiple of 64 bytes
results of a token         f32 [blocks of all ports x rows of a block]
bias                       f32 [ROWS]
```

A block has 16 rows, with AWQ_MACRO 8. The rows of port 0 come first, then those of port 1, and so on. Results of rows
beyond ROWS are written but mean nothing; with TOP_K they are left out of the list.
";
