//! Chat templates, rendered by `minijinja` in Hugging Face's environment.
//!
//! The environment is that of `apply_chat_template`: `trim_blocks`, `lstrip_blocks`, loop controls, Python's string
//! methods, `raise_exception`, `strftime_now` and a `tojson` that writes what Python's `json.dumps` writes.

mod python;

use crate::tokenizer::special_token;
use crate::{Error, Result, TokenizerFiles};
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Name of the template that is used when the checkpoint has several and tools are given.
const TOOL_USE: &str = "tool_use";
const DEFAULT: &str = "default";

/// Special tokens that a template may name.
const SPECIAL_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A checkpoint's chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// The template of chat_template.jinja or else of tokenizer_config.json; `None` if there is none.
    pub fn from_files(files: &TokenizerFiles) -> Result<Option<Self>> {
        let config = files.config()?;
        let sources = match (&files.chat_template, &config["chat_template"]) {
            (Some(text), _) => vec![(DEFAULT.to_owned(), text.clone())],
            (None, Value::String(text)) => vec![(DEFAULT.to_owned(), text.clone())],
            (None, Value::Array(list)) => list.iter().map(named).collect::<Result<_>>()?,
            (None, Value::Null) => return Ok(None),
            (None, other) => {
                return Err(template_error(format!(
                    "\"chat_template\" in tokenizer_config.json is {other}, expected text or a list of named templates"
                )));
            }
        };
        let special_tokens = SPECIAL_TOKENS
            .iter()
            .filter_map(|key| Some((key.to_string(), special_token(&config, key)?.to_owned())))
            .collect();
        let mut environment = python::environment();
        for (name, source) in sources {
            let source = python::without_generation_tags(&source);
            environment.add_template_owned(name, source).map_err(|e| template_error(describe(&e)))?;
        }
        Ok(Some(ChatTemplate { environment, special_tokens }))
    }

    /// The text of a conversation. `messages` are objects with `role` and `content` (and `tool_calls`); `tools` is a
    /// list of function signatures. Arguments of tool calls that are JSON text become objects first, as the
    /// templates expect.
    pub fn render(
        &self,
        messages: &[Value],
        tools: Option<&Value>,
        add_generation_prompt: bool,
    ) -> Result<String> {
        let messages: Vec<Value> = messages.iter().map(with_parsed_arguments).collect();
        let named = |name| self.environment.get_template(name).ok();
        let template = tools.and_then(|_| named(TOOL_USE)).or_else(|| named(DEFAULT)).ok_or_else(|| {
            template_error(
                "none of the named templates is called \"default\"; add one to tokenizer_config.json".into(),
            )
        })?;
        let mut values = serde_json::json!({
            "messages": messages,
            "tools": tools,
            "documents": null,
            "add_generation_prompt": add_generation_prompt,
        });
        for (name, token) in &self.special_tokens {
            values[name] = Value::from(token.as_str());
        }
        template.render(Serde(values)).map_err(|e| match raised(&e) {
            Some(message) => Error::TemplateRaised { message },
            None => template_error(describe(&e)),
        })
    }
}

/// One entry of the list form of `chat_template`.
fn named(entry: &Value) -> Result<(String, String)> {
    match (entry["name"].as_str(), entry["template"].as_str()) {
        (Some(name), Some(template)) => Ok((name.to_owned(), template.to_owned())),
        _ => Err(template_error(
            "an entry of \"chat_template\" in tokenizer_config.json lacks \"name\" or \"template\"".into(),
        )),
    }
}

fn with_parsed_arguments(message: &Value) -> Value {
    let mut message = message.clone();
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    for call in calls.into_iter().flatten() {
        let function = if call.get("function").is_some() { call.get_mut("function") } else { Some(call) };
        let Some(arguments) = function.and_then(|f| f.get_mut("arguments")) else { continue };
        if let Some(object @ Value::Object(_)) =
            arguments.as_str().and_then(|text| serde_json::from_str(text).ok())
        {
            *arguments = object;
        }
    }
    message
}

/// The argument of `raise_exception`, carried through minijinja as the source of its error.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn raised(error: &minijinja::Error) -> Option<String> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(Raised(message)) = error.downcast_ref() {
            return Some(message.clone());
        }
        source = error.source();
    }
    None
}

fn raise_exception(message: String) -> std::result::Result<String, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Raised(message)))
}

fn template_error(detail: String) -> Error {
    Error::Template { detail }
}

/// What and where, on one line.
fn describe(error: &minijinja::Error) -> String {
    let mut text = error.kind().to_string();
    if let Some(detail) = error.detail() {
        text = format!("{text}: {detail}");
    }
    if let Some(line) = error.line() {
        text = format!("{text} (line {line})");
    }
    text
}
