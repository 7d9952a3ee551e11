//! The weights of a checkpoint, whether it is quantized or not.

use super::expected::linear_shape;
use super::{Checkpoint, RawTensor};
use crate::quantized::{self, LinearLayout, QuantizedLinear, StoredLinear};
use crate::{Result, Tensor};
use std::sync::Arc;

/// A matrix of a checkpoint, to be read row by row as floats.
#[derive(Debug, Clone)]
pub enum Weight<'a> {
    /// Floats, as they lie in the file.
    Float(Tensor<'a>),
    /// Codes, zero points and scales.
    Quantized(Arc<StoredLinear>),
}

impl Weight<'_> {
    /// Output channels.
    pub fn rows(&self) -> usize {
        match self {
            Weight::Float(tensor) => tensor.shape[0],
            Weight::Quantized(linear) => linear.rows,
        }
    }

    /// Replaces `out` by one row. Fails with the position of the first NaN or infinity.
    ///
    /// # Panics
    /// If the row does not exist.
    pub fn row_to_f32(&self, row: usize, out: &mut Vec<f32>) -> Result<()> {
        match self {
            Weight::Float(tensor) => tensor.rows_to_f32(row..row + 1, out),
            Weight::Quantized(linear) => {
                linear.row_to_f32(row, out);
                Ok(())
            }
        }
    }
}

impl Checkpoint {
    /// The tensors of a quantized layer, checked but not read.
    pub(super) fn opened(&self, module: &str) -> Result<Option<quantized::Opened<'_>>> {
        let (Some(quantization), Some(shape)) = (&self.quantization, linear_shape(&self.config, module))
        else {
            return Ok(None);
        };
        let find = |name: &str| -> Option<RawTensor<'_>> { self.raw(name) };
        quantized::open(quantization, module, shape, &find)
    }

    /// A linear layer as the checkpoint stores it, `module` being its name without `.weight`, such as
    /// `model.layers.0.self_attn.q_proj`. `None` if it is not quantized.
    ///
    /// # Errors
    /// Tensors of another shape or type than the configuration says, and values that make no sense.
    pub fn stored_linear(&self, module: &str) -> Result<Option<StoredLinear>> {
        self.opened(module)?.map(|opened| opened.read()).transpose()
    }

    /// Bits, groups and order of a quantized layer, without reading its weights. `None` if it is not quantized.
    ///
    /// # Errors
    /// Tensors of another shape or type than the configuration says.
    pub fn linear_layout(&self, module: &str) -> Result<Option<LinearLayout>> {
        Ok(self.opened(module)?.map(|opened| opened.layout()))
    }

    /// A linear layer in the packed file's terms, in its natural group ([`quantized::Scheme::natural_group`]). `None` if it
    /// is not quantized.
    ///
    /// # Errors
    /// As [`Self::stored_linear`] and [`StoredLinear::pack`].
    pub fn quantized(&self, module: &str) -> Result<Option<QuantizedLinear>> {
        self.stored_linear(module)?.map(|linear| linear.pack()).transpose()
    }

    /// The matrix `name` (`model.layers.0.mlp.up_proj.weight`), from floats or from a quantized layer.
    pub fn weight(&self, name: &str) -> Result<Weight<'_>> {
        if !self.contains(name)
            && let Some(module) = name.strip_suffix(".weight")
            && let Some(linear) = self.stored_linear(module)?
        {
            return Ok(Weight::Quantized(Arc::new(linear)));
        }
        self.tensor(name).map(Weight::Float)
    }

    /// All of the matrix `name`, row-major with its columns in the model's order; a quantized one as exactly
    /// `(q - z) * s`.
    pub fn weight_f32(&self, name: &str) -> Result<Vec<f32>> {
        let weight = self.weight(name)?;
        let (mut all, mut row) = (Vec::new(), Vec::new());
        for index in 0..weight.rows() {
            weight.row_to_f32(index, &mut row)?;
            all.extend_from_slice(&row);
        }
        Ok(all)
    }
}
