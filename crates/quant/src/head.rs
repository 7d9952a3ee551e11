//! The embedding and the output head: a quarter of a small model, in four, eight or sixteen bits.

use crate::apply::{ClipBlocks, Plan, apply, sizes, target};
use crate::gram::Gram;
use crate::matrix::{Fused, Metric};
use crate::objective::Objective;
use crate::output::{EMBEDDING, HEAD, Output};
use crate::quantizer::Meter;
use crate::refine::{Factors, Refined, Run, baseline, refine, relative_steps};
use crate::report::{Measure, TensorReport};
use crate::search::{CANDIDATES, Scaling, plain_errors, search};
use crate::sequence::{rounding_work, search_work};
use crate::settings::Settings;
use crate::{Error, Method, QuantizeOptions, Result};
use edgewen_engine::Norm;
use edgewen_layout::{QuantizedMatrix, WeightBits};
use edgewen_model::{Checkpoint, Dtype};
use half::f16;
use rayon::ThreadPool;

/// Rows of an untied head on which its scales are searched.
const SAMPLE: usize = 8192;

/// Rows converted at a time.
const ROWS_PER_STEP: usize = 4096;

/// Writes `embed`, `head` where there is one, and `final_norm`. `gram` is that of the head's inputs, where there is
/// calibration text. Returns the embeddings [tokens, hidden] that the file has for `tokens`.
pub(crate) fn write_head(
    checkpoint: &Checkpoint,
    options: &QuantizeOptions,
    gram: Option<&Gram>,
    workers: &ThreadPool,
    output: &mut Output<'_>,
    meter: &mut Meter<'_>,
    tokens: &[u32],
) -> Result<Vec<f32>> {
    let tied = checkpoint.config().tie_word_embeddings;
    meter.tick(0.0, "embedding")?;
    let (Some(embed_bits), Some(head_bits)) = (options.head_bits("embed"), options.head_bits("head")) else {
        write_dense(checkpoint, EMBEDDING, "embed", output, meter)?;
        if !tied {
            write_dense(checkpoint, HEAD, "head", output, meter)?;
        }
        output.write_norm(Norm::Final, None)?;
        return dense_rows(checkpoint, tokens);
    };
    let mut job = Job { options, bits: embed_bits, workers, output, meter };
    let embedding = Fused::read(checkpoint, "embed".into(), &[(EMBEDDING.into(), true)], options.group)?;
    checkpoint.release();
    // The rows of a tied embedding are read both as inputs and as the head's weights: both count.
    let (gram_of_embedding, share) = if tied { (gram, 1.0) } else { (None, 0.0) };
    let (_, matrix) = job.write(&embedding, gram_of_embedding, share, Scaling::default())?;
    let mut rows = vec![0.0; tokens.len() * embedding.inputs];
    for (&token, row) in tokens.iter().zip(rows.chunks_exact_mut(embedding.inputs)) {
        matrix.dequantize_row(token as usize, row);
    }
    if tied {
        output.write_norm(Norm::Final, None)?;
        return Ok(rows);
    }
    drop((embedding, matrix));
    let head = Fused::read(checkpoint, "head".into(), &[(HEAD.into(), true)], options.group)?;
    checkpoint.release();
    job.bits = head_bits;
    let scaling = match gram {
        Some(gram) if head_bits == WeightBits::Four => job.scales(&head, gram)?,
        _ => Scaling::default(),
    };
    let (used, _) = job.write(&head, gram, 0.0, scaling)?;
    output.write_norm(Norm::Final, used.scales.as_deref())?;
    Ok(rows)
}

/// The embeddings of some tokens as 16 bits hold them.
fn dense_rows(checkpoint: &Checkpoint, tokens: &[u32]) -> Result<Vec<f32>> {
    let tensor = checkpoint.tensor(EMBEDDING)?;
    let (mut rows, mut row) = (Vec::new(), Vec::new());
    for &token in tokens {
        tensor.rows_to_f32(token as usize..token as usize + 1, &mut row)?;
        if tensor.dtype == Dtype::F32 {
            row.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32());
        }
        rows.extend_from_slice(&row);
    }
    Ok(rows)
}

/// What quantizing an embedding or a head needs.
struct Job<'a, 'b, 'c> {
    options: &'a QuantizeOptions,
    bits: WeightBits,
    workers: &'a ThreadPool,
    output: &'a mut Output<'b>,
    meter: &'a mut Meter<'c>,
}

impl Job<'_, '_, '_> {
    /// The best scales for a head, by a sample of its rows.
    fn scales(&mut self, head: &Fused, gram: &Gram) -> Result<Scaling> {
        let step = head.rows().div_ceil(SAMPLE);
        let rows = head.weights.chunks_exact(head.inputs).step_by(step);
        let mut sample = Fused { weights: rows.flatten().copied().collect(), ..head.clone_names() };
        sample.parts[0].rows = 0..sample.weights.len() / sample.inputs;
        let work = search_work(sample.rows(), head.inputs) / CANDIDATES as f64;
        let meter = &mut *self.meter;
        let mut tick = || meter.tick(work, "output head");
        Ok(search(&sample, gram, None, self.workers, &mut tick)?.scaling)
    }

    /// Rounds and writes a matrix, with the scales if they make it better than plain rounding. Returns those used, and
    /// the matrix.
    fn write(
        &mut self,
        fused: &Fused,
        gram: Option<&Gram>,
        weight_share: f32,
        scaling: Scaling,
    ) -> Result<(Scaling, QuantizedMatrix)> {
        if let (Some(gram), WeightBits::Four, Method::AwqGptq) = (gram, self.bits, self.options.method) {
            return self.write_refined(fused, gram, weight_share, scaling);
        }
        let metric = gram.map_or(Metric::Weight, Metric::Output);
        let four = self.bits == WeightBits::Four;
        let blocks =
            gram.filter(|_| four).map(|g| ClipBlocks::new(g, self.options.group.get(), weight_share));
        let apply_with = |scales: Option<&[f32]>, clip: Option<&ClipBlocks>| {
            let plan = Plan { bits: self.bits, scales, row_factors: None, metric, clip };
            self.workers.install(|| apply(fused, &plan))
        };
        let plain = match four {
            true => self.workers.install(|| plain_errors(fused, metric))?,
            false => apply_with(None, None)?.errors,
        };
        self.meter.tick(0.3 * head_work(fused.rows(), fused.inputs), &fused.packed)?;
        let mut used = scaling;
        let mut rounded = apply_with(used.scales.as_deref(), blocks.as_ref());
        let worse = rounded.as_ref().map_or(true, |rounded| rounded.errors[0] > plain[0]);
        if used.scales.is_some() && worse {
            used = Scaling::default();
            rounded = apply_with(None, blocks.as_ref());
        }
        let rounded = rounded?;
        let sizes = self.workers.install(|| sizes(fused, metric));
        let scales = used.scales.as_deref();
        let plan = Plan { bits: self.bits, scales, row_factors: None, metric, clip: None };
        let target = (scales.is_some() && self.output.wants_target()).then(|| target(fused, &plan));
        // On the workers, for the sake of the twin.
        let output = &mut *self.output;
        self.workers.install(|| {
            output.write_matrix(fused, &rounded, &plain, &sizes, &used, metric, target, Vec::new())
        })?;
        self.meter.tick(0.7 * head_work(fused.rows(), fused.inputs), &fused.packed)?;
        Ok((used, rounded.matrix))
    }

    /// The same for four bits, with error feedback and descent.
    fn write_refined(
        &mut self,
        fused: &Fused,
        gram: &Gram,
        weight_share: f32,
        mut scaling: Scaling,
    ) -> Result<(Scaling, QuantizedMatrix)> {
        let (settings, size) = (Settings::new(self.options), self.options.group.get());
        let (plain, sizes) = self.workers.install(|| baseline(fused, gram, None))?;
        let work = rounding_work(fused.rows(), fused.inputs, 0);
        let keep = self.output.wants_target();
        loop {
            let factors = Factors { columns: scaling.scales.as_deref(), rows: None };
            let mut damping = settings.damping(gram);
            damping.mean += weight_share;
            let objective = self.workers.install(|| Objective::new(gram, factors.columns, damping, size));
            let mut tick = |share: f64| self.meter.tick(share * work, &fused.packed);
            let run = Run { workers: self.workers, tick: &mut tick };
            let refined = refine(fused, factors, &objective, None, settings.steps(), keep, run);
            match refined {
                Ok(refined) if refined.rounded.errors[0] <= plain[0] || scaling.scales.is_none() => {
                    let steps = relative_steps(&refined.steps, &sizes, &settings);
                    let Refined { rounded, target, .. } = refined;
                    let (output, metric) = (&mut *self.output, Metric::Output(gram));
                    let target = keep.then_some(target);
                    self.workers.install(|| {
                        output.write_matrix(fused, &rounded, &plain, &sizes, &scaling, metric, target, steps)
                    })?;
                    return Ok((scaling, rounded.matrix));
                }
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) if scaling.scales.is_none() => return Err(error),
                _ => scaling = Scaling::default(),
            }
        }
    }
}

/// Multiplications of plain rounding with clipping.
fn head_work(rows: usize, inputs: usize) -> f64 {
    rows as f64 * inputs as f64 * 2.0 * inputs as f64
}

/// Multiplications that [`write_head`] will report.
pub(crate) fn work(checkpoint: &Checkpoint, options: &QuantizeOptions) -> f64 {
    let config = checkpoint.config();
    let (rows, inputs, tied) = (config.vocab_size, config.hidden_size, config.tie_word_embeddings);
    let four = options.head_bits("head") == Some(WeightBits::Four);
    let head = match options.method {
        Method::AwqGptq if four => rounding_work(rows, inputs, 0),
        _ => head_work(rows, inputs),
    };
    if tied {
        return head;
    }
    let searched = four && options.method != Method::Rtn;
    let sample = rows.div_ceil(rows.div_ceil(SAMPLE).max(1));
    head_work(rows, inputs) + head + if searched { search_work(sample, inputs) } else { 0.0 }
}

/// Writes a matrix with 16 bits: as it is, or from f32 as f16.
fn write_dense(
    checkpoint: &Checkpoint,
    name: &str,
    packed: &str,
    output: &mut Output<'_>,
    meter: &mut Meter<'_>,
) -> Result<()> {
    let tensor = checkpoint.tensor(name)?;
    let (rows, inputs) = (tensor.shape[0], tensor.shape[1]);
    let mut halves = Vec::new();
    let mut values = Vec::new();
    let (mut error, mut size) = (0.0, 0.0);
    for first in (0..rows).step_by(ROWS_PER_STEP) {
        let count = ROWS_PER_STEP.min(rows - first);
        // Also what finds NaN and infinity in the tensors that are copied.
        tensor.rows_to_f32(first..first + count, &mut values)?;
        if tensor.dtype == Dtype::F32 {
            for (index, &value) in values.iter().enumerate() {
                let half = f16::from_f32(value);
                if !half.is_finite() {
                    return Err(Error::TooLarge { tensor: name.into(), row: first + index / inputs, value });
                }
                error += (half.to_f64() - f64::from(value)).powi(2);
                size += f64::from(value).powi(2);
                halves.extend_from_slice(&half.to_le_bytes());
            }
        }
        meter.tick(2.0 * (values.len() * inputs) as f64, packed)?;
    }
    let bytes = if tensor.dtype == Dtype::F32 { &halves } else { tensor.bytes };
    output.write_bytes(packed, bytes)?;
    checkpoint.release();
    let relative = if size > 0.0 { error / size } else { 0.0 };
    output.tensors.push(TensorReport {
        name: name.to_owned(),
        packed_as: packed.to_owned(),
        bits: 16,
        elements: (rows * inputs) as u64,
        bytes: bytes.len() as u64,
        measure: Measure::Weight,
        error_rtn: relative,
        error: relative,
        alpha: 0.0,
        duo: false,
        clipped: 0.0,
        steps: Vec::new(),
    });
    Ok(())
}
