//! Writes a quantized checkpoint as a packed file without quantizing anew.
//!
//! Codes and zero points of the linear layers stay what they are, only their places change; scales become f16, which
//! AutoAWQ's and most others are already. The embedding and the head, which such checkpoints leave in 16 bits, stay so
//! unless fewer bits are asked for.

use crate::round::{Fit, range};
use crate::{Error, HeadBits, Progress, Result};
use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits};
use edgewen_model::packed::{
    Header, PackedWriter, QuantizationInfo, TensorKind, TensorPlan, expected_tensors, order_name,
};
use edgewen_model::quantized::{LinearLayout, ScaleNotes, eight_bits, order};
use edgewen_model::{Checkpoint, Dtype, Tensor, Tokenizer};
use half::f16;
use serde::Serialize;
use std::path::Path;
use std::time::Instant;

/// What a user may choose.
#[derive(Debug, Clone, Default)]
pub struct RepackOptions {
    /// Bits of the embedding and of the output head; `None` is 16, as in the checkpoint.
    pub head: Option<HeadBits>,
    /// Inputs that share a scale in the packed file; `None` is the checkpoint's own group. One that divides it repeats
    /// scales: groups of 64, which the accelerator takes, from a checkpoint with groups of 128.
    pub group: Option<GroupSize>,
    /// Replace an existing file.
    pub force: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RepackReport {
    /// The checkpoint's directory.
    pub source: String,
    /// `autoawq`, `gptq`, `gptq_v2` or `compressed-tensors`.
    pub format: String,
    /// Inputs that share a scale, the smallest of all linear layers.
    pub group: usize,
    /// Bits of the embedding and of the output head.
    pub head_bits: u32,
    /// Length of the packed file.
    pub file_bytes: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Weights in matrices.
    pub elements: u64,
    /// Bits a weight in the packed file, scales, zero points, embedding and head included.
    pub bits_per_weight: f64,
    /// Matrices with 8 bits.
    pub eight_bit_matrices: usize,
    /// Matrices whose columns are in another order than the model's (GPTQ's `desc_act`).
    pub reordered_matrices: usize,
    /// The scales of all linear layers.
    pub scales: ScaleNotes,
    /// The linear layers of which scales had to be rounded to f16.
    pub rounded: Vec<RoundedScales>,
}

/// A linear layer whose scales f16 cannot hold exactly.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RoundedScales {
    /// Name in the checkpoint.
    pub name: String,
    /// How many and by how much.
    #[serde(flatten)]
    pub notes: ScaleNotes,
}

/// Writes a quantized checkpoint into the packed file `output`.
///
/// # Errors
/// A float checkpoint; linear layers that are not quantized among others that are; fused layers (query, key and value;
/// gate and up) whose columns are ordered differently; whatever is wrong with the checkpoint or the output's place;
/// [`Error::Cancelled`]. No file is left then, and an existing one stays.
pub fn repack(
    checkpoint: &Checkpoint,
    output: &Path,
    options: &RepackOptions,
    progress: &mut dyn Progress,
) -> Result<RepackReport> {
    let start = Instant::now();
    let Some(quantization) = checkpoint.quantization() else {
        return Err(Error::NothingToRepack { dir: checkpoint.dir().to_owned() });
    };
    checkpoint.validate()?;
    let files = checkpoint.tokenizer_files()?;
    Tokenizer::from_files(&files)?.check_vocabulary(checkpoint.config().vocab_size)?;
    let head = match options.head {
        Some(HeadBits::Four) => Some(WeightBits::Four),
        Some(HeadBits::Eight) => Some(WeightBits::Eight),
        _ => None,
    };
    let head_bits = head.map_or(16, WeightBits::count);
    let matrices = matrices(checkpoint, options.group)?;
    let group = matrices.iter().map(|matrix| matrix.group).min().unwrap_or(GroupSize::G64);
    let plan = plan(checkpoint, &matrices, head, group)?;
    let header = Header {
        config: checkpoint.config().clone(),
        generation: checkpoint.generation().clone(),
        quantization: QuantizationInfo {
            method: format!("imported from {}", quantization.format.name()),
            group: group.get(),
            head_bits,
            source: checkpoint
                .dir()
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into()),
            edgewen_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..QuantizationInfo::default()
        },
        tokenizer: files,
    };
    let (mut elements, mut stored) = (0, 0);
    for tensor in plan.iter().filter(|tensor| tensor.shape.len() == 2) {
        elements += tensor.shape.iter().product::<usize>() as u64;
        stored += tensor.kind.stored_bytes(&tensor.shape).unwrap_or(0);
    }
    let mut report = RepackReport {
        source: checkpoint.dir().display().to_string(),
        format: quantization.format.name().to_owned(),
        group: group.get(),
        head_bits,
        file_bytes: 0,
        seconds: 0.0,
        elements,
        bits_per_weight: 8.0 * stored as f64 / elements as f64,
        eight_bit_matrices: matrices.iter().filter(|matrix| matrix.bits != WeightBits::Four).count(),
        reordered_matrices: matrices.iter().filter(|matrix| matrix.order.is_some()).count(),
        scales: ScaleNotes::default(),
        rounded: Vec::new(),
    };
    let mut writer = PackedWriter::create(output, header, plan, options.force)?;
    report.file_bytes = writer.file_bytes();
    let steps = matrices.len() + 1;
    for (done, matrix) in matrices.iter().enumerate() {
        tick(progress, done, steps, &matrix.packed)?;
        matrix.write(checkpoint, &mut writer, &mut report)?;
        checkpoint.release();
    }
    tick(progress, matrices.len(), steps, "embedding")?;
    write_vectors(checkpoint, &mut writer)?;
    for (packed, name) in dense_names(checkpoint) {
        write_dense(&checkpoint.tensor(name)?, packed, head, group, &mut writer)?;
        checkpoint.release();
    }
    tick(progress, steps, steps, "")?;
    writer.finish()?;
    report.seconds = start.elapsed().as_secs_f64();
    Ok(report)
}

fn tick(progress: &mut dyn Progress, done: usize, total: usize, what: &str) -> Result<()> {
    progress.step(done, total, what);
    if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
}

/// A matrix of the packed file: one linear layer of the checkpoint, or several with the same inputs.
struct Matrix {
    /// Name in the packed file.
    packed: String,
    /// Names in the checkpoint.
    modules: Vec<String>,
    group: GroupSize,
    bits: WeightBits,
    order: Option<Vec<u32>>,
}

/// The fused matrices of a layer in the packed file, and their parts in the checkpoint.
const FUSED: [(&str, &[&str]); 4] = [
    ("qkv", &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    ("o", &["self_attn.o_proj"]),
    ("gate_up", &["mlp.gate_proj", "mlp.up_proj"]),
    ("down", &["mlp.down_proj"]),
];

/// All matrices of layers, everything checked that does not need the weights themselves.
fn matrices(checkpoint: &Checkpoint, group: Option<GroupSize>) -> Result<Vec<Matrix>> {
    let mut matrices = Vec::new();
    for layer in 0..checkpoint.config().layers {
        for (fused, parts) in FUSED {
            let packed = format!("layers.{layer}.{fused}");
            let modules: Vec<String> =
                parts.iter().map(|part| format!("model.layers.{layer}.{part}")).collect();
            matrices.push(matrix(checkpoint, packed, modules, group)?);
        }
    }
    Ok(matrices)
}

fn matrix(
    checkpoint: &Checkpoint,
    packed: String,
    modules: Vec<String>,
    asked: Option<GroupSize>,
) -> Result<Matrix> {
    let mut layouts: Vec<LinearLayout> = Vec::with_capacity(modules.len());
    for module in &modules {
        let Some(layout) = checkpoint.linear_layout(module)? else {
            let (module, dir) = (module.clone(), checkpoint.dir().to_owned());
            return Err(edgewen_model::Error::NotQuantized { module, dir }.into());
        };
        if let (Some(group), false) = (asked, asked.is_none_or(|group| layout.scheme.fits(group))) {
            let detail = format!(
                "it is quantized in {}, which groups of {} would not hold exactly: ask for a group that divides it, or \
                 leave the choice to the import",
                layout.scheme.grouping,
                group.get()
            );
            return Err(edgewen_model::Error::QuantizedTensor { tensor: module.clone(), detail }.into());
        }
        layouts.push(layout);
    }
    if let Some(other) = layouts.iter().position(|layout| layout.group_of != layouts[0].group_of) {
        let detail = format!(
            "its columns are ordered differently from those of \"{}\" (g_idx), but they share one input in the packed file: \
             use a checkpoint made without desc_act, or quantize the float checkpoint",
            modules[0]
        );
        return Err(edgewen_model::Error::QuantizedTensor { tensor: modules[other].clone(), detail }.into());
    }
    // The smallest holds them all: groups are powers of two.
    let natural = layouts.iter().map(|layout| layout.scheme.natural_group()).min();
    let group = asked.or(natural).unwrap_or(GroupSize::G64);
    let eight = layouts.iter().any(|layout| layout.scheme.bits == 8);
    let bits = if eight { eight_bits(group) } else { WeightBits::Four };
    let order = layouts[0].group_of.as_deref().map(order);
    Ok(Matrix { packed, modules, group, bits, order })
}

impl Matrix {
    fn write(
        &self,
        checkpoint: &Checkpoint,
        writer: &mut PackedWriter,
        report: &mut RepackReport,
    ) -> Result<()> {
        let mut fused: Option<QuantizedMatrix> = None;
        for module in &self.modules {
            let stored = checkpoint.stored_linear(module)?.expect("its layout was read before");
            let linear = stored.pack_as(self.group, self.bits)?;
            report.scales.add(&linear.scale_notes);
            if linear.scale_notes.rounded > 0 {
                report.rounded.push(RoundedScales { name: module.clone(), notes: linear.scale_notes });
            }
            match &mut fused {
                None => fused = Some(linear.matrix),
                Some(fused) => {
                    fused.shape.rows += linear.matrix.shape.rows;
                    fused.codes.extend(linear.matrix.codes);
                    fused.scales.extend(linear.matrix.scales);
                    fused.zeros.extend(linear.matrix.zeros);
                }
            }
        }
        if let Some(fused) = fused {
            writer.write(&self.packed, &fused.pack())?;
        }
        if let Some(order) = &self.order {
            let bytes: Vec<u8> = order.iter().flat_map(|input| input.to_le_bytes()).collect();
            writer.write(&order_name(&self.packed), &bytes)?;
        }
        Ok(())
    }
}

/// How each tensor will be stored.
fn plan(
    checkpoint: &Checkpoint,
    matrices: &[Matrix],
    head: Option<WeightBits>,
    group: GroupSize,
) -> Result<Vec<TensorPlan>> {
    let mut plan = Vec::new();
    for (name, shape) in expected_tensors(checkpoint.config()) {
        let kind = match matrices.iter().find(|matrix| matrix.packed == name) {
            Some(matrix) => {
                if matrix.order.is_some() {
                    let (name, shape) = (order_name(&name), vec![shape[1]]);
                    plan.push(TensorPlan { name, kind: TensorKind::U32, shape });
                }
                TensorKind::RowBlocks { bits: matrix.bits, group: matrix.group }
            }
            None if shape.len() == 1 => TensorKind::F32,
            None => match head {
                Some(bits) => TensorKind::RowBlocks { bits, group },
                None => {
                    let source = dense_names(checkpoint).into_iter().find(|(packed, _)| *packed == name);
                    let tensor = checkpoint.tensor(source.map_or(name.as_str(), |(_, source)| source))?;
                    if tensor.dtype == Dtype::Bf16 { TensorKind::Bf16 } else { TensorKind::F16 }
                }
            },
        };
        plan.push(TensorPlan { name, kind, shape });
    }
    Ok(plan)
}

/// Embedding and head: names in the packed file and in the checkpoint.
fn dense_names(checkpoint: &Checkpoint) -> Vec<(&'static str, &'static str)> {
    let mut names = vec![("embed", "model.embed_tokens.weight")];
    if !checkpoint.config().tie_word_embeddings {
        names.push(("head", "lm_head.weight"));
    }
    names
}

/// Norms and biases.
fn write_vectors(checkpoint: &Checkpoint, writer: &mut PackedWriter) -> Result<()> {
    let mut write = |packed: String, values: Vec<f32>| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        writer.write(&packed, &bytes)
    };
    let config = checkpoint.config();
    for layer in 0..config.layers {
        for (packed, part) in [("input_norm", "input_layernorm"), ("post_norm", "post_attention_layernorm")] {
            let norm = checkpoint.tensor(&format!("model.layers.{layer}.{part}.weight"))?;
            write(format!("layers.{layer}.{packed}"), norm.to_f32()?)?;
        }
        let mut bias = Vec::with_capacity(config.qkv_rows());
        for (part, rows) in [("q", config.attention_size()), ("k", config.kv_size()), ("v", config.kv_size())]
        {
            let name = format!("model.layers.{layer}.self_attn.{part}_proj.bias");
            bias.extend(checkpoint.vector_or_zeros(&name, rows)?);
        }
        write(format!("layers.{layer}.qkv_bias"), bias)?;
    }
    write("final_norm".to_owned(), checkpoint.tensor("model.norm.weight")?.to_f32()?)?;
    Ok(())
}

/// Writes the embedding or the head: 16 bits as they are (f32 becomes f16), or rounded to the nearest.
fn write_dense(
    tensor: &Tensor<'_>,
    packed: &str,
    head: Option<WeightBits>,
    group: GroupSize,
    writer: &mut PackedWriter,
) -> Result<()> {
    let (rows, inputs) = (tensor.shape[0], tensor.shape[1]);
    let too_large = |row: usize, values: &[f32]| {
        let value = values.iter().copied().fold(0.0, |a: f32, b| if b.abs() > a.abs() { b } else { a });
        Error::TooLarge { tensor: tensor.name.clone(), row, value }
    };
    let mut values = Vec::with_capacity(inputs);
    let Some(bits) = head else {
        let mut halves = Vec::new();
        for row in 0..rows {
            // Also what finds NaN and infinity in a tensor that is copied.
            tensor.rows_to_f32(row..row + 1, &mut values)?;
            if tensor.dtype == Dtype::F32 {
                for value in &values {
                    let half = f16::from_f32(*value);
                    if !half.is_finite() {
                        return Err(too_large(row, &values));
                    }
                    halves.extend(half.to_le_bytes());
                }
            }
        }
        let bytes = if tensor.dtype == Dtype::F32 { &halves } else { tensor.bytes };
        return Ok(writer.write(packed, bytes)?);
    };
    let mut matrix = QuantizedMatrix::zeroed(RowBlockShape { rows, inputs, group, bits });
    let groups = matrix.shape.groups();
    for row in 0..rows {
        tensor.rows_to_f32(row..row + 1, &mut values)?;
        let codes = matrix.codes[row * inputs..][..inputs].chunks_mut(group.get());
        for (at, (codes, weights)) in codes.zip(values.chunks(group.get())).enumerate() {
            let (low, high) = range(weights);
            let fit = if bits == WeightBits::Four { Fit::four(low, high) } else { Fit::eight(low, high) };
            let fit = fit.ok_or_else(|| too_large(row, weights))?;
            codes.iter_mut().zip(weights).for_each(|(code, weight)| *code = fit.code(*weight));
            matrix.scales[row * groups + at] = fit.scale;
            matrix.zeros[row * groups + at] = fit.zero;
        }
    }
    Ok(writer.write(packed, &matrix.pack())?)
}
