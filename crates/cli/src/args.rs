//! The command line as clap sees it: verbs, flags, help texts, and one environment variable per flag.
//!
//! Flags that several verbs share are groups (`ModelArgs`, `ComputeArgs`, `SamplingArgs`) so that they have one
//! name, one default and one help text everywhere. The variable of a flag follows from its name (`--top-k` is
//! `EDGEWEN_TOP_K`) and is added in one place, [`command`]; a flag on the command line wins over its variable.

mod accel;
mod compare;
mod eval;
mod exchange;
mod quantize;
mod tasks;
mod values;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, Command, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};

use accel::ACCEL_EXAMPLES;
pub use accel::{AccelArgs, AccelMode, AccelReportArgs, AccelVerb, AttentionArg, DataRateArg, Switch};
pub use compare::{CompareArgs, ScoreArgs};
use eval::{EVAL_EXAMPLES, PERPLEXITY_EXAMPLES};
pub use eval::{EvalArgs, EvalVerb, KlArgs, PerplexityArgs, ProtocolArgs, WindowsArg};
use exchange::{EXPORT_EXAMPLES, IMPORT_EXAMPLES};
pub use exchange::{ExportArgs, FormatArg, ImportArgs};
use quantize::QUANTIZE_EXAMPLES;
pub use quantize::{EffortArg, GroupArg, HeadArg, MethodArg, QuantizeArgs};
pub use tasks::{ProtocolArg, RunArgs, TaskArg, TasksArgs, WnliArgs};
use values::{above_zero, finite, fraction, non_negative, positive, probability};

/// Prefix of the environment variables.
const ENV_PREFIX: &str = "EDGEWEN_";

/// Columns the help may take, also where the terminal is wider or there is none.
const HELP_COLUMNS: usize = 80;

/// Run Qwen2 and Qwen2.5 language models from one packed 4-bit file, on the CPU.
#[derive(Debug, Parser)]
#[command(name = "edgewen", version, disable_help_subcommand = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  edgewen generate \"Once upon a time\"
  edgewen quantize ./Qwen2.5-0.5B-Instruct -o qwen.ewn
  edgewen chat --model qwen.ewn

Every flag can also be set in the environment: --top-k as EDGEWEN_TOP_K.
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.";

/// The verbs, one file each under `verbs/`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Compress a Hugging Face checkpoint into one packed file.
    #[command(visible_alias = "quantise", after_help = QUANTIZE_EXAMPLES)]
    Quantize(QuantizeArgs),
    /// Continue a text.
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(GenerateArgs),
    /// Talk with an instruct model.
    #[command(after_help = CHAT_EXAMPLES)]
    Chat(ChatArgs),
    /// Show what is in a packed file.
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(InspectArgs),
    /// Show the tokens of a text or of a conversation.
    #[command(after_help = TOKENIZE_EXAMPLES)]
    Tokenize(TokenizeArgs),
    /// Write the logits of every token of a text to a safetensors file.
    #[command(after_help = LOGITS_EXAMPLES)]
    Logits(LogitsArgs),
    /// Measure how well a model predicts a text.
    #[command(after_help = PERPLEXITY_EXAMPLES)]
    Perplexity(PerplexityArgs),
    /// Measure the quality of a model.
    #[command(after_help = EVAL_EXAMPLES)]
    Eval(EvalArgs),
    /// Measure the speed of a model on this machine.
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArgs),
    /// Write a packed file in another format: an AutoAWQ checkpoint, or the
    /// layout of another design.
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Make a packed file from one in the layout of another design.
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Tell about the FPGA accelerator.
    #[command(after_help = ACCEL_EXAMPLES)]
    Accel(AccelArgs),
    /// Print the completion script of a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
}

/// Which model to run.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// A packed file (.ewn), the word `demo` for the built-in model, or a
    /// checkpoint directory, which runs on the slow float path.
    #[arg(long, value_name = "MODEL", default_value = "demo", value_hint = ValueHint::AnyPath)]
    pub model: String,
}

/// Where and how to compute. None of these change the result, only the time it takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Computing")]
pub struct ComputeArgs {
    /// Threads to compute with [default: one per core].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub threads: Option<usize>,
    /// Instruction set to use [default: the best this CPU has].
    #[arg(long, value_name = "NAME")]
    pub isa: Option<IsaArg>,
    /// Device to use.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: DeviceArg,
}

/// Instruction sets there are kernels for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IsaArg {
    /// Plain Rust, the specification of the others.
    Scalar,
    /// x86 with AVX2 and F16C.
    Avx2,
    /// x86 with AVX-512 VNNI.
    Avx512,
    /// ARMv8.0.
    Neon,
    /// ARMv8.2 with dot products.
    Dotprod,
}

/// Devices a model can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeviceArg {
    /// The fastest there is.
    Auto,
    /// The processor.
    Cpu,
    /// The FPGA accelerator's functional model: same results, slower.
    Sim,
    /// Its hardware description, simulated clock by clock; needs Verilator.
    Rtl,
}

/// How keys and values of earlier tokens are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KvArg {
    /// Half precision.
    F16,
    /// Eight bits and a scale: half the memory.
    Int8,
}

/// How much the model may see and how it remembers it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Context")]
pub struct ContextArgs {
    /// Tokens of prompt and answer together [default: what the model was
    /// made for].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub context: Option<usize>,
    /// Number format of the key-value cache.
    #[arg(long, value_name = "TYPE", default_value = "f16")]
    pub kv: KvArg,
}

/// How the next token is chosen. What is not given comes from the model's generation_config.json.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampling (defaults: the model's own)")]
pub struct SamplingArgs {
    /// 0 takes the likeliest token; higher is more varied.
    #[arg(long, value_name = "T", value_parser = non_negative)]
    pub temperature: Option<f32>,
    /// Choose among the K likeliest tokens; 0 is all.
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Choose among the likeliest tokens that together have probability P.
    #[arg(long, value_name = "P", value_parser = probability)]
    pub top_p: Option<f32>,
    /// Drop tokens less likely than P times the likeliest.
    #[arg(long, value_name = "P", value_parser = fraction)]
    pub min_p: Option<f32>,
    /// Divide the logits of tokens seen before (multiply negative ones).
    #[arg(long, value_name = "R", value_parser = above_zero)]
    pub repetition_penalty: Option<f32>,
    /// Subtract this from the logits of tokens generated before.
    #[arg(long, value_name = "R", value_parser = finite, allow_negative_numbers = true)]
    pub presence_penalty: Option<f32>,
    /// Subtract this for each time a token was generated before.
    #[arg(long, value_name = "R", value_parser = finite, allow_negative_numbers = true)]
    pub frequency_penalty: Option<f32>,
    /// Seed of the random numbers [default: a new one each time].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// When generation ends.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Stopping")]
pub struct StopArgs {
    /// Tokens to generate at most.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128)]
    pub max_tokens: usize,
    /// End before this text; may be given several times.
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Do not end at the model's end tokens.
    #[arg(long)]
    pub ignore_eos: bool,
}

const GENERATE_EXAMPLES: &str = "\
Examples:
  edgewen generate \"Once upon a time\"
  edgewen generate --model qwen.ewn --prompt-file p.txt -n 128 \\
      --temperature 0.7 --top-p 0.8 --seed 1 --json
  echo \"def add(a, b):\" | edgewen generate --model qwen.ewn

One line break at the end of a prompt from a file or a pipe is dropped.
The text goes to standard output, everything else to standard error.";

/// `edgewen generate`
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Text to continue; `-` or nothing reads it from standard input.
    #[arg(value_name = "PROMPT", conflicts_with = "prompt_file")]
    pub prompt: Option<String>,
    /// Read the prompt from a file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub prompt_file: Option<PathBuf>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Print one JSON object at the end instead of the text.
    #[arg(long)]
    pub json: bool,
    /// Print the text when it is complete instead of piece by piece.
    #[arg(long)]
    pub no_stream: bool,
    #[command(flatten)]
    pub stop: StopArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub context: ContextArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

const CHAT_EXAMPLES: &str = "\
Examples:
  edgewen chat --model qwen.ewn
  edgewen chat --model qwen.ewn --system \"Answer in one sentence.\"
  echo \"Why is the sky blue?\" | edgewen chat --model qwen.ewn

In the conversation: /reset forgets it, /help lists the commands, /exit or
Ctrl-D ends; Ctrl-C stops an answer. Piped input is one message a line.";

/// `edgewen chat`
#[derive(Debug, Args)]
pub struct ChatArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// System message, in place of the one in the model's template.
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Tokens of an answer at most [default: what fits the context].
    #[arg(short = 'n', long, value_name = "N", value_parser = positive)]
    pub max_tokens: Option<usize>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    #[command(flatten)]
    pub context: ContextArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  edgewen inspect qwen.ewn
  edgewen inspect qwen.ewn --verify";

/// `edgewen inspect`
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A packed file, or the word `demo` for the built-in model.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: String,
    /// Read every byte and check it against the SHA-256 in the file.
    #[arg(long)]
    pub verify: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

const TOKENIZE_EXAMPLES: &str = "\
Examples:
  edgewen tokenize --model ./Qwen2.5-0.5B-Instruct \"Hello, world\"
  edgewen tokenize --model qwen.ewn --chat messages.json --json

MODEL may be a directory that has nothing but tokenizer files. messages.json
is a list of {\"role\", \"content\"} objects, or an object with `messages` and,
if wanted, `tools` and `add_generation_prompt`.";

/// `edgewen tokenize`
#[derive(Debug, Args)]
pub struct TokenizeArgs {
    /// Text to tokenize; `-` or nothing reads it from standard input.
    #[arg(value_name = "TEXT", conflicts_with = "chat", allow_hyphen_values = true)]
    pub text: Option<String>,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Render the conversation in this file with the chat template.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub chat: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

const LOGITS_EXAMPLES: &str = "\
Example:
  edgewen logits --model qwen.ewn --tokens \"9707 11\" -o logits.safetensors

The file has `logits`, f32 [tokens, vocabulary], and `tokens`, i64 [tokens].
The bytes do not depend on --threads, --isa or --chunk.";

/// `edgewen logits`
#[derive(Debug, Args)]
pub struct LogitsArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Token ids, separated by spaces or commas.
    #[arg(long, value_name = "IDS", conflicts_with = "prompt", required_unless_present = "prompt")]
    pub tokens: Option<String>,
    /// Text to tokenize.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// File to write.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// Tokens computed at once; 1 is token by token.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = positive)]
    pub chunk: usize,
    /// Print what was written as JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub context: ContextArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

const BENCH_EXAMPLES: &str = "\
Examples:
  edgewen bench --model qwen.ewn
  edgewen bench --model qwen.ewn -p 128 -n 64 -r 9 --threads 2 --json

pp is the speed of reading a prompt, tg that of generating one token after
another; tokenizing and sampling are not in the time.";

/// `edgewen bench`
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Tokens of the prompt test; 0 leaves it out.
    #[arg(short, long, value_name = "N", default_value_t = 512)]
    pub prompt_tokens: usize,
    /// Tokens of the generation test; 0 leaves it out.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 128)]
    pub generate_tokens: usize,
    /// Times each test is run, after one run that does not count.
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = positive)]
    pub repetitions: usize,
    /// Tokens already in the context when a test begins.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub depth: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub context: ContextArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

const COMPLETIONS_EXAMPLES: &str = "\
Example:
  edgewen completions bash > ~/.local/share/bash-completion/completions/edgewen";

/// `edgewen completions`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell to complete for.
    pub shell: clap_complete::Shell,
}

/// The whole command, with the environment variable of each flag.
pub fn command() -> Command {
    Cli::command().max_term_width(HELP_COLUMNS).mut_subcommands(|verb| {
        let verb = verb.max_term_width(HELP_COLUMNS).mut_args(add_variable);
        verb.mut_subcommands(|verb| verb.max_term_width(HELP_COLUMNS).mut_args(add_variable))
    })
}

/// `--top-k` can also be given as `EDGEWEN_TOP_K`; a switch is on for any value but an empty, 0, false, no or off.
fn add_variable(argument: clap::Arg) -> clap::Arg {
    let Some(variable) = argument.get_long().map(variable_of) else { return argument };
    if matches!(variable.as_str(), "EDGEWEN_HELP" | "EDGEWEN_VERSION") {
        return argument;
    }
    let argument = match argument.get_action() {
        ArgAction::SetTrue => argument.value_parser(FalseyValueParser::new()),
        _ => argument,
    };
    argument.env(OsString::from(variable)).hide_env(true)
}

fn variable_of(flag: &str) -> String {
    format!("{ENV_PREFIX}{}", flag.replace('-', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn definitions_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn help_of_every_verb_has_an_example_and_fits_80_columns() {
        let names: Vec<String> =
            command().get_subcommands().map(|verb| verb.get_name().to_string()).collect();
        for name in names {
            let help = command().try_get_matches_from(["edgewen", &name, "--help"]).unwrap_err().to_string();
            assert!(help.contains("Example"), "{name} has no example");
            for line in help.lines() {
                assert!(line.chars().count() <= HELP_COLUMNS, "{name}: {line}");
            }
        }
    }

    #[test]
    fn every_flag_has_its_variable() {
        for verb in command().get_subcommands() {
            for argument in verb.get_arguments().filter(|argument| argument.get_long() != Some("help")) {
                let Some(long) = argument.get_long() else { continue };
                let expected = variable_of(long);
                assert_eq!(
                    argument.get_env().unwrap().to_str(),
                    Some(expected.as_str()),
                    "{}",
                    verb.get_name()
                );
            }
        }
    }

    #[test]
    fn refuses_values_out_of_range() {
        for flags in [
            ["--temperature", "-1"],
            ["--temperature", "nan"],
            ["--top-p", "0"],
            ["--top-p", "1.5"],
            ["--min-p", "2"],
            ["--repetition-penalty", "0"],
            ["--threads", "0"],
            ["--context", "x"],
            ["--isa", "sse2"],
            ["--kv", "f32"],
        ] {
            let arguments = ["edgewen", "generate", "hello"].into_iter().chain(flags);
            assert_eq!(command().try_get_matches_from(arguments).unwrap_err().exit_code(), 2, "{flags:?}");
        }
    }
}
