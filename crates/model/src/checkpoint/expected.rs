//! Which tensors a checkpoint of a given configuration has.

use crate::Config;

/// A tensor that the configuration asks for.
pub(super) struct Expected {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) why: String,
    pub(super) optional: bool,
}

/// All of them.
pub(super) fn expected(config: &Config) -> Vec<Expected> {
    let (hidden, mlp) = (config.hidden_size, config.intermediate_size);
    let (attention, kv) = (config.attention_size(), config.kv_size());
    let required = |name: &str, shape: &[usize], why: &str| Expected {
        name: name.to_owned(),
        shape: shape.to_vec(),
        why: why.to_owned(),
        optional: false,
    };
    let vocab = [config.vocab_size, hidden];
    let mut list = vec![
        required("model.embed_tokens.weight", &vocab, "\"vocab_size\""),
        required("model.norm.weight", &[hidden], "every model has it"),
    ];
    if !config.tie_word_embeddings {
        list.push(required("lm_head.weight", &vocab, "\"tie_word_embeddings\" is false"));
    }
    let why = format!("\"num_hidden_layers\" is {}", config.layers);
    for layer in 0..config.layers {
        let weights: [(&str, &[usize]); 9] = [
            ("input_layernorm", &[hidden]),
            ("self_attn.q_proj", &[attention, hidden]),
            ("self_attn.k_proj", &[kv, hidden]),
            ("self_attn.v_proj", &[kv, hidden]),
            ("self_attn.o_proj", &[hidden, attention]),
            ("post_attention_layernorm", &[hidden]),
            ("mlp.gate_proj", &[mlp, hidden]),
            ("mlp.up_proj", &[mlp, hidden]),
            ("mlp.down_proj", &[hidden, mlp]),
        ];
        for (part, shape) in weights {
            list.push(required(&format!("model.layers.{layer}.{part}.weight"), shape, &why));
        }
        for (part, len) in [("q", attention), ("k", kv), ("v", kv)] {
            let name = format!("model.layers.{layer}.self_attn.{part}_proj.bias");
            list.push(Expected { optional: true, ..required(&name, &[len], &why) });
        }
    }
    list
}

/// The shape of the matrix of a linear layer such as `model.layers.0.mlp.up_proj`, if the model has one of that name.
pub(super) fn linear_shape(config: &Config, module: &str) -> Option<[usize; 2]> {
    let (hidden, mlp) = (config.hidden_size, config.intermediate_size);
    let (attention, kv) = (config.attention_size(), config.kv_size());
    let (layer, part) = module.strip_prefix("model.layers.")?.split_once('.')?;
    if layer.parse::<usize>().ok()? >= config.layers {
        return None;
    }
    Some(match part {
        "self_attn.q_proj" => [attention, hidden],
        "self_attn.k_proj" | "self_attn.v_proj" => [kv, hidden],
        "self_attn.o_proj" => [hidden, attention],
        "mlp.gate_proj" | "mlp.up_proj" => [mlp, hidden],
        "mlp.down_proj" => [hidden, mlp],
        _ => return None,
    })
}
