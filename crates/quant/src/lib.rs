//! Turns a checkpoint into a packed file: AWQ, and plain rounding as the baseline.
#![deny(unsafe_code)]

mod error;
mod options;
mod report;

pub use error::{Error, Result};
pub use options::{Calibration, HeadBits, Method, Progress, QuantizeOptions, Silent};
pub use report::{CalibrationReport, Measure, Report, TensorReport, Totals};

/// Quantizes a checkpoint into the packed file `output`.
pub fn quantize(
    _checkpoint: &edgewen_model::Checkpoint,
    _output: &std::path::Path,
    _options: &QuantizeOptions,
    _progress: &mut dyn Progress,
) -> Result<Report> {
    unimplemented!()
}
