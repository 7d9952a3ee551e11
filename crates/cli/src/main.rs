//! The `edgewen` command.
//!
//! From top to bottom: read the command line, run the verb, turn what came of it into an exit code. Results go to
//! standard output, everything else to standard error; a verb never ends the process itself, it returns.
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod args;
mod files;
mod input;
mod interrupt;
mod machine;
mod model;
mod output;
mod progress;
mod report_html;
mod sampling;
mod verbs;

use std::io;
use std::process::ExitCode;

use clap::FromArgMatches;

use args::{Cli, Verb};

fn main() -> ExitCode {
    let parsed = args::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };

    let result = match cli.verb {
        Verb::Quantize(arguments) => verbs::quantize::run(&arguments),
        Verb::Generate(arguments) => verbs::generate::run(&arguments),
        Verb::Chat(arguments) => verbs::chat::run(&arguments),
        Verb::Inspect(arguments) => verbs::inspect::run(&arguments),
        Verb::Tokenize(arguments) => verbs::tokenize::run(&arguments),
        Verb::Logits(arguments) => verbs::logits::run(&arguments),
        Verb::Perplexity(arguments) => verbs::eval::perplexity::run(&arguments),
        Verb::Eval(arguments) => verbs::eval::run(&arguments),
        Verb::Bench(arguments) => verbs::bench::run(&arguments),
        Verb::Export(arguments) => verbs::export::run(&arguments),
        Verb::Import(arguments) => verbs::import::run(&arguments),
        Verb::Accel(arguments) => verbs::accel::run(&arguments),
        Verb::Completions(arguments) => verbs::completions::run(&arguments),
    };

    let Err(error) = result else { return ExitCode::SUCCESS };
    if is_broken_pipe(&error) {
        // The reader has what it wanted (`| head -1`): that is how such a command ends, not a failure.
        return ExitCode::SUCCESS;
    }
    if error.is::<interrupt::Interrupted>() {
        return ExitCode::from(interrupt::EXIT_CODE as u8);
    }
    output::note(&chain(&error));
    ExitCode::from(if error.is::<input::Usage>() { 2 } else { 1 })
}

/// What failed, then why, in one line. The libraries' errors name their cause themselves, so that one message is enough
/// for those who print no chain; here no cause is said twice.
fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.is_empty() {
            line = cause;
        } else if !line.ends_with(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

/// Wrong usage goes to standard error with exit code 2; help and version are answers, on standard output.
fn usage(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    if let Some(message) = text.strip_prefix("error: ") {
        output::note(message.trim_end());
    } else {
        let _ = error.print();
    }
    ExitCode::from(error.exit_code() as u8)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken))
}
