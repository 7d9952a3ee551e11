//! A model on an accelerator: linear layers there, the rest with the CPU's code.
//!
//! The weights of the operations that come next are streamed ahead as far as the ring reaches. If the forward pass
//! asks for something else after all, the accelerator is reset and begins anew with that. An error ends the call with
//! the name of the operation and leaves the accelerator reset: the next call works.

use std::ops::Range;

use edgewen_engine::{Backend, Batch, CpuBackend, Linear, Norm};
use edgewen_kernels::Activations;
use edgewen_kernels::kv::{GROUP_POSITIONS, KvType};
use edgewen_layout::GroupSize;
use edgewen_model::Config;

use super::Device;
use super::address_space::BusError;
use super::attention::Heads;
use super::buffers::{Place, read_results, write_activations};
use super::driver::Driver;
use super::kv_store::{KvStore, SLOT};
use super::order::{Step, Work};
use super::plan::Plan;
use super::runner::Runner;
use crate::image::ModelImage;
use crate::program::{Pass, Program};
use crate::{Error, Result};

/// How a model is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostOptions {
    /// Weights are streamed ahead of the doorbells.
    pub run_ahead: bool,
    /// Time that the processor is taken to need before every doorbell, in nanoseconds; a simulated device goes on
    /// meanwhile.
    pub processor_ns: u64,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { run_ahead: true, processor_ns: 0 }
    }
}

/// A model on a device.
pub struct Accelerator<D> {
    cpu: CpuBackend,
    runner: Runner<D>,
    activations: Activations,
    heads: Heads,
}

impl<D: Device> Accelerator<D> {
    /// The model of `cpu` on `device`, in whose memory `image` lies.
    ///
    /// # Errors
    /// A model that the accelerator cannot run, by the name of the tensor; a device that is none or does not answer.
    pub fn new(device: D, image: &ModelImage, cpu: CpuBackend, options: HostOptions) -> Result<Self> {
        let mut driver = Driver::new(device)?;
        let map = driver.device().map();
        let limits = *driver.limits();
        let program = Program::new(cpu.file(), image, &limits, map.model)?;
        let kv = match cpu.kv_type() {
            KvType::F16 => None,
            KvType::Int8 => KvStore::new(cpu.config(), &limits, &map.buffers),
        };
        let operands = kv.as_ref().map_or(map.buffers.start, KvStore::end)..map.buffers.end;
        let plan = Plan { program, kv, operands, at_once: limits.tokens as usize };
        for (matrix, operation) in plan.program.operations().iter().enumerate() {
            if plan.place(matrix, 1).is_err() {
                let bytes = map.buffers.end - map.buffers.start;
                let problem = format!("has results that do not fit the shared buffers of {bytes} bytes");
                return Err(Error::Unsupported { tensor: operation.tensor.clone(), problem });
            }
        }
        driver.start(u32::try_from(plan.operations()).unwrap_or(u32::MAX))?;
        let runner = Runner::new(driver, plan, options);
        Ok(Self { cpu, runner, activations: Activations::new(), heads: Heads::default() })
    }

    /// The operations of the model.
    pub fn program(&self) -> &Program {
        &self.runner.plan.program
    }

    /// The driver, to read counters with.
    pub fn driver(&mut self) -> &mut Driver<D> {
        &mut self.runner.driver
    }

    /// Changes how the model is run from the next operation on.
    pub fn set_options(&mut self, options: HostOptions) {
        self.runner.options = options;
    }

    /// Multiplies the quantized tokens with a matrix into `out` [tokens, rows], as many at a time as fit.
    fn multiply(&mut self, matrix: usize, out: &mut [f32]) -> Result<()> {
        let tokens = self.activations.tokens();
        self.runner.order.saw(Step { work: Work::Matrix(matrix), tokens });
        let rows = self.program().operations()[matrix].rows;
        let mut from = 0;
        while from < tokens {
            let (to, place) = self.part(matrix, from, tokens)?;
            self.run(matrix, from..to, place, false)?;
            let Runner { driver, plan, .. } = &mut self.runner;
            let operation = &plan.program.operations()[matrix];
            let out = &mut out[from * rows..to * rows];
            let read = read_results(driver.device().memory(), place.results, operation, out);
            read.map_err(|error| self.memory_error(matrix, place.results, error))?;
            from = to;
        }
        Ok(())
    }

    /// The end of the part of the tokens `from..tokens` that fits buffers and ring, and where it lies.
    fn part(&self, matrix: usize, from: usize, tokens: usize) -> Result<(usize, Place)> {
        let at_once = self.runner.plan.at_once;
        let mut count = (tokens - from).min(self.runner.driver.entries() as usize * at_once);
        loop {
            match self.runner.plan.place(matrix, count) {
                Err(_) if 1 < count => {
                    // Whole passes where there are any.
                    count = if count <= at_once { count / 2 } else { (count / 2).next_multiple_of(at_once) };
                }
                place => return Ok((from + count, place?)),
            }
        }
    }

    /// Runs the passes of some tokens and waits for them.
    fn run(&mut self, matrix: usize, tokens: Range<usize>, place: Place, top_k: bool) -> Result<()> {
        let Runner { driver, plan, .. } = &mut self.runner;
        let operation = &plan.program.operations()[matrix];
        let (memory, groups) = (driver.device().memory(), operation.groups() as usize);
        let written = write_activations(memory, place.activations, groups, &self.activations, tokens.clone());
        let step = Step { work: Work::Matrix(matrix), tokens: self.activations.tokens() };
        let mut passes = Vec::new();
        for first in (0..tokens.len()).step_by(plan.at_once) {
            let pass = Pass {
                tokens: plan.at_once.min(tokens.len() - first) as u32,
                top_k,
                tag: plan.tag(step.work),
                activations: place.activations + first as u64 * operation.activation_bytes(),
                results: place.results + first as u64 * operation.result_bytes(),
            };
            passes.push(operation.descriptor(&pass).encode()?);
        }
        let left = (step.tokens - tokens.end).div_ceil(plan.at_once);
        written.map_err(|error| self.memory_error(matrix, place.activations, error))?;
        self.runner.run(step, &passes, left)
    }

    /// The processor's own access to the buffers failed.
    fn memory_error(&self, matrix: usize, address: u64, error: BusError) -> Error {
        let tensor = &self.program().operations()[matrix].tensor;
        Error::Device(format!("the shared buffers at {address:#x} failed for {tensor}: {error:?}"))
    }

    /// Quantizes the tokens of an operation.
    fn quantize(&mut self, x: &[f32], tokens: usize) {
        let inputs = x.len() / tokens.max(1);
        self.activations.quantize(self.cpu.compute(), x, tokens, inputs, GroupSize::G64);
    }
}

impl<D: Device> Backend for Accelerator<D> {
    fn name(&self) -> String {
        format!("{} with {}", self.runner.driver.name(), self.cpu.name())
    }

    fn config(&self) -> &Config {
        self.cpu.config()
    }

    fn embed(&mut self, tokens: &[u32], out: &mut [f32]) -> edgewen_engine::Result<()> {
        self.cpu.embed(tokens, out)
    }

    fn rms_norm(&mut self, which: Norm, x: &[f32], out: &mut [f32]) -> edgewen_engine::Result<()> {
        self.cpu.rms_norm(which, x, out)
    }

    fn linear(
        &mut self,
        which: Linear,
        x: &[f32],
        tokens: usize,
        out: &mut [f32],
    ) -> edgewen_engine::Result<()> {
        let Some(index) = self.program().index(which) else {
            return self.cpu.linear(which, x, tokens, out);
        };
        if tokens == 0 {
            return Ok(());
        }
        let x = self.cpu.in_order(which, x);
        self.quantize(&x, tokens);
        Ok(self.multiply(index, out)?)
    }

    fn most_top_k(&self) -> usize {
        match self.program().head_on_processor() {
            None => self.runner.driver.limits().top_k as usize,
            Some(_) => self.cpu.most_top_k(),
        }
    }

    fn top_k(&mut self, x: &[f32], k: usize) -> edgewen_engine::Result<Vec<(u32, f32)>> {
        let Some(index) = self.program().index(Linear::Head) else { return self.cpu.top_k(x, k) };
        if (self.runner.driver.limits().top_k as usize) < k {
            let expected = "at most the entries of the accelerator's list";
            return Err(edgewen_engine::Error::Option { name: "top-k", value: k.to_string(), expected });
        }
        self.quantize(x, 1);
        self.runner.order.saw(Step { work: Work::Matrix(index), tokens: 1 });
        let (_, place) = self.part(index, 0, 1)?;
        self.run(index, 0..1, place, true)?;
        Ok(self.runner.driver.top_k(k)?)
    }

    fn rope(&mut self, batch: &Batch, qkv: &mut [f32]) -> edgewen_engine::Result<()> {
        self.cpu.rope(batch, qkv)
    }

    fn attention(
        &mut self,
        layer: usize,
        batch: &Batch,
        qkv: &[f32],
        out: &mut [f32],
    ) -> edgewen_engine::Result<()> {
        // What the accelerator has of the slot ends where the segment starts, whoever attends.
        for (segment, _) in batch.segments().filter(|(segment, _)| segment.slot == SLOT) {
            self.runner.truncate(layer, segment.start);
        }
        let mut segments = batch.segments().map(|(segment, _)| segment);
        let own = match (segments.next(), segments.next()) {
            (Some(segment), None) if segment.slot == SLOT && segment.len != 0 => segment,
            _ => return self.cpu.attention(layer, batch, qkv, out),
        };
        // A single token can do with groups that were whole before it, so that they are read ahead.
        let end = own.start + own.len;
        let whole = if own.len == 1 { own.start } else { end };
        self.cpu.append(layer, own, qkv);
        self.runner.copy_groups(&self.cpu, layer, whole)?;
        let groups = self.runner.plan.kv.as_ref().map_or(0, |kv| kv.groups(layer));
        let is_shared = groups != 0 && GROUP_POSITIONS < end;
        self.runner.order.attention[usize::from(1 < own.len)] = is_shared;
        if is_shared {
            self.runner.attend(&self.cpu, &mut self.heads, layer, own, qkv, out)?;
        } else {
            self.cpu.attend(layer, own, qkv, out);
        }
        Ok(self.runner.copy_groups(&self.cpu, layer, end)?)
    }

    fn silu_mul(&mut self, gate_up: &[f32], out: &mut [f32]) -> edgewen_engine::Result<()> {
        self.cpu.silu_mul(gate_up, out)
    }

    fn add(&mut self, x: &mut [f32], y: &[f32]) -> edgewen_engine::Result<()> {
        self.cpu.add(x, y)
    }

    fn truncate(&mut self, slot: usize, len: usize) {
        self.cpu.truncate(slot, len);
        if slot == SLOT {
            (0..self.cpu.config().layers).for_each(|layer| self.runner.truncate(layer, len));
        }
    }

    fn kv_bytes(&self) -> usize {
        self.cpu.kv_bytes()
    }
}
