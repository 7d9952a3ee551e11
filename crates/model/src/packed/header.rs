//! The fixed 64 bytes at the start of a packed file.
//!
//! ```text
//!  0  8  magic "EDGEWEN\0"
//!  8  4  format version, u32
//! 12  4  layout id, u32: the order of the bits of row blocks
//! 16  8  bytes of the JSON part, u64
//! 24  8  bytes of the whole file, u64
//! 32 32  SHA-256 of the JSON part
//! ```
//! Numbers are little endian.

use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::path::Path;

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"EDGEWEN\0";
/// Newest version of the container: header, JSON part, alignment. A file has the lowest version that describes it: 2
/// if it has `segments` or column orders, else 1.
pub const FORMAT_VERSION: u32 = 2;
/// Oldest version that is read.
const OLDEST_VERSION: u32 = 1;
/// Order of the bits of row blocks (`edgewen_layout`).
pub const LAYOUT_ID: u32 = 1;
/// Length of the header.
pub const HEADER_BYTES: usize = 64;

/// Longest JSON part accepted; a real one is below a megabyte.
const MAX_METADATA_BYTES: u64 = 64 << 20;

/// The header's variable fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FixedHeader {
    pub version: u32,
    pub metadata_bytes: u64,
    pub file_bytes: u64,
    pub metadata_sha256: [u8; 32],
}

impl FixedHeader {
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&LAYOUT_ID.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.metadata_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.file_bytes.to_le_bytes());
        bytes[32..64].copy_from_slice(&self.metadata_sha256);
        bytes
    }

    /// Reads and checks the header against the file it is in; returns it with the JSON part.
    pub(super) fn read<'a>(path: &Path, file: &'a [u8]) -> Result<(FixedHeader, &'a [u8])> {
        if !file.starts_with(&MAGIC) {
            return Err(Error::NotPacked { path: path.to_owned(), found: first_bytes(file) });
        }
        let truncated = |expected: u64| Error::PackedLength {
            path: path.to_owned(),
            problem: "truncated",
            expected,
            found: file.len() as u64,
        };
        let Some(bytes) = file.first_chunk::<HEADER_BYTES>() else {
            return Err(truncated(HEADER_BYTES as u64));
        };
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let version = word(8);
        if version > FORMAT_VERSION {
            return Err(Error::NewerVersion {
                path: path.to_owned(),
                found: version,
                supported: FORMAT_VERSION,
            });
        }
        for (what, found, expected) in
            [("format version", version, version.max(OLDEST_VERSION)), ("layout id", word(12), LAYOUT_ID)]
        {
            if found != expected {
                return Err(Error::UnknownFormat { path: path.to_owned(), what, found, expected });
            }
        }
        let mut metadata_sha256 = [0; 32];
        metadata_sha256.copy_from_slice(&bytes[32..64]);
        let header = FixedHeader { version, metadata_bytes: long(16), file_bytes: long(24), metadata_sha256 };
        if header.file_bytes > file.len() as u64 {
            return Err(truncated(header.file_bytes));
        }
        if header.file_bytes < file.len() as u64 {
            let (expected, found) = (header.file_bytes, file.len() as u64);
            return Err(Error::PackedLength { path: path.to_owned(), problem: "too long", expected, found });
        }
        let limit = MAX_METADATA_BYTES.min(header.file_bytes - HEADER_BYTES as u64);
        if header.metadata_bytes > limit {
            let detail = format!("it is said to have {} bytes, at most {limit} fit", header.metadata_bytes);
            return Err(Error::Metadata { path: path.to_owned(), detail });
        }
        let metadata = &file[HEADER_BYTES..HEADER_BYTES + header.metadata_bytes as usize];
        let found = sha256(metadata);
        if found != header.metadata_sha256 {
            let expected = hex(&header.metadata_sha256);
            return Err(Error::MetadataHash { path: path.to_owned(), expected, found: hex(&found) });
        }
        Ok((header, metadata))
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a file begins with, for a message.
fn first_bytes(file: &[u8]) -> String {
    let head = &file[..file.len().min(8)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim_end_matches('\0');
    if file.is_empty() {
        "nothing (an empty file)".to_owned()
    } else if file.starts_with(b"version https://git-lfs") {
        format!("{text:?} (a Git-LFS pointer: run `git lfs pull`)")
    } else if file.starts_with(b"GGUF") {
        "\"GGUF\" (llama.cpp's format)".to_owned()
    } else if !text.is_empty() && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        format!("{text:?}")
    } else {
        format!("the bytes {}", hex(head))
    }
}
