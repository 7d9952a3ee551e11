//! Everything that can be wrong with a file, with the message a user sees.
//!
//! Each message names the file or tensor, what was expected, what was found and what to do.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What is wrong with a checkpoint, a tokenizer or a packed file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried: `read`, `write`, `create`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A directory that is no checkpoint.
    #[error(
        "no config.json in {dir}: give the directory of a Hugging Face checkpoint, or a packed .ewn file"
    )]
    NoConfig {
        /// The directory.
        dir: PathBuf,
    },
    /// A configuration file is not JSON, or a value has another type.
    #[error("{path} cannot be understood: {detail}; download it again")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and what.
        detail: String,
    },
    /// Another architecture.
    #[error("not a Qwen2 model: {path} says {found}; edgewen runs Qwen2ForCausalLM (Qwen2 and Qwen2.5) only")]
    NotQwen2 {
        /// config.json.
        path: PathBuf,
        /// Architecture or model type found.
        found: String,
    },
    /// A key that must be there.
    #[error("{path} has no \"{key}\": take the config.json that belongs to the weights")]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
    /// A value that makes no sense.
    #[error("{path}: \"{key}\" is {found}, expected {expected}")]
    BadValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The value found.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// Something real that edgewen does not implement.
    #[error("{path}: {feature} is not supported; {supported}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What the model needs.
        feature: String,
        /// What edgewen has instead.
        supported: String,
    },
    /// Something in a quantized checkpoint that cannot be, or that the packed file cannot hold.
    #[error("tensor \"{tensor}\": {detail}")]
    QuantizedTensor {
        /// The tensor, or the layer it belongs to.
        tensor: String,
        /// What was expected, what was found, what to do.
        detail: String,
    },
    /// A checkpoint of which only some linear layers are quantized.
    #[error(
        "\"{module}\" in {dir} is not quantized, though other linear layers are: a packed file holds all of them quantized; quantize the float checkpoint with `edgewen quantize` instead"
    )]
    NotQuantized {
        /// The layer.
        module: String,
        /// The directory.
        dir: PathBuf,
    },
    /// No safetensors file at all.
    #[error("no model.safetensors and no model.safetensors.index.json in {dir}{hint}")]
    NoWeights {
        /// The directory.
        dir: PathBuf,
        /// What is there instead, with the remedy.
        hint: String,
    },
    /// Git downloaded the pointer instead of the file.
    #[error(
        "{path} is a Git-LFS pointer ({found} bytes of text), not weights{expected}: run `git lfs pull` in that directory"
    )]
    LfsPointer {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The length that the pointer promises, as text.
        expected: String,
    },
    /// Something else than a safetensors file.
    #[error("{path} is {found}, expected a safetensors file: download it again")]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: String,
    },
    /// Shorter than its header says.
    #[error(
        "{path} is truncated: its header describes {expected} bytes, the file has {found}; resume or repeat the download"
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes the header asks for.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// Longer than its header says.
    #[error(
        "{path} is too long: its header describes {expected} bytes, the file has {found}; download it again (a resumed download may have been appended twice)"
    )]
    Overlong {
        /// The file.
        path: PathBuf,
        /// Bytes the header asks for.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// A header that cannot be meant.
    #[error(
        "{path} has a header of {found} bytes, at most {limit} are allowed: the file is damaged or no safetensors file"
    )]
    HeaderTooLarge {
        /// The file.
        path: PathBuf,
        /// Length the file states.
        found: u64,
        /// Largest length accepted.
        limit: u64,
    },
    /// The header breaks a rule of the format (overlaps, holes, bad JSON).
    #[error("{path} has an invalid safetensors header: {detail}; download it again")]
    InvalidHeader {
        /// The file.
        path: PathBuf,
        /// The rule.
        detail: String,
    },
    /// The index names a file that is not there.
    #[error("{shard} is missing: {index} names it for {tensors} tensors; download it")]
    MissingShard {
        /// The shard.
        shard: PathBuf,
        /// The index.
        index: PathBuf,
        /// How many tensors are in it.
        tensors: usize,
    },
    /// The index and a shard disagree.
    #[error(
        "{shard} has no tensor \"{tensor}\", though {index} says so: the files are from different checkpoints"
    )]
    NotInShard {
        /// The tensor.
        tensor: String,
        /// The shard.
        shard: PathBuf,
        /// The index.
        index: PathBuf,
    },
    /// A tensor that the configuration asks for.
    #[error(
        "no tensor \"{tensor}\" in {dir}: config.json asks for it ({why}); the checkpoint is incomplete or config.json is another model's"
    )]
    MissingTensor {
        /// The tensor.
        tensor: String,
        /// The directory.
        dir: PathBuf,
        /// Which setting asks for it.
        why: String,
    },
    /// A tensor of another shape.
    #[error(
        "tensor \"{tensor}\" in {path} has shape {found:?}, config.json asks for {expected:?}: the files are from different checkpoints"
    )]
    WrongShape {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// Shape after config.json.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor of a type that is not a float.
    #[error(
        "tensor \"{tensor}\" in {path} has type {found}, expected BF16, F16 or F32: use the original checkpoint"
    )]
    WrongDtype {
        /// The tensor.
        tensor: String,
        /// The file.
        path: PathBuf,
        /// Type in the file.
        found: String,
    },
    /// A weight that is NaN or infinite.
    #[error(
        "tensor \"{tensor}\" has the value {value} at index {index}, expected finite numbers: the checkpoint is damaged"
    )]
    NonFinite {
        /// The tensor.
        tensor: String,
        /// Flat index of the element, row-major.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// No tokenizer.json.
    #[error("no tokenizer.json in {dir}: download it from the model's repository{hint}")]
    NoTokenizer {
        /// The directory.
        dir: PathBuf,
        /// What is there instead.
        hint: String,
    },
    /// The tokenizer cannot be used.
    #[error("{name}: {detail}")]
    Tokenizer {
        /// Which file.
        name: String,
        /// Why not.
        detail: String,
    },
    /// The tokenizer knows tokens that the embedding has no row for.
    #[error(
        "the tokenizer has the token {piece:?} with id {id}, but the embedding has only {rows} rows (ids 0 to {last}): tokenizer and weights are from different models"
    )]
    VocabularyTooLarge {
        /// Largest token.
        piece: String,
        /// Its id.
        id: u32,
        /// Rows of the embedding.
        rows: usize,
        /// Largest id allowed.
        last: usize,
    },
    /// The chat template has a mistake, or needs something that is not there.
    #[error("chat template: {detail}")]
    Template {
        /// What minijinja says.
        detail: String,
    },
    /// The chat template called `raise_exception`.
    #[error("the chat template refuses the conversation: {message}")]
    TemplateRaised {
        /// The template's own words.
        message: String,
    },
    /// Not a packed file.
    #[error(
        "{path} is not a packed file: it begins with {found}, expected \"EDGEWEN\"; make one with `edgewen quantize`"
    )]
    NotPacked {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        found: String,
    },
    /// Written by a newer edgewen.
    #[error("{path} has format version {found}, this edgewen reads version {supported}: update edgewen")]
    NewerVersion {
        /// The file.
        path: PathBuf,
        /// Version of the file.
        found: u32,
        /// Version read.
        supported: u32,
    },
    /// A version or layout that never was.
    #[error(
        "{path} has {what} {found}, expected {expected}: the file is damaged, or made for another program; quantize the checkpoint again"
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// `format version` or `layout id`.
        what: &'static str,
        /// In the file.
        found: u32,
        /// Known here.
        expected: u32,
    },
    /// The file's length is not what its header says.
    #[error(
        "{path} is {problem}: its header says {expected} bytes, the file has {found}; copy or download it again"
    )]
    PackedLength {
        /// The file.
        path: PathBuf,
        /// `truncated` or `too long`.
        problem: &'static str,
        /// After the header.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// The metadata's SHA-256 is wrong.
    #[error(
        "{path}: the metadata has SHA-256 {found}, expected {expected}: the file is damaged; copy or download it again"
    )]
    MetadataHash {
        /// The file.
        path: PathBuf,
        /// In the header.
        expected: String,
        /// Of the bytes.
        found: String,
    },
    /// The metadata breaks a rule of docs/packed-format.md.
    #[error("{path}: invalid metadata: {detail}; the file is damaged, quantize the checkpoint again")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The rule.
        detail: String,
    },
    /// A tensor's table entry breaks a rule of docs/packed-format.md.
    #[error("{path}: tensor \"{tensor}\": {detail}; the file is damaged, quantize the checkpoint again")]
    PackedTensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The rule.
        detail: String,
    },
    /// A blob's bytes are not what the metadata says.
    #[error("{path}: the stored {blob} is damaged: {detail}; copy or download the file again")]
    Blob {
        /// The file.
        path: PathBuf,
        /// Which part.
        blob: String,
        /// What is wrong.
        detail: String,
    },
    /// The output file is already there.
    #[error("{path} exists already: choose another name, or overwrite it with --force")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The disk is too small.
    #[error(
        "not enough disk space for {path}: {needed} bytes needed, {free} bytes free; make room or choose another place"
    )]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// A caller's mistake while writing a packed file.
    #[error("cannot write tensor \"{tensor}\": {detail}")]
    Plan {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        detail: String,
    },
    /// A matrix that AWQ_MACRO cannot hold.
    #[error("tensor \"{tensor}\" cannot be written as AWQ_MACRO: {problem}")]
    AwqMacro {
        /// The tensor.
        tensor: String,
        /// Why not.
        problem: edgewen_layout::awq_macro::MacroError,
    },
    /// A matrix that AutoAWQ's format cannot hold.
    #[error("tensor \"{tensor}\" cannot be written for AutoAWQ: {detail}")]
    AutoAwq {
        /// The tensor.
        tensor: String,
        /// Why not, and what to do.
        detail: String,
    },
    /// A directory that may not be replaced.
    #[error("{dir} holds \"{name}\", which the export does not write: choose another directory")]
    ForeignFile {
        /// The directory.
        dir: PathBuf,
        /// What is in it.
        name: String,
    },
    /// A value that f16 cannot hold at all.
    #[error(
        "tensor \"{tensor}\" has the value {value} at index {index}: the format stores it as f16, which ends at 65504"
    )]
    BeyondF16 {
        /// The tensor.
        tensor: String,
        /// Flat index of the element.
        index: usize,
        /// The value.
        value: f32,
    },
    /// An AWQ_MACRO file of another model, or a part of one.
    #[error(
        "{path} has {found} bytes, the AWQ_MACRO file of this model has {expected}: take the configuration that belongs to it, or copy the file again"
    )]
    AwqMacroLength {
        /// The file.
        path: PathBuf,
        /// Bytes after the configuration.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// An AWQ_MACRO file whose length is right but for the biases.
    #[error(
        "{path} has no biases of query, key and value: {found} bytes, {expected} with them; export it again with biases (zeros if the model has none)"
    )]
    AwqMacroNoBiases {
        /// The file.
        path: PathBuf,
        /// Bytes with biases.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// Something in an AWQ_MACRO file that cannot be.
    #[error("{path}: {tensor}: {detail}; the file is damaged, or of another model")]
    AwqMacroContent {
        /// The file.
        path: PathBuf,
        /// The part.
        tensor: String,
        /// What is wrong.
        detail: String,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &std::path::Path, source: std::io::Error) -> Self {
        Error::Io { action, path: path.to_owned(), source }
    }
}
