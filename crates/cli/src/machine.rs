//! What a measurement must say about the machine it was made on, as far as the system tells.

use serde::Serialize;

/// The machine line of a measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    /// Name of the processor.
    pub cpu: String,
    /// Logical processors this process may use.
    pub cores: usize,
    /// Architecture and system the binary was built for.
    pub target: String,
    /// Instruction set the kernels use.
    pub isa: String,
    /// Threads that compute.
    pub threads: usize,
    /// Version of edgewen.
    pub version: &'static str,
    /// Commit it was built from, or `unknown`.
    pub commit: &'static str,
}

impl Machine {
    /// This machine, computing with `isa` on `threads` threads.
    pub fn new(isa: &str, threads: usize) -> Self {
        Machine {
            cpu: cpu_name(),
            cores: cores(),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            isa: isa.to_string(),
            threads,
            version: env!("CARGO_PKG_VERSION"),
            commit: env!("EDGEWEN_COMMIT"),
        }
    }
}

/// Logical processors this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Most memory this process has had in use so far, in bytes; only Linux tells.
pub fn peak_memory_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim() == key)
            .map(|(_, value)| value.trim().to_string())
            .filter(|value| !value.is_empty())
    };
    // ARM kernels give no name there; the device tree at least names the board.
    value("model name")
        .or_else(|| {
            std::fs::read_to_string("/proc/device-tree/model").ok().map(|name| name.replace('\0', ""))
        })
        .or_else(|| value("CPU part").map(|part| format!("ARM part {part}")))
        .unwrap_or_else(|| "unknown".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_line_is_complete() {
        let machine = Machine::new("scalar", 2);
        assert!(!machine.cpu.is_empty() && !machine.commit.is_empty());
        assert!(1 <= machine.cores);
    }
}
