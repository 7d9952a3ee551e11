//! `operand_loader`: bias and activations come over the data port before an operation begins.

use super::read_master::{Command, ReadMaster};
use super::{Operation, WeightLayout};
use crate::memory::{DATA_PORT, MemoryModel};

/// Where the processor leaves the activations.
const ACTIVATIONS: u64 = 0x6000_0000;
/// Where a bias lies: before the matrix, in the model.
const BIAS: u64 = 0x1000_1000;
/// Bursts that the loader has under way.
const MAX_OUTSTANDING: u32 = 8;
/// From the start to the first command, and from the last beat to the end.
const START: u64 = 3;
const END: u64 = 3;

/// The loader.
#[derive(Debug, Clone)]
pub(super) struct Loader {
    master: ReadMaster,
    commands: Vec<Command>,
    begin: u64,
    expected: u64,
    done: Option<u64>,
    running: bool,
}

impl Loader {
    pub fn new() -> Self {
        Self {
            master: ReadMaster::new(DATA_PORT, 16, MAX_OUTSTANDING, None),
            commands: Vec::new(),
            begin: 0,
            expected: 0,
            done: None,
            running: false,
        }
    }

    /// Begins; gives the beats it will fetch.
    pub fn start(&mut self, operation: &Operation, layout: WeightLayout, now: u64) -> u64 {
        let groups = u64::from(operation.groups);
        let token = groups * 4 + groups.div_ceil(8) * 4;
        let mut commands = Vec::new();
        let command = |address, beats| Command { address, beats, run_beats: u64::MAX, skip: 0 };
        if operation.bias {
            let channels = u64::from(super::block_channels(layout));
            commands.push(command(BIAS, u64::from(operation.rows).div_ceil(channels) * channels / 4));
        }
        for index in 0..u64::from(operation.tokens) {
            commands.push(command(ACTIVATIONS + index * token * 16, token));
        }
        let beats = commands.iter().map(|command| command.beats).sum::<u64>();
        self.commands = commands;
        self.begin = now + START;
        self.expected = self.master.arrived + beats;
        self.done = None;
        self.running = true;
        beats
    }

    pub fn ask(&mut self, memory: &mut MemoryModel, now: u64) {
        if self.running && now >= self.begin {
            self.master.commands.extend(self.commands.drain(..));
            self.master.ask(memory);
        }
    }

    pub fn receive(&mut self, memory: &mut MemoryModel, now: u64) {
        if self.running {
            self.master.receive(memory);
            if self.done.is_none() && self.master.arrived == self.expected {
                self.done = Some(now + END);
            }
        }
    }

    /// Once, when all operands are in their buffers.
    pub fn finished(&mut self, now: u64) -> bool {
        let finished = self.done.is_some_and(|done| done <= now);
        if finished {
            self.done = None;
            self.running = false;
            self.master.level = 0;
        }
        finished
    }
}
