//! The rules for the JSON part: nothing of a packed file is used before all of them hold.

use super::HEADER_BYTES;
use super::header::FixedHeader;
use super::layout_rules::{ALIGNMENT, all_tensors, kind_problem, version_of};
use super::metadata::{Metadata, TensorEntry, port_ranges};
use crate::config::Invalid;
use crate::{Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// Files of the tokenizer, in file order; the first must be there.
pub(super) const BLOBS: [&str; 3] = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];

/// No inflated file may be larger.
pub(super) const MAX_INFLATED_BYTES: u64 = 256 << 20;

/// Parses and checks the JSON part.
pub(super) fn read_metadata(path: &Path, header: &FixedHeader, json: &[u8]) -> Result<Metadata> {
    let wrong = |detail: String| Error::Metadata { path: path.to_owned(), detail };
    let metadata: Metadata = serde_json::from_slice(json).map_err(|e| wrong(e.to_string()))?;
    metadata.config.check().map_err(|Invalid { key, found, expected }| {
        wrong(format!("\"{key}\" is {found}, expected {expected}"))
    })?;
    check_tensors(path, &metadata, header.version)?;
    check_blobs(&metadata).map_err(wrong)?;
    check_places(path, header, &metadata)?;
    if metadata.ports != port_ranges(&metadata.tensors) {
        return Err(wrong("\"ports\" does not follow from the tensors".into()));
    }
    Ok(metadata)
}

/// Every tensor of the model once, with its shape, a kind that it may have in this version of the format, and the right
/// number of bytes.
fn check_tensors(path: &Path, metadata: &Metadata, version: u32) -> Result<()> {
    let wrong = |tensor: &str, detail: String| Error::PackedTensor {
        path: path.to_owned(),
        tensor: tensor.into(),
        detail,
    };
    let known = all_tensors(&metadata.config);
    let mut expected: HashMap<&str, &[usize]> =
        known.iter().map(|(name, shape, _)| (name.as_str(), shape.as_slice())).collect();
    let total = known.iter().filter(|(.., required)| *required).count();
    for tensor in &metadata.tensors {
        let TensorEntry { name, kind, shape, bytes, sha256, .. } = tensor;
        let Some(right) = expected.remove(name.as_str()) else {
            let times = metadata.tensors.iter().filter(|t| t.name == *name).count();
            let detail = match times {
                1 => format!("not one of the {total} tensors of this model"),
                _ => format!("listed {times} times, expected once"),
            };
            return Err(wrong(name, detail));
        };
        if *shape != right {
            return Err(wrong(name, format!("has shape {shape:?}, the configuration asks for {right:?}")));
        }
        if let Some(allowed) = kind_problem(name, shape, *kind) {
            return Err(wrong(name, format!("is stored as {}, expected {allowed}", kind.name())));
        }
        if version < version_of(*kind) {
            let detail =
                format!("is stored as {}, which format version {version} does not have", kind.name());
            return Err(wrong(name, detail));
        }
        let needed = kind.stored_bytes(shape);
        if needed != Some(*bytes) {
            let needed = needed.map_or("more than there can be".to_owned(), |n| n.to_string());
            return Err(wrong(name, format!("has {bytes} bytes, its shape and kind need {needed}")));
        }
        if !is_sha256(sha256) {
            return Err(wrong(name, format!("has {sha256:?} for a SHA-256")));
        }
    }
    match known.iter().find(|(name, _, required)| *required && expected.contains_key(name.as_str())) {
        None => Ok(()),
        Some((name, ..)) => Err(wrong(name, "missing from the table".into())),
    }
}

fn check_blobs(metadata: &Metadata) -> std::result::Result<(), String> {
    let names: Vec<&str> = metadata.blobs.iter().map(|blob| blob.name.as_str()).collect();
    let right: Vec<&str> = BLOBS.into_iter().filter(|name| names.contains(name)).collect();
    if names != right || names.first() != Some(&BLOBS[0]) {
        return Err(format!(
            "\"blobs\" lists {names:?}, expected {BLOBS:?}, of which the first must be there"
        ));
    }
    for blob in &metadata.blobs {
        if blob.encoding != "zlib" {
            return Err(format!(
                "blob \"{}\" has the encoding {:?}, expected \"zlib\"",
                blob.name, blob.encoding
            ));
        }
        if blob.inflated_bytes > MAX_INFLATED_BYTES {
            return Err(format!(
                "blob \"{}\" inflates to {} bytes, at most {MAX_INFLATED_BYTES} are allowed",
                blob.name, blob.inflated_bytes
            ));
        }
        if !is_sha256(&blob.sha256) {
            return Err(format!("blob \"{}\" has {:?} for a SHA-256", blob.name, blob.sha256));
        }
    }
    Ok(())
}

/// One after the other without overlap, each at the first multiple of 4096 after its predecessor, up to the end.
fn check_places(path: &Path, header: &FixedHeader, metadata: &Metadata) -> Result<()> {
    let wrong = |detail: String| Error::Metadata { path: path.to_owned(), detail };
    let blobs = metadata.blobs.iter().map(|blob| (&blob.name, blob.offset, blob.bytes));
    let tensors = metadata.tensors.iter().map(|tensor| (&tensor.name, tensor.offset, tensor.bytes));
    let mut end = HEADER_BYTES as u64 + header.metadata_bytes;
    for (name, offset, bytes) in blobs.chain(tensors) {
        let right = end.next_multiple_of(ALIGNMENT);
        if offset != right {
            return Err(wrong(format!(
                "\"{name}\" lies at {offset}, expected {right}: overlaps, gaps and unaligned offsets are not allowed"
            )));
        }
        end = match offset.checked_add(bytes) {
            Some(end) if end <= header.file_bytes => end,
            _ => {
                return Err(wrong(format!(
                    "\"{name}\" needs {bytes} bytes at {offset}, the file has {} bytes",
                    header.file_bytes
                )));
            }
        };
    }
    if end.next_multiple_of(ALIGNMENT) != header.file_bytes {
        return Err(wrong(format!(
            "the last tensor ends at {end}, so that the file should have {} bytes, not {}",
            end.next_multiple_of(ALIGNMENT),
            header.file_bytes
        )));
    }
    Ok(())
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
