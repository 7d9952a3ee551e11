//! A model on an accelerator: linear layers there, the rest with the CPU's code.
//!
//! The weights of the operations that come next are streamed ahead as far as the ring reaches. If the forward pass
//! asks for something else after all, the accelerator is reset and begins anew with that. An error ends the call with
//! the name of the operation and leaves the accelerator reset: the next call works.

use std::collections::VecDeque;
use std::ops::Range;

use edgewen_engine::{Backend, Batch, CpuBackend, Linear, Norm};
use edgewen_kernels::Activations;
use edgewen_layout::GroupSize;
use edgewen_model::Config;

use super::address_space::BusError;
use super::buffers::{Place, place, read_results, write_activations};
use super::driver::{Driver, Fault, Stopped};
use super::order::{Order, Step};
use super::{AddressMap, Device};
use crate::image::ModelImage;
use crate::program::{Pass, Program};
use crate::registers::{NO_PORT, PORT_DATA_READ, PORT_DATA_WRITE};
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
    driver: Driver<D>,
    program: Program,
    map: AddressMap,
    options: HostOptions,
    order: Order,
    /// Operations whose weights are streamed and which wait for their doorbell.
    queue: VecDeque<usize>,
    activations: Activations,
}

impl<D: Device> Accelerator<D> {
    /// The model of `cpu` on `device`, in whose memory `image` lies.
    ///
    /// # Errors
    /// A model that the accelerator cannot run, by the name of the tensor; a device that is none or does not answer.
    pub fn new(device: D, image: &ModelImage, cpu: CpuBackend, options: HostOptions) -> Result<Self> {
        let mut driver = Driver::new(device)?;
        let map = driver.device().map();
        let program = Program::new(cpu.file(), image, driver.limits(), map.model)?;
        for operation in program.operations() {
            if place(&map.buffers, operation, 1).is_none() {
                let bytes = map.buffers.end - map.buffers.start;
                let problem = format!("has results that do not fit the shared buffers of {bytes} bytes");
                return Err(Error::Unsupported { tensor: operation.tensor.clone(), problem });
            }
        }
        let operations = program.operations().len();
        let order = Order::new(operations, program.head_on_processor().is_none());
        driver.start(u32::try_from(operations).unwrap_or(u32::MAX))?;
        let (queue, activations) = (VecDeque::new(), Activations::new());
        Ok(Self { cpu, driver, program, map, options, order, queue, activations })
    }

    /// The operations of the model.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The driver, to read counters with.
    pub fn driver(&mut self) -> &mut Driver<D> {
        &mut self.driver
    }

    /// Changes how the model is run from the next operation on.
    pub fn set_options(&mut self, options: HostOptions) {
        self.options = options;
    }

    /// Multiplies the quantized tokens with a matrix, as many at a time as fit, and hands the results of each part to
    /// `take` as [tokens, rows].
    fn multiply(&mut self, index: usize, out: &mut [f32]) -> Result<()> {
        let tokens = self.activations.tokens();
        let at_once = self.driver.limits().tokens as usize;
        self.order.saw(Step { operation: index, passes: tokens.div_ceil(at_once) });
        let rows = self.program.operations()[index].rows;
        let mut from = 0;
        while from < tokens {
            let (to, place) = self.part(index, from, tokens)?;
            self.run(index, from..to, place, false)?;
            let operation = &self.program.operations()[index];
            let out = &mut out[from * rows..to * rows];
            let read = read_results(self.driver.device().memory(), place.results, operation, out);
            read.map_err(|error| self.memory_error(index, place.results, error))?;
            from = to;
        }
        Ok(())
    }

    /// The end of the part of the tokens `from..tokens` that fits buffers and ring, and where it lies.
    fn part(&self, index: usize, from: usize, tokens: usize) -> Result<(usize, Place)> {
        let operation = &self.program.operations()[index];
        let at_once = self.driver.limits().tokens as usize;
        let ring = self.program.operations().len().min(self.driver.limits().ring_entries as usize);
        let mut count = (tokens - from).min(ring * at_once);
        loop {
            if let Some(place) = place(&self.map.buffers, operation, count) {
                return Ok((from + count, place));
            }
            if count == 1 {
                return Err(Error::Device(format!("the shared buffers do not hold {}", operation.tensor)));
            }
            // Whole passes where there are any.
            count = if count <= at_once { count / 2 } else { (count / 2).next_multiple_of(at_once) };
        }
    }

    /// Runs the passes of some tokens and waits for them.
    fn run(&mut self, index: usize, tokens: Range<usize>, place: Place, top_k: bool) -> Result<()> {
        let operation = &self.program.operations()[index];
        let memory = self.driver.device().memory();
        let written =
            write_activations(memory, place.activations, operation, &self.activations, tokens.clone());
        written.map_err(|error| self.memory_error(index, place.activations, error))?;
        let at_once = self.driver.limits().tokens as usize;
        let mut passes = Vec::new();
        let operation = &self.program.operations()[index];
        for first in (0..tokens.len()).step_by(at_once) {
            let pass = Pass {
                tokens: at_once.min(tokens.len() - first) as u32,
                top_k,
                tag: index as u32,
                activations: place.activations + first as u64 * operation.activation_bytes(),
                results: place.results + first as u64 * operation.result_bytes(),
            };
            passes.push(operation.descriptor(&pass).encode()?);
        }
        let left = (self.activations.tokens() - tokens.end).div_ceil(at_once);
        let ran = self.submit(index, &passes, left);
        ran.map_err(|stopped| self.stopped(index, stopped))
    }

    /// Rings the doorbell for `passes` of operation `index`, after which `left` more of it come, and waits.
    fn submit(
        &mut self,
        index: usize,
        passes: &[[u32; crate::descriptor::WORDS]],
        left: usize,
    ) -> std::result::Result<(), Stopped> {
        let count = passes.len();
        if self.driver.is_lost() || self.queue.iter().take(count).any(|&queued| queued != index) {
            self.queue.clear();
            self.driver.reset()?;
        }
        let queued = self.queue.len().min(count);
        for (at, words) in (0..).zip(&passes[..queued]) {
            self.driver.update(at, words)?;
        }
        self.driver.stream(&passes[queued..])?;
        self.queue.drain(..queued);
        self.driver.device().processor_time(self.options.processor_ns)?;
        self.driver.ring(count as u32)?;
        if self.options.run_ahead {
            self.stream_ahead(index, left)?;
        }
        self.driver.finish()
    }

    /// Streams what comes after the passes of operation `index`: `left` more, then what the order says.
    fn stream_ahead(&mut self, index: usize, left: usize) -> Result<()> {
        let Self { order, queue, driver, program, .. } = self;
        let Some(last) = order.last() else { return Ok(()) };
        let coming = std::iter::once(Step { operation: index, passes: left }).chain(order.after(last));
        let mut coming = coming.flat_map(|step| std::iter::repeat_n(step.operation, step.passes));
        // What is queued stays queued. If it is not what is expected now, nothing is added: it may be right still.
        if !queue.iter().all(|&queued| coming.next() == Some(queued)) {
            return Ok(());
        }
        let mut descriptors = Vec::new();
        for operation in coming.take(driver.room() as usize) {
            // Everything but the weights may be written until the doorbell; what is written here suits decoding.
            let next = &program.operations()[operation];
            let place = place(&self.map.buffers, next, 1).unwrap_or(Place { activations: 0, results: 0 });
            let Place { activations, results } = place;
            let pass = Pass { tokens: 1, top_k: false, tag: operation as u32, activations, results };
            descriptors.push(next.descriptor(&pass).encode()?);
            queue.push_back(operation);
        }
        driver.stream_ahead(descriptors)
    }

    /// Makes the accelerator usable again and says what happened.
    fn stopped(&mut self, index: usize, stopped: Stopped) -> Error {
        self.queue.clear();
        self.order.interrupt();
        let reset = self.driver.reset();
        let operation = self.program.operations()[index].tensor.clone();
        let error = match stopped {
            Stopped::Fault(fault) => self.fault(operation, fault),
            Stopped::Hung(state) => Error::Hung { operation, state },
            Stopped::Device(error) => error,
        };
        match reset {
            Ok(()) => error,
            Err(reset) => Error::Device(format!("{error}; then {reset}")),
        }
    }

    fn fault(&self, running: String, fault: Fault) -> Error {
        // A weight port may have failed while it read ahead: its address says for what.
        let streamed = self.program.at_address(fault.port as usize, fault.address);
        let operation = match streamed {
            Some(streamed) if streamed.tensor != running => {
                format!("{} (read ahead during {running})", streamed.tensor)
            }
            _ => running,
        };
        let port = match fault.port {
            NO_PORT => "no port".to_owned(),
            PORT_DATA_READ => "data port, reading".to_owned(),
            PORT_DATA_WRITE => "data port, writing".to_owned(),
            port => format!("weight port {port}"),
        };
        let problem = fault.code.map_or("an unknown error", |code| code.meaning()).to_owned();
        Error::Fault { operation, problem, port, address: fault.address }
    }

    /// The processor's own access to the buffers failed.
    fn memory_error(&self, index: usize, address: u64, error: BusError) -> Error {
        let tensor = &self.program.operations()[index].tensor;
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
        format!("{} with {}", self.driver.name(), self.cpu.name())
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
        let Some(index) = self.program.index(which) else {
            return self.cpu.linear(which, x, tokens, out);
        };
        if tokens == 0 {
            return Ok(());
        }
        self.quantize(x, tokens);
        Ok(self.multiply(index, out)?)
    }

    fn most_top_k(&self) -> usize {
        if self.program.head_on_processor().is_none() { self.driver.limits().top_k as usize } else { 0 }
    }

    fn top_k(&mut self, x: &[f32], k: usize) -> edgewen_engine::Result<Vec<(u32, f32)>> {
        let Some(index) = self.program.index(Linear::Head) else { return self.cpu.top_k(x, k) };
        if self.most_top_k() < k {
            let expected = "at most the entries of the accelerator's list";
            return Err(edgewen_engine::Error::Option { name: "top-k", value: k.to_string(), expected });
        }
        self.quantize(x, 1);
        self.order.saw(Step { operation: index, passes: 1 });
        let (_, place) = self.part(index, 0, 1)?;
        self.run(index, 0..1, place, true)?;
        Ok(self.driver.top_k(k)?)
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
        self.cpu.attention(layer, batch, qkv, out)
    }

    fn silu_mul(&mut self, gate_up: &[f32], out: &mut [f32]) -> edgewen_engine::Result<()> {
        self.cpu.silu_mul(gate_up, out)
    }

    fn add(&mut self, x: &mut [f32], y: &[f32]) -> edgewen_engine::Result<()> {
        self.cpu.add(x, y)
    }

    fn truncate(&mut self, slot: usize, len: usize) {
        self.cpu.truncate(slot, len);
    }

    fn kv_bytes(&self) -> usize {
        self.cpu.kv_bytes()
    }
}
