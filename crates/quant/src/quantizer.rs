//! Walks the model once: every matrix is searched, rounded and written when the calibration text reaches it.
//!
//! The quantizer is a [`Backend`]: the forward pass hands it the inputs of each matrix for all calibration tokens. It
//! goes on with the unquantized product, so that every layer is calibrated on the inputs it has in the original model,
//! as published. Scales are folded into the operation before: a norm's weight, the rows of `up` for `down`, the rows of
//! `v` for `o` where there are as many of them. So `qkv` and `gate_up` wait until the scales of `o` and `down` are known.

use crate::apply::{ClipBlocks, Plan, apply, target};
use crate::attention::attention;
use crate::fold::row_factors;
use crate::gram::Gram;
use crate::matrix::{Fused, Metric};
use crate::output::{Output, layer_names};
use crate::search::{CANDIDATES, Found, Scaling, search};
use crate::{Error, Progress, QuantizeOptions, Result};
use edgewen_engine::{Backend, Batch, Error as EngineError, Linear, Norm};
use edgewen_kernels::matmul::{View, matmul};
use edgewen_kernels::rope::{RopeTable, rope};
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::{Checkpoint, Config};
use rayon::ThreadPool;
use rayon::prelude::*;

/// Tokens that one task multiplies.
const TOKENS_PER_TASK: usize = 256;

/// Counts the work and asks whether to go on.
pub(crate) struct Meter<'a> {
    progress: &'a mut dyn Progress,
    done: f64,
    total: f64,
}

impl<'a> Meter<'a> {
    /// Of `total` multiplications.
    pub(crate) fn new(progress: &'a mut dyn Progress, total: f64) -> Self {
        Meter { progress, done: 0.0, total }
    }

    /// Reports that `work` more multiplications are done and that `what` goes on.
    pub(crate) fn tick(&mut self, work: f64, what: &str) -> Result<()> {
        self.done += work;
        if self.progress.cancelled() {
            return Err(Error::Cancelled);
        }
        // In millions; never more than all of it.
        let units = |work: f64| (work / 1e6).ceil() as usize;
        self.progress.step(units(self.done).min(units(self.total)), units(self.total), what);
        Ok(())
    }

    /// Reports that only the writing is left.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.done = self.total;
        self.tick(0.0, "finish the file")
    }
}

/// Multiplications of the search over a matrix, of the rest of its treatment, and of its inputs' Gram matrix.
fn work(rows: usize, inputs: usize, group: usize, tokens: usize, searched: bool) -> (f64, f64, f64) {
    let (rows, inputs) = (rows as f64, inputs as f64);
    let candidate = rows * inputs * (inputs / 2.0 + 64.0);
    let rest = rows * inputs * (tokens as f64 + 2.0 * inputs + 12.0 * (group as f64 + 64.0));
    (if searched { CANDIDATES as f64 * candidate } else { 0.0 }, rest, tokens as f64 * inputs * inputs / 2.0)
}

/// Multiplications of the layers of a model.
pub(crate) fn layers_work(config: &Config, group: GroupSize, tokens: usize) -> f64 {
    let sum = |(a, b, c): (f64, f64, f64)| a + b + c;
    let (hidden, middle, group) = (config.hidden_size, config.intermediate_size, group.get());
    let layer = sum(work(config.qkv_rows(), hidden, group, tokens, true))
        + sum(work(hidden, config.attention_size(), group, tokens, config.heads == config.kv_heads))
        + sum(work(2 * middle, hidden, group, tokens, true))
        + sum(work(hidden, middle, group, tokens, true));
    config.layers as f64 * layer
}

/// A matrix whose scales are known but not yet its row factors.
struct Pending {
    fused: Fused,
    gram: Gram,
    found: Found,
}

/// The calibration pass.
pub(crate) struct Quantizer<'a, 'p> {
    pub(crate) output: Output<'a>,
    pub(crate) meter: Meter<'p>,
    /// Of the inputs of the head.
    pub(crate) head_gram: Gram,
    /// The error behind the one that the forward pass saw.
    pub(crate) failure: Option<Error>,
    checkpoint: &'a Checkpoint,
    config: Config,
    options: &'a QuantizeOptions,
    workers: &'a ThreadPool,
    compute: Compute,
    rope: RopeTable,
    pending: Option<Pending>,
}

impl<'a, 'p> Quantizer<'a, 'p> {
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        output: Output<'a>,
        meter: Meter<'p>,
        options: &'a QuantizeOptions,
        workers: &'a ThreadPool,
        positions: usize,
    ) -> Self {
        let config = checkpoint.config().clone();
        let (frequencies, factor) = config.rope.inv_freq(config.head_dim);
        Quantizer {
            output,
            meter,
            head_gram: Gram::new(config.hidden_size),
            failure: None,
            checkpoint,
            options,
            workers,
            compute: Compute::new(Isa::best(), workers.current_num_threads()),
            rope: RopeTable::new(config.head_dim, &frequencies, factor, positions),
            pending: None,
            config,
        }
    }

    /// Quantizes a matrix of a layer and multiplies its inputs.
    fn layer_linear(&mut self, which: Linear, x: &[f32], out: &mut [f32]) -> Result<()> {
        let (layer, packed) = match which {
            Linear::Qkv(layer) => (layer, "qkv"),
            Linear::O(layer) => (layer, "o"),
            Linear::GateUp(layer) => (layer, "gate_up"),
            Linear::Down(layer) => (layer, "down"),
            Linear::Head => unreachable!("the head is no matrix of a layer"),
        };
        let what = format!("layer {} of {}: {packed}", layer + 1, self.config.layers);
        self.meter.tick(0.0, &what)?;
        let names = layer_names(layer, packed);
        let fused =
            Fused::read(self.checkpoint, format!("layers.{layer}.{packed}"), &names, self.options.group)?;
        let tokens = x.len() / fused.inputs;
        let bits = self.options.layer_bits(&fused.packed);
        let foldable = packed != "o" || self.config.heads == self.config.kv_heads;
        let searched = bits == WeightBits::Four && foldable;
        let (search_work, rest_work, gram_work) =
            work(fused.rows(), fused.inputs, self.options.group.get(), tokens, searched);

        let gram = self.workers.install(|| {
            multiply(x, &fused, out);
            let mut gram = Gram::new(fused.inputs);
            gram.add(x);
            gram
        });
        if packed == "qkv" {
            let bias = self.output.bias(layer)?;
            out.par_chunks_exact_mut(bias.len())
                .for_each(|out| out.iter_mut().zip(&bias).for_each(|(o, b)| *o += b));
        }
        if !gram.is_finite() {
            return Err(Error::NotFiniteInputs { tensor: fused.parts[0].name.clone() });
        }
        self.meter.tick(gram_work, &what)?;
        let found = if searched {
            let meter = &mut self.meter;
            let mut tick = || meter.tick(search_work / CANDIDATES as f64, &what);
            // The closure stays on this thread; only the products inside the search run on the workers.
            search(&fused, &gram, None, self.workers, &mut tick)?
        } else {
            let metric = Metric::Output(&gram);
            let plain = self.workers.install(|| match bits {
                WeightBits::Four => crate::search::plain_errors(&fused, metric),
                _ => {
                    let plan = Plan { bits, scales: None, row_factors: None, metric, clip: None };
                    Ok(apply(&fused, &plan)?.errors)
                }
            })?;
            Found { scaling: Scaling::default(), plain }
        };
        match which {
            Linear::Qkv(_) | Linear::GateUp(_) => self.pending = Some(Pending { fused, gram, found }),
            _ => {
                let mut found = found;
                self.finish_pending(layer, &mut found)?;
                self.finish(&fused, &gram, &found, None)?;
                self.checkpoint.release();
            }
        }
        self.meter.tick(rest_work, &what)
    }

    /// Rounds and writes the matrix whose outputs are the inputs of a matrix with scales `next`. If folding these
    /// scales into its rows would make it worse than plain rounding, they are given up.
    fn finish_pending(&mut self, layer: usize, next: &mut Found) -> Result<()> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let Pending { fused, gram, found } = &pending;
        let producer = fused.parts.last().expect("a fused matrix has parts").rows.clone();
        let next_scales = next.scaling.scales.as_ref();
        let mut factors = next_scales.map(|scales| row_factors(fused.rows(), producer, scales));
        if factors.is_some() && !self.finish(fused, gram, found, factors.as_deref())? {
            next.scaling = Scaling::default();
            factors = None;
        }
        if factors.is_none() {
            self.finish(fused, gram, found, None)?;
        }
        let scales = found.scaling.scales.as_deref();
        if fused.packed.ends_with("qkv") {
            self.output.write_bias(layer, factors.as_deref())?;
            self.output.write_norm(Norm::Input(layer), scales)
        } else {
            self.output.write_norm(Norm::PostAttention(layer), scales)
        }
    }

    /// Rounds and writes a matrix; false, and nothing written, if row factors make a part worse than plain rounding.
    fn finish(
        &mut self,
        fused: &Fused,
        gram: &Gram,
        found: &Found,
        row_factors: Option<&[f32]>,
    ) -> Result<bool> {
        let metric = Metric::Output(gram);
        let bits = self.options.layer_bits(&fused.packed);
        let scales = found.scaling.scales.as_deref();
        let plan = Plan { bits, scales, row_factors, metric, clip: None };
        let rounded = self.workers.install(|| {
            if bits != WeightBits::Four {
                return apply(fused, &plan);
            }
            let blocks = ClipBlocks::new(gram, self.options.group.get(), 0.0);
            apply(fused, &Plan { clip: Some(&blocks), ..plan })
        });
        let worse = |rounded: &crate::apply::Rounded| {
            rounded.errors.iter().zip(&found.plain).any(|(error, plain)| error > plain)
        };
        match rounded {
            // Too small a row factor can also carry a row out of the format's range.
            Err(_) if row_factors.is_some() => Ok(false),
            Ok(rounded) if row_factors.is_some() && worse(&rounded) => Ok(false),
            Err(error) => Err(error),
            Ok(rounded) => {
                let sizes = self.workers.install(|| crate::apply::sizes(fused, metric));
                let target = self.output.wants_target().then(|| target(fused, &plan));
                let (output, plain, scaling) = (&mut self.output, &found.plain, &found.scaling);
                // On the workers, for the sake of the twin.
                self.workers.install(|| {
                    output.write_matrix(fused, &rounded, plain, &sizes, scaling, metric, target, Vec::new())
                })?;
                Ok(true)
            }
        }
    }
}

/// `out` [tokens, rows] becomes `x` [tokens, inputs] times the transposed weights. Runs on rayon's current pool.
pub(crate) fn multiply(x: &[f32], fused: &Fused, out: &mut [f32]) {
    let (inputs, rows) = (fused.inputs, fused.rows());
    let tasks = out.par_chunks_mut(TOKENS_PER_TASK * rows).zip(x.par_chunks(TOKENS_PER_TASK * inputs));
    tasks.for_each(|(out, x)| {
        let tokens = x.len() / inputs;
        let weights = View::new(&fused.weights, rows, inputs, inputs).t();
        matmul(View::new(x, tokens, inputs, inputs), weights, out, rows);
    });
}

impl Backend for Quantizer<'_, '_> {
    fn name(&self) -> String {
        "quantizer".into()
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn embed(&mut self, tokens: &[u32], out: &mut [f32]) -> edgewen_engine::Result<()> {
        let embedding = self.checkpoint.tensor("model.embed_tokens.weight")?;
        let mut row = Vec::new();
        for (&token, out) in tokens.iter().zip(out.chunks_exact_mut(self.config.hidden_size)) {
            let token = token as usize;
            embedding.rows_to_f32(token..token + 1, &mut row)?;
            out.copy_from_slice(&row);
        }
        Ok(())
    }

    fn rms_norm(&mut self, which: Norm, x: &[f32], out: &mut [f32]) -> edgewen_engine::Result<()> {
        let weight = self.output.norm(which)?;
        edgewen_kernels::rms_norm::rms_norm(&self.compute, x, &weight, self.config.rms_norm_eps, out);
        Ok(())
    }

    fn linear(
        &mut self,
        which: Linear,
        x: &[f32],
        _tokens: usize,
        out: &mut [f32],
    ) -> edgewen_engine::Result<()> {
        if which == Linear::Head {
            // Nobody needs the logits.
            self.workers.install(|| self.head_gram.add(x));
            return Ok(());
        }
        self.layer_linear(which, x, out).map_err(|error| {
            let message = EngineError::Backend(error.to_string());
            self.failure = Some(error);
            message
        })
    }

    fn rope(&mut self, batch: &Batch, qkv: &mut [f32]) -> edgewen_engine::Result<()> {
        let heads = self.config.heads + self.config.kv_heads;
        rope(&self.compute, &self.rope, qkv, self.config.qkv_rows(), heads, batch.positions());
        Ok(())
    }

    fn attention(
        &mut self,
        _layer: usize,
        batch: &Batch,
        qkv: &[f32],
        out: &mut [f32],
    ) -> edgewen_engine::Result<()> {
        self.workers.install(|| attention(&self.config, batch, qkv, out));
        Ok(())
    }

    fn silu_mul(&mut self, gate_up: &[f32], out: &mut [f32]) -> edgewen_engine::Result<()> {
        edgewen_kernels::silu::silu_mul(&self.compute, gate_up, self.config.intermediate_size, out);
        Ok(())
    }

    fn add(&mut self, x: &mut [f32], y: &[f32]) -> edgewen_engine::Result<()> {
        edgewen_kernels::silu::add_assign(&self.compute, x, y);
        Ok(())
    }

    fn truncate(&mut self, _slot: usize, _len: usize) {}

    fn kv_bytes(&self) -> usize {
        0
    }
}
