//! What is computed on the two streams: products of the original and of the rounded matrices, Gram matrices, and what the
//! streams differ by.

use super::Sequence;
use crate::attention::attention;
use crate::gram::Gram;
use crate::matrix::{Fused, rows_per_task};
use crate::quantizer::multiply;
use crate::{Error, Result, Step};
use edgewen_kernels::matmul::{View, matmul_add};
use edgewen_kernels::rms_norm::rms_norm;
use edgewen_kernels::rope::rope;
use edgewen_kernels::silu::{add_assign, silu_mul};
use edgewen_kernels::{Activations, RowBlocks, linear};
use edgewen_layout::{QuantizedMatrix, WeightBits};
use rayon::prelude::*;

/// Tokens whose widest activations are in memory at a time.
const TOKENS: usize = 1024;

/// What the original model gives more than a matrix gives on its own inputs.
pub(super) struct Difference {
    /// [rows, inputs]
    pub(super) r: Vec<f32>,
    /// One a row.
    pub(super) e: Vec<f64>,
}

impl Sequence<'_, '_, '_, '_> {
    pub(super) fn normed(&self, x: &[f32], weight: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        rms_norm(&self.compute, x, weight, self.config.rms_norm_eps, &mut out);
        out
    }

    pub(super) fn gram(&self, x: &[f32]) -> Gram {
        let mut gram = Gram::new(x.len() / self.batch.len());
        self.workers.install(|| gram.add(x));
        gram
    }

    pub(super) fn checked_gram(&self, x: &[f32], fused: &Fused) -> Result<Gram> {
        let gram = self.gram(x);
        if !gram.is_finite() {
            return Err(Error::NotFiniteInputs { tensor: fused.parts[0].name.clone() });
        }
        Ok(gram)
    }

    /// `x` [tokens, inputs] times the transposed weights.
    pub(super) fn product(&self, x: &[f32], fused: &Fused, bias: Option<&[f32]>) -> Vec<f32> {
        let mut out = vec![0.0; x.len() / fused.inputs * fused.rows()];
        self.workers.install(|| multiply(x, fused, &mut out));
        if let Some(bias) = bias {
            out.chunks_exact_mut(bias.len()).for_each(|out| add_assign(&self.compute, out, bias));
        }
        out
    }

    /// What the packed file will compute.
    pub(super) fn quantized_product(
        &self,
        x: &[f32],
        matrix: &QuantizedMatrix,
        bias: Option<&[f32]>,
    ) -> Vec<f32> {
        let shape = matrix.shape;
        let data = matrix.pack();
        let blocks = RowBlocks::new(shape, &data).expect("a packed matrix has the length of its shape");
        let mut out = vec![0.0; x.len() / shape.inputs * shape.rows];
        let mut activations = Activations::new();
        let chunks = out.chunks_mut(TOKENS * shape.rows).zip(x.chunks(TOKENS * shape.inputs));
        for (out, x) in chunks {
            let tokens = x.len() / shape.inputs;
            activations.quantize(&self.compute, x, tokens, shape.inputs, shape.group);
            linear(&self.compute, &blocks, &activations, bias, out);
        }
        out
    }

    /// Queries, keys and values [tokens, q | k | v] to what `o` gets.
    pub(super) fn attended(&self, mut qkv: Vec<f32>) -> Vec<f32> {
        let heads = self.config.heads + self.config.kv_heads;
        rope(&self.compute, &self.rope, &mut qkv, self.config.qkv_rows(), heads, self.batch.positions());
        let mut out = vec![0.0; self.batch.len() * self.config.attention_size()];
        let (config, batch) = (&self.config, self.batch);
        self.workers.install(|| attention(config, batch, &qkv, &mut out));
        out
    }

    /// The normed hidden states to what `down` gets, some tokens at a time.
    pub(super) fn activated(&self, x: &[f32], gate_up: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
        let (hidden, middle) = (self.config.hidden_size, self.config.intermediate_size);
        let mut out = vec![0.0; x.len() / hidden * middle];
        for (out, x) in out.chunks_mut(TOKENS * middle).zip(x.chunks(TOKENS * hidden)) {
            silu_mul(&self.compute, &gate_up(x), middle, out);
        }
        out
    }

    /// Part of what the original model gives on its inputs `x` more than the matrix on `y`; with the two residual
    /// streams also of what they differ by.
    pub(super) fn difference(
        &self,
        x: &[f32],
        y: &[f32],
        fused: &Fused,
        residual: Option<[&[f32]; 2]>,
    ) -> Option<Difference> {
        let four = self.options.layer_bits(&fused.packed) == WeightBits::Four;
        if !(four && self.settings.on(Step::Correction) && self.settings.on(Step::Sequential)) {
            return None;
        }
        let (n, rows) = (fused.inputs, fused.rows());
        let tokens = y.len() / n;
        let (mut r, mut e) = (vec![0.0f32; rows * n], vec![0.0f64; rows]);
        let share = self.settings.correction;
        for first in (0..tokens).step_by(TOKENS) {
            let count = TOKENS.min(tokens - first);
            let (x, y) = (&x[first * n..][..count * n], &y[first * n..][..count * n]);
            let missing: Vec<f32> = x.iter().zip(y).map(|(x, y)| share * (x - y)).collect();
            let mut missing = self.product(&missing, fused, None);
            if let Some([x, y]) = residual {
                let part = first * rows..(first + count) * rows;
                let share = self.settings.residual;
                let residual = x[part.clone()].iter().zip(&y[part]);
                missing.iter_mut().zip(residual).for_each(|(m, (x, y))| *m += share * (x - y));
            }
            let factor = 1.0 / tokens as f32;
            let chunk = rows_per_task(rows);
            self.workers.install(|| {
                let tasks = r.par_chunks_mut(chunk * n).zip(e.par_chunks_mut(chunk)).enumerate();
                tasks.for_each(|(task, (r, e))| {
                    let left = View::new(&missing[task * chunk..], count, e.len(), rows).t();
                    matmul_add(left, View::new(y, count, n, n), factor, r, n);
                    for missing in missing.chunks_exact(rows) {
                        let missing = &missing[task * chunk..][..e.len()];
                        let square = |m: &f32| f64::from(*m).powi(2) / tokens as f64;
                        e.iter_mut().zip(missing).for_each(|(e, m)| *e += square(m));
                    }
                });
            });
        }
        Some(Difference { r, e })
    }
}
