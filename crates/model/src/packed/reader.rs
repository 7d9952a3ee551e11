//! Opens a packed file and hands out what is in it.

use super::header::{FixedHeader, hex, sha256};
use super::layout_rules::order_name;
use super::metadata::{BlobEntry, Metadata, QuantizationInfo, TensorEntry, TensorKind};
use super::validate::{BLOBS, read_metadata};
use crate::{ChatTemplate, Config, Dtype, Error, GenerationDefaults, Result, Tokenizer, TokenizerFiles};
use edgewen_layout::RowBlockShape;
use flate2::read::ZlibDecoder;
use memmap2::Mmap;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A matrix that is not quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenseInfo {
    /// Output channels.
    pub rows: usize,
    /// Input channels.
    pub inputs: usize,
    /// Element type.
    pub dtype: Dtype,
}

/// An open packed file. Everything but the tensors' values has been checked.
#[derive(Debug)]
pub struct PackedFile {
    path: PathBuf,
    data: Data,
    pub(super) metadata: Metadata,
    metadata_bytes: u64,
    by_name: HashMap<String, usize>,
}

#[derive(Debug)]
enum Data {
    Mapped(Mmap),
    Static(&'static [u8]),
}

impl PackedFile {
    /// Maps and checks a file. Tensor values are not read; see [`PackedFile::verify`].
    #[allow(unsafe_code, reason = "memory mapping")]
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let length = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
        if length == 0 {
            // An empty file cannot be mapped.
            return Self::new(path, Data::Static(&[]));
        }
        // SAFETY: the mapping is read-only. As for every program that maps its input, another process must not
        // truncate or rewrite the file while it is mapped; edgewen itself only ever renames a complete file into place.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("map", path, e))?;
        Self::new(path, Data::Mapped(map))
    }

    /// The same for a file that is part of the program. `name` is for messages.
    pub fn from_static(bytes: &'static [u8], name: &str) -> Result<Self> {
        Self::new(Path::new(name), Data::Static(bytes))
    }

    fn new(path: &Path, data: Data) -> Result<Self> {
        let (header, json) = FixedHeader::read(path, data.bytes())?;
        let metadata = read_metadata(path, &header, json)?;
        let names = metadata.tensors.iter().map(|tensor| tensor.name.clone());
        let by_name = names.zip(0..).collect();
        Ok(PackedFile {
            path: path.to_owned(),
            data,
            metadata,
            metadata_bytes: header.metadata_bytes,
            by_name,
        })
    }

    /// The path, or the name given to `from_static`.
    pub fn name(&self) -> &str {
        self.path.to_str().unwrap_or("packed file")
    }

    /// The shape of the model.
    pub fn config(&self) -> &Config {
        &self.metadata.config
    }

    /// The model's sampling defaults.
    pub fn generation(&self) -> &GenerationDefaults {
        &self.metadata.generation
    }

    /// How the weights were quantized.
    pub fn quantization(&self) -> &QuantizationInfo {
        &self.metadata.quantization
    }

    /// The tokenizer's files, inflated and checked by their hashes.
    pub fn tokenizer_files(&self) -> Result<TokenizerFiles> {
        let mut files = self.small_files()?;
        files.tokenizer_json = self.inflate(BLOBS[0])?.unwrap_or_default();
        Ok(files)
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        Tokenizer::from_files(&self.tokenizer_files()?)
    }

    /// The chat template, without inflating the tokenizer.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>> {
        ChatTemplate::from_files(&self.small_files()?)
    }

    /// The files but tokenizer.json.
    fn small_files(&self) -> Result<TokenizerFiles> {
        let text = |name: &str| -> Result<Option<String>> {
            let Some(bytes) = self.inflate(name)? else { return Ok(None) };
            String::from_utf8(bytes).map(Some).map_err(|e| self.blob_error(name, e.to_string()))
        };
        Ok(TokenizerFiles {
            tokenizer_json: Vec::new(),
            tokenizer_config: text(BLOBS[1])?,
            chat_template: text(BLOBS[2])?,
        })
    }

    fn inflate(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(blob) = self.metadata.blobs.iter().find(|blob| blob.name == name) else { return Ok(None) };
        let stored = self.blob_bytes(blob);
        let found = hex(&sha256(stored));
        if found != blob.sha256 {
            return Err(self.blob_error(name, format!("its SHA-256 is {found}, expected {}", blob.sha256)));
        }
        let mut bytes = Vec::with_capacity(blob.inflated_bytes as usize);
        // One byte more than promised is enough to notice that there is more.
        let read = ZlibDecoder::new(stored).take(blob.inflated_bytes + 1).read_to_end(&mut bytes);
        read.map_err(|e| self.blob_error(name, e.to_string()))?;
        if bytes.len() as u64 != blob.inflated_bytes {
            let detail = format!("it inflates to {} bytes, expected {}", bytes.len(), blob.inflated_bytes);
            return Err(self.blob_error(name, detail));
        }
        Ok(Some(bytes))
    }

    fn blob_error(&self, blob: &str, detail: String) -> Error {
        Error::Blob { path: self.path.clone(), blob: blob.to_owned(), detail }
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorEntry> {
        self.metadata.tensors.iter()
    }

    /// The entry of a tensor.
    pub fn entry(&self, name: &str) -> Result<&TensorEntry> {
        match self.by_name.get(name) {
            Some(&index) => Ok(&self.metadata.tensors[index]),
            None => Err(self.tensor_error(name, "this model has no such tensor".into())),
        }
    }

    /// A quantized matrix.
    pub fn matrix(&self, name: &str) -> Result<(RowBlockShape, &[u8])> {
        let entry = self.entry(name)?;
        match (entry.kind, entry.shape.as_slice()) {
            (TensorKind::RowBlocks { bits, group }, &[rows, inputs]) => {
                Ok((RowBlockShape { rows, inputs, group, bits }, self.tensor_bytes(entry)))
            }
            _ => {
                Err(self
                    .tensor_error(name, format!("is stored as {}, expected row_blocks", entry.kind.name())))
            }
        }
    }

    /// A matrix that is not quantized, row-major.
    pub fn dense(&self, name: &str) -> Result<(DenseInfo, &[u8])> {
        let entry = self.entry(name)?;
        let dtype = match entry.kind {
            TensorKind::F16 => Dtype::F16,
            TensorKind::Bf16 => Dtype::Bf16,
            TensorKind::F32 => Dtype::F32,
            TensorKind::RowBlocks { .. } | TensorKind::U32 => {
                let detail = format!("is stored as {}, expected f16 or bf16", entry.kind.name());
                return Err(self.tensor_error(name, detail));
            }
        };
        match entry.shape.as_slice() {
            &[rows, inputs] => Ok((DenseInfo { rows, inputs, dtype }, self.tensor_bytes(entry))),
            shape => Err(self.tensor_error(name, format!("has shape {shape:?}, expected a matrix"))),
        }
    }

    /// A vector of f32. Fails on a value that is not finite.
    pub fn vector(&self, name: &str) -> Result<Vec<f32>> {
        let entry = self.entry(name)?;
        if entry.kind != TensorKind::F32 {
            return Err(self.tensor_error(name, format!("is stored as {}, expected f32", entry.kind.name())));
        }
        let chunks = self.tensor_bytes(entry).as_chunks().0;
        let values: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(at) => Err(self.tensor_error(name, format!("has the value {} at index {at}", values[at]))),
        }
    }

    /// The column order of a layer's matrix, if it has one: stored column j is multiplied with input `order[j]`. Fails
    /// on anything but a permutation of the inputs.
    pub fn order(&self, matrix: &str) -> Result<Option<Vec<u32>>> {
        let name = order_name(matrix);
        if !self.by_name.contains_key(&name) {
            return Ok(None);
        }
        // Only column orders may have these names, and be u32.
        let entry = self.entry(&name)?;
        permutation(self.tensor_bytes(entry)).map(Some).map_err(|problem| self.tensor_error(&name, problem))
    }

    /// Length of the file.
    pub fn file_bytes(&self) -> u64 {
        self.bytes().len() as u64
    }

    /// Length of the JSON part.
    pub fn metadata_bytes(&self) -> u64 {
        self.metadata_bytes
    }

    /// For each of the accelerator's memory ports, the `[offset, bytes]` of the file that it streams.
    pub fn ports(&self) -> &[Vec<[u64; 2]>] {
        &self.metadata.ports
    }

    /// Asks the kernel to read the file ahead, without waiting for it.
    pub fn prefetch(&self) {
        #[cfg(unix)]
        if let Data::Mapped(map) = &self.data {
            // Advice only: without it, pages come when they are touched.
            drop(map.advise(memmap2::Advice::WillNeed));
        }
    }

    /// The whole file, as the accelerator's memory ports see it.
    pub fn bytes(&self) -> &[u8] {
        self.data.bytes()
    }

    // Both ranges were checked against the file's length when it was opened.
    pub(super) fn tensor_bytes(&self, entry: &TensorEntry) -> &[u8] {
        &self.bytes()[entry.offset as usize..(entry.offset + entry.bytes) as usize]
    }

    pub(super) fn blob_bytes(&self, blob: &BlobEntry) -> &[u8] {
        &self.bytes()[blob.offset as usize..(blob.offset + blob.bytes) as usize]
    }

    fn tensor_error(&self, tensor: &str, detail: String) -> Error {
        Error::PackedTensor { path: self.path.clone(), tensor: tensor.to_owned(), detail }
    }
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Data::Mapped(map) => map,
            Data::Static(bytes) => bytes,
        }
    }
}

/// The permutation that the bytes are, or what is wrong with them.
pub(super) fn permutation(bytes: &[u8]) -> std::result::Result<Vec<u32>, String> {
    let order: Vec<u32> = bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let mut seen = vec![false; order.len()];
    for (at, &input) in order.iter().enumerate() {
        match seen.get_mut(input as usize) {
            None => return Err(format!("index {at} is {input}, expected an input below {}", order.len())),
            Some(seen @ false) => *seen = true,
            Some(_) => return Err(format!("has the input {input} twice, expected a permutation")),
        }
    }
    Ok(order)
}
