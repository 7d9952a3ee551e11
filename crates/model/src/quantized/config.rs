//! What a checkpoint's configuration says about its quantization.
//!
//! Only what changes the meaning of the stored integers is read; everything that edgewen has no arithmetic for (other
//! layouts of the words, quantized activations, online transforms) is refused here, before any weight is looked at.

use crate::config::{Fields, read_json};
use crate::{Error, Result};
use edgewen_layout::{GroupSize, WeightBits};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Who wrote the words, and so in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// AutoAWQ's `gemm` (Lin et al. 2023, arXiv 2306.00978): eight output channels in a word, interleaved.
    AutoAwq,
    /// GPTQ (Frantar et al. 2022, arXiv 2210.17323) as AutoGPTQ writes it: the zero points are stored less one.
    Gptq1,
    /// GPTQ as GPTQModel's `gptq_v2`: the zero points as they are.
    Gptq2,
    /// compressed-tensors' `pack-quantized`, which llm-compressor writes.
    CompressedTensors,
}

impl Format {
    /// For messages and files.
    pub fn name(self) -> &'static str {
        match self {
            Format::AutoAwq => "autoawq",
            Format::Gptq1 => "gptq",
            Format::Gptq2 => "gptq_v2",
            Format::CompressedTensors => "compressed-tensors",
        }
    }
}

/// Inputs that share a scale and a zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// So many of them.
    Inputs(usize),
    /// All inputs of an output channel.
    Channel,
}

impl Grouping {
    /// The number of inputs, for a matrix with `inputs` of them.
    pub fn inputs(self, inputs: usize) -> usize {
        match self {
            Grouping::Inputs(group) => group,
            Grouping::Channel => inputs,
        }
    }
}

impl std::fmt::Display for Grouping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Grouping::Inputs(group) => write!(f, "groups of {group}"),
            Grouping::Channel => write!(f, "whole channels"),
        }
    }
}

/// How a linear layer is quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// Bits of a code: 4 or 8.
    pub bits: u32,
    /// Inputs that share a scale.
    pub grouping: Grouping,
    /// No zero points are stored; they are in the middle of the codes, 8 or 128.
    pub symmetric: bool,
}

impl Scheme {
    /// The group of the packed file that holds such a layer exactly: its own; where that is none of 32, 64 and 128, the
    /// largest that divides it (several groups then have the same scale); for whole channels and for 8 bits rather 64,
    /// because then the accelerator can run it as well.
    pub fn natural_group(&self) -> GroupSize {
        let candidates = match (self.grouping, self.bits) {
            (Grouping::Channel, _) | (_, 8) => [GroupSize::G64, GroupSize::G128, GroupSize::G32],
            _ => [GroupSize::G128, GroupSize::G64, GroupSize::G32],
        };
        candidates.into_iter().find(|group| self.fits(*group)).unwrap_or(GroupSize::G32)
    }

    /// Four bits, or eight in the order that the group allows.
    pub fn natural_bits(&self) -> WeightBits {
        if self.bits == 4 { WeightBits::Four } else { eight_bits(self.natural_group()) }
    }

    /// Whether groups of `group` inputs never span two of the layer's.
    pub fn fits(&self, group: GroupSize) -> bool {
        match self.grouping {
            Grouping::Inputs(inputs) => inputs.is_multiple_of(group.get()),
            Grouping::Channel => true,
        }
    }
}

/// How the 8-bit matrix of a layer is stored: in segments, which exist for groups of 64 only.
pub fn eight_bits(group: GroupSize) -> WeightBits {
    if group == GroupSize::G64 { WeightBits::EightSegments } else { WeightBits::Eight }
}

/// What the configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantization {
    /// Who wrote the words.
    pub format: Format,
    /// The file that says so.
    pub path: PathBuf,
    /// The schemes that occur: one, but for compressed-tensors.
    pub schemes: Vec<Scheme>,
}

/// What can be imported, for messages.
const METHODS: &str = "edgewen imports \"awq\" (version gemm), \"gptq\" and \"compressed-tensors\" (pack-quantized); \
     use one of these, or quantize the bf16 or f16 checkpoint";
const AWQ: &str =
    "edgewen imports AutoAWQ's gemm with 4 bits; use such a checkpoint, or quantize the float one";
const GPTQ: &str = "edgewen imports \"gptq\" and \"gptq_v2\" with 4 or 8 bits; use such a checkpoint, or quantize the float one";
const COMPRESSED: &str = "edgewen imports pack-quantized integer weights of 4 or 8 bits with float activations; use \
     such a checkpoint, or quantize the float one";

impl Quantization {
    /// Looks for the quantization of the checkpoint in `dir`: in its config.json (given), or in the files that
    /// AutoAWQ and AutoGPTQ once wrote beside it. `None` for a float checkpoint.
    pub(crate) fn find(dir: &Path, config_path: &Path, config: &Map<String, Value>) -> Result<Option<Self>> {
        let fields = Fields::new(config_path, config);
        if let Some(inner) = fields.object("quantization_config")? {
            return Self::read(&inner, None).map(Some);
        }
        for (name, method) in [("quant_config.json", "awq"), ("quantize_config.json", "gptq")] {
            let path = dir.join(name);
            if path.exists() {
                let json = read_json(&path)?;
                return Self::read(&Fields::new(&path, &json), Some(method)).map(Some);
            }
        }
        Ok(None)
    }

    fn read(fields: &Fields<'_>, method: Option<&str>) -> Result<Self> {
        let stated = fields.text("quant_method")?.or(method);
        let (format, schemes) = match stated.map(str::to_ascii_lowercase).as_deref() {
            Some("awq") => (Format::AutoAwq, vec![read_awq(fields)?]),
            Some("gptq") => read_gptq(fields)?,
            Some("compressed-tensors") => (Format::CompressedTensors, read_compressed(fields)?),
            other => {
                let found = format!("\"quant_method\": \"{}\"", other.unwrap_or("none"));
                return Err(fields.unsupported(found, METHODS));
            }
        };
        Ok(Quantization { format, path: fields.path().to_owned(), schemes })
    }

    /// The scheme, of a format that has one for all layers.
    pub(super) fn scheme(&self) -> Scheme {
        self.schemes[0]
    }
}

fn read_awq(fields: &Fields<'_>) -> Result<Scheme> {
    let version = match fields.text("version")? {
        Some(version) => version,
        // transformers 5 and GPTQModel call it so.
        None => fields.text("format")?.or(fields.text("checkpoint_format")?).unwrap_or("gemm"),
    };
    if !version.eq_ignore_ascii_case("gemm") {
        return Err(fields.unsupported(format!("AWQ's version \"{version}\""), AWQ));
    }
    if let Some("llm-awq") = fields.text("backend")? {
        return Err(fields.unsupported("AWQ's backend \"llm-awq\"".into(), AWQ));
    }
    let bits = bits(fields, &["bits", "w_bit"], &[4], AWQ)?;
    let grouping = grouping(fields, &["group_size", "q_group_size"])?;
    Ok(Scheme { bits, grouping, symmetric: fields.boolean("zero_point")? == Some(false) })
}

fn read_gptq(fields: &Fields<'_>) -> Result<(Format, Vec<Scheme>)> {
    let stated = fields.text("checkpoint_format")?.or(fields.text("format")?).unwrap_or("gptq");
    let format = match stated.to_ascii_lowercase().as_str() {
        "gptq" => Format::Gptq1,
        "gptq_v2" => Format::Gptq2,
        _ => return Err(fields.unsupported(format!("GPTQ's format \"{stated}\""), GPTQ)),
    };
    if fields.boolean("is_marlin_format")? == Some(true) {
        return Err(fields.unsupported("\"is_marlin_format\": true".into(), GPTQ));
    }
    if let Some(words) = fields.text("pack_dtype")?.filter(|words| *words != "int32") {
        return Err(fields.unsupported(format!("\"pack_dtype\": \"{words}\""), GPTQ));
    }
    if let Some(Value::Object(rules)) = fields.get("dynamic") {
        // "-:" excludes layers, which shows in the tensors; everything else changes bits or groups.
        if let Some(rule) = rules.keys().find(|rule| !rule.starts_with("-:")) {
            let found = format!("\"dynamic\" with the rule \"{rule}\"");
            return Err(fields.unsupported(found, "edgewen imports GPTQ with one setting for all layers"));
        }
    }
    let bits = bits(fields, &["bits"], &[4, 8], GPTQ)?;
    let grouping = grouping(fields, &["group_size"])?;
    // "sym" only says that the stored zero points are all in the middle.
    Ok((format, vec![Scheme { bits, grouping, symmetric: false }]))
}

fn read_compressed(fields: &Fields<'_>) -> Result<Vec<Scheme>> {
    let refuse = |found: String| fields.unsupported(found, COMPRESSED);
    let check_format = |format: Option<&str>| match format {
        None | Some("pack-quantized") => Ok(()),
        Some(other) => Err(refuse(format!("compressed-tensors' format \"{other}\""))),
    };
    check_format(fields.text("format")?)?;
    if let Some(scheme) = fields.get("kv_cache_scheme") {
        return Err(refuse(format!("\"kv_cache_scheme\": {scheme}")));
    }
    if let Some(sparsity) = fields.object("sparsity_config")?
        && let Some(format) = sparsity.text("format")?.filter(|format| *format != "dense")
    {
        return Err(refuse(format!("the sparse format \"{format}\"")));
    }
    if let Some(transforms) = fields.object("transform_config")?
        && matches!(transforms.get("config_groups"), Some(Value::Object(groups)) if !groups.is_empty())
    {
        return Err(refuse("\"transform_config\" (rotations at run time)".into()));
    }
    let Some(Value::Object(groups)) = fields.get("config_groups") else {
        return Err(fields.missing("config_groups"));
    };
    let mut schemes = Vec::new();
    for name in groups.keys() {
        let in_group = || fields.missing(&format!("config_groups.{name}.weights"));
        let groups = Fields::new(fields.path(), groups);
        let group = groups.object(name)?.ok_or_else(in_group)?;
        check_format(group.text("format")?)?;
        for what in ["input_activations", "output_activations"] {
            if group.get(what).is_some() {
                return Err(refuse(format!("\"config_groups.{name}.{what}\" (quantized activations)")));
            }
        }
        let weights = group.object("weights")?.ok_or_else(in_group)?;
        if let Some(kind) = weights.text("type")?.filter(|kind| *kind != "int") {
            return Err(refuse(format!("weights of type \"{kind}\"")));
        }
        let grouping = match weights.text("strategy")? {
            Some("channel") => Grouping::Channel,
            Some("group") => grouping(&weights, &["group_size"])?,
            None if weights.get("group_size").is_some() => grouping(&weights, &["group_size"])?,
            other => {
                let found = format!("the strategy \"{}\"", other.unwrap_or("tensor"));
                return Err(refuse(found));
            }
        };
        let symmetric = weights.boolean("symmetric")?.unwrap_or(true);
        let bits = bits(&weights, &["num_bits"], &[4, 8], COMPRESSED)?;
        schemes.push(Scheme { bits, grouping, symmetric });
    }
    if schemes.is_empty() {
        return Err(fields.missing("config_groups"));
    }
    Ok(schemes)
}

fn bits(fields: &Fields<'_>, keys: &[&str], known: &[usize], supported: &str) -> Result<u32> {
    let (key, bits) = first(fields, keys, |key| fields.integer(key))?;
    if !known.contains(&bits) {
        return Err(fields.unsupported(format!("\"{key}\": {bits}"), supported));
    }
    Ok(bits as u32)
}

fn grouping(fields: &Fields<'_>, keys: &[&str]) -> Result<Grouping> {
    let (key, value) = first(fields, keys, |key| Ok(fields.get(key)))?;
    match value.as_i64() {
        Some(-1) => Ok(Grouping::Channel),
        Some(group @ 1..) if group % 32 == 0 && group <= 1 << 20 => Ok(Grouping::Inputs(group as usize)),
        _ => Err(fields.bad(key, value, "a multiple of 32, or -1 for one group a channel")),
    }
}

/// The first of the keys that is there.
fn first<'k, T>(
    fields: &Fields<'_>,
    keys: &[&'k str],
    read: impl Fn(&'k str) -> Result<Option<T>>,
) -> Result<(&'k str, T)> {
    for key in keys {
        if let Some(value) = read(key)? {
            return Ok((key, value));
        }
    }
    Err(Error::MissingKey { path: fields.path().to_owned(), key: keys[0].to_owned() })
}
