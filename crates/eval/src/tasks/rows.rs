//! Files of one JSON object a line, read so that every complaint names the line.

use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

/// An item's line.
pub(super) struct Row<'a> {
    path: &'a Path,
    pub line: usize,
    value: Value,
}

/// The error of a line of a file.
pub(crate) fn data_error(path: &Path, line: usize, problem: impl Into<String>) -> Error {
    Error::Data { path: path.to_owned(), place: format!("line {line}"), problem: problem.into() }
}

/// The bytes of a file as text, without a byte order mark.
///
/// # Errors
/// Bytes that are not UTF-8, named by their line.
pub(crate) fn decode<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let kind = match bytes {
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => "UTF-16",
            _ => "not UTF-8",
        };
        data_error(
            path,
            line,
            format!("the file is {kind} text, UTF-8 is expected: convert it, for example with iconv"),
        )
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The rows of a JSONL file; empty lines count but hold nothing.
pub(super) fn rows<'a>(path: &'a Path, bytes: &[u8]) -> Result<Vec<Row<'a>>> {
    let mut rows = Vec::new();
    for (index, text) in decode(path, bytes)?.lines().enumerate() {
        let line = index + 1;
        if text.trim().is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(text).map_err(|error| {
            let at = error.column();
            data_error(path, line, format!("column {at} is not JSON; one object a line (JSONL) is expected"))
        })?;
        if !value.is_object() {
            return Err(data_error(path, line, "a JSON object is expected, one a line"));
        }
        rows.push(Row { path, line, value });
    }
    if rows.is_empty() {
        return Err(data_error(path, 1, "the file is empty, one JSON object a line is expected"));
    }
    Ok(rows)
}

impl Row<'_> {
    /// An error of this row.
    pub fn error(&self, problem: impl Into<String>) -> Error {
        data_error(self.path, self.line, problem)
    }

    /// A value, if it is there.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.value.get(name)
    }

    /// A text that must be there and not be blank.
    pub fn text(&self, name: &str) -> Result<String> {
        self.text_of(self.get(name), name)
    }

    /// The same of a value inside the row.
    pub fn text_of(&self, value: Option<&Value>, name: &str) -> Result<String> {
        match value {
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
            Some(Value::String(_)) => Err(self.error(format!("{name:?} is empty"))),
            Some(other) => Err(self.error(format!("{name:?} is {}, a text is expected", brief(other)))),
            None => Err(self.error(format!("there is no {name:?}{}", self.columns()))),
        }
    }

    /// A list of texts that must be there and not be blank.
    pub fn texts_of(&self, value: Option<&Value>, name: &str) -> Result<Vec<String>> {
        match value {
            Some(Value::Array(list)) => list.iter().map(|entry| self.text_of(Some(entry), name)).collect(),
            Some(other) => Err(self.error(format!("{name:?} is {}, a list is expected", brief(other)))),
            None => Err(self.error(format!("there is no {name:?}{}", self.columns()))),
        }
    }

    /// A label that must be there and be a whole number below `count`; as a number or as text.
    pub fn label(&self, name: &str, count: usize) -> Result<usize> {
        let value = self.get(name);
        let number = match value {
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.parse().ok(),
            Some(_) => None,
            None => return Err(self.error(format!("there is no {name:?}{}", self.columns()))),
        };
        let label = number.and_then(|number| usize::try_from(number).ok()).filter(|&label| label < count);
        label.ok_or_else(|| {
            let found = value.map(brief).unwrap_or_default();
            self.error(format!("{name:?} is {found}, expected 0 to {}", count.saturating_sub(1)))
        })
    }

    /// The row's own name, else the number of its line.
    pub fn id(&self) -> String {
        match self.get("id") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => self.line.to_string(),
        }
    }

    /// What there is instead of what is missing.
    fn columns(&self) -> String {
        let names: Vec<String> = self
            .value
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys())
            .map(|key| format!("{key:?}"))
            .collect();
        if names.is_empty() { String::new() } else { format!(", only {}", names.join(", ")) }
    }
}

/// A value short enough for a message.
fn brief(value: &Value) -> String {
    const MOST: usize = 40;
    let text = value.to_string();
    if text.chars().count() <= MOST {
        return text;
    }
    let start: String = text.chars().take(MOST).collect();
    format!("{start}...")
}
