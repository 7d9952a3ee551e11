//! `edgewen eval compare` and `edgewen eval score`.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::values::{above_zero, positive, probability};
use super::{ComputeArgs, ProtocolArgs};

pub const COMPARE_EXAMPLES: &str = "\
Examples:
  edgewen eval compare rtn.ewn awq.ewn --reference ./Qwen2.5-0.5B \\
      --file wiki.test.raw --html compare.html
  edgewen eval compare a.ewn b.ewn --reference ./model --file stories.txt \\
      --separator '<|endoftext|>' --reports a.json,b.json

Size, bits a weight, perplexity, divergence from the reference and the
error that every layer adds, of each model on the same text. --reports adds
what `edgewen quantize --report` wrote, --items what `edgewen eval wnli` and
`edgewen eval tasks` wrote: a list in the order of the models, with `-` for
a model that has none.";

/// `edgewen eval compare`
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Packed files or checkpoint directories.
    #[arg(value_name = "MODEL", required = true, num_args = 1.., value_hint = ValueHint::AnyPath)]
    pub models: Vec<String>,
    /// What they are compared with: the checkpoint they were made from.
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub reference: String,
    /// UTF-8 text to measure on.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Measure only this many of the text's first windows.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub limit: Option<usize>,
    /// Reports of `edgewen quantize`, one a model.
    #[arg(long, value_name = "FILE", value_delimiter = ',', allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    pub reports: Vec<PathBuf>,
    /// Item files of tasks, one a model; may be given several times.
    #[arg(long, value_name = "FILES", allow_hyphen_values = true, value_hint = ValueHint::FilePath)]
    pub items: Vec<String>,
    /// Write a page with plots; replaces the file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub html: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub protocol: ProtocolArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

pub const SCORE_EXAMPLES: &str = "\
Examples:
  edgewen eval score
  edgewen eval score --of sutd
  edgewen eval score --accuracy 0.5197 --bytes 266800000 --prefill 188 \\
      --decode 45.2

Formula (1) of arXiv 2504.17376: 0.4 accuracy + 0.2 memory + 0.2 prefill +
0.2 decode, each over the greatest of the competitors and of the entry.
Without figures: the competitors themselves. Figures that were projected or
simulated give a score that is too.";

/// `edgewen eval score`
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// Share of right answers, as 0.5197.
    #[arg(long, value_name = "A", value_parser = probability, conflicts_with = "of")]
    pub accuracy: Option<f32>,
    /// Size of the model in bytes.
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "of")]
    pub bytes: Option<usize>,
    /// Tokens a second of a prompt.
    #[arg(long, value_name = "P", value_parser = above_zero, conflicts_with = "of")]
    pub prefill: Option<f32>,
    /// Tokens a second of an answer.
    #[arg(long, value_name = "D", value_parser = above_zero, conflicts_with = "of")]
    pub decode: Option<f32>,
    /// Score a competitor by its published figures.
    #[arg(long, value_name = "NAME")]
    pub of: Option<String>,
    /// Competitors, in the form of crates/eval/data/aicas2025.json
    /// [default: that file].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub against: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
