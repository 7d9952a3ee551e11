//! Causal attention over whole segments in plain f32, for the calibration pass: no cache, as every segment is complete.

use edgewen_engine::Batch;
use edgewen_kernels::matmul::{View, matmul};
use edgewen_model::Config;
use rayon::prelude::*;

/// `qkv` [tokens, q | k | v] to `out` [tokens, heads * head_dim]. Runs on rayon's current pool.
pub(crate) fn attention(config: &Config, batch: &Batch, qkv: &[f32], out: &mut [f32]) {
    let (width, size) = (config.qkv_rows(), config.head_dim);
    let mut segments = Vec::new();
    let mut rest = out;
    for (segment, rows) in batch.segments() {
        let (own, after) = rest.split_at_mut(segment.len * config.attention_size());
        segments.push((rows, own));
        rest = after;
    }
    segments.into_par_iter().for_each(|(rows, out)| {
        let tokens = rows.len();
        let qkv = &qkv[rows.start * width..rows.end * width];
        let mut scores = vec![0.0; tokens * tokens];
        for head in 0..config.heads {
            let kv_head = head / (config.heads / config.kv_heads);
            let part = |first: usize| View::new(&qkv[first * size..], tokens, size, width);
            let (q, k) = (part(head), part(config.heads + kv_head));
            let v = part(config.heads + config.kv_heads + kv_head);
            matmul(q, k.t(), &mut scores, tokens);
            for (token, row) in scores.chunks_exact_mut(tokens).enumerate() {
                softmax(&mut row[..=token], 1.0 / (size as f32).sqrt());
                row[token + 1..].fill(0.0);
            }
            let scores = View::new(&scores, tokens, tokens, tokens);
            matmul(scores, v, &mut out[head * size..], config.attention_size());
        }
    });
}

fn softmax(scores: &mut [f32], factor: f32) {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    scores.iter_mut().for_each(|s| *s = ((*s - largest) * factor).exp());
    let sum: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|s| *s /= sum);
}
