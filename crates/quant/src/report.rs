//! What was done to each tensor and what it cost, for `--report` and for tests.

use crate::{BudgetReport, Step};
use serde::{Deserialize, Serialize};

/// The result of a quantization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of edgewen.
    pub edgewen_version: String,
    /// The checkpoint's directory.
    pub source: String,
    /// `awq` or `rtn`.
    pub method: String,
    /// Inputs that share a scale.
    pub group: usize,
    /// Bits of the embedding and of the output head.
    pub head_bits: u32,
    /// The calibration text; absent for `rtn`.
    pub calibration: Option<CalibrationReport>,
    /// Length of the packed file.
    pub file_bytes: u64,
    /// Wall-clock time.
    pub seconds: f64,
    /// Threads used.
    pub threads: usize,
    /// Largest resident memory of the process so far, mapped pages included; absent where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// Sums and means.
    pub totals: Totals,
    /// How the bits of the matrices were chosen, where there was a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetReport>,
    /// One entry a matrix of the checkpoint, in the order of the forward pass.
    pub tensors: Vec<TensorReport>,
}

/// The calibration text that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalibrationReport {
    /// `built-in` or the file name.
    pub name: String,
    /// SHA-256 of the whole text, hexadecimal.
    pub sha256: String,
    /// Tokens the model saw.
    pub tokens: usize,
    /// Pieces they came in; each starts at position 0.
    pub segments: usize,
}

/// Sums and means over the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Weights in matrices.
    pub elements: u64,
    /// Bytes they take in the packed file, scales and zero points included.
    pub bytes: u64,
    /// Bits a weight, the same.
    pub bits_per_weight: f64,
    /// Mean of the relative errors of plain rounding over the 4-bit tensors, by elements.
    pub error_rtn: f64,
    /// The same of the result.
    pub error: f64,
}

/// What an error is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// |dW X|^2 / |W X|^2 on the calibration text.
    Output,
    /// |dW|^2 / |W|^2.
    Weight,
}

/// One matrix of the checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorReport {
    /// Name in the checkpoint.
    pub name: String,
    /// Name of the tensor of the packed file that it is part of.
    pub packed_as: String,
    /// Bits of a code, without scales and zero points.
    pub bits: u32,
    /// Rows times inputs.
    pub elements: u64,
    /// Bytes in the packed file.
    pub bytes: u64,
    /// How the errors are measured.
    pub measure: Measure,
    /// Relative error of plain rounding with the same bits and group.
    pub error_rtn: f64,
    /// Relative error of what was written.
    pub error: f64,
    /// Exponent of the scales that were chosen; 0 is no scaling.
    pub alpha: f64,
    /// Whether the scales also depend on the weights (AutoAWQ's `duo_scaling`).
    pub duo: bool,
    /// Share of the groups whose range was clipped.
    pub clipped: f64,
    /// Relative error of the fused matrix that it is part of, after each step of `awq-gptq` that was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepError>,
}

/// Relative error after a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepError {
    /// The step.
    pub step: Step,
    /// As [`TensorReport::error`].
    pub error: f64,
}

impl Totals {
    pub(crate) fn of(tensors: &[TensorReport]) -> Self {
        let mut totals = Totals::default();
        let mut four = 0.0;
        for tensor in tensors {
            totals.elements += tensor.elements;
            totals.bytes += tensor.bytes;
            if tensor.bits == 4 {
                four += tensor.elements as f64;
                totals.error_rtn += tensor.error_rtn * tensor.elements as f64;
                totals.error += tensor.error * tensor.elements as f64;
            }
        }
        totals.bits_per_weight = 8.0 * totals.bytes as f64 / (totals.elements as f64).max(1.0);
        totals.error_rtn /= f64::max(four, 1.0);
        totals.error /= f64::max(four, 1.0);
        totals
    }
}

/// Largest resident memory of this process, from Linux's /proc.
pub(crate) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
