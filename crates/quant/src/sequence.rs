//! Walks the model layer by layer with two streams of hidden states: the original model, and the one quantized so far.
//!
//! The second runs what the packed file will run: the rounded matrices with 8-bit activations. So each matrix is rounded
//! for the inputs it will have, and can make up for what the layers before it lost. Everything is kept in units without
//! scales; factors are applied where a matrix is rounded, and undone in what it gives.

use crate::fold::{divide, row_factors, scale_columns, scale_rows, value_channels, value_scales};
use crate::gram::Gram;
use crate::head::write_head;
use crate::matrix::Fused;
use crate::output::{EMBEDDING, Output, layer_names};
use crate::quantizer::Meter;
use crate::search::Scaling;
use crate::settings::Settings;
use crate::{Error, QuantizeOptions, Result, Step};
use edgewen_engine::{Batch, Norm};
use edgewen_kernels::rope::RopeTable;
use edgewen_kernels::silu::add_assign;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::QuantizedMatrix;
use edgewen_model::{Checkpoint, Config};
use rayon::ThreadPool;
use rounding::Job;
use work::original_work;

mod rounding;
mod streams;
mod work;

pub(crate) use work::{layers_work, rounding_work, search_work};

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
        let work = original_work(&sequence.config, batch.len());
        sequence.meter.tick(work, &format!("layer {} of {}: done", layer + 1, sequence.config.layers))?;
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

impl Sequence<'_, '_, '_, '_> {
    /// The Gram matrix of the head's inputs in the original model.
    fn head_gram(&mut self) -> Result<Gram> {
        let start = self.x.clone();
        for layer in 0..self.config.layers {
            let work = original_work(&self.config, self.batch.len());
            self.meter.tick(work, &format!("layer {} of {}: original", layer + 1, self.config.layers))?;
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
}
