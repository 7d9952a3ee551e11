//! A model as a list of operations, in the order in which a token needs them.
//!
//! Whether the accelerator can run a model is decided here, before anything starts: every matrix is checked against
//! what the design was built with, and a model that does not fit is refused by the name of the tensor. Only the head may
//! stay with the processor, since it is often stored with more bits.

use edgewen_engine::Linear;
use edgewen_layout::awq_macro::MACRO_ROWS;
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::Config;
use edgewen_model::packed::{PackedFile, TensorEntry, TensorKind};

use crate::descriptor::{ADDRESS_UNIT, Descriptor, PORTS, PortBlocks};
use crate::image::{BEAT_BYTES, Layout, ModelImage};
use crate::{Error, Result};

/// Bytes of scale and sum of a group of activations.
const SIDE_BYTES: u64 = 8;

/// Inputs of a group: the accelerator knows no other.
pub const GROUP_INPUTS: usize = 64;

/// What an accelerator was built with: its capability registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most tokens of an operation.
    pub tokens: u32,
    /// Most groups of an operation.
    pub max_groups: u32,
    /// Rows of bias that the ports hold together.
    pub bias_rows: u32,
    /// Descriptors of the ring.
    pub ring_entries: u32,
    /// Entries of the top-k list.
    pub top_k: u32,
    /// Beats that a port can run ahead.
    pub fifo_beats: u32,
    /// Order of the weights.
    pub layout: Layout,
}

impl Default for Limits {
    /// The design for the KV260.
    fn default() -> Self {
        Self {
            tokens: 8,
            max_groups: 96,
            bias_rows: 4096,
            ring_entries: 256,
            top_k: 32,
            fifo_beats: 28_672,
            layout: Layout::RowBlocks,
        }
    }
}

/// One matrix: all of a descriptor that does not change from call to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The tensor in the packed file.
    pub tensor: String,
    /// What it is to the forward pass.
    pub linear: Linear,
    /// Rows N.
    pub rows: usize,
    /// Inputs K.
    pub inputs: usize,
    /// Order of the weights.
    pub layout: Layout,
    /// What each port streams.
    pub ports: [PortBlocks; PORTS],
    /// Address of the bias.
    pub bias: Option<u64>,
}

impl Operation {
    /// Groups of inputs, the last one perhaps padded.
    pub fn groups(&self) -> u32 {
        self.inputs.div_ceil(GROUP_INPUTS) as u32
    }

    /// Beats of a block.
    pub fn block_beats(&self) -> u32 {
        self.layout.block_beats(self.groups())
    }

    /// Beats that port `port` streams.
    pub fn beats(&self, port: usize) -> u64 {
        u64::from(self.ports[port].blocks) * u64::from(self.block_beats())
    }

    /// The addresses that port `port` streams.
    pub fn addresses(&self, port: usize) -> std::ops::Range<u64> {
        let start = self.ports[port].address;
        start..start + self.beats(port) * BEAT_BYTES as u64
    }

    /// Bytes of the activations of one token, up to the next one's.
    pub fn activation_bytes(&self) -> u64 {
        activation_bytes(self.groups())
    }

    /// Bytes of the results of one token, up to the next one's.
    pub fn result_bytes(&self) -> u64 {
        let blocks: u64 = self.ports.iter().map(|port| u64::from(port.blocks)).sum();
        (blocks * self.layout.block_rows() as u64 * 4).next_multiple_of(ADDRESS_UNIT)
    }

    /// The descriptor of a pass over the matrix.
    pub fn descriptor(&self, pass: &Pass) -> Descriptor {
        Descriptor {
            tokens: pass.tokens,
            top_k: pass.top_k,
            segments: self.layout == Layout::Segments,
            groups: self.groups(),
            block_beats: self.block_beats(),
            header_beats: self.layout.header_beats(self.groups()),
            rows: self.rows as u32,
            tag: pass.tag,
            ports: self.ports,
            activations: pass.activations,
            activations_stride: self.activation_bytes(),
            results: pass.results,
            results_stride: self.result_bytes(),
            bias: self.bias,
        }
    }
}

/// Bytes of the activations of one token with so many groups, up to the next one's.
pub(crate) fn activation_bytes(groups: u32) -> u64 {
    (u64::from(groups) * (GROUP_INPUTS as u64 + SIDE_BYTES)).next_multiple_of(ADDRESS_UNIT)
}

/// What changes from call to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Tokens.
    pub tokens: u32,
    /// Results go to the top-k list.
    pub top_k: bool,
    /// Tag of the descriptor.
    pub tag: u32,
    /// Address of the activations of the first token.
    pub activations: u64,
    /// Address of the results of the first token.
    pub results: u64,
}

/// The operations of a model.
#[derive(Debug, Clone)]
pub struct Program {
    operations: Vec<Operation>,
    layers: usize,
    head_on_processor: Option<String>,
}

impl Program {
    /// The program of a model whose image lies at address `base`.
    ///
    /// # Errors
    /// The first tensor that the accelerator cannot use, and why.
    pub fn new(file: &PackedFile, image: &ModelImage, limits: &Limits, base: u64) -> Result<Self> {
        let builder = Builder { file, image, limits, base };
        let config = file.config();
        let mut operations = Vec::with_capacity(4 * config.layers + 1);
        for linear in order(config.layers) {
            operations.push(builder.operation(linear)?);
        }
        let head_on_processor = match builder.operation(Linear::Head) {
            Ok(head) => {
                operations.push(head);
                None
            }
            Err(Error::Unsupported { tensor, problem }) => Some(format!("{tensor} {problem}")),
            Err(other) => return Err(other),
        };
        Ok(Self { operations, layers: config.layers, head_on_processor })
    }

    /// All operations, in the order in which a token needs them.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The number of an operation in that order; nothing for a head that stays with the processor.
    pub fn index(&self, linear: Linear) -> Option<usize> {
        let index = match linear {
            Linear::Qkv(layer) => 4 * layer,
            Linear::O(layer) => 4 * layer + 1,
            Linear::GateUp(layer) => 4 * layer + 2,
            Linear::Down(layer) => 4 * layer + 3,
            Linear::Head => 4 * self.layers,
        };
        (index < self.operations.len()).then_some(index)
    }

    /// Why the head is computed by the processor, if it is.
    pub fn head_on_processor(&self) -> Option<&str> {
        self.head_on_processor.as_deref()
    }

    /// The operation that streams what lies at `address` through weight port `port`.
    pub fn at_address(&self, port: usize, address: u64) -> Option<&Operation> {
        let streams = |operation: &&Operation| operation.addresses(port).contains(&address);
        self.operations.iter().filter(|_| port < PORTS).find(streams)
    }
}

/// The matrices of the layers in order.
fn order(layers: usize) -> impl Iterator<Item = Linear> {
    (0..layers)
        .flat_map(|layer| [Linear::Qkv(layer), Linear::O(layer), Linear::GateUp(layer), Linear::Down(layer)])
}

/// The tensors of an operation: the matrix, and the bias if it has one.
fn tensors(linear: Linear, config: &Config) -> (String, Option<String>) {
    match linear {
        Linear::Qkv(layer) => (format!("layers.{layer}.qkv"), Some(format!("layers.{layer}.qkv_bias"))),
        Linear::O(layer) => (format!("layers.{layer}.o"), None),
        Linear::GateUp(layer) => (format!("layers.{layer}.gate_up"), None),
        Linear::Down(layer) => (format!("layers.{layer}.down"), None),
        Linear::Head if config.tie_word_embeddings => ("embed".to_owned(), None),
        Linear::Head => ("head".to_owned(), None),
    }
}

struct Builder<'a> {
    file: &'a PackedFile,
    image: &'a ModelImage,
    limits: &'a Limits,
    base: u64,
}

impl Builder<'_> {
    fn operation(&self, linear: Linear) -> Result<Operation> {
        let (tensor, bias) = tensors(linear, self.file.config());
        let entry = self.file.entry(&tensor).map_err(|error| Error::Device(error.to_string()))?;
        let refused = |problem: String| Error::Unsupported { tensor: tensor.clone(), problem };
        if let Some(problem) = kind_problem(entry, self.limits.layout) {
            return Err(refused(problem));
        }
        if let (&[rows, _], Layout::AwqMacro) = (entry.shape.as_slice(), self.limits.layout)
            && !rows.is_multiple_of(MACRO_ROWS)
        {
            return Err(refused(format!("has {rows} rows, AWQ_MACRO needs a multiple of {MACRO_ROWS}")));
        }
        let (&[rows, inputs], Some(blocks)) = (entry.shape.as_slice(), self.image.matrix(&tensor)) else {
            return Err(refused("is not in the accelerator's image of the model".to_owned()));
        };
        let bias = bias.and_then(|name| self.image.vector(&name)).map(|offset| self.base + offset);
        let operation = Operation {
            linear,
            rows,
            inputs,
            layout: if entry.kind == TensorKind::SEGMENTS { Layout::Segments } else { self.limits.layout },
            ports: blocks.map(|blocks| PortBlocks {
                address: self.base + blocks.offset,
                blocks: blocks.count.try_into().unwrap_or(u32::MAX),
            }),
            bias,
            tensor: tensor.clone(),
        };
        self.check(&operation).map_or(Ok(operation), |problem| Err(refused(problem)))
    }

    /// What of the operation the accelerator cannot do.
    fn check(&self, operation: &Operation) -> Option<String> {
        let Limits { max_groups, bias_rows, .. } = *self.limits;
        if max_groups < operation.groups() {
            return Some(format!(
                "has {} inputs, more than the {} of the accelerator's buffers",
                operation.inputs,
                GROUP_INPUTS as u32 * max_groups
            ));
        }
        let most = operation.ports.iter().map(|port| port.blocks).max().unwrap_or(0);
        let port_rows = u64::from(most) * operation.layout.block_rows() as u64;
        if operation.bias.is_some() && u64::from(bias_rows / PORTS as u32) < port_rows {
            return Some(format!(
                "has {} rows with a bias, more than the {bias_rows} of the accelerator's bias buffers",
                operation.rows
            ));
        }
        // Everything else fits its field of the descriptor, or the matrix is larger than any there is.
        let pass = Pass { tokens: 1, top_k: false, tag: 0, activations: 0, results: 0 };
        operation.descriptor(&pass).encode().err().map(|error| format!("is too large: {error}"))
    }
}

/// Why a tensor is no matrix for an accelerator of this layout.
fn kind_problem(entry: &TensorEntry, layout: Layout) -> Option<String> {
    match (entry.kind, layout) {
        (TensorKind::RowBlocks { bits: WeightBits::Four, group: GroupSize::G64 }, _) => None,
        (TensorKind::RowBlocks { bits: WeightBits::Four, group }, _) => Some(format!(
            "has groups of {}, the accelerator needs {GROUP_INPUTS} (edgewen quantize --group {GROUP_INPUTS})",
            group.get()
        )),
        (TensorKind::SEGMENTS, Layout::AwqMacro) => {
            Some("has 8 bits a weight, AWQ_MACRO knows only 4".to_owned())
        }
        (TensorKind::SEGMENTS, _) => None,
        (TensorKind::RowBlocks { .. }, _) => Some(
            "has 8 bits a weight with the planes apart, the accelerator multiplies 4 bits, and 8 as segments"
                .to_owned(),
        ),
        (kind, _) => Some(format!("is stored as {}, the accelerator multiplies 4 or 8 bits", kind.name())),
    }
}
