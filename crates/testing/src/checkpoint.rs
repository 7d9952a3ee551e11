//! Random Qwen2 checkpoints on disk, small enough for a test and odd enough to find mistakes.
//!
//! Dimensions are free, so that shapes no real model has (K not a multiple of the group, one kv head, an untied
//! head) are covered; weights are scaled so that logits differ clearly between tokens.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

/// What checkpoint to make. `TinySpec::default()` is a tied bf16 model with grouped-query attention.
#[derive(Debug, Clone)]
pub struct TinySpec {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the MLP.
    pub intermediate: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Embedding rows; at least 257 (256 bytes and the end token).
    pub vocab: usize,
    /// Longest context.
    pub max_position: usize,
    /// Whether the head is the embedding.
    pub tied: bool,
    /// Type of the stored weights: `bfloat16`, `float16` or `float32`.
    pub dtype: &'static str,
    /// Number of safetensors files.
    pub shards: usize,
    /// Seed of the weights.
    pub seed: u64,
}

impl Default for TinySpec {
    fn default() -> Self {
        Self {
            hidden: 64,
            intermediate: 128,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            vocab: 272,
            max_position: 256,
            tied: true,
            dtype: "bfloat16",
            shards: 1,
            seed: 1,
        }
    }
}

/// Writes a random checkpoint into a fresh temporary directory.
pub fn tiny_checkpoint(spec: &TinySpec) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    write_checkpoint(spec, directory.path());
    directory
}

/// Writes a random checkpoint of the given shape, with a byte-level tokenizer, into `directory`.
pub fn write_checkpoint(spec: &TinySpec, directory: &Path) {
    let config = json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
        "hidden_size": spec.hidden, "intermediate_size": spec.intermediate,
        "num_hidden_layers": spec.layers, "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.kv_heads, "vocab_size": spec.vocab,
        "max_position_embeddings": spec.max_position, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "tie_word_embeddings": spec.tied, "torch_dtype": spec.dtype, "bos_token_id": 256, "eos_token_id": 256,
    });
    write_json(&directory.join("config.json"), &config);
    write_json(
        &directory.join("generation_config.json"),
        &json!({"eos_token_id": [256], "do_sample": false}),
    );
    write_json(&directory.join("tokenizer.json"), &byte_level_tokenizer());
    write_json(
        &directory.join("tokenizer_config.json"),
        &json!({
            "tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>",
            "chat_template": "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}",
        }),
    );
    write_weights(spec, directory);
}

/// A tokenizer.json of the Qwen2 kind without merges: byte b has an id below 256, `<|endoftext|>` is 256.
pub fn byte_level_tokenizer() -> Value {
    // GPT-2's table of printable stand-ins for bytes: printable Latin-1 stays, the rest moves up from U+0100.
    let printable = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let mut moved = 256;
    let mut vocab = serde_json::Map::new();
    for byte in 0..256u32 {
        let code = if printable(byte) {
            byte
        } else {
            moved += 1;
            moved - 1
        };
        vocab.insert(char::from_u32(code).expect("a valid character").to_string(), json!(byte));
    }
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 256, "content": "<|endoftext|>", "single_word": false, "lstrip": false,
                          "rstrip": false, "normalized": false, "special": true}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []},
    })
}

fn write_json(path: &Path, value: &Value) {
    std::fs::write(path, serde_json::to_vec_pretty(value).expect("plain JSON"))
        .expect("the file can be written");
}

fn write_weights(spec: &TinySpec, directory: &Path) {
    let mut random = Random(Pcg64Mcg::new(u128::from(spec.seed) << 64 | 0xcafe_f00d));
    let head_dim = spec.hidden / spec.heads;
    let (q, kv) = (spec.hidden, spec.kv_heads * head_dim);
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    let mut add = |name: String, shape: &[usize], mean: f32, deviation: f32| {
        let values = (0..shape.iter().product()).map(|_| mean + deviation * random.normal()).collect();
        tensors.push((name, shape.to_vec(), values));
    };
    let fan_in = |inputs: usize| 1.0 / (inputs as f32).sqrt();

    add("model.embed_tokens.weight".into(), &[spec.vocab, spec.hidden], 0.0, 0.5);
    for i in 0..spec.layers {
        let name = |part: &str| format!("model.layers.{i}.{part}");
        add(name("input_layernorm.weight"), &[spec.hidden], 1.0, 0.2);
        for (part, rows) in [("q", q), ("k", kv), ("v", kv)] {
            add(
                name(&format!("self_attn.{part}_proj.weight")),
                &[rows, spec.hidden],
                0.0,
                fan_in(spec.hidden),
            );
            add(name(&format!("self_attn.{part}_proj.bias")), &[rows], 0.0, 0.5);
        }
        add(name("self_attn.o_proj.weight"), &[spec.hidden, q], 0.0, fan_in(q));
        add(name("post_attention_layernorm.weight"), &[spec.hidden], 1.0, 0.2);
        for part in ["gate", "up"] {
            let shape = [spec.intermediate, spec.hidden];
            add(name(&format!("mlp.{part}_proj.weight")), &shape, 0.0, fan_in(spec.hidden));
        }
        add(name("mlp.down_proj.weight"), &[spec.hidden, spec.intermediate], 0.0, fan_in(spec.intermediate));
    }
    add("model.norm.weight".into(), &[spec.hidden], 1.0, 0.2);
    if !spec.tied {
        add("lm_head.weight".into(), &[spec.vocab, spec.hidden], 0.0, 0.3);
    }
    write_shards(spec, directory, &tensors);
}

fn write_shards(spec: &TinySpec, directory: &Path, tensors: &[(String, Vec<usize>, Vec<f32>)]) {
    let dtype = match spec.dtype {
        "bfloat16" => Dtype::BF16,
        "float16" => Dtype::F16,
        "float32" => Dtype::F32,
        other => panic!("no such dtype: {other}"),
    };
    let per_shard = tensors.len().div_ceil(spec.shards);
    let mut weight_map = BTreeMap::new();
    for (index, shard) in tensors.chunks(per_shard).enumerate() {
        let file = match spec.shards {
            1 => "model.safetensors".to_string(),
            n => format!("model-{:05}-of-{n:05}.safetensors", index + 1),
        };
        let bytes: Vec<Vec<u8>> = shard.iter().map(|(_, _, values)| encode(values, dtype)).collect();
        let views = shard.iter().zip(&bytes).map(|((name, shape, _), data)| {
            weight_map.insert(name.clone(), file.clone());
            (name.clone(), TensorView::new(dtype, shape.clone(), data).expect("length matches the shape"))
        });
        let views: Vec<_> = views.collect();
        safetensors::serialize_to_file(views, None, &directory.join(&file))
            .expect("the shard can be written");
    }
    if spec.shards > 1 {
        write_json(&directory.join("model.safetensors.index.json"), &json!({"weight_map": weight_map}));
    }
}

fn encode(values: &[f32], dtype: Dtype) -> Vec<u8> {
    values
        .iter()
        .flat_map(|&v| match dtype {
            Dtype::BF16 => bf16::from_f32(v).to_le_bytes().to_vec(),
            Dtype::F16 => f16::from_f32(v).to_le_bytes().to_vec(),
            _ => v.to_le_bytes().to_vec(),
        })
        .collect()
}

/// Normally distributed numbers that are the same on every platform.
pub(crate) struct Random(pub(crate) Pcg64Mcg);

impl Random {
    /// Uniform in [0, 1).
    pub(crate) fn uniform(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// The sum of 12 uniform numbers less 6 (Irwin-Hall): close to N(0, 1) and free of the platform's libm.
    pub(crate) fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum::<f32>() - 6.0
    }
}
