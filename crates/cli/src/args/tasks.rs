//! `edgewen eval wnli` and `edgewen eval tasks`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::values::positive;
use super::{ComputeArgs, ContextArgs, ModelArgs};

pub const WNLI_EXAMPLES: &str = "\
Examples:
  edgewen eval wnli --model qwen.ewn --file WNLI/dev.tsv
  edgewen eval wnli --model qwen.ewn --file WNLI/dev.tsv --protocol aicas --json

lm-eval takes the likelier of \" False\" and \" True\", as lm-evaluation-harness;
aicas asks in a conversation, answered greedily with a number, as the contest.";

pub const TASKS_EXAMPLES: &str = "\
Examples:
  edgewen eval tasks --task arc --file ARC-Easy-Test.jsonl --model qwen.ewn
  edgewen eval tasks --task lambada --file lambada.jsonl -o items.jsonl
  edgewen eval tasks --task answers --file questions.jsonl --chat

Files hold one JSON object a line:
  arc      question {stem, choices [{text, label}]}, answerKey
  piqa     goal, sol1, sol2, label
  lambada  text
  choices  context, choices [], label
  answers  prompt, answer (one, or a list)";

/// How far to go and where to keep it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// Measure only this many of the file's first items; of a text, windows.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub limit: Option<usize>,
    /// Write one line of JSON for every item; a run that was stopped goes on
    /// from there.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Begin anew even if the output file holds finished items.
    #[arg(long, requires = "output")]
    pub restart: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `edgewen eval wnli`
#[derive(Debug, Args)]
pub struct WnliArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// GLUE's tab-separated file with the columns index, sentence1, sentence2
    /// and label.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// How the question is put [default: both; lm-eval if the model has no
    /// chat template].
    #[arg(long, value_name = "NAME")]
    pub protocol: Option<ProtocolArg>,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub context: ContextArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Protocols of WNLI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolArg {
    /// Both.
    Both,
    /// The likelier word, as lm-evaluation-harness.
    LmEval,
    /// A written number, as the AICAS contest.
    Aicas,
}

/// `edgewen eval tasks`
#[derive(Debug, Args)]
pub struct TasksArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// What the file holds.
    #[arg(long, value_name = "NAME")]
    pub task: TaskArg,
    /// The items, one JSON object a line.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Put the prompts of `answers` as a user's messages, by the model's chat
    /// template.
    #[arg(long)]
    pub chat: bool,
    /// Most tokens of an answer of `answers` [default: 32].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub max_tokens: Option<usize>,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub context: ContextArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Tasks with a file of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TaskArg {
    /// AI2's Reasoning Challenge, easy or not.
    Arc,
    /// Physical commonsense, two solutions.
    Piqa,
    /// The last word of a passage.
    Lambada,
    /// Any multiple choice.
    Choices,
    /// Answers that the model writes.
    Answers,
}
