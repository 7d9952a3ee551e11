//! Everything the accelerator can be asked for, by step: how many descriptors, which, and what to call it.

use std::ops::Range;

use super::buffers::{Place, place};
use super::driver::Words;
use super::kv_store::{Kind, KvStore};
use super::order::{Step, Work};
use crate::program::{Pass, Program};
use crate::{Error, Result};

/// A model's operations and where their operands lie.
pub(super) struct Plan {
    pub(super) program: Program,
    pub(super) kv: Option<KvStore>,
    /// The part of the buffers for operands and results.
    pub(super) operands: Range<u64>,
    /// Tokens of a pass.
    pub(super) at_once: usize,
}

impl Plan {
    /// Operations of a token: the useful length of the ring.
    pub(super) fn operations(&self) -> usize {
        let matrices = self.program.operations().len();
        let heads = self.kv.as_ref().map_or(0, |kv| 2 * kv.kv_heads());
        matrices + self.layers() * heads
    }

    fn layers(&self) -> usize {
        self.program.operations().len() / 4
    }

    /// Descriptors of a step; none where it cannot be known what they are.
    pub(super) fn count(&self, step: Step) -> usize {
        match step.work {
            Work::Matrix(_) => step.tokens.div_ceil(self.at_once),
            Work::Keys(layer) | Work::Values(layer) => match &self.kv {
                Some(kv) if kv.groups(layer) != 0 && step.tokens == 1 => kv.kv_heads(),
                _ => 0,
            },
        }
    }

    /// One of them as far as it is known before the step begins: its weights are right, the rest suits decoding.
    pub(super) fn descriptor(&self, step: Step, index: usize) -> Result<Words> {
        match step.work {
            Work::Matrix(matrix) => {
                let operation = &self.program.operations()[matrix];
                let Place { activations, results } = self.place(matrix, 1)?;
                let pass = Pass { tokens: 1, top_k: false, tag: self.tag(step.work), activations, results };
                operation.descriptor(&pass).encode()
            }
            Work::Keys(layer) | Work::Values(layer) => {
                let none = || Error::Device("attention is not on the accelerator".to_owned());
                let kv = self.kv.as_ref().ok_or_else(none)?;
                let groups = kv.groups(layer);
                let kind = if step.work == Work::Keys(layer) { Kind::Keys } else { Kind::Values };
                let place = kv.place(kind, 0, 0, groups, groups);
                kv.descriptor(kind, layer, index, groups, place, self.tag(step.work))
            }
        }
    }

    /// Where the operands and results of some tokens lie.
    pub(super) fn place(&self, matrix: usize, tokens: usize) -> Result<Place> {
        let operation = &self.program.operations()[matrix];
        let full = || Error::Device(format!("the shared buffers do not hold {}", operation.tensor));
        place(&self.operands, operation, tokens).ok_or_else(full)
    }

    /// What the descriptors of an operation carry, so that an error can be told from others.
    pub(super) fn tag(&self, work: Work) -> u32 {
        let matrices = self.program.operations().len();
        (match work {
            Work::Matrix(matrix) => matrix,
            Work::Keys(layer) => matrices + 2 * layer,
            Work::Values(layer) => matrices + 2 * layer + 1,
        }) as u32
    }

    /// What an operation is called.
    pub(super) fn name(&self, work: Work) -> String {
        match work {
            Work::Matrix(matrix) => self.program.operations()[matrix].tensor.clone(),
            Work::Keys(layer) => format!("layers.{layer}.attention (keys)"),
            Work::Values(layer) => format!("layers.{layer}.attention (values)"),
        }
    }

    /// What a weight port streams from an address.
    pub(super) fn at_address(&self, port: usize, address: u64) -> Option<String> {
        let kv = || Some(format!("layers.{}.attention", self.kv.as_ref()?.layer_at(address)?));
        self.program.at_address(port, address).map(|operation| operation.tensor.clone()).or_else(kv)
    }
}
