//! `edgewen eval`: measurements of a model, and what they share.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

use super::compare::{COMPARE_EXAMPLES, CompareArgs, SCORE_EXAMPLES, ScoreArgs};
use super::tasks::{RunArgs, TASKS_EXAMPLES, TasksArgs, WNLI_EXAMPLES, WnliArgs};
use super::values::positive;
use super::{ComputeArgs, ContextArgs, KvArg, ModelArgs};

pub const EVAL_EXAMPLES: &str = "\
Examples:
  edgewen eval perplexity --model qwen.ewn --file wiki.test.raw
  edgewen eval kl --model qwen.ewn --reference ./Qwen2.5-0.5B --file text.txt
  edgewen eval wnli --model qwen.ewn --file WNLI/dev.tsv
  edgewen eval tasks --task arc --file ARC-Easy-Test.jsonl -o items.jsonl

docs/evaluation.md has the formula of every figure.";

/// `edgewen eval`
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// What to measure.
    #[command(subcommand)]
    pub verb: EvalVerb,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum EvalVerb {
    /// How well a model predicts a text.
    #[command(after_help = PERPLEXITY_EXAMPLES)]
    Perplexity(PerplexityArgs),
    /// How far its predictions are from those of a reference.
    #[command(after_help = KL_EXAMPLES)]
    Kl(KlArgs),
    /// Measure the share of right answers on WNLI, by two protocols.
    #[command(after_help = WNLI_EXAMPLES)]
    Wnli(WnliArgs),
    /// Measure the share of right answers on a file of items.
    #[command(after_help = TASKS_EXAMPLES)]
    Tasks(TasksArgs),
    /// Compare models with each other and with a reference.
    #[command(after_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// Tell what the AICAS 2025 contest would have given.
    #[command(after_help = SCORE_EXAMPLES)]
    Score(ScoreArgs),
}

/// How a text is cut, and which tokens are predicted.
#[derive(Debug, Args)]
#[command(next_help_heading = "Protocol")]
pub struct ProtocolArgs {
    /// How to cut the text into windows [default: strided].
    #[arg(long, value_name = "NAME")]
    pub windows: Option<WindowsArg>,
    /// Tokens of a window [default: what the model was made for, at most
    /// 2048; 512 for llama-cpp].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub context: Option<usize>,
    /// Tokens between the starts of two strided windows [default: the
    /// context less one].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub stride: Option<usize>,
    /// Cut the text into documents here; each begins with an empty context
    /// and without the white space around it.
    #[arg(long, value_name = "TEXT")]
    pub separator: Option<String>,
    /// Number format of the key-value cache.
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    pub kv: KvArg,
}

impl ProtocolArgs {
    /// What opening the model needs of it: the length of windows is checked against the model later.
    pub fn to_context(&self) -> ContextArgs {
        ContextArgs { context: None, kv: self.kv }
    }
}

/// Ways to cut a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WindowsArg {
    /// A window every --stride tokens predicts what none has before it.
    Strided,
    /// Disjoint windows, all tokens predicted: lm-evaluation-harness.
    Rolling,
    /// Disjoint windows, their second half predicted: llama-perplexity.
    LlamaCpp,
}

pub const PERPLEXITY_EXAMPLES: &str = "\
Examples:
  edgewen perplexity --model qwen.ewn --file wiki.test.raw
  edgewen perplexity --file stories.txt --separator '<|endoftext|>' --json
  edgewen eval perplexity --file text.txt --windows rolling -o items.jsonl

With a separator and no --stride, a document longer than the context is cut
there; otherwise it goes on in further windows. Perplexities are comparable
only under the same protocol and tokenizer; the protocol is printed too.";

/// `edgewen eval perplexity`, also `edgewen perplexity`
#[derive(Debug, Args)]
pub struct PerplexityArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// UTF-8 text to measure on.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    #[command(flatten)]
    pub protocol: ProtocolArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

pub const KL_EXAMPLES: &str = "\
Examples:
  edgewen eval kl --model qwen.ewn --reference ./Qwen2.5-0.5B --file text.txt
  edgewen eval kl --reference ./Qwen2.5-0.5B --file text.txt --limit 8 \\
      --save-logits ref.safetensors
  edgewen eval kl --model qwen.ewn --reference ref.safetensors

Stored logits bring their text and protocol with them. A file written by
`edgewen logits` can be a reference too: its tokens are one window.";

/// `edgewen eval kl`
#[derive(Debug, Args)]
pub struct KlArgs {
    /// Model to measure: a packed file, `demo`, or a checkpoint directory.
    #[arg(long, value_name = "MODEL", required_unless_present = "save_logits", value_hint = ValueHint::AnyPath)]
    pub model: Option<String>,
    /// What it should be like: a checkpoint directory, a packed file, or
    /// logits that were stored (.safetensors).
    #[arg(long, value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub reference: String,
    /// UTF-8 text to measure on; not needed with stored logits.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Store the reference's logits instead of measuring a model.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          conflicts_with_all = ["model", "output"])]
    pub save_logits: Option<PathBuf>,
    #[command(flatten)]
    pub protocol: ProtocolArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}
