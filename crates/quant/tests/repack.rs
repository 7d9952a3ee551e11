//! Quantized checkpoints as packed files: every integer stays, and what cannot be held is refused.
#![allow(clippy::unwrap_used)]

use edgewen_engine::{Backend, Batch, CpuBackend, Forward, Logits, Reference};
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, QuantizedMatrix, WeightBits};
use edgewen_model::packed::PackedFile;
use edgewen_model::{Checkpoint, autoawq};
use edgewen_quant::{
    Error, HeadBits, Method, Progress, QuantizeOptions, RepackOptions, RepackReport, Silent, quantize, repack,
};
use edgewen_testing::{
    QUANTIZED_CASES, QUANTIZED_LINEARS, QuantizedExpected, TinySpec, quantized_checkpoint,
    quantized_expected, tiny_checkpoint,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn pack(directory: &Path, output: &Path, options: &RepackOptions) -> edgewen_quant::Result<RepackReport> {
    repack(&Checkpoint::open(directory)?, output, options, &mut Silent)
}

#[test]
fn every_integer_is_in_the_packed_file() {
    for case in QUANTIZED_CASES {
        let directory = quantized_checkpoint(case);
        let output = directory.path().join("m.ewn");
        let report = pack(directory.path(), &output, &RepackOptions::default()).unwrap();
        let file = PackedFile::open(&output).unwrap();
        assert!(file.verify().unwrap().is_ok(), "{case}");
        assert_eq!(report.file_bytes, file.file_bytes(), "{case}");
        assert_eq!((report.head_bits, report.scales.rounded, report.rounded.len()), (16, 0, 0), "{case}");
        assert_eq!(report.reordered_matrices, if case.contains("reordered") { 4 } else { 0 }, "{case}");
        assert_eq!(report.eight_bit_matrices, if case.contains("8bit") { 4 } else { 0 }, "{case}");
        let expected = quantized_expected(case);
        for (index, (name, shape)) in QUANTIZED_LINEARS.into_iter().enumerate() {
            let (packed, first) = match name.split('.').next_back().unwrap() {
                "q_proj" => ("layers.0.qkv", 0),
                "k_proj" => ("layers.0.qkv", 64),
                "v_proj" => ("layers.0.qkv", 96),
                "o_proj" => ("layers.0.o", 0),
                "gate_proj" => ("layers.0.gate_up", 0),
                "up_proj" => ("layers.0.gate_up", 96),
                _ => ("layers.0.down", 0),
            };
            compare(&file, packed, first, shape, &expected, index, &format!("{case} {name}"));
        }
    }
}

/// Rows from `first` on of a packed matrix against what the packers were given.
fn compare(
    file: &PackedFile,
    packed: &str,
    first: usize,
    [rows, inputs]: [usize; 2],
    expected: &QuantizedExpected,
    index: usize,
    what: &str,
) {
    let (shape, data) = file.matrix(packed).unwrap();
    let matrix = QuantizedMatrix::unpack(shape, data);
    let order = file.order(packed).unwrap();
    let group = expected.group.unwrap_or(inputs);
    let groups = inputs.div_ceil(group);
    let eight = shape.bits != WeightBits::Four;
    for row in 0..rows {
        for column in 0..inputs {
            let input = order.as_ref().map_or(column, |order| order[column] as usize);
            let own = expected.group_of.as_ref().map_or(input / group, |all| all[index][input] as usize);
            let code = matrix.codes[(first + row) * inputs + column];
            assert_eq!(code, expected.codes[index][row * inputs + input], "{what} row {row} input {input}");
            let at = (first + row) * shape.groups() + column / shape.group.get();
            let (zero, scale) =
                (expected.zeros[index][row * groups + own], expected.scales[index][row * groups + own]);
            let (zero, scale) = if eight { (zero / 16, 16.0 * scale) } else { (zero, scale) };
            assert_eq!((matrix.zeros[at], matrix.scales[at].to_f32()), (zero, scale), "{what} row {row}");
        }
    }
}

/// Logits of a few tokens.
fn logits(backend: &mut dyn Backend, tokens: &[u32]) -> Vec<f32> {
    Forward::default().run(backend, &Batch::one(0, 0, tokens), Logits::All).unwrap().to_vec()
}

fn packed_logits(path: &Path, tokens: &[u32]) -> Vec<f32> {
    let file = Arc::new(PackedFile::open(path).unwrap());
    logits(&mut CpuBackend::new(file, Compute::new(Isa::best(), 2), KvType::F16).unwrap(), tokens)
}

/// Largest difference, relative to the largest logit.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
    a.iter().zip(b).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn the_packed_model_computes_what_the_checkpoint_means() {
    for case in QUANTIZED_CASES {
        let directory = quantized_checkpoint(case);
        let expected = quantized_expected(case);
        let output = directory.path().join("m.ewn");
        pack(directory.path(), &output, &RepackOptions::default()).unwrap();
        let ours = packed_logits(&output, &expected.tokens);
        // 8-bit activations are all that differs; a wrong order or plane would change everything.
        let off = difference(&ours, &expected.logits);
        assert!(off < 0.03, "{case}: {off}");
    }
}

#[test]
fn smaller_groups_give_the_same_bits() {
    let directory = quantized_checkpoint("compressed-8bit-channels");
    let tokens = quantized_expected("compressed-8bit-channels").tokens;
    let mut reference = Reference::new(Checkpoint::open(directory.path()).unwrap(), 1).unwrap();
    let expected = logits(&mut reference, &tokens);
    for group in [GroupSize::G32, GroupSize::G64, GroupSize::G128] {
        let options = RepackOptions { group: Some(group), force: true, ..RepackOptions::default() };
        let output = directory.path().join("m.ewn");
        let report = pack(directory.path(), &output, &options).unwrap();
        assert_eq!(report.group, group.get());
        let off = difference(&packed_logits(&output, &tokens), &expected);
        assert!(off < 0.03, "{group:?}: {off}");
    }
    let four = quantized_checkpoint("autoawq");
    let options = RepackOptions { group: Some(GroupSize::G64), ..RepackOptions::default() };
    let message = pack(four.path(), &four.path().join("m.ewn"), &options).unwrap_err().to_string();
    for part in ["q_proj", "groups of 32", "groups of 64", "divides"] {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

#[test]
fn the_head_may_be_rounded() {
    let directory = quantized_checkpoint("autoawq");
    let expected = quantized_expected("autoawq");
    let size = |head| {
        let options = RepackOptions { head: Some(head), force: true, ..RepackOptions::default() };
        let output = directory.path().join("m.ewn");
        let report = pack(directory.path(), &output, &options).unwrap();
        assert_eq!(report.head_bits, head.bits());
        let off = difference(&packed_logits(&output, &expected.tokens), &expected.logits);
        assert!(off < if head == HeadBits::Four { 0.4 } else { 0.03 }, "{head:?}: {off}");
        report.file_bytes
    };
    let (four, eight, sixteen) = (size(HeadBits::Four), size(HeadBits::Eight), size(HeadBits::Sixteen));
    assert!(four < eight && eight < sixteen);
}

/// The tensors of a checkpoint's only file.
fn tensors(directory: &Path) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(directory.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors =
        file.iter().map(|(name, t)| (name.to_owned(), (t.dtype(), t.shape().to_vec(), t.data().to_vec())));
    tensors.collect()
}

#[test]
fn what_came_from_autoawq_goes_back_bit_by_bit() {
    let directory = quantized_checkpoint("autoawq");
    let output = directory.path().join("m.ewn");
    pack(directory.path(), &output, &RepackOptions::default()).unwrap();
    let exported = directory.path().join("exported");
    let report = autoawq::export(&PackedFile::open(&output).unwrap(), &exported, false).unwrap();
    assert_eq!((report.quantized, report.group, report.not_converted.len()), (7, 32, 0));
    for rounding in [report.biases, report.norms, report.embedding] {
        assert!(rounding.values > 0 && rounding.rounded == 0);
    }
    let (before, after) = (tensors(directory.path()), tensors(&exported));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (name, tensor) in &before {
        assert!(*tensor == after[name], "{name}");
    }
    let opened = Checkpoint::open(&exported).unwrap();
    opened.validate().unwrap();
    let original = Checkpoint::open(directory.path()).unwrap();
    assert_eq!((opened.config(), opened.quantization().unwrap().schemes.len()), (original.config(), 1));
    // And again into the same packed file, but for the names of its source.
    let again = directory.path().join("again.ewn");
    pack(&exported, &again, &RepackOptions::default()).unwrap();
    let (a, b) = (PackedFile::open(&output).unwrap(), PackedFile::open(&again).unwrap());
    assert_eq!(a.matrix("layers.0.qkv").unwrap(), b.matrix("layers.0.qkv").unwrap());
}

#[test]
fn other_formats_leave_as_autoawq_where_it_can_hold_them() {
    for (case, refusal) in [
        ("gptq-symmetric", None),
        ("compressed-asymmetric", None),
        ("gptq-v2-reordered", Some("another order")),
        ("gptq-8bit", Some("all matrices of layers have 8 bits")),
    ] {
        let directory = quantized_checkpoint(case);
        let output = directory.path().join("m.ewn");
        pack(directory.path(), &output, &RepackOptions::default()).unwrap();
        let exported = directory.path().join("exported");
        match (autoawq::export(&PackedFile::open(&output).unwrap(), &exported, false), refusal) {
            (Ok(_), None) => {
                let weight = "model.layers.0.mlp.down_proj.weight";
                let read = |dir: &Path| Checkpoint::open(dir).unwrap().weight_f32(weight).unwrap();
                assert!(read(&exported) == read(directory.path()), "{case}");
            }
            (Err(error), Some(refusal)) => {
                assert!(error.to_string().contains(refusal), "{case}: {error}");
                assert!(!exported.exists());
            }
            (result, _) => panic!("{case}: {result:?}"),
        }
    }
}

/// Rewrites the weights after an edit of the tensors.
fn edit(directory: &Path, edit: impl FnOnce(&mut BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>)) {
    let mut all = tensors(directory);
    edit(&mut all);
    let views = all.iter().map(|(name, (dtype, shape, data))| {
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    std::fs::write(directory.join("model.safetensors"), safetensors::serialize(views, None).unwrap())
        .unwrap();
}

fn refusal(directory: &Path) -> String {
    let output = directory.join("m.ewn");
    let message = pack(directory, &output, &RepackOptions::default()).unwrap_err().to_string();
    assert!(!output.exists());
    assert!(
        !std::fs::read_dir(directory).unwrap().any(|e| e
            .unwrap()
            .path()
            .extension()
            .is_some_and(|e| e == "partial"))
    );
    message
}

#[test]
fn what_a_packed_file_cannot_hold_is_refused_and_leaves_nothing() {
    // A float layer among quantized ones.
    let directory = quantized_checkpoint("autoawq");
    edit(directory.path(), |all| {
        all.retain(|name, _| !name.starts_with("model.layers.0.self_attn.o_proj"));
        all.insert(
            "model.layers.0.self_attn.o_proj.weight".into(),
            (Dtype::F16, vec![64, 64], vec![0; 8192]),
        );
    });
    let message = refusal(directory.path());
    assert!(message.contains("self_attn.o_proj\"") && message.contains("float checkpoint"), "{message}");
    let mut reference = Reference::new(Checkpoint::open(directory.path()).unwrap(), 1).unwrap();
    logits(&mut reference, &[1, 2, 3]);

    // Two orders in one fused matrix.
    let directory = quantized_checkpoint("gptq-reordered");
    edit(directory.path(), |all| {
        let (_, _, data) = all.get_mut("model.layers.0.self_attn.v_proj.g_idx").unwrap();
        data.rotate_left(4);
    });
    let message = refusal(directory.path());
    for part in ["self_attn.v_proj", "self_attn.q_proj", "g_idx", "desc_act"] {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }

    // A scale that only shows when the layer is read.
    let directory = quantized_checkpoint("autoawq");
    edit(directory.path(), |all| {
        let (_, _, data) = all.get_mut("model.layers.0.mlp.down_proj.scales").unwrap();
        data[..2].copy_from_slice(&0xfc00u16.to_le_bytes());
    });
    assert!(refusal(directory.path()).contains("mlp.down_proj.scales"));
}

#[test]
fn float_checkpoints_and_quantized_ones_are_not_confused() {
    let float = tiny_checkpoint(&TinySpec::default());
    let output = float.path().join("m.ewn");
    let message = pack(float.path(), &output, &RepackOptions::default()).unwrap_err().to_string();
    assert!(message.contains("not quantized") && message.contains("quantize it instead"), "{message}");
    let quantized = quantized_checkpoint("gptq-symmetric");
    let checkpoint = Checkpoint::open(quantized.path()).unwrap();
    let options = QuantizeOptions { method: Method::Rtn, ..QuantizeOptions::default() };
    let message = quantize(&checkpoint, &output, &options, &mut Silent).unwrap_err().to_string();
    assert!(message.contains("quantized already (gptq)"), "{message}");
}

/// Stops after some steps.
struct Impatient(usize);

impl Progress for Impatient {
    fn step(&mut self, _done: usize, _total: usize, _what: &str) {
        self.0 -= 1;
    }

    fn cancelled(&self) -> bool {
        self.0 == 0
    }
}

#[test]
fn stopping_leaves_no_file() {
    let directory = quantized_checkpoint("autoawq");
    let output = directory.path().join("m.ewn");
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let result = repack(&checkpoint, &output, &RepackOptions::default(), &mut Impatient(3));
    assert!(matches!(result, Err(Error::Cancelled)));
    assert!(!output.exists());
    let message = {
        pack(directory.path(), &output, &RepackOptions::default()).unwrap();
        pack(directory.path(), &output, &RepackOptions::default()).unwrap_err().to_string()
    };
    assert!(message.contains("exists already"), "{message}");
}

#[test]
fn mixed_bits_and_odd_shapes_leave_as_the_format_allows() {
    let directory = tiny_checkpoint(&TinySpec { intermediate: 104, tied: false, ..TinySpec::default() });
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let output = directory.path().join("m.ewn");
    let options = QuantizeOptions { method: Method::Rtn, ..QuantizeOptions::default() };
    quantize(&checkpoint, &output, &options, &mut Silent).unwrap();
    let file = PackedFile::open(&output).unwrap();
    let message = autoawq::export(&file, &directory.path().join("a"), false).unwrap_err().to_string();
    for part in ["layers.0.down", "104 inputs", "groups of 64"] {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }

    let directory = tiny_checkpoint(&TinySpec { tied: false, ..TinySpec::default() });
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let output = directory.path().join("m.ewn");
    let options = QuantizeOptions { eight: ["layers.1.down".to_owned()].into(), ..options };
    quantize(&checkpoint, &output, &options, &mut Silent).unwrap();
    let exported = directory.path().join("a");
    let report = autoawq::export(&PackedFile::open(&output).unwrap(), &exported, false).unwrap();
    assert_eq!(report.not_converted, ["model.layers.1.mlp.down_proj"]);
    assert_eq!((report.quantized, report.eight_bit.values, report.embedding_bits), (13, 64 * 128, 8));
    let config = std::fs::read_to_string(exported.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let quantization = &config["quantization_config"];
    assert_eq!(quantization["modules_to_not_convert"][0], "model.layers.1.mlp.down_proj");
    let tokens = [5, 9, 200, 31];
    let mut reference = Reference::new(Checkpoint::open(&exported).unwrap(), 1).unwrap();
    let off = difference(&packed_logits(&output, &tokens), &logits(&mut reference, &tokens));
    assert!(off < 0.05, "{off}");
    // An earlier export may be replaced, a folder with other things not.
    let again = |force| autoawq::export(&PackedFile::open(&output).unwrap(), &exported, force);
    assert!(again(false).unwrap_err().to_string().contains("exists already"));
    again(true).unwrap();
    std::fs::write(exported.join("notes.txt"), "mine").unwrap();
    assert!(again(true).unwrap_err().to_string().contains("notes.txt"));
    assert!(exported.join("notes.txt").exists());
}
