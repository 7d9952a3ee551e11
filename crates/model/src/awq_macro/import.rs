//! An AWQ_MACRO file as a packed file.

use super::parts::{Content, Part, parts};
use crate::config::read_json;
use crate::packed::{
    Header, PackedFile, PackedWriter, QuantizationInfo, TensorKind, TensorPlan, expected_tensors,
};
use crate::{Config, Error, GenerationDefaults, Result, Tokenizer, TokenizerFiles};
use edgewen_layout::awq_macro::unpack;
use edgewen_layout::{GroupSize, QuantizedMatrix, WeightBits};
use half::f16;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// What an AWQ_MACRO file does not say about its model.
#[derive(Debug, Clone)]
pub struct Description {
    /// The shape of the model.
    pub config: Config,
    /// The model's sampling defaults.
    pub generation: GenerationDefaults,
    /// Tokenizer and chat template.
    pub tokenizer: TokenizerFiles,
}

impl Description {
    /// From a packed file of the same model.
    pub fn from_packed(file: &PackedFile) -> Result<Self> {
        let (config, generation) = (file.config().clone(), file.generation().clone());
        Ok(Self { config, generation, tokenizer: file.tokenizer_files()? })
    }

    /// From the directory of a checkpoint. It needs no weights, and may be that of an AWQ checkpoint: only the shape of
    /// the model is read.
    pub fn from_dir(path: &Path) -> Result<Self> {
        let config_path = path.join("config.json");
        if !config_path.exists() {
            return Err(Error::NoConfig { dir: path.to_owned() });
        }
        let config_json = read_json(&config_path)?;
        let generation_path = path.join("generation_config.json");
        let generation_json = generation_path.exists().then(|| read_json(&generation_path)).transpose()?;
        let generation = generation_json.as_ref().map(|json| (generation_path.as_path(), json));
        Ok(Self {
            config: Config::from_json(&config_path, &config_json)?,
            generation: GenerationDefaults::from_json(generation, (&config_path, &config_json))?,
            tokenizer: TokenizerFiles::from_dir(path)?,
        })
    }
}

/// Writes the AWQ_MACRO file `path` as the packed file `output`; embedding and head stay f16. Returns the length of
/// the packed file.
pub fn import(path: &Path, model: Description, output: &Path, force: bool) -> Result<u64> {
    let Description { config, generation, tokenizer } = model;
    let parts = parts(&config)?;
    let mut source = Source { path, file: open(path, &parts)? };
    Tokenizer::from_files(&tokenizer)?.check_vocabulary(config.vocab_size)?;
    let plan = plan(&config);
    let quantization = QuantizationInfo {
        method: "import".into(),
        group: GroupSize::G64.get(),
        head_bits: 16,
        source: path.display().to_string(),
        edgewen_version: env!("CARGO_PKG_VERSION").into(),
        ..Default::default()
    };
    let header = Header { config, generation, quantization, tokenizer };
    let expected: HashMap<String, usize> =
        plan.iter().map(|tensor| (tensor.name.clone(), tensor.shape[0])).collect();
    let mut writer = PackedWriter::create(output, header, plan, force)?;
    let (mut matrix, mut vector) = (None, Vec::new());
    for part in &parts {
        match &part.content {
            Content::Macros { tensor, rows, inputs } => {
                let read = source.macros(part, rows.len(), *inputs)?;
                let whole = append(&mut matrix, read);
                if rows.end == expected[tensor] {
                    writer.write(tensor, &whole.pack())?;
                    matrix = None;
                }
            }
            Content::Vector { tensor, elements } => {
                let values = source.f16(part)?;
                let values = values.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32());
                vector.extend(values.flat_map(f32::to_le_bytes));
                if elements.end == expected[tensor] {
                    writer.write(tensor, &vector)?;
                    vector.clear();
                }
            }
            Content::Dense { tensor, .. } => writer.write(tensor, &source.f16(part)?)?,
        }
    }
    let bytes = writer.file_bytes();
    writer.finish()?;
    Ok(bytes)
}

/// Opens the file and compares its length with that of the model's parts.
fn open(path: &Path, parts: &[Part]) -> Result<BufReader<File>> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let found = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
    let expected: u64 = parts.iter().map(|part| part.bytes).sum();
    let is_bias =
        |part: &&Part| matches!(&part.content, Content::Vector { tensor, .. } if tensor.ends_with("_bias"));
    let biases: u64 = parts.iter().filter(is_bias).map(|part| part.bytes).sum();
    let path = path.to_owned();
    match found {
        _ if found == expected => Ok(BufReader::new(file)),
        _ if found + biases == expected => Err(Error::AwqMacroNoBiases { path, expected, found }),
        _ => Err(Error::AwqMacroLength { path, expected, found }),
    }
}

fn plan(config: &Config) -> Vec<TensorPlan> {
    let kind = |name: &str, shape: &[usize]| match (name, shape.len()) {
        (_, 1) => TensorKind::F32,
        ("embed" | "head", _) => TensorKind::F16,
        _ => TensorKind::RowBlocks { bits: WeightBits::Four, group: GroupSize::G64 },
    };
    let list = expected_tensors(config).into_iter();
    list.map(|(name, shape)| TensorPlan { kind: kind(&name, &shape), name, shape }).collect()
}

/// Adds the rows of `next` to those of the same fused matrix read before.
fn append(matrix: &mut Option<QuantizedMatrix>, next: QuantizedMatrix) -> &QuantizedMatrix {
    match matrix {
        None => matrix.insert(next),
        Some(matrix) => {
            matrix.shape.rows += next.shape.rows;
            matrix.codes.extend(next.codes);
            matrix.scales.extend(next.scales);
            matrix.zeros.extend(next.zeros);
            matrix
        }
    }
}

struct Source<'a> {
    path: &'a Path,
    file: BufReader<File>,
}

impl Source<'_> {
    fn bytes(&mut self, part: &Part) -> Result<Vec<u8>> {
        let mut bytes = vec![0; part.bytes as usize];
        self.file.read_exact(&mut bytes).map_err(|e| Error::io("read", self.path, e))?;
        Ok(bytes)
    }

    fn wrong(&self, part: &Part, detail: String) -> Error {
        let tensor = match part.layer {
            Some(layer) => format!("layers.{layer}.{}", part.name),
            None => part.name.to_owned(),
        };
        Error::AwqMacroContent { path: self.path.to_owned(), tensor, detail }
    }

    /// Reads macros, their scales neither negative nor infinite nor NaN.
    fn macros(&mut self, part: &Part, rows: usize, inputs: usize) -> Result<QuantizedMatrix> {
        let bytes = self.bytes(part)?;
        let read = unpack(rows, inputs, &bytes).map_err(|e| self.wrong(part, e.to_string()))?;
        let groups = read.shape.groups();
        match read.scales.iter().position(|scale| !scale.is_finite() || *scale < f16::ZERO) {
            None => Ok(read),
            Some(at) => {
                let (row, group, scale) = (at / groups, at % groups, read.scales[at]);
                Err(self.wrong(part, format!("the scale of row {row}, group {group} is {scale}")))
            }
        }
    }

    /// Reads f16 values, all of them finite.
    fn f16(&mut self, part: &Part) -> Result<Vec<u8>> {
        let bytes = self.bytes(part)?;
        let infinite = |bytes: &[u8; 2]| !f16::from_le_bytes(*bytes).is_finite();
        match bytes.as_chunks().0.iter().position(infinite) {
            None => Ok(bytes),
            Some(at) => Err(self.wrong(part, format!("the value at index {at} is not finite"))),
        }
    }
}
