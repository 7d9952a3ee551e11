//! One safetensors file: mapped, its header checked against its length.
//!
//! The `safetensors` crate parses and validates the header; this module recognizes what people have instead of the
//! file, and says how many bytes are missing or too many.

use crate::{Dtype, Error, Result, Tensor};
use memmap2::Mmap;
use safetensors::{SafeTensorError, SafeTensors, tensor::Metadata};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Longest header accepted; the `safetensors` crate has the same limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A mapped safetensors file.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    map: Mmap,
    /// Where the data begins.
    start: usize,
    metadata: Metadata,
}

/// A tensor of any type; `bytes` is little endian, row-major and may be unaligned.
#[derive(Debug, Clone)]
pub(crate) struct RawTensor<'a> {
    /// Name in the checkpoint.
    pub(crate) name: String,
    /// The file it is in.
    pub(crate) path: &'a Path,
    /// Dimensions.
    pub(crate) shape: Vec<usize>,
    /// Element type.
    pub(crate) dtype: safetensors::Dtype,
    /// The elements.
    pub(crate) bytes: &'a [u8],
}

impl<'a> RawTensor<'a> {
    /// As a tensor of floats; fails on other types.
    pub(crate) fn float(self) -> Result<Tensor<'a>> {
        let dtype = match self.dtype {
            safetensors::Dtype::F32 => Dtype::F32,
            safetensors::Dtype::F16 => Dtype::F16,
            safetensors::Dtype::BF16 => Dtype::Bf16,
            other => {
                return Err(Error::WrongDtype {
                    tensor: self.name,
                    path: self.path.to_owned(),
                    found: format!("{other:?}"),
                });
            }
        };
        Ok(Tensor { name: self.name, shape: self.shape, dtype, bytes: self.bytes })
    }
}

impl Shard {
    /// Maps the file and checks its header. No weight is read.
    #[allow(unsafe_code, reason = "memory mapping")]
    pub(super) fn open(path: &Path) -> Result<Shard> {
        let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let length = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
        if length == 0 {
            return Err(not_safetensors(path, "an empty file"));
        }
        // SAFETY: the mapping is read-only. As for every program that maps its input, another process must not
        // truncate or rewrite the file while it is mapped; checkpoints are written once.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("map", path, e))?;
        let (start, metadata) = read_header(path, &map)?;
        Ok(Shard { path: path.to_owned(), map, start, metadata })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.metadata.info(name).map(|info| info.shape.as_slice())
    }

    /// The tensor in whatever type it has, if this file has it.
    pub(super) fn raw(&self, name: &str) -> Option<RawTensor<'_>> {
        let info = self.metadata.info(name)?;
        let (begin, end) = info.data_offsets;
        Some(RawTensor {
            name: name.to_owned(),
            path: &self.path,
            shape: info.shape.clone(),
            dtype: info.dtype,
            bytes: &self.map[self.start + begin..self.start + end],
        })
    }

    /// The tensor, if this file has it. Fails on types that are not floats.
    pub(super) fn tensor(&self, name: &str) -> Result<Option<Tensor<'_>>> {
        self.raw(name).map(RawTensor::float).transpose()
    }

    /// Lets the kernel drop the pages that have been read.
    #[allow(unsafe_code, reason = "advice about the mapping")]
    pub(super) fn release(&self) {
        #[cfg(unix)]
        {
            // SAFETY: the mapping is of a file, read-only and never written through, so a dropped page is read again
            // from the file with the same contents; borrowed slices stay valid.
            let advised = unsafe { self.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
            // Advice only: if the kernel will not take it, the pages just stay.
            drop(advised);
        }
    }
}

/// Where the data begins, and the tensor table.
fn read_header(path: &Path, file: &[u8]) -> Result<(usize, Metadata)> {
    let length = file.len() as u64;
    if let Some(error) = recognize(path, file) {
        return Err(error);
    }
    let Some((stated, rest)) = file.split_first_chunk::<8>() else {
        return Err(not_safetensors(path, &format!("a file of {length} bytes")));
    };
    let stated = u64::from_le_bytes(*stated);
    if stated > MAX_HEADER_BYTES {
        return Err(Error::HeaderTooLarge { path: path.to_owned(), found: stated, limit: MAX_HEADER_BYTES });
    }
    let start = 8 + stated as usize;
    let Some(header) = rest.get(..stated as usize) else {
        return Err(Error::Truncated { path: path.to_owned(), expected: start as u64, found: length });
    };
    let invalid = |detail: String| Error::InvalidHeader { path: path.to_owned(), detail };
    match SafeTensors::read_metadata(file) {
        Ok((_, metadata)) => Ok((start, metadata)),
        Err(error @ SafeTensorError::MetadataIncompleteBuffer) => {
            let expected = start as u64 + data_bytes(header).ok_or_else(|| invalid(error.to_string()))?;
            let path = path.to_owned();
            match expected.cmp(&length) {
                std::cmp::Ordering::Greater => Err(Error::Truncated { path, expected, found: length }),
                std::cmp::Ordering::Less => Err(Error::Overlong { path, expected, found: length }),
                std::cmp::Ordering::Equal => Err(invalid(error.to_string())),
            }
        }
        Err(error) => Err(invalid(error.to_string())),
    }
}

/// Where the last tensor ends, after the header alone.
fn data_bytes(header: &[u8]) -> Option<u64> {
    let header: serde_json::Value = serde_json::from_slice(header).ok()?;
    let ends = header.as_object()?.values().filter_map(|tensor| tensor.get("data_offsets")?.get(1)?.as_u64());
    ends.max().filter(|end| *end < 1 << 62)
}

/// What people have instead of weights.
fn recognize(path: &Path, file: &[u8]) -> Option<Error> {
    let head = &file[..file.len().min(512)];
    if head.starts_with(b"version https://git-lfs") {
        let text = String::from_utf8_lossy(head);
        let size = text.lines().find_map(|line| line.strip_prefix("size "));
        let expected = size.map_or_else(String::new, |size| format!(" ({size} bytes)"));
        return Some(Error::LfsPointer { path: path.to_owned(), found: file.len() as u64, expected });
    }
    let found = match head.trim_ascii_start() {
        text if text.starts_with(b"<") => "a web page",
        text if text.starts_with(b"PK\x03\x04") => "a zip archive (perhaps PyTorch weights)",
        text if text.starts_with(b"GGUF") => "a GGUF file",
        text if text.starts_with(b"EDGEWEN\0") => "a packed edgewen file",
        text if text.starts_with(b"{") || text.starts_with(b"Entry not found") => "text",
        _ => return None,
    };
    Some(not_safetensors(path, found))
}

fn not_safetensors(path: &Path, found: &str) -> Error {
    Error::NotSafetensors { path: path.to_owned(), found: found.to_owned() }
}
