//! config.json and generation_config.json: both spellings, and every refusal.
#![allow(clippy::unwrap_used)]
#![allow(clippy::excessive_precision, reason = "nine digits, as NumPy prints an f32")]

use edgewen_model::{Config, GenerationDefaults, RopeScaling};
use serde_json::{Map, Value, json};
use std::path::Path;

const PATH: &str = "dir/config.json";

fn base() -> Value {
    json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 896,
        "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
        "vocab_size": 151936, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
        "tie_word_embeddings": true, "torch_dtype": "bfloat16", "use_sliding_window": false,
        "sliding_window": 32768, "max_window_layers": 21, "bos_token_id": 151643, "eos_token_id": 151645,
    })
}

fn with(changes: Value) -> Map<String, Value> {
    let mut config = base();
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config.as_object().unwrap().clone()
}

fn without(key: &str) -> Map<String, Value> {
    let mut config = with(json!({}));
    config.remove(key);
    config
}

fn read(json: &Map<String, Value>) -> Result<Config, String> {
    Config::from_json(Path::new(PATH), json).map_err(|e| e.to_string())
}

#[test]
fn reads_the_configuration_of_qwen2_5_0_5b() {
    let config = read(&with(json!({}))).unwrap();
    assert_eq!((config.hidden_size, config.layers, config.heads, config.kv_heads), (896, 24, 14, 2));
    assert_eq!((config.head_dim, config.qkv_rows(), config.vocab_size), (64, 1152, 151_936));
    assert_eq!((config.rms_norm_eps, config.rope.theta, config.max_position), (1e-6, 1e6, 32_768));
    assert_eq!(config.rope.scaling, RopeScaling::None);
    assert!(config.tie_word_embeddings);
}

#[test]
fn new_key_names_mean_the_same_as_old_ones() {
    let scaling = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192});
    let old = with(
        json!({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8192}}),
    );
    let mut new = with(json!({"rope_parameters": scaling, "dtype": "bfloat16"}));
    new["rope_parameters"]["rope_theta"] = json!(1000000.0);
    for key in ["rope_theta", "torch_dtype"] {
        new.remove(key);
    }
    assert_eq!(read(&old).unwrap(), read(&new).unwrap());
    let theta_inside = with(json!({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}));
    assert_eq!(read(&theta_inside).unwrap().rope.theta, 5e5);
    let null = with(json!({"rope_scaling": null}));
    assert_eq!(read(&null).unwrap().rope.scaling, RopeScaling::None);
}

#[test]
fn a_yarn_factor_lengthens_the_context() {
    let card = with(json!({"rope_scaling":
        {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}));
    assert_eq!(read(&card).unwrap().max_position, 131_072);
    let already = with(json!({"max_position_embeddings": 131072, "rope_scaling":
        {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}));
    assert_eq!(read(&already).unwrap().max_position, 131_072);
}

#[test]
fn head_dim_may_be_stated_and_windows_without_effect_are_fine() {
    assert_eq!(read(&with(json!({"head_dim": 128}))).unwrap().head_dim, 128);
    assert_eq!(read(&with(json!({"num_key_value_heads": null}))).unwrap().kv_heads, 14);
    for harmless in [
        json!({"use_sliding_window": true, "max_window_layers": 24, "sliding_window": 4096}),
        json!({"use_sliding_window": true, "max_window_layers": 0, "sliding_window": 32768}),
        json!({"use_sliding_window": true, "max_window_layers": 0, "sliding_window": null}),
        json!({"layer_types": ["full_attention", "full_attention"]}),
    ] {
        assert!(read(&with(harmless.clone())).is_ok(), "{harmless}");
    }
}

#[test]
fn refusals_name_the_file_the_value_and_the_remedy() {
    let yarn = |change: Value| {
        let mut rope = json!({"type": "yarn", "factor": 4.0});
        rope.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({"rope_scaling": rope})
    };
    let cases: Vec<(Value, Vec<&str>)> = vec![
        (json!({"model_type": "llama"}), vec!["not a Qwen2 model", "\"llama\"", "Qwen2.5"]),
        (json!({"architectures": ["Qwen2VLForConditionalGeneration"]}), vec!["not a Qwen2 model", "Qwen2VL"]),
        (json!({"architectures": null, "model_type": null}), vec!["not a Qwen2 model", "neither"]),
        (json!({"hidden_act": "gelu"}), vec!["\"hidden_act\": \"gelu\"", "not supported", "silu"]),
        (
            json!({"use_sliding_window": true, "sliding_window": 4096}),
            vec!["use_sliding_window", "4096 tokens in layers 21 to 23", "not supported"],
        ),
        (
            json!({"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 4096}),
            vec!["layer_types", "sliding_attention", "not supported"],
        ),
        (json!({"rope_scaling": {"type": "dynamic", "factor": 2.0}}), vec!["rope type \"dynamic\"", "yarn"]),
        (json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}), vec!["rope type \"llama3\""]),
        (json!({"rope_parameters": {"rope_type": "longrope"}}), vec!["rope type \"longrope\""]),
        (json!({"rope_scaling": {"type": "mrope", "mrope_section": [1]}}), vec!["rope type \"mrope\""]),
        (json!({"partial_rotary_factor": 0.5}), vec!["partial_rotary_factor\": 0.5", "not supported"]),
        (json!({"rope_scaling": {"type": "linear"}}), vec!["no \"factor\""]),
        (yarn(json!({"factor": 0.5})), vec!["\"factor\" is 0.5", "expected 1 to"]),
        (yarn(json!({"factor": "four"})), vec!["\"factor\" is \"four\"", "a number"]),
        (yarn(json!({"beta_fast": 1.0, "beta_slow": 2.0})), vec!["\"beta_slow\" is 2"]),
        (json!({"rope_theta": 0.0}), vec!["\"rope_theta\" is 0"]),
        (json!({"hidden_size": 0}), vec!["\"hidden_size\" is 0", "expected 1 to"]),
        (json!({"hidden_size": 900}), vec!["\"hidden_size\" is 900", "multiple", "14", "head_dim"]),
        (json!({"hidden_size": -1}), vec!["\"hidden_size\" is -1", "whole number"]),
        (json!({"num_hidden_layers": 100000}), vec!["\"num_hidden_layers\" is 100000", "expected 1 to 1024"]),
        (json!({"vocab_size": 1u64 << 40}), vec!["\"vocab_size\" is 1099511627776"]),
        (json!({"num_attention_heads": 0}), vec!["\"num_attention_heads\" is 0"]),
        (json!({"num_key_value_heads": 3}), vec!["\"num_key_value_heads\" is 3", "divisor", "14"]),
        (json!({"head_dim": 63}), vec!["\"head_dim\" is 63", "even"]),
        (json!({"rms_norm_eps": -1.0}), vec!["\"rms_norm_eps\" is -1"]),
        (json!({"tie_word_embeddings": "yes"}), vec!["\"tie_word_embeddings\" is \"yes\"", "true or false"]),
    ];
    for (change, parts) in cases {
        let message = read(&with(change.clone())).expect_err(&change.to_string());
        assert!(message.contains(PATH), "{change}: no file name in: {message}");
        for part in parts {
            assert!(message.contains(part), "{change}: no {part:?} in: {message}");
        }
    }
    for key in ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size"]
    {
        let message = read(&without(key)).unwrap_err();
        assert!(message.contains(PATH) && message.contains(&format!("no \"{key}\"")), "{message}");
    }
}

#[test]
fn rotary_frequencies_are_those_of_transformers() {
    // From transformers 5.23: Qwen2RotaryEmbedding(Qwen2Config(hidden_size=64, num_attention_heads=4,
    // max_position_embeddings=128, rope_parameters=...)): inv_freq and attention_scaling.
    let cases: [(Value, [f32; 8], f32); 4] = [
        (
            json!({"rope_type": "default", "rope_theta": 1e6}),
            [
                1.0,
                0.177827939,
                0.0316227786,
                0.00562341325,
                0.00100000005,
                0.00017782794,
                3.16227743e-05,
                5.62341347e-06,
            ],
            1.0,
        ),
        (
            json!({"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0}),
            [
                0.333333343,
                0.105409257,
                0.0333333351,
                0.0105409259,
                0.00333333318,
                0.00105409266,
                0.000333333359,
                0.000105409265,
            ],
            1.0,
        ),
        (
            json!({"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32}),
            [
                1.0,
                0.0444569848,
                0.00790569466,
                0.00140585331,
                0.000250000012,
                4.44569851e-05,
                7.90569356e-06,
                1.40585337e-06,
            ],
            1.138_629_4,
        ),
        (
            json!({"rope_type": "yarn", "rope_theta": 1e4, "factor": 8.0, "original_max_position_embeddings": 64,
                   "beta_fast": 16, "beta_slow": 2, "truncate": false, "mscale": 0.7, "mscale_all_dim": 1.2}),
            [
                1.0,
                0.120533988,
                0.0125000002,
                0.00395284733,
                0.00124999997,
                0.000395284733,
                0.000125000006,
                3.95284733e-05,
            ],
            0.916_791_25,
        ),
    ];
    for (rope, expected, scale) in cases {
        let config = read(&with(json!({"rope_parameters": rope, "head_dim": 16}))).unwrap();
        let (found, attention) = config.rope.inv_freq(config.head_dim);
        assert_eq!(attention, scale, "{rope}");
        for (x, y) in found.iter().zip(expected) {
            // One unit in the last place: PyTorch's vectorized powf is not correctly rounded.
            assert!(x.to_bits().abs_diff(y.to_bits()) <= 1, "{rope}: {x} instead of {y}");
        }
    }
}

#[test]
fn generation_defaults_fall_back_to_the_configuration() {
    let config = with(json!({}));
    let config = (Path::new(PATH), &config);
    let read = |json: Value| {
        let map = json.as_object().unwrap().clone();
        let path = Path::new("dir/generation_config.json");
        GenerationDefaults::from_json(Some((path, &map)), config).map_err(|e| e.to_string())
    };
    let full = read(json!({
        "bos_token_id": 151643, "pad_token_id": 151643, "do_sample": true, "eos_token_id": [151645, 151643],
        "repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8, "top_k": 20,
    }))
    .unwrap();
    assert_eq!(full.eos, [151_645, 151_643]);
    assert_eq!((full.bos, full.pad, full.do_sample), (Some(151_643), Some(151_643), Some(true)));
    assert_eq!((full.temperature, full.top_k, full.top_p), (Some(0.7), Some(20), Some(0.8)));
    assert_eq!((full.min_p, full.repetition_penalty), (None, Some(1.1)));
    assert_eq!(read(json!({"eos_token_id": 7})).unwrap().eos, [7]);
    assert_eq!(read(json!({"pad_token_id": -1})).unwrap().pad, None);
    assert_eq!(read(json!({})).unwrap().eos, [151_645]);
    assert_eq!(GenerationDefaults::from_json(None, config).unwrap().eos, [151_645]);

    for (json, parts) in [
        (json!({"eos_token_id": "end"}), ["eos_token_id", "\"end\"", "a token id"]),
        (json!({"temperature": -1.0}), ["temperature", "-1", "0 to 100"]),
        (json!({"top_p": 1.5}), ["top_p", "1.5", "0 to 1"]),
        (json!({"do_sample": 1}), ["do_sample", "1", "true or false"]),
    ] {
        let message = read(json).unwrap_err();
        for part in parts.into_iter().chain(["generation_config.json"]) {
            assert!(message.contains(part), "no {part:?} in: {message}");
        }
    }
}
