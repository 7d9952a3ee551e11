//! The CPU backend: a packed file over the kernels.
//!
//! Matrices are used where they lie in the mapped file; only norms, biases and the rotation table are copied. The
//! bits of every result are the same for every instruction set, thread count and batch.

use std::borrow::Cow;
use std::sync::Arc;

use edgewen_kernels::attention::attention;
use edgewen_kernels::kv::{KvLayer, KvType};
use edgewen_kernels::rms_norm::rms_norm;
use edgewen_kernels::rope::{RopeTable, rope};
use edgewen_kernels::silu::{add_assign, silu_mul};
use edgewen_kernels::{Activations, Compute, Dense, DenseType, RowBlocks, dense_linear, linear};
use edgewen_layout::WeightBits;
use edgewen_model::packed::{PackedFile, TensorKind};
use edgewen_model::{Config, Dtype};

use crate::top_k::largest;
use crate::{Backend, Batch, Error, Linear, Norm, Result, Segment, two_plane};

/// Positions by which the rotation table grows: each growth copies it.
const ROPE_POSITIONS: usize = 256;

/// A packed model on the CPU.
pub struct CpuBackend {
    file: Arc<PackedFile>,
    config: Config,
    compute: Compute,
    kv_type: KvType,
    norms: Vec<Vec<f32>>,
    biases: Vec<Vec<f32>>,
    /// Column orders of the four matrices of each layer.
    orders: Vec<[Option<Vec<u32>>; 4]>,
    rope: RopeTable,
    activations: Activations,
    /// Of [`two_plane::top_k`].
    logits: Vec<f32>,
    slots: Vec<Vec<KvLayer>>,
}

/// A matrix of the file, in one of the two ways it can be stored.
enum Matrix<'a> {
    Quantized(RowBlocks<'a>),
    Dense(Dense<'a>),
}

impl CpuBackend {
    /// A backend for `file`. Reads norms, biases and column orders, no matrix.
    ///
    /// # Errors
    /// A norm or bias that cannot be read, or a column order that is none.
    pub fn new(file: Arc<PackedFile>, compute: Compute, kv_type: KvType) -> Result<Self> {
        let config = file.config().clone();
        let mut norms = Vec::new();
        let mut biases = Vec::new();
        let mut orders = Vec::new();
        for layer in 0..config.layers {
            norms.push(file.vector(&format!("layers.{layer}.input_norm"))?);
            norms.push(file.vector(&format!("layers.{layer}.post_norm"))?);
            biases.push(file.vector(&format!("layers.{layer}.qkv_bias"))?);
            let order = |matrix: &str| file.order(&format!("layers.{layer}.{matrix}"));
            orders.push([order("qkv")?, order("o")?, order("gate_up")?, order("down")?]);
        }
        norms.push(file.vector("final_norm")?);
        let (inverse_frequencies, scale) = config.rope.inv_freq(config.head_dim);
        let rope = RopeTable::new(config.head_dim, &inverse_frequencies, scale, 0);
        let activations = Activations::new();
        let (logits, slots) = (Vec::new(), Vec::new());
        Ok(Self { file, config, compute, kv_type, norms, biases, orders, rope, activations, logits, slots })
    }

    /// Appends the keys and values of `qkv` [tokens, (heads + 2 kv_heads) * head_dim] to a layer's cache of the segment's
    /// slot, which is cut off before them: the first half of [`attention`](Backend::attention).
    pub fn append(&mut self, layer: usize, segment: Segment, qkv: &[f32]) {
        let config = &self.config;
        let (q_size, kv_size, stride) = (config.attention_size(), config.kv_size(), config.qkv_rows());
        if self.slots.len() <= segment.slot {
            self.slots.resize_with(segment.slot + 1, Vec::new);
        }
        let slot = &mut self.slots[segment.slot];
        slot.resize_with(config.layers, || KvLayer::new(self.kv_type, config.kv_heads, config.head_dim));
        let cache = &mut slot[layer];
        cache.truncate(segment.start);
        cache.append(&self.compute, &qkv[q_size..], &qkv[q_size + kv_size..], stride, segment.len);
    }

    /// Attends with the queries of `qkv`, whose keys and values are appended: the other half.
    ///
    /// # Panics
    /// If they are not.
    pub fn attend(&self, layer: usize, segment: Segment, qkv: &[f32], out: &mut [f32]) {
        let (cache, heads) = (&self.slots[segment.slot][layer], self.config.heads);
        let (stride, Segment { len, start, .. }) = (self.config.qkv_rows(), segment);
        attention(&self.compute, cache, qkv, stride, heads, len, start, out);
    }

    /// The keys and values of a layer in a slot, if there were any yet.
    pub fn cache(&self, layer: usize, slot: usize) -> Option<&KvLayer> {
        self.slots.get(slot)?.get(layer)
    }

    /// `x` [tokens, inputs] with its columns in the order of a matrix's: as it is, unless the file says otherwise.
    pub fn in_order<'a>(&self, which: Linear, x: &'a [f32]) -> Cow<'a, [f32]> {
        let order = match which {
            Linear::Qkv(layer) => &self.orders[layer][0],
            Linear::O(layer) => &self.orders[layer][1],
            Linear::GateUp(layer) => &self.orders[layer][2],
            Linear::Down(layer) => &self.orders[layer][3],
            Linear::Head => &None,
        };
        let Some(order) = order else { return Cow::Borrowed(x) };
        let token = |x: &'a [f32]| order.iter().map(move |&input| x[input as usize]);
        Cow::Owned(x.chunks_exact(order.len()).flat_map(token).collect())
    }

    /// How keys and values are stored.
    pub fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// Whether the high plane of the head can be read alone, and saves something.
    fn has_two_plane_head(&self) -> bool {
        let kind = self.file.entry(self.head_name()).map(|entry| entry.kind);
        let is_apart = matches!(kind, Ok(TensorKind::RowBlocks { bits: WeightBits::Eight, .. }));
        is_apart && two_plane::CANDIDATES < self.config.vocab_size
    }

    fn head_name(&self) -> &'static str {
        if self.config.tie_word_embeddings { "embed" } else { "head" }
    }

    /// What the backend computes on.
    pub fn compute(&self) -> &Compute {
        &self.compute
    }

    /// The packed file that the backend runs.
    pub fn file(&self) -> &PackedFile {
        &self.file
    }
}

/// The matrix `name` of `file`.
fn matrix<'a>(file: &'a PackedFile, name: &str) -> Result<Matrix<'a>> {
    if let TensorKind::RowBlocks { .. } = file.entry(name)?.kind {
        let (shape, data) = file.matrix(name)?;
        let blocks =
            RowBlocks::new(shape, data).map_err(|error| Error::Backend(format!("tensor {name}: {error}")))?;
        return Ok(Matrix::Quantized(blocks));
    }
    let (info, data) = file.dense(name)?;
    let dtype = match info.dtype {
        Dtype::F32 => DenseType::F32,
        Dtype::F16 => DenseType::F16,
        Dtype::Bf16 => DenseType::Bf16,
    };
    Ok(Matrix::Dense(Dense { rows: info.rows, inputs: info.inputs, dtype, data }))
}

impl Backend for CpuBackend {
    fn name(&self) -> String {
        format!("cpu ({}, {} threads)", self.compute.isa, self.compute.pool.threads())
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn embed(&mut self, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        let table = matrix(&self.file, "embed")?;
        for (&token, out) in tokens.iter().zip(out.chunks_exact_mut(self.config.hidden_size)) {
            match &table {
                Matrix::Quantized(blocks) => blocks.dequantize_row(token as usize, out),
                Matrix::Dense(dense) => dense.row_to_f32(token as usize, out),
            }
        }
        Ok(())
    }

    fn rms_norm(&mut self, which: Norm, x: &[f32], out: &mut [f32]) -> Result<()> {
        let weight = &self.norms[match which {
            Norm::Input(layer) => 2 * layer,
            Norm::PostAttention(layer) => 2 * layer + 1,
            Norm::Final => 2 * self.config.layers,
        }];
        rms_norm(&self.compute, x, weight, self.config.rms_norm_eps, out);
        Ok(())
    }

    fn linear(&mut self, which: Linear, x: &[f32], tokens: usize, out: &mut [f32]) -> Result<()> {
        let (name, bias) = match which {
            Linear::Qkv(i) => (format!("layers.{i}.qkv"), Some(self.biases[i].as_slice())),
            Linear::O(i) => (format!("layers.{i}.o"), None),
            Linear::GateUp(i) => (format!("layers.{i}.gate_up"), None),
            Linear::Down(i) => (format!("layers.{i}.down"), None),
            Linear::Head => (self.head_name().to_string(), None),
        };
        let x = &self.in_order(which, x);
        match matrix(&self.file, &name)? {
            Matrix::Quantized(blocks) => {
                let shape = blocks.shape();
                self.activations.quantize(&self.compute, x, tokens, shape.inputs, shape.group);
                linear(&self.compute, &blocks, &self.activations, bias, out);
            }
            Matrix::Dense(dense) => dense_linear(&self.compute, &dense, x, tokens, bias, out),
        }
        Ok(())
    }

    fn most_top_k(&self) -> usize {
        if self.has_two_plane_head() { two_plane::MOST_TOP_K } else { 0 }
    }

    fn top_k(&mut self, x: &[f32], k: usize) -> Result<Vec<(u32, f32)>> {
        if k <= self.most_top_k()
            && let Matrix::Quantized(head) = matrix(&self.file, self.head_name())?
            && let Some(high_plane) = head.high_plane()
        {
            let shape = head.shape();
            self.activations.quantize(&self.compute, x, 1, shape.inputs, shape.group);
            let (x, logits) = (&self.activations, &mut self.logits);
            return Ok(two_plane::top_k(&self.compute, &head, &high_plane, x, k, logits));
        }
        let mut logits = std::mem::take(&mut self.logits);
        logits.resize(self.config.vocab_size, 0.0);
        let done = self.linear(Linear::Head, x, 1, &mut logits);
        self.logits = logits;
        done.map(|()| largest(&self.logits, k))
    }

    fn rope(&mut self, batch: &Batch, qkv: &mut [f32]) -> Result<()> {
        let Some(last) = batch.positions().iter().max() else { return Ok(()) };
        self.rope.extend((last + 1).next_multiple_of(ROPE_POSITIONS));
        let heads = self.config.heads + self.config.kv_heads;
        rope(&self.compute, &self.rope, qkv, self.config.qkv_rows(), heads, batch.positions());
        Ok(())
    }

    fn attention(&mut self, layer: usize, batch: &Batch, qkv: &[f32], out: &mut [f32]) -> Result<()> {
        let (q_size, stride) = (self.config.attention_size(), self.config.qkv_rows());
        for (segment, rows) in batch.segments().filter(|(segment, _)| segment.len != 0) {
            let qkv = &qkv[rows.start * stride..rows.end * stride];
            self.append(layer, segment, qkv);
            self.attend(layer, segment, qkv, &mut out[rows.start * q_size..rows.end * q_size]);
        }
        Ok(())
    }

    fn silu_mul(&mut self, gate_up: &[f32], out: &mut [f32]) -> Result<()> {
        silu_mul(&self.compute, gate_up, self.config.intermediate_size, out);
        Ok(())
    }

    fn add(&mut self, x: &mut [f32], y: &[f32]) -> Result<()> {
        add_assign(&self.compute, x, y);
        Ok(())
    }

    fn truncate(&mut self, slot: usize, len: usize) {
        for cache in self.slots.get_mut(slot).into_iter().flatten() {
            cache.truncate(len);
        }
    }

    fn kv_bytes(&self) -> usize {
        self.slots.iter().flatten().map(KvLayer::bytes).sum()
    }
}
