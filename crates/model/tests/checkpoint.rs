//! Checkpoint directories: golden ones, and every way in which one can be broken.
#![allow(clippy::unwrap_used)]

use edgewen_model::{Checkpoint, Dtype, Error, RopeScaling};
use edgewen_testing::{TinySpec, fixture, shared, tiny_checkpoint};
use safetensors::tensor::{Dtype as StoredDtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn tiny() -> tempfile::TempDir {
    tiny_checkpoint(&TinySpec { layers: 1, ..TinySpec::default() })
}

fn sharded() -> tempfile::TempDir {
    tiny_checkpoint(&TinySpec { layers: 1, shards: 3, ..TinySpec::default() })
}

/// Opens and validates; the message of what goes wrong.
fn problem(dir: &Path) -> String {
    match Checkpoint::open(dir).and_then(|checkpoint| checkpoint.validate()) {
        Ok(()) => panic!("no error"),
        Err(e) => e.to_string(),
    }
}

#[track_caller]
fn assert_problem(dir: &Path, parts: &[&str]) {
    let message = problem(dir);
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    edit(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

type Stored = BTreeMap<String, (StoredDtype, Vec<usize>, Vec<u8>)>;

/// Rewrites the weights file after an edit of its tensors.
fn edit_tensors(path: &Path, edit: impl FnOnce(&mut Stored)) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Stored = file
        .iter()
        .map(|(name, t)| (name.to_owned(), (t.dtype(), t.shape().to_vec(), t.data().to_vec())))
        .collect();
    edit(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn golden_checkpoints_open_in_every_spelling() {
    let sharded = Checkpoint::open(&fixture("golden/tiny-yarn")).unwrap();
    sharded.validate().unwrap();
    assert!(!sharded.config().tie_word_embeddings);
    assert!(matches!(
        sharded.config().rope.scaling,
        RopeScaling::Yarn { factor: 4.0, original_max_position: 32, .. }
    ));
    assert_eq!(sharded.tensor("lm_head.weight").unwrap().dtype, Dtype::Bf16);

    let new_keys = Checkpoint::open(&fixture("golden/tiny-f16")).unwrap();
    new_keys.validate().unwrap();
    assert_eq!(new_keys.config().rope.theta, 1e6);
    assert_eq!(new_keys.tensor("model.norm.weight").unwrap().dtype, Dtype::F16);

    let single = Checkpoint::open(&fixture("golden/tiny-f32")).unwrap();
    single.validate().unwrap();
    assert_eq!(single.config().kv_heads, 1);
}

#[test]
fn shared_checkpoints_open() {
    for name in [
        "stories260k-qwen2",
        "stories260k-qwen2-pad",
        "babyllama361-qwen2-bias",
        "babyllama361-qwen2-bias-f32",
    ] {
        let Some(dir) = shared(&format!("data/third-party/models/{name}")) else { return };
        let checkpoint = Checkpoint::open(&dir).unwrap();
        checkpoint.validate().unwrap();
        assert_eq!(checkpoint.generation().eos, [2]);
        for name in checkpoint.tensor_names() {
            checkpoint.tensor(name).unwrap().to_f32().unwrap();
        }
        checkpoint.release();
        assert!(checkpoint.tensor("model.norm.weight").unwrap().to_f32().unwrap().iter().all(|x| *x != 0.0));
    }
}

#[test]
fn rows_and_wholes_agree_in_every_type() {
    for dtype in ["bfloat16", "float16", "float32"] {
        let dir = tiny_checkpoint(&TinySpec { dtype, ..TinySpec::default() });
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let embed = checkpoint.tensor("model.embed_tokens.weight").unwrap();
        let whole = embed.to_f32().unwrap();
        let mut rows = Vec::new();
        embed.rows_to_f32(3..7, &mut rows).unwrap();
        assert_eq!(rows, whole[3 * 64..7 * 64], "{dtype}");
        checkpoint.release();
        assert_eq!(embed.to_f32().unwrap(), whole, "{dtype} after release");
    }
}

#[test]
fn missing_biases_are_zeros_and_a_tied_head_is_ignored() {
    let dir = tiny();
    edit_tensors(&dir.path().join(WEIGHTS), |tensors| {
        tensors.retain(|name, _| !name.ends_with("bias"));
        let embed = tensors["model.embed_tokens.weight"].clone();
        tensors.insert("lm_head.weight".into(), embed);
    });
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    checkpoint.validate().unwrap();
    let bias = "model.layers.0.self_attn.q_proj.bias";
    assert!(!checkpoint.contains(bias));
    assert_eq!(checkpoint.vector_or_zeros(bias, 64).unwrap(), [0.0; 64]);
}

#[test]
fn a_directory_without_checkpoint_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_problem(dir.path(), &["no config.json in", dir.path().to_str().unwrap(), "packed .ewn file"]);
}

#[test]
fn a_damaged_configuration_is_refused() {
    for (content, parts) in [
        ("{\"hidden_size\": 64,", ["config.json", "invalid JSON", "line 1"]),
        ("[]", ["config.json", "not a JSON object", "download"]),
        ("version https://git-lfs.github.com/spec/v1\n", ["config.json", "Git-LFS pointer", "git lfs pull"]),
    ] {
        let dir = tiny();
        fs::write(dir.path().join("config.json"), content).unwrap();
        assert_problem(dir.path(), &parts);
    }
}

#[test]
fn a_directory_without_weights_is_refused() {
    let dir = tiny();
    fs::remove_file(dir.path().join(WEIGHTS)).unwrap();
    assert_problem(dir.path(), &["no model.safetensors", "download the weights"]);
    fs::write(dir.path().join("pytorch_model.bin"), "x").unwrap();
    assert_problem(dir.path(), &["no model.safetensors", "PyTorch", "save_pretrained"]);
}

#[test]
fn what_is_not_safetensors_is_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 988097824\n";
    let cases: [(&[u8], &[&str]); 7] = [
        (pointer.as_bytes(), &["Git-LFS pointer", "988097824 bytes", "git lfs pull"]),
        (b"", &["an empty file", "expected a safetensors file", "download"]),
        (b"<!DOCTYPE html><html>", &["a web page", "download"]),
        (b"Entry not found", &["is text", "download"]),
        (b"PK\x03\x04rest of it", &["zip archive", "PyTorch"]),
        (b"GGUF\x03\0\0\0", &["a GGUF file"]),
        (b"\x01\x02", &["a file of 2 bytes"]),
    ];
    for (content, parts) in cases {
        let dir = tiny();
        fs::write(dir.path().join(WEIGHTS), content).unwrap();
        assert_problem(dir.path(), parts);
        assert_problem(dir.path(), &[dir.path().join(WEIGHTS).to_str().unwrap()]);
    }
}

#[test]
fn a_truncated_file_is_refused_with_both_lengths() {
    let dir = tiny();
    let path = dir.path().join(WEIGHTS);
    let whole = fs::read(&path).unwrap();
    // In the data, and in the header.
    for (length, expected) in [(whole.len() - 1, whole.len()), (whole.len() / 2, whole.len()), (100, 0)] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_problem(
            dir.path(),
            &["is truncated", WEIGHTS, &format!("the file has {length};"), "download"],
        );
        if expected > 0 {
            assert_problem(dir.path(), &[&format!("describes {expected} bytes")]);
        }
    }
}

#[test]
fn an_overlong_file_is_refused_with_both_lengths() {
    let dir = tiny();
    let path = dir.path().join(WEIGHTS);
    let mut bytes = fs::read(&path).unwrap();
    let expected = bytes.len();
    bytes.extend([0; 5]);
    fs::write(&path, &bytes).unwrap();
    let (says, has) = (format!("describes {expected} bytes"), format!("has {};", expected + 5));
    assert_problem(dir.path(), &["is too long", WEIGHTS, &says, &has, "download"]);
}

#[test]
fn a_header_that_is_too_large_is_refused() {
    let dir = tiny();
    let path = dir.path().join(WEIGHTS);
    let mut bytes = fs::read(&path).unwrap();
    bytes[..8].copy_from_slice(&100_000_001u64.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    assert_problem(dir.path(), &["header of 100000001 bytes", "at most 100000000", WEIGHTS]);
}

#[test]
fn an_invalid_header_is_refused() {
    let headers = [
        "{\"a\": ".to_owned(),
        // Overlap, and a hole.
        json!({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
               "b": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}})
        .to_string(),
        json!({"a": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}}).to_string(),
        // Shape and length disagree; unknown type.
        json!({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}).to_string(),
        json!({"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}).to_string(),
    ];
    for header in headers {
        let dir = tiny();
        let path = dir.path().join(WEIGHTS);
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 6]].concat();
        fs::write(&path, &bytes).unwrap();
        assert_problem(dir.path(), &["invalid safetensors header", WEIGHTS, "download"]);
    }
}

#[test]
fn a_missing_shard_is_named() {
    let dir = sharded();
    let shard = "model-00002-of-00003.safetensors";
    fs::remove_file(dir.path().join(shard)).unwrap();
    assert_problem(dir.path(), &[shard, "is missing", INDEX, "tensors", "download"]);
}

#[test]
fn an_index_that_disagrees_with_a_shard_is_refused() {
    let dir = sharded();
    edit_json(&dir.path().join(INDEX), |json| {
        json["weight_map"]["model.layers.7.mlp.up_proj.weight"] = json!("model-00001-of-00003.safetensors");
    });
    assert_problem(
        dir.path(),
        &["model-00001-of-00003.safetensors", "no tensor \"model.layers.7.mlp.up_proj.weight\"", INDEX],
    );
}

#[test]
fn an_index_cannot_point_outside_of_the_directory() {
    for name in [json!("../secret"), json!("/etc/passwd"), json!(""), json!(3)] {
        let dir = sharded();
        edit_json(&dir.path().join(INDEX), |json| json["weight_map"]["x"] = name.clone());
        assert_problem(dir.path(), &[INDEX, "\"x\"", "the name of a file"]);
    }
    let dir = sharded();
    fs::write(dir.path().join(INDEX), "{}").unwrap();
    assert_problem(dir.path(), &[INDEX, "weight_map", "an object"]);
}

#[test]
fn a_missing_tensor_is_named_with_the_setting_that_asks_for_it() {
    let cases = [
        ("model.layers.0.mlp.down_proj.weight", "\"num_hidden_layers\" is 1"),
        ("model.embed_tokens.weight", "vocab_size"),
        ("model.norm.weight", "every model"),
    ];
    for (name, why) in cases {
        let dir = tiny();
        edit_tensors(&dir.path().join(WEIGHTS), |tensors| {
            tensors.remove(name).unwrap();
        });
        assert_problem(dir.path(), &[&format!("no tensor \"{name}\""), why, "incomplete"]);
        assert!(matches!(
            Checkpoint::open(dir.path()).unwrap().tensor(name),
            Err(Error::MissingTensor { .. })
        ));
    }
    let dir = tiny();
    edit_json(&dir.path().join("config.json"), |json| json["tie_word_embeddings"] = json!(false));
    assert_problem(dir.path(), &["no tensor \"lm_head.weight\"", "\"tie_word_embeddings\" is false"]);
}

#[test]
fn a_wrong_shape_is_refused_with_both_shapes() {
    let dir = tiny();
    edit_json(&dir.path().join("config.json"), |json| json["intermediate_size"] = json!(192));
    assert_problem(
        dir.path(),
        &["mlp.gate_proj.weight", WEIGHTS, "[128, 64]", "[192, 64]", "different checkpoints"],
    );
}

#[test]
fn a_wrong_type_is_refused() {
    let dir = tiny();
    edit_tensors(&dir.path().join(WEIGHTS), |tensors| {
        let tensor = tensors.get_mut("model.layers.0.self_attn.o_proj.weight").unwrap();
        tensor.0 = StoredDtype::I16;
    });
    assert_problem(dir.path(), &["self_attn.o_proj.weight", WEIGHTS, "I16", "BF16, F16 or F32"]);
}

#[test]
fn a_weight_that_is_not_finite_is_named_with_its_index() {
    for (dtype, bytes, value) in [
        ("bfloat16", &0x7fc0u16.to_le_bytes()[..], "NaN"),
        ("float16", &0xfc00u16.to_le_bytes()[..], "-inf"),
        ("float32", &f32::INFINITY.to_le_bytes()[..], "inf"),
    ] {
        let dir = tiny_checkpoint(&TinySpec { dtype, ..TinySpec::default() });
        let name = "model.layers.1.mlp.up_proj.weight";
        edit_tensors(&dir.path().join(WEIGHTS), |tensors| {
            let (_, _, data) = tensors.get_mut(name).unwrap();
            data[1000 * bytes.len()..][..bytes.len()].copy_from_slice(bytes);
        });
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let tensor = checkpoint.tensor(name).unwrap();
        let mut rows = Vec::new();
        tensor.rows_to_f32(0..15, &mut rows).unwrap();
        for error in [tensor.to_f32().unwrap_err(), tensor.rows_to_f32(15..17, &mut rows).unwrap_err()] {
            let message = error.to_string();
            for part in [name, "at index 1000", value, "damaged"] {
                assert!(message.contains(part), "no {part:?} in: {message}");
            }
        }
    }
}
