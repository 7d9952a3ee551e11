//! Whole checkpoints with a budget of bits.
#![allow(clippy::unwrap_used, missing_docs)]

use edgewen_eval::stats::Estimate;
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::Checkpoint;
use edgewen_model::packed::{PackedFile, TensorKind};
use edgewen_quant::{Error, HeadBits, Method, Progress, QuantizeOptions, Report, Silent, quantize};
use edgewen_testing::{TinySpec, shared, tiny_checkpoint};
use std::path::Path;

/// Enough for a tiny model, little enough for a test. The head begins with 4 bits as all matrices do.
fn options(bits: f64) -> QuantizeOptions {
    QuantizeOptions {
        bits_budget: Some(bits),
        head: HeadBits::Four,
        calibration_tokens: 600,
        held_out_tokens: 100,
        threads: 2,
        ..QuantizeOptions::default()
    }
}

/// The matrices that have 8 bits in a file, and the bits a weight of all matrices in it.
fn contents(path: &Path) -> (Vec<String>, f64) {
    let file = PackedFile::open(path).unwrap();
    assert!(file.verify().unwrap().is_ok());
    let (mut names, mut bytes, mut elements) = (Vec::new(), 0, 0);
    for tensor in file.tensors() {
        let TensorKind::RowBlocks { bits, .. } = tensor.kind else { continue };
        let expected = if tensor.name == "embed" { WeightBits::Eight } else { WeightBits::EightSegments };
        if bits != WeightBits::Four {
            assert_eq!(bits, expected, "{}", tensor.name);
            names.push(tensor.name.clone());
        }
        bytes += tensor.bytes;
        elements += tensor.shape.iter().map(|&n| n as u64).product::<u64>();
    }
    (names, 8.0 * bytes as f64 / elements as f64)
}

fn check(report: &Report, path: &Path) {
    let budget = report.budget.as_ref().unwrap();
    let (mut eight, bits_per_weight) = contents(path);
    let chosen = budget.matrices.iter().filter(|matrix| matrix.bits == 8);
    let mut names: Vec<String> = chosen.clone().map(|matrix| matrix.name.clone()).collect();
    names.sort();
    eight.sort();
    assert_eq!(names, eight, "the file has the bits that the report says");
    assert!((bits_per_weight - budget.bits_per_weight).abs() < 1e-9, "{bits_per_weight} {budget:?}");
    assert!(bits_per_weight <= budget.bits, "{bits_per_weight} of {}", budget.bits);
    let mut order: Vec<usize> = chosen.map(|matrix| matrix.chosen.unwrap()).collect();
    order.sort_unstable();
    assert_eq!(order, (1..=order.len()).collect::<Vec<_>>());
    // Every step of the choice gained something on the held-out text.
    assert!(budget.kl_predicted.value <= budget.kl_four.value, "{budget:?}");
    let finite = |kl: Estimate| 0.0 <= kl.value && kl.standard_error.is_finite();
    assert!(finite(budget.kl_four) && finite(budget.kl_eight) && finite(budget.kl_measured), "{budget:?}");
}

#[test]
fn the_file_keeps_to_the_budget() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = tiny_checkpoint(&TinySpec::default());
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    for method in [Method::AwqGptq, Method::Rtn] {
        let mut last = 0;
        for bits in [5.0, 6.5, 20.0] {
            let path = scratch.path().join(format!("{}-{bits}.ewn", method.name()));
            let options = QuantizeOptions { method, ..options(bits) };
            let report = quantize(&checkpoint, &path, &options, &mut Silent).unwrap();
            check(&report, &path);
            let budget = report.budget.unwrap();
            // A window may begin with BOS.
            assert!((100..=101).contains(&budget.held_out_tokens), "{budget:?}");
            let eight = budget.matrices.iter().filter(|matrix| matrix.bits == 8).count();
            assert!(last <= eight, "{method:?} {bits}: {eight} matrices, {last} before");
            last = eight;
        }
        assert!(0 < last, "{method:?}: nothing takes 8 bits with room for everything");
    }
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 6, "something was left behind");
}

/// With room for everything the file is the 8-bit one, and close to the original model.
#[test]
fn trained_models_gain_by_their_bits() {
    let Some(directory) = shared("data/third-party/models/babyllama361-qwen2-bias") else { return };
    let scratch = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(&directory).unwrap();
    let mut divergences = Vec::new();
    for bits in [4.6, 6.0, 9.0] {
        let path = scratch.path().join(format!("{bits}.ewn"));
        let options = QuantizeOptions { held_out_tokens: 1000, calibration_tokens: 4096, ..options(bits) };
        let report = quantize(&checkpoint, &path, &options, &mut Silent).unwrap();
        check(&report, &path);
        divergences.push(report.budget.unwrap().kl_measured.value);
    }
    // From 4 to 8 bits the divergence falls by far more than chance.
    assert!(divergences[1] < divergences[0] && divergences[2] < 0.2 * divergences[0], "{divergences:?}");
}

#[test]
fn budgets_that_cannot_be_kept_to_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = tiny_checkpoint(&TinySpec::default());
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let path = scratch.path().join("model.ewn");
    let error = |options: &QuantizeOptions| quantize(&checkpoint, &path, options, &mut Silent).unwrap_err();
    for bits in [0.0, 4.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = error(&options(bits));
        assert!(matches!(error, Error::Budget { .. }), "{bits}: {error}");
    }
    let group = QuantizeOptions { group: GroupSize::G32, ..options(5.0) };
    assert!(matches!(error(&group), Error::BudgetGroup { found: 32 }));
    std::fs::write(&path, "kept").unwrap();
    assert!(error(&options(5.0)).to_string().contains("model.ewn"));
    assert_eq!(std::fs::read(&path).unwrap(), b"kept");
}

/// Stops after some steps, and checks that what it is told makes sense.
struct StopAfter {
    steps: usize,
    last: usize,
}

impl Progress for StopAfter {
    fn step(&mut self, done: usize, total: usize, what: &str) {
        assert!(
            self.last <= done && done <= total && total == 1000 && !what.is_empty(),
            "{done} {total} {what}"
        );
        self.last = done;
        self.steps = self.steps.saturating_sub(1);
    }

    fn cancelled(&self) -> bool {
        self.steps == 0
    }
}

#[test]
fn cancelling_leaves_nothing() {
    let directory = tiny_checkpoint(&TinySpec::default());
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let mut cancelled = 0;
    for steps in (0..).step_by(7) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("model.ewn");
        let options = QuantizeOptions { method: Method::Rtn, ..options(6.0) };
        let mut stop = StopAfter { steps, last: 0 };
        match quantize(&checkpoint, &path, &options, &mut stop) {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, Error::Cancelled), "{steps}: {error}"),
        }
        assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "{steps}");
        cancelled += 1;
    }
    assert!(5 < cancelled, "{cancelled}");
}
