//! A packed file as an AWQ_MACRO file.

use super::parts::{Content, Part, parts};
use crate::packed::{PackedFile, TensorKind};
use crate::{Dtype, Error, Result, new_file};
use edgewen_layout::awq_macro::{MacroError, pack_rows};
use edgewen_layout::{QuantizedMatrix, dequantize_row};
use half::{bf16, f16};
use std::io::{BufWriter, Write};
use std::path::Path;

/// What rounding to f16 did to some of the values.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Rounding {
    /// How many values were written.
    pub values: u64,
    /// How many of them f16 cannot hold exactly.
    pub rounded: u64,
    /// The largest difference.
    pub largest: f32,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct ExportReport {
    /// Length of the file.
    pub file_bytes: u64,
    /// Biases of query, key and value.
    pub biases: Rounding,
    /// Weights of the norms.
    pub norms: Rounding,
    /// Embedding, and head if it is not tied.
    pub embedding: Rounding,
    /// How the embedding is stored in the packed file: its bits, 4 or 8 if it had to be dequantized.
    pub embedding_bits: u32,
}

/// Writes `file` as AWQ_MACRO to `path`. Everything that the format cannot hold is found before anything is written,
/// except values beyond the range of f16; the file gets its name when it is complete.
pub fn export(file: &PackedFile, path: &Path, force: bool) -> Result<ExportReport> {
    let parts = parts(file.config())?;
    check(file, &parts)?;
    let file_bytes = parts.last().map_or(0, |part| part.offset + part.bytes);
    let mut output = new_file::create(path, file_bytes, force)?;
    let mut writer = Writer { file, out: BufWriter::new(output.as_file_mut()), loaded: None };
    let mut report = ExportReport { file_bytes, embedding_bits: embedding_bits(file)?, ..Default::default() };
    for part in &parts {
        let rounding = match &part.content {
            Content::Vector { tensor, .. } if tensor.ends_with("_bias") => &mut report.biases,
            Content::Vector { .. } => &mut report.norms,
            _ => &mut report.embedding,
        };
        writer.part(part, rounding, path)?;
    }
    let done = writer.out.flush();
    drop(writer);
    done.map_err(|e| Error::io("write", path, e))?;
    new_file::finish(output, path, force)?;
    Ok(report)
}

/// Refuses matrices that are not 4 bits in groups of 64, or whose columns are not in the order of the inputs.
fn check(file: &PackedFile, parts: &[Part]) -> Result<()> {
    for part in parts {
        if let Content::Macros { tensor, .. } = &part.content {
            if file.order(tensor)?.is_some() {
                return Err(Error::AwqMacro { tensor: tensor.clone(), problem: MacroError::Order });
            }
            let (mut shape, _) = file.matrix(tensor)?;
            shape.rows = 0;
            let empty = QuantizedMatrix::zeroed(shape);
            pack_rows(&empty, 0..0).map_err(|problem| Error::AwqMacro { tensor: tensor.clone(), problem })?;
        }
    }
    Ok(())
}

/// Bits of the stored embedding.
pub(crate) fn embedding_bits(file: &PackedFile) -> Result<u32> {
    Ok(match file.entry("embed")?.kind {
        TensorKind::RowBlocks { bits: edgewen_layout::WeightBits::Four, .. } => 4,
        TensorKind::RowBlocks { .. } => 8,
        TensorKind::F16 | TensorKind::Bf16 => 16,
        TensorKind::F32 | TensorKind::U32 => 32,
    })
}

struct Writer<'a, W: Write> {
    file: &'a PackedFile,
    out: W,
    /// The last matrix unpacked: fused ones are needed for several parts.
    loaded: Option<(String, QuantizedMatrix)>,
}

impl<W: Write> Writer<'_, W> {
    fn part(&mut self, part: &Part, rounding: &mut Rounding, path: &Path) -> Result<()> {
        let write = |out: &mut W, bytes: &[u8]| out.write_all(bytes).map_err(|e| Error::io("write", path, e));
        match &part.content {
            Content::Macros { tensor, rows, .. } => {
                let packed = pack_rows(self.matrix(tensor)?, rows.clone());
                let bytes = packed.map_err(|problem| Error::AwqMacro { tensor: tensor.clone(), problem })?;
                write(&mut self.out, &bytes)
            }
            Content::Vector { tensor, elements } => {
                let values = self.file.vector(tensor)?;
                let bytes = to_f16(tensor, elements.start, &values[elements.clone()], rounding)?;
                write(&mut self.out, &bytes)
            }
            &Content::Dense { tensor, rows, inputs } => {
                let mut values = vec![0.0; inputs];
                for row in 0..rows {
                    dense_row(self.file, tensor, row, &mut values)?;
                    let bytes = to_f16(tensor, row * inputs, &values, rounding)?;
                    write(&mut self.out, &bytes)?;
                }
                Ok(())
            }
        }
    }

    fn matrix(&mut self, tensor: &str) -> Result<&QuantizedMatrix> {
        if self.loaded.as_ref().is_none_or(|(name, _)| name != tensor) {
            let (shape, data) = self.file.matrix(tensor)?;
            self.loaded = Some((tensor.to_owned(), QuantizedMatrix::unpack(shape, data)));
        }
        let (_, matrix) = self.loaded.as_ref().expect("it was just loaded");
        Ok(matrix)
    }
}

/// A row of the embedding or head as floats, dequantized if need be.
pub(crate) fn dense_row(file: &PackedFile, tensor: &str, row: usize, out: &mut [f32]) -> Result<()> {
    if let TensorKind::RowBlocks { .. } = file.entry(tensor)?.kind {
        let (shape, data) = file.matrix(tensor)?;
        dequantize_row(&shape, data, row, out);
        return Ok(());
    }
    let (info, data) = file.dense(tensor)?;
    let size = info.dtype.bytes();
    let bytes = &data[row * info.inputs * size..][..info.inputs * size];
    for (out, bytes) in out.iter_mut().zip(bytes.chunks_exact(size)) {
        *out = match (info.dtype, bytes) {
            (Dtype::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
            (Dtype::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
            (_, bytes) => f32::from_le_bytes(bytes.try_into().expect("four bytes of an f32")),
        };
    }
    Ok(())
}

/// Values as f16. Fails on one that f16 would make infinite; `first` is the index of the first of them in its tensor.
pub(crate) fn to_f16(tensor: &str, first: usize, values: &[f32], rounding: &mut Rounding) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2 * values.len());
    for (index, &value) in values.iter().enumerate() {
        let short = f16::from_f32(value);
        if !short.is_finite() {
            return Err(Error::BeyondF16 { tensor: tensor.to_owned(), index: first + index, value });
        }
        let error = (short.to_f32() - value).abs();
        rounding.values += 1;
        rounding.rounded += u64::from(error != 0.0);
        rounding.largest = rounding.largest.max(error);
        bytes.extend(short.to_le_bytes());
    }
    Ok(bytes)
}
