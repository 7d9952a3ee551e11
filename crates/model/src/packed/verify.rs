//! Reads a whole packed file and says which parts are damaged.

use super::HEADER_BYTES;
use super::header::{hex, sha256};
use super::metadata::{TensorEntry, TensorKind};
use super::reader::{PackedFile, permutation};
use crate::Result;
use edgewen_layout::{BLOCK_ROWS, RowBlockShape};
use half::{bf16, f16};

/// What [`PackedFile::verify`] found about one tensor or blob.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TensorReport {
    /// Name of the tensor or blob, or `padding`.
    pub name: String,
    /// `None` if all is well, else what is wrong.
    pub problem: Option<String>,
}

/// What [`PackedFile::verify`] found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct VerifyReport {
    /// One entry a blob and a tensor, in file order, and one for the padding between them.
    pub tensors: Vec<TensorReport>,
}

impl VerifyReport {
    /// No problem anywhere.
    pub fn is_ok(&self) -> bool {
        self.problems().next().is_none()
    }

    /// The damaged parts.
    pub fn problems(&self) -> impl Iterator<Item = &TensorReport> {
        self.tensors.iter().filter(|part| part.problem.is_some())
    }
}

impl PackedFile {
    /// Reads everything: the SHA-256 of every tensor and blob, that no scale is negative, no value infinite or NaN,
    /// and that the padding is zero. Damage is in the report, not an error.
    pub fn verify(&self) -> Result<VerifyReport> {
        let blobs = self.metadata.blobs.iter().map(|blob| TensorReport {
            name: blob.name.clone(),
            problem: hash_problem(self.blob_bytes(blob), &blob.sha256),
        });
        let tensors = self.tensors().map(|entry| {
            let bytes = self.tensor_bytes(entry);
            let problem = hash_problem(bytes, &entry.sha256).or_else(|| value_problem(entry, bytes));
            TensorReport { name: entry.name.clone(), problem }
        });
        let padding = TensorReport { name: "padding".to_owned(), problem: self.padding_problem() };
        Ok(VerifyReport { tensors: blobs.chain(tensors).chain([padding]).collect() })
    }

    fn padding_problem(&self) -> Option<String> {
        let blobs = self.metadata.blobs.iter().map(|blob| (blob.offset, blob.bytes));
        let tensors = self.tensors().map(|tensor| (tensor.offset, tensor.bytes));
        let mut end = HEADER_BYTES + self.metadata_bytes() as usize;
        for (offset, bytes) in blobs.chain(tensors).chain([(self.file_bytes(), 0)]) {
            if let Some(at) = self.bytes()[end..offset as usize].iter().position(|byte| *byte != 0) {
                return Some(format!("the byte at {} is not zero", end + at));
            }
            end = (offset + bytes) as usize;
        }
        None
    }
}

fn hash_problem(bytes: &[u8], expected: &str) -> Option<String> {
    let found = hex(&sha256(bytes));
    (found != expected).then(|| format!("SHA-256 is {found}, expected {expected}"))
}

/// Values that no writer of edgewen stores, even if the hash is right.
fn value_problem(entry: &TensorEntry, bytes: &[u8]) -> Option<String> {
    let not_finite = |at: usize| format!("the value at index {at} is not finite");
    match (entry.kind, entry.shape.as_slice()) {
        (TensorKind::RowBlocks { bits, group }, &[rows, inputs]) => {
            scale_problem(&RowBlockShape { rows, inputs, group, bits }, bytes)
        }
        (TensorKind::RowBlocks { .. }, _) => None,
        (TensorKind::U32, _) => permutation(bytes).err(),
        (TensorKind::F32, _) => {
            bytes.as_chunks().0.iter().position(|b| !f32::from_le_bytes(*b).is_finite()).map(not_finite)
        }
        (TensorKind::F16, _) => {
            bytes.as_chunks().0.iter().position(|b| !f16::from_le_bytes(*b).is_finite()).map(not_finite)
        }
        (TensorKind::Bf16, _) => {
            bytes.as_chunks().0.iter().position(|b| !bf16::from_le_bytes(*b).is_finite()).map(not_finite)
        }
    }
}

fn scale_problem(shape: &RowBlockShape, bytes: &[u8]) -> Option<String> {
    for block in 0..shape.blocks() {
        let scales = shape.places(block).scales;
        for group in 0..shape.groups() {
            let of_group = bytes[scales.of(group)..][..2 * BLOCK_ROWS].as_chunks().0;
            for (channel, scale) in of_group.iter().enumerate() {
                let scale = f16::from_le_bytes(*scale);
                if !scale.is_finite() || scale < f16::ZERO {
                    let row = block * BLOCK_ROWS + channel;
                    return Some(format!("the scale of row {row}, group {group} is {scale}"));
                }
            }
        }
    }
    None
}
