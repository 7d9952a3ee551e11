//! The baseline: every matrix rounded to nearest as it is, no text, no search.

use crate::apply::{Plan, apply, sizes};
use crate::matrix::{Fused, Metric};
use crate::output::{Output, layer_names};
use crate::quantizer::Meter;
use crate::search::Scaling;
use crate::{QuantizeOptions, Result};
use edgewen_engine::Norm;
use edgewen_model::Checkpoint;
use rayon::ThreadPool;

/// Cost of rounding an element, in the multiplications that the meter counts.
const WORK: f64 = 1000.0;

/// What [`write_layers`] will report.
pub(crate) fn work(checkpoint: &Checkpoint) -> f64 {
    let config = checkpoint.config();
    let columns = config.qkv_rows() + config.attention_size() + 3 * config.intermediate_size;
    WORK * (config.layers * config.hidden_size * columns) as f64
}

/// Rounds and writes everything but the embedding, the head and the final norm.
pub(crate) fn write_layers(
    checkpoint: &Checkpoint,
    options: &QuantizeOptions,
    workers: &ThreadPool,
    output: &mut Output<'_>,
    meter: &mut Meter<'_>,
) -> Result<()> {
    let layers = checkpoint.config().layers;
    for layer in 0..layers {
        for packed in ["qkv", "o", "gate_up", "down"] {
            let names = layer_names(layer, packed);
            let fused = Fused::read(checkpoint, format!("layers.{layer}.{packed}"), &names, options.group)?;
            let metric = Metric::Weight;
            let plan = Plan {
                bits: options.layer_bits(&fused.packed),
                scales: None,
                row_factors: None,
                metric,
                clip: None,
            };
            let rounded = workers.install(|| apply(&fused, &plan))?;
            let sizes = workers.install(|| sizes(&fused, metric));
            let plain = rounded.errors.clone();
            let scaling = Scaling::default();
            workers.install(|| {
                output.write_matrix(&fused, &rounded, &plain, &sizes, &scaling, metric, None, Vec::new())
            })?;
            let what = format!("layer {} of {layers}: {packed}", layer + 1);
            meter.tick(WORK * fused.weights.len() as f64, &what)?;
        }
        output.write_bias(layer, None)?;
        output.write_norm(Norm::Input(layer), None)?;
        output.write_norm(Norm::PostAttention(layer), None)?;
        checkpoint.release();
    }
    Ok(())
}
