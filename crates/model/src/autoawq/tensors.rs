//! The tensors of an AutoAWQ checkpoint, made one at a time while the file is written.

use super::ExportReport;
use crate::awq_macro::{Rounding, dense_row, to_f16};
use crate::packed::{PackedFile, TensorKind};
use crate::quantized::AWQ_NIBBLE;
use crate::{Error, Result};
use edgewen_layout::{QuantizedMatrix, WeightBits};
use half::f16;
use safetensors::{Dtype, View};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// Output channels in a word.
const CHANNELS: usize = 8;

/// Which values a tensor holds.
#[derive(Debug, Clone, PartialEq)]
enum Content {
    /// Codes of rows of a matrix of the packed file: [inputs, rows / 8] words.
    Codes { tensor: String, rows: Range<usize> },
    /// Its zero points: [groups, rows / 8] words.
    Zeros { tensor: String, rows: Range<usize> },
    /// Its scales: f16 [groups, rows].
    Scales { tensor: String, rows: Range<usize> },
    /// Rows of a matrix as f16 [rows, inputs].
    Dense { tensor: String, rows: Range<usize>, inputs: usize },
    /// Elements of a vector as f16.
    Vector { tensor: String, elements: Range<usize> },
}

/// A tensor of the checkpoint.
#[derive(Debug, Clone, PartialEq)]
struct Planned {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    content: Content,
}

/// All tensors of the checkpoint.
pub(super) struct Tensors<'a> {
    file: &'a PackedFile,
    planned: Vec<Planned>,
    report: ExportReport,
}

impl<'a> Tensors<'a> {
    /// Finds everything that the format cannot hold, except values beyond f16.
    pub(super) fn plan(file: &'a PackedFile) -> Result<Self> {
        let config = file.config();
        let mut tensors = Tensors { file, planned: Vec::new(), report: ExportReport::default() };
        let (q, kv, mlp) = (config.attention_size(), config.kv_size(), config.intermediate_size);
        let hidden = config.hidden_size;
        for layer in 0..config.layers {
            let packed = |part: &str| format!("layers.{layer}.{part}");
            let module = |part: &str| format!("model.layers.{layer}.{part}");
            let mut first = 0;
            for (part, rows) in [("q_proj", q), ("k_proj", kv), ("v_proj", kv)] {
                let (name, rows) = (module(&format!("self_attn.{part}")), first..first + rows);
                first = rows.end;
                tensors.vector(format!("{name}.bias"), packed("qkv_bias"), rows.clone());
                tensors.linear(name, packed("qkv"), rows)?;
            }
            tensors.linear(module("self_attn.o_proj"), packed("o"), 0..hidden)?;
            tensors.linear(module("mlp.gate_proj"), packed("gate_up"), 0..mlp)?;
            tensors.linear(module("mlp.up_proj"), packed("gate_up"), mlp..2 * mlp)?;
            tensors.linear(module("mlp.down_proj"), packed("down"), 0..hidden)?;
            for (norm, part) in [("input_norm", "input_layernorm"), ("post_norm", "post_attention_layernorm")]
            {
                tensors.vector(module(&format!("{part}.weight")), packed(norm), 0..hidden);
            }
        }
        tensors.vector("model.norm.weight".into(), "final_norm".into(), 0..hidden);
        tensors.dense("model.embed_tokens.weight".into(), "embed".into(), 0..config.vocab_size, hidden);
        if !config.tie_word_embeddings {
            tensors.dense("lm_head.weight".into(), "head".into(), 0..config.vocab_size, hidden);
        }
        if tensors.report.quantized == 0 {
            let detail =
                "all matrices of layers have 8 bits, the format has 4: export the float checkpoint instead";
            return Err(Error::AutoAwq { tensor: "layers.0.qkv".into(), detail: detail.into() });
        }
        Ok(tensors)
    }

    /// A linear layer: rows of a matrix of the packed file.
    fn linear(&mut self, name: String, tensor: String, rows: Range<usize>) -> Result<()> {
        let refuse = |detail: String| Err(Error::AutoAwq { tensor: tensor.clone(), detail });
        let (shape, _) = self.file.matrix(&tensor)?;
        if self.file.order(&tensor)?.is_some() {
            return refuse(
                "its columns are in another order (desc_act), which the format does not have".into(),
            );
        }
        if shape.bits != WeightBits::Four {
            self.dense(format!("{name}.weight"), tensor, rows, shape.inputs);
            self.report.not_converted.push(name);
            return Ok(());
        }
        let group = shape.group.get();
        if !shape.inputs.is_multiple_of(group) {
            return refuse(format!(
                "it has {} inputs, which do not fill groups of {group}: quantize with a group that divides them",
                shape.inputs
            ));
        }
        if !rows.len().is_multiple_of(CHANNELS) {
            return refuse(format!(
                "{name} has {} output channels, the format asks for a multiple of {CHANNELS}",
                rows.len()
            ));
        }
        if self.report.quantized > 0 && self.report.group != group {
            return refuse(format!(
                "it has groups of {group}, other layers have {}, the format has one size: quantize with one group",
                self.report.group
            ));
        }
        self.report.group = group;
        self.report.quantized += 1;
        let (inputs, groups, words) = (shape.inputs, shape.groups(), rows.len() / CHANNELS);
        let parts = [
            (
                "qweight",
                Dtype::I32,
                vec![inputs, words],
                Content::Codes { tensor: tensor.clone(), rows: rows.clone() },
            ),
            (
                "qzeros",
                Dtype::I32,
                vec![groups, words],
                Content::Zeros { tensor: tensor.clone(), rows: rows.clone() },
            ),
            ("scales", Dtype::F16, vec![groups, rows.len()], Content::Scales { tensor, rows }),
        ];
        for (part, dtype, shape, content) in parts {
            self.planned.push(Planned { name: format!("{name}.{part}"), dtype, shape, content });
        }
        Ok(())
    }

    fn dense(&mut self, name: String, tensor: String, rows: Range<usize>, inputs: usize) {
        let shape = vec![rows.len(), inputs];
        let content = Content::Dense { tensor, rows, inputs };
        self.planned.push(Planned { name, dtype: Dtype::F16, shape, content });
    }

    fn vector(&mut self, name: String, tensor: String, elements: Range<usize>) {
        let shape = vec![elements.len()];
        let content = Content::Vector { tensor, elements };
        self.planned.push(Planned { name, dtype: Dtype::F16, shape, content });
    }

    /// About the length of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.planned.iter().map(|tensor| tensor.bytes() as u64 + 256).sum()
    }

    /// Writes the file, and says what was rounded.
    pub(super) fn write(self, path: &Path) -> Result<ExportReport> {
        let writing = RefCell::new(Writing {
            file: self.file,
            report: self.report,
            loaded: HashMap::new(),
            error: None,
        });
        let views =
            self.planned.iter().map(|tensor| (tensor.name.as_str(), Lazy { tensor, writing: &writing }));
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let io = |detail: std::io::Error| Error::io("write", path, detail);
        let written = safetensors::serialize_to_file(views, Some(metadata), path);
        let writing = writing.into_inner();
        if let Some(error) = writing.error {
            return Err(error);
        }
        written.map_err(|e| io(std::io::Error::other(e)))?;
        let file = std::fs::File::open(path).and_then(|file| file.sync_all().map(|()| file)).map_err(io)?;
        let file_bytes = file.metadata().map_err(io)?.len();
        Ok(ExportReport { file_bytes, ..writing.report })
    }
}

impl Planned {
    fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * if self.dtype == Dtype::I32 { 4 } else { 2 }
    }
}

/// What the tensors share while the file is written.
struct Writing<'a> {
    file: &'a PackedFile,
    report: ExportReport,
    /// The matrix unpacked last: fused ones are needed for several tensors.
    loaded: HashMap<String, QuantizedMatrix>,
    /// The first failure; the interface of `safetensors` has no way to return it.
    error: Option<Error>,
}

/// A tensor whose bytes are made when they are written.
struct Lazy<'a, 'b> {
    tensor: &'a Planned,
    writing: &'a RefCell<Writing<'b>>,
}

impl View for Lazy<'_, '_> {
    fn dtype(&self) -> Dtype {
        self.tensor.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut writing = self.writing.borrow_mut();
        match writing.data(&self.tensor.content) {
            Ok(bytes) => bytes.into(),
            Err(error) => {
                writing.error.get_or_insert(error);
                vec![0; self.data_len()].into()
            }
        }
    }

    fn data_len(&self) -> usize {
        self.tensor.bytes()
    }
}

impl Writing<'_> {
    fn data(&mut self, content: &Content) -> Result<Vec<u8>> {
        match content {
            Content::Codes { tensor, rows } => {
                let matrix = self.matrix(tensor)?;
                let (inputs, groups, group) =
                    (matrix.shape.inputs, matrix.shape.groups(), matrix.shape.group.get());
                Ok(words(inputs, rows, |row, input| {
                    let at = row * groups + input / group;
                    // A group without a scale is all zeros, whatever its codes; see `positive`.
                    if matrix.scales[at] == f16::ZERO {
                        matrix.zeros[at]
                    } else {
                        matrix.codes[row * inputs + input]
                    }
                }))
            }
            Content::Zeros { tensor, rows } => {
                let matrix = self.matrix(tensor)?;
                let groups = matrix.shape.groups();
                Ok(words(groups, rows, |row, group| matrix.zeros[row * groups + group]))
            }
            Content::Scales { tensor, rows } => {
                let matrix = self.matrix(tensor)?;
                let groups = matrix.shape.groups();
                let scales = (0..groups).flat_map(|group| {
                    rows.clone()
                        .flat_map(move |row| positive(matrix.scales[row * groups + group]).to_le_bytes())
                });
                Ok(scales.collect())
            }
            Content::Dense { tensor, rows, inputs } => {
                let mut bytes = Vec::with_capacity(2 * rows.len() * inputs);
                let mut values = vec![0.0; *inputs];
                let embedding = matches!(tensor.as_str(), "embed" | "head");
                for row in rows.clone() {
                    dense_row(self.file, tensor, row, &mut values)?;
                    let report = &mut self.report;
                    let rounding = if embedding { &mut report.embedding } else { &mut report.eight_bit };
                    bytes.extend(to_f16(tensor, row * inputs, &values, rounding)?);
                }
                Ok(bytes)
            }
            Content::Vector { tensor, elements } => {
                let values = self.file.vector(tensor)?;
                let report = &mut self.report;
                let rounding: &mut Rounding =
                    if tensor.ends_with("_bias") { &mut report.biases } else { &mut report.norms };
                to_f16(tensor, elements.start, &values[elements.clone()], rounding)
            }
        }
    }

    fn matrix(&mut self, tensor: &str) -> Result<&QuantizedMatrix> {
        if !self.loaded.contains_key(tensor) {
            self.loaded.clear();
        }
        if let TensorKind::RowBlocks { .. } = self.file.entry(tensor)?.kind {
            let (shape, data) = self.file.matrix(tensor)?;
            self.loaded.entry(tensor.to_owned()).or_insert_with(|| QuantizedMatrix::unpack(shape, data));
        }
        Ok(&self.loaded[tensor])
    }
}

/// The scale of a group. Plain rounding gives 0 to groups of zeros, which other programs do not expect: with all codes
/// at the zero point any scale means the same.
fn positive(scale: f16) -> f16 {
    if scale == f16::ZERO { f16::MIN_POSITIVE } else { scale }
}

/// Words [outer, rows / 8] of the values of 8 output channels each, interleaved as AutoAWQ does.
fn words(outer: usize, rows: &Range<usize>, value: impl Fn(usize, usize) -> u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(outer * rows.len() / 2);
    for at in 0..outer {
        for first in rows.clone().step_by(CHANNELS) {
            let word = (0..CHANNELS).fold(0, |word, channel| {
                word | u32::from(value(first + channel, at)) << (4 * AWQ_NIBBLE[channel])
            });
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes
}
