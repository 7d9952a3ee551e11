//! config.json, as `transformers` 4 and 5 write it.

use super::{Config, Invalid, Rope, RopeScaling};
use crate::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// A JSON object of a file, with errors that name the file and the key.
pub(crate) struct Fields<'a> {
    path: &'a Path,
    map: &'a Map<String, Value>,
}

/// Reads a JSON object. A Git-LFS pointer is named as such.
pub(crate) fn read_json(path: &Path) -> Result<Map<String, Value>> {
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(Error::LfsPointer {
            path: path.to_owned(),
            found: bytes.len() as u64,
            expected: String::new(),
        });
    }
    let detail = match serde_json::from_slice(&bytes) {
        Ok(Value::Object(map)) => return Ok(map),
        Ok(_) => "not a JSON object".to_owned(),
        Err(e) => format!("invalid JSON, {e}"),
    };
    Err(Error::Json { path: path.to_owned(), detail })
}

impl<'a> Fields<'a> {
    pub(crate) fn new(path: &'a Path, map: &'a Map<String, Value>) -> Self {
        Fields { path, map }
    }

    /// The file.
    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    /// The value of a key, if it is there and not null.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn bad(&self, key: &str, found: impl ToString, expected: &str) -> Error {
        Error::BadValue {
            path: self.path.to_owned(),
            key: key.to_owned(),
            found: found.to_string(),
            expected: expected.to_owned(),
        }
    }

    pub(crate) fn missing(&self, key: &str) -> Error {
        Error::MissingKey { path: self.path.to_owned(), key: key.to_owned() }
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.bad(key, value, expected))
    }

    pub(crate) fn integer(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number of at least 0", |v| v.as_u64().and_then(|n| n.try_into().ok()))
    }

    pub(crate) fn float(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        self.typed(key, "text", Value::as_str)
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Fields<'a>>> {
        let map = self.typed(key, "an object", Value::as_object)?;
        Ok(map.map(|map| Fields { path: self.path, map }))
    }

    fn size(&self, key: &str) -> Result<usize> {
        self.integer(key)?.ok_or_else(|| self.missing(key))
    }

    pub(crate) fn unsupported(&self, feature: String, supported: &str) -> Error {
        Error::Unsupported { path: self.path.to_owned(), feature, supported: supported.to_owned() }
    }
}

impl Config {
    /// From the contents of config.json; `path` is for messages. Defaults are those of `Qwen2Config`.
    pub fn from_json(path: &Path, json: &Map<String, Value>) -> Result<Config> {
        let fields = Fields::new(path, json);
        check_architecture(&fields)?;
        let hidden_size = fields.size("hidden_size")?;
        let heads = fields.size("num_attention_heads")?;
        let head_dim = match fields.integer("head_dim")? {
            Some(head_dim) => head_dim,
            None if heads == 0 => 0,
            None if !hidden_size.is_multiple_of(heads) => {
                let expected =
                    format!("a multiple of \"num_attention_heads\" ({heads}), or \"head_dim\" beside it");
                return Err(fields.bad("hidden_size", hidden_size, &expected));
            }
            None => hidden_size / heads,
        };
        let kv_heads = match json.get("num_key_value_heads") {
            Some(Value::Null) => heads,
            _ => fields.size("num_key_value_heads")?,
        };
        let stated_positions = fields.integer("max_position_embeddings")?.unwrap_or(32_768);
        let rope = read_rope(&fields, stated_positions)?;
        let max_position = match rope.scaling {
            // The Qwen2.5 model cards add a factor and leave max_position_embeddings alone.
            RopeScaling::Yarn { factor, original_max_position, .. } => {
                stated_positions.max((original_max_position as f64 * factor) as usize)
            }
            _ => stated_positions,
        };
        let config = Config {
            hidden_size,
            intermediate_size: fields.size("intermediate_size")?,
            layers: fields.size("num_hidden_layers")?,
            heads,
            kv_heads,
            head_dim,
            vocab_size: fields.size("vocab_size")?,
            max_position,
            rms_norm_eps: fields.float("rms_norm_eps")?.unwrap_or(1e-6) as f32,
            rope,
            tie_word_embeddings: fields.boolean("tie_word_embeddings")?.unwrap_or(false),
        };
        config.check().map_err(|Invalid { key, found, expected }| fields.bad(key, found, &expected))?;
        check_activation(&fields)?;
        check_window(&fields, &config)?;
        Ok(config)
    }
}

fn check_architecture(fields: &Fields<'_>) -> Result<()> {
    let not_qwen2 = |found: String| Error::NotQwen2 { path: fields.path.to_owned(), found };
    let model_type = fields.text("model_type")?;
    let architectures = fields.get("architectures");
    match (model_type, architectures) {
        (None, None) => return Err(not_qwen2("neither \"model_type\" nor \"architectures\"".into())),
        (Some(found), _) if found != "qwen2" => {
            return Err(not_qwen2(format!("\"model_type\": \"{found}\"")));
        }
        _ => {}
    }
    let Some(list) = architectures else { return Ok(()) };
    let known = list.as_array().is_some_and(|list| list.iter().any(|name| name == "Qwen2ForCausalLM"));
    if known { Ok(()) } else { Err(not_qwen2(format!("\"architectures\": {list}"))) }
}

fn check_activation(fields: &Fields<'_>) -> Result<()> {
    match fields.text("hidden_act")? {
        None | Some("silu" | "swish") => Ok(()),
        Some(other) => {
            Err(fields.unsupported(format!("\"hidden_act\": \"{other}\""), "Qwen2 models use \"silu\""))
        }
    }
}

/// Sliding windows are refused where they would change the result.
fn check_window(fields: &Fields<'_>, config: &Config) -> Result<()> {
    let supported = "edgewen attends to the whole context; use a model with \"use_sliding_window\": false";
    let window = fields.integer("sliding_window")?.unwrap_or(4096);
    if let Some(types) = fields.get("layer_types") {
        let windowed = types.as_array().is_none_or(|list| list.iter().any(|kind| kind != "full_attention"));
        if windowed && window < config.max_position {
            return Err(fields.unsupported(format!("\"layer_types\": {types}"), supported));
        }
    }
    if fields.boolean("use_sliding_window")? != Some(true)
        || fields.map.get("sliding_window") == Some(&Value::Null)
    {
        return Ok(());
    }
    let first = fields.integer("max_window_layers")?.unwrap_or(28);
    if first < config.layers && window < config.max_position {
        let feature = format!(
            "\"use_sliding_window\": true (a window of {window} tokens in layers {first} to {})",
            config.layers - 1
        );
        return Err(fields.unsupported(feature, supported));
    }
    Ok(())
}

/// `rope_parameters` of transformers 5, or `rope_scaling` and `rope_theta` of transformers 4.
fn read_rope(fields: &Fields<'_>, max_position: usize) -> Result<Rope> {
    let inner = match fields.object("rope_parameters")? {
        Some(inner) => Some(inner),
        None => fields.object("rope_scaling")?,
    };
    let theta = match &inner {
        Some(inner) if inner.get("rope_theta").is_some() => inner.float("rope_theta")?,
        _ => fields.float("rope_theta")?,
    };
    let theta = theta.unwrap_or(10_000.0);
    for place in std::iter::once(fields).chain(&inner) {
        if let Some(part) = place.float("partial_rotary_factor")?.filter(|part| *part != 1.0) {
            let feature = format!("\"partial_rotary_factor\": {part}");
            return Err(fields.unsupported(feature, "Qwen2 models rotate whole heads"));
        }
    }
    let Some(inner) = inner else { return Ok(Rope { theta, scaling: RopeScaling::None }) };
    let kind = match inner.text("rope_type")? {
        Some(kind) => Some(kind),
        None => inner.text("type")?,
    };
    let scaling = match kind.unwrap_or("default") {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: factor(&inner)? },
        "yarn" => read_yarn(&inner, max_position)?,
        other => {
            let feature = format!("rope type \"{other}\"");
            return Err(fields.unsupported(feature, "edgewen has \"default\", \"linear\" and \"yarn\""));
        }
    };
    Ok(Rope { theta, scaling })
}

fn factor(rope: &Fields<'_>) -> Result<f64> {
    rope.float("factor")?.ok_or_else(|| rope.missing("factor"))
}

fn read_yarn(rope: &Fields<'_>, max_position: usize) -> Result<RopeScaling> {
    let factor = factor(rope)?;
    let stretch = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * libm::log(factor) + 1.0 };
    // Python's `or` and `if x and y`: zero counts as absent.
    let nonzero = |key| rope.float(key).map(|value| value.filter(|v| *v != 0.0));
    let attention_factor =
        match (rope.float("attention_factor")?, nonzero("mscale")?, nonzero("mscale_all_dim")?) {
            (Some(stated), _, _) => stated,
            (None, Some(one), Some(all)) => stretch(one) / stretch(all),
            _ => stretch(1.0),
        };
    Ok(RopeScaling::Yarn {
        factor,
        original_max_position: rope.integer("original_max_position_embeddings")?.unwrap_or(max_position),
        beta_fast: nonzero("beta_fast")?.unwrap_or(32.0),
        beta_slow: nonzero("beta_slow")?.unwrap_or(1.0),
        attention_factor,
        truncate: rope.boolean("truncate")?.unwrap_or(true),
    })
}
