//! AWQ_MACRO files: sizes, the manifest, the round trip, and every error by its name.
#![allow(clippy::unwrap_used)]

mod packed_support;

use edgewen_layout::awq_macro::unpack;
use edgewen_layout::{GroupSize, QuantizedMatrix, WeightBits, dequantize_row};
use edgewen_model::awq_macro::{Content, Description, export, file_bytes, import, manifest, parts};
use edgewen_model::packed::{PackedFile, TensorKind};
use edgewen_model::{Config, Error, Rope, RopeScaling};
use half::f16;
use packed_support::{Kinds, Sample};
use std::fs;

/// Qwen2.5-0.5B.
fn half_a_billion() -> Config {
    Config {
        hidden_size: 896,
        intermediate_size: 4864,
        layers: 24,
        heads: 14,
        kv_heads: 2,
        head_dim: 64,
        vocab_size: 151_936,
        max_position: 32_768,
        rms_norm_eps: 1e-6,
        rope: Rope { theta: 1e6, scaling: RopeScaling::None },
        tie_word_embeddings: true,
    }
}

#[test]
fn the_file_of_the_paper_has_its_published_length() {
    assert_eq!(file_bytes(&half_a_billion()).unwrap(), 473_689_856);
}

#[test]
fn the_manifest_has_the_published_places() {
    let manifest = manifest(&half_a_billion()).unwrap();
    assert_eq!(manifest["global"]["n_kv_heads"], 2);
    let structure = &manifest["layer_structure"];
    let shapes = [
        ("self_attn.q_proj", [14, 112]),
        ("self_attn.k_proj", [14, 16]),
        ("self_attn.v_proj", [14, 16]),
        ("self_attn.o_proj", [14, 112]),
        ("mlp.gate_proj", [14, 608]),
        ("mlp.up_proj", [14, 608]),
        ("mlp.down_proj", [76, 112]),
    ];
    for (index, (name, shape)) in shapes.iter().enumerate() {
        assert_eq!(structure[index]["param_name"], *name);
        assert_eq!(structure[index]["submodules"]["macro"]["shape"], serde_json::json!(shape));
        assert_eq!(structure[index]["submodules"].get("bias").is_some(), index < 3, "{name}");
    }
    // Offsets that the seed's own metadata lists.
    let layer = |layer: usize, at: usize| &manifest["layers"][layer]["data"][at];
    assert_eq!(layer(0, 0)["submodules"]["bias"]["offset"], 451_584);
    assert_eq!(layer(0, 2)["submodules"]["macro"]["offset"], 518_144);
    assert_eq!(layer(0, 6)["submodules"]["macro"]["offset"], 5_937_408);
    assert_eq!(layer(0, 7)["offset"], 8_388_864);
    assert_eq!(layer(0, 8)["offset"], 8_390_656);
    assert_eq!(layer(1, 0)["submodules"]["macro"]["offset"], 8_392_448);
    assert_eq!(layer(23, 8)["offset"], 201_416_960);
    assert_eq!(manifest["norm"]["weight"]["offset"], 201_418_752);
    assert_eq!(manifest["token_embedding"]["weight"]["offset"], 201_420_544);
    assert_eq!(manifest["token_embedding"]["weight"]["size"], 272_269_312);
}

fn kinds(embed: TensorKind, tied: bool) -> Kinds {
    Kinds { embed, tied, ..Kinds::default() }
}

fn row_blocks(bits: WeightBits) -> TensorKind {
    TensorKind::RowBlocks { bits, group: GroupSize::G64 }
}

/// The four linear matrices of the sample, unpacked.
fn matrices(path: &std::path::Path) -> Vec<QuantizedMatrix> {
    let file = PackedFile::open(path).unwrap();
    let names = ["layers.0.qkv", "layers.0.o", "layers.0.gate_up", "layers.0.down"];
    names
        .map(|name| file.matrix(name).unwrap())
        .map(|(shape, data)| QuantizedMatrix::unpack(shape, data))
        .into()
}

#[test]
fn a_round_trip_keeps_every_nibble() {
    let embeddings =
        [row_blocks(WeightBits::Four), row_blocks(WeightBits::Eight), TensorKind::F16, TensorKind::Bf16];
    for (embed, tied) in embeddings.into_iter().zip([true, false, true, false]) {
        let sample = Sample::write(&kinds(embed, tied));
        let file = PackedFile::open(&sample.path).unwrap();
        let (first, second) = (sample.dir.path().join("a.bin"), sample.dir.path().join("b.bin"));
        let report = export(&file, &first, false).unwrap();
        assert_eq!(report.file_bytes, file_bytes(file.config()).unwrap());
        assert_eq!(fs::metadata(&first).unwrap().len(), report.file_bytes);
        assert_eq!(report.biases.values, 128);
        assert_eq!(report.norms.values, 3 * 64);
        assert_eq!(report.embedding.values, 260 * 64 * if tied { 1 } else { 2 });
        // The sample's vectors are 64ths, which f16 holds.
        assert_eq!((report.biases.rounded, report.norms.rounded), (0, 0));

        let back = sample.dir.path().join("back.ewn");
        let bytes = import(&first, Description::from_packed(&file).unwrap(), &back, false).unwrap();
        assert_eq!(fs::metadata(&back).unwrap().len(), bytes);
        assert!(PackedFile::open(&back).unwrap().verify().unwrap().is_ok());
        assert_eq!(matrices(&back), matrices(&sample.path), "{embed:?}");
        let again = export(&PackedFile::open(&back).unwrap(), &second, false).unwrap();
        assert_eq!(again.embedding.rounded, 0);
        assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "{embed:?}");
    }
}

#[test]
fn parts_lie_where_the_list_says() {
    let sample = Sample::write(&kinds(row_blocks(WeightBits::Four), true));
    let file = PackedFile::open(&sample.path).unwrap();
    let path = sample.dir.path().join("a.bin");
    export(&file, &path, false).unwrap();
    let bytes = fs::read(&path).unwrap();
    let up = matrices(&sample.path).remove(2);
    for part in parts(file.config()).unwrap() {
        let data = &bytes[part.offset as usize..][..part.bytes as usize];
        match part.content {
            Content::Macros { rows, inputs, .. } if part.name == "mlp.up_proj" => {
                let found = unpack(rows.len(), inputs, data).unwrap();
                assert_eq!((rows.start, rows.end, inputs), (80, 160, 64));
                assert_eq!(found.codes, up.codes[80 * 64..]);
                assert_eq!(found.scales, up.scales[80..]);
            }
            Content::Vector { tensor, elements } if part.name == "self_attn.v_proj" => {
                let expected = &file.vector(&tensor).unwrap()[elements.clone()];
                assert_eq!(elements, 96..128);
                let found = data.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32());
                assert!(found.eq(expected.iter().copied()));
            }
            Content::Dense { rows, inputs, .. } => {
                assert_eq!(rows, 260);
                let (shape, matrix) = file.matrix("embed").unwrap();
                let mut expected = vec![0.0; inputs];
                dequantize_row(&shape, matrix, 259, &mut expected);
                let last = data[259 * 2 * inputs..].as_chunks().0;
                let found = last.iter().map(|bytes| f16::from_le_bytes(*bytes));
                assert!(found.eq(expected.iter().map(|&value| f16::from_f32(value))));
            }
            _ => {}
        }
    }
}

#[test]
fn rounded_values_are_counted() {
    let sample = Sample::write_with(&kinds(TensorKind::F16, true), |name, bytes| match name {
        "layers.0.qkv_bias" => bytes[..4].copy_from_slice(&1.0001_f32.to_le_bytes()),
        "final_norm" => bytes[4..8].copy_from_slice(&1e-9_f32.to_le_bytes()),
        _ => {}
    });
    let file = PackedFile::open(&sample.path).unwrap();
    let report = export(&file, &sample.dir.path().join("a.bin"), false).unwrap();
    assert_eq!((report.biases.rounded, report.norms.rounded, report.embedding.rounded), (1, 1, 0));
    assert_eq!(report.biases.largest, 1.0001_f32 - 1.0);
    assert_eq!(report.norms.largest, 1e-9);
}

#[test]
fn an_export_that_cannot_be_is_refused_by_name_and_leaves_nothing() {
    let other_group = Kinds { linear: (WeightBits::Four, GroupSize::G32), ..Kinds::default() };
    let eight_bits = Kinds { linear: (WeightBits::Eight, GroupSize::G64), ..Kinds::default() };
    for (kinds, words) in
        [(other_group, ["layers.0.qkv", "32 inputs"]), (eight_bits, ["layers.0.qkv", "8 bits"])]
    {
        let sample = Sample::write(&kinds);
        let result =
            export(&PackedFile::open(&sample.path).unwrap(), &sample.dir.path().join("a.bin"), false);
        let message = result.unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        assert_eq!(sample.files(), ["sample.ewn"]);
    }

    let sample = Sample::write_with(&kinds(TensorKind::F16, true), |name, bytes| {
        if name == "layers.0.post_norm" {
            bytes[8..12].copy_from_slice(&70_000_f32.to_le_bytes());
        }
    });
    let file = PackedFile::open(&sample.path).unwrap();
    let result = export(&file, &sample.dir.path().join("a.bin"), false);
    assert!(matches!(result, Err(Error::BeyondF16 { index: 2, .. })), "{result:?}");
    assert_eq!(sample.files(), ["sample.ewn"]);

    fs::write(sample.dir.path().join("there.bin"), "precious").unwrap();
    let result = export(&file, &sample.dir.path().join("there.bin"), false);
    assert!(matches!(result, Err(Error::Exists { .. })), "{result:?}");

    let config = Config { intermediate_size: 172, ..half_a_billion() };
    let message = parts(&config).unwrap_err().to_string();
    assert!(message.contains("layers.0.mlp.gate_proj") && message.contains("172"), "{message}");
}

/// An AWQ_MACRO file of the sample, changed, and imported again.
fn import_changed(change: impl FnOnce(&mut Vec<u8>)) -> Error {
    let sample = Sample::write(&kinds(TensorKind::F16, true));
    let path = sample.dir.path().join("a.bin");
    let file = PackedFile::open(&sample.path).unwrap();
    export(&file, &path, false).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let description = Description::from_packed(&file).unwrap();
    let error = import(&path, description, &sample.dir.path().join("back.ewn"), false).unwrap_err();
    assert!(!sample.files().iter().any(|name| name.starts_with("back")), "{:?}", sample.files());
    error
}

#[test]
fn an_import_of_something_else_is_refused_by_name() {
    let error = import_changed(|bytes| bytes.push(0));
    assert!(matches!(error, Error::AwqMacroLength { .. }), "{error}");
    let error = import_changed(|bytes| bytes.truncate(bytes.len() - 256));
    assert!(matches!(error, Error::AwqMacroNoBiases { .. }), "{error}");
    assert!(error.to_string().contains("no biases"), "{error}");
    // The padding of the first macro; a scale that is not a number; a bias that is infinite.
    for (at, value, word) in
        [(4, 0x01, "12 bytes"), (17, 0x7e, "row 0, group 0"), (8 * 288 + 1, 0x7c, "index 0")]
    {
        let error = import_changed(|bytes| {
            bytes[at] = value;
            bytes[at - 1] = 0;
        });
        assert!(matches!(error, Error::AwqMacroContent { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains("layers.0.self_attn.q_proj") && message.contains(word), "{message}");
    }
}

#[test]
fn the_directory_of_a_quantized_checkpoint_describes_a_model() {
    let dir = tempfile::tempdir().unwrap();
    edgewen_testing::write_checkpoint(&edgewen_testing::TinySpec::default(), dir.path());
    let whole = Description::from_dir(dir.path()).unwrap();
    let path = dir.path().join("config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["quantization_config"] = serde_json::json!({ "quant_method": "awq", "bits": 4 });
    fs::write(&path, config.to_string()).unwrap();
    fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    assert_eq!(Description::from_dir(dir.path()).unwrap().config, whole.config);
    fs::remove_file(&path).unwrap();
    assert!(matches!(Description::from_dir(dir.path()), Err(Error::NoConfig { .. })));
}
