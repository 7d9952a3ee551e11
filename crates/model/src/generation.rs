//! The model's own sampling defaults and its set of end tokens (generation_config.json).

use crate::Result;
use crate::config::Fields;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// What generation_config.json says; absent values are `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GenerationDefaults {
    /// Tokens that end a text; from config.json where generation_config.json names none.
    pub eos: Vec<u32>,
    /// First token of a text.
    pub bos: Option<u32>,
    /// Padding token.
    pub pad: Option<u32>,
    /// Sample (true) or take the best token (false).
    pub do_sample: Option<bool>,
    /// Softmax temperature.
    pub temperature: Option<f32>,
    /// Keep the k best tokens.
    pub top_k: Option<u32>,
    /// Keep the smallest set of tokens with at least this probability.
    pub top_p: Option<f32>,
    /// Keep tokens with at least this share of the best one's probability.
    pub min_p: Option<f32>,
    /// Divides positive and multiplies negative logits of tokens already seen.
    pub repetition_penalty: Option<f32>,
}

impl GenerationDefaults {
    /// From the contents of generation_config.json, if there is one, and of config.json for what it lacks. The paths
    /// are for messages.
    pub fn from_json(
        generation: Option<(&Path, &Map<String, Value>)>,
        config: (&Path, &Map<String, Value>),
    ) -> Result<Self> {
        let config = Fields::new(config.0, config.1);
        let nothing = Map::new();
        let (path, map) = generation.unwrap_or((Path::new("generation_config.json"), &nothing));
        let own = Fields::new(path, map);
        let tokens = |key: &str| -> Result<Vec<u32>> {
            match own.get(key) {
                Some(_) => token_ids(&own, key),
                None => token_ids(&config, key),
            }
        };
        let share = |key: &str| number(&own, key, 0.0, 1.0);
        Ok(GenerationDefaults {
            eos: tokens("eos_token_id")?,
            bos: tokens("bos_token_id")?.first().copied(),
            pad: tokens("pad_token_id")?.first().copied(),
            do_sample: own.boolean("do_sample")?,
            temperature: number(&own, "temperature", 0.0, 100.0)?,
            top_k: own.integer("top_k")?.map(|k| k.try_into().unwrap_or(u32::MAX)),
            top_p: share("top_p")?,
            min_p: share("min_p")?,
            repetition_penalty: number(&own, "repetition_penalty", 1e-3, 1e3)?,
        })
    }
}

fn number(fields: &Fields<'_>, key: &str, low: f64, high: f64) -> Result<Option<f32>> {
    match fields.float(key)? {
        Some(value) if !(low..=high).contains(&value) => {
            Err(fields.bad(key, value, &format!("{low} to {high}")))
        }
        value => Ok(value.map(|v| v as f32)),
    }
}

/// One id, a list of ids, or nothing. A negative id is an old way to say that there is none.
fn token_ids(fields: &Fields<'_>, key: &str) -> Result<Vec<u32>> {
    let Some(value) = fields.get(key) else { return Ok(Vec::new()) };
    let list = match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut ids = Vec::new();
    for item in list {
        match item.as_i64() {
            Some(id) if id < 0 => {}
            Some(id) if id <= i64::from(u32::MAX) => ids.push(id as u32),
            _ => return Err(fields.bad(key, value, "a token id or a list of token ids")),
        }
    }
    Ok(ids)
}
