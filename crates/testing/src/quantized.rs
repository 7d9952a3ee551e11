//! The golden quantized checkpoints of `fixtures/golden/quantized`, put together as directories that can be opened.
//!
//! In the fixtures the tensors that no format quantizes are stored once, and what the packers were given is in one file
//! for all; see `python/quantized_golden.py`.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;

use crate::checkpoint::byte_level_tokenizer;
use crate::fixture;

/// The golden checkpoints, by the names of their files.
pub const QUANTIZED_CASES: [&str; 9] = [
    "autoawq",
    "gptq-symmetric",
    "gptq-8bit",
    "gptq-reordered",
    "gptq-v2-reordered",
    "compressed-asymmetric",
    "compressed-symmetric",
    "compressed-8bit-channels",
    "compressed-reordered",
];

/// Linear layers of the golden model with their shapes [rows, inputs], in the order of the expected values.
pub const QUANTIZED_LINEARS: [(&str, [usize; 2]); 7] = [
    ("self_attn.q_proj", [64, 64]),
    ("self_attn.k_proj", [32, 64]),
    ("self_attn.v_proj", [32, 64]),
    ("self_attn.o_proj", [64, 64]),
    ("mlp.gate_proj", [96, 64]),
    ("mlp.up_proj", [96, 64]),
    ("mlp.down_proj", [64, 96]),
];

/// Writes golden checkpoint `case` into `directory`: one safetensors file, configuration and tokenizer.
///
/// # Panics
/// If the fixtures cannot be read or the directory cannot be written.
pub fn write_quantized(case: &str, directory: &Path) {
    let folder = fixture("golden/quantized");
    let read = |name: &str| std::fs::read(folder.join(name)).expect("the fixture is readable");
    let description: Value = serde_json::from_slice(&read(&format!("{case}.json"))).expect("JSON");
    let write_json = |name: &str, value: &Value| {
        std::fs::write(directory.join(name), value.to_string()).expect("the file can be written");
    };
    write_json("config.json", &description["config"]);
    write_json("tokenizer.json", &byte_level_tokenizer());
    let files = [read(&format!("{case}.safetensors")), read("rest.safetensors")];
    let parsed = files.each_ref().map(|file| SafeTensors::deserialize(file).expect("a safetensors file"));
    let tensors: BTreeMap<String, TensorView<'_>> = parsed.iter().flat_map(|file| file.tensors()).collect();
    safetensors::serialize_to_file(tensors, None, &directory.join("model.safetensors"))
        .expect("the weights can be written");
}

/// [`write_quantized`] into a fresh temporary directory.
pub fn quantized_checkpoint(case: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    write_quantized(case, directory.path());
    directory
}

/// What the packers were given for a golden checkpoint, and what transformers computes with it.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedExpected {
    /// Codes of each of [`QUANTIZED_LINEARS`], [rows, inputs].
    pub codes: Vec<Vec<u8>>,
    /// Zero points [rows, groups].
    pub zeros: Vec<Vec<u8>>,
    /// Scales [rows, groups].
    pub scales: Vec<Vec<f32>>,
    /// The group of each input, if they are not consecutive.
    pub group_of: Option<Vec<Vec<u32>>>,
    /// Inputs that share a scale; `None` for whole channels.
    pub group: Option<usize>,
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Logits [tokens, vocabulary] of these tokens.
    pub logits: Vec<f32>,
}

/// Reads the expected values of `case`.
///
/// # Panics
/// If the fixtures cannot be read.
pub fn quantized_expected(case: &str) -> QuantizedExpected {
    let folder = fixture("golden/quantized");
    let text = std::fs::read(folder.join(format!("{case}.json"))).expect("the fixture is readable");
    let description: Value = serde_json::from_slice(&text).expect("JSON");
    let set = description["values"].as_str().expect("a set of values").to_owned();
    let file = std::fs::read(folder.join("expected.safetensors")).expect("the fixture is readable");
    let file = SafeTensors::deserialize(&file).expect("a safetensors file");
    let bytes = |name: &str| file.tensor(name).expect("an expected tensor").data().to_vec();
    let floats = |name: &str| -> Vec<f32> {
        bytes(name).as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let eight = matches!(set.as_str(), "eight" | "channels");
    let group = (set != "channels").then_some(32);
    let by_row = |inputs: usize| inputs / group.unwrap_or(inputs);
    let tokens = bytes("tokens");
    let group_of = format!("{set}.group_of");
    QuantizedExpected {
        codes: split(&bytes(if eight { "codes8" } else { "codes4" }), |rows, inputs| rows * inputs),
        zeros: split(&bytes(&format!("{set}.zeros")), |rows, inputs| rows * by_row(inputs)),
        scales: split(&floats(&format!("{set}.scales")), |rows, inputs| rows * by_row(inputs)),
        group_of: file.tensor(&group_of).is_ok().then(|| {
            let all: Vec<u32> = bytes(&group_of).into_iter().map(u32::from).collect();
            split(&all, |_, inputs| inputs)
        }),
        group,
        tokens: tokens.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as u32).collect(),
        logits: floats(&format!("{set}.logits")),
    }
}

/// Cuts the values of all linear layers into those of each.
fn split<T: Copy>(all: &[T], count: impl Fn(usize, usize) -> usize) -> Vec<Vec<T>> {
    let mut rest = all;
    let parts = QUANTIZED_LINEARS.iter().map(|(_, [rows, inputs])| {
        let (part, after) = rest.split_at(count(*rows, *inputs));
        rest = after;
        part.to_vec()
    });
    let parts = parts.collect();
    assert!(rest.is_empty(), "{} values too many", rest.len());
    parts
}
