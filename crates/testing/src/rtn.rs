//! The plainest quantizer: every group rounded to its own range, no calibration.
//!
//! Tests of the engine need packed files and should not depend on the real quantizer, which is built on the engine.
//! It is no baseline for quality figures; `edgewen quantize --method rtn` is.

use std::ops::Range;
use std::path::Path;

use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits};
use edgewen_model::packed::{
    Header, PackedFile, PackedWriter, QuantizationInfo, TensorKind, TensorPlan, expected_tensors, order_name,
};
use edgewen_model::{Checkpoint, Dtype};
use half::{bf16, f16};

/// How embedding and head are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Row blocks of so many bits.
    Bits(WeightBits),
    /// The checkpoint's own 16-bit type, or f16 if it has none.
    Sixteen,
}

/// What of the layers differs from the plainest file: the matrices whose names end so, such as `down` or `1.qkv`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mix<'a> {
    /// Stored with eight bits, as segments.
    pub eight: &'a [&'a str],
    /// Stored with their columns in another order.
    pub ordered: &'a [&'a str],
}

impl Mix<'_> {
    fn is_eight(&self, name: &str) -> bool {
        self.eight.iter().any(|end| name.ends_with(end))
    }

    fn is_ordered(&self, name: &str) -> bool {
        self.ordered.iter().any(|end| name.ends_with(end))
    }
}

/// Some order of so many columns that leaves hardly one in its group.
pub fn column_order(inputs: usize) -> Vec<u32> {
    let step = [37, 41, 43].into_iter().find(|step| !inputs.is_multiple_of(*step));
    let step = step.expect("no matrix of a test has a multiple of all three");
    (0..inputs).map(|column| ((column * step + 5) % inputs) as u32).collect()
}

/// Quantizes `weights` [rows, inputs] to the least and greatest value of every group.
pub fn quantize(shape: RowBlockShape, weights: &[f32]) -> QuantizedMatrix {
    let mut matrix = QuantizedMatrix::zeroed(shape);
    // With eight bits the zero point is a multiple of 16, which can cost 15 codes at one end.
    let (most, steps, unit) = match shape.bits {
        WeightBits::Four => (15.0, 15.0, 1.0),
        WeightBits::Eight | WeightBits::EightSegments => (255.0, 240.0, 16.0),
    };
    for row in 0..shape.rows {
        for group in 0..shape.groups() {
            let columns: Range<usize> =
                group * shape.group.get()..shape.inputs.min((group + 1) * shape.group.get());
            let at = row * shape.inputs + columns.start..row * shape.inputs + columns.end;
            let low = weights[at.clone()].iter().copied().fold(0.0, f32::min);
            let high = weights[at.clone()].iter().copied().fold(0.0, f32::max);
            let scale = f16::from_f32((high - low) / steps * unit);
            let step = scale.to_f32() / unit;
            if step == 0.0 {
                continue;
            }
            let zero = match shape.bits {
                WeightBits::Four => (-low / step).round().min(15.0),
                WeightBits::Eight | WeightBits::EightSegments => (-low / step / unit).ceil().min(15.0),
            };
            matrix.scales[row * shape.groups() + group] = scale;
            matrix.zeros[row * shape.groups() + group] = zero as u8;
            for at in at {
                matrix.codes[at] = ((weights[at] / step).round() + unit * zero).clamp(0.0, most) as u8;
            }
        }
    }
    matrix
}

/// Writes the packed file of a checkpoint to `path` and opens it.
///
/// # Panics
/// If the checkpoint is no model, or the file cannot be written.
pub fn pack(checkpoint: &Checkpoint, group: GroupSize, head: Head, path: &Path) -> PackedFile {
    pack_mixed(checkpoint, group, head, Mix::default(), path)
}

/// [`pack`] with some matrices of layers stored in another way.
///
/// # Panics
/// As [`pack`].
pub fn pack_mixed(
    checkpoint: &Checkpoint,
    group: GroupSize,
    head: Head,
    mix: Mix<'_>,
    path: &Path,
) -> PackedFile {
    let sixteen = match checkpoint.tensor("model.embed_tokens.weight").expect("an embedding").dtype {
        Dtype::Bf16 => TensorKind::Bf16,
        Dtype::F16 | Dtype::F32 => TensorKind::F16,
    };
    let kind = |name: &str, shape: &[usize]| match (name, head) {
        _ if shape.len() == 1 => TensorKind::F32,
        ("embed" | "head", Head::Sixteen) => sixteen,
        ("embed" | "head", Head::Bits(bits)) => TensorKind::RowBlocks { bits, group },
        _ if mix.is_eight(name) => TensorKind::SEGMENTS,
        _ => TensorKind::RowBlocks { bits: WeightBits::Four, group },
    };
    let tensors = expected_tensors(checkpoint.config());
    let orders = tensors.iter().filter(|(name, _)| mix.is_ordered(name)).map(|(name, shape)| TensorPlan {
        name: order_name(name),
        kind: TensorKind::U32,
        shape: vec![shape[1]],
    });
    let mut plan: Vec<TensorPlan> = orders.collect();
    plan.extend(tensors.into_iter().map(|(name, shape)| TensorPlan {
        kind: kind(&name, &shape),
        name,
        shape,
    }));
    let header = Header {
        config: checkpoint.config().clone(),
        generation: checkpoint.generation().clone(),
        quantization: QuantizationInfo { method: "rtn".into(), group: group.get(), ..Default::default() },
        tokenizer: checkpoint.tokenizer_files().expect("the checkpoint has a tokenizer"),
    };
    let mut writer = PackedWriter::create(path, header, plan.clone(), true).expect("the plan is right");
    for tensor in &plan {
        if tensor.kind == TensorKind::U32 {
            let order = column_order(tensor.shape[0]);
            let bytes: Vec<u8> = order.iter().flat_map(|input| input.to_le_bytes()).collect();
            writer.write(&tensor.name, &bytes).expect("the order can be written");
            continue;
        }
        let mut values = values(checkpoint, &tensor.name, &tensor.shape);
        if mix.is_ordered(&tensor.name) {
            let order = column_order(tensor.shape[1]);
            for row in values.chunks_exact_mut(tensor.shape[1]) {
                let reordered: Vec<f32> = order.iter().map(|&input| row[input as usize]).collect();
                row.copy_from_slice(&reordered);
            }
        }
        writer.write(&tensor.name, &encode(tensor, &values)).expect("the tensor can be written");
    }
    writer.finish().expect("the file can be finished");
    PackedFile::open(path).expect("what was just written is a packed file")
}

/// The values of a packed tensor, its parts one after another.
fn values(checkpoint: &Checkpoint, name: &str, shape: &[usize]) -> Vec<f32> {
    let names: Vec<String> = match name {
        "embed" => vec!["model.embed_tokens.weight".into()],
        "head" => vec!["lm_head.weight".into()],
        "final_norm" => vec!["model.norm.weight".into()],
        _ => {
            let (layer, part) = name.rsplit_once('.').expect("the name of a layer's tensor");
            let parts: &[&str] = match part {
                "input_norm" => &["input_layernorm.weight"],
                "post_norm" => &["post_attention_layernorm.weight"],
                "qkv" => &["self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"],
                "qkv_bias" => &["self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"],
                "o" => &["self_attn.o_proj.weight"],
                "gate_up" => &["mlp.gate_proj.weight", "mlp.up_proj.weight"],
                "down" => &["mlp.down_proj.weight"],
                other => panic!("no such part: {other}"),
            };
            parts.iter().map(|part| format!("model.{layer}.{part}")).collect()
        }
    };
    let config = checkpoint.config();
    let mut values = Vec::with_capacity(shape.iter().product());
    for (index, name) in names.iter().enumerate() {
        // Only biases may be absent, and they are the only fused vectors.
        let length = if index == 0 { config.attention_size() } else { config.kv_size() };
        if name.ends_with(".bias") {
            values.extend(checkpoint.vector_or_zeros(name, length).expect("a readable bias"));
        } else {
            values.extend(
                checkpoint.tensor(name).and_then(|tensor| tensor.to_f32()).expect("a readable tensor"),
            );
        }
    }
    values
}

fn encode(tensor: &TensorPlan, values: &[f32]) -> Vec<u8> {
    match tensor.kind {
        TensorKind::RowBlocks { bits, group } => {
            let shape = RowBlockShape { rows: tensor.shape[0], inputs: tensor.shape[1], group, bits };
            quantize(shape, values).pack()
        }
        TensorKind::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        TensorKind::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        TensorKind::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        TensorKind::U32 => panic!("{} is no tensor of a checkpoint", tensor.name),
    }
}
