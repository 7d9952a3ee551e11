//! Runs steps: streams what comes next, rings the doorbell, waits, and cleans up after an error.

use std::collections::VecDeque;

use super::Device;
use super::driver::{Driver, Fault, Stopped, Words};
use super::order::{Order, Step};
use super::plan::Plan;
use super::{HostOptions, order::Work};
use crate::descriptor::{PORTS, STREAM_WORDS};
use crate::registers::{NO_PORT, PORT_DATA_READ, PORT_DATA_WRITE};
use crate::{Error, Result};

/// A device with a plan of what to run on it.
pub(super) struct Runner<D> {
    pub(super) driver: Driver<D>,
    pub(super) plan: Plan,
    pub(super) order: Order,
    pub(super) options: HostOptions,
    /// Descriptors whose weights are streamed and which wait for their doorbell.
    queue: VecDeque<Words>,
    /// What is streamed may have changed in memory since.
    stale: bool,
    /// The step to which the last of them belongs, or the last that ran, and how many more descriptors it has.
    end: Option<(Step, usize)>,
}

impl<D: Device> Runner<D> {
    /// A device on which nothing runs.
    pub(super) fn new(driver: Driver<D>, plan: Plan, options: HostOptions) -> Self {
        let (matrices, head) = (plan.program.operations().len(), plan.program.head_on_processor());
        let order = Order::new(matrices, head.is_none());
        Self { driver, plan, order, options, queue: VecDeque::new(), stale: false, end: None }
    }

    /// Runs `descriptors`, which are a part of a step of which `left` more come, and waits for them.
    pub(super) fn run(&mut self, step: Step, descriptors: &[Words], left: usize) -> Result<()> {
        let count = self.begin(step.work, descriptors, Some((step, left)))?;
        self.wait_for(step.work, count)
    }

    /// Lets `descriptors` run after those that run already; returns what to wait for. With `end`, a step and how many
    /// more descriptors of it come, what comes after that is streamed ahead.
    pub(super) fn begin(
        &mut self,
        work: Work,
        descriptors: &[Words],
        end: Option<(Step, usize)>,
    ) -> Result<u32> {
        self.submit(descriptors, end).map_err(|stopped| self.stopped(work, stopped))?;
        Ok(self.driver.rung())
    }

    /// Waits for what [`Self::begin`] returned.
    pub(super) fn wait_for(&mut self, work: Work, count: u32) -> Result<()> {
        self.driver.wait_for(count).map_err(|stopped| self.stopped(work, stopped))
    }

    /// Forgets the keys and values of a layer from position `len` on, also where they were streamed already.
    pub(super) fn truncate(&mut self, layer: usize, len: usize) {
        if let Some(kv) = &mut self.plan.kv {
            self.stale |= kv.truncate(layer, len);
        }
    }

    fn submit(
        &mut self,
        descriptors: &[Words],
        end: Option<(Step, usize)>,
    ) -> std::result::Result<(), Stopped> {
        // What is streamed already goes on meanwhile; nothing else does.
        self.driver.device().processor_time(self.options.processor_ns)?;
        let same = |(queued, wanted): (&Words, &Words)| {
            STREAM_WORDS.iter().all(|&word| queued[word] == wanted[word])
        };
        if self.stale || self.driver.is_lost() || !self.queue.iter().zip(descriptors).all(same) {
            if !self.driver.is_lost() {
                self.driver.finish()?;
            }
            self.queue.clear();
            self.driver.reset()?;
            self.stale = false;
        }
        for part in descriptors.chunks(self.driver.entries() as usize) {
            let queued = self.queue.len().min(part.len());
            if (self.driver.room() as usize) < part.len() - queued {
                self.driver.finish()?;
            }
            for (at, words) in (0..).zip(&part[..queued]) {
                self.driver.update(at, words)?;
            }
            self.driver.stream(&part[queued..])?;
            self.queue.drain(..queued);
            self.driver.ring(part.len() as u32)?;
        }
        if self.queue.is_empty() {
            self.end = end;
        }
        if self.options.run_ahead { Ok(self.stream_ahead()?) } else { Ok(()) }
    }

    /// Streams what comes after what is streamed already, as far as the ring reaches.
    fn stream_ahead(&mut self) -> Result<()> {
        let Some((mut step, mut left)) = self.end else { return Ok(()) };
        let mut descriptors = Vec::new();
        while descriptors.len() < self.driver.room() as usize {
            if left == 0 {
                let next = self.order.after(step);
                let count = self.plan.count(next);
                if count == 0 {
                    break;
                }
                (step, left) = (next, count);
            }
            descriptors.push(self.plan.descriptor(step, self.plan.count(step) - left)?);
            left -= 1;
        }
        self.end = Some((step, left));
        self.queue.extend(&descriptors);
        self.driver.stream_ahead(descriptors)
    }

    /// Makes the accelerator usable again and says what happened.
    fn stopped(&mut self, work: Work, stopped: Stopped) -> Error {
        self.queue.clear();
        self.end = None;
        self.order.interrupt();
        let reset = self.driver.reset();
        let operation = self.plan.name(work);
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
        let port = fault.port as usize;
        let streamed = if port < PORTS { self.plan.at_address(port, fault.address) } else { None };
        let operation = match streamed {
            Some(streamed) if !running.starts_with(&streamed) => {
                format!("{streamed} (read ahead during {running})")
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
}
