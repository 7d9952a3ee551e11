//! `edgewen accel`: projections for the FPGA accelerator.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::values::{above_zero, positive, tokens};
use super::{KvArg, ModelArgs};

pub const ACCEL_EXAMPLES: &str = "\
Examples:
  edgewen accel report --model qwen.ewn --context 1024
  edgewen accel report --model qwen.ewn --mode seed --json
  edgewen accel report --model qwen.ewn --html report.html

All figures are projections: computed, never measured on a board.";

/// `edgewen accel`
#[derive(Debug, Args)]
pub struct AccelArgs {
    /// What to tell.
    #[command(subcommand)]
    pub verb: AccelVerb,
}

/// What there is to tell of the accelerator.
#[derive(Debug, Subcommand)]
pub enum AccelVerb {
    /// Project the speed of a model on the KV260, and what limits it.
    #[command(after_help = ACCEL_EXAMPLES)]
    Report(AccelReportArgs),
}

/// `edgewen accel report`
#[derive(Debug, Args)]
pub struct AccelReportArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Positions that the decoded token sees, with its own [default: 1024,
    /// or what the model was made for].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub context: Option<usize>,
    /// Tokens of the prompt to project; 0 leaves it out [default: 512, or
    /// what the model was made for].
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    pub prefill: Option<usize>,
    /// Which machine.
    #[arg(long, value_name = "NAME", default_value = "hybrid")]
    pub mode: AccelMode,
    /// Transfers of the memory, in millions a second.
    #[arg(long, value_name = "RATE", default_value = "2133")]
    pub data_rate: DataRateArg,
    /// Clock of the logic [default: 300, seed: 200].
    #[arg(long, value_name = "MHZ", value_parser = above_zero)]
    pub clock: Option<f32>,
    /// Clocks of a beat of weights [default: 1, seed: 11].
    #[arg(long, value_name = "CLOCKS", value_parser = positive)]
    pub interval: Option<usize>,
    /// Stream weights ahead of the processor.
    #[arg(long, value_name = "SWITCH", default_value = "on")]
    pub run_ahead: Switch,
    /// Who multiplies with keys and values: the ARM cores, or the arrays,
    /// from an 8-bit cache.
    #[arg(long, value_name = "WHERE", default_value = "arrays")]
    pub attention: AttentionArg,
    /// Number format of the key-value cache [default: int8 on the arrays,
    /// else f16].
    #[arg(long, value_name = "TYPE")]
    pub kv: Option<KvArg>,
    /// Threads of the board's four cores.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive)]
    pub threads: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Write a page with plots instead; replaces the file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "json")]
    pub html: Option<PathBuf>,
}

/// Machines that can be projected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccelMode {
    /// The paper's: its macros, no run-ahead, the head on the ARM cores.
    Seed,
    /// This accelerator with the ARM cores beside it.
    Hybrid,
}

/// Memory of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DataRateArg {
    /// What the stock firmware sets.
    #[value(name = "2133")]
    Mts2133,
    /// With a first-stage boot loader of one's own.
    #[value(name = "2400")]
    Mts2400,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "they say it")]
pub enum Switch {
    On,
    Off,
}

/// Who multiplies with keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AttentionArg {
    /// The accelerator.
    Arrays,
    /// The ARM cores.
    Processor,
}
