//! Descriptors: 16 words that describe one operation to the accelerator.
//!
//! An operation is one matrix times up to eight tokens. The stream engines read where its weights lie, the sequencer
//! the rest; [`FIELDS`] says where everything is, for this code, for the SystemVerilog package and for the
//! documentation. Addresses are in units of 64 bytes, so that a word holds one.

use crate::{Error, Result};

/// Words of a descriptor.
pub const WORDS: usize = 16;

/// Bytes of a descriptor.
pub const BYTES: u32 = 64;

/// Weight ports.
pub const PORTS: usize = 4;

/// Unit of the addresses.
pub const ADDRESS_UNIT: u64 = 64;

/// Value of the field KIND: matrix times tokens. 0 would be a descriptor that was never written.
pub const KIND_MATRIX: u32 = 1;

/// A range of bits of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Name in the tables.
    pub name: &'static str,
    /// Word.
    pub word: usize,
    /// Lowest bit.
    pub low: u32,
    /// Number of bits.
    pub width: u32,
    /// What it means.
    pub meaning: &'static str,
}

impl Field {
    const fn mask(&self) -> u32 {
        u32::MAX >> (32 - self.width)
    }

    fn get(&self, words: &[u32; WORDS]) -> u32 {
        words[self.word] >> self.low & self.mask()
    }

    fn put(&self, words: &mut [u32; WORDS], value: u64) -> Result<()> {
        match u32::try_from(value) {
            Ok(value) if value <= self.mask() => {
                words[self.word] |= value << self.low;
                Ok(())
            }
            _ => Err(Error::Descriptor {
                detail: format!("{} is {value}, which does not fit {} bits", self.name, self.width),
            }),
        }
    }
}

const fn field(name: &'static str, word: usize, low: u32, width: u32, meaning: &'static str) -> Field {
    Field { name, word, low, width, meaning }
}

const HAS_BIAS: Field = field("HAS_BIAS", 0, 0, 1, "a bias is added last");
const TOP_K: Field =
    field("TOP_K", 0, 1, 1, "results go to the top-k list and none are written; one token only");
const SEGMENTS: Field =
    field("SEGMENTS", 0, 2, 1, "codes of 8 bits in two planes, a header for every group: keys and values");
const TOKENS_M1: Field = field("TOKENS_M1", 0, 4, 4, "tokens minus 1");
const KIND: Field = field("KIND", 0, 28, 4, "1: matrix times tokens");
const GROUPS: Field = field("GROUPS", 1, 0, 16, "groups of 64 inputs");
const BLOCK_BEATS: Field =
    field("BLOCK_BEATS", 1, 16, 16, "beats of 16 bytes of a block: header and weights");
const ROWS: Field =
    field("ROWS", 2, 0, 32, "rows of the matrix, without those that only fill the last block");
const TAG: Field = field("TAG", 3, 0, 32, "free for software; reported with an error");
const ADDRESS: [Field; PORTS] = [
    field("ADDRESS_0", 4, 0, 32, "first block of port 0, in units of 64 bytes"),
    field("ADDRESS_1", 5, 0, 32, "first block of port 1"),
    field("ADDRESS_2", 6, 0, 32, "first block of port 2"),
    field("ADDRESS_3", 7, 0, 32, "first block of port 3"),
];
const BLOCKS: [Field; PORTS] = [
    field("BLOCKS_0", 8, 0, 16, "blocks of port 0; 0 where it has none"),
    field("BLOCKS_1", 8, 16, 16, "blocks of port 1"),
    field("BLOCKS_2", 9, 0, 16, "blocks of port 2"),
    field("BLOCKS_3", 9, 16, 16, "blocks of port 3"),
];
const ACTIVATIONS: Field =
    field("ACTIVATIONS", 10, 0, 32, "activations of the first token, in units of 64 bytes");
const RESULTS: Field = field("RESULTS", 11, 0, 32, "results of the first token, in units of 64 bytes");
const BIAS: Field = field("BIAS", 12, 0, 32, "bias f32 [ROWS], in units of 64 bytes");
const RESULTS_STRIDE: Field =
    field("RESULTS_STRIDE", 13, 0, 32, "from the results of one token to the next, in units of 64 bytes");
const ACTIVATIONS_STRIDE: Field = field(
    "ACTIVATIONS_STRIDE",
    14,
    0,
    32,
    "from the activations of one token to the next, in units of 64 bytes",
);
const HEADER_BEATS: Field = field(
    "HEADER_BEATS",
    15,
    0,
    16,
    "beats of scales and zero points at the start of a block; 0 for AWQ_MACRO and segments, which have them in every group",
);

/// All fields by word and bit. Bits that belong to none are written as 0 and ignored.
pub const FIELDS: &[Field] = &[
    HAS_BIAS,
    TOP_K,
    SEGMENTS,
    TOKENS_M1,
    KIND,
    GROUPS,
    BLOCK_BEATS,
    ROWS,
    TAG,
    ADDRESS[0],
    ADDRESS[1],
    ADDRESS[2],
    ADDRESS[3],
    BLOCKS[0],
    BLOCKS[1],
    BLOCKS[2],
    BLOCKS[3],
    ACTIVATIONS,
    RESULTS,
    BIAS,
    RESULTS_STRIDE,
    ACTIVATIONS_STRIDE,
    HEADER_BEATS,
];

/// Word of the tag.
pub const TAG_WORD: usize = TAG.word;

/// Words that the stream engines read. They must not change once STREAM_TAIL lets them; the others may be written
/// until the doorbell.
pub const STREAM_WORDS: [usize; 7] = [1, 4, 5, 6, 7, 8, 9];

/// The blocks of a matrix that one port streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortBlocks {
    /// Byte address of the first block, a multiple of 64.
    pub address: u64,
    /// Blocks, one after the other.
    pub blocks: u32,
}

/// One operation. Addresses and strides are in bytes and multiples of 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// Tokens, 1 to 8 (or what the design was built with).
    pub tokens: u32,
    /// Results go to the top-k list instead of memory.
    pub top_k: bool,
    /// Blocks are made of segments.
    pub segments: bool,
    /// Groups of 64 inputs.
    pub groups: u32,
    /// Beats of a block, header included.
    pub block_beats: u32,
    /// Beats of a block's header; 0 for AWQ_MACRO and segments.
    pub header_beats: u32,
    /// Rows N.
    pub rows: u32,
    /// Comes back in ERROR_TAG.
    pub tag: u32,
    /// What each port streams.
    pub ports: [PortBlocks; PORTS],
    /// Where the activations of the first token lie.
    pub activations: u64,
    /// From one token's activations to the next.
    pub activations_stride: u64,
    /// Where the results of the first token go.
    pub results: u64,
    /// From one token's results to the next.
    pub results_stride: u64,
    /// Where the bias lies, if there is one.
    pub bias: Option<u64>,
}

impl Descriptor {
    /// The words for the descriptor RAM.
    ///
    /// # Errors
    /// A number that does not fit its field, or an address that is no multiple of 64.
    pub fn encode(&self) -> Result<[u32; WORDS]> {
        let mut words = [0; WORDS];
        KIND.put(&mut words, u64::from(KIND_MATRIX))?;
        HAS_BIAS.put(&mut words, u64::from(self.bias.is_some()))?;
        TOP_K.put(&mut words, u64::from(self.top_k))?;
        SEGMENTS.put(&mut words, u64::from(self.segments))?;
        // No tokens wrap to a number that does not fit.
        TOKENS_M1.put(&mut words, u64::from(self.tokens).wrapping_sub(1))?;
        GROUPS.put(&mut words, self.groups.into())?;
        BLOCK_BEATS.put(&mut words, self.block_beats.into())?;
        HEADER_BEATS.put(&mut words, self.header_beats.into())?;
        ROWS.put(&mut words, self.rows.into())?;
        TAG.put(&mut words, self.tag.into())?;
        for (port, (address, blocks)) in self.ports.iter().zip(ADDRESS.iter().zip(&BLOCKS)) {
            put_address(address, &mut words, port.address)?;
            blocks.put(&mut words, port.blocks.into())?;
        }
        put_address(&ACTIVATIONS, &mut words, self.activations)?;
        put_address(&ACTIVATIONS_STRIDE, &mut words, self.activations_stride)?;
        put_address(&RESULTS, &mut words, self.results)?;
        put_address(&RESULTS_STRIDE, &mut words, self.results_stride)?;
        put_address(&BIAS, &mut words, self.bias.unwrap_or(0))?;
        Ok(words)
    }

    /// The operation that `words` describe. Whether an accelerator can run it is not looked at.
    ///
    /// # Errors
    /// A kind of operation that there is not.
    pub fn decode(words: &[u32; WORDS]) -> Result<Self> {
        let kind = KIND.get(words);
        if kind != KIND_MATRIX {
            return Err(Error::Descriptor { detail: format!("KIND is {kind}, expected {KIND_MATRIX}") });
        }
        let address = |field: &Field| u64::from(field.get(words)) * ADDRESS_UNIT;
        Ok(Self {
            tokens: TOKENS_M1.get(words) + 1,
            top_k: TOP_K.get(words) == 1,
            segments: SEGMENTS.get(words) == 1,
            groups: GROUPS.get(words),
            block_beats: BLOCK_BEATS.get(words),
            header_beats: HEADER_BEATS.get(words),
            rows: ROWS.get(words),
            tag: TAG.get(words),
            ports: std::array::from_fn(|port| PortBlocks {
                address: address(&ADDRESS[port]),
                blocks: BLOCKS[port].get(words),
            }),
            activations: address(&ACTIVATIONS),
            activations_stride: address(&ACTIVATIONS_STRIDE),
            results: address(&RESULTS),
            results_stride: address(&RESULTS_STRIDE),
            bias: (HAS_BIAS.get(words) == 1).then(|| address(&BIAS)),
        })
    }
}

fn put_address(field: &Field, words: &mut [u32; WORDS], address: u64) -> Result<()> {
    if !address.is_multiple_of(ADDRESS_UNIT) {
        let detail = format!("{} is {address:#x}, expected a multiple of {ADDRESS_UNIT}", field.name);
        return Err(Error::Descriptor { detail });
    }
    field.put(words, address / ADDRESS_UNIT)
}
