//! Attention with keys and values of eight bits: the two products on the accelerator, the rest here.
//!
//! For each token the accelerator multiplies with the whole groups of positions before the token's own, whose keys and
//! values it can read ahead like weights; the processor adds the last group to both products, and does what is between
//! them. Several tokens are taken a few at a time: while the accelerator has the products of some, the processor weighs
//! others. All steps are those of [`edgewen_kernels::attention::int8`] in the same order, so the bits are the same as
//! without the accelerator.

use std::ops::Range;

use edgewen_engine::{CpuBackend, Segment};
use edgewen_kernels::Activations;
use edgewen_kernels::attention::attention;
use edgewen_kernels::attention::int8::{add_scores, add_values, normalize, quantize_queries, weigh};
use edgewen_kernels::kv::{GROUP_POSITIONS, Int8Cache, KvLayer};

use super::buffers::{read_floats, write_activations};
use super::kv_store::{Kind, SLOT, in_order};
use super::order::{Step, Work};
use super::runner::Runner;
use super::{BusError, Device};
use crate::{Error, Result};

/// Tokens that are taken together: enough that neither side waits for the other.
const TOKENS: usize = 8;

/// What one query head of a token needs between the steps; kept from call to call.
#[derive(Default)]
struct Head {
    kv_head: usize,
    /// Positions that it sees, and those groups of them that the accelerator has.
    positions: usize,
    groups: usize,
    query: Activations,
    /// Products with the keys, one a position.
    scores: Vec<f32>,
    weights: Activations,
    sum: f32,
    /// The result.
    out: Vec<f32>,
}

/// The heads of some tokens, [tokens, heads]: some wait for their scores, some are weighed, some wait for their values.
#[derive(Default)]
pub(super) struct Heads([Vec<Head>; 3]);

/// The tokens of a call.
struct Job<'a> {
    cpu: &'a CpuBackend,
    cache: &'a Int8Cache,
    layer: usize,
    segment: Segment,
    /// [tokens, (heads + 2 kv_heads) * head_dim]
    qkv: &'a [f32],
    /// Groups of positions that the accelerator has.
    groups: usize,
}

impl<D: Device> Runner<D> {
    /// Copies the groups of a layer that are whole below position `len`.
    pub(super) fn copy_groups(&mut self, cpu: &CpuBackend, layer: usize, len: usize) -> Result<()> {
        let cache = cpu.cache(layer, SLOT).and_then(KvLayer::int8);
        let (Some(kv), Some(cache)) = (&mut self.plan.kv, cache) else { return Ok(()) };
        let copied = kv.copy(self.driver.device().memory(), layer, cache, len);
        copied.map_err(|error| memory_error("keys and values", error))
    }

    /// Attends with the tokens of a segment, whose keys and values are in the cache of `cpu`, into `out`
    /// [tokens, heads * head_dim].
    pub(super) fn attend(
        &mut self,
        cpu: &CpuBackend,
        heads: &mut Heads,
        layer: usize,
        segment: Segment,
        qkv: &[f32],
        out: &mut [f32],
    ) -> Result<()> {
        let cached = cpu.cache(layer, SLOT);
        let (Some(cached), Some(cache)) = (cached, cached.and_then(KvLayer::int8)) else {
            return Err(not_here());
        };
        let (stride, width) = (qkv.len() / segment.len, out.len() / segment.len);
        // Tokens before the first whole group have nothing on the accelerator.
        let alone = GROUP_POSITIONS.saturating_sub(segment.start).min(segment.len);
        let (first, out) = out.split_at_mut(alone * width);
        attention(cpu.compute(), cached, qkv, stride, width / cache.head_dim(), alone, segment.start, first);
        let kv = self.plan.kv.as_ref().ok_or_else(not_here)?;
        let job = Job { cpu, cache, layer, segment, qkv, groups: kv.groups(layer) };
        let (shape, at_once) = ((kv.kv_heads(), kv.queries()), kv.at_once(job.groups).min(TOKENS));
        let parts: Vec<Range<usize>> = (alone..segment.len)
            .step_by(at_once)
            .map(|first| first..segment.len.min(first + at_once))
            .collect();
        let mut waiting = [(0, 0); 3];
        for stage in 0..parts.len() + 2 {
            // Part `stage` asks for its scores, the one before is weighed, the one before that takes its values.
            if let Some(part) = parts.get(stage) {
                let set = stage % 3;
                job.prepare(part.clone(), shape, &mut heads.0[set]);
                waiting[set].0 = self.start(&job, Kind::Keys, stage, &heads.0[set], parts.len() == 1)?;
            }
            if let (Some(index), true) = (stage.checked_sub(1), stage <= parts.len()) {
                let set = index % 3;
                self.wait_for(Work::Keys(layer), waiting[set].0)?;
                self.read(&job, Kind::Keys, index, &mut heads.0[set])?;
                job.weigh(&mut heads.0[set]);
                let is_last = index + 1 == parts.len();
                waiting[set].1 = self.start(&job, Kind::Values, index, &heads.0[set], is_last)?;
            }
            if let Some(index) = stage.checked_sub(2) {
                let set = index % 3;
                self.wait_for(Work::Values(layer), waiting[set].1)?;
                self.read(&job, Kind::Values, index, &mut heads.0[set])?;
                let (from, to) = (parts[index].start - alone, parts[index].end - alone);
                job.finish(&mut heads.0[set], &mut out[from * width..to * width]);
            }
        }
        Ok(())
    }

    /// Writes the operands of one of the two products of some tokens and rings for it.
    fn start(
        &mut self,
        job: &Job<'_>,
        kind: Kind,
        part: usize,
        heads: &[Head],
        is_last: bool,
    ) -> Result<u32> {
        let work = if kind == Kind::Keys { Work::Keys(job.layer) } else { Work::Values(job.layer) };
        let step = Step { work, tokens: job.segment.len };
        let tag = self.plan.tag(work);
        let kv = self.plan.kv.as_ref().ok_or_else(not_here)?;
        let memory = self.driver.device().memory();
        let mut descriptors = Vec::new();
        for (token, heads) in heads.chunks_exact(kv.kv_heads() * kv.queries()).enumerate() {
            let groups = heads[0].groups;
            let place = kv.place(kind, part % 2, token, groups, job.groups);
            let mut address = place.activations;
            for head in heads {
                let (x, inputs) = match kind {
                    Kind::Keys => (&head.query, 1),
                    Kind::Values => (&head.weights, groups),
                };
                let written = write_activations(memory, address, inputs, x, 0..1);
                written.map_err(|error| memory_error("attention", error))?;
                address += kv.activation_bytes(kind, groups);
            }
            for kv_head in 0..kv.kv_heads() {
                descriptors.push(kv.descriptor(kind, job.layer, kv_head, groups, place, tag)?);
            }
        }
        if part == 0 {
            self.order.saw(step);
        }
        self.begin(work, &descriptors, is_last.then_some((step, 0)))
    }

    /// Reads the results of one of the two products of some tokens.
    fn read(&mut self, job: &Job<'_>, kind: Kind, part: usize, heads: &mut [Head]) -> Result<()> {
        let kv = self.plan.kv.as_ref().ok_or_else(not_here)?;
        let memory = self.driver.device().memory();
        for (token, heads) in heads.chunks_exact_mut(kv.kv_heads() * kv.queries()).enumerate() {
            let groups = heads[0].groups;
            let mut address = kv.place(kind, part % 2, token, groups, job.groups).results;
            let mut found = vec![0.0; kv.result_bytes(kind, groups) as usize / 4];
            for head in heads {
                let read = read_floats(memory, address, &mut found);
                read.map_err(|error| memory_error("attention", error))?;
                match kind {
                    Kind::Keys => in_order(&found, &mut head.scores),
                    Kind::Values => head.out.clone_from(&found),
                }
                address += kv.result_bytes(kind, groups);
            }
        }
        Ok(())
    }
}

impl Job<'_> {
    /// Quantizes the queries of some tokens. `shape` is the number of key-value heads, and of query heads of each.
    fn prepare(&self, tokens: Range<usize>, shape: (usize, usize), heads: &mut Vec<Head>) {
        let (kv_heads, queries) = shape;
        let (head_dim, stride) = (self.cache.head_dim(), self.qkv.len() / self.segment.len);
        heads.resize_with(tokens.len() * kv_heads * queries, Head::default);
        for (token, heads) in tokens.zip(heads.chunks_exact_mut(kv_heads * queries)) {
            let position = self.segment.start + token;
            for (index, head) in heads.iter_mut().enumerate() {
                head.kv_head = index / queries;
                head.positions = position + 1;
                head.groups = self.groups.min(position / GROUP_POSITIONS);
                head.scores.clear();
                head.scores.resize(head.positions.next_multiple_of(GROUP_POSITIONS), 0.0);
                let q = &self.qkv[token * stride + index * head_dim..][..head_dim];
                quantize_queries(self.cpu.compute().isa, q, head_dim, &mut head.query);
            }
        }
    }

    /// Adds the scores that the accelerator left out and turns all of them into weights.
    fn weigh(&self, heads: &mut [Head]) {
        let (isa, cache) = (self.cpu.compute().isa, self.cache);
        self.cpu.compute().pool.for_each_chunk(heads, 1, |_, heads| {
            for Head { kv_head, positions, query, scores, weights, sum, groups, .. } in heads {
                let stride = scores.len();
                let rest = *groups..stride / GROUP_POSITIONS;
                add_scores(isa, cache, *kv_head, rest, query, scores, stride);
                weigh(isa, cache, *kv_head, *positions, scores, weights, std::slice::from_mut(sum));
            }
        });
    }

    /// Adds the values that the accelerator left out, and divides by the sum of the weights.
    fn finish(&self, heads: &mut [Head], out: &mut [f32]) {
        let (isa, cache) = (self.cpu.compute().isa, self.cache);
        self.cpu.compute().pool.for_each_chunk(heads, 1, |_, heads| {
            for head in heads {
                let rest = head.groups..head.scores.len() / GROUP_POSITIONS;
                add_values(isa, cache, head.kv_head, rest, &head.weights, &mut head.out);
                normalize(&mut head.out, &[head.sum]);
            }
        });
        for (out, head) in out.chunks_exact_mut(cache.head_dim()).zip(heads) {
            out.copy_from_slice(&head.out);
        }
    }
}

fn not_here() -> Error {
    Error::Device("attention is not on the accelerator".to_owned())
}

fn memory_error(what: &str, error: BusError) -> Error {
    Error::Device(format!("the shared buffers failed for {what}: {error:?}"))
}
