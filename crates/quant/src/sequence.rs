//! Walks the model layer by layer with two streams of hidden states: the original model, and the one quantized so far.
//!
//! The second runs what the packed file will run: the rounded matrices with 8-bit activations. So each matrix is rounded
//! for the inputs it will have, and can make up for what the layers before it lost. Everything is kept in units without
//! scales; factors are applied where a matrix is rounded, and undone in what it gives.

use crate::apply::{Plan, Rounded, apply};
use crate::attention::attention;
use crate::fold::{divide, row_factors, scale_columns, scale_rows};
use crate::gram::Gram;
use crate::head::write_head;
use crate::matrix::{Fused, Metric, rows_per_task};
use crate::objective::{Objective, Pull};
use crate::options::Settings;
use crate::output::{EMBEDDING, Output, layer_names};
use crate::quantizer::{Meter, multiply};
use crate::refine::{Factors, baseline, refine, relative_steps};
use crate::report::StepError;
use crate::search::{CANDIDATES, Scaling, search};
use crate::{Error, QuantizeOptions, Result, Step};
use edgewen_engine::{Batch, Norm};
use edgewen_kernels::matmul::{View, matmul_add};
use edgewen_kernels::rms_norm::rms_norm;
use edgewen_kernels::rope::{RopeTable, rope};
use edgewen_kernels::silu::{add_assign, silu_mul};
use edgewen_kernels::{Activations, Compute, Isa, RowBlocks, linear};
use edgewen_layout::{QuantizedMatrix, WeightBits};
use edgewen_model::{Checkpoint, Config};
use rayon::ThreadPool;
use rayon::prelude::*;

/// Tokens whose widest activations are in memory at a time.
const TOKENS: usize = 1024;

/// Quantizes the head and then the layers, which make up for part of what the rounded embedding loses.
pub(crate) fn quantize(
    checkpoint: &Checkpoint,
    options: &QuantizeOptions,
    batch: &Batch,
    workers: &ThreadPool,
    output: &mut Output<'_>,
    meter: &mut Meter<'_>,
) -> Result<()> {
    let config = checkpoint.config().clone();
    let positions = batch.positions().iter().max().map_or(0, |last| last + 1);
    let (frequencies, factor) = config.rope.inv_freq(config.head_dim);
    let mut x = Vec::with_capacity(batch.len() * config.hidden_size);
    let embedding = checkpoint.tensor(EMBEDDING)?;
    let mut row = Vec::new();
    for &token in batch.tokens() {
        embedding.rows_to_f32(token as usize..token as usize + 1, &mut row)?;
        x.extend_from_slice(&row);
    }
    let mut sequence = Sequence {
        settings: Settings::new(options),
        compute: Compute::new(Isa::best(), workers.current_num_threads()),
        rope: RopeTable::new(config.head_dim, &frequencies, factor, positions),
        checkpoint,
        options,
        batch,
        workers,
        output,
        meter,
        y: Vec::new(),
        x,
        config,
    };
    let gram = match options.head_bits("head") {
        Some(_) => Some(sequence.head_gram()?),
        None => None,
    };
    let Sequence { output, meter, .. } = &mut sequence;
    let rounded = write_head(checkpoint, options, gram.as_ref(), workers, output, meter, batch.tokens())?;
    sequence.y = if sequence.settings.on(Step::Sequential) { rounded } else { sequence.x.clone() };
    drop(gram);
    for layer in 0..sequence.config.layers {
        let done = sequence.attention_block(layer, true)? || sequence.attention_block(layer, false)?;
        let done = done && (sequence.mlp_block(layer, true)? || sequence.mlp_block(layer, false)?);
        debug_assert!(done, "without folding into the matrix before, plain rounding is always possible");
        checkpoint.release();
    }
    Ok(())
}

/// The state of the walk.
struct Sequence<'a, 'o, 'm, 'p> {
    checkpoint: &'a Checkpoint,
    options: &'a QuantizeOptions,
    settings: Settings,
    batch: &'a Batch,
    workers: &'a ThreadPool,
    output: &'m mut Output<'o>,
    meter: &'m mut Meter<'p>,
    config: Config,
    compute: Compute,
    rope: RopeTable,
    /// Hidden states of the original model [tokens, hidden].
    x: Vec<f32>,
    /// Those of the model as quantized so far.
    y: Vec<f32>,
}

/// What the original model gives more than a matrix gives on its own inputs.
struct Difference {
    /// [rows, inputs]
    r: Vec<f32>,
    /// One a row.
    e: Vec<f64>,
}

/// A matrix and all that is known of its inputs.
struct Job {
    fused: Fused,
    gram: Gram,
    scaling: Scaling,
    row_factors: Option<Vec<f32>>,
    difference: Option<Difference>,
    /// Whether the scales are folded already into the matrix before.
    fixed: bool,
}

/// A rounded matrix, ready to be written.
struct Done {
    job: Job,
    rounded: Rounded,
    plain: Vec<f64>,
    sizes: Vec<f64>,
    steps: Vec<StepError>,
    target: Vec<f32>,
}

impl Sequence<'_, '_, '_, '_> {
    /// The Gram matrix of the head's inputs in the original model.
    fn head_gram(&mut self) -> Result<Gram> {
        let start = self.x.clone();
        for layer in 0..self.config.layers {
            self.meter.tick(0.0, &format!("layer {} of {}: original", layer + 1, self.config.layers))?;
            let norm = self.output.norm(Norm::Input(layer))?;
            let (qkv, bias) = (self.read(layer, "qkv")?, self.output.bias(layer)?);
            let attended = self.attended(self.product(&self.normed(&self.x, &norm), &qkv, Some(&bias)));
            let delta = self.product(&attended, &self.read(layer, "o")?, None);
            add_assign(&self.compute, &mut self.x, &delta);
            let norm = self.output.norm(Norm::PostAttention(layer))?;
            let gate_up = self.read(layer, "gate_up")?;
            let normed = self.normed(&self.x, &norm);
            let activated = self.activated(&normed, |rows| self.product(rows, &gate_up, None));
            let delta = self.product(&activated, &self.read(layer, "down")?, None);
            add_assign(&self.compute, &mut self.x, &delta);
            self.checkpoint.release();
        }
        let weight = self.output.norm(Norm::Final)?;
        let inputs = self.normed(&self.x, &weight);
        self.x = start;
        let gram = self.gram(&inputs);
        if !gram.is_finite() {
            return Err(Error::NotFiniteInputs { tensor: EMBEDDING.into() });
        }
        Ok(gram)
    }

    /// Norm, `qkv` and `o`. False, and nothing done, if `fold`ing the scales of `o` into the values would make it worse
    /// than plainly rounded.
    fn attention_block(&mut self, layer: usize, fold: bool) -> Result<bool> {
        let config = self.config.clone();
        let what = format!("layer {} of {}: qkv", layer + 1, config.layers);
        self.meter.tick(0.0, &what)?;
        let norm = self.output.norm(Norm::Input(layer))?;
        let bias = self.output.bias(layer)?;
        let qkv = self.read(layer, "qkv")?;
        let o = self.read(layer, "o")?;
        let (x_in, y_in) = (self.normed(&self.x, &norm), self.normed(&self.y, &norm));
        let gram = self.checked_gram(&y_in, &qkv)?;
        let scaling = self.scales(&qkv, &gram, None, &what)?;

        let x_out = self.product(&x_in, &qkv, Some(&bias));
        let x_attended = self.attended(x_out);
        // The scales of `o` are found on what it would get if `qkv` were not rounded.
        let mut o_scaling = Scaling::default();
        if fold && self.settings.on(Step::ValueOutput) {
            let y_attended = self.attended(self.product(&y_in, &qkv, Some(&bias)));
            let gram = self.checked_gram(&y_attended, &o)?;
            let ties = value_channels(&config);
            o_scaling = self.scales(&o, &gram, Some(&ties), &what)?;
        }
        let row_factors = o_scaling.scales.as_ref().map(|scales| {
            let producer = qkv.parts[2].rows.clone();
            row_factors(qkv.rows(), producer, &value_scales(&config, scales))
        });
        let difference = self.difference(&x_in, &y_in, &qkv, None);
        let job = Job { fused: qkv, gram, scaling, row_factors, difference, fixed: false };
        let Some(first) = self.round(job)? else { return Ok(false) };
        if first.job.row_factors.is_none() {
            o_scaling = Scaling::default();
        }
        let (scales, factors) = (first.job.scaling.scales.as_deref(), first.job.row_factors.as_deref());

        let what = format!("layer {} of {}: o", layer + 1, config.layers);
        self.meter.tick(0.0, &what)?;
        let mut y_scaled = Vec::new();
        let y_attended = if self.settings.on(Step::Sequential) {
            let (mut norm, mut bias) = (norm, bias);
            scales.into_iter().for_each(|scales| divide(&mut norm, scales));
            factors.into_iter().for_each(|factors| scale_rows(&mut bias, 1, factors));
            let y_in = self.normed(&self.y, &norm);
            y_scaled = self.attended(self.quantized_product(&y_in, &first.rounded.matrix, Some(&bias)));
            let mut y_attended = y_scaled.clone();
            o_scaling.scales.iter().for_each(|scales| scale_columns(&mut y_attended, scales));
            y_attended
        } else {
            x_attended.clone()
        };
        let gram = self.checked_gram(&y_attended, &o)?;
        let residual = [self.x.as_slice(), &self.y];
        let difference = self.difference(&x_attended, &y_attended, &o, Some(residual));
        let job = Job { fused: o, gram, scaling: o_scaling, row_factors: None, difference, fixed: true };
        let Some(second) = self.round(job)? else { return Ok(false) };
        let x_delta = self.product(&x_attended, &second.job.fused, None);
        self.advance(&x_delta, &y_scaled, &second.rounded.matrix);
        self.output.write_bias(layer, factors)?;
        self.output.write_norm(Norm::Input(layer), scales)?;
        self.write(first)?;
        self.write(second)?;
        Ok(true)
    }

    /// Norm, `gate_up` and `down`; as [`Self::attention_block`].
    fn mlp_block(&mut self, layer: usize, fold: bool) -> Result<bool> {
        let config = self.config.clone();
        let what = format!("layer {} of {}: gate_up", layer + 1, config.layers);
        self.meter.tick(0.0, &what)?;
        let norm = self.output.norm(Norm::PostAttention(layer))?;
        let gate_up = self.read(layer, "gate_up")?;
        let down = self.read(layer, "down")?;
        let (x_in, y_in) = (self.normed(&self.x, &norm), self.normed(&self.y, &norm));
        let gram = self.checked_gram(&y_in, &gate_up)?;
        let scaling = self.scales(&gate_up, &gram, None, &what)?;

        let x_activated = self.activated(&x_in, |rows| self.product(rows, &gate_up, None));
        let mut down_scaling = Scaling::default();
        if fold && self.settings.on(Step::Scales) {
            let y_activated = self.activated(&y_in, |rows| self.product(rows, &gate_up, None));
            let gram = self.checked_gram(&y_activated, &down)?;
            drop(y_activated);
            down_scaling = self.scales(&down, &gram, None, &what)?;
        }
        let row_factors = down_scaling.scales.as_ref().map(|scales| {
            let producer = gate_up.parts[1].rows.clone();
            row_factors(gate_up.rows(), producer, scales)
        });
        let difference = self.difference(&x_in, &y_in, &gate_up, None);
        let job = Job { fused: gate_up, gram, scaling, row_factors, difference, fixed: false };
        let Some(first) = self.round(job)? else { return Ok(false) };
        if first.job.row_factors.is_none() {
            down_scaling = Scaling::default();
        }
        let scales = first.job.scaling.scales.as_deref();

        let what = format!("layer {} of {}: down", layer + 1, config.layers);
        self.meter.tick(0.0, &what)?;
        let mut y_scaled = Vec::new();
        let y_activated = if self.settings.on(Step::Sequential) {
            let mut norm = norm;
            scales.into_iter().for_each(|scales| divide(&mut norm, scales));
            let y_in = self.normed(&self.y, &norm);
            y_scaled =
                self.activated(&y_in, |rows| self.quantized_product(rows, &first.rounded.matrix, None));
            let mut y_activated = y_scaled.clone();
            down_scaling.scales.iter().for_each(|scales| scale_columns(&mut y_activated, scales));
            y_activated
        } else {
            x_activated.clone()
        };
        let gram = self.checked_gram(&y_activated, &down)?;
        let residual = [self.x.as_slice(), &self.y];
        let difference = self.difference(&x_activated, &y_activated, &down, Some(residual));
        drop(y_activated);
        let job =
            Job { fused: down, gram, scaling: down_scaling, row_factors: None, difference, fixed: true };
        let Some(second) = self.round(job)? else { return Ok(false) };
        let x_delta = self.product(&x_activated, &second.job.fused, None);
        self.advance(&x_delta, &y_scaled, &second.rounded.matrix);
        self.output.write_norm(Norm::PostAttention(layer), scales)?;
        self.write(first)?;
        self.write(second)?;
        Ok(true)
    }

    /// Adds what a block gives to both streams. `y_scaled` are the inputs of `matrix` as the file will have them.
    fn advance(&mut self, x_delta: &[f32], y_scaled: &[f32], matrix: &QuantizedMatrix) {
        add_assign(&self.compute, &mut self.x, x_delta);
        if self.settings.on(Step::Sequential) {
            let y_delta = self.quantized_product(y_scaled, matrix, None);
            add_assign(&self.compute, &mut self.y, &y_delta);
        } else {
            self.y.copy_from_slice(&self.x);
        }
    }

    fn read(&self, layer: usize, packed: &str) -> Result<Fused> {
        let names = layer_names(layer, packed);
        Fused::read(self.checkpoint, format!("layers.{layer}.{packed}"), &names, self.options.group)
    }

    fn normed(&self, x: &[f32], weight: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        rms_norm(&self.compute, x, weight, self.config.rms_norm_eps, &mut out);
        out
    }

    fn gram(&self, x: &[f32]) -> Gram {
        let mut gram = Gram::new(x.len() / self.batch.len());
        self.workers.install(|| gram.add(x));
        gram
    }

    fn checked_gram(&self, x: &[f32], fused: &Fused) -> Result<Gram> {
        let gram = self.gram(x);
        if !gram.is_finite() {
            return Err(Error::NotFiniteInputs { tensor: fused.parts[0].name.clone() });
        }
        Ok(gram)
    }

    /// The best scales of a matrix for these inputs.
    fn scales(&mut self, fused: &Fused, gram: &Gram, ties: Option<&[usize]>, what: &str) -> Result<Scaling> {
        let four = self.options.layer_bits(&fused.packed) == WeightBits::Four;
        if !(four && self.settings.on(Step::Scales)) {
            return Ok(Scaling::default());
        }
        let work = search_work(fused.rows(), fused.inputs) / CANDIDATES as f64;
        let meter = &mut *self.meter;
        let mut tick = || meter.tick(work, what);
        Ok(search(fused, gram, ties, self.workers, &mut tick)?.scaling)
    }

    /// `x` [tokens, inputs] times the transposed weights.
    fn product(&self, x: &[f32], fused: &Fused, bias: Option<&[f32]>) -> Vec<f32> {
        let mut out = vec![0.0; x.len() / fused.inputs * fused.rows()];
        self.workers.install(|| multiply(x, fused, &mut out));
        if let Some(bias) = bias {
            out.chunks_exact_mut(bias.len()).for_each(|out| add_assign(&self.compute, out, bias));
        }
        out
    }

    /// What the packed file will compute.
    fn quantized_product(&self, x: &[f32], matrix: &QuantizedMatrix, bias: Option<&[f32]>) -> Vec<f32> {
        let shape = matrix.shape;
        let data = matrix.pack();
        let blocks = RowBlocks::new(shape, &data).expect("a packed matrix has the length of its shape");
        let mut out = vec![0.0; x.len() / shape.inputs * shape.rows];
        let mut activations = Activations::new();
        let chunks = out.chunks_mut(TOKENS * shape.rows).zip(x.chunks(TOKENS * shape.inputs));
        for (out, x) in chunks {
            let tokens = x.len() / shape.inputs;
            activations.quantize(&self.compute, x, tokens, shape.inputs, shape.group);
            linear(&self.compute, &blocks, &activations, bias, out);
        }
        out
    }

    /// Queries, keys and values [tokens, q | k | v] to what `o` gets.
    fn attended(&self, mut qkv: Vec<f32>) -> Vec<f32> {
        let heads = self.config.heads + self.config.kv_heads;
        rope(&self.compute, &self.rope, &mut qkv, self.config.qkv_rows(), heads, self.batch.positions());
        let mut out = vec![0.0; self.batch.len() * self.config.attention_size()];
        let (config, batch) = (&self.config, self.batch);
        self.workers.install(|| attention(config, batch, &qkv, &mut out));
        out
    }

    /// The normed hidden states to what `down` gets, some tokens at a time.
    fn activated(&self, x: &[f32], gate_up: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
        let (hidden, middle) = (self.config.hidden_size, self.config.intermediate_size);
        let mut out = vec![0.0; x.len() / hidden * middle];
        for (out, x) in out.chunks_mut(TOKENS * middle).zip(x.chunks(TOKENS * hidden)) {
            silu_mul(&self.compute, &gate_up(x), middle, out);
        }
        out
    }

    /// Part of what the original model gives on its inputs `x` more than the matrix on `y`; with the two residual
    /// streams also of what they differ by.
    fn difference(
        &self,
        x: &[f32],
        y: &[f32],
        fused: &Fused,
        residual: Option<[&[f32]; 2]>,
    ) -> Option<Difference> {
        let four = self.options.layer_bits(&fused.packed) == WeightBits::Four;
        if !(four && self.settings.on(Step::Correction) && self.settings.on(Step::Sequential)) {
            return None;
        }
        let (n, rows) = (fused.inputs, fused.rows());
        let tokens = y.len() / n;
        let (mut r, mut e) = (vec![0.0f32; rows * n], vec![0.0f64; rows]);
        let share = self.settings.correction;
        for first in (0..tokens).step_by(TOKENS) {
            let count = TOKENS.min(tokens - first);
            let (x, y) = (&x[first * n..][..count * n], &y[first * n..][..count * n]);
            let missing: Vec<f32> = x.iter().zip(y).map(|(x, y)| share * (x - y)).collect();
            let mut missing = self.product(&missing, fused, None);
            if let Some([x, y]) = residual {
                let part = first * rows..(first + count) * rows;
                let share = self.settings.residual;
                let residual = x[part.clone()].iter().zip(&y[part]);
                missing.iter_mut().zip(residual).for_each(|(m, (x, y))| *m += share * (x - y));
            }
            let factor = 1.0 / tokens as f32;
            let chunk = rows_per_task(rows);
            self.workers.install(|| {
                let tasks = r.par_chunks_mut(chunk * n).zip(e.par_chunks_mut(chunk)).enumerate();
                tasks.for_each(|(task, (r, e))| {
                    let left = View::new(&missing[task * chunk..], count, e.len(), rows).t();
                    matmul_add(left, View::new(y, count, n, n), factor, r, n);
                    for missing in missing.chunks_exact(rows) {
                        let missing = &missing[task * chunk..][..e.len()];
                        let square = |m: &f32| f64::from(*m).powi(2) / tokens as f64;
                        e.iter_mut().zip(missing).for_each(|(e, m)| *e += square(m));
                    }
                });
            });
        }
        Some(Difference { r, e })
    }

    /// Rounds a matrix. Gives up scales and then row factors if with them a part is worse than plainly rounded; without
    /// them it never is. `None` if that would take giving up fixed scales.
    fn round(&mut self, mut job: Job) -> Result<Option<Done>> {
        let what = job.fused.packed.replace("layers.", "layer ");
        let work = rounding_work(job.fused.rows(), job.fused.inputs, self.batch.len());
        let bits = self.options.layer_bits(&job.fused.packed);
        let done = if bits == WeightBits::Four {
            self.round_four(job)?
        } else {
            job.scaling = Scaling::default();
            let metric = Metric::Output(&job.gram);
            let row_factors = job.row_factors.as_deref();
            let plan = Plan { bits, scales: None, row_factors, metric, clip: None };
            let (rounded, sizes, target) = self.workers.install(|| {
                let rounded = apply(&job.fused, &plan);
                rounded.map(|r| {
                    (r, crate::apply::sizes(&job.fused, metric), crate::apply::target(&job.fused, &plan))
                })
            })?;
            let plain = rounded.errors.clone();
            Some(Done { job, rounded, plain, sizes, steps: Vec::new(), target })
        };
        self.meter.tick(work, &what)?;
        Ok(done)
    }

    fn round_four(&self, mut job: Job) -> Result<Option<Done>> {
        let (mut scaling, mut row_factors) = (std::mem::take(&mut job.scaling), job.row_factors.take());
        let Job { fused, gram, difference, fixed, .. } = &job;
        let pull = difference.as_ref().map(|d| Pull { r: &d.r, e: &d.e });
        let (plain, sizes) = self.workers.install(|| baseline(fused, gram, pull))?;
        loop {
            let factors = Factors { columns: scaling.scales.as_deref(), rows: row_factors.as_deref() };
            let (settings, size) = (&self.settings, self.options.group.get());
            let keep = self.output.wants_target();
            let refined = self.workers.install(|| {
                let objective = Objective::new(gram, factors.columns, settings.damping, size);
                refine(fused, factors, &objective, pull, settings.steps(), keep)
            });
            let worse = |errors: &[f64]| errors.iter().zip(&plain).any(|(error, plain)| error > plain);
            match refined {
                Ok(refined) if !worse(&refined.rounded.errors) => {
                    let steps = relative_steps(&refined.steps, &sizes, settings);
                    let (rounded, target) = (refined.rounded, refined.target);
                    (job.scaling, job.row_factors) = (scaling, row_factors);
                    return Ok(Some(Done { rounded, plain, sizes, steps, target, job }));
                }
                _ if *fixed && scaling.scales.is_some() => return Ok(None),
                _ if scaling.scales.is_some() => scaling = Scaling::default(),
                _ if row_factors.is_some() => row_factors = None,
                // Nothing is left to give up.
                Err(error) => return Err(error),
                Ok(_) => return Err(Error::NotFiniteInputs { tensor: fused.parts[0].name.clone() }),
            }
        }
    }

    fn write(&mut self, done: Done) -> Result<()> {
        let Done { job, rounded, plain, sizes, steps, target } = done;
        let metric = Metric::Output(&job.gram);
        let output = &mut *self.output;
        // On the workers, for the sake of the twin.
        self.workers.install(|| {
            let target = output.wants_target().then_some(target);
            output.write_matrix(&job.fused, &rounded, &plain, &sizes, &job.scaling, metric, target, steps)
        })
    }
}

/// For each input of `o` the channel of the values that it is a mean of.
fn value_channels(config: &Config) -> Vec<usize> {
    let shared = config.heads / config.kv_heads;
    let channel = |input: usize| input / config.head_dim / shared * config.head_dim + input % config.head_dim;
    (0..config.attention_size()).map(channel).collect()
}

/// The scales of the channels of the values, from those of the inputs of `o`.
fn value_scales(config: &Config, scales: &[f32]) -> Vec<f32> {
    let shared = config.heads / config.kv_heads;
    let input =
        |channel: usize| channel / config.head_dim * shared * config.head_dim + channel % config.head_dim;
    (0..config.kv_size()).map(|channel| scales[input(channel)]).collect()
}

/// Multiplications of the search for the scales of a matrix.
fn search_work(rows: usize, inputs: usize) -> f64 {
    CANDIDATES as f64 * rows as f64 * inputs as f64 * (inputs as f64 / 2.0 + 64.0)
}

/// Those of all else that is done with a matrix.
fn rounding_work(rows: usize, inputs: usize, tokens: usize) -> f64 {
    let (rows, inputs, tokens) = (rows as f64, inputs as f64, tokens as f64);
    let descent = rows * inputs * (16.0 * inputs + 30_000.0);
    descent + inputs.powi(3) + tokens * inputs * (4.0 * rows + 2.0 * inputs)
}

/// Multiplications of the layers of a model.
pub(crate) fn layers_work(config: &Config, options: &QuantizeOptions, tokens: usize) -> f64 {
    let settings = Settings::new(options);
    let matrix = |rows: usize, inputs: usize, searched: bool| {
        let search = if searched { search_work(rows, inputs) } else { 0.0 };
        search + rounding_work(rows, inputs, tokens)
    };
    let (hidden, middle) = (config.hidden_size, config.intermediate_size);
    let scales = settings.on(Step::Scales);
    let original =
        tokens as f64 * (config.qkv_rows() + config.attention_size() + 3 * middle) as f64 * hidden as f64;
    let layer = original
        + matrix(config.qkv_rows(), hidden, scales)
        + matrix(hidden, config.attention_size(), scales && settings.on(Step::ValueOutput))
        + matrix(2 * middle, hidden, scales)
        + matrix(hidden, middle, scales);
    config.layers as f64 * layer
}
