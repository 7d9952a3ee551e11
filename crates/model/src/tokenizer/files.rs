//! The files that make up a tokenizer, and what edgewen takes from them.

use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// The contents of a tokenizer's files: all that a packed file has to carry.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizerFiles {
    /// tokenizer.json.
    pub tokenizer_json: Vec<u8>,
    /// tokenizer_config.json.
    pub tokenizer_config: Option<String>,
    /// chat_template.jinja.
    pub chat_template: Option<String>,
}

impl TokenizerFiles {
    /// Reads the files from a directory; only tokenizer.json must be there.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        let Some(tokenizer_json) = read_optional(&path)? else {
            let old = ["vocab.json", "merges.txt", "tokenizer.model"];
            let hint = match old.iter().find(|name| dir.join(name).exists()) {
                Some(name) => format!(", or make it from {name} with transformers' save_pretrained"),
                None => String::new(),
            };
            return Err(Error::NoTokenizer { dir: dir.to_owned(), hint });
        };
        if tokenizer_json.starts_with(b"version https://git-lfs") {
            let found = tokenizer_json.len() as u64;
            return Err(Error::LfsPointer { path, found, expected: String::new() });
        }
        let text = |name: &str| -> Result<Option<String>> {
            let path = dir.join(name);
            let Some(bytes) = read_optional(&path)? else { return Ok(None) };
            String::from_utf8(bytes).map(Some).map_err(|e| Error::Json { path, detail: e.to_string() })
        };
        let files = TokenizerFiles {
            tokenizer_json,
            tokenizer_config: text("tokenizer_config.json")?,
            chat_template: text("chat_template.jinja")?,
        };
        files.config()?;
        Ok(files)
    }

    /// tokenizer_config.json as a value; an empty object if absent.
    pub(crate) fn config(&self) -> Result<Value> {
        let Some(text) = &self.tokenizer_config else { return Ok(Value::Object(Default::default())) };
        let wrong = |detail: String| Error::Json { path: "tokenizer_config.json".into(), detail };
        match serde_json::from_str(text) {
            Ok(value @ Value::Object(_)) => Ok(value),
            Ok(_) => Err(wrong("not a JSON object".into())),
            Err(e) => Err(wrong(e.to_string())),
        }
    }
}

/// A special token of tokenizer_config.json: a string, or an object with `content`.
pub(crate) fn special_token<'a>(config: &'a Value, key: &str) -> Option<&'a str> {
    match config.get(key)? {
        Value::String(text) => Some(text),
        Value::Object(object) => object.get("content")?.as_str(),
        _ => None,
    }
}

fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path, e)),
    }
}
