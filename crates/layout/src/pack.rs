//! Packing and unpacking of [`QuantizedMatrix`], and single rows as floats straight from packed bytes.
//!
//! Plain loops over channels and inputs: this is the definition that the kernels and the accelerator are tested
//! against, and it runs once a matrix, so it is written to be read.

use half::f16;

use crate::row_block::{BLOCK_ROWS, LINE_BYTES, LINE_INPUTS, QuantizedMatrix, RowBlockShape, WeightBits};

/// Where one weight lies among the weights of a block: the byte, and the shift of its nibble.
fn nibble(channel: usize, input: usize) -> (usize, u32) {
    let (line, within) = (input / LINE_INPUTS, input % LINE_INPUTS);
    (line * LINE_BYTES + 4 * channel + within % 4, if within < 4 { 0 } else { 4 })
}

/// Where the scale of a channel and group lies in a block.
fn scale_offset(channel: usize, group: usize) -> usize {
    (group * BLOCK_ROWS + channel) * 2
}

/// Where the zero point of a channel and group lies in a block: the byte, and the shift of its nibble.
fn zero_nibble(shape: &RowBlockShape, channel: usize, group: usize) -> (usize, u32) {
    let byte = shape.zeros_offset() + group * (BLOCK_ROWS / 2) + channel / 2;
    (byte, if channel.is_multiple_of(2) { 0 } else { 4 })
}

impl QuantizedMatrix {
    /// A matrix whose scales, zero points and codes are all zero.
    pub fn zeroed(shape: RowBlockShape) -> Self {
        let groups = shape.rows * shape.groups();
        let codes = vec![0; shape.rows * shape.inputs];
        Self { shape, codes, scales: vec![f16::ZERO; groups], zeros: vec![0; groups] }
    }

    /// The bytes of the matrix in row-block order: [`RowBlockShape::total_bytes`] of them.
    ///
    /// # Panics
    /// If a vector is not as long as the shape says, or a code or zero point does not fit its bits.
    pub fn pack(&self) -> Vec<u8> {
        let mut data = vec![0; self.shape.total_bytes()];
        self.pack_into(&mut data);
        data
    }

    /// [`Self::pack`] into memory that exists already; every byte of it is written.
    ///
    /// # Panics
    /// As [`Self::pack`], and if `data` is not exactly [`RowBlockShape::total_bytes`] long.
    pub fn pack_into(&self, data: &mut [u8]) {
        let shape = &self.shape;
        assert_eq!(data.len(), shape.total_bytes(), "bytes of the packed matrix");
        assert_eq!(self.codes.len(), shape.rows * shape.inputs, "codes");
        assert_eq!(self.scales.len(), shape.rows * shape.groups(), "scales");
        assert_eq!(self.zeros.len(), shape.rows * shape.groups(), "zero points");
        assert!(self.zeros.iter().all(|&z| z < 16), "a zero point has more than 4 bits");
        if shape.bits == WeightBits::Four {
            assert!(self.codes.iter().all(|&q| q < 16), "a code has more than 4 bits");
        }
        data.fill(0);
        let (high, low) = data.split_at_mut(shape.low_plane_offset());
        for row in 0..shape.rows {
            let (block, channel) = (row / BLOCK_ROWS, row % BLOCK_ROWS);
            let high = &mut high[block * shape.block_bytes()..][..shape.block_bytes()];
            for group in 0..shape.groups() {
                let at = row * shape.groups() + group;
                high[scale_offset(channel, group)..][..2].copy_from_slice(&self.scales[at].to_le_bytes());
                let (byte, shift) = zero_nibble(shape, channel, group);
                high[byte] |= self.zeros[at] << shift;
            }
            let codes = &self.codes[row * shape.inputs..][..shape.inputs];
            let weights = &mut high[shape.header_bytes()..];
            match shape.bits {
                WeightBits::Four => put_nibbles(weights, channel, codes.iter().copied()),
                WeightBits::Eight => {
                    put_nibbles(weights, channel, codes.iter().map(|q| q >> 4));
                    let low = &mut low[block * shape.low_block_bytes()..][..shape.low_block_bytes()];
                    put_nibbles(low, channel, codes.iter().map(|q| q & 15));
                }
            }
            let last_zero = self.zeros[row * shape.groups()..][..shape.groups()].last().copied().unwrap_or(0);
            for input in shape.inputs..shape.padded_inputs() {
                let (byte, shift) = nibble(channel, input);
                weights[byte] |= last_zero << shift;
            }
        }
    }

    /// The matrix that lies in `data`: the inverse of [`Self::pack`].
    ///
    /// # Panics
    /// If `data` is not exactly [`RowBlockShape::total_bytes`] long.
    pub fn unpack(shape: RowBlockShape, data: &[u8]) -> Self {
        assert_eq!(data.len(), shape.total_bytes(), "bytes of the packed matrix");
        let mut matrix = Self {
            shape,
            codes: vec![0; shape.rows * shape.inputs],
            scales: Vec::with_capacity(shape.rows * shape.groups()),
            zeros: Vec::with_capacity(shape.rows * shape.groups()),
        };
        for row in 0..shape.rows {
            let packed = PackedRow::new(&shape, data, row);
            for group in 0..shape.groups() {
                matrix.scales.push(packed.scale(group));
                matrix.zeros.push(packed.zero(group));
            }
            for (input, code) in matrix.codes[row * shape.inputs..][..shape.inputs].iter_mut().enumerate() {
                *code = packed.code(input);
            }
        }
        matrix
    }

    /// Row `row` as floats `[inputs]`; see the free function [`dequantize_row`].
    ///
    /// # Panics
    /// If the row does not exist or `out` is not `[inputs]` long.
    pub fn dequantize_row(&self, row: usize, out: &mut [f32]) {
        let shape = &self.shape;
        assert!(row < shape.rows && out.len() == shape.inputs, "row {row} of {}", shape.rows);
        let codes = &self.codes[row * shape.inputs..][..shape.inputs];
        for (group, (out, codes)) in
            out.chunks_mut(shape.group.get()).zip(codes.chunks(shape.group.get())).enumerate()
        {
            let at = row * shape.groups() + group;
            let value = Dequantize::new(shape.bits, self.scales[at], self.zeros[at]);
            for (out, &code) in out.iter_mut().zip(codes) {
                *out = value.of(code);
            }
        }
    }
}

/// Row `row` of a packed matrix as floats `[inputs]`: `f32(q - z) * f32(s)`, with eight bits
/// `f32(16 (hi - z) + lo) * (f32(s) / 16)`. The integer is exact, so a weight is rounded once.
///
/// # Panics
/// If the row does not exist, `out` is not `[inputs]` long, or `data` is not as long as the shape says.
pub fn dequantize_row(shape: &RowBlockShape, data: &[u8], row: usize, out: &mut [f32]) {
    assert_eq!(data.len(), shape.total_bytes(), "bytes of the packed matrix");
    assert!(row < shape.rows && out.len() == shape.inputs, "row {row} of {}", shape.rows);
    let packed = PackedRow::new(shape, data, row);
    for (group, out) in out.chunks_mut(shape.group.get()).enumerate() {
        let value = Dequantize::new(shape.bits, packed.scale(group), packed.zero(group));
        for (i, out) in out.iter_mut().enumerate() {
            *out = value.of(packed.code(group * shape.group.get() + i));
        }
    }
}

/// The value of a code of one group.
struct Dequantize {
    step: f32,
    zero: i32,
}

impl Dequantize {
    fn new(bits: WeightBits, scale: f16, zero: u8) -> Self {
        let (scale, zero) = (scale.to_f32(), i32::from(zero));
        match bits {
            WeightBits::Four => Self { step: scale, zero },
            // Exact: even the smallest f16 divided by 16 is a normal f32.
            WeightBits::Eight => Self { step: scale * (1.0 / 16.0), zero: 16 * zero },
        }
    }

    fn of(&self, code: u8) -> f32 {
        (i32::from(code) - self.zero) as f32 * self.step
    }
}

fn put_nibbles(weights: &mut [u8], channel: usize, codes: impl Iterator<Item = u8>) {
    for (input, code) in codes.enumerate() {
        let (byte, shift) = nibble(channel, input);
        weights[byte] |= code << shift;
    }
}

/// One row inside packed bytes.
struct PackedRow<'a> {
    shape: &'a RowBlockShape,
    /// The row's block with its header.
    block: &'a [u8],
    /// The row's block of the low plane; empty with four bits.
    low: &'a [u8],
    channel: usize,
}

impl<'a> PackedRow<'a> {
    fn new(shape: &'a RowBlockShape, data: &'a [u8], row: usize) -> Self {
        let (block, channel) = (row / BLOCK_ROWS, row % BLOCK_ROWS);
        let low = match shape.bits {
            WeightBits::Four => &[],
            WeightBits::Eight => {
                &data[shape.low_plane_offset() + block * shape.low_block_bytes()..][..shape.low_block_bytes()]
            }
        };
        Self { shape, block: &data[block * shape.block_bytes()..][..shape.block_bytes()], low, channel }
    }

    fn scale(&self, group: usize) -> f16 {
        let at = scale_offset(self.channel, group);
        f16::from_le_bytes([self.block[at], self.block[at + 1]])
    }

    fn zero(&self, group: usize) -> u8 {
        let (byte, shift) = zero_nibble(self.shape, self.channel, group);
        self.block[byte] >> shift & 15
    }

    fn code(&self, input: usize) -> u8 {
        let (byte, shift) = nibble(self.channel, input);
        let high = self.block[self.shape.header_bytes() + byte] >> shift & 15;
        match self.shape.bits {
            WeightBits::Four => high,
            WeightBits::Eight => high << 4 | self.low[byte] >> shift & 15,
        }
    }
}
