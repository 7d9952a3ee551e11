//! `edgewen eval compare`: several models against one reference, as a table and as a page.

mod extras;
mod html;

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow};
use edgewen_eval::compare::{Measured, compare};
use edgewen_eval::kl::Subject;
use edgewen_eval::stats::Estimate;
use edgewen_eval::tasks::Summary;
use serde::Serialize;

use super::protocol::{ProtocolReport, Text};
use super::{Settings, identity, watched};
use crate::args::{CompareArgs, ComputeArgs, DeviceArg, ModelArgs};
use crate::files;
use crate::interrupt::{self, Second};
use crate::model::{Model, Source};
use crate::output::{self, Align, Table};

/// Everything about the models, and what `--json` prints.
#[derive(Serialize)]
struct Comparison {
    edgewen_version: &'static str,
    reference: String,
    reference_sha256: String,
    protocol: ProtocolReport,
    settings: Settings,
    seconds: f64,
    models: Vec<Compared>,
}

/// One model.
#[derive(Serialize)]
struct Compared {
    /// As it was given.
    model: String,
    sha256: String,
    bytes: u64,
    bits_per_weight: f64,
    #[serde(flatten)]
    measured: Measured,
    tasks: Vec<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantization: Option<edgewen_quant::Report>,
}

impl Compared {
    fn name(&self) -> &str {
        &self.measured.name
    }
}

/// Measures, prints, and writes the page.
pub fn run(arguments: &CompareArgs) -> anyhow::Result<()> {
    let mut extras = extras::read(arguments)?;
    // Opened now: a folder that is not there is no news for after the work.
    let page = arguments.html.as_deref().map(files::begin).transpose()?;
    let cancel = interrupt::listen(Second::Exits)?;
    let ComputeArgs { threads, isa, device } = arguments.compute;
    let load = |model: &str, device| {
        let model = ModelArgs { model: model.to_string() };
        Model::load(&model, &arguments.protocol.to_context(), &ComputeArgs { threads, isa, device })
    };
    let mut reference = load(&arguments.reference, DeviceArg::Auto)?;
    let mut models = Vec::new();
    for name in &arguments.models {
        models.push(load(name, device)?);
    }
    let most =
        models.iter().map(|model| model.config.max_position).fold(reference.config.max_position, usize::min);
    let read = |model: &Model| Text::read(&arguments.file, &arguments.protocol, arguments.limit, model, most);
    let text = read(&reference)?;
    for model in &models {
        if read(model)?.documents != text.documents {
            return Err(anyhow!(
                "{} and {} cannot be compared: their tokenizers cut {} differently",
                model.name,
                reference.name,
                text.data.name
            ));
        }
    }
    let settings = Settings::of(models.first().unwrap_or(&reference));
    let (reference_name, count) = (reference.name.clone(), reference.threads);
    let started = Instant::now();
    let subject = Subject { name: &reference_name, backend: reference.backend.as_mut() };
    let subjects = models
        .iter_mut()
        .map(|model| Subject { name: &model.name, backend: model.backend.as_mut() })
        .collect();
    let measured = watched(&cancel, |watch| compare(subject, subjects, &text.windows, watch, count))?;
    let seconds = started.elapsed().as_secs_f64();

    let tokens = measured.first().map_or(0, |measured| measured.statistics.tokens);
    let mut all = Vec::new();
    for ((mut measured, name), short) in
        measured.into_iter().zip(&arguments.models).zip(short_names(&arguments.models))
    {
        let (bytes, bits_per_weight) = size(name)?;
        measured.name = short;
        let (tasks, quantization) = extras.remove(0);
        all.push(Compared {
            model: name.clone(),
            sha256: identity(name)?.sha256,
            bytes,
            bits_per_weight,
            measured,
            tasks,
            quantization,
        });
    }
    let comparison = Comparison {
        edgewen_version: env!("CARGO_PKG_VERSION"),
        reference: reference_name,
        reference_sha256: identity(&arguments.reference)?.sha256,
        protocol: ProtocolReport::new(&text, tokens),
        settings,
        seconds,
        models: all,
    };
    if let (Some(mut file), Some(path)) = (page, &arguments.html) {
        file.write_all(html::page(&comparison)?.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        files::finish(file, path)?;
        output::note(&format!("wrote {}", path.display()));
    }
    if arguments.json { output::json(&comparison) } else { output::text_out(&plain(&comparison)) }
}

/// Names without folders and endings, and without the words at the beginning that all of them share.
fn short_names(models: &[String]) -> Vec<String> {
    let short = |model: &String| {
        let name =
            Path::new(model).file_name().map_or(model.clone(), |name| name.to_string_lossy().into_owned());
        name.strip_suffix(".ewn").map(str::to_string).unwrap_or(name)
    };
    let names: Vec<String> = models.iter().map(short).collect();
    if !names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1) {
        return models.to_vec();
    }
    let Some((first, others)) = names.split_first() else { return names };
    let ends = |(index, letter): (usize, char)| "-_.".contains(letter).then_some(index + letter.len_utf8());
    let shared =
        |&end: &usize| !others.is_empty() && others.iter().all(|name| name.starts_with(&first[..end]));
    let cut = first.char_indices().filter_map(ends).filter(shared).max().unwrap_or(0);
    let rest = |name: &String| name.get(cut..).filter(|rest| !rest.is_empty()).map(str::to_string);
    names.iter().map(rest).collect::<Option<Vec<String>>>().unwrap_or(names)
}

/// Bytes of a model, and bits a weight over all its matrices: scales, zero points, padding and embedding included.
fn size(name: &str) -> anyhow::Result<(u64, f64)> {
    Ok(match Source::open(name)? {
        Source::Packed(file) => {
            let (mut bytes, mut weights) = (0, 0);
            for tensor in file.tensors().filter(|tensor| tensor.shape.len() == 2) {
                bytes += tensor.bytes;
                weights += tensor.shape.iter().product::<usize>();
            }
            (file.file_bytes(), 8.0 * bytes as f64 / weights as f64)
        }
        Source::Checkpoint(checkpoint) => (checkpoint.tensor_bytes(), checkpoint.bits_per_weight()),
    })
}

/// Value and standard error.
fn plus(estimate: Estimate, digits: usize) -> String {
    format!("{:.digits$} ± {:.digits$}", estimate.value, estimate.standard_error)
}

fn percent(estimate: Estimate) -> String {
    format!("{:.2} ± {:.2} %", 100.0 * estimate.value, 100.0 * estimate.standard_error)
}

fn plain(comparison: &Comparison) -> String {
    let mut table = Table::new([
        ("model", Align::Left),
        ("size", Align::Right),
        ("bits", Align::Right),
        ("perplexity", Align::Right),
        ("KL, nats", Align::Right),
        ("99 %", Align::Right),
        ("same top", Align::Right),
    ]);
    let blank = String::new;
    if let Some(first) = comparison.models.first() {
        let perplexity = plus(first.measured.statistics.reference_perplexity, 3);
        table.row(["the reference".into(), blank(), blank(), perplexity, blank(), blank(), blank()]);
    }
    for model in &comparison.models {
        let statistics = &model.measured.statistics;
        table.row([
            model.name().to_string(),
            output::bytes(model.bytes),
            format!("{:.2}", model.bits_per_weight),
            plus(statistics.perplexity, 3),
            plus(statistics.kl.mean, 5),
            format!("{:.4}", statistics.kl.p99),
            percent(statistics.same_top),
        ]);
    }
    let mut text = table.render();
    if comparison.models.iter().any(|model| !model.tasks.is_empty()) {
        let mut table = Table::new([
            ("task", Align::Left),
            ("model", Align::Left),
            ("metric", Align::Left),
            ("value", Align::Right),
            ("items", Align::Right),
        ]);
        for model in &comparison.models {
            for task in &model.tasks {
                table.row([
                    format!("{}, {}", task.task, task.protocol),
                    model.name().to_string(),
                    task.metric.to_string(),
                    format!("{:.4} ± {:.4}", task.value, task.standard_error),
                    output::grouped(task.items as u64),
                ]);
            }
        }
        text.push_str(&format!("\n{}", table.render()));
    }
    let mut fields = vec![("reference", comparison.reference.clone())];
    fields.extend(comparison.protocol.fields());
    fields.push(("computed", comparison.settings.line(comparison.seconds)));
    format!("{text}\n{}", output::fields(&fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_distinct() {
        let all =
            |models: &[&str]| short_names(&models.iter().map(|name| name.to_string()).collect::<Vec<_>>());
        assert_eq!(all(&["a/rtn.ewn", "b/awq.ewn", "demo", "dir/"]), ["rtn", "awq", "demo", "dir"]);
        assert_eq!(all(&["a/q.ewn", "b/q.ewn"]), ["a/q.ewn", "b/q.ewn"]);
        assert_eq!(all(&["qwen-2-rtn-g64.ewn", "qwen-2-awq.ewn"]), ["rtn-g64", "awq"]);
        assert_eq!(all(&["q-.ewn", "q-é.ewn"]), ["q-", "q-é"]);
        assert_eq!(all(&["a-b.ewn"]), ["a-b"]);
    }
}
