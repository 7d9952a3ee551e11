//! Version 2 of the packed file: matrices of layers as segments, and column orders.
#![allow(clippy::unwrap_used)]

mod packed_support;

use edgewen_layout::{GroupSize, QuantizedMatrix, WeightBits};
use edgewen_model::packed::{FORMAT_VERSION, PackedFile, PackedWriter, TensorKind, TensorPlan, order_name};
use packed_support::{Kinds, Sample, plan, tensor_bytes};
use serde_json::json;
use std::fs;

const SEGMENTS: (WeightBits, GroupSize) = (WeightBits::EightSegments, GroupSize::G64);

/// Two matrices as segments, one with a column order, the others as usual.
fn mixed(plan: &mut Vec<TensorPlan>) {
    for tensor in plan.iter_mut() {
        if ["layers.0.qkv", "layers.0.down"].contains(&tensor.name.as_str()) {
            tensor.kind = TensorKind::SEGMENTS;
        }
    }
    for (matrix, inputs) in [("layers.0.down", 80), ("layers.0.o", 64)] {
        plan.push(TensorPlan { name: order_name(matrix), kind: TensorKind::U32, shape: vec![inputs] });
    }
}

fn write(edit: impl Fn(&mut Vec<TensorPlan>)) -> Sample {
    let sample = Sample::write(&Kinds::default());
    let mut plan = plan(&Kinds::default(), &sample.header.config);
    edit(&mut plan);
    let mut writer = PackedWriter::create(&sample.path, sample.header.clone(), plan.clone(), true).unwrap();
    for TensorPlan { name, kind, shape } in &plan {
        writer.write(name, &tensor_bytes(name, *kind, shape)).unwrap();
    }
    writer.finish().unwrap();
    sample
}

fn version(sample: &Sample) -> u32 {
    u32::from_le_bytes(sample.bytes()[8..12].try_into().unwrap())
}

fn open_error(sample: &Sample) -> String {
    PackedFile::open(&sample.path).unwrap_err().to_string()
}

#[test]
fn a_mixed_file_is_read_back() {
    let sample = write(mixed);
    assert_eq!(version(&sample), 2);
    let file = PackedFile::open(&sample.path).unwrap();
    let (shape, data) = file.matrix("layers.0.down").unwrap();
    assert_eq!((shape.bits, shape.group), SEGMENTS);
    assert_eq!(data.len(), 4 * 2 * 1088, "64 rows are 4 blocks, 80 inputs 2 segments of each");
    let bytes = tensor_bytes("layers.0.down", TensorKind::SEGMENTS, &[64, 80]);
    assert_eq!(data, bytes);
    assert_eq!(QuantizedMatrix::unpack(shape, data).pack(), bytes);
    let order = file.order("layers.0.down").unwrap().unwrap();
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert!(order != sorted && sorted == (0..80).collect::<Vec<u32>>());
    assert_eq!(file.order("layers.0.qkv").unwrap(), None);
    assert!(file.verify().unwrap().is_ok());
    // Before its matrix, as a token needs them.
    let names: Vec<&str> = file.tensors().map(|tensor| tensor.name.as_str()).collect();
    let at = |name| names.iter().position(|found| *found == name).unwrap();
    assert_eq!(at("layers.0.down_order") + 1, at("layers.0.down"));

    // The ports share the blocks of segments, and column orders are none of theirs.
    let mut ranges: Vec<[u64; 2]> = file.ports().iter().flatten().copied().collect();
    ranges.sort_unstable();
    let down = file.entry("layers.0.down").unwrap();
    let of_down: Vec<[u64; 2]> = ranges
        .iter()
        .copied()
        .filter(|[at, _]| (down.offset..down.offset + down.bytes).contains(at))
        .collect();
    assert_eq!(of_down, (0..4).map(|port| [down.offset + 2176 * port, 2176]).collect::<Vec<_>>());
    let order = file.entry("layers.0.down_order").unwrap();
    assert!(ranges.iter().all(|[at, bytes]| at + bytes <= order.offset || order.offset + order.bytes <= *at));
}

#[test]
fn a_file_has_the_lowest_version_that_describes_it() {
    assert_eq!(FORMAT_VERSION, 2);
    assert_eq!(version(&write(|_| {})), 1);
    let eight = Sample::write(&Kinds { linear: (WeightBits::Eight, GroupSize::G128), ..Kinds::default() });
    assert_eq!(version(&eight), 1);
    assert_eq!(version(&Sample::write(&Kinds { linear: SEGMENTS, ..Kinds::default() })), 2);
    let ordered = |plan: &mut Vec<TensorPlan>| {
        plan.push(TensorPlan { name: "layers.0.qkv_order".into(), kind: TensorKind::U32, shape: vec![64] });
    };
    assert_eq!(version(&write(ordered)), 2);
}

#[test]
fn what_a_version_does_not_have_is_refused() {
    let sample = write(mixed);
    sample.edit(|bytes| bytes[8] = 1);
    let message = open_error(&sample);
    assert!(
        message.contains("layers.0.qkv") && message.contains("format version 1 does not have"),
        "{message}"
    );
    let plain = write(|_| {});
    plain.edit(|bytes| bytes[8] = 2);
    assert!(PackedFile::open(&plain.path).is_ok(), "version 2 has all that version 1 has");
}

#[test]
fn rules_of_segments_and_orders_are_checked() {
    type Edit = fn(&mut serde_json::Value);
    let tensor = |name: &'static str| {
        move |m: &serde_json::Value| {
            m["tensors"].as_array().unwrap().iter().position(|t| t["name"] == name).unwrap()
        }
    };
    let (qkv, order, embed) = (tensor("layers.0.qkv"), tensor("layers.0.o_order"), tensor("embed"));
    let sample = write(mixed);
    let metadata = sample.metadata();
    let (qkv, order, embed) = (qkv(&metadata), order(&metadata), embed(&metadata));
    assert_eq!((qkv, order, embed), (1, 3, 10), "the edits below name them so");
    let cases: [(Edit, &[&str]); 9] = [
        (
            |m| m["tensors"][1]["group"] = json!(32),
            &["layers.0.qkv", "kind \"segments\" with 8 bits and group 32"],
        ),
        (|m| m["tensors"][1]["bits"] = json!(4), &["layers.0.qkv", "with 4 bits and group 64"]),
        (|m| m["tensors"][1]["bytes"] = json!(8703), &["layers.0.qkv", "has 8703 bytes"]),
        (|m| m["tensors"][3]["shape"] = json!([63]), &["layers.0.o_order", "[63]", "asks for [64]"]),
        (|m| m["tensors"][3]["kind"] = json!("f32"), &["layers.0.o_order", "stored as f32, expected u32"]),
        (|m| m["tensors"][3]["name"] = json!("layers.0.x_order"), &["layers.0.x_order", "not one of"]),
        (|m| m["tensors"][3]["name"] = json!("layers.0.down_order"), &["layers.0.down_order"]),
        (|m| m["tensors"][0]["kind"] = json!("u32"), &["layers.0.input_norm", "stored as u32, expected f32"]),
        (
            |m| {
                m["tensors"][10]["kind"] = json!("segments");
                m["tensors"][10]["group"] = json!(64);
            },
            &["\"embed\"", "stored as segments, expected row_blocks, f16 or bf16"],
        ),
    ];
    for (edit, parts) in cases {
        let sample = write(mixed);
        sample.edit_metadata(edit);
        let message = open_error(&sample);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}: {parts:?}");
    }
    let plan = plan(&Kinds { embed: TensorKind::SEGMENTS, ..Kinds::default() }, &sample.header.config);
    let path = sample.path.with_file_name("other.ewn");
    let error = PackedWriter::create(&path, sample.header.clone(), plan, false).unwrap_err().to_string();
    assert!(error.contains("embed") && error.contains("cannot be segments"), "{error}");
}

#[test]
fn an_order_that_is_no_permutation_is_found_when_it_is_used_and_by_verify() {
    for (value, problem) in [(80_u32, "index 3 is 80, expected an input below 80"), (u32::MAX, "4294967295")]
    {
        let sample = write(mixed);
        let entry = PackedFile::open(&sample.path).unwrap().entry("layers.0.down_order").unwrap().clone();
        let at = entry.offset as usize + 12;
        sample.edit(|bytes| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes()));
        let file = PackedFile::open(&sample.path).unwrap();
        let error = file.order("layers.0.down").unwrap_err().to_string();
        assert!(error.contains("layers.0.down_order") && error.contains(problem), "{error}");
        assert_eq!(
            file.verify().unwrap().problems().map(|p| p.name.as_str()).collect::<Vec<_>>(),
            [entry.name]
        );
    }
    // Twice the same input, with a hash that is right.
    let mut order = tensor_bytes("layers.0.down_order", TensorKind::U32, &[80]);
    order.copy_within(0..4, 4);
    let sample = Sample::write(&Kinds::default());
    let mut plan = plan(&Kinds::default(), &sample.header.config);
    mixed(&mut plan);
    let mut writer = PackedWriter::create(&sample.path, sample.header.clone(), plan.clone(), true).unwrap();
    for TensorPlan { name, kind, shape } in &plan {
        let bytes =
            if name == "layers.0.down_order" { order.clone() } else { tensor_bytes(name, *kind, shape) };
        writer.write(name, &bytes).unwrap();
    }
    writer.finish().unwrap();
    let report = PackedFile::open(&sample.path).unwrap().verify().unwrap();
    let problem = report.problems().next().unwrap().problem.clone().unwrap();
    assert!(problem.contains("twice, expected a permutation"), "{problem}");
}

#[test]
fn a_bad_scale_in_a_segment_is_found() {
    let kinds = Kinds { linear: SEGMENTS, ..Kinds::default() };
    let sample = Sample::write_with(&kinds, |name, bytes| {
        if name == "layers.0.down" {
            // Block 1, group 1, channel 3.
            let at = 3 * 1088 + 6;
            bytes[at..at + 2].copy_from_slice(&0x7e00_u16.to_le_bytes());
        }
    });
    let report = PackedFile::open(&sample.path).unwrap().verify().unwrap();
    let problem = report.problems().next().unwrap();
    assert_eq!(problem.name, "layers.0.down");
    assert_eq!(problem.problem.as_deref(), Some("the scale of row 19, group 1 is NaN"));
}

#[test]
fn awq_macro_refuses_both() {
    let sample = Sample::write(&Kinds { linear: SEGMENTS, ..Kinds::default() });
    let path = sample.path.with_file_name("model.bin");
    let export = |sample: &Sample| {
        let file = PackedFile::open(&sample.path).unwrap();
        edgewen_model::awq_macro::export(&file, &path, false).unwrap_err().to_string()
    };
    let message = export(&sample);
    assert!(message.contains("layers.0.") && message.contains("8 bits"), "{message}");
    let ordered = write(|plan| {
        plan.push(TensorPlan { name: "layers.0.o_order".into(), kind: TensorKind::U32, shape: vec![64] });
    });
    let message = export(&ordered);
    assert!(message.contains("layers.0.o") && message.contains("an order of their own"), "{message}");
    assert!(!fs::exists(&path).unwrap());
}
