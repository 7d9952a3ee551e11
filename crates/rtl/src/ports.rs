//! The ports of a Verilated module, read from the header that Verilator writes.
//!
//! Every port is one line there, `VL_IN8(&name,msb,lsb);` or `VL_OUTW(&name,msb,lsb,words);`. From these lines comes
//! the table of ports and the C++ shim, so any module can be driven without C++ written for it.

use std::fmt::Write as _;

use crate::error::{Error, Result};

/// Bytes in which Verilator keeps a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    U8,
    U16,
    U32,
    U64,
    /// 32-bit words, lowest first.
    Words(usize),
}

/// One port of the top module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// Its name in SystemVerilog.
    pub name: String,
    /// Its name in C++.
    pub member: String,
    pub width: u32,
    pub storage: Storage,
    pub input: bool,
}

/// All ports of Verilator's header.
pub(crate) fn parse(header: &str) -> Result<Vec<Port>> {
    header.lines().filter_map(|line| line.trim().strip_prefix("VL_")).filter_map(port).collect()
}

/// One line after `VL_`, or nothing if it is not a port.
fn port(line: &str) -> Option<Result<Port>> {
    let (kind, rest) = line.split_once('(')?;
    let (input, size) = match (kind.strip_prefix("INOUT"), kind.strip_prefix("IN"), kind.strip_prefix("OUT"))
    {
        (Some(_), _, _) => return Some(Err(Error::Port(rest.to_owned()))),
        (None, Some(size), _) => (true, size),
        (None, None, Some(size)) => (false, size),
        _ => return None,
    };
    let rest = rest.strip_suffix(");")?;
    let bad = || Error::Port(rest.to_owned());
    let fields: Vec<&str> = rest.split(',').collect();
    let &[name, msb, lsb, ..] = fields.as_slice() else { return Some(Err(bad())) };
    let member = name.trim_start_matches('&');
    // An unpacked array is written `(&name)[n]`.
    if !member.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Some(Err(bad()));
    }
    let numbers = (msb.parse::<u32>(), lsb.parse::<u32>());
    let (Ok(msb), Ok(lsb)) = numbers else { return Some(Err(bad())) };
    let storage = match size {
        "8" => Storage::U8,
        "16" => Storage::U16,
        "" => Storage::U32,
        "64" => Storage::U64,
        "W" => match fields.get(3).and_then(|words| words.parse().ok()) {
            Some(words) => Storage::Words(words),
            None => return Some(Err(bad())),
        },
        _ => return None,
    };
    // Verilator writes a double underscore of a name as `___05F`.
    Some(Ok(Port {
        name: member.replace("___05F", "__"),
        member: member.to_owned(),
        width: msb.abs_diff(lsb) + 1,
        storage,
        input,
    }))
}

/// The C++ that gives Rust a handle, the addresses of the ports and the evaluation.
pub(crate) fn shim(class: &str, ports: &[Port], coverage: bool) -> String {
    let mut text = String::new();
    let include = if coverage { "#include \"verilated_cov.h\"\n" } else { "" };
    writeln!(
        text,
        "#include \"{class}.h\"\n#include \"verilated.h\"\n{include}\
#define EXPORT extern \"C\" __attribute__((visibility(\"default\")))
namespace {{
struct Context {{
  VerilatedContext context;
  explicit Context(int seed) {{ context.randReset(2); context.randSeed(seed); }}
}};
struct Instance : Context {{
  {class} top;
  explicit Instance(int seed) : Context(seed), top(&context) {{}}
}};
}}
EXPORT void* edgewen_new(int seed) {{ return new Instance(seed); }}
EXPORT void edgewen_delete(void* self) {{
  Instance* const instance = static_cast<Instance*>(self);
  instance->top.final();
  delete instance;
}}
EXPORT void edgewen_eval(void* self) {{ static_cast<Instance*>(self)->top.eval(); }}
EXPORT void edgewen_ports(void* self, void** out) {{
  Instance* const instance = static_cast<Instance*>(self);
  (void)instance; (void)out;"
    )
    .expect("writing to a string cannot fail");
    for (index, port) in ports.iter().enumerate() {
        writeln!(text, "  out[{index}] = &instance->top.{};", port.member).expect("as above");
    }
    text.push_str("}\n");
    if ports.iter().any(|port| port.name == "clk_i") {
        text.push_str(
            "EXPORT void edgewen_clock(void* self) {\n  Instance* const instance = static_cast<Instance*>(self);\n  \
             instance->top.clk_i = 1;\n  instance->top.eval();\n  instance->top.clk_i = 0;\n  \
             instance->top.eval();\n}\n",
        );
    }
    let write = if coverage {
        "static_cast<Instance*>(self)->context.coveragep()->write(path);"
    } else {
        "(void)self; (void)path;"
    };
    writeln!(text, "EXPORT void edgewen_coverage(void* self, const char* path) {{ {write} }}")
        .expect("as above");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind_of_port() {
        let header = "  VL_IN8(&clk_i,0,0);\n  VL_OUT16(&h_o,15,0);\n VL_IN(&x_i,31,0);\n VL_OUT64(&s_o,63,0);\n \
                      VL_INW(&addr___05Fi,159,0,5);\n  VL_UNCOPYABLE(Vtop);\n";
        let ports = parse(header).unwrap();
        let seen: Vec<_> = ports.iter().map(|p| (p.name.as_str(), p.width, p.storage, p.input)).collect();
        assert_eq!(
            seen,
            [
                ("clk_i", 1, Storage::U8, true),
                ("h_o", 16, Storage::U16, false),
                ("x_i", 32, Storage::U32, true),
                ("s_o", 64, Storage::U64, false),
                ("addr__i", 160, Storage::Words(5), true),
            ]
        );
    }

    #[test]
    fn refuses_unpacked_arrays() {
        assert!(matches!(parse("VL_IN8((&a)[4],7,0);"), Err(Error::Port(_))));
    }
}
