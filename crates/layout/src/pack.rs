//! Packing and unpacking of [`QuantizedMatrix`], and single rows as floats straight from packed bytes.
//!
//! Plain loops over channels and inputs: this is the definition that the kernels and the accelerator are tested
//! against, and it runs once a matrix, so it is written to be read.

use half::f16;

use crate::row_block::{
    BLOCK_ROWS, BlockPlaces, LINE_BYTES, LINE_INPUTS, QuantizedMatrix, RowBlockShape, WeightBits,
};

/// Where one weight lies among the lines of its group and plane: the byte, and the shift of its nibble.
fn nibble(channel: usize, input: usize) -> (usize, u32) {
    let (line, within) = (input / LINE_INPUTS, input % LINE_INPUTS);
    (line * LINE_BYTES + 4 * channel + within % 4, if within < 4 { 0 } else { 4 })
}

/// Where the scale of a channel lies among those of its group.
fn scale_offset(channel: usize) -> usize {
    channel * 2
}

/// Where the zero point of a channel lies among those of its group: the byte, and the shift of its nibble.
fn zero_nibble(channel: usize) -> (usize, u32) {
    (channel / 2, if channel.is_multiple_of(2) { 0 } else { 4 })
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
        let size = shape.group.get();
        for row in 0..shape.rows {
            let (places, channel) = (shape.places(row / BLOCK_ROWS), row % BLOCK_ROWS);
            let codes = &self.codes[row * shape.inputs..][..shape.inputs];
            for (group, codes) in codes.chunks(size).enumerate() {
                let at = row * shape.groups() + group;
                let (scale, zero) = (self.scales[at], self.zeros[at]);
                data[places.scales.of(group) + scale_offset(channel)..][..2]
                    .copy_from_slice(&scale.to_le_bytes());
                let (byte, shift) = zero_nibble(channel);
                data[places.zeros.of(group) + byte] |= zero << shift;
                let mut put = |first: usize, input: usize, code: u8| {
                    let (byte, shift) = nibble(channel, input);
                    data[first + byte] |= code << shift;
                };
                for (input, &code) in codes.iter().enumerate() {
                    match shape.bits {
                        WeightBits::Four => put(places.lines.of(group), input, code),
                        WeightBits::Eight | WeightBits::EightSegments => {
                            put(places.lines.of(group), input, code >> 4);
                            put(places.low_lines.of(group), input, code & 15);
                        }
                    }
                }
                for input in codes.len()..size {
                    put(places.lines.of(group), input, zero);
                }
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
            WeightBits::Eight | WeightBits::EightSegments => {
                Self { step: scale * (1.0 / 16.0), zero: 16 * zero }
            }
        }
    }

    fn of(&self, code: u8) -> f32 {
        (i32::from(code) - self.zero) as f32 * self.step
    }
}

/// One row inside packed bytes.
struct PackedRow<'a> {
    shape: &'a RowBlockShape,
    data: &'a [u8],
    places: BlockPlaces,
    channel: usize,
}

impl<'a> PackedRow<'a> {
    fn new(shape: &'a RowBlockShape, data: &'a [u8], row: usize) -> Self {
        Self { shape, data, places: shape.places(row / BLOCK_ROWS), channel: row % BLOCK_ROWS }
    }

    fn scale(&self, group: usize) -> f16 {
        let at = self.places.scales.of(group) + scale_offset(self.channel);
        f16::from_le_bytes([self.data[at], self.data[at + 1]])
    }

    fn zero(&self, group: usize) -> u8 {
        let (byte, shift) = zero_nibble(self.channel);
        self.data[self.places.zeros.of(group) + byte] >> shift & 15
    }

    fn code(&self, input: usize) -> u8 {
        let (group, input) = (input / self.shape.group.get(), input % self.shape.group.get());
        let (byte, shift) = nibble(self.channel, input);
        let high = self.data[self.places.lines.of(group) + byte] >> shift & 15;
        match self.shape.bits {
            WeightBits::Four => high,
            WeightBits::Eight | WeightBits::EightSegments => {
                high << 4 | self.data[self.places.low_lines.of(group) + byte] >> shift & 15
            }
        }
    }
}
