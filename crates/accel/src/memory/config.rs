//! The parameters of the memory model, and where each comes from.
//!
//! Timings are those of the DDR4 standard in clocks of the controller (half the memory clock), rounded as the
//! controller's manual says; a test compares them with the register values that U-Boot's `psu_init_gpl.c` for the K26
//! module writes. The same file gives the address map and the scheduler's settings. What no document gives is fitted to
//! measurements; those fields say "fitted".

/// Transfers a second of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataRate {
    /// 2133 MT/s: what the stock firmware sets.
    Mts2133,
    /// 2400 MT/s: needs a first stage boot loader of one's own.
    Mts2400,
}

impl DataRate {
    /// Clock of the memory in MHz: two transfers a clock.
    #[must_use]
    pub fn memory_mhz(self) -> f64 {
        match self {
            Self::Mts2133 => 3200.0 / 3.0,
            Self::Mts2400 => 1200.0,
        }
    }

    /// The most that 64 bits can carry, in GB/s.
    #[must_use]
    pub fn peak_gigabytes_per_second(self) -> f64 {
        self.memory_mhz() * 2.0 * 8.0 / 1000.0
    }
}

/// Where the bank group is in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BankGroupBit {
    /// Bit 6: consecutive bursts of 64 bytes alternate between the groups. This is what the board's firmware sets.
    Low,
    /// Bit 13, above the column: a stream stays in a group for 8 KiB.
    AboveColumn,
}

/// When a row is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PagePolicy {
    /// When another row of the bank is wanted: what the board's firmware sets (`pageclose` 0).
    Open,
    /// As soon as nothing in the queue wants it.
    Closed,
}

/// Delays between commands in clocks of the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Read command to data, CL.
    pub read_latency: u64,
    /// Write command to data, CWL.
    pub write_latency: u64,
    /// Activate to read or write, tRCD.
    pub activate_to_column: u64,
    /// Precharge to activate, tRP.
    pub precharge: u64,
    /// Activate to precharge, tRAS.
    pub activate_to_precharge: u64,
    /// Activate to activate of a bank, tRC.
    pub row_cycle: u64,
    /// Activate to activate, other bank group, tRRD_S.
    pub activate_short: u64,
    /// Activate to activate, same bank group, tRRD_L.
    pub activate_long: u64,
    /// Four activates, tFAW.
    pub four_activates: u64,
    /// Column command to column command, other bank group, tCCD_S: the data of a burst.
    pub column_short: u64,
    /// Column command to column command, same bank group, tCCD_L.
    pub column_long: u64,
    /// Read to precharge, tRTP.
    pub read_to_precharge: u64,
    /// Write to precharge: CWL, data, tWR.
    pub write_to_precharge: u64,
    /// Read to write: the bus turns around.
    pub read_to_write: u64,
    /// Write to read, other bank group: CWL, data, tWTR_S.
    pub write_to_read_short: u64,
    /// Write to read, same bank group: CWL, data, tWTR_L.
    pub write_to_read_long: u64,
    /// A refresh, tRFC.
    pub refresh: u64,
    /// From refresh to refresh, tREFI.
    pub refresh_interval: u64,
}

impl Timing {
    /// x16 devices of 8 Gbit, speed bins 2133R (16-16-16) and 2400R (16-16-16).
    #[must_use]
    pub fn new(rate: DataRate) -> Self {
        let mhz = rate.memory_mhz();
        // Clocks of the memory for a time, at least `least`; the standard allows a hundredth of a clock of slack.
        let clocks = |ns: f64, least: u64| ((ns * mhz / 1000.0 - 0.01).ceil() as u64).max(least);
        let half = |clocks: u64| clocks.div_ceil(2);
        let (cas, cas_write, row_ns) = match rate {
            DataRate::Mts2133 => (16, 14, 15.0),
            DataRate::Mts2400 => (16, 16, 13.32),
        };
        let data = 4;
        let preamble_and_phy = 6;
        Self {
            read_latency: half(cas),
            write_latency: half(cas_write),
            activate_to_column: half(clocks(row_ns, 4)),
            precharge: clocks(row_ns, 4) / 2 + 1,
            activate_to_precharge: half(clocks(if rate == DataRate::Mts2133 { 33.0 } else { 32.0 }, 4)),
            row_cycle: half(clocks(33.0 + row_ns, 4)),
            activate_short: half(clocks(5.3, 4)),
            activate_long: half(clocks(6.4, 4)),
            four_activates: half(clocks(30.0, 28)),
            column_short: half(data),
            column_long: half(clocks(if rate == DataRate::Mts2133 { 5.355 } else { 5.0 }, 5)),
            read_to_precharge: half(clocks(7.5, 4)),
            write_to_precharge: half(cas_write + data + clocks(15.0, 4)),
            read_to_write: half(cas + data + preamble_and_phy - cas_write),
            write_to_read_short: half(cas_write + data + clocks(2.5, 2)),
            write_to_read_long: half(cas_write + data + clocks(7.5, 4)),
            refresh: half(clocks(350.0, 4)),
            refresh_interval: ((7800.0 * mhz / 2000.0 - 0.01) / 32.0) as u64 * 32,
        }
    }
}

/// Everything that determines the timing.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryConfig {
    /// Transfers a second.
    pub data_rate: DataRate,
    /// Clock of the programmable logic in MHz.
    pub pl_mhz: f64,
    /// Delays of the memory. Data sheet.
    pub timing: Timing,
    /// Where the bank group is in an address. Firmware: bit 6.
    pub bank_group_bit: BankGroupBit,
    /// When rows are closed. Firmware: open page.
    pub page_policy: PagePolicy,
    /// Reads of 64 bytes the scheduler chooses among. Firmware: 33 of the 64 entries are for low priority.
    pub read_entries: usize,
    /// Writes of 64 bytes the controller holds. Manual: 64.
    pub write_entries: usize,
    /// Clocks of the controller after which waiting requests of a direction are critical. Firmware: 64.
    pub starve: u64,
    /// Requests served in a row once the other direction is critical. Firmware: 8.
    pub run_length: u32,
    /// Hits to a row in a bank after which an older request to another row goes first. Fitted.
    pub row_run: u32,
    /// Column commands after which a clock is lost: what the real scheduler does not reach of the ideal one. Fitted.
    pub gap_every: u32,
    /// Port of the controller (XPI) of HP0, HP1, HP2, HP3, HPC0, and of the processor's even and odd pages. Manual: HP1
    /// and HP2 share one, and HPC0 and the processor have two through the CCI.
    pub controller_port: [u8; 7],
    /// Clock of the switches between the ports and the controller in MHz, 128 bit wide. Firmware: 533.
    pub switch_mhz: f64,
    /// Bursts are cut into pieces of at most so many beats. Manual: AXI3, 16.
    pub slice_beats: u32,
    /// Slices of reads that a port has under way, data waiting in the port included. Fitted.
    pub reads_in_flight: usize,
    /// Slices of writes that a port has under way. Fitted.
    pub writes_in_flight: usize,
    /// Bursts that wait in a port before they are cut. Fitted.
    pub waiting_bursts: usize,
    /// From a port's address channel to the controller's queue. Fitted with `return_ns`; only the sum matters.
    pub request_ns: f64,
    /// From the memory's data pins to a port's data channel. Fitted.
    pub return_ns: f64,
    /// Added each way for the coherent port (CCI). Assumed: the measurements show no difference to HP for one stream.
    pub coherent_ns: f64,
    /// Added each way for the processor: its caches and the CCI. Fitted.
    pub processor_ns: f64,
    /// Cache lines a core of the processor has under way. Fitted.
    pub lines_per_core: usize,
}

impl MemoryConfig {
    /// The KV260: four x16 DDR4 devices, one rank, Zynq UltraScale+ controller as the stock firmware sets it up.
    #[must_use]
    pub fn kv260(data_rate: DataRate, pl_mhz: f64) -> Self {
        Self {
            data_rate,
            pl_mhz,
            timing: Timing::new(data_rate),
            bank_group_bit: BankGroupBit::Low,
            page_policy: PagePolicy::Open,
            read_entries: 33,
            write_entries: 64,
            starve: 64,
            run_length: 8,
            row_run: 5,
            gap_every: 10,
            controller_port: [0, 1, 1, 2, 3, 3, 4],
            switch_mhz: 1600.0 / 3.0,
            slice_beats: 16,
            reads_in_flight: 12,
            writes_in_flight: 8,
            waiting_bursts: 16,
            request_ns: 70.0,
            return_ns: 70.0,
            coherent_ns: 20.0,
            processor_ns: 82.0,
            lines_per_core: 10,
        }
    }

    /// Group, bank in the group, and row of an address.
    #[must_use]
    pub fn locate(&self, address: u64) -> Location {
        let group_shift = match self.bank_group_bit {
            BankGroupBit::Low => 6,
            BankGroupBit::AboveColumn => 13,
        };
        let group = (address >> group_shift & 1) as u8;
        Location { bank: group << 2 | (address >> 14 & 3) as u8, row: (address >> 16 & 0xFFFF) as u32 }
    }
}

/// Where an address is in the memory devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Group of banks in bit 2, bank of the group in bits 1 and 0.
    pub bank: u8,
    /// Row of the bank.
    pub row: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of DRAMTMG0 to DRAMTMG9 and RFSHTMG as U-Boot writes them for the K26 module (2133 MT/s).
    #[test]
    fn timings_are_those_of_the_boards_firmware() {
        let expected = Timing {
            read_latency: 8,
            write_latency: 7,
            activate_to_column: 8,
            precharge: 9,
            activate_to_precharge: 18,
            row_cycle: 26,
            activate_short: 3,
            activate_long: 4,
            four_activates: 16,
            column_short: 2,
            column_long: 3,
            read_to_precharge: 4,
            write_to_precharge: 17,
            read_to_write: 6,
            write_to_read_short: 11,
            write_to_read_long: 13,
            refresh: 187,
            refresh_interval: 129 * 32,
        };
        assert_eq!(Timing::new(DataRate::Mts2133), expected);
    }

    #[test]
    fn the_map_is_one_to_one() {
        for bit in [BankGroupBit::Low, BankGroupBit::AboveColumn] {
            let config =
                MemoryConfig { bank_group_bit: bit, ..MemoryConfig::kv260(DataRate::Mts2133, 250.0) };
            let mut lines = std::collections::HashMap::new();
            for line in 0..4096u64 {
                let at = config.locate(line * 64);
                *lines.entry((at.bank, at.row)).or_insert(0) += 1;
            }
            // 256 KiB are four rows of eight banks, each 8 KiB across the rank.
            assert_eq!(lines.len(), 32);
            assert!(lines.values().all(|&n| n == 128));
        }
    }
}
