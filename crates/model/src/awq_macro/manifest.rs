//! What is where in an AWQ_MACRO file, as JSON: the structure of the seed's own `fullmodel_metadata.json`.

use super::parts::{Content, Part, parts};
use crate::{Config, Result};
use edgewen_layout::awq_macro::{MACRO_INPUTS, MACRO_ROWS};
use serde_json::{Map, Value, json};

/// The manifest of a model's file. Shapes of macros are [groups, blocks of 8 output channels].
pub fn manifest(config: &Config) -> Result<Value> {
    let parts = parts(config)?;
    let layer = |index: usize| parts.iter().filter(move |part| part.layer == Some(index));
    let layers: Vec<Value> = (0..config.layers)
        .map(|index| json!({ "layer_index": index, "data": merged(layer(index), place) }))
        .collect();
    let mut manifest = json!({
        "global": {
            "dim": config.hidden_size,
            "hidden_dim": config.intermediate_size,
            "n_layers": config.layers,
            "n_heads": config.heads,
            "n_kv_heads": config.kv_heads,
            "vocab_size": config.vocab_size,
            "seq_len": config.max_position,
        },
        "layer_structure": merged(layer(0), structure),
        "layers": layers,
    });
    for part in parts.iter().filter(|part| part.layer.is_none()) {
        let mut weight = place(part);
        weight.extend(structure(part));
        manifest[part.name] = json!({ "weight": weight });
    }
    Ok(manifest)
}

/// One entry for each name; the macros and the bias of a projection are submodules of one.
fn merged<'a>(
    parts: impl Iterator<Item = &'a Part>,
    describe: impl Fn(&Part) -> Map<String, Value>,
) -> Vec<Value> {
    let mut list: Vec<Value> = Vec::new();
    for part in parts {
        let fields = describe(part);
        if part.name.ends_with(".weight") {
            let mut entry = Map::from_iter([("param_name".to_owned(), json!(part.name))]);
            entry.extend(fields);
            list.push(entry.into());
            continue;
        }
        let submodule = if matches!(part.content, Content::Macros { .. }) { "macro" } else { "bias" };
        match list.last_mut().filter(|last| last["param_name"] == part.name) {
            Some(last) => last["submodules"][submodule] = fields.into(),
            None => list.push(json!({ "param_name": part.name, "submodules": { submodule: fields } })),
        }
    }
    list
}

fn place(part: &Part) -> Map<String, Value> {
    Map::from_iter([("offset".to_owned(), json!(part.offset)), ("size".to_owned(), json!(part.bytes))])
}

fn structure(part: &Part) -> Map<String, Value> {
    let (kind, shape) = match &part.content {
        Content::Macros { rows, inputs, .. } => {
            ("awq_macro", vec![inputs.div_ceil(MACRO_INPUTS), rows.len() / MACRO_ROWS])
        }
        Content::Vector { elements, .. } => ("float16", vec![elements.len()]),
        Content::Dense { rows, inputs, .. } => ("float16", vec![*rows, *inputs]),
    };
    Map::from_iter([("data_type".to_owned(), json!(kind)), ("shape".to_owned(), json!(shape))])
}
