//! A quantized linear layer as the checkpoint has it, and the same integers for the packed file.

use super::config::Grouping;
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
    /// Bits of a code: 4 or 8.
    pub bits: u32,
    /// Inputs that share a scale.
    pub grouping: Grouping,
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
        self.inputs.div_ceil(self.grouping.inputs(self.inputs))
    }

    /// Row `row` as floats `[inputs]`: `f32(q - z) * f32(s)`. The integer is exact, so a weight is rounded at most once.
    ///
    /// # Panics
    /// If the row does not exist.
    pub fn row_to_f32(&self, row: usize, out: &mut Vec<f32>) {
        let (group, groups) = (self.grouping.inputs(self.inputs), self.groups());
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

    /// The group of the packed file that holds this layer exactly: the layer's own; where that is none of 32, 64 and
    /// 128, the largest that divides it (its groups then repeat a scale); for whole channels and for 8 bits 64 where it
    /// fits, because then the accelerator can run it as well.
    pub fn natural_group(&self) -> GroupSize {
        let candidates = match (self.grouping, self.bits) {
            (Grouping::Channel, _) | (_, 8) => [GroupSize::G64, GroupSize::G128, GroupSize::G32],
            _ => [GroupSize::G128, GroupSize::G64, GroupSize::G32],
        };
        candidates.into_iter().find(|group| self.divides(*group)).unwrap_or(GroupSize::G32)
    }

    /// Whether groups of `group` inputs never span two of the layer's.
    fn divides(&self, group: GroupSize) -> bool {
        match self.grouping {
            Grouping::Inputs(inputs) => inputs.is_multiple_of(group.get()),
            Grouping::Channel => true,
        }
    }

    /// The same integers in the packed file's order and with f16 scales, in groups of `group` inputs, or of
    /// [`Self::natural_group`]. A smaller group than the layer's repeats its scales, so that it is exact as well.
    ///
    /// # Errors
    /// A group that does not divide the layer's; an 8-bit zero point that is no multiple of 16; a scale beyond f16.
    pub fn pack(&self, group: Option<GroupSize>) -> Result<QuantizedLinear> {
        let group = group.unwrap_or_else(|| self.natural_group());
        if !self.divides(group) {
            return Err(self.refuse(format!(
                "it is quantized in {}, which groups of {} cannot hold; ask for a group that divides it",
                self.grouping,
                group.get()
            )));
        }
        let bits = if self.bits == 8 { WeightBits::Eight } else { WeightBits::Four };
        let shape = RowBlockShape { rows: self.rows, inputs: self.inputs, group, bits };
        let mut matrix = QuantizedMatrix::zeroed(shape);
        let order = self.order();
        match &order {
            None => matrix.codes.copy_from_slice(&self.codes),
            Some(order) => {
                let rows =
                    matrix.codes.chunks_exact_mut(self.inputs).zip(self.codes.chunks_exact(self.inputs));
                for (to, from) in rows {
                    to.iter_mut().zip(order).for_each(|(to, &input)| *to = from[input as usize]);
                }
            }
        }
        let (own, stored) = (self.groups(), shape.groups());
        let size = self.grouping.inputs(self.inputs);
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

    /// Inputs sorted by their groups.
    fn order(&self) -> Option<Vec<u32>> {
        let group_of = self.group_of.as_ref()?;
        let mut order: Vec<u32> = (0..self.inputs as u32).collect();
        // A stable sort: within a group the model's order.
        order.sort_by_key(|&input| group_of[input as usize]);
        Some(order)
    }

    /// The scale as the packed file has it, f16; with 8 bits that of the high plane, 16 times the step of a code.
    fn half_scale(&self, row: usize, at: usize, notes: &mut ScaleNotes) -> Result<f16> {
        let scale = self.scales[row * self.groups() + at];
        // Exact: a multiplication by a power of two, and f32 has room on both sides of f16.
        let scale = if self.bits == 8 { 16.0 * scale } else { scale };
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
        match self.bits {
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
