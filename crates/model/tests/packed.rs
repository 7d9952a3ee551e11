//! The packed file: round trips, and one test for every rule that a file can break.
#![allow(clippy::unwrap_used)]

mod packed_support;

use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits};
use edgewen_model::packed::{
    FORMAT_VERSION, Header, LAYOUT_ID, PackedFile, PackedWriter, TensorKind, expected_tensors,
};
use edgewen_model::{ChatTemplate, Config, Dtype, Tokenizer, TokenizerFiles};
use edgewen_testing::shared;
use packed_support::{Kinds, Sample, plan, tensor_bytes};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

#[track_caller]
fn assert_parts(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

fn open_error(path: &Path) -> String {
    match PackedFile::open(path) {
        Ok(_) => panic!("the file was accepted"),
        Err(e) => e.to_string(),
    }
}

/// Changes bytes of a sample and returns what opening says.
fn broken(edit: impl FnOnce(&mut Vec<u8>)) -> String {
    let sample = Sample::write(&Kinds::default());
    sample.edit(edit);
    let message = open_error(&sample.path);
    assert_parts(&message, &[sample.path.to_str().unwrap()]);
    message
}

/// Changes the JSON part, with a right hash for it, and returns what opening says.
fn broken_metadata(edit: impl FnOnce(&mut Value)) -> String {
    let sample = Sample::write(&Kinds::default());
    sample.edit_metadata(edit);
    open_error(&sample.path)
}

#[test]
fn what_is_written_is_read_back() {
    let all_kinds = [
        Kinds::default(),
        Kinds {
            linear: (WeightBits::Eight, GroupSize::G32),
            tied: false,
            embed: TensorKind::F16,
            ..Kinds::default()
        },
        Kinds {
            linear: (WeightBits::Four, GroupSize::G128),
            embed: TensorKind::Bf16,
            template: None,
            ..Kinds::default()
        },
    ];
    for kinds in all_kinds {
        let sample = Sample::write(&kinds);
        let file = PackedFile::open(&sample.path).unwrap();
        assert_eq!(file.config(), &sample.header.config);
        assert_eq!(file.generation(), &sample.header.generation);
        assert_eq!(file.quantization(), &sample.header.quantization);
        assert_eq!(file.tokenizer_files().unwrap(), sample.header.tokenizer);
        assert_eq!(file.file_bytes(), fs::metadata(&sample.path).unwrap().len());
        let names: Vec<&str> = file.tensors().map(|tensor| tensor.name.as_str()).collect();
        let expected = expected_tensors(file.config());
        assert_eq!(names, expected.iter().map(|(name, _)| name).collect::<Vec<_>>());
        for entry in file.tensors() {
            let bytes = tensor_bytes(&entry.name, entry.kind, &entry.shape);
            assert_eq!((entry.offset % 4096, entry.bytes), (0, bytes.len() as u64), "{}", entry.name);
            match entry.kind {
                TensorKind::RowBlocks { bits, group } => {
                    let (shape, data) = file.matrix(&entry.name).unwrap();
                    assert_eq!((shape.bits, shape.group), (bits, group));
                    assert_eq!([shape.rows, shape.inputs], entry.shape[..]);
                    assert_eq!(data, bytes);
                    assert_eq!(QuantizedMatrix::unpack(shape, data).pack(), bytes);
                }
                TensorKind::U32 => unreachable!("column orders have tests of their own"),
                TensorKind::F32 => assert_eq!(file.vector(&entry.name).unwrap().len() * 4, bytes.len()),
                TensorKind::F16 | TensorKind::Bf16 => {
                    let (info, data) = file.dense(&entry.name).unwrap();
                    assert_eq!([info.rows, info.inputs], entry.shape[..]);
                    assert_eq!(info.dtype == Dtype::F16, entry.kind == TensorKind::F16);
                    assert_eq!(data, bytes);
                }
            }
        }
        let report = file.verify().unwrap();
        assert!(report.is_ok(), "{:?}", report.problems().collect::<Vec<_>>());
        let blobs = 2 + usize::from(kinds.template.is_some());
        assert_eq!(report.tensors.len(), expected.len() + blobs + 1);
        let bytes: &'static [u8] = fs::read(&sample.path).unwrap().leak();
        let embedded = PackedFile::from_static(bytes, "demo").unwrap();
        assert_eq!((embedded.name(), embedded.config()), ("demo", file.config()));
        assert!(embedded.verify().unwrap().is_ok());
        file.prefetch();
    }
}

#[test]
fn tokenizer_and_template_come_out_of_the_file() {
    let sample = Sample::write(&Kinds::default());
    let file = PackedFile::open(&sample.path).unwrap();
    let files = &sample.header.tokenizer;
    let text = "Once upon \u{4f60}";
    assert_eq!(
        file.tokenizer().unwrap().encode(text, true).unwrap(),
        Tokenizer::from_files(files).unwrap().encode(text, true).unwrap()
    );
    let messages = [json!({"role": "user", "content": "hi"})];
    let render = |template: Option<ChatTemplate>| template.unwrap().render(&messages, None, true).unwrap();
    assert_eq!(render(file.chat_template().unwrap()), render(ChatTemplate::from_files(files).unwrap()));
}

#[test]
fn ports_share_every_block_once() {
    let sample = Sample::write(&Kinds { linear: (WeightBits::Eight, GroupSize::G64), ..Kinds::default() });
    let file = PackedFile::open(&sample.path).unwrap();
    assert_eq!(file.ports().len(), 4);
    let mut ranges: Vec<[u64; 2]> = file.ports().iter().flatten().copied().collect();
    ranges.sort_unstable();
    let mut covered = ranges.iter();
    for entry in file.tensors().filter(|t| matches!(t.kind, TensorKind::RowBlocks { .. })) {
        let mut at = entry.offset;
        while at < entry.offset + entry.bytes {
            let [offset, bytes] = *covered.next().unwrap();
            assert_eq!(offset, at, "{}", entry.name);
            at += bytes;
        }
    }
    assert!(covered.next().is_none());
}

#[test]
fn qwen2_5_0_5b_needs_less_than_270_megabytes() {
    let Some(dir) = shared("data/third-party/tokenizer") else { return };
    let path = dir.join("config.json");
    let json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let config = Config::from_json(&path, json.as_object().unwrap()).unwrap();
    let sample = Sample::write(&Kinds::default());
    let four = TensorKind::RowBlocks { bits: WeightBits::Four, group: GroupSize::G64 };
    let plan = plan(&Kinds { embed: four, ..Kinds::default() }, &config);
    let tokenizer = TokenizerFiles::from_dir(&dir).unwrap();
    let header = Header { config, tokenizer, ..sample.header.clone() };
    let path = sample.path.with_file_name("qwen.ewn");
    let writer = PackedWriter::create(&path, header, plan, false).unwrap();
    assert!(writer.file_bytes() <= 270_000_000, "{}", writer.file_bytes());
}

/// The example of docs/packed-format.md.
#[test]
fn a_code_lies_where_the_documentation_says() {
    let shape = RowBlockShape { rows: 1152, inputs: 896, group: GroupSize::G64, bits: WeightBits::Four };
    assert_eq!((shape.groups(), shape.blocks(), shape.header_bytes()), (14, 72, 576));
    assert_eq!((shape.block_bytes(), shape.total_bytes()), (7744, 557_568));
    let mut matrix = QuantizedMatrix::zeroed(shape);
    let (row, input) = (35, 205);
    let group = row * 14 + input / 64;
    matrix.codes[row * 896 + input] = 11;
    matrix.zeros[group] = 7;
    matrix.scales[group] = half::f16::from_f32(0.5);
    let bytes = matrix.pack();
    let found: Vec<(usize, u8)> = bytes.iter().copied().enumerate().filter(|(_, byte)| *byte != 0).collect();
    assert_eq!(found, [(15_488 + 103, 0x38), (15_488 + 473, 0x70), (15_488 + 2_189, 0xb0)]);
}

#[test]
fn wrong_magic_is_refused() {
    assert_parts(&broken(|b| b[0] = b'X'), &["not a packed file", "XDGEWEN", "edgewen quantize"]);
    assert_parts(&broken(|b| b[..4].copy_from_slice(b"GGUF")), &["\"GGUF\" (llama.cpp's format)"]);
    assert_parts(&broken(Vec::clear), &["not a packed file", "an empty file"]);
    assert_parts(&broken(|b| *b = b"version https://git-lfs.github.com/spec/v1".to_vec()), &["git lfs pull"]);
    assert_parts(&broken(|b| b.truncate(5)), &["not a packed file", "\"EDGEW\""]);
}

#[test]
fn a_newer_version_says_update() {
    let newer = FORMAT_VERSION + 1;
    let message = broken(|b| b[8..12].copy_from_slice(&newer.to_le_bytes()));
    assert_parts(
        &message,
        &[&format!("version {newer}"), &format!("reads version {FORMAT_VERSION}"), "update edgewen"],
    );
}

#[test]
fn an_unknown_version_or_layout_is_refused() {
    assert_parts(
        &broken(|b| b[8..12].fill(0)),
        &["format version 0", "expected 1", "quantize the checkpoint again"],
    );
    let other = LAYOUT_ID + 1;
    let message = broken(|b| b[12..16].copy_from_slice(&other.to_le_bytes()));
    assert_parts(
        &message,
        &[&format!("layout id {other}"), &format!("expected {LAYOUT_ID}"), "another program"],
    );
}

#[test]
fn a_wrong_length_is_refused_with_both() {
    let whole = Sample::write(&Kinds::default()).bytes().len();
    for cut in [1, 4096, whole - 65, whole - 64] {
        let message = broken(|b| b.truncate(whole - cut));
        let (says, has) = (format!("says {whole} bytes"), format!("has {};", whole - cut));
        assert_parts(&message, &["truncated", &says, &has, "download it again"]);
    }
    assert_parts(&broken(|b| b.truncate(30)), &["truncated", "64 bytes", "has 30"]);
    assert_parts(&broken(|b| b.push(0)), &["too long", &format!("has {}", whole + 1)]);
}

#[test]
fn tampered_metadata_is_refused() {
    let message = broken(|b| b[70] ^= 1);
    assert_parts(&message, &["metadata has SHA-256", "expected", "damaged"]);
    assert_parts(&broken(|b| b[40] ^= 1), &["metadata has SHA-256"]);
    assert_parts(&broken(|b| b[20] = 1), &["invalid metadata", "said to have"]);
    assert_parts(&broken(|b| b[16] ^= 1), &["metadata has SHA-256"]);
}

#[test]
fn metadata_must_make_sense() {
    type Edit = fn(&mut Value);
    let cases: [(Edit, &[&str]); 21] = [
        (|m| m["config"]["heads"] = json!(3), &["num_key_value_heads", "divisor"]),
        (|m| m["config"]["hidden_size"] = json!(0), &["\"hidden_size\" is 0"]),
        (|m| m["config"]["layers"] = json!(1 << 30), &["\"num_hidden_layers\" is 1073741824"]),
        (|m| m["config"]["surprise"] = json!(1), &["unknown field `surprise`"]),
        (|m| m["config"]["layers"] = json!(2), &["layers.1.input_norm", "missing from the table"]),
        (|m| m["tensors"][0]["name"] = json!("nonsense"), &["\"nonsense\"", "not one of the 9 tensors"]),
        (
            |m| m["tensors"][4]["name"] = json!("layers.0.input_norm"),
            &["layers.0.input_norm", "listed 2 times"],
        ),
        (|m| m["tensors"][0]["shape"] = json!([65]), &["layers.0.input_norm", "[65]", "asks for [64]"]),
        (|m| m["tensors"][0]["kind"] = json!("f16"), &["stored as f16, expected f32"]),
        (|m| m["tensors"][0]["kind"] = json!("f99"), &["kind \"f99\" with no bits"]),
        (|m| m["tensors"][1]["bits"] = json!(5), &["layers.0.qkv", "with 5 bits and group 64"]),
        (|m| m["tensors"][1]["group"] = json!(48), &["layers.0.qkv", "with 4 bits and group 48"]),
        (|m| m["tensors"][1]["bytes"] = json!(100), &["layers.0.qkv", "has 100 bytes", "need"]),
        (|m| m["tensors"][1]["offset"] = json!(u64::MAX), &["layers.0.qkv", "overlaps"]),
        (
            |m| m["tensors"][2]["offset"] = m["tensors"][1]["offset"].clone(),
            &["\"layers.0.qkv_bias\" lies at", "overlaps, gaps"],
        ),
        (|m| m["tensors"][3]["sha256"] = json!("xyz"), &["layers.0.o", "for a SHA-256"]),
        (|m| m["blobs"][0]["name"] = json!("other"), &["\"blobs\" lists [\"other\"", "tokenizer.json"]),
        (|m| m["blobs"][0]["encoding"] = json!("zstd"), &["\"zstd\"", "zlib"]),
        (|m| m["blobs"][0]["inflated_bytes"] = json!(1u64 << 40), &["inflates to 1099511627776"]),
        (|m| m["ports"][0][0][1] = json!(1), &["\"ports\" does not follow"]),
        (|m| *m = json!([]), &["invalid metadata"]),
    ];
    for (index, (edit, parts)) in cases.into_iter().enumerate() {
        let message = broken_metadata(edit);
        assert_parts(&message, parts);
        assert!(message.contains("sample.ewn"), "case {index}: {message}");
    }
    let dense_linear = |m: &mut Value| {
        let entry = m["tensors"][3].as_object_mut().unwrap();
        entry.retain(|key, _| key != "bits" && key != "group");
        entry["kind"] = json!("bf16");
    };
    assert_parts(&broken_metadata(dense_linear), &["layers.0.o", "stored as bf16, expected row_blocks"]);
}

#[test]
fn verify_names_every_damaged_tensor() {
    let sample = Sample::write(&Kinds::default());
    let entries: Vec<_> = PackedFile::open(&sample.path).unwrap().tensors().cloned().collect();
    for entry in &entries {
        let at = (entry.offset + entry.bytes / 2) as usize;
        sample.edit(|bytes| bytes[at] ^= 0x10);
        let report = PackedFile::open(&sample.path).unwrap().verify().unwrap();
        let problems: Vec<_> = report.problems().collect();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].name, entry.name);
        assert_parts(problems[0].problem.as_ref().unwrap(), &["SHA-256 is", &entry.sha256]);
        sample.edit(|bytes| bytes[at] ^= 0x10);
    }
    let end = entries.last().unwrap();
    let padding = (entries[0].offset + entries[0].bytes) as usize;
    assert!(!padding.is_multiple_of(4096) && end.offset as usize > padding);
    sample.edit(|bytes| bytes[padding + 3] = 1);
    let report = PackedFile::open(&sample.path).unwrap().verify().unwrap();
    assert_eq!(report.problems().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["padding"]);
}

#[test]
fn verify_finds_values_that_cannot_be() {
    let cases: [(&str, usize, &[u8], &str); 4] = [
        ("layers.0.qkv", 2 * 35, &0x7e00u16.to_le_bytes(), "the scale of row 3, group 2 is NaN"),
        ("layers.0.down", 2, &0xbc00u16.to_le_bytes(), "the scale of row 1, group 0 is -1"),
        ("final_norm", 4 * 7, &f32::NAN.to_le_bytes(), "index 7 is not finite"),
        ("embed", 2 * 9, &0x7f80u16.to_le_bytes(), "index 9 is not finite"),
    ];
    for (name, at, value, problem) in cases {
        let kinds = Kinds {
            linear: (WeightBits::Four, GroupSize::G32),
            embed: TensorKind::Bf16,
            hidden: 96,
            ..Kinds::default()
        };
        let sample = Sample::write_with(&kinds, |tensor, bytes| {
            if tensor == name {
                bytes[at..at + value.len()].copy_from_slice(value);
            }
        });
        let file = PackedFile::open(&sample.path).unwrap();
        let report = file.verify().unwrap();
        let problems: Vec<_> = report.problems().collect();
        assert_eq!(problems.len(), 1, "{name}");
        assert_eq!(problems[0].name, name);
        assert_parts(problems[0].problem.as_ref().unwrap(), &[problem]);
        if name == "final_norm" {
            assert_parts(&file.vector(name).unwrap_err().to_string(), &["final_norm", "NaN at index 7"]);
        }
    }
}

#[test]
fn a_damaged_tokenizer_is_noticed_when_it_is_used() {
    let sample = Sample::write(&Kinds::default());
    let at = sample.metadata()["blobs"][0]["offset"].as_u64().unwrap() as usize;
    sample.edit(|bytes| bytes[at + 20] ^= 1);
    let file = PackedFile::open(&sample.path).unwrap();
    let message = file.tokenizer().unwrap_err().to_string();
    assert_parts(&message, &["stored tokenizer.json is damaged", "SHA-256", "sample.ewn"]);
    assert_eq!(file.verify().unwrap().problems().next().unwrap().name, "tokenizer.json");

    let sample = Sample::write(&Kinds::default());
    sample.edit_metadata(|m| m["blobs"][1]["inflated_bytes"] = json!(10));
    let message = PackedFile::open(&sample.path).unwrap().chat_template().unwrap_err().to_string();
    assert_parts(&message, &["tokenizer_config.json is damaged", "inflates to 11 bytes, expected 10"]);
}

#[test]
fn tensors_are_asked_for_by_name_and_kind() {
    let sample = Sample::write(&Kinds::default());
    let file = PackedFile::open(&sample.path).unwrap();
    let cases = [
        (file.matrix("head").unwrap_err(), "no such tensor"),
        (file.matrix("final_norm").unwrap_err(), "stored as f32, expected row_blocks"),
        (file.dense("embed").unwrap_err(), "stored as row_blocks, expected f16"),
        (file.dense("final_norm").unwrap_err(), "expected a matrix"),
        (file.vector("embed").unwrap_err(), "stored as row_blocks, expected f32"),
    ];
    for (error, part) in cases {
        assert_parts(&error.to_string(), &[part, "sample.ewn"]);
    }
}

#[test]
fn an_existing_file_is_kept_unless_forced() {
    let sample = Sample::write(&Kinds::default());
    let before = sample.bytes();
    let plan = || plan(&Kinds::default(), &sample.header.config);
    let create = |force| PackedWriter::create(&sample.path, sample.header.clone(), plan(), force);
    assert_parts(&create(false).unwrap_err().to_string(), &["sample.ewn", "exists already", "--force"]);
    drop(create(true).unwrap());
    assert_eq!(sample.bytes(), before);
    sample.fill(create(true).unwrap()).finish().unwrap();
    assert_eq!(sample.bytes(), before);
}

#[test]
fn a_file_that_appears_meanwhile_is_kept() {
    let sample = Sample::write(&Kinds::default());
    fs::remove_file(&sample.path).unwrap();
    let plan = plan(&Kinds::default(), &sample.header.config);
    let writer = PackedWriter::create(&sample.path, sample.header.clone(), plan, false).unwrap();
    let writer = sample.fill(writer);
    fs::write(&sample.path, "somebody else's").unwrap();
    assert_parts(&writer.finish().unwrap_err().to_string(), &["exists already"]);
    assert_eq!(sample.bytes(), b"somebody else's");
    assert_eq!(sample.files(), ["sample.ewn"]);
}

#[test]
fn nothing_is_left_of_an_unfinished_file() {
    let sample = Sample::write(&Kinds::default());
    fs::remove_file(&sample.path).unwrap();
    let plan = plan(&Kinds::default(), &sample.header.config);
    let mut writer = PackedWriter::create(&sample.path, sample.header.clone(), plan.clone(), false).unwrap();
    assert!(sample.files()[0].ends_with(".partial"), "{:?}", sample.files());
    writer.write("final_norm", &[0; 256]).unwrap();
    drop(writer);
    assert!(sample.files().is_empty());
    let writer = PackedWriter::create(&sample.path, sample.header.clone(), plan, false).unwrap();
    assert_parts(&writer.finish().unwrap_err().to_string(), &["layers.0.input_norm", "has not been written"]);
    assert!(sample.files().is_empty());
}

#[test]
fn too_little_disk_space_is_noticed_first() {
    let sample = Sample::write(&Kinds::default());
    let mut header = sample.header.clone();
    header.config.vocab_size = 1 << 22;
    header.config.hidden_size = 1 << 17;
    header.config.layers = 1 << 10;
    let plan = plan(&Kinds::default(), &header.config);
    let path = sample.path.with_file_name("huge.ewn");
    let message = PackedWriter::create(&path, header, plan, false).unwrap_err().to_string();
    assert_parts(&message, &["not enough disk space", "huge.ewn", "bytes needed", "bytes free", "make room"]);
    assert_eq!(sample.files(), ["sample.ewn"]);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let sample = Sample::write(&Kinds::default());
    let path = sample.path.with_file_name("absent").join("x.ewn");
    let plan = plan(&Kinds::default(), &sample.header.config);
    let message = PackedWriter::create(&path, sample.header.clone(), plan, false).unwrap_err().to_string();
    assert_parts(&message, &["cannot write to", "absent", "No such file"]);
    assert_parts(
        &PackedFile::open(&path).unwrap_err().to_string(),
        &["cannot open", "x.ewn", "No such file"],
    );
}

#[test]
fn the_plan_must_fit_the_model() {
    let sample = Sample::write(&Kinds::default());
    let path = sample.path.with_file_name("other.ewn");
    let good = plan(&Kinds::default(), &sample.header.config);
    let create = |plan| PackedWriter::create(&path, sample.header.clone(), plan, false);
    let refused = |edit: &dyn Fn(&mut Vec<edgewen_model::packed::TensorPlan>), parts: &[&str]| {
        let mut plan = good.clone();
        edit(&mut plan);
        assert_parts(&create(plan).unwrap_err().to_string(), parts);
    };
    refused(&|p| drop(p.remove(0)), &["layers.0.input_norm", "not in the plan"]);
    refused(&|p| p.push(p[0].clone()), &["layers.0.input_norm", "planned twice"]);
    refused(&|p| p[1].shape[0] += 1, &["layers.0.qkv", "the plan gives it shape"]);
    refused(&|p| p[1].kind = TensorKind::F16, &["layers.0.qkv", "cannot be f16, only row_blocks"]);
    refused(&|p| p[0].kind = TensorKind::Bf16, &["cannot be bf16, only f32"]);
    refused(
        &|p| p.push(edgewen_model::packed::TensorPlan { name: "head".into(), ..p[0].clone() }),
        &["\"head\"", "no tensor of this model"],
    );
    let mut writer = create(good.clone()).unwrap();
    let cases = [
        (writer.write("nonsense", &[]), "not in the plan"),
        (writer.write("final_norm", &[0; 255]), "has 255 bytes, the plan says 256"),
        (
            writer.write("final_norm", &[0; 256]).and_then(|()| writer.write("final_norm", &[0; 256])),
            "written already",
        ),
    ];
    for (result, part) in cases {
        assert_parts(&result.unwrap_err().to_string(), &[part]);
    }
}
