//! Attention of one token with keys and values of eight bits: the two products on the accelerator, the rest here.
//!
//! The accelerator multiplies with the whole groups of positions before the token's own, whose keys and values it can read
//! ahead like weights; the processor adds the last group to both products, and does what is between them. All steps are
//! those of [`edgewen_kernels::attention::int8`] in the same order, so the bits are the same as without the accelerator.

use std::ops::Range;

use edgewen_engine::{CpuBackend, Segment};
use edgewen_kernels::Activations;
use edgewen_kernels::attention::int8::{add_scores, add_values, normalize, quantize_queries, weigh};
use edgewen_kernels::kv::{GROUP_POSITIONS, Int8Cache};

use super::buffers::{read_floats, write_activations};
use super::kv_store::{Kind, SLOT, in_order};
use super::order::{Step, Work};
use super::runner::Runner;
use super::{BusError, Device};
use crate::{Error, Result};

/// What one query head needs between the steps; kept from token to token.
#[derive(Default)]
pub(super) struct Head {
    kv_head: usize,
    query: Activations,
    /// Products with the keys, one a position.
    scores: Vec<f32>,
    weights: Activations,
    sum: f32,
    /// The result.
    out: Vec<f32>,
}

impl<D: Device> Runner<D> {
    /// Copies the groups of a layer that are whole now.
    pub(super) fn copy_groups(&mut self, cpu: &CpuBackend, layer: usize, len: usize) -> Result<()> {
        let cache = cpu.cache(layer, SLOT).and_then(|cache| cache.int8());
        let (Some(kv), Some(cache)) = (&mut self.plan.kv, cache) else { return Ok(()) };
        let copied = kv.copy(self.driver.device().memory(), layer, cache, len);
        copied.map_err(|error| memory_error("keys and values", error))
    }

    /// Attends with one token, whose keys and values are in the cache of `cpu`; `q` and `out` are [heads, head_dim].
    pub(super) fn attend(
        &mut self,
        cpu: &CpuBackend,
        heads: &mut Vec<Head>,
        layer: usize,
        segment: Segment,
        q: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        let (Some(kv), Some(cache)) = (&self.plan.kv, cpu.cache(layer, SLOT).and_then(|cache| cache.int8()))
        else {
            return Err(Error::Device("attention is not on the accelerator".to_owned()));
        };
        let groups = kv.groups(layer).min(segment.start / GROUP_POSITIONS);
        let (kv_heads, queries) = (kv.kv_heads(), kv.queries());
        let positions = segment.start + 1;
        let stride = positions.next_multiple_of(GROUP_POSITIONS);
        let (compute, head_dim) = (cpu.compute(), cache.head_dim());
        heads.resize_with(kv_heads * queries, Head::default);
        for (index, (head, q)) in heads.iter_mut().zip(q.chunks_exact(head_dim)).enumerate() {
            head.kv_head = index / queries;
            head.scores.clear();
            head.scores.resize(stride, 0.0);
            quantize_queries(compute.isa, q, head_dim, &mut head.query);
        }

        let rest = groups..stride / GROUP_POSITIONS;
        self.product(Kind::Keys, layer, groups, heads)?;
        compute.pool.for_each_chunk(heads, 1, |_, heads| {
            heads.iter_mut().for_each(|head| head.weigh(compute.isa, cache, rest.clone(), positions));
        });
        self.product(Kind::Values, layer, groups, heads)?;
        compute.pool.for_each_chunk(heads, 1, |_, heads| {
            for head in heads {
                add_values(compute.isa, cache, head.kv_head, rest.clone(), &head.weights, &mut head.out);
                normalize(&mut head.out, &[head.sum]);
            }
        });
        for (out, head) in out.chunks_exact_mut(head_dim).zip(heads) {
            out.copy_from_slice(&head.out);
        }
        Ok(())
    }

    /// One of the two products of all heads with the first groups of positions.
    fn product(&mut self, kind: Kind, layer: usize, groups: usize, heads: &mut [Head]) -> Result<()> {
        let none = || Error::Device("attention is not on the accelerator".to_owned());
        let kv = self.plan.kv.as_ref().ok_or_else(none)?;
        let place = kv.place(self.plan.operands.start, kind, groups);
        let (operand_bytes, result_bytes) =
            (kv.activation_bytes(kind, groups), kv.result_bytes(kind, groups));
        let memory = self.driver.device().memory();
        for (address, head) in (place.activations..).step_by(operand_bytes as usize).zip(&*heads) {
            let (x, inputs) = match kind {
                Kind::Keys => (&head.query, 1),
                Kind::Values => (&head.weights, groups),
            };
            let written = write_activations(memory, address, inputs, x, 0..1);
            written.map_err(|error| memory_error("attention", error))?;
        }
        let descriptors: Result<Vec<_>> = (0..kv.kv_heads())
            .map(|kv_head| self.plan.attention(kind, layer, kv_head, Some(groups)))
            .collect();
        let work = if kind == Kind::Keys { Work::Keys(layer) } else { Work::Values(layer) };
        let step = Step { work, tokens: 1 };
        self.order.saw(step);
        self.run(step, &descriptors?, 0)?;
        let memory = self.driver.device().memory();
        let mut found = vec![0.0; result_bytes as usize / 4];
        for (address, head) in (place.results..).step_by(result_bytes as usize).zip(heads) {
            read_floats(memory, address, &mut found).map_err(|error| memory_error("attention", error))?;
            match kind {
                Kind::Keys => in_order(&found, &mut head.scores),
                Kind::Values => head.out.clone_from(&found),
            }
        }
        Ok(())
    }
}

impl Head {
    /// Adds the scores of the last group of positions and turns all of them into weights.
    fn weigh(&mut self, isa: edgewen_kernels::Isa, cache: &Int8Cache, rest: Range<usize>, positions: usize) {
        let stride = self.scores.len();
        add_scores(isa, cache, self.kv_head, rest, &self.query, &mut self.scores, stride);
        let sums = std::slice::from_mut(&mut self.sum);
        weigh(isa, cache, self.kv_head, positions, &mut self.scores, &mut self.weights, sums);
    }
}

fn memory_error(what: &str, error: BusError) -> Error {
    Error::Device(format!("the shared buffers failed for {what}: {error:?}"))
}
