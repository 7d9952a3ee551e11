//! `edgewen perplexity`: how well a model predicts a text, with the protocol that the number belongs to.

use anyhow::bail;
use edgewen_engine::perplexity::{self, Options, Score};
use edgewen_model::Tokenizer;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::args::PerplexityArgs;
use crate::input;
use crate::interrupt::{self, Interrupted, Second};
use crate::model::Model;
use crate::output::{self, grouped};
use crate::progress::{Progress, Shown};

#[derive(Serialize)]
struct Report<'a> {
    perplexity: f64,
    standard_error: f64,
    negative_log_likelihood: f64,
    model: &'a str,
    protocol: Protocol<'a>,
    settings: Settings<'a>,
    seconds: f64,
}

/// What has to be the same for two perplexities to be comparable.
#[derive(Serialize)]
struct Protocol<'a> {
    file: String,
    file_sha256: String,
    separator: Option<&'a str>,
    documents: usize,
    tokens: usize,
    context: usize,
    stride: Option<usize>,
    bos: Option<u32>,
    long_documents: &'static str,
}

#[derive(Serialize)]
struct Settings<'a> {
    device: &'a str,
    isa: &'a str,
    threads: usize,
    kv: &'a str,
}

/// Measures and prints.
pub fn run(arguments: &PerplexityArgs) -> anyhow::Result<()> {
    let text = input::read_text(&arguments.file)?;
    let mut model = Model::load(&arguments.model, &arguments.context, &arguments.compute)?;
    let documents = documents(&text, arguments.separator.as_deref(), &model.tokenizer)?;
    let name = arguments.file.display();
    if documents.iter().all(|document| document.len() < 2) {
        bail!("{name} has no document of two tokens or more: there is nothing to predict");
    }
    // Documents of their own are compared at the same length of context; one long text is read to its end.
    let cut = arguments.separator.is_some() && arguments.stride.is_none();
    let stride = arguments.stride.unwrap_or(model.context - 1);
    let options = Options { context: model.context, stride: Some(stride), first_window_only: cut };

    let cancel = interrupt::listen(Second::Exits)?;
    let started = std::time::Instant::now();
    let mut progress: Option<Progress> = None;
    let scored =
        perplexity::score(model.backend.as_mut(), &documents, &options, &cancel, &mut |done, total| {
            progress
                .get_or_insert_with(|| Progress::new(total as u64, "tokens", Shown::Count))
                .update(done as u64, "");
        });
    drop(progress);
    let score = match scored {
        Err(edgewen_engine::Error::Cancelled) => return Err(Interrupted.into()),
        scored => scored?,
    };

    let report = Report {
        perplexity: score.perplexity(),
        standard_error: score.standard_error(),
        negative_log_likelihood: score.negative_log_likelihood,
        model: &model.name,
        protocol: Protocol {
            file: name.to_string(),
            file_sha256: hex(&Sha256::digest(text.as_bytes())),
            separator: arguments.separator.as_deref(),
            documents: score.documents,
            tokens: score.tokens,
            context: model.context,
            stride: (!cut).then_some(stride),
            bos: bos(&model.tokenizer)?,
            long_documents: if cut { "cut at the context" } else { "continued in further windows" },
        },
        settings: Settings { device: &model.device, isa: &model.isa, threads: model.threads, kv: model.kv },
        seconds: started.elapsed().as_secs_f64(),
    };
    if arguments.json { output::json(&report) } else { output::text_out(&plain(&report, &score)) }
}

/// The text's documents as tokens, each as the tokenizer begins a text; white space around them is no part of them.
fn documents(text: &str, separator: Option<&str>, tokenizer: &Tokenizer) -> anyhow::Result<Vec<Vec<u32>>> {
    let parts: Vec<&str> = match separator {
        Some("") => bail!("--separator is empty"),
        Some(separator) => text.split(separator).map(str::trim).filter(|part| !part.is_empty()).collect(),
        None => vec![text],
    };
    parts.into_iter().map(|part| Ok(tokenizer.encode(part, true)?)).collect()
}

/// The token that the tokenizer puts before a text, if it does.
fn bos(tokenizer: &Tokenizer) -> anyhow::Result<Option<u32>> {
    let (with, without) = (tokenizer.encode("a", true)?, tokenizer.encode("a", false)?);
    Ok(with.first().copied().filter(|first| without.first() != Some(first)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn plain(report: &Report<'_>, score: &Score) -> String {
    let protocol = &report.protocol;
    let bos = match protocol.bos {
        Some(id) => format!("token {id} before each document"),
        None => "none; the first token of a document is not predicted".to_string(),
    };
    output::fields(&[
        ("perplexity", format!("{:.4} +- {:.4}", report.perplexity, report.standard_error)),
        ("model", report.model.to_string()),
        ("file", protocol.file.clone()),
        ("SHA-256", protocol.file_sha256.clone()),
        (
            "documents",
            protocol.separator.map_or("1, no separator".to_string(), |separator| {
                format!("{}, separated by {separator:?}", score.documents)
            }),
        ),
        ("tokens", format!("{} predicted", grouped(score.tokens as u64))),
        ("context", format!("{}; longer documents are {}", protocol.context, protocol.long_documents)),
        (
            "stride",
            protocol.stride.map_or("none, one window a document".to_string(), |stride| stride.to_string()),
        ),
        ("BOS", bos),
        (
            "computed",
            format!(
                "{}, {}, kv {}, in {}",
                report.settings.device,
                report.settings.isa,
                report.settings.kv,
                output::seconds(report.seconds)
            ),
        ),
    ])
}
