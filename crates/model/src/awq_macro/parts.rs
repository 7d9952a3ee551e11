//! What is in an AWQ_MACRO file, in order.

use crate::{Config, Error, Result};
use edgewen_layout::awq_macro::{MACRO_ROWS, MacroError, total_bytes};
use std::ops::Range;

/// What a part holds, and which of the packed file's tensors it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Macros: rows of a quantized matrix.
    Macros {
        /// Tensor of the packed file.
        tensor: String,
        /// Which of its rows.
        rows: Range<usize>,
        /// Input channels.
        inputs: usize,
    },
    /// Values in f16: elements of a vector.
    Vector {
        /// Tensor of the packed file.
        tensor: String,
        /// Which of its elements.
        elements: Range<usize>,
    },
    /// A matrix [rows, inputs] in f16: the embedding or the head.
    Dense {
        /// Tensor of the packed file.
        tensor: &'static str,
        /// Output channels.
        rows: usize,
        /// Input channels.
        inputs: usize,
    },
}

/// A piece of an AWQ_MACRO file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its layer, if it is in one.
    pub layer: Option<usize>,
    /// As the seed's metadata calls it: `self_attn.q_proj`, `input_layernorm.weight`, `norm`.
    pub name: &'static str,
    /// What it holds.
    pub content: Content,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// The parts of the file of a model. Fails if a matrix has rows that do not fill macros.
pub fn parts(config: &Config) -> Result<Vec<Part>> {
    let mut list = List { parts: Vec::with_capacity(12 * config.layers + 3), end: 0 };
    let (hidden, mlp) = (config.hidden_size, config.intermediate_size);
    let (q, kv) = (config.attention_size(), config.kv_size());
    for layer in 0..config.layers {
        let mut projections = |names: [(&'static str, usize); 3]| {
            let mut first = 0;
            for (name, rows) in names {
                list.macros(layer, name, "qkv", first..first + rows, hidden)?;
                list.vector(Some(layer), name, &format!("layers.{layer}.qkv_bias"), first..first + rows);
                first += rows;
            }
            Ok(())
        };
        projections([("self_attn.q_proj", q), ("self_attn.k_proj", kv), ("self_attn.v_proj", kv)])?;
        list.macros(layer, "self_attn.o_proj", "o", 0..hidden, q)?;
        list.macros(layer, "mlp.gate_proj", "gate_up", 0..mlp, hidden)?;
        list.macros(layer, "mlp.up_proj", "gate_up", mlp..2 * mlp, hidden)?;
        list.macros(layer, "mlp.down_proj", "down", 0..hidden, mlp)?;
        let norm = |part: &str| format!("layers.{layer}.{part}");
        list.vector(Some(layer), "input_layernorm.weight", &norm("input_norm"), 0..hidden);
        list.vector(Some(layer), "post_attention_layernorm.weight", &norm("post_norm"), 0..hidden);
    }
    list.vector(None, "norm", "final_norm", 0..hidden);
    list.dense("token_embedding", "embed", config.vocab_size, hidden);
    if !config.tie_word_embeddings {
        list.dense("lm_head", "head", config.vocab_size, hidden);
    }
    Ok(list.parts)
}

/// Length of the file of a model.
pub fn file_bytes(config: &Config) -> Result<u64> {
    Ok(parts(config)?.last().map_or(0, |part| part.offset + part.bytes))
}

struct List {
    parts: Vec<Part>,
    end: u64,
}

impl List {
    fn push(&mut self, layer: Option<usize>, name: &'static str, content: Content, bytes: usize) {
        let (offset, bytes) = (self.end, bytes as u64);
        self.end += bytes;
        self.parts.push(Part { layer, name, content, offset, bytes });
    }

    fn macros(
        &mut self,
        layer: usize,
        name: &'static str,
        part: &str,
        rows: Range<usize>,
        inputs: usize,
    ) -> Result<()> {
        if !rows.len().is_multiple_of(MACRO_ROWS) {
            let tensor = format!("layers.{layer}.{name}");
            return Err(Error::AwqMacro { tensor, problem: MacroError::Rows { found: rows.len() } });
        }
        let bytes = total_bytes(rows.len(), inputs).expect("the limits of a configuration keep sizes small");
        let tensor = format!("layers.{layer}.{part}");
        self.push(Some(layer), name, Content::Macros { tensor, rows, inputs }, bytes);
        Ok(())
    }

    fn vector(&mut self, layer: Option<usize>, name: &'static str, tensor: &str, elements: Range<usize>) {
        let bytes = 2 * elements.len();
        self.push(layer, name, Content::Vector { tensor: tensor.to_owned(), elements }, bytes);
    }

    fn dense(&mut self, name: &'static str, tensor: &'static str, rows: usize, inputs: usize) {
        self.push(None, name, Content::Dense { tensor, rows, inputs }, 2 * rows * inputs);
    }
}
