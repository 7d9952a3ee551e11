//! Logits of a reference, computed now or stored before.
//!
//! Stored, they are a safetensors file: `tokens` i64 [all tokens of all windows], `windows` i64 [windows, 3] with
//! each one's document, number of tokens and first predicted token, and `logits` f32 [predictions, vocabulary] in
//! order; the metadata says of which model, text and protocol they are. A file of `edgewen logits`, which has no
//! `windows`, is one window of which all tokens but the first are predicted. Values are little endian.

mod save;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use save::save;

use crate::kl::Subject;
use crate::windows::Window;
use crate::{Error, Identity, Result};

/// Version of the form that is described above.
const FORMAT: &str = "edgewen reference logits 1";

/// Longest header that is read: one with three tensors is far shorter.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// What a model is measured against.
pub enum Reference<'a> {
    /// A model that runs beside it.
    Model(Subject<'a>),
    /// Logits of one that ran before.
    Stored(&'a mut Stored),
}

impl Reference<'_> {
    /// What the user called it.
    pub fn name(&self) -> &str {
        match self {
            Self::Model(model) => model.name,
            Self::Stored(stored) => &stored.identity.name,
        }
    }

    /// Logits in a row.
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Model(model) => model.backend.config().vocab_size,
            Self::Stored(stored) => stored.vocabulary,
        }
    }
}

/// What stored logits are of, where the file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The model.
    pub model: Identity,
    /// The text.
    pub data: Identity,
    /// How it was cut.
    pub protocol: Value,
}

/// A file of logits.
#[derive(Debug)]
pub struct Stored {
    identity: Identity,
    origin: Option<Origin>,
    windows: Vec<Window>,
    vocabulary: usize,
    path: PathBuf,
    file: File,
    /// Offset of the first logit, and of each window its first row.
    logits_at: u64,
    first_rows: Vec<usize>,
    buffer: Vec<f32>,
    bytes: Vec<u8>,
}

/// Where a tensor lies in the file.
struct Place {
    shape: Vec<usize>,
    at: u64,
}

impl Stored {
    /// Opens a file and reads all of it but the logits.
    ///
    /// # Errors
    /// A file that cannot be read or is not of the form above: the tensor that is wrong is named.
    pub fn open(path: &Path) -> Result<Self> {
        let wrong = |place: &str, problem: &str| Error::Data {
            path: path.to_owned(),
            place: place.to_string(),
            problem: problem.to_string(),
        };
        let failed = |error| Error::io("read", path, error);
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut size = [0; 8];
        if length < 8 {
            return Err(wrong("header", "too short for a safetensors file"));
        }
        file.read_exact(&mut size).map_err(failed)?;
        let header_bytes = u64::from_le_bytes(size);
        if MAX_HEADER_BYTES < header_bytes || length - 8 < header_bytes {
            return Err(wrong("header", "not a safetensors file with stored logits"));
        }
        let mut header_text = vec![0; header_bytes as usize];
        file.read_exact(&mut header_text).map_err(failed)?;
        let header: Value = serde_json::from_slice(&header_text).map_err(|_| wrong("header", "not JSON"))?;
        let place = |name: &str, dtype: &str, dimensions: usize, width: u64| {
            place(&header[name], dtype, dimensions, width, 8 + header_bytes, length)
                .map_err(|problem| wrong(name, &problem))
        };
        let tokens = place("tokens", "I64", 1, 8)?;
        let logits = place("logits", "F32", 2, 4)?;
        let mut integers = |place: &Place| -> Result<Vec<u32>> {
            let mut bytes = vec![0; 8 * place.shape.iter().product::<usize>()];
            file.seek(SeekFrom::Start(place.at)).map_err(failed)?;
            file.read_exact(&mut bytes).map_err(failed)?;
            let (values, _) = bytes.as_chunks::<8>();
            let value = |bytes: &[u8; 8]| u32::try_from(i64::from_le_bytes(*bytes)).ok();
            let values: Option<Vec<u32>> = values.iter().map(value).collect();
            values.ok_or_else(|| wrong("tokens", "hold a value that is no token id"))
        };
        let ids = integers(&tokens)?;
        let vocabulary = logits.shape[1];
        if ids.iter().any(|&id| vocabulary <= id as usize) {
            return Err(wrong("tokens", "hold an id outside the vocabulary of the logits"));
        }
        let origin = origin(&header["__metadata__"]);
        let windows = if header.get("windows").is_some() {
            let place = place("windows", "I64", 2, 8)?;
            if place.shape[1] != 3 {
                return Err(wrong("windows", "expected three numbers a window"));
            }
            let table = integers(&place)?;
            windows(&ids, &table).ok_or_else(|| wrong("windows", "do not fit the tokens"))?
        } else {
            if ids.len() < 2 {
                return Err(wrong("tokens", "at least two are needed: there is nothing to predict"));
            }
            vec![Window { document: 0, tokens: ids.clone(), scored: 1 }]
        };
        let mut first_rows = Vec::new();
        let mut rows = 0;
        for window in &windows {
            first_rows.push(rows);
            rows += window.predictions();
        }
        // A plain file also has the row after the last token.
        let plain = header.get("windows").is_none();
        if logits.shape[0] != rows + usize::from(plain) {
            return Err(wrong("logits", &format!("have {} rows, expected {rows}", logits.shape[0])));
        }
        let name = path.display().to_string();
        let identity = match &origin {
            // The header names model, text and protocol by their hashes: no need to read gigabytes.
            Some(_) => Identity::of_bytes(name, &header_text),
            None => Identity::of_file(path)?,
        };
        let path = path.to_owned();
        let (buffer, bytes) = (Vec::new(), Vec::new());
        let logits_at = logits.at;
        Ok(Self { identity, origin, windows, vocabulary, path, file, logits_at, first_rows, buffer, bytes })
    }

    /// The file, by its contents.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What the logits are of; nothing for a file of `edgewen logits`.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// The windows that were computed.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Logits in a row.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Rows of the window `index`; row `t` predicts token `t + 1`.
    pub(crate) fn rows(&mut self, index: usize, window: &Window, rows: Range<usize>) -> Result<&[f32]> {
        let failed = |error| Error::io("read", &self.path, error);
        let first = self.first_rows[index] + rows.start - (window.scored - 1);
        let row_bytes = 4 * self.vocabulary;
        self.bytes.resize(rows.len() * row_bytes, 0);
        let at = self.logits_at + (first * row_bytes) as u64;
        self.file.seek(SeekFrom::Start(at)).map_err(failed)?;
        self.file.read_exact(&mut self.bytes).map_err(failed)?;
        let (words, _) = self.bytes.as_chunks::<4>();
        self.buffer.clear();
        self.buffer.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
        Ok(&self.buffer)
    }
}

/// Checks a tensor's entry against the file.
fn place(
    entry: &Value,
    dtype: &str,
    dimensions: usize,
    width: u64,
    data_at: u64,
    length: u64,
) -> std::result::Result<Place, String> {
    let number = |value: &Value| value.as_u64();
    if entry["dtype"] != dtype {
        return Err(format!("expected a tensor of {dtype}: give a file of stored logits"));
    }
    let shape: Option<Vec<u64>> =
        entry["shape"].as_array().map(|list| list.iter().filter_map(number).collect());
    let shape = shape.filter(|shape| shape.len() == dimensions).ok_or("has an unexpected shape")?;
    let offsets = (number(&entry["data_offsets"][0]), number(&entry["data_offsets"][1]));
    let (Some(start), Some(end)) = offsets else { return Err("has no data_offsets".to_string()) };
    let bytes = shape.iter().try_fold(width, |product, &n| product.checked_mul(n));
    if bytes.is_none()
        || end.checked_sub(start) != bytes
        || end.checked_add(data_at).is_none_or(|end| length < end)
    {
        return Err("lies outside the file: it is cut off or damaged".to_string());
    }
    Ok(Place { shape: shape.into_iter().map(|n| n as usize).collect(), at: data_at + start })
}

/// The windows of a table; `None` if it does not fit the tokens.
fn windows(tokens: &[u32], table: &[u32]) -> Option<Vec<Window>> {
    let (mut rest, mut windows) = (tokens, Vec::new());
    for entry in table.chunks_exact(3) {
        let (document, len, scored) = (entry[0] as usize, entry[1] as usize, entry[2] as usize);
        let (tokens, after) = rest.split_at_checked(len)?;
        if scored == 0 || len <= scored {
            return None;
        }
        windows.push(Window { document, tokens: tokens.to_vec(), scored });
        rest = after;
    }
    (rest.is_empty() && !windows.is_empty()).then_some(windows)
}

fn origin(metadata: &Value) -> Option<Origin> {
    let part = |key: &str| serde_json::from_str::<Value>(metadata[key].as_str()?).ok();
    if metadata["format"] != FORMAT {
        return None;
    }
    let identity = |key: &str| serde_json::from_value(part(key)?).ok();
    Some(Origin { model: identity("model")?, data: identity("data")?, protocol: part("protocol")? })
}
