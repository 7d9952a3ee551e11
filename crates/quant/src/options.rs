//! What a user may choose, and how the quantizer tells how far it is.

use crate::{Error, Result};
use edgewen_layout::{GroupSize, WeightBits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// How the weights are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Scales as AWQ finds them, then rounding with error feedback (GPTQ, Frantar et al. 2022, arXiv 2210.17323) and
    /// coordinate descent, layer after layer on what the layers before really give.
    #[default]
    AwqGptq,
    /// Activation-aware weight quantization as published (Lin et al. 2023, arXiv 2306.00978): scales and clipping are
    /// searched on calibration text, on the original model.
    Awq,
    /// Round to nearest: no calibration text, no search.
    Rtn,
}

impl Method {
    /// The name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Method::AwqGptq => "awq-gptq",
            Method::Awq => "awq",
            Method::Rtn => "rtn",
        }
    }
}

/// How long [`Method::AwqGptq`] searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// A coarse grid and one round of descent.
    Fast,
    /// The default.
    #[default]
    Normal,
    /// A fine grid, descent until nothing changes.
    Best,
}

/// A step of [`Method::AwqGptq`] that can be left out, to see what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Scales of the input channels, folded into the operation before.
    Scales,
    /// The same from the values into the attention's output.
    ValueOutput,
    /// Damping of the Gram matrix by the inputs' own energies and the length of the text; without it 1 % of the mean.
    Damping,
    /// Narrower ranges of groups.
    Clip,
    /// Rounding one column after the other, the later ones making up for the earlier ones' errors.
    Feedback,
    /// Changing single codes, scales and zero points as long as the error falls.
    Descent,
    /// Inputs from the layers as quantized so far instead of those of the original model.
    Sequential,
    /// Weights moved towards what the original model gives on the original inputs.
    Correction,
}

impl Step {
    /// All of them, in the order in which they are done.
    pub const ALL: [Step; 8] = [
        Step::Sequential,
        Step::Scales,
        Step::ValueOutput,
        Step::Correction,
        Step::Damping,
        Step::Clip,
        Step::Feedback,
        Step::Descent,
    ];

    /// The name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Step::Scales => "scales",
            Step::ValueOutput => "value-output",
            Step::Damping => "damping",
            Step::Clip => "clip",
            Step::Feedback => "feedback",
            Step::Descent => "descent",
            Step::Sequential => "sequential",
            Step::Correction => "correction",
        }
    }
}

/// Bits of the embedding and of the output head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeadBits {
    /// Four, like all other matrices.
    Four,
    /// Eight, in two planes of four.
    #[default]
    Eight,
    /// As in the checkpoint: bf16 or f16 (f32 becomes f16).
    Sixteen,
}

impl HeadBits {
    /// The number of bits.
    pub fn bits(self) -> u32 {
        match self {
            HeadBits::Four => 4,
            HeadBits::Eight => 8,
            HeadBits::Sixteen => 16,
        }
    }
}

/// The text on which AWQ measures what matters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Calibration {
    /// The project's own text (src/calibration.txt): English prose, dialogue, Chinese, code and mathematics.
    #[default]
    BuiltIn,
    /// The user's.
    Text {
        /// File name, for messages and the report.
        name: String,
        /// Contents.
        text: String,
    },
}

impl Calibration {
    /// Reads a text file.
    ///
    /// # Errors
    /// If it cannot be read or is not UTF-8.
    pub fn from_file(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).map_err(|source| Error::CalibrationFile { path: path.to_owned(), source })?;
        let name =
            path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into());
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Calibration::Text { name, text }),
            Err(e) => Err(Error::CalibrationNotUtf8 { name, offset: e.utf8_error().valid_up_to() }),
        }
    }

    /// `built-in` or the file name.
    pub fn name(&self) -> &str {
        match self {
            Calibration::BuiltIn => "built-in",
            Calibration::Text { name, .. } => name,
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        match self {
            Calibration::BuiltIn => include_str!("calibration.txt"),
            Calibration::Text { text, .. } => text,
        }
    }
}

/// What a user may choose.
#[derive(Debug, Clone)]
pub struct QuantizeOptions {
    /// How the weights are rounded.
    pub method: Method,
    /// How long [`Method::AwqGptq`] searches.
    pub effort: Effort,
    /// Steps of [`Method::AwqGptq`] to leave out.
    pub skip: BTreeSet<Step>,
    /// Inputs that share a scale.
    pub group: GroupSize,
    /// Bits of the embedding and of the output head.
    pub head: HeadBits,
    /// Matrices that take 8 bits all the same, by their names in the packed file: `layers.3.down`, `embed`.
    pub eight: BTreeSet<String>,
    /// Bits a weight that all quantized matrices together may take, scales included: which of them take 8 is then
    /// chosen by measurement, and added to `eight`. Docs: mixed-precision.md.
    pub bits_budget: Option<f64>,
    /// Tokens of the calibration text that are kept out of the calibration, to measure the KL divergence on, where
    /// something is chosen by it. At most an eighth of the text is taken.
    pub held_out_tokens: usize,
    /// The calibration text; not used by [`Method::Rtn`].
    pub calibration: Calibration,
    /// Tokens of the calibration text to use; a longer text is sampled at even distances.
    pub calibration_tokens: usize,
    /// Threads to compute with. The result does not depend on it.
    pub threads: usize,
    /// Replace an existing file.
    pub force: bool,
}

impl QuantizeOptions {
    /// Tokens to keep out of the calibration: none where nothing is measured on them.
    pub(crate) fn held_out(&self) -> usize {
        if self.bits_budget.is_some() { self.held_out_tokens } else { 0 }
    }

    /// The bits of a matrix of a layer, by its name in the packed file.
    pub(crate) fn layer_bits(&self, packed: &str) -> WeightBits {
        if self.eight.contains(packed) { WeightBits::EightSegments } else { WeightBits::Four }
    }

    /// Those of the embedding or the head; `None` if it is not quantized.
    pub(crate) fn head_bits(&self, packed: &str) -> Option<WeightBits> {
        match self.head {
            HeadBits::Four if !self.eight.contains(packed) => Some(WeightBits::Four),
            HeadBits::Four | HeadBits::Eight => Some(WeightBits::Eight),
            HeadBits::Sixteen => None,
        }
    }
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        Self {
            method: Method::default(),
            effort: Effort::default(),
            skip: BTreeSet::new(),
            group: GroupSize::G64,
            head: HeadBits::default(),
            eight: BTreeSet::new(),
            bits_budget: None,
            held_out_tokens: 1024,
            calibration: Calibration::default(),
            calibration_tokens: 16_384,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            force: false,
        }
    }
}

/// Is told how far the work is, and asked whether to go on.
pub trait Progress {
    /// `done` of `total` units of work are done (units take about the same time each); `what` comes next.
    fn step(&mut self, done: usize, total: usize, what: &str);

    /// Whether to stop: [`crate::quantize`] then returns [`Error::Cancelled`] and leaves no file. Asked after every
    /// step of the search, at most a few seconds apart for a model of 0.5 billion weights.
    fn cancelled(&self) -> bool;
}

/// Wants to know nothing and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&mut self, _done: usize, _total: usize, _what: &str) {}

    fn cancelled(&self) -> bool {
        false
    }
}
