//! `op_config_t` of `accel_pkg` as the words of a port.

/// An operation as the hardware's modules see it.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpConfig {
    /// Tokens, 1 to 8.
    pub tokens: u64,
    /// A bias is added.
    pub has_bias: bool,
    /// Results go to the list.
    pub top_k: bool,
    /// Groups of 64 inputs.
    pub groups: u64,
    /// Beats of a block's header.
    pub header_beats: u64,
    /// Beats of a block.
    pub block_beats: u64,
    /// Rows of the matrix.
    pub rows: u64,
    /// Blocks of each port.
    pub blocks: [u64; 4],
}

impl OpConfig {
    /// The structure, first field uppermost.
    pub fn words(&self) -> [u32; 5] {
        let fields = [
            (self.blocks[0], 16),
            (self.blocks[1], 16),
            (self.blocks[2], 16),
            (self.blocks[3], 16),
            (self.rows, 32),
            (self.block_beats, 16),
            (self.header_beats, 16),
            (self.groups, 16),
            (u64::from(self.top_k), 1),
            (u64::from(self.has_bias), 1),
            (self.tokens - 1, 3),
        ];
        let mut words = [0; 5];
        let mut lsb = 0;
        for (value, width) in fields {
            for bit in 0..width {
                words[lsb / 32] |= ((value >> bit & 1) as u32) << (lsb % 32);
                lsb += 1;
            }
        }
        words
    }

    /// The structure from a port.
    pub fn from_words(words: &[u32; 5]) -> Self {
        let mut lsb = 0;
        let mut field = |width: usize| {
            let bits = lsb..lsb + width;
            lsb += width;
            bits.rev().fold(0_u64, |value, bit| value << 1 | u64::from(words[bit / 32] >> (bit % 32) & 1))
        };
        let blocks = std::array::from_fn(|_| field(16));
        let (rows, block_beats, header_beats, groups) = (field(32), field(16), field(16), field(16));
        let (top_k, has_bias, tokens) = (field(1) == 1, field(1) == 1, field(3) + 1);
        Self { tokens, has_bias, top_k, groups, header_beats, block_beats, rows, blocks }
    }
}
