//! A stand-in for Qwen2.5-0.5B: random weights in the true shape, for measuring speed, memory and file size.
//!
//! The weights follow what real checkpoints show where it matters to kernels and quantizers: N(0, 0.02), one
//! input channel in a hundred 3 to 6 times larger, and a few key biases of size 2. Every tensor is made from the
//! seed and its own name while it is written, so that 988 MB need no memory. It cannot write text.

use std::borrow::Cow;
use std::path::Path;

use half::bf16;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng;
use safetensors::tensor::{Dtype, View};
use serde_json::json;

use crate::checkpoint::Random;

const HIDDEN: usize = 896;
const INTERMEDIATE: usize = 4864;
const LAYERS: usize = 24;
const KV: usize = 128;
const VOCAB: usize = 151_936;
const DEVIATION: f32 = 0.02;

/// Writes the stand-in into `directory`: config.json, generation_config.json and model.safetensors (988 MB).
///
/// # Errors
/// What the file system says.
pub fn write_standin(directory: &Path, seed: u64) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let config = json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
        "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE, "num_hidden_layers": LAYERS,
        "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": VOCAB,
        "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1_000_000.0,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "bos_token_id": 151_643, "eos_token_id": 151_645,
    });
    std::fs::write(directory.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    let generation = json!({"bos_token_id": 151_643, "eos_token_id": [151_645, 151_643], "do_sample": false});
    std::fs::write(directory.join("generation_config.json"), serde_json::to_vec_pretty(&generation)?)?;

    let table = NormalTable::new(seed);
    let tensors = shapes().into_iter().map(|(name, shape)| {
        let tensor = RandomTensor { seed: seed ^ fnv1a(&name), kind: Kind::of(&name), shape, table: &table };
        (name, tensor)
    });
    safetensors::serialize_to_file(tensors, None, &directory.join("model.safetensors"))
        .map_err(std::io::Error::other)
}

fn shapes() -> Vec<(String, Vec<usize>)> {
    let mut all = vec![("model.embed_tokens.weight".to_string(), vec![VOCAB, HIDDEN])];
    for layer in 0..LAYERS {
        let mut add = |part: &str, shape: &[usize]| {
            all.push((format!("model.layers.{layer}.{part}"), shape.to_vec()));
        };
        add("input_layernorm.weight", &[HIDDEN]);
        for (part, rows) in [("q", HIDDEN), ("k", KV), ("v", KV)] {
            add(&format!("self_attn.{part}_proj.weight"), &[rows, HIDDEN]);
            add(&format!("self_attn.{part}_proj.bias"), &[rows]);
        }
        add("self_attn.o_proj.weight", &[HIDDEN, HIDDEN]);
        add("post_attention_layernorm.weight", &[HIDDEN]);
        add("mlp.gate_proj.weight", &[INTERMEDIATE, HIDDEN]);
        add("mlp.up_proj.weight", &[INTERMEDIATE, HIDDEN]);
        add("mlp.down_proj.weight", &[HIDDEN, INTERMEDIATE]);
    }
    all.push(("model.norm.weight".to_string(), vec![HIDDEN]));
    all
}

#[derive(Clone, Copy)]
enum Kind {
    Norm,
    Bias,
    KeyBias,
    Matrix,
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            _ if name.ends_with("k_proj.bias") => Kind::KeyBias,
            _ if name.ends_with("bias") => Kind::Bias,
            _ if name.contains("norm") => Kind::Norm,
            _ => Kind::Matrix,
        }
    }
}

struct RandomTensor<'a> {
    seed: u64,
    kind: Kind,
    shape: Vec<usize>,
    table: &'a NormalTable,
}

impl View for RandomTensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::BF16
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data_len(&self) -> usize {
        2 * self.shape.iter().product::<usize>()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut generator = Pcg64Mcg::new(u128::from(self.seed) << 1 | 1);
        let columns = self.shape[self.shape.len() - 1];
        // Per input channel: how much larger than the rest it is.
        let gains: Vec<f32> = (0..columns)
            .map(|_| match generator.next_u32() % 100 {
                0 => 3.0 + (generator.next_u32() % 4) as f32,
                _ => 1.0,
            })
            .collect();
        let mut bytes = Vec::with_capacity(self.data_len());
        let mut draws = 0;
        for index in 0..self.data_len() / 2 {
            if index % 4 == 0 {
                draws = generator.next_u64();
            }
            let normal = self.table.0[(draws >> (16 * (index % 4))) as u16 as usize];
            let gain = gains[index % columns];
            let value = match self.kind {
                Kind::Norm => 1.0 + 0.1 * normal,
                Kind::Bias => 0.1 * normal,
                Kind::KeyBias if gain > 1.0 => 2.0 * normal.signum(),
                Kind::KeyBias => 0.2 * normal,
                Kind::Matrix => DEVIATION * gain * normal,
            };
            bytes.extend_from_slice(&bf16::from_f32(value).to_le_bytes());
        }
        Cow::Owned(bytes)
    }
}

/// 65,536 normally distributed numbers: drawing one takes 16 random bits, which keeps half a billion draws quick.
struct NormalTable(Vec<f32>);

impl NormalTable {
    fn new(seed: u64) -> Self {
        let mut random = Random(Pcg64Mcg::new(u128::from(seed) << 1 | 1));
        Self((0..1 << 16).map(|_| random.normal()).collect())
    }
}

/// FNV-1a over the name, so that each tensor has its own stream of numbers.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
