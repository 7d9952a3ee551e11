//! config.json and generation_config.json, with the key names of transformers.

use super::ExportReport;
use crate::packed::PackedFile;
use crate::{GenerationDefaults, RopeScaling};
use serde_json::{Map, Value, json};

/// config.json.
pub(super) fn config(file: &PackedFile, report: &ExportReport) -> Value {
    let config = file.config();
    let mut not_converted = report.not_converted.clone();
    if !not_converted.is_empty() {
        // A list replaces the default, which leaves out the head.
        not_converted.push("lm_head".to_owned());
    }
    let mut json = json!({
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position,
        "rms_norm_eps": decimal(config.rms_norm_eps),
        "rope_theta": config.rope.theta,
        "tie_word_embeddings": config.tie_word_embeddings,
        "use_sliding_window": false,
        "torch_dtype": "float16",
        "quantization_config": {
            "quant_method": "awq",
            "bits": 4,
            "group_size": report.group,
            "zero_point": true,
            "version": "gemm",
            "modules_to_not_convert": if not_converted.is_empty() { Value::Null } else { json!(not_converted) },
        },
    });
    if config.head_dim * config.heads != config.hidden_size {
        json["head_dim"] = json!(config.head_dim);
    }
    match config.rope.scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            json["rope_scaling"] = json!({ "rope_type": "linear", "type": "linear", "factor": factor });
        }
        RopeScaling::Yarn {
            factor,
            original_max_position,
            beta_fast,
            beta_slow,
            attention_factor,
            truncate,
        } => {
            json["rope_scaling"] = json!({
                "rope_type": "yarn",
                "type": "yarn",
                "factor": factor,
                "original_max_position_embeddings": original_max_position,
                "beta_fast": beta_fast,
                "beta_slow": beta_slow,
                "attention_factor": attention_factor,
                "truncate": truncate,
            });
        }
    }
    let generation = file.generation();
    json["eos_token_id"] = eos(generation);
    json["bos_token_id"] = json!(generation.bos);
    json
}

/// generation_config.json: what the packed file knows.
pub(super) fn generation(defaults: &GenerationDefaults) -> Value {
    let entries = [
        ("bos_token_id", json!(defaults.bos)),
        ("eos_token_id", eos(defaults)),
        ("pad_token_id", json!(defaults.pad)),
        ("do_sample", json!(defaults.do_sample)),
        ("temperature", json!(defaults.temperature.map(decimal))),
        ("top_k", json!(defaults.top_k)),
        ("top_p", json!(defaults.top_p.map(decimal))),
        ("min_p", json!(defaults.min_p.map(decimal))),
        ("repetition_penalty", json!(defaults.repetition_penalty.map(decimal))),
    ];
    let entries = entries.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(entries.map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>())
}

/// One id as a number, several as a list.
fn eos(defaults: &GenerationDefaults) -> Value {
    match defaults.eos.as_slice() {
        [] => Value::Null,
        [one] => json!(one),
        list => json!(list),
    }
}

/// The number as people write it: 0.7 instead of the f32's 0.699999988.
fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
