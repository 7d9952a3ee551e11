//! `edgewen quantize`: the flags of the quantizer and of imports.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use edgewen_layout::GroupSize;
use edgewen_quant::HeadBits;

use super::values::positive;

pub const QUANTIZE_EXAMPLES: &str = "\
Examples:
  edgewen quantize ./Qwen2.5-0.5B-Instruct -o qwen.ewn
  edgewen quantize ./Qwen2.5-0.5B-Instruct -o qwen.ewn --bits-budget 4.5

  edgewen quantize ./Qwen2.5-0.5B-Instruct-AWQ -o qwen.ewn

The calibration text shows AWQ which inputs matter: a few pages of what the
model will be used for. A checkpoint that is quantized already (AutoAWQ, GPTQ,
compressed-tensors) is imported as it is: nothing is rounded again. Ctrl-C
leaves no file behind.";

/// `edgewen quantize`
#[derive(Debug, Args)]
pub struct QuantizeArgs {
    /// Checkpoint directory: config.json, *.safetensors, tokenizer.json.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub checkpoint: PathBuf,
    /// Packed file to write.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: PathBuf,
    /// How to round the weights [default: awq-gptq].
    #[arg(long, value_name = "NAME")]
    pub method: Option<MethodArg>,
    /// How long awq-gptq searches [default: normal].
    #[arg(long, value_name = "NAME")]
    pub effort: Option<EffortArg>,
    /// Steps of awq-gptq to leave out, for studies of what each is worth.
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    pub skip: Vec<StepArg>,
    /// Inputs that share a scale: 32, 64 or 128 [default: 64, or what a
    /// quantized checkpoint has].
    #[arg(long, value_name = "N")]
    pub group: Option<GroupArg>,
    /// Bits of the embedding and the output head: 4, 8 or 16 [default: 8; 16
    /// for quantized checkpoints].
    #[arg(long, value_name = "BITS")]
    pub head: Option<HeadArg>,
    /// Let the matrices that matter most take 8 bits instead of 4, as long as
    /// all together take at most B bits a weight, scales and embedding
    /// included: measured on text that is held out, in over twice the time.
    /// The head is one of them unless --head says otherwise.
    #[arg(long, value_name = "B")]
    pub bits_budget: Option<f64>,
    /// Calibration text (UTF-8) [default: a built-in text].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub calibration: Option<PathBuf>,
    /// Tokens of the calibration text to use [default: 16384].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub calibration_tokens: Option<usize>,
    /// Tokens of the calibration text to hold out for measuring where bits
    /// are chosen; at most an eighth of the text [default: 1024].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub held_out_tokens: Option<usize>,
    /// Write what was done to each tensor, and its error: as a page with
    /// plots where FILE ends in .html, else as JSON.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub report: Option<PathBuf>,
    /// Replace an existing file.
    #[arg(long)]
    pub force: bool,
    /// Threads to compute with [default: one per core].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub threads: Option<usize>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Quantization methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    /// Scales found on calibration text, rounding with error feedback and
    /// descent, layer after layer.
    AwqGptq,
    /// As AutoAWQ does it: scales and clipping found on calibration text.
    Awq,
    /// Round to nearest, the plain baseline; needs no calibration.
    Rtn,
}

/// How long the default method searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EffortArg {
    /// A coarse grid and one round of descent.
    Fast,
    /// The default.
    Normal,
    /// A fine grid, more rounds of descent.
    Best,
}

/// Steps of the default method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StepArg {
    /// Inputs from the layers as quantized so far.
    Sequential,
    /// Scales of the input channels.
    Scales,
    /// The same from the values into the attention's output.
    ValueOutput,
    /// Weights moved towards what the original model gives.
    Correction,
    /// Less trust in short texts; without it 1 % of the mean energy is added.
    Damping,
    /// Narrower ranges of groups.
    Clip,
    /// Columns make up for the errors of others.
    Feedback,
    /// Single codes and scales changed while the error falls.
    Descent,
}

impl StepArg {
    /// The step in the library.
    pub fn step(self) -> edgewen_quant::Step {
        use edgewen_quant::Step;
        match self {
            StepArg::Sequential => Step::Sequential,
            StepArg::Scales => Step::Scales,
            StepArg::ValueOutput => Step::ValueOutput,
            StepArg::Correction => Step::Correction,
            StepArg::Damping => Step::Damping,
            StepArg::Clip => Step::Clip,
            StepArg::Feedback => Step::Feedback,
            StepArg::Descent => Step::Descent,
        }
    }
}

/// Inputs that share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GroupArg {
    /// Finer, larger file.
    #[value(name = "32")]
    G32,
    /// The default.
    #[value(name = "64")]
    G64,
    /// Coarser, smaller file.
    #[value(name = "128")]
    G128,
}

impl GroupArg {
    /// The group in the library.
    pub fn size(self) -> GroupSize {
        match self {
            GroupArg::G32 => GroupSize::G32,
            GroupArg::G64 => GroupSize::G64,
            GroupArg::G128 => GroupSize::G128,
        }
    }
}

/// Bits of the embedding and the output head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HeadArg {
    /// Smallest file.
    #[value(name = "4")]
    Four,
    /// Nearly as good as 16 bits.
    #[value(name = "8")]
    Eight,
    /// Not quantized.
    #[value(name = "16")]
    Sixteen,
}

impl HeadArg {
    /// The bits in the library.
    pub fn bits(self) -> HeadBits {
        match self {
            HeadArg::Four => HeadBits::Four,
            HeadArg::Eight => HeadBits::Eight,
            HeadArg::Sixteen => HeadBits::Sixteen,
        }
    }
}
