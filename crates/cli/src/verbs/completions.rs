//! `edgewen completions`: the completion script of a shell, made from the same definitions as the help.

use clap_complete::generate;

use crate::args::{CompletionsArgs, command};
use crate::output;

/// Prints the script.
pub fn run(arguments: &CompletionsArgs) -> anyhow::Result<()> {
    // Into memory first: the generator would panic where a pipe is closed.
    let mut script = Vec::new();
    generate(arguments.shell, &mut command(), "edgewen", &mut script);
    output::text_out(&String::from_utf8(script)?)
}
