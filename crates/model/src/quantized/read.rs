//! Finds the tensors of a quantized linear layer, checks them, and reads them.

use super::config::{Format, Quantization, Scheme};
use super::linear::{LinearLayout, StoredLinear};
use super::words::Words;
use crate::checkpoint::RawTensor;
use crate::{Error, Result, Tensor};
use safetensors::Dtype;

/// The tensor whose presence makes a layer a quantized one, after the layer's name.
fn marker(format: Format) -> &'static str {
    match format {
        Format::CompressedTensors => "weight_packed",
        _ => "qweight",
    }
}

/// A quantized layer whose tensors have been found and have the right shapes and types. Only its `g_idx` has been read.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    name: String,
    format: Format,
    rows: usize,
    inputs: usize,
    scheme: Scheme,
    codes: Words<'a>,
    zeros: Option<(String, Words<'a>)>,
    scales: Tensor<'a>,
    group_of: Option<Vec<u32>>,
}

/// Looks for the tensors of layer `name`, a matrix [rows, inputs]; `find` gives a tensor of the checkpoint. `None` if
/// the layer is not quantized.
pub(crate) fn open<'a>(
    quantization: &Quantization,
    name: &str,
    [rows, inputs]: [usize; 2],
    find: &dyn Fn(&str) -> Option<RawTensor<'a>>,
) -> Result<Option<Opened<'a>>> {
    let layer = Layer { quantization, name, rows, inputs, find };
    let format = quantization.format;
    let Some(words) = find(&layer.part(marker(format))) else { return Ok(None) };
    let opened = match format {
        Format::CompressedTensors => layer.compressed(words)?,
        _ => layer.by_columns(words)?,
    };
    Ok(Some(opened))
}

struct Layer<'q, 'a> {
    quantization: &'q Quantization,
    name: &'q str,
    rows: usize,
    inputs: usize,
    find: &'q dyn Fn(&str) -> Option<RawTensor<'a>>,
}

impl<'a> Layer<'_, 'a> {
    fn part(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.name)
    }

    fn refuse(&self, tensor: &str, detail: String) -> Error {
        Error::QuantizedTensor { tensor: tensor.to_owned(), detail }
    }

    fn need(&self, suffix: &str) -> Result<RawTensor<'a>> {
        let name = self.part(suffix);
        (self.find)(&name).ok_or_else(|| {
            let format = self.quantization.format.name();
            let detail = format!(
                "it is missing, though \"{}\" is there: the {format} checkpoint is incomplete, download it again",
                self.part(marker(self.quantization.format))
            );
            self.refuse(&name, detail)
        })
    }

    /// Checks a matrix of 32-bit words.
    fn words(&self, tensor: &RawTensor<'a>, bits: u32, shape: [usize; 2]) -> Result<Words<'a>> {
        if tensor.dtype != Dtype::I32 {
            let detail = format!(
                "it has type {:?}, expected I32 words: the checkpoint is in another layout, or damaged",
                tensor.dtype
            );
            return Err(self.refuse(&tensor.name, detail));
        }
        self.shape(tensor, &shape)?;
        Ok(Words { bytes: tensor.bytes, width: shape[1], bits })
    }

    fn shape(&self, tensor: &RawTensor<'_>, expected: &[usize]) -> Result<()> {
        if tensor.shape == expected {
            return Ok(());
        }
        let format = self.quantization.format.name();
        let detail = format!(
            "it has shape {:?}, expected {expected:?} for {format} weights [{}, {}] after {}: the files are from \
             different checkpoints",
            tensor.shape,
            self.rows,
            self.inputs,
            self.quantization.path.display()
        );
        Err(self.refuse(&tensor.name, detail))
    }

    /// `length` must fill whole words of `per_word` values.
    fn fills(&self, tensor: &str, what: &str, length: usize, divisor: usize) -> Result<()> {
        if length.is_multiple_of(divisor) {
            return Ok(());
        }
        let format = self.quantization.format.name();
        let detail = format!("the layer has {length} {what}, {format} asks for a multiple of {divisor}");
        Err(self.refuse(tensor, format!("{detail}: quantize the float checkpoint instead")))
    }

    /// AutoAWQ and GPTQ: scales and zero points [groups, rows].
    fn by_columns(&self, codes: RawTensor<'a>) -> Result<Opened<'a>> {
        let (format, mut scheme) = (self.quantization.format, self.quantization.scheme());
        let (rows, inputs) = (self.rows, self.inputs);
        let per_word = 32 / scheme.bits as usize;
        self.fills(&codes.name, "output channels", rows, per_word)?;
        let size = scheme.grouping.inputs(inputs);
        let shape = match format {
            Format::AutoAwq => {
                self.fills(&codes.name, "inputs", inputs, size)?;
                [inputs, rows / per_word]
            }
            _ => {
                self.fills(&codes.name, "inputs", inputs, per_word)?;
                [inputs / per_word, rows]
            }
        };
        let codes = self.words(&codes, scheme.bits, shape)?;
        let groups = inputs.div_ceil(size);
        let name = self.part("qzeros");
        let zeros = match (self.find)(&name) {
            None if scheme.symmetric => None,
            None => Some(self.need("qzeros")?),
            found => found,
        };
        let zeros = match zeros {
            Some(zeros) => Some((name, self.words(&zeros, scheme.bits, [groups, rows / per_word])?)),
            None => None,
        };
        scheme.symmetric = zeros.is_none();
        let scales = self.scales(self.need("scales")?, &[groups, rows])?;
        let group_of = match format {
            Format::AutoAwq => None,
            _ => self.group_of("g_idx", size)?,
        };
        let name = self.name.to_owned();
        Ok(Opened { name, format, rows, inputs, scheme, codes, zeros, scales, group_of })
    }

    /// compressed-tensors: everything [rows, ...]; bits, groups and zero points follow from the tensors, and must be one
    /// of the configuration's schemes.
    fn compressed(&self, codes: RawTensor<'a>) -> Result<Opened<'a>> {
        let (rows, inputs) = (self.rows, self.inputs);
        let shape = self.need("weight_shape")?;
        let stated = stated_shape(&shape).ok_or_else(|| {
            self.refuse(&shape.name, format!("it is {:?} {:?}, expected two I64", shape.dtype, shape.shape))
        })?;
        if stated != [rows as i64, inputs as i64] {
            let detail = format!("it says {stated:?}, config.json asks for [{rows}, {inputs}]");
            return Err(
                self.refuse(&shape.name, format!("{detail}: the files are from different checkpoints"))
            );
        }
        let scales = self.need("weight_scale")?;
        let zeros = (self.find)(&self.part("weight_zero_point"));
        let fits = |scheme: &&Scheme| {
            let size = scheme.grouping.inputs(inputs);
            codes.shape == [rows, (inputs * scheme.bits as usize).div_ceil(32)]
                && scales.shape == [rows, inputs.div_ceil(size)]
                && zeros.is_some() != scheme.symmetric
        };
        let Some(&scheme) = self.quantization.schemes.iter().find(fits) else {
            let described: Vec<String> = self.quantization.schemes.iter().map(describe).collect();
            let zeros = if zeros.is_some() { "with" } else { "without" };
            let detail = format!(
                "{:?} words, {:?} scales {zeros} zero points fit none of the schemes in {} ({}): the files are from \
                 different checkpoints",
                codes.shape,
                scales.shape,
                self.quantization.path.display(),
                described.join("; ")
            );
            return Err(self.refuse(&codes.name, detail));
        };
        let size = scheme.grouping.inputs(inputs);
        self.fills(&codes.name, "inputs", inputs, size)?;
        let per_word = 32 / scheme.bits as usize;
        let words = self.words(&codes, scheme.bits, [rows, inputs.div_ceil(per_word)])?;
        let groups = inputs / size;
        let zeros = match zeros {
            Some(zeros) => {
                let words = self.words(&zeros, scheme.bits, [rows.div_ceil(per_word), groups])?;
                Some((zeros.name, words))
            }
            None => None,
        };
        let scales = self.scales(scales, &[rows, groups])?;
        let group_of = self.group_of("weight_g_idx", size)?;
        let (name, format) = (self.name.to_owned(), Format::CompressedTensors);
        Ok(Opened { name, format, rows, inputs, scheme, codes: words, zeros, scales, group_of })
    }

    fn scales(&self, tensor: RawTensor<'a>, shape: &[usize]) -> Result<Tensor<'a>> {
        self.shape(&tensor, shape)?;
        tensor.float()
    }

    /// The group of each input, if the groups are not consecutive.
    fn group_of(&self, suffix: &str, size: usize) -> Result<Option<Vec<u32>>> {
        let Some(tensor) = (self.find)(&self.part(suffix)) else { return Ok(None) };
        if tensor.dtype != Dtype::I32 {
            let detail = format!("it has type {:?}, expected I32", tensor.dtype);
            return Err(self.refuse(&tensor.name, format!("{detail}: the checkpoint is damaged")));
        }
        self.shape(&tensor, &[self.inputs])?;
        let stored: Vec<i32> = tensor.bytes.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b)).collect();
        // compressed-tensors' mark of a layer whose groups are consecutive after all.
        if self.quantization.format == Format::CompressedTensors && stored.iter().all(|&at| at == -1) {
            return Ok(None);
        }
        let groups = self.inputs.div_ceil(size);
        let mut members = vec![0usize; groups];
        for (input, &at) in stored.iter().enumerate() {
            let Some(count) = usize::try_from(at).ok().and_then(|at| members.get_mut(at)) else {
                let detail = format!("input {input} is in group {at}, expected 0 to {}", groups - 1);
                return Err(self.refuse(&tensor.name, format!("{detail}: the checkpoint is damaged")));
            };
            *count += 1;
        }
        for (at, &found) in members.iter().enumerate() {
            let expected = size.min(self.inputs - at * size);
            if found != expected {
                let detail = format!("group {at} has {found} inputs, expected {expected}");
                return Err(self.refuse(
                    &tensor.name,
                    format!(
                        "{detail}: edgewen imports groups of one size; quantize the float checkpoint instead"
                    ),
                ));
            }
        }
        let consecutive = stored.iter().enumerate().all(|(input, &at)| at as usize == input / size);
        Ok((!consecutive).then(|| stored.iter().map(|&at| at as u32).collect()))
    }
}

fn describe(scheme: &Scheme) -> String {
    let zeros = if scheme.symmetric { "symmetric" } else { "with zero points" };
    format!("{} bits in {}, {zeros}", scheme.bits, scheme.grouping)
}

fn stated_shape(tensor: &RawTensor<'_>) -> Option<[i64; 2]> {
    let values: Vec<i64> = match tensor.dtype {
        Dtype::I64 => tensor.bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
        Dtype::I32 => tensor.bytes.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
        _ => return None,
    };
    values.try_into().ok()
}

impl Opened<'_> {
    /// Reads everything. Fails on scales that are not above zero and on zero points that have no one meaning.
    pub(crate) fn read(&self) -> Result<StoredLinear> {
        let (rows, inputs, bits) = (self.rows, self.inputs, self.scheme.bits);
        let groups = inputs.div_ceil(self.scheme.grouping.inputs(inputs));
        let mut codes = Vec::with_capacity(rows * inputs);
        for row in 0..rows {
            codes.extend((0..inputs).map(|input| self.codes.code(self.format, row, input)));
        }
        let mut zeros = Vec::with_capacity(rows * groups);
        match &self.zeros {
            None => zeros.resize(rows * groups, 1 << (bits - 1)),
            Some((name, words)) => {
                for row in 0..rows {
                    for group in 0..groups {
                        let zero = words.zero(self.format, row, group);
                        zeros.push(self.actual_zero(zero).ok_or_else(|| ambiguous(name, zero, row, group))?);
                    }
                }
            }
        }
        Ok(StoredLinear {
            name: self.name.clone(),
            rows,
            inputs,
            scheme: self.scheme,
            codes,
            zeros,
            scales: self.read_scales(groups)?,
            group_of: self.group_of.clone(),
        })
    }

    /// What is known without reading.
    pub(crate) fn layout(self) -> LinearLayout {
        LinearLayout { scheme: self.scheme, group_of: self.group_of }
    }

    /// The zero point that a stored one means; `None` if programs disagree.
    fn actual_zero(&self, stored: u8) -> Option<u8> {
        let most = ((1u32 << self.scheme.bits) - 1) as u8;
        match self.format {
            Format::Gptq1 if stored == most => None,
            Format::Gptq1 => Some(stored + 1),
            _ => Some(stored),
        }
    }

    /// The scales [rows, groups].
    fn read_scales(&self, groups: usize) -> Result<Vec<f32>> {
        let stored = self.scales.to_f32()?;
        let scales: Vec<f32> = match self.format {
            Format::CompressedTensors => stored,
            _ => {
                let columns = (0..self.rows).flat_map(|row| (0..groups).map(move |group| (row, group)));
                columns.map(|(row, group)| stored[group * self.rows + row]).collect()
            }
        };
        match scales.iter().position(|scale| *scale <= 0.0) {
            None => Ok(scales),
            Some(at) => Err(Error::QuantizedTensor {
                tensor: self.scales.name.clone(),
                detail: format!(
                    "the scale of row {}, group {} is {}, expected numbers above 0: the checkpoint is damaged",
                    at / groups,
                    at % groups,
                    scales[at]
                ),
            }),
        }
    }
}

fn ambiguous(tensor: &str, stored: u8, row: usize, group: usize) -> Error {
    let detail = format!(
        "the zero point of row {row}, group {group} is stored as {stored}, which some programs read as {} and others as \
         0; use a checkpoint of the format gptq_v2, or a symmetric one",
        u32::from(stored) + 1
    );
    Error::QuantizedTensor { tensor: tensor.to_owned(), detail }
}
