//! Which tensors a model of a given shape has, how each may be stored, and where things may lie.

use super::metadata::TensorKind;
use crate::Config;
use edgewen_layout::{GroupSize, WeightBits};

/// Every blob and tensor begins at a multiple of this: a page, so that the accelerator's DMA can take it as it lies.
pub(super) const ALIGNMENT: u64 = 4096;

/// Memory ports of the accelerator.
pub(super) const PORTS: usize = 4;

/// Names and shapes of the tensors of a model, in file order, which is the order in which a token needs them; each
/// must be there exactly once.
pub fn expected_tensors(config: &Config) -> Vec<(String, Vec<usize>)> {
    let (hidden, mlp) = (config.hidden_size, config.intermediate_size);
    let mut list = Vec::with_capacity(7 * config.layers + 3);
    for layer in 0..config.layers {
        let mut add =
            |part: &str, shape: &[usize]| list.push((format!("layers.{layer}.{part}"), shape.to_vec()));
        add("input_norm", &[hidden]);
        add("qkv", &[config.qkv_rows(), hidden]);
        add("qkv_bias", &[config.qkv_rows()]);
        add("o", &[hidden, config.attention_size()]);
        add("post_norm", &[hidden]);
        add("gate_up", &[2 * mlp, hidden]);
        add("down", &[hidden, mlp]);
    }
    list.push(("final_norm".to_owned(), vec![hidden]));
    list.push(("embed".to_owned(), vec![config.vocab_size, hidden]));
    if !config.tie_word_embeddings {
        list.push(("head".to_owned(), vec![config.vocab_size, hidden]));
    }
    list
}

/// Name of the tensor with the column order of a layer's matrix: `layers.0.qkv_order` for `layers.0.qkv`. It may be
/// absent; its shape is the matrix's inputs.
pub fn order_name(matrix: &str) -> String {
    format!("{matrix}_order")
}

/// [`expected_tensors`] with those that may be absent, which are the column orders, each before its matrix; and whether
/// a tensor must be there.
pub(super) fn all_tensors(config: &Config) -> Vec<(String, Vec<usize>, bool)> {
    let mut list = Vec::new();
    for (name, shape) in expected_tensors(config) {
        if let (true, &[_, inputs]) = (name.starts_with("layers."), shape.as_slice()) {
            list.push((order_name(&name), vec![inputs], false));
        }
        list.push((name, shape, true));
    }
    list
}

/// How a tensor may be stored, for messages; `None` if `kind` is fine.
pub(super) fn kind_problem(name: &str, shape: &[usize], kind: TensorKind) -> Option<&'static str> {
    const SEGMENTS: WeightBits = WeightBits::EightSegments;
    let is_head = matches!(name, "embed" | "head");
    match (shape.len(), kind) {
        (1, TensorKind::U32) if name.ends_with("_order") => None,
        (1, _) if name.ends_with("_order") => Some("u32"),
        (1, TensorKind::F32) => None,
        (1, _) => Some("f32"),
        (_, TensorKind::RowBlocks { bits: WeightBits::Four | WeightBits::Eight, .. }) => None,
        (_, TensorKind::RowBlocks { bits: SEGMENTS, group: GroupSize::G64 }) if !is_head => None,
        (_, TensorKind::F16 | TensorKind::Bf16) if is_head => None,
        _ if is_head => Some("row_blocks, f16 or bf16"),
        _ => Some("row_blocks or segments in groups of 64"),
    }
}

/// The lowest format version that has this kind of tensor.
pub(super) fn version_of(kind: TensorKind) -> u32 {
    match kind {
        TensorKind::RowBlocks { bits: WeightBits::EightSegments, .. } | TensorKind::U32 => 2,
        _ => 1,
    }
}
