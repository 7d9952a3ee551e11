//! A Hugging Face checkpoint directory: config.json, safetensors files and the tokenizer's files.
//!
//! Opening reads the configuration and the headers only; weights stay in the mapped files until a tensor is asked
//! for, and `release` lets them go again, so that a model larger than memory can be quantized layer by layer.

mod expected;
mod shard;
mod weight;

use crate::config::{Fields, read_json};
use crate::quantized::Quantization;
use crate::{Config, Error, GenerationDefaults, Result, Tensor, TokenizerFiles};
use expected::{Expected, expected};
use serde_json::Value;
pub(crate) use shard::RawTensor;
use shard::Shard;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
pub use weight::Weight;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// An open checkpoint; its weights are memory-mapped.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config: Config,
    generation: GenerationDefaults,
    quantization: Option<Quantization>,
    shards: Vec<Shard>,
    /// Tensor name to shard.
    tensors: BTreeMap<String, usize>,
}

impl Checkpoint {
    /// Reads the configuration and the headers of all weight files. No weight is read.
    pub fn open(dir: &Path) -> Result<Checkpoint> {
        let config_path = dir.join("config.json");
        if !config_path.exists() {
            return Err(Error::NoConfig { dir: dir.to_owned() });
        }
        let config_json = read_json(&config_path)?;
        let config = Config::from_json(&config_path, &config_json)?;
        let quantization = Quantization::find(dir, &config_path, &config_json)?;
        let generation_path = dir.join("generation_config.json");
        let generation_json =
            if generation_path.exists() { Some(read_json(&generation_path)?) } else { None };
        let generation = GenerationDefaults::from_json(
            generation_json.as_ref().map(|json| (generation_path.as_path(), json)),
            (&config_path, &config_json),
        )?;
        let (shards, tensors) = open_shards(dir)?;
        Ok(Checkpoint { dir: dir.to_owned(), config, generation, quantization, shards, tensors })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The shape of the model.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The model's sampling defaults.
    pub fn generation(&self) -> &GenerationDefaults {
        &self.generation
    }

    /// How its linear layers are quantized, if they are: AutoAWQ, GPTQ or compressed-tensors.
    pub fn quantization(&self) -> Option<&Quantization> {
        self.quantization.as_ref()
    }

    /// Whether a tensor of that name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Names of all tensors, sorted.
    pub fn tensor_names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    /// Bytes of all tensors, of whatever type.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.keys().filter_map(|name| self.raw(name)).map(|tensor| tensor.bytes.len() as u64).sum()
    }

    /// Bits a weight of all matrices, with whatever a quantized layer stores beside its codes.
    pub fn bits_per_weight(&self) -> f64 {
        let matrices = expected(&self.config).into_iter().filter(|tensor| tensor.shape.len() == 2);
        let (mut bytes, mut weights) = (0, 0);
        for Expected { name, shape, .. } in matrices {
            let module = name.strip_suffix("weight").unwrap_or(&name);
            let parts =
                self.tensors.range(module.to_owned()..).take_while(|(part, _)| part.starts_with(module));
            let parts = parts.filter(|(part, _)| !part.ends_with(".bias"));
            bytes += parts.filter_map(|(part, _)| self.raw(part)).map(|part| part.bytes.len()).sum::<usize>();
            weights += shape.iter().product::<usize>();
        }
        8.0 * bytes as f64 / weights as f64
    }

    /// A tensor by its name.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>> {
        let found = match self.tensors.get(name) {
            Some(&shard) => self.shards[shard].tensor(name)?,
            None => None,
        };
        found.ok_or_else(|| self.missing(name, "the forward pass uses it"))
    }

    /// A vector of `len` elements, or zeros if the checkpoint has none: the biases of models without them.
    pub fn vector_or_zeros(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        if !self.contains(name) {
            return Ok(vec![0.0; len]);
        }
        self.tensor(name)?.to_f32()
    }

    /// Checks that every tensor the configuration asks for is there with the right shape and type. No weight is read.
    /// Query, key and value biases may be absent; a `lm_head.weight` beside a tied embedding is ignored, as
    /// `transformers` does. A linear layer may be quantized instead, if the configuration says how.
    pub fn validate(&self) -> Result<()> {
        for Expected { name, shape, why, optional } in expected(&self.config) {
            let Some(&shard) = self.tensors.get(&name) else {
                let quantized = match name.strip_suffix(".weight") {
                    Some(module) => self.opened(module)?.is_some(),
                    None => false,
                };
                if optional || quantized {
                    continue;
                }
                return Err(self.missing(&name, &(why + &self.hint(&name))));
            };
            let shard = &self.shards[shard];
            let found = shard.shape(&name).unwrap_or_default();
            if found != shape {
                let (path, found) = (shard.path().to_owned(), found.to_vec());
                return Err(Error::WrongShape { tensor: name, path, expected: shape, found });
            }
            shard.tensor(&name)?;
        }
        self.refuse_biases()
    }

    /// Why a matrix may be missing.
    fn hint(&self, name: &str) -> String {
        let module = name.strip_suffix(".weight").unwrap_or(name);
        let parts = ["qweight", "weight_packed"].map(|part| format!("{module}.{part}"));
        match (parts.iter().find(|part| self.contains(part)), &self.quantization) {
            (Some(part), None) => format!(
                "; \"{part}\" is there, but neither config.json nor quant_config.json says how it is quantized"
            ),
            (Some(part), Some(q)) => {
                format!("; \"{part}\" is there, which is not imported from {} checkpoints", q.format.name())
            }
            _ => String::new(),
        }
    }

    /// Quantizers write biases of zeros where a layer has none. Others would be left out of the sum.
    fn refuse_biases(&self) -> Result<()> {
        if self.quantization.is_none() {
            return Ok(());
        }
        for layer in 0..self.config.layers {
            for part in ["self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"] {
                let name = format!("model.layers.{layer}.{part}.bias");
                if self.contains(&name) && self.tensor(&name)?.to_f32()?.iter().any(|bias| *bias != 0.0) {
                    let detail = "it is not all zeros, but Qwen2 models have no bias there: \
                                  the checkpoint is another model's";
                    return Err(Error::QuantizedTensor { tensor: name, detail: detail.to_owned() });
                }
            }
        }
        Ok(())
    }

    /// Tells the kernel that the mapped pages may go; they come back from the file when next touched.
    pub fn release(&self) {
        for shard in &self.shards {
            shard.release();
        }
    }

    /// The tokenizer's files.
    pub fn tokenizer_files(&self) -> Result<TokenizerFiles> {
        TokenizerFiles::from_dir(&self.dir)
    }

    fn raw(&self, name: &str) -> Option<RawTensor<'_>> {
        self.shards[*self.tensors.get(name)?].raw(name)
    }

    fn missing(&self, name: &str, why: &str) -> Error {
        Error::MissingTensor { tensor: name.to_owned(), dir: self.dir.clone(), why: why.to_owned() }
    }
}

type Shards = (Vec<Shard>, BTreeMap<String, usize>);

fn open_shards(dir: &Path) -> Result<Shards> {
    let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
    if single.exists() {
        let shard = Shard::open(&single)?;
        let tensors = shard.names().into_iter().map(|name| (name, 0)).collect();
        return Ok((vec![shard], tensors));
    }
    if index.exists() {
        return open_index(dir, &index);
    }
    let others = [
        (
            "pytorch_model.bin",
            ": pytorch_model.bin is PyTorch's old format; save it again with transformers' save_pretrained",
        ),
        (
            "pytorch_model.bin.index.json",
            ": the weights are in PyTorch's old format; save them again with transformers' save_pretrained",
        ),
    ];
    let hint = others
        .iter()
        .find(|(name, _)| dir.join(name).exists())
        .map_or(": download the weights", |(_, hint)| hint);
    Err(Error::NoWeights { dir: dir.to_owned(), hint: hint.to_owned() })
}

fn open_index(dir: &Path, index: &Path) -> Result<Shards> {
    let json = read_json(index)?;
    let fields = Fields::new(index, &json);
    let Some(Value::Object(weight_map)) = json.get("weight_map") else {
        return Err(fields.bad("weight_map", json.get("weight_map").unwrap_or(&Value::Null), "an object"));
    };
    let mut tensors_of: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for (tensor, file) in weight_map {
        // A plain file name: nothing may be read from outside of the directory.
        let plain = file.as_str().filter(|name| Path::new(name).file_name().is_some_and(|f| f == *name));
        let Some(file_name) = plain else { return Err(fields.bad(tensor, file, "the name of a file")) };
        tensors_of.entry(file_name).or_default().push(tensor);
    }
    let (mut shards, mut tensors) = (Vec::new(), BTreeMap::new());
    for (file, names) in tensors_of {
        let path = dir.join(file);
        if !path.exists() {
            return Err(Error::MissingShard { shard: path, index: index.to_owned(), tensors: names.len() });
        }
        let shard = Shard::open(&path)?;
        for name in names {
            if !shard.contains(name) {
                return Err(Error::NotInShard { tensor: name.clone(), shard: path, index: index.to_owned() });
            }
            tensors.insert(name.clone(), shards.len());
        }
        shards.push(shard);
    }
    Ok((shards, tensors))
}
