//! `edgewen chat`: a conversation with an instruct model.
//!
//! The whole conversation is rendered by the model's template for every answer; the session keeps what it has
//! already computed of it, so only the new part is read. On a terminal there is line editing and a prompt; from a
//! pipe each line is a message and only the answers are printed.

use std::io::{self, BufRead, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use edgewen_engine::{FinishReason, GenerateOptions, Generated, Session, StopOptions};
use edgewen_model::{ChatTemplate, Tokenizer};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use serde_json::{Value, json};

use crate::args::ChatArgs;
use crate::interrupt::{self, Second};
use crate::model::{self, Model};
use crate::output;
use crate::sampling::Settings;

const HELP: &str = "\
/reset  forget the conversation
/help   show this
/exit   end (also Ctrl-D, or Ctrl-C at the prompt)
Ctrl-C while the model answers stops the answer.";

/// Talks until the input ends.
pub fn run(arguments: &ChatArgs) -> anyhow::Result<()> {
    let mut model = Model::load(&arguments.model, &arguments.context, &arguments.compute)?;
    let template = model.chat_template()?.ok_or_else(|| model::no_template(&arguments.model.model))?;
    let settings = Settings::new(&arguments.sampling, &model.generation);
    settings.tell_seed(&arguments.sampling);
    let cancel = interrupt::listen(Second::Exits)?;
    let mut lines = Lines::new()?;
    if lines.is_terminal() {
        output::note(&format!("{}, context {} tokens; /help lists the commands", model.name, model.context));
    }

    let options = GenerateOptions {
        max_tokens: arguments.max_tokens,
        sampler: settings.options(),
        stop: StopOptions::default(),
    };
    let mut chat = Chat::new(arguments.system.as_deref(), template, model.tokenizer.clone());
    let mut session = model.session()?;
    while let Some(line) = lines.next()? {
        match line.trim() {
            "" => {}
            "/exit" | "/quit" => break,
            "/reset" => chat.reset(),
            "/help" => output::note(&format!("commands\n{HELP}")),
            command if command.starts_with('/') && !command.contains(' ') => {
                output::note(&format!("no command {command}; /help lists them"));
            }
            message => match chat.answer(&mut session, message, &options, &cancel) {
                Ok(()) => {}
                // A conversation that has become too long is no reason to end; a closed pipe is.
                Err(error) if lines.is_terminal() && !crate::is_broken_pipe(&error) => {
                    output::note(&format!("{error:#}; /reset begins anew"));
                }
                Err(error) => return Err(error),
            },
        }
        // From a pipe, Ctrl-C ends the conversation; on a terminal it ended only the answer.
        if cancel.swap(false, Ordering::SeqCst) && !lines.is_terminal() {
            return Err(interrupt::Interrupted.into());
        }
    }
    Ok(())
}

/// The conversation so far.
struct Chat {
    system: Option<Value>,
    messages: Vec<Value>,
    template: ChatTemplate,
    tokenizer: Tokenizer,
}

impl Chat {
    fn new(system: Option<&str>, template: ChatTemplate, tokenizer: Tokenizer) -> Self {
        let system = system.map(|text| json!({"role": "system", "content": text}));
        let messages = system.iter().cloned().collect();
        Chat { system, messages, template, tokenizer }
    }

    fn reset(&mut self) {
        self.messages = self.system.iter().cloned().collect();
    }

    /// Sends a message and prints the answer; on failure the conversation is as it was before.
    fn answer(
        &mut self,
        session: &mut Session<'_>,
        message: &str,
        options: &GenerateOptions,
        cancel: &AtomicBool,
    ) -> anyhow::Result<()> {
        let before = self.messages.len();
        self.messages.push(json!({"role": "user", "content": message}));
        let answer = match self.generate(session, options, cancel) {
            Ok(answer) => answer,
            Err(error) => {
                self.messages.truncate(before);
                return Err(error);
            }
        };
        self.messages.push(json!({"role": "assistant", "content": answer.text}));
        output::text_out("\n")?;
        if answer.finish_reason == FinishReason::Length {
            output::note("the answer ends here for lack of room (see --max-tokens and --context)");
        }
        Ok(())
    }

    fn generate(
        &self,
        session: &mut Session<'_>,
        options: &GenerateOptions,
        cancel: &AtomicBool,
    ) -> anyhow::Result<Generated> {
        let text = self.template.render(&self.messages, None, true)?;
        let ids = self.tokenizer.encode(&text, false)?;
        let mut written = Ok(());
        let answer = session.generate(&ids, options, cancel, &mut |piece| {
            written = output::text_out(piece);
            written.is_ok()
        })?;
        written?;
        Ok(answer)
    }
}

/// Where messages come from.
enum Lines {
    Terminal(Box<DefaultEditor>),
    Pipe(io::Lines<io::StdinLock<'static>>),
}

impl Lines {
    fn new() -> anyhow::Result<Self> {
        if io::stdin().is_terminal() {
            let editor = DefaultEditor::new().context("cannot use the terminal")?;
            return Ok(Lines::Terminal(Box::new(editor)));
        }
        Ok(Lines::Pipe(io::stdin().lock().lines()))
    }

    fn is_terminal(&self) -> bool {
        matches!(self, Lines::Terminal(_))
    }

    /// The next line, or nothing at the end of the input and after Ctrl-C at the prompt.
    fn next(&mut self) -> anyhow::Result<Option<String>> {
        match self {
            Lines::Terminal(editor) => match editor.readline("> ") {
                Ok(line) => {
                    // A line that is not kept in the history is no loss worth a message.
                    let _ = editor.add_history_entry(line.as_str());
                    Ok(Some(line))
                }
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
                Err(error) => Err(error).context("cannot read the terminal"),
            },
            Lines::Pipe(lines) => lines.next().transpose().context("cannot read standard input"),
        }
    }
}
