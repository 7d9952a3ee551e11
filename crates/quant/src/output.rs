//! Writes tensors to the packed file under their names there, and keeps the report.

use crate::apply::{Rounded, round_eight};
use crate::fold;
use crate::matrix::{Fused, Metric};
use crate::report::{StepError, TensorReport};
use crate::search::Scaling;
use crate::{QuantizeOptions, Result};
use edgewen_engine::Norm;
use edgewen_layout::WeightBits;
use edgewen_model::packed::{PackedWriter, TensorKind, TensorPlan, expected_tensors};
use edgewen_model::{Checkpoint, Dtype};

/// The embedding in a checkpoint.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";

/// The head of a checkpoint that is not tied.
pub(crate) const HEAD: &str = "lm_head.weight";

/// The packed file that is being written, and the report about it.
pub(crate) struct Output<'a> {
    writer: PackedWriter,
    /// The same model with 8 bits in every quantized matrix, if it is asked for.
    twin: Option<PackedWriter>,
    pub(crate) tensors: Vec<TensorReport>,
    checkpoint: &'a Checkpoint,
}

/// Names in the checkpoint of the parts of a layer's matrix, and whether they are clipped.
pub(crate) fn layer_names(layer: usize, packed: &str) -> Vec<(String, bool)> {
    let parts: &[(&str, bool)] = match packed {
        "qkv" => &[("self_attn.q_proj", false), ("self_attn.k_proj", false), ("self_attn.v_proj", true)],
        "o" => &[("self_attn.o_proj", true)],
        "gate_up" => &[("mlp.gate_proj", true), ("mlp.up_proj", true)],
        _ => &[("mlp.down_proj", true)],
    };
    parts.iter().map(|(part, clip)| (format!("model.layers.{layer}.{part}.weight"), *clip)).collect()
}

/// How each tensor will be stored.
pub(crate) fn plan(checkpoint: &Checkpoint, options: &QuantizeOptions) -> Result<Vec<TensorPlan>> {
    let group = options.group;
    let expected = expected_tensors(checkpoint.config());
    let plan = expected.into_iter().map(|(name, shape)| {
        let kind = match (name.as_str(), shape.len()) {
            (_, 1) => TensorKind::F32,
            ("embed" | "head", _) => match options.head_bits(&name) {
                Some(bits) => TensorKind::RowBlocks { bits, group },
                None => {
                    let tensor = if name == "embed" { EMBEDDING } else { HEAD };
                    match checkpoint.tensor(tensor)?.dtype {
                        Dtype::Bf16 => TensorKind::Bf16,
                        Dtype::F16 | Dtype::F32 => TensorKind::F16,
                    }
                }
            },
            _ => TensorKind::RowBlocks { bits: options.layer_bits(&name), group },
        };
        Ok(TensorPlan { name, kind, shape })
    });
    plan.collect()
}

/// The same for the twin: 8 bits in every quantized matrix.
pub(crate) fn twin_plan(plan: &[TensorPlan]) -> Vec<TensorPlan> {
    let eight = |tensor: &TensorPlan| match tensor.kind {
        TensorKind::RowBlocks { group, .. } => {
            TensorPlan { kind: TensorKind::RowBlocks { bits: WeightBits::Eight, group }, ..tensor.clone() }
        }
        _ => tensor.clone(),
    };
    plan.iter().map(eight).collect()
}

impl<'a> Output<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, writer: PackedWriter, twin: Option<PackedWriter>) -> Self {
        Output { writer, twin, tensors: Vec::new(), checkpoint }
    }

    /// Whether [`Self::write_matrix`] wants to know what was rounded.
    pub(crate) fn wants_target(&self) -> bool {
        self.twin.is_some()
    }

    /// Gives the files their names; returns the reports about the matrices.
    pub(crate) fn finish(self) -> Result<Vec<TensorReport>> {
        self.writer.finish()?;
        if let Some(twin) = self.twin {
            twin.finish()?;
        }
        Ok(self.tensors)
    }

    /// Packs and writes a matrix and reports its parts. Errors and sizes are absolute, one a part. `target`
    /// [rows, inputs] is what was rounded, with all factors; `None` if that is the checkpoint's matrix itself.
    #[allow(clippy::too_many_arguments, reason = "what is known of a matrix")]
    pub(crate) fn write_matrix(
        &mut self,
        fused: &Fused,
        rounded: &Rounded,
        plain: &[f64],
        sizes: &[f64],
        scaling: &Scaling,
        metric: Metric<'_>,
        target: Option<Vec<f32>>,
        steps: Vec<StepError>,
    ) -> Result<()> {
        let Rounded { matrix, errors, clipped } = rounded;
        for (index, part) in fused.parts.iter().enumerate() {
            let elements = (part.rows.len() * fused.inputs) as u64;
            // A matrix of zeros, or one whose inputs are, has no relative error.
            let relative = |error: f64| if sizes[index] > 0.0 { error / sizes[index] } else { 0.0 };
            let share = part.rows.len() as f64 / fused.rows() as f64;
            self.tensors.push(TensorReport {
                name: part.name.clone(),
                packed_as: fused.packed.clone(),
                bits: matrix.shape.bits.count(),
                elements,
                bytes: (matrix.shape.total_bytes() as f64 * share).round() as u64,
                measure: metric.measure(),
                error_rtn: relative(plain[index]),
                error: relative(errors[index]),
                alpha: scaling.alpha,
                duo: scaling.duo,
                clipped: clipped[index],
                steps: steps.clone(),
            });
        }
        if let Some(twin) = &mut self.twin {
            let eight = match target {
                Some(weights) => round_eight(&Fused { weights, ..fused.clone_names() }),
                None => round_eight(fused),
            };
            twin.write(&fused.packed, &eight?.pack())?;
        }
        Ok(self.writer.write(&fused.packed, &matrix.pack())?)
    }

    /// Writes a tensor as it is.
    pub(crate) fn write_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if let Some(twin) = &mut self.twin {
            twin.write(name, bytes)?;
        }
        Ok(self.writer.write(name, bytes)?)
    }

    /// A norm's weight as it is in the checkpoint.
    pub(crate) fn norm(&self, which: Norm) -> edgewen_model::Result<Vec<f32>> {
        let name = match which {
            Norm::Input(layer) => format!("model.layers.{layer}.input_layernorm.weight"),
            Norm::PostAttention(layer) => format!("model.layers.{layer}.post_attention_layernorm.weight"),
            Norm::Final => "model.norm.weight".to_owned(),
        };
        self.checkpoint.tensor(&name)?.to_f32()
    }

    /// Writes a norm's weight, divided by the scales of the matrix after it.
    pub(crate) fn write_norm(&mut self, which: Norm, scales: Option<&[f32]>) -> Result<()> {
        let mut weight = self.norm(which)?;
        if let Some(scales) = scales {
            fold::divide(&mut weight, scales);
        }
        let name = match which {
            Norm::Input(layer) => format!("layers.{layer}.input_norm"),
            Norm::PostAttention(layer) => format!("layers.{layer}.post_norm"),
            Norm::Final => "final_norm".to_owned(),
        };
        self.write_vector(&name, &weight)
    }

    /// The biases of query, key and value; zeros where the checkpoint has none.
    pub(crate) fn bias(&self, layer: usize) -> Result<Vec<f32>> {
        let config = self.checkpoint.config();
        let mut all = Vec::with_capacity(config.qkv_rows());
        for (part, rows) in [("q", config.attention_size()), ("k", config.kv_size()), ("v", config.kv_size())]
        {
            let name = format!("model.layers.{layer}.self_attn.{part}_proj.bias");
            if self.checkpoint.contains(&name) {
                all.extend(self.checkpoint.tensor(&name)?.to_f32()?);
            } else {
                all.resize(all.len() + rows, 0.0);
            }
        }
        Ok(all)
    }

    /// Writes the biases, times the factors of their rows.
    pub(crate) fn write_bias(&mut self, layer: usize, factors: Option<&[f32]>) -> Result<()> {
        let mut bias = self.bias(layer)?;
        if let Some(factors) = factors {
            fold::scale_rows(&mut bias, 1, factors);
        }
        self.write_vector(&format!("layers.{layer}.qkv_bias"), &bias)
    }

    fn write_vector(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.write_bytes(name, &bytes)
    }
}
