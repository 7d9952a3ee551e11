//! `edgewen inspect`: what is in a packed file, and whether it is still as it was written.

use anyhow::bail;
use edgewen_model::packed::{PackedFile, TensorEntry, TensorKind, VerifyReport};
use edgewen_model::{Config, GenerationDefaults, RopeScaling};
use serde::Serialize;

use crate::args::InspectArgs;
use crate::model::Source;
use crate::output::{self, Align, Table, grouped};

#[derive(Serialize)]
struct Report<'a> {
    file: &'a str,
    file_bytes: u64,
    config: &'a Config,
    generation: &'a GenerationDefaults,
    quantization: &'a edgewen_model::packed::QuantizationInfo,
    tokenizer: TokenizerReport,
    tensors: Vec<TensorRow<'a>>,
    totals: Totals,
    #[serde(skip_serializing_if = "Option::is_none")]
    verify: Option<Verified>,
}

#[derive(Serialize)]
struct TokenizerReport {
    vocabulary: usize,
    chat_template: bool,
}

#[derive(Serialize)]
struct TensorRow<'a> {
    name: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<usize>,
    shape: &'a [usize],
    offset: u64,
    bytes: u64,
    bits_per_weight: f64,
    sha256: &'a str,
}

#[derive(Serialize)]
struct Totals {
    parameters: u64,
    tensor_bytes: u64,
    bits_per_weight: f64,
}

#[derive(Serialize)]
struct Verified {
    ok: bool,
    parts: VerifyReport,
}

/// Prints the contents; with `--verify`, reads all of it and fails if anything is damaged.
pub fn run(arguments: &InspectArgs) -> anyhow::Result<()> {
    let file = match Source::open(&arguments.file)? {
        Source::Packed(file) => file,
        Source::Checkpoint(_) => {
            bail!(
                "{} is a directory: inspect reads packed files, which `edgewen quantize` writes",
                arguments.file
            )
        }
    };
    let verified = match arguments.verify {
        true => Some(file.verify()?),
        false => None,
    };
    let damaged = verified.as_ref().map_or(0, |report| problems(report).count());
    let parts = verified.as_ref().map_or(0, |report| report.tensors.len());
    let report = report(&file, verified)?;
    match arguments.json {
        true => output::json(&report)?,
        false => output::text_out(&text(&report))?,
    }
    if damaged != 0 {
        bail!("{}: {damaged} of {parts} parts are damaged; copy or make the file again", file.name());
    }
    Ok(())
}

fn problems(report: &VerifyReport) -> impl Iterator<Item = (&str, &str)> {
    report.tensors.iter().filter_map(|part| Some((part.name.as_str(), part.problem.as_deref()?)))
}

fn report(file: &PackedFile, verified: Option<VerifyReport>) -> anyhow::Result<Report<'_>> {
    let tensors: Vec<_> = file.tensors().map(row).collect();
    let parameters: u64 = file.tensors().map(parameters).sum();
    let tensor_bytes: u64 = tensors.iter().map(|tensor| tensor.bytes).sum();
    // A damaged tokenizer must not hide the report that says so.
    let tokenizer = match file.tokenizer() {
        Ok(tokenizer) => tokenizer.vocab_size(),
        Err(_) if verified.is_some() => 0,
        Err(error) => return Err(error.into()),
    };
    Ok(Report {
        file: file.name(),
        file_bytes: file.file_bytes(),
        config: file.config(),
        generation: file.generation(),
        quantization: file.quantization(),
        tokenizer: TokenizerReport {
            vocabulary: tokenizer,
            chat_template: matches!(file.chat_template(), Ok(Some(_))),
        },
        tensors,
        totals: Totals {
            parameters,
            tensor_bytes,
            bits_per_weight: tensor_bytes as f64 * 8.0 / parameters as f64,
        },
        verify: verified.map(|parts| Verified { ok: parts.is_ok(), parts }),
    })
}

/// Weights of a tensor: the elements, but for column orders, which are none.
fn parameters(tensor: &TensorEntry) -> u64 {
    if tensor.kind == TensorKind::U32 { 0 } else { elements(tensor) }
}

fn elements(tensor: &TensorEntry) -> u64 {
    tensor.shape.iter().map(|&length| length as u64).product()
}

fn row(tensor: &TensorEntry) -> TensorRow<'_> {
    let kind = tensor.kind.name();
    let (bits, group) = match tensor.kind {
        TensorKind::RowBlocks { bits, group } => (Some(bits.count()), Some(group.get())),
        TensorKind::F16 | TensorKind::Bf16 | TensorKind::F32 | TensorKind::U32 => (None, None),
    };
    TensorRow {
        name: &tensor.name,
        kind,
        bits,
        group,
        shape: &tensor.shape,
        offset: tensor.offset,
        bytes: tensor.bytes,
        bits_per_weight: tensor.bytes as f64 * 8.0 / elements(tensor) as f64,
        sha256: &tensor.sha256,
    }
}

fn text(report: &Report<'_>) -> String {
    let mut text = output::fields(&summary(report));
    let mut table = Table::new([
        ("tensor", Align::Left),
        ("kind", Align::Left),
        ("shape", Align::Right),
        ("bytes", Align::Right),
        ("bits/weight", Align::Right),
    ]);
    for tensor in &report.tensors {
        let kind = match (tensor.bits, tensor.group) {
            (Some(bits), Some(group)) if tensor.kind == "segments" => {
                format!("{bits} bits, group {group}, segments")
            }
            (Some(bits), Some(group)) => format!("{bits} bits, group {group}"),
            _ => tensor.kind.to_string(),
        };
        let shape = tensor.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x ");
        let bits = format!("{:.2}", tensor.bits_per_weight);
        table.row([tensor.name.to_string(), kind, shape, grouped(tensor.bytes), bits]);
    }
    let totals = &report.totals;
    table.row([
        "total".to_string(),
        String::new(),
        grouped(totals.parameters),
        grouped(totals.tensor_bytes),
        format!("{:.2}", totals.bits_per_weight),
    ]);
    text.push('\n');
    text.push_str(&table.render());
    if let Some(verified) = &report.verify {
        text.push('\n');
        for (name, problem) in problems(&verified.parts) {
            text.push_str(&format!("{name}: {problem}\n"));
        }
        if verified.ok {
            text.push_str(&format!("verified: all {} parts are as written\n", verified.parts.tensors.len()));
        }
    }
    text
}

fn summary(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let (config, generation, quantization) = (report.config, report.generation, report.quantization);
    let model = format!(
        "Qwen2, {} layers, hidden {}, feed-forward {}, {} heads of {}, {} key-value heads",
        config.layers,
        config.hidden_size,
        config.intermediate_size,
        config.heads,
        config.head_dim,
        config.kv_heads
    );
    let scaling = match &config.rope.scaling {
        RopeScaling::None => String::new(),
        RopeScaling::Linear { factor } => format!(", linear scaling by {factor}"),
        RopeScaling::Yarn { factor, original_max_position, .. } => {
            format!(", YaRN by {factor} from {original_max_position}")
        }
    };
    let head = if config.tie_word_embeddings { "tied head" } else { "untied head" };
    let template = if report.tokenizer.chat_template { "chat template" } else { "no chat template" };
    let ends: Vec<String> = generation.eos.iter().map(u32::to_string).collect();
    let mut method = format!(
        "{}, group {}, head {} bits",
        quantization.method, quantization.group, quantization.head_bits
    );
    if quantization.calibration_tokens != 0 {
        let (text, tokens) = (&quantization.calibration, quantization.calibration_tokens);
        method.push_str(&format!("; calibrated on {} tokens of {text}", grouped(tokens as u64)));
    }
    let matrices = |bits| {
        let is_layer =
            |tensor: &&TensorRow<'_>| tensor.name.starts_with("layers.") && tensor.bits == Some(bits);
        report.tensors.iter().filter(is_layer).count()
    };
    let mixed = match (matrices(4), matrices(8)) {
        (_, 0) => String::new(),
        (four, eight) => format!("{four} matrices of 4 bits, {eight} of 8"),
    };
    vec![
        ("file", format!("{}, {} bytes", report.file, grouped(report.file_bytes))),
        ("model", model),
        ("context", format!("{} tokens, rope theta {}{scaling}", config.max_position, config.rope.theta)),
        ("vocabulary", format!("{} rows, {head}", config.vocab_size)),
        ("tokenizer", format!("{} tokens, {template}", report.tokenizer.vocabulary)),
        ("end tokens", if ends.is_empty() { "none".to_string() } else { ends.join(", ") }),
        ("quantization", method),
        ("layers", mixed),
        ("made by", format!("edgewen {} from {}", quantization.edgewen_version, quantization.source)),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .collect()
}
