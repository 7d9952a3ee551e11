//! Moving scales between neighboring operations without changing the model.
//!
//! A matrix that takes x / s instead of x needs its columns multiplied by s; the operation before it gives x / s if its
//! weight (a norm) or its rows and their biases (a matrix) are divided by s. `down` takes silu(gate) * up, which is
//! linear in the rows of `up`; `o` takes a mean of values, linear in the rows of `v`; where several query heads
//! share a value head, the inputs of `o` that are means of the same channel must share a scale. Not folded: the final
//! norm where the head is tied to the embedding.

use edgewen_model::Config;
use std::ops::Range;

/// Multiplies the columns of `weights` [rows, scales].
pub(crate) fn scale_columns(weights: &mut [f32], scales: &[f32]) {
    for row in weights.chunks_exact_mut(scales.len()) {
        row.iter_mut().zip(scales).for_each(|(w, s)| *w *= s);
    }
}

/// Multiplies the rows of `weights` [factors, inputs].
pub(crate) fn scale_rows(weights: &mut [f32], inputs: usize, factors: &[f32]) {
    for (row, factor) in weights.chunks_exact_mut(inputs).zip(factors) {
        row.iter_mut().for_each(|w| *w *= factor);
    }
}

/// Divides a norm's weight by the scales of the matrix after it.
pub(crate) fn divide(weight: &mut [f32], scales: &[f32]) {
    weight.iter_mut().zip(scales).for_each(|(w, s)| *w /= s);
}

/// The factors of the rows of a fused matrix whose part `producer` feeds a matrix with these scales.
pub(crate) fn row_factors(rows: usize, producer: Range<usize>, scales: &[f32]) -> Vec<f32> {
    let mut factors = vec![1.0; rows];
    factors[producer].iter_mut().zip(scales).for_each(|(f, s)| *f = 1.0 / s);
    factors
}

/// For each input of `o` the channel of the values that it is a mean of.
pub(crate) fn value_channels(config: &Config) -> Vec<usize> {
    let shared = config.heads / config.kv_heads;
    let channel = |input: usize| input / config.head_dim / shared * config.head_dim + input % config.head_dim;
    (0..config.attention_size()).map(channel).collect()
}

/// The scales of the channels of the values, from those of the inputs of `o`.
pub(crate) fn value_scales(config: &Config, scales: &[f32]) -> Vec<f32> {
    let shared = config.heads / config.kv_heads;
    let input =
        |channel: usize| channel / config.head_dim * shared * config.head_dim + channel % config.head_dim;
    (0..config.kv_size()).map(|channel| scales[input(channel)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgewen_engine::{Batch, Forward, Logits, Reference};
    use edgewen_model::Checkpoint;
    use edgewen_testing::{TinySpec, tiny_checkpoint};
    use rand_pcg::Pcg64Mcg;
    use rand_pcg::rand_core::{Rng, SeedableRng};
    use safetensors::tensor::{Dtype, TensorView};
    use std::collections::BTreeMap;
    use std::path::Path;

    /// The tensors of a checkpoint by name.
    type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

    fn logits(directory: &Path) -> Vec<f32> {
        let mut backend = Reference::new(Checkpoint::open(directory).unwrap(), 1).unwrap();
        let tokens: Vec<u32> = (0..50).map(|i| i * 31 % 256).collect();
        Forward::default().run(&mut backend, &Batch::one(0, 0, &tokens), Logits::All).unwrap().to_vec()
    }

    /// Folds random scales at every place where the quantizer may, and writes the result in place.
    fn fold(directory: &Path, spec: &TinySpec) {
        let checkpoint = Checkpoint::open(directory).unwrap();
        let read = |name: &str| {
            let tensor = checkpoint.tensor(name).unwrap();
            (name.to_owned(), (tensor.shape.clone(), tensor.to_f32().unwrap()))
        };
        let mut tensors: Tensors = checkpoint.tensor_names().into_iter().map(read).collect();
        let mut random = Pcg64Mcg::seed_from_u64(5);
        let mut scales = |count: usize| -> Vec<f32> {
            (0..count).map(|_| (2.0 + (random.next_u32() % 1000) as f32 / 250.0) / 4.0).collect()
        };
        let mut change = |name: &str, f: &dyn Fn(&mut [f32])| f(&mut tensors.get_mut(name).unwrap().1);
        for layer in 0..spec.layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
            for (norm, matrices) in [
                ("input_layernorm", &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"][..]),
                ("post_attention_layernorm", &["mlp.gate_proj", "mlp.up_proj"][..]),
            ] {
                let s = scales(spec.hidden);
                change(&name(norm), &|w| divide(w, &s));
                matrices.iter().for_each(|matrix| change(&name(matrix), &|w| scale_columns(w, &s)));
            }
            let s = scales(spec.intermediate);
            let factors = row_factors(s.len(), 0..s.len(), &s);
            change(&name("mlp.up_proj"), &|w| scale_rows(w, spec.hidden, &factors));
            change(&name("mlp.down_proj"), &|w| scale_columns(w, &s));
            {
                let config = checkpoint.config();
                let channels = scales(config.kv_size());
                let ties = value_channels(config);
                let s: Vec<f32> = ties.iter().map(|&channel| channels[channel]).collect();
                assert_eq!(value_scales(config, &s), channels);
                let factors = row_factors(channels.len(), 0..channels.len(), &channels);
                change(&name("self_attn.v_proj"), &|w| scale_rows(w, spec.hidden, &factors));
                let bias = format!("model.layers.{layer}.self_attn.v_proj.bias");
                change(&bias, &|b| scale_rows(b, 1, &factors));
                change(&name("self_attn.o_proj"), &|w| scale_columns(w, &s));
            }
        }
        if !spec.tied {
            let s = scales(spec.hidden);
            change("model.norm.weight", &|w| divide(w, &s));
            change("lm_head.weight", &|w| scale_columns(w, &s));
        }
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, (shape, values))| {
                (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        let file = safetensors::serialize(views, None).unwrap();
        // Not over the file itself, which is still mapped.
        std::fs::write(directory.join("folded"), file).unwrap();
        std::fs::rename(directory.join("folded"), directory.join("model.safetensors")).unwrap();
    }

    #[test]
    fn a_folded_model_is_the_same_function() {
        for (kv_heads, tied) in [(4, true), (2, true), (4, false)] {
            let spec = TinySpec { kv_heads, tied, dtype: "float32", ..TinySpec::default() };
            let directory = tiny_checkpoint(&spec);
            let before = logits(directory.path());
            fold(directory.path(), &spec);
            let after = logits(directory.path());
            let largest = before.iter().fold(0.0f32, |a, b| a.max(b.abs()));
            for (before, after) in before.iter().zip(&after) {
                assert!((before - after).abs() <= 1e-4 * largest, "{kv_heads} {tied}: {before} {after}");
            }
            assert_ne!(before, after, "nothing was folded");
        }
    }
}
