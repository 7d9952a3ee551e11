//! `edgewen tokenize`: what the model sees of a text or a conversation.

use std::path::Path;

use anyhow::{Context, anyhow, bail};
use edgewen_model::{ChatTemplate, Tokenizer, TokenizerFiles};
use serde::Serialize;
use serde_json::Value;

use crate::args::TokenizeArgs;
use crate::input;
use crate::model::{self, Source};
use crate::output::{self, Align, Table};

#[derive(Serialize)]
struct Tokens {
    model: String,
    text: String,
    ids: Vec<u32>,
    pieces: Vec<String>,
}

/// Prints ids and pieces.
pub fn run(arguments: &TokenizeArgs) -> anyhow::Result<()> {
    let model = &arguments.model.model;
    let (tokenizer, template) = tokenizer_and_template(model)?;
    let (text, ids) = match &arguments.chat {
        Some(path) => {
            let template = template?.ok_or_else(|| model::no_template(model))?;
            let text = conversation(path)?.render(&template)?;
            // The template writes the special tokens itself.
            let ids = tokenizer.encode(&text, false)?;
            (text, ids)
        }
        None => {
            let text = input::text(arguments.text.as_deref(), None, "text")?;
            let ids = tokenizer.encode(&text, true)?;
            (text, ids)
        }
    };
    let pieces: Vec<String> = ids.iter().map(|&id| tokenizer.piece(id).unwrap_or_default()).collect();

    if arguments.json {
        return output::json(&Tokens { model: model.clone(), text, ids, pieces });
    }
    let mut out = String::new();
    if arguments.chat.is_some() {
        out.push_str(&text);
        out.push_str("\n\n");
    }
    let mut table = Table::new([("id", Align::Right), ("piece", Align::Left)]);
    for (id, piece) in ids.iter().zip(&pieces) {
        table.row([id.to_string(), piece.clone()]);
    }
    out.push_str(&table.render());
    output::text_out(&out)
}

/// The template comes as a result of its own: a text can be tokenized although the template is broken.
type Template = anyhow::Result<Option<ChatTemplate>>;

fn tokenizer_and_template(model: &str) -> anyhow::Result<(Tokenizer, Template)> {
    if model != model::DEMO_NAME && Path::new(model).is_dir() {
        // Only the tokenizer's files are needed, so a directory without weights will do.
        let files = TokenizerFiles::from_dir(Path::new(model))?;
        return Ok((Tokenizer::from_files(&files)?, ChatTemplate::from_files(&files).map_err(Into::into)));
    }
    match Source::open(model)? {
        Source::Packed(file) => Ok((file.tokenizer()?, file.chat_template().map_err(Into::into))),
        Source::Checkpoint(_) => unreachable!("a directory was handled above"),
    }
}

/// A messages file: the arguments of the template.
struct Conversation {
    messages: Vec<Value>,
    tools: Option<Value>,
    add_generation_prompt: bool,
}

impl Conversation {
    fn render(&self, template: &ChatTemplate) -> anyhow::Result<String> {
        Ok(template.render(&self.messages, self.tools.as_ref(), self.add_generation_prompt)?)
    }
}

fn conversation(path: &Path) -> anyhow::Result<Conversation> {
    let text = input::read_text(path)?;
    let name = path.display();
    let value: Value = serde_json::from_str(&text).with_context(|| format!("{name} is not JSON"))?;
    let (messages, tools, add_generation_prompt) = match value {
        Value::Array(messages) => (messages, None, true),
        Value::Object(mut object) => {
            let Some(Value::Array(messages)) = object.remove("messages") else {
                bail!("{name} has no list `messages`");
            };
            let tools = object.remove("tools").filter(|tools| !tools.is_null());
            let add = match object.remove("add_generation_prompt") {
                None => true,
                Some(value) => value.as_bool().ok_or_else(|| {
                    anyhow!("{name}: `add_generation_prompt` is {value}, expected true or false")
                })?,
            };
            (messages, tools, add)
        }
        _ => bail!("{name} holds neither a list of messages nor an object with `messages`"),
    };
    for (index, message) in messages.iter().enumerate() {
        if !message.get("role").is_some_and(Value::is_string) {
            bail!(
                "{name}: message {index} has no `role`; a message is {{\"role\": \"user\", \"content\": \"...\"}}"
            );
        }
    }
    Ok(Conversation { messages, tools, add_generation_prompt })
}
