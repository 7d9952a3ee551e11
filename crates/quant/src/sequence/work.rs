//! How much there is to do, for the progress: in multiplications, as if all took the same time.

use crate::search::CANDIDATES;
use crate::settings::Settings;
use crate::{QuantizeOptions, Step};
use edgewen_model::Config;

/// Weights on which scales are searched at most.
const SAMPLE: usize = 1 << 20;

/// Rows of a matrix on which its scales are searched.
pub(super) fn sampled_rows(rows: usize, inputs: usize) -> usize {
    rows.min((SAMPLE / inputs.max(1)).max(64)).max(1)
}

/// Multiplications of the search for the scales of a matrix.
pub(crate) fn search_work(rows: usize, inputs: usize) -> f64 {
    CANDIDATES as f64 * rows as f64 * inputs as f64 * (inputs as f64 / 2.0 + 64.0)
}

/// Those of all else that is done with a matrix.
pub(crate) fn rounding_work(rows: usize, inputs: usize, tokens: usize) -> f64 {
    let (rows, inputs, tokens) = (rows as f64, inputs as f64, tokens as f64);
    let descent = rows * inputs * (16.0 * inputs + 30_000.0);
    descent + inputs.powi(3) + tokens * inputs * (4.0 * rows + 2.0 * inputs)
}

/// Multiplications of a layer of the original model.
pub(super) fn original_work(config: &Config, tokens: usize) -> f64 {
    let weights = config.qkv_rows() + config.attention_size() + 3 * config.intermediate_size;
    tokens as f64 * weights as f64 * config.hidden_size as f64
}

/// Multiplications of the layers of a model.
pub(crate) fn layers_work(config: &Config, options: &QuantizeOptions, tokens: usize) -> f64 {
    let settings = Settings::new(options);
    let matrix = |rows: usize, inputs: usize, searched: bool| {
        let search = if searched { search_work(sampled_rows(rows, inputs), inputs) } else { 0.0 };
        search + rounding_work(rows, inputs, tokens)
    };
    let (hidden, middle) = (config.hidden_size, config.intermediate_size);
    let scales = settings.on(Step::Scales);
    // Once for the head and once beside the quantized model.
    let passes = if options.head_bits("head").is_some() { 2.0 } else { 1.0 };
    let layer = passes * original_work(config, tokens)
        + matrix(config.qkv_rows(), hidden, scales)
        + matrix(hidden, config.attention_size(), scales && settings.on(Step::ValueOutput))
        + matrix(2 * middle, hidden, scales)
        + matrix(hidden, middle, scales);
    config.layers as f64 * layer
}
