//! Quantized checkpoints: golden ones by the original packers, and every way in which one can be unusable.
#![allow(clippy::unwrap_used)]

use edgewen_layout::{GroupSize, QuantizedMatrix, WeightBits};
use edgewen_model::quantized::{Grouping, Scheme, eight_bits, order};
use edgewen_model::{Checkpoint, StoredLinear};
use edgewen_testing::{QUANTIZED_CASES, QUANTIZED_LINEARS, quantized_checkpoint, quantized_expected};
use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn every_integer_and_scale_is_what_the_packers_were_given() {
    for case in QUANTIZED_CASES {
        let directory = quantized_checkpoint(case);
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        checkpoint.validate().unwrap();
        let expected = quantized_expected(case);
        for (index, (name, [rows, inputs])) in QUANTIZED_LINEARS.into_iter().enumerate() {
            let module = format!("model.layers.0.{name}");
            let stored = checkpoint.stored_linear(&module).unwrap().unwrap();
            assert_eq!((stored.rows, stored.inputs), (rows, inputs), "{case} {name}");
            assert!(stored.codes == expected.codes[index], "{case} {name}: codes");
            assert_eq!(stored.zeros, expected.zeros[index], "{case} {name}: zero points");
            assert_eq!(stored.scales, expected.scales[index], "{case} {name}: scales");
            let group_of = expected.group_of.as_ref().map(|all| all[index].clone());
            assert_eq!(stored.group_of, group_of, "{case} {name}: order");

            let group = expected.group.unwrap_or(inputs);
            let weights = checkpoint.weight_f32(&format!("{module}.weight")).unwrap();
            for (at, weight) in weights.iter().enumerate() {
                let (row, input) = (at / inputs, at % inputs);
                let group = group_of.as_ref().map_or(input / group, |all| all[input] as usize);
                let place = row * stored.groups() + group;
                let code = f32::from(expected.codes[index][at]) - f32::from(expected.zeros[index][place]);
                assert_eq!(*weight, code * expected.scales[index][place], "{case} {name} {row} {input}");
            }
            packed_means_the_same(&stored, &weights);
        }
    }
}

/// The packed matrix dequantizes to the same weights, with its columns put back in order.
fn packed_means_the_same(stored: &StoredLinear, weights: &[f32]) {
    let packed = stored.pack().unwrap();
    assert_eq!(packed.scale_notes.rounded, 0);
    let matrix = QuantizedMatrix::unpack(packed.matrix.shape, &packed.matrix.pack());
    let mut row = vec![0.0; stored.inputs];
    for index in 0..stored.rows {
        matrix.dequantize_row(index, &mut row);
        for (column, value) in row.iter().enumerate() {
            let input = packed.order.as_ref().map_or(column, |order| order[column] as usize);
            assert_eq!(*value, weights[index * stored.inputs + input], "row {index} column {column}");
        }
    }
}

fn scheme(bits: u32, grouping: Grouping) -> Scheme {
    Scheme { bits, grouping, symmetric: false }
}

/// A layer of arbitrary integers, with scales that f16 holds.
fn layer(rows: usize, inputs: usize, scheme: Scheme, seed: u32) -> StoredLinear {
    let mut state = u64::from(seed) + 1;
    let mut next = |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % below
    };
    let size = scheme.grouping.inputs(inputs);
    let groups = rows * inputs.div_ceil(size);
    let mut group_of: Vec<u32> = (0..inputs).map(|input| (input / size) as u32).collect();
    (1..inputs).rev().for_each(|last| group_of.swap(last, next(last as u32 + 1) as usize));
    StoredLinear {
        name: "model.layers.0.mlp.up_proj".into(),
        rows,
        inputs,
        scheme,
        codes: (0..rows * inputs).map(|_| next(1 << scheme.bits) as u8).collect(),
        zeros: (0..groups)
            .map(|_| if scheme.bits == 8 { 16 * next(16) as u8 } else { next(16) as u8 })
            .collect(),
        scales: (0..groups).map(|_| (1 + next(2000)) as f32 / 65_536.0).collect(),
        group_of: (next(2) == 0).then_some(group_of),
    }
}

proptest! {
    #[test]
    fn any_group_that_divides_holds_a_layer_exactly(
        rows in 1usize..20,
        // The last group may be cut short.
        inputs in 1usize..400,
        eight in any::<bool>(),
        size in prop::sample::select(vec![0usize, 32, 64, 96, 128, 256, 320]),
        group in prop::sample::select(vec![GroupSize::G32, GroupSize::G64, GroupSize::G128]),
        promoted in any::<bool>(),
        seed in any::<u32>(),
    ) {
        let grouping = if size == 0 { Grouping::Channel } else { Grouping::Inputs(size) };
        let scheme = scheme(if eight { 8 } else { 4 }, grouping);
        let stored = layer(rows, inputs, scheme, seed);
        let bits = if eight || promoted { eight_bits(group) } else { WeightBits::Four };
        let packed = stored.pack_as(group, bits);
        prop_assert_eq!(packed.is_ok(), scheme.fits(group));
        for packed in packed.into_iter().chain(stored.pack()) {
            prop_assert_eq!(packed.scale_notes.rounded, 0);
            let matrix = QuantizedMatrix::unpack(packed.matrix.shape, &packed.matrix.pack());
            let (mut ours, mut theirs) = (vec![0.0; inputs], Vec::new());
            for row in 0..rows {
                matrix.dequantize_row(row, &mut ours);
                stored.row_to_f32(row, &mut theirs);
                for (column, value) in ours.iter().enumerate() {
                    let input = packed.order.as_ref().map_or(column, |order| order[column] as usize);
                    prop_assert_eq!(*value, theirs[input]);
                }
            }
        }
    }
}

#[test]
fn the_natural_group_is_the_layers_own_or_one_that_the_accelerator_runs() {
    let natural = |bits, grouping| {
        let scheme = scheme(bits, grouping);
        (scheme.natural_group().get(), scheme.natural_bits())
    };
    let (four, apart, segments) = (WeightBits::Four, WeightBits::Eight, WeightBits::EightSegments);
    assert_eq!(natural(4, Grouping::Inputs(128)), (128, four));
    assert_eq!(natural(4, Grouping::Inputs(64)), (64, four));
    assert_eq!(natural(4, Grouping::Inputs(96)), (32, four));
    assert_eq!(natural(4, Grouping::Inputs(256)), (128, four));
    assert_eq!(natural(4, Grouping::Channel), (64, four));
    assert_eq!(natural(8, Grouping::Inputs(128)), (64, segments));
    assert_eq!(natural(8, Grouping::Inputs(32)), (32, apart));
    assert_eq!(natural(8, Grouping::Channel), (64, segments));
}

#[test]
fn sizes_count_what_lies_beside_the_codes() {
    let directory = quantized_checkpoint("autoawq");
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    // Seven linear layers, whose groups of 32 have a scale and a zero point, and the embedding in f16.
    let (linear, embedding) = (30_720.0, 272.0 * 64.0);
    let bits = ((4.0 + 20.0 / 32.0) * linear + 16.0 * embedding) / (linear + embedding);
    assert_eq!(checkpoint.bits_per_weight(), bits);
    let vectors = 2 * (3 * 64 + 64 + 2 * 32);
    assert_eq!(checkpoint.tensor_bytes(), (bits * (linear + embedding) / 8.0) as u64 + vectors);
    let float = edgewen_testing::tiny_checkpoint(&edgewen_testing::TinySpec::default());
    assert_eq!(Checkpoint::open(float.path()).unwrap().bits_per_weight(), 16.0);
}

#[test]
fn an_order_keeps_the_models_order_within_a_group() {
    assert_eq!(order(&[1, 0, 1, 0, 2]), [1, 3, 0, 2, 4]);
}

#[test]
fn scales_that_f16_cannot_hold_are_counted_or_refused() {
    let mut stored = layer(1, 64, scheme(4, Grouping::Inputs(32)), 3);
    stored.scales = vec![1.0 + 1.0 / 4096.0, 0.5];
    let notes = stored.pack().unwrap().scale_notes;
    assert_eq!((notes.scales, notes.rounded), (2, 1));
    assert!((notes.largest_relative - 1.0 / 4097.0).abs() < 1e-9, "{notes:?}");
    // bfloat16 has three bits less than f16, and a wider range: only tiny scales are rounded.
    let tiny = bf16::from_f32(3.3e-6).to_f32();
    assert_ne!(f16::from_f32(tiny).to_f32(), tiny);
    stored.scales = vec![tiny, bf16::from_f32(0.0123).to_f32()];
    assert_eq!(stored.pack().unwrap().scale_notes.rounded, 1);
    for (scale, text) in [(1e-9, "row 0, group 0 is 0.000000001"), (7e4, "group 0 is 70000")] {
        stored.scales[0] = scale;
        let message = stored.pack().unwrap_err().to_string();
        assert!(message.contains(text) && message.contains("model.layers.0.mlp.up_proj"), "{message}");
    }
}

#[test]
fn eight_bit_zero_points_between_the_steps_are_refused() {
    let mut stored = layer(2, 64, scheme(8, Grouping::Inputs(64)), 4);
    stored.zeros[1] = 127;
    let message = stored.pack().unwrap_err().to_string();
    for part in ["mlp.up_proj", "row 1, group 0 is 127", "multiples of 16", "symmetric"] {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
    let large = StoredLinear { zeros: vec![128; 2], scales: vec![1.0, 5000.0], ..stored };
    assert!(large.pack().unwrap_err().to_string().contains("is 80000"), "16 times 5000 is beyond f16");
}

/// Opens, validates and reads everything; the message of what goes wrong.
#[track_caller]
fn assert_problem(dir: &Path, parts: &[&str]) {
    let read = || -> edgewen_model::Result<()> {
        let checkpoint = Checkpoint::open(dir)?;
        checkpoint.validate()?;
        for (name, _) in QUANTIZED_LINEARS {
            checkpoint.weight_f32(&format!("model.layers.0.{name}.weight"))?;
            checkpoint.quantized(&format!("model.layers.0.{name}"))?;
        }
        Ok(())
    };
    let message = read().expect_err("no error").to_string();
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    edit(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// A golden checkpoint whose quantization_config has been edited.
fn with_config(case: &str, edit: impl FnOnce(&mut Value)) -> tempfile::TempDir {
    let directory = quantized_checkpoint(case);
    edit_json(&directory.path().join("config.json"), |json| edit(&mut json["quantization_config"]));
    directory
}

type Stored = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// A golden checkpoint whose tensors have been edited.
fn with_tensors(case: &str, edit: impl FnOnce(&mut Stored)) -> tempfile::TempDir {
    let directory = quantized_checkpoint(case);
    let path = directory.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
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
    directory
}

const K: &str = "model.layers.0.self_attn.k_proj";

fn part(name: &str) -> String {
    format!("{K}.{name}")
}

#[test]
fn methods_and_layouts_without_an_importer_are_refused() {
    let set = |key: &'static str, value: Value| move |json: &mut Value| json[key] = value;
    type Case = (&'static str, &'static str, Value, &'static [&'static str]);
    let cases: Vec<Case> = vec![
        ("autoawq", "quant_method", json!("bitsandbytes"), &["\"bitsandbytes\"", "\"awq\"", "config.json"]),
        ("autoawq", "quant_method", json!(null), &["\"none\""]),
        ("autoawq", "version", json!("gemv"), &["version \"gemv\"", "gemm"]),
        ("autoawq", "version", json!("gemv_fast"), &["version \"gemv_fast\""]),
        ("autoawq", "version", json!("marlin"), &["version \"marlin\""]),
        ("autoawq", "backend", json!("llm-awq"), &["llm-awq"]),
        ("autoawq", "bits", json!(3), &["\"bits\": 3", "4 bits"]),
        ("autoawq", "bits", json!(8), &["\"bits\": 8"]),
        ("autoawq", "group_size", json!(48), &["group_size", "48", "multiple of 32"]),
        ("autoawq", "group_size", json!(0), &["group_size", "multiple of 32"]),
        ("autoawq", "group_size", json!(null), &["group_size"]),
        ("gptq-symmetric", "bits", json!(2), &["\"bits\": 2", "4 or 8"]),
        ("gptq-symmetric", "checkpoint_format", json!("marlin"), &["format \"marlin\""]),
        ("gptq-symmetric", "is_marlin_format", json!(true), &["is_marlin_format"]),
        ("gptq-symmetric", "pack_dtype", json!("int64"), &["int64"]),
        ("gptq-symmetric", "dynamic", json!({"+:.*down.*": {"bits": 8}}), &["dynamic", "+:.*down.*"]),
        ("compressed-symmetric", "format", json!("naive-quantized"), &["naive-quantized"]),
        ("compressed-symmetric", "config_groups", json!({}), &["config_groups"]),
        ("compressed-symmetric", "kv_cache_scheme", json!({"num_bits": 8}), &["kv_cache_scheme"]),
        ("compressed-symmetric", "sparsity_config", json!({"format": "sparse-24"}), &["sparse-24"]),
        (
            "compressed-symmetric",
            "transform_config",
            json!({"config_groups": {"u": {}}}),
            &["transform_config", "rotations"],
        ),
    ];
    for (case, key, value, parts) in cases {
        assert_problem(with_config(case, set(key, value)).path(), parts);
    }
    let weights = |key: &'static str, value: Value| {
        move |json: &mut Value| json["config_groups"]["group_0"]["weights"][key] = value
    };
    for (key, value, text) in [
        ("num_bits", json!(6), "\"num_bits\": 6"),
        ("type", json!("float"), "\"float\""),
        ("strategy", json!("tensor"), "strategy \"tensor\""),
        ("group_size", json!(16), "multiple of 32"),
    ] {
        assert_problem(with_config("compressed-symmetric", weights(key, value)).path(), &[text]);
    }
    let activations = with_config("compressed-symmetric", |json| {
        json["config_groups"]["group_0"]["input_activations"] = json!({})
    });
    assert_problem(activations.path(), &["input_activations", "quantized activations"]);
}

#[test]
fn settings_in_files_of_their_own_are_read() {
    for (case, file, old) in [
        (
            "autoawq",
            "quant_config.json",
            json!({"zero_point": true, "q_group_size": 32, "w_bit": 4, "version": "GEMM"}),
        ),
        ("gptq-symmetric", "quantize_config.json", json!({"bits": 4, "group_size": 32, "desc_act": false})),
    ] {
        let directory = quantized_checkpoint(case);
        edit_json(&directory.path().join("config.json"), |json| {
            json.as_object_mut().unwrap().remove("quantization_config");
        });
        assert_problem(directory.path(), &["q_proj.weight", "q_proj.qweight", "quant_config.json"]);
        fs::write(directory.path().join(file), old.to_string()).unwrap();
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        checkpoint.validate().unwrap();
        let read = checkpoint.stored_linear(K).unwrap().unwrap();
        assert!(read.codes == quantized_expected(case).codes[1], "{case}");
    }
}

#[test]
fn symmetric_autoawq_without_zero_points_is_in_the_middle() {
    let directory = with_tensors("autoawq", |tensors| tensors.retain(|name, _| !name.ends_with(".qzeros")));
    assert_problem(directory.path(), &["q_proj.qzeros", "missing", "download it again"]);
    edit_json(&directory.path().join("config.json"), |json| {
        json["quantization_config"]["zero_point"] = json!(false);
    });
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    checkpoint.validate().unwrap();
    assert!(checkpoint.stored_linear(K).unwrap().unwrap().zeros.iter().all(|zero| *zero == 8));
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    for (case, name) in [
        ("autoawq", "scales"),
        ("gptq-symmetric", "qzeros"),
        ("compressed-symmetric", "weight_scale"),
        ("compressed-symmetric", "weight_shape"),
    ] {
        let directory = with_tensors(case, |tensors| drop(tensors.remove(&part(name))));
        assert_problem(directory.path(), &[&part(name), "missing"]);
    }
    let gone = with_tensors("autoawq", |tensors| drop(tensors.remove(&part("qweight"))));
    assert_problem(gone.path(), &[&part("weight"), "num_hidden_layers"]);
    for (case, name) in [
        ("autoawq", "qweight"),
        ("autoawq", "qzeros"),
        ("autoawq", "scales"),
        ("gptq-reordered", "qweight"),
        ("gptq-reordered", "g_idx"),
        ("compressed-asymmetric", "weight_packed"),
    ] {
        let directory = with_tensors(case, |tensors| {
            // Half of the first dimension.
            let (_, shape, data) = tensors.get_mut(&part(name)).unwrap();
            shape[0] /= 2;
            data.truncate(data.len() / 2);
        });
        assert_problem(directory.path(), &[&part(name), "different checkpoints"]);
    }
    let floats = with_tensors("autoawq", |tensors| tensors.get_mut(&part("qweight")).unwrap().0 = Dtype::F32);
    assert_problem(floats.path(), &[&part("qweight"), "F32", "I32"]);
    let integers =
        with_tensors("autoawq", |tensors| tensors.get_mut(&part("scales")).unwrap().0 = Dtype::I16);
    assert_problem(integers.path(), &[&part("scales"), "I16"]);
    let other = with_tensors("compressed-symmetric", |tensors| {
        tensors.get_mut(&part("weight_shape")).unwrap().2[0] = 31;
    });
    assert_problem(other.path(), &[&part("weight_shape"), "[31, 64]", "[32, 64]"]);
    // Half of the groups that the configuration states.
    let groups = with_config("autoawq", |json| json["group_size"] = json!(64));
    assert_problem(groups.path(), &["q_proj.qzeros", "[2, 8]", "[1, 8]"]);
    let groups = with_config("autoawq", |json| json["group_size"] = json!(128));
    assert_problem(groups.path(), &["q_proj.qweight", "64 inputs", "multiple of 128"]);
    let bits = with_config("compressed-symmetric", |json| {
        json["config_groups"]["group_0"]["weights"]["num_bits"] = json!(8);
    });
    assert_problem(bits.path(), &["weight_packed", "8 bits in groups of 32, symmetric"]);
}

#[test]
fn shapes_that_fill_no_words_are_refused() {
    // Four output channels fewer: N is no multiple of 8.
    let directory = quantized_checkpoint("autoawq");
    edit_json(&directory.path().join("config.json"), |json| json["intermediate_size"] = json!(100));
    assert_problem(directory.path(), &["mlp.gate_proj", "100 output channels", "multiple of 8"]);
    edit_json(&directory.path().join("config.json"), |json| json["intermediate_size"] = json!(104));
    assert_problem(directory.path(), &["mlp.gate_proj.qweight", "[64, 12]", "[64, 13]"]);
}

#[test]
fn scales_that_are_no_scales_are_refused() {
    for (bits, text) in [(0x7e00u16, "NaN"), (0x7c00, "inf"), (0, "is 0"), (0x8400, "is -0.0000")] {
        let directory = with_tensors("autoawq", |tensors| {
            tensors.get_mut(&part("scales")).unwrap().2[..2].copy_from_slice(&bits.to_le_bytes());
        });
        assert_problem(directory.path(), &[&part("scales"), text, "damaged"]);
    }
}

#[test]
fn orders_that_are_no_groups_are_refused() {
    let with_index = |input: usize, group: i32| {
        with_tensors("gptq-reordered", move |tensors| {
            let data = &mut tensors.get_mut(&part("g_idx")).unwrap().2;
            data[4 * input..4 * input + 4].copy_from_slice(&group.to_le_bytes());
        })
    };
    let given = quantized_expected("gptq-reordered").group_of.unwrap()[1].clone();
    assert_problem(with_index(5, 2).path(), &[&part("g_idx"), "input 5 is in group 2", "0 to 1"]);
    assert_problem(with_index(5, -1).path(), &[&part("g_idx"), "group -1"]);
    let other = with_index(5, 1 - given[5] as i32);
    assert_problem(other.path(), &[&part("g_idx"), "inputs, expected 32", "groups of one size"]);
    // compressed-tensors marks consecutive groups so.
    let unset = with_tensors("compressed-reordered", |tensors| {
        for (name, (_, _, data)) in tensors.iter_mut() {
            if name.ends_with("weight_g_idx") {
                data.fill(0xff);
            }
        }
    });
    let checkpoint = Checkpoint::open(unset.path()).unwrap();
    checkpoint.validate().unwrap();
    assert_eq!(checkpoint.linear_layout(K).unwrap().unwrap().group_of, None);
}

#[test]
fn a_zero_point_that_programs_read_differently_is_refused() {
    let directory = with_tensors("gptq-symmetric", |tensors| {
        tensors.get_mut(&part("qzeros")).unwrap().2[0] |= 0xf0;
    });
    assert_problem(directory.path(), &[&part("qzeros"), "row 1, group 0", "stored as 15", "16", "gptq_v2"]);
    let same = with_config("gptq-symmetric", |json| json["checkpoint_format"] = json!("gptq_v2"));
    let zeros = Checkpoint::open(same.path()).unwrap().stored_linear(K).unwrap().unwrap().zeros;
    assert!(zeros.iter().all(|zero| *zero == 7), "v2 stores them as they are");
}

#[test]
fn biases_where_the_model_has_none_must_be_zeros() {
    let add = |value: u8| {
        move |tensors: &mut Stored| {
            let mut data = vec![0; 128];
            data[1] = value;
            tensors.insert("model.layers.0.self_attn.o_proj.bias".into(), (Dtype::F16, vec![64], data));
        }
    };
    let zeros = with_tensors("gptq-symmetric", add(0));
    Checkpoint::open(zeros.path()).unwrap().validate().unwrap();
    assert_problem(with_tensors("gptq-symmetric", add(0x3c)).path(), &["o_proj.bias", "not all zeros"]);
}

#[test]
fn weights_that_were_not_downloaded_are_recognized() {
    let directory = quantized_checkpoint("autoawq");
    let path = directory.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    assert_problem(directory.path(), &["model.safetensors is truncated"]);
    fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 730000000\n").unwrap();
    assert_problem(directory.path(), &["Git-LFS pointer", "730000000", "git lfs pull"]);
}

#[test]
fn a_quantized_head_is_named() {
    let directory = with_tensors("gptq-symmetric", |tensors| {
        let words = tensors[&part("qweight")].clone();
        tensors.insert("lm_head.qweight".into(), words);
    });
    // Beside a tied embedding it is ignored, as transformers does.
    Checkpoint::open(directory.path()).unwrap().validate().unwrap();
    edit_json(&directory.path().join("config.json"), |json| json["tie_word_embeddings"] = json!(false));
    assert_problem(directory.path(), &["lm_head.weight", "lm_head.qweight", "not imported"]);
}
