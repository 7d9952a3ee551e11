//! AWQ_MACRO: the layout of the paper arXiv 2504.17376, 288 bytes for 8 output channels by 64 inputs.
//!
//! ```text
//! macro   = 18 beats of 16 bytes = 72 little-endian words of 32 bits
//! word 0  = 8 zero points, 4 bits each       words 1-3 = zero
//! word 4+j = the f16 scales of channel 2j (low half) and 2j+1 (high half), j = 0..3
//! word 8+i = the codes of input i, one nibble for each of the 8 channels
//! nibble of channel 0..7 = 0, 4, 1, 5, 2, 6, 3, 7 (nibble 0 is bits 3:0), in zero points and codes alike
//! matrix  = for every 8 channels, its macros one after another along the inputs
//! ```
//!
//! It exists for exchange with that design and to run its streams; [`crate::row_block`] is what edgewen itself uses,
//! with the same meaning of a code: `w = (q - z) * s`. Only 4 bits and groups of 64 can be written this way.

use half::f16;

use crate::row_block::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits};

/// Output channels of a macro.
pub const MACRO_ROWS: usize = 8;

/// Inputs of a macro: one group.
pub const MACRO_INPUTS: usize = 64;

/// Bytes of a macro.
pub const MACRO_BYTES: usize = 288;

/// Which nibble of a word belongs to channel 0 to 7.
pub const NIBBLE_OF_CHANNEL: [u32; MACRO_ROWS] = [0, 4, 1, 5, 2, 6, 3, 7];

/// Bytes of the zero points with their padding: the first beat.
const ZEROS_BYTES: usize = 16;

/// Offset of the codes: after the beat of zero points and the beat of scales.
const CODES_OFFSET: usize = ZEROS_BYTES + 2 * MACRO_ROWS;

const _: () = assert!(CODES_OFFSET + MACRO_INPUTS * MACRO_ROWS / 2 == MACRO_BYTES);

/// Why a matrix cannot be written as macros, or macros not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacroError {
    /// Groups of another size.
    Group {
        /// Inputs in a group of the matrix.
        found: usize,
    },
    /// Eight bits a weight.
    Bits,
    /// Columns in another order than that of the inputs, which the packed file can state.
    Order,
    /// Channels that do not fill macros.
    Rows {
        /// Channels of the matrix.
        found: usize,
    },
    /// Another number of bytes than the shape has.
    Length {
        /// Bytes of the shape's macros.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// Something in the 12 bytes that are always zero.
    Padding {
        /// Which macro.
        index: usize,
    },
    /// A code of an input after the last one that is not its zero point, so its weight would not be 0.
    PaddingInput {
        /// Which channel.
        row: usize,
    },
}

impl std::fmt::Display for MacroError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Group { found } => write!(
                f,
                "its groups have {found} inputs, AWQ_MACRO has {MACRO_INPUTS}; quantize with --group 64"
            ),
            Self::Bits => write!(f, "it has 8 bits a weight, AWQ_MACRO has 4"),
            Self::Order => write!(f, "its columns have an order of their own, which AWQ_MACRO cannot state"),
            Self::Rows { found } => {
                write!(f, "it has {found} output channels, AWQ_MACRO needs a multiple of {MACRO_ROWS}")
            }
            Self::Length { expected, found } => {
                write!(f, "it has {found} bytes of macros, its shape needs {expected}")
            }
            Self::Padding { index } => {
                write!(
                    f,
                    "the 12 bytes after the zero points of macro {index} are not zero: no AWQ_MACRO data"
                )
            }
            Self::PaddingInput { row } => {
                write!(f, "channel {row} has weights after its last input: it belongs to another shape")
            }
        }
    }
}

impl std::error::Error for MacroError {}

/// Bytes of the macros of a matrix [rows, inputs]; `rows` is a multiple of 8, the last group may be padded. `None` if
/// it does not fit in a `usize`.
pub fn total_bytes(rows: usize, inputs: usize) -> Option<usize> {
    (rows / MACRO_ROWS).checked_mul(inputs.div_ceil(MACRO_INPUTS))?.checked_mul(MACRO_BYTES)
}

/// The macros of a matrix: [`total_bytes`] of them.
///
/// # Panics
/// If a vector is not as long as the shape says, or a code or zero point has more than 4 bits.
pub fn pack(matrix: &QuantizedMatrix) -> Result<Vec<u8>, MacroError> {
    pack_rows(matrix, 0..matrix.shape.rows)
}

/// The macros of some of the channels of a matrix: how fused matrices are taken apart.
///
/// # Panics
/// As [`pack`], and if the channels do not exist.
pub fn pack_rows(matrix: &QuantizedMatrix, rows: std::ops::Range<usize>) -> Result<Vec<u8>, MacroError> {
    let shape = &matrix.shape;
    check(shape)?;
    if !rows.start.is_multiple_of(MACRO_ROWS) || !rows.len().is_multiple_of(MACRO_ROWS) {
        return Err(MacroError::Rows { found: rows.len() });
    }
    let (groups, inputs) = (shape.groups(), shape.inputs);
    assert_eq!(matrix.codes.len(), shape.rows * inputs, "codes");
    assert_eq!(matrix.scales.len(), shape.rows * groups, "scales");
    assert_eq!(matrix.zeros.len(), shape.rows * groups, "zero points");
    let mut data = vec![0; rows.len() / MACRO_ROWS * groups * MACRO_BYTES];
    for (index, out) in data.chunks_exact_mut(MACRO_BYTES).enumerate() {
        let (first_row, group) = (rows.start + index / groups * MACRO_ROWS, index % groups);
        let (mut zeros, mut codes) = (0, [0; MACRO_INPUTS]);
        for (channel, nibble) in NIBBLE_OF_CHANNEL.into_iter().enumerate() {
            let row = first_row + channel;
            let (zero, scale) = (matrix.zeros[row * groups + group], matrix.scales[row * groups + group]);
            assert!(zero < 16, "a zero point has more than 4 bits");
            zeros |= u32::from(zero) << (4 * nibble);
            out[ZEROS_BYTES + 2 * channel..][..2].copy_from_slice(&scale.to_le_bytes());
            for (i, word) in codes.iter_mut().enumerate() {
                let input = group * MACRO_INPUTS + i;
                // Inputs after the last one weigh nothing.
                let code = if input < inputs { matrix.codes[row * inputs + input] } else { zero };
                assert!(code < 16, "a code has more than 4 bits");
                *word |= u32::from(code) << (4 * nibble);
            }
        }
        out[..4].copy_from_slice(&zeros.to_le_bytes());
        for (out, word) in out[CODES_OFFSET..].chunks_exact_mut(4).zip(codes) {
            out.copy_from_slice(&word.to_le_bytes());
        }
    }
    Ok(data)
}

/// The matrix [rows, inputs] that lies in `data`: the inverse of [`pack`].
pub fn unpack(rows: usize, inputs: usize, data: &[u8]) -> Result<QuantizedMatrix, MacroError> {
    let shape = RowBlockShape { rows, inputs, group: GroupSize::G64, bits: WeightBits::Four };
    check(&shape)?;
    let expected = total_bytes(rows, inputs).unwrap_or(usize::MAX);
    if data.len() != expected {
        return Err(MacroError::Length { expected, found: data.len() });
    }
    let groups = shape.groups();
    let mut matrix = QuantizedMatrix::zeroed(shape);
    for (index, bytes) in data.chunks_exact(MACRO_BYTES).enumerate() {
        if bytes[4..ZEROS_BYTES].iter().any(|&byte| byte != 0) {
            return Err(MacroError::Padding { index });
        }
        let (first_row, group) = (index / groups * MACRO_ROWS, index % groups);
        for (channel, nibble) in NIBBLE_OF_CHANNEL.into_iter().enumerate() {
            let row = first_row + channel;
            // Nibbles of little-endian words: nibble 2b is the low half of byte b.
            let at = |word: usize| bytes[4 * word + nibble as usize / 2] >> (4 * (nibble % 2)) & 15;
            let zero = at(0);
            let scale = ZEROS_BYTES + 2 * channel;
            matrix.zeros[row * groups + group] = zero;
            matrix.scales[row * groups + group] = f16::from_le_bytes([bytes[scale], bytes[scale + 1]]);
            for i in 0..MACRO_INPUTS {
                let (input, code) = (group * MACRO_INPUTS + i, at(CODES_OFFSET / 4 + i));
                if input < inputs {
                    matrix.codes[row * inputs + input] = code;
                } else if code != zero {
                    return Err(MacroError::PaddingInput { row });
                }
            }
        }
    }
    Ok(matrix)
}

fn check(shape: &RowBlockShape) -> Result<(), MacroError> {
    match shape {
        RowBlockShape { group, .. } if group.get() != MACRO_INPUTS => {
            Err(MacroError::Group { found: group.get() })
        }
        RowBlockShape { bits: WeightBits::Eight | WeightBits::EightSegments, .. } => Err(MacroError::Bits),
        RowBlockShape { rows, .. } if !rows.is_multiple_of(MACRO_ROWS) => {
            Err(MacroError::Rows { found: *rows })
        }
        _ => Ok(()),
    }
}
