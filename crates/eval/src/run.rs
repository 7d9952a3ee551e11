//! A measurement that can be stopped and continued.
//!
//! Its file is JSON Lines: first a header that says what is measured on what and how, then one line an item, each
//! written whole before the next is computed. A run that was killed leaves at most one torn line, which is dropped
//! when it is continued. A file whose header differs is never continued: the error names what changed.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Identity, Result};

/// How a header begins, to tell a torn one from a file of something else.
const HEADER_START: &[u8] = br#"{"kind":"#;

/// What a run's file begins with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// What is measured: "perplexity", "kl", "wnli" and so on.
    pub kind: String,
    /// Version of edgewen.
    pub edgewen: String,
    /// The measured model.
    pub model: Identity,
    /// What it is measured against, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Identity>,
    /// The text or the items.
    pub data: Identity,
    /// Everything else that the figures depend on.
    pub protocol: Value,
    /// What they do not depend on: device, threads. A run may be continued under other settings.
    #[serde(default)]
    pub settings: Value,
}

impl Header {
    /// A header for this version of edgewen.
    pub fn new(kind: &str, model: Identity, data: Identity, protocol: Value) -> Self {
        Self {
            kind: kind.to_string(),
            edgewen: env!("CARGO_PKG_VERSION").to_string(),
            model,
            reference: None,
            data,
            protocol,
            settings: Value::Null,
        }
    }

    /// The same against a reference.
    pub fn with_reference(mut self, reference: Identity) -> Self {
        self.reference = Some(reference);
        self
    }

    /// The same with settings that change no figure.
    pub fn with_settings(mut self, settings: Value) -> Self {
        self.settings = settings;
        self
    }

    /// The first thing in which two headers differ: its name, and how it was and is. Names of files do not count.
    fn difference(&self, now: &Self) -> Option<(&'static str, String, String)> {
        let differs =
            |what, was: &str, is: &str| (was != is).then(|| (what, was.to_string(), is.to_string()));
        let model = |what, was: &Identity, is: &Identity| {
            (was.sha256 != is.sha256).then(|| (what, was.short(), is.short()))
        };
        let none = || "none".to_string();
        let reference = match (&self.reference, &now.reference) {
            (Some(was), Some(is)) => model("the reference", was, is),
            (None, None) => None,
            (was, is) => {
                let text = |identity: &Option<Identity>| identity.as_ref().map_or_else(none, Identity::short);
                Some(("the reference", text(was), text(is)))
            }
        };
        differs("the kind of measurement", &self.kind, &now.kind)
            .or_else(|| model("the model", &self.model, &now.model))
            .or(reference)
            .or_else(|| model("the data", &self.data, &now.data))
            .or_else(|| protocol_difference(&self.protocol, &now.protocol))
            .or_else(|| differs("the version of edgewen", &self.edgewen, &now.edgewen))
    }
}

/// Names only the fields that differ: a whole protocol is too long to compare by eye.
fn protocol_difference(was: &Value, is: &Value) -> Option<(&'static str, String, String)> {
    if was == is {
        return None;
    }
    let (Some(a), Some(b)) = (was.as_object(), is.as_object()) else {
        return Some(("the protocol", was.to_string(), is.to_string()));
    };
    let keys: Vec<&String> = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).collect();
    let text = |map: &serde_json::Map<String, Value>| {
        let changed = keys.iter().filter(|key| a.get(**key) != b.get(**key));
        changed
            .map(|key| format!("{key} {}", map.get(*key).unwrap_or(&Value::Null)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    Some(("the protocol", text(a), text(b)))
}

/// A run: the items that are done, and where the next ones go.
#[derive(Debug)]
pub struct Run {
    file: Option<(File, PathBuf)>,
    /// Bytes of whole lines in the file.
    bytes: u64,
    done: Vec<Value>,
    continued: usize,
}

impl Run {
    /// A run whose items are only kept in memory.
    pub fn in_memory() -> Self {
        Self { file: None, bytes: 0, done: Vec::new(), continued: 0 }
    }

    /// Begins a run, or continues the one in the file at `path`; without a path the items are only kept in memory.
    /// `restart` overwrites what is there.
    ///
    /// # Errors
    /// A file that belongs to another measurement, is in use by another run, is damaged or cannot be written.
    pub fn open(path: Option<&Path>, header: &Header, restart: bool) -> Result<Self> {
        let mut run = Self::in_memory();
        let Some(path) = path else { return Ok(run) };
        let failed = |error| Error::io("write", path, error);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(failed)?;
        // A pipe or a device cannot be read back: it is only written.
        let is_file = file.metadata().map_err(failed)?.is_file();
        if is_file && file.try_lock().is_err() {
            return Err(Error::Damaged {
                path: path.to_owned(),
                line: 1,
                problem: "another run is writing this file".to_string(),
            });
        }
        if is_file && !restart {
            (run.done, run.bytes) = read(&file, path, header)?;
            run.continued = run.done.len();
        }
        if is_file {
            file.set_len(run.bytes).map_err(failed)?;
        }
        run.file = Some((file, path.to_owned()));
        if run.bytes == 0 {
            run.write(header)?;
        }
        Ok(run)
    }

    /// The finished items, in order: those of earlier sessions first.
    pub fn done(&self) -> &[Value] {
        &self.done
    }

    /// How many of them were there when the run was opened.
    pub fn continued(&self) -> usize {
        self.continued
    }

    /// The finished items as what they are.
    ///
    /// # Errors
    /// An item that is not of that type.
    pub fn items<T: for<'a> Deserialize<'a>>(&self) -> Result<Vec<T>> {
        let path = self.file.as_ref().map(|(_, path)| path.clone()).unwrap_or_default();
        let item = |(index, value)| {
            T::deserialize(value).map_err(|error: serde_json::Error| Error::Damaged {
                path: path.clone(),
                line: index + 2,
                problem: format!("is no item of this measurement ({error})"),
            })
        };
        self.done.iter().enumerate().map(item).collect()
    }

    /// Adds a finished item and writes its line.
    ///
    /// # Errors
    /// A file that cannot be written: the items before this one stay and the run can be continued.
    ///
    /// # Panics
    /// If the item has no JSON form: its type is wrong, not its value.
    pub fn push<T: Serialize>(&mut self, item: &T) -> Result<()> {
        let value = serde_json::to_value(item).expect("items are plain structures");
        self.write(&value)?;
        self.done.push(value);
        Ok(())
    }

    fn write<T: Serialize>(&mut self, value: &T) -> Result<()> {
        let Some((file, path)) = &mut self.file else { return Ok(()) };
        let mut line = serde_json::to_vec(value).expect("headers and items are plain structures");
        line.push(b'\n');
        let written = file.seek(SeekFrom::Start(self.bytes)).or(Ok(0)).and_then(|_| file.write_all(&line));
        if let Err(error) = written {
            // Best effort: a torn line is dropped on reading too.
            let _ = file.set_len(self.bytes);
            return Err(Error::io("write", path, error));
        }
        self.bytes += line.len() as u64;
        Ok(())
    }
}

/// The items of a file and the bytes of its whole lines; nothing of either if the file is empty or holds only a torn
/// header.
fn read(file: &File, path: &Path, header: &Header) -> Result<(Vec<Value>, u64)> {
    let mut reader = BufReader::new(file);
    let (mut items, mut bytes) = (Vec::new(), 0);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let count = reader.read_until(b'\n', &mut line).map_err(|error| Error::io("read", path, error))?;
        let torn = line.last() != Some(&b'\n');
        if count == 0 || (torn && 1 < number) {
            break;
        }
        let damaged = |problem: &str| Error::Damaged {
            path: path.to_owned(),
            line: number,
            problem: problem.to_string(),
        };
        if number == 1 {
            if torn && (line.starts_with(HEADER_START) || HEADER_START.starts_with(&line)) {
                break;
            }
            let found = serde_json::from_slice::<Header>(&line)
                .map_err(|_| damaged("is no header of a measurement"))?;
            if let Some((what, was, is)) = found.difference(header) {
                return Err(Error::Changed { path: path.to_owned(), what, was, is });
            }
        } else {
            items.push(serde_json::from_slice(&line).map_err(|_| damaged("is not JSON"))?);
        }
        bytes += count as u64;
    }
    Ok((items, bytes))
}
