//! A quantized linear layer as the checkpoint has it, and the same integers for the packed file.

use super::config::Scheme;
use crate::{Error, Result};
use edgewen_layout::{GroupSize, QuantizedMatrix, RowBlockShape, WeightBits};
use half::f16;
use serde::Serialize;

/// A linear layer as the checkpoint stores it: `w = (q - z) * s`, inputs in the order of the model.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLinear {
    /// Name in the checkpoint, without `.weight`.
    pub name: String,
    /// Output channels.
    pub rows: usize,
    /// Input channels.
    pub inputs: usize,
    /// Its bits and groups.
    pub scheme: Scheme,
    /// Codes [rows, inputs], unsigned.
    pub codes: Vec<u8>,
    /// Zero points [rows, groups], unsigned.
    pub zeros: Vec<u8>,
    /// Scales [rows, groups], finite and above zero, exactly as stored.
    pub scales: Vec<f32>,
    /// The group of each input, where groups are not consecutive (GPTQ's `desc_act`).
    pub group_of: Option<Vec<u32>>,
}

/// A quantized linear layer in the packed file's terms: the integers of [`StoredLinear`], nothing rounded anew.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedLinear {
    /// Codes, zero points and f16 scales, ready to pack.
    pub matrix: QuantizedMatrix,
    /// Stored column j multiplies input `order[j]`; `None` if the columns are in the model's order.
    pub order: Option<Vec<u32>>,
    /// What became of the scales.
    pub scale_notes: ScaleNotes,
}

/// How many scales f16 could not hold exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ScaleNotes {
    /// Scales of the layer.
    pub scales: u64,
    /// Those that were rounded to f16.
    pub rounded: u64,
    /// The largest relative change.
    pub largest_relative: f64,
}

impl ScaleNotes {
    /// Adds those of another matrix.
    pub fn add(&mut self, other: &ScaleNotes) {
        self.scales += other.scales;
        self.rounded += other.rounded;
        self.largest_relative = self.largest_relative.max(other.largest_relative);
    }
}

impl StoredLinear {
    /// Groups of a row, the last one perhaps smaller than the others.
    pub fn groups(&self) -> usize {
        self.inputs.div_ceil(self.scheme.grouping.inputs(self.inputs))
    }

    /// Row `row` as floats `[inputs]`: `f32(q - z) * f32(s)`. The integer is exact, so a weight is rounded at most once.
    ///
    /// # Panics
    /// If the row does not exist.
    pub fn row_to_f32(&self, row: usize, out: &mut Vec<f32>) {
        let (group, groups) = (self.scheme.grouping.inputs(self.inputs), self.groups());
        let (zeros, scales) = (&self.zeros[row * groups..][..groups], &self.scales[row * groups..][..groups]);
        let codes = &self.codes[row * self.inputs..][..self.inputs];
        let value = |code: u8, at: usize| f32::from(i16::from(code) - i16::from(zeros[at])) * scales[at];
        out.clear();
        match &self.group_of {
            Some(group_of) => {
                out.extend(codes.iter().zip(group_of).map(|(&code, &at)| value(code, at as usize)));
            }
            None => {
                for (at, codes) in codes.chunks(group).enumerate() {
                    out.extend(codes.iter().map(|&code| value(code, at)));
                }
            }
        }
    }

    /// The same integers in the packed file's order and with f16 scales, in its natural group and bits; see
    /// [`Self::pack_as`].
    pub fn pack(&self) -> Result<QuantizedLinear> {
        self.pack_as(self.scheme.natural_group(), self.scheme.natural_bits())
    }

    /// The same integers in the packed file's order and with f16 scales, in groups of `group` inputs. A smaller group
    /// than the layer's repeats its scales, and 4 bits become 8 as `q = 16 hi + 0`: both are exact.
    ///
    /// # Errors
    /// A group that does not divide the layer's; fewer bits than the layer has; an 8-bit zero point that is no multiple
    /// of 16; a scale beyond f16.
    pub fn pack_as(&self, group: GroupSize, bits: WeightBits) -> Result<QuantizedLinear> {
        if !self.scheme.fits(group) || (self.scheme.bits == 8 && bits == WeightBits::Four) {
            return Err(self.refuse(format!(
                "it has {} bits in {}, which {} bits in groups of {} cannot hold; ask for a group that divides it",
                self.scheme.bits,
                self.scheme.grouping,
                bits.count(),
                group.get()
            )));
        }
        let shape = RowBlockShape { rows: self.rows, inputs: self.inputs, group, bits };
        let mut matrix = QuantizedMatrix::zeroed(shape);
        let order = self.order();
        match &order {
            None => matrix.codes.copy_from_slice(&self.codes),
            Some(order) => {
                let to = matrix.codes.chunks_exact_mut(self.inputs);
                for (to, from) in to.zip(self.codes.chunks_exact(self.inputs)) {
                    to.iter_mut().zip(order).for_each(|(to, &input)| *to = from[input as usize]);
                }
            }
        }
        if bits != WeightBits::Four && self.scheme.bits == 4 {
            matrix.codes.iter_mut().for_each(|code| *code *= 16);
        }
        let (own, stored) = (self.groups(), shape.groups());
        let size = self.scheme.grouping.inputs(self.inputs);
        let mut scale_notes = ScaleNotes::default();
        for row in 0..self.rows {
            for at in 0..own {
                let scale = self.half_scale(row, at, &mut scale_notes)?;
                let zero = self.high_zero(row, at)?;
                let first = at * size / group.get();
                let last = ((at + 1) * size).min(self.inputs).div_ceil(group.get());
                matrix.scales[row * stored..][first..last].fill(scale);
                matrix.zeros[row * stored..][first..last].fill(zero);
            }
        }
        Ok(QuantizedLinear { matrix, order, scale_notes })
    }

    fn order(&self) -> Option<Vec<u32>> {
        self.group_of.as_deref().map(order)
    }

    /// The scale as the packed file has it, f16; with 8 bits that of the high plane, 16 times the step of a code.
    fn half_scale(&self, row: usize, at: usize, notes: &mut ScaleNotes) -> Result<f16> {
        let scale = self.scales[row * self.groups() + at];
        // Exact: a multiplication by a power of two, and f32 has room on both sides of f16.
        let scale = if self.scheme.bits == 8 { 16.0 * scale } else { scale };
        let half = f16::from_f32(scale);
        if half == f16::ZERO || !half.is_finite() {
            return Err(self.refuse(format!(
                "the scale of row {row}, group {at} is {scale} in the packed file, where scales are f16 (6e-8 to 65504): \
                 quantize the float checkpoint instead"
            )));
        }
        let change = (half.to_f64() / f64::from(scale) - 1.0).abs();
        notes.scales += 1;
        notes.rounded += u64::from(change != 0.0);
        notes.largest_relative = notes.largest_relative.max(change);
        Ok(half)
    }

    /// The zero point as the packed file has it, 4 bits; with 8 bits it counts in steps of 16.
    fn high_zero(&self, row: usize, at: usize) -> Result<u8> {
        let zero = self.zeros[row * self.groups() + at];
        match self.scheme.bits {
            8 if zero.is_multiple_of(16) => Ok(zero / 16),
            8 => Err(self.refuse(format!(
                "the zero point of row {row}, group {at} is {zero}: with 8 bits the packed file holds multiples of 16, \
                 such as the 128 of symmetric weights; use a symmetric checkpoint, or quantize the float one"
            ))),
            _ => Ok(zero),
        }
    }

    fn refuse(&self, detail: String) -> Error {
        Error::QuantizedTensor { tensor: self.name.clone(), detail }
    }
}

/// Inputs sorted by their groups, within a group as in the model: the order of the packed file's columns.
pub fn order(group_of: &[u32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..group_of.len() as u32).collect();
    order.sort_by_key(|&input| group_of[input as usize]);
    order
}

/// What is known of a quantized layer before its weights are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearLayout {
    /// Its bits and groups.
    pub scheme: Scheme,
    /// The group of each input, where groups are not consecutive.
    pub group_of: Option<Vec<u32>>,
}
