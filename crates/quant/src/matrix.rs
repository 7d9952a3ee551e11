//! Matrices on their way from the checkpoint to the packed file: fused ones in pieces that keep their own names.

use crate::gram::Gram;
use crate::report::Measure;
use crate::{Error, Result};
use edgewen_layout::GroupSize;
use edgewen_model::Checkpoint;
use std::ops::Range;

/// A matrix of the checkpoint inside a fused one.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Name in the checkpoint.
    pub(crate) name: String,
    /// Rows of the fused matrix.
    pub(crate) rows: Range<usize>,
    /// Whether its ranges may be clipped; not those of queries and keys, whose product is sensitive to outliers.
    pub(crate) clip: bool,
}

/// Matrices with the same input, row-major [rows, inputs] one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Fused {
    /// Name in the packed file.
    pub(crate) packed: String,
    /// The matrices, in order.
    pub(crate) parts: Vec<Part>,
    /// All weights.
    pub(crate) weights: Vec<f32>,
    /// Columns.
    pub(crate) inputs: usize,
    /// Inputs that share a scale.
    pub(crate) group: GroupSize,
}

impl Fused {
    /// Reads the named tensors; the flag says whether to clip.
    pub(crate) fn read(
        checkpoint: &Checkpoint,
        packed: String,
        names: &[(String, bool)],
        group: GroupSize,
    ) -> Result<Fused> {
        let mut fused = Fused { packed, parts: Vec::new(), weights: Vec::new(), inputs: 0, group };
        let mut rows = 0;
        for (name, clip) in names {
            let tensor = checkpoint.tensor(name)?;
            let count = tensor.shape[0];
            fused.inputs = tensor.shape[1];
            fused.weights.extend(tensor.to_f32()?);
            fused.parts.push(Part { name: name.clone(), rows: rows..rows + count, clip: *clip });
            rows += count;
        }
        Ok(fused)
    }

    /// Rows of all parts.
    pub(crate) fn rows(&self) -> usize {
        self.parts.last().map_or(0, |part| part.rows.end)
    }

    /// The same without weights.
    pub(crate) fn clone_names(&self) -> Fused {
        let (packed, parts) = (self.packed.clone(), self.parts.clone());
        Fused { packed, parts, weights: Vec::new(), inputs: self.inputs, group: self.group }
    }

    /// The part a row belongs to.
    pub(crate) fn part_of(&self, row: usize) -> &Part {
        self.parts.iter().find(|part| part.rows.contains(&row)).expect("parts cover all rows")
    }

    /// The error for a row whose scale does not fit.
    pub(crate) fn too_large(&self, row: usize) -> Error {
        let part = self.part_of(row);
        let weights = &self.weights[row * self.inputs..][..self.inputs];
        let value = weights.iter().copied().fold(0.0, |a: f32, b| if b.abs() > a.abs() { b } else { a });
        Error::TooLarge { tensor: part.name.clone(), row: row - part.rows.start, value }
    }
}

/// How a change of weights is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Metric<'a> {
    /// By the outputs on the calibration text.
    Output(&'a Gram),
    /// By the weights themselves.
    Weight,
}

impl Metric<'_> {
    /// For the report.
    pub(crate) fn measure(&self) -> Measure {
        match self {
            Metric::Output(_) => Measure::Output,
            Metric::Weight => Measure::Weight,
        }
    }

    /// Squared size of each row of `d` [rows, inputs].
    pub(crate) fn energies(&self, d: &[f32], rows: usize) -> Vec<f64> {
        match self {
            Metric::Output(gram) => gram.energies(d, rows),
            Metric::Weight => {
                let n = d.len() / rows.max(1);
                (0..rows).map(|row| &d[row * n..][..n]).map(|d| crate::gram::dot(d, d)).collect()
            }
        }
    }
}

/// Rows that one task works on. Depends on the matrix only, so that results do not depend on the threads.
pub(crate) fn rows_per_task(rows: usize) -> usize {
    // An even number of tasks suits two and four threads; 128 rows keep a product in the caches.
    rows.div_ceil(rows.div_ceil(128).next_multiple_of(2)).max(1)
}
