//! `edgewen eval`: the measurements, one verb each.

use clap::{Args, Subcommand};

use super::tasks::{TASKS_EXAMPLES, TasksArgs, WNLI_EXAMPLES, WnliArgs};

pub const EVAL_EXAMPLES: &str = "\
Examples:
  edgewen eval wnli --model qwen.ewn --file WNLI/dev.tsv
  edgewen eval tasks --task arc --file ARC-Easy-Test.jsonl -o items.jsonl";

/// `edgewen eval`
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// What to measure.
    #[command(subcommand)]
    pub verb: EvalVerb,
}

/// The measurements.
#[derive(Debug, Subcommand)]
pub enum EvalVerb {
    /// Measure the share of right answers on WNLI, by two protocols.
    #[command(after_help = WNLI_EXAMPLES)]
    Wnli(WnliArgs),
    /// Measure the share of right answers on a file of items.
    #[command(after_help = TASKS_EXAMPLES)]
    Tasks(TasksArgs),
}
