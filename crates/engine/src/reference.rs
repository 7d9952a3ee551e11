//! The float reference: a checkpoint without any quantization, slow and exact.
//!
//! Dot products are accumulated in f64 and rounded once; between operations values are f32, as in `transformers`.
//! Weights stay as they are in the checkpoint and are converted on the fly; those of a quantized checkpoint are unpacked
//! when they are first needed, to a byte each. Users run it with a checkpoint directory as model; tests and quality figures measure the quantized model against it.

use std::collections::HashMap;
use std::sync::Arc;

use edgewen_model::{Checkpoint, Config, Weight};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Backend, Batch, Error, Linear, Norm, Result};

/// A checkpoint that runs in floating point.
pub struct Reference {
    checkpoint: Arc<Checkpoint>,
    config: Config,
    threads: ThreadPool,
    /// Quantized matrices that have been unpacked, by the names of their tensors.
    unpacked: HashMap<String, Weight<'static>>,
    norms: Vec<Vec<f32>>,
    biases: Vec<Vec<f32>>,
    inverse_frequencies: Vec<f32>,
    rope_scale: f32,
    slots: Vec<Vec<Cache>>,
}

/// Keys and values of one layer of one sequence: [positions, kv_heads * head_dim].
#[derive(Default)]
struct Cache {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Reference {
    /// A backend for `checkpoint` on `threads` threads.
    ///
    /// # Errors
    /// A norm or bias that cannot be read.
    pub fn new(checkpoint: impl Into<Arc<Checkpoint>>, threads: usize) -> Result<Self> {
        let checkpoint = checkpoint.into();
        let config = checkpoint.config().clone();
        let mut norms = Vec::new();
        let mut biases = Vec::new();
        for layer in 0..config.layers {
            for part in ["input_layernorm", "post_attention_layernorm"] {
                norms.push(checkpoint.tensor(&format!("model.layers.{layer}.{part}.weight"))?.to_f32()?);
            }
            let mut bias = Vec::new();
            for (part, rows) in qkv_parts(&config) {
                let name = format!("model.layers.{layer}.self_attn.{part}_proj.bias");
                bias.extend(checkpoint.vector_or_zeros(&name, rows)?);
            }
            biases.push(bias);
        }
        norms.push(checkpoint.tensor("model.norm.weight")?.to_f32()?);
        let threads = ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|error| Error::Backend(format!("cannot start threads: {error}")))?;
        let (inverse_frequencies, rope_scale) = config.rope.inv_freq(config.head_dim);
        Ok(Self {
            checkpoint,
            config,
            threads,
            unpacked: HashMap::new(),
            norms,
            biases,
            inverse_frequencies,
            rope_scale,
            slots: Vec::new(),
        })
    }

    /// Names of the checkpoint's matrices that make up `which`, in the order of its rows.
    fn matrices(&self, which: Linear) -> Vec<String> {
        let layer = |layer: usize, parts: &[&str]| {
            parts.iter().map(|part| format!("model.layers.{layer}.{part}_proj.weight")).collect()
        };
        match which {
            Linear::Qkv(i) => layer(i, &["self_attn.q", "self_attn.k", "self_attn.v"]),
            Linear::O(i) => layer(i, &["self_attn.o"]),
            Linear::GateUp(i) => layer(i, &["mlp.gate", "mlp.up"]),
            Linear::Down(i) => layer(i, &["mlp.down"]),
            Linear::Head if self.config.tie_word_embeddings => vec!["model.embed_tokens.weight".to_string()],
            Linear::Head => vec!["lm_head.weight".to_string()],
        }
    }
}

fn qkv_parts(config: &Config) -> [(&'static str, usize); 3] {
    [("q", config.attention_size()), ("k", config.kv_size()), ("v", config.kv_size())]
}

impl Backend for Reference {
    fn name(&self) -> String {
        "float reference".to_string()
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn embed(&mut self, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        let table = self.checkpoint.tensor("model.embed_tokens.weight")?;
        let mut row = Vec::new();
        for (&token, out) in tokens.iter().zip(out.chunks_exact_mut(self.config.hidden_size)) {
            let token = token as usize;
            table.rows_to_f32(token..token + 1, &mut row)?;
            out.copy_from_slice(&row);
        }
        Ok(())
    }

    fn rms_norm(&mut self, which: Norm, x: &[f32], out: &mut [f32]) -> Result<()> {
        let weight = &self.norms[match which {
            Norm::Input(layer) => 2 * layer,
            Norm::PostAttention(layer) => 2 * layer + 1,
            Norm::Final => 2 * self.config.layers,
        }];
        let eps = f64::from(self.config.rms_norm_eps);
        for (x, out) in x.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            let scale = 1.0 / (dot(x, x) / x.len() as f64 + eps).sqrt();
            for ((out, &x), &weight) in out.iter_mut().zip(x).zip(weight) {
                *out = (f64::from(x) * scale * f64::from(weight)) as f32;
            }
        }
        Ok(())
    }

    fn linear(&mut self, which: Linear, x: &[f32], tokens: usize, out: &mut [f32]) -> Result<()> {
        if tokens == 0 {
            return Ok(());
        }
        let (inputs, outputs) = (x.len() / tokens, out.len() / tokens);
        let mut first = 0;
        for name in self.matrices(which) {
            let matrix = match self.unpacked.get(&name) {
                Some(matrix) => matrix.clone(),
                None => self.checkpoint.weight(&name)?,
            };
            if let Weight::Quantized(linear) = &matrix {
                self.unpacked.entry(name).or_insert_with(|| Weight::Quantized(Arc::clone(linear)));
            }
            let rows = matrix.rows();
            // [rows, tokens]: each thread converts a row once and uses it for all tokens.
            let mut products = vec![0.0f32; rows * tokens];
            self.threads.install(|| {
                products.par_chunks_mut(tokens).enumerate().try_for_each_init(
                    Vec::new,
                    |weights, (row, products)| {
                        matrix.row_to_f32(row, weights)?;
                        for (product, x) in products.iter_mut().zip(x.chunks_exact(inputs)) {
                            *product = dot(weights, x) as f32;
                        }
                        Ok::<(), edgewen_model::Error>(())
                    },
                )
            })?;
            for (token, out) in out.chunks_exact_mut(outputs).enumerate() {
                for (row, out) in out[first..first + rows].iter_mut().enumerate() {
                    *out = products[row * tokens + token];
                }
            }
            first += rows;
        }
        if let Linear::Qkv(layer) = which {
            for out in out.chunks_exact_mut(outputs) {
                out.iter_mut().zip(&self.biases[layer]).for_each(|(out, bias)| *out += bias);
            }
        }
        Ok(())
    }

    fn rope(&mut self, batch: &Batch, qkv: &mut [f32]) -> Result<()> {
        let (head_dim, half) = (self.config.head_dim, self.config.head_dim / 2);
        let rotated = (self.config.heads + self.config.kv_heads) * head_dim;
        for (row, &position) in qkv.chunks_exact_mut(self.config.qkv_rows()).zip(batch.positions()) {
            for head in row[..rotated].chunks_exact_mut(head_dim) {
                let (first, second) = head.split_at_mut(half);
                for ((a, b), &frequency) in first.iter_mut().zip(second).zip(&self.inverse_frequencies) {
                    let angle = f64::from(position as f32 * frequency);
                    let scale = f64::from(self.rope_scale);
                    let (sin, cos) = (libm::sin(angle) * scale, libm::cos(angle) * scale);
                    let (x, y) = (f64::from(*a), f64::from(*b));
                    (*a, *b) = ((x * cos - y * sin) as f32, (y * cos + x * sin) as f32);
                }
            }
        }
        Ok(())
    }

    fn attention(&mut self, layer: usize, batch: &Batch, qkv: &[f32], out: &mut [f32]) -> Result<()> {
        let config = &self.config;
        let (q_size, kv_size, stride) = (config.attention_size(), config.kv_size(), config.qkv_rows());
        for (segment, rows) in batch.segments() {
            if self.slots.len() <= segment.slot {
                self.slots.resize_with(segment.slot + 1, Vec::new);
            }
            let slot = &mut self.slots[segment.slot];
            slot.resize_with(config.layers, Cache::default);
            let cache = &mut slot[layer];
            cache.keys.truncate(segment.start * kv_size);
            cache.values.truncate(segment.start * kv_size);
            for row in qkv[rows.start * stride..rows.end * stride].chunks_exact(stride) {
                cache.keys.extend_from_slice(&row[q_size..q_size + kv_size]);
                cache.values.extend_from_slice(&row[q_size + kv_size..]);
            }
            let cache = &slot[layer];
            let queries = &qkv[rows.start * stride..rows.end * stride];
            let out = &mut out[rows.start * q_size..rows.end * q_size];
            self.threads.install(|| {
                out.par_chunks_mut(q_size).zip(queries.par_chunks(stride)).enumerate().for_each(
                    |(index, (out, query))| attend(config, cache, query, segment.start + index + 1, out),
                );
            });
        }
        Ok(())
    }

    fn silu_mul(&mut self, gate_up: &[f32], out: &mut [f32]) -> Result<()> {
        let width = self.config.intermediate_size;
        for (gate_up, out) in gate_up.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
            let (gate, up) = gate_up.split_at(width);
            for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
                let gate = f64::from(gate);
                *out = (gate / (1.0 + libm::exp(-gate)) * f64::from(up)) as f32;
            }
        }
        Ok(())
    }

    fn add(&mut self, x: &mut [f32], y: &[f32]) -> Result<()> {
        x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
        Ok(())
    }

    fn truncate(&mut self, slot: usize, len: usize) {
        let width = self.config.kv_size();
        for cache in self.slots.get_mut(slot).into_iter().flatten() {
            cache.keys.truncate(len * width);
            cache.values.truncate(len * width);
        }
    }

    fn kv_bytes(&self) -> usize {
        self.slots.iter().flatten().map(|cache| 4 * (cache.keys.len() + cache.values.len())).sum()
    }
}

/// One token's attention over the first `visible` positions: `out` [heads * head_dim].
fn attend(config: &Config, cache: &Cache, query: &[f32], visible: usize, out: &mut [f32]) {
    let (head_dim, width) = (config.head_dim, config.kv_size());
    let scale = 1.0 / (head_dim as f64).sqrt();
    let mut weights = vec![0.0f64; visible];
    let mut sum = vec![0.0f64; head_dim];
    for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
        let query = &query[head * head_dim..(head + 1) * head_dim];
        let offset = head / (config.heads / config.kv_heads) * head_dim;
        let row = |position: usize| position * width + offset..position * width + offset + head_dim;
        for (position, weight) in weights.iter_mut().enumerate() {
            *weight = dot(query, &cache.keys[row(position)]) * scale;
        }
        let most = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        weights.iter_mut().for_each(|weight| *weight = libm::exp(*weight - most));
        let total: f64 = weights.iter().sum();
        sum.fill(0.0);
        for (position, weight) in weights.iter().enumerate() {
            let values = &cache.values[row(position)];
            sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum += weight * f64::from(value));
        }
        out.iter_mut().zip(&sum).for_each(|(out, sum)| *out = (sum / total) as f32);
    }
}

/// Dot product in f64, over eight running sums so that the compiler can use vectors.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f64; 8];
    let (a8, a_rest) = a.as_chunks::<8>();
    let (b8, b_rest) = b.as_chunks::<8>();
    for (a, b) in a8.iter().zip(b8) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f64::from(a) * f64::from(b);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    sums.iter().sum::<f64>() + rest
}
