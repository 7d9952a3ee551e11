//! `edgewen eval kl`: how far a model's predictions are from those of a reference.

use std::path::Path;

use anyhow::{anyhow, bail};
use edgewen_eval::kl::{self, Distribution, Statistics, Subject};
use edgewen_eval::reference_logits::{self, Origin, Reference, Stored};
use edgewen_eval::stats::Estimate;
use edgewen_eval::windows::{self, Window};
use edgewen_eval::{Header, Run};
use serde::Serialize;
use serde_json::{Value, json};

use super::protocol::{ProtocolReport, Text};
use super::{Settings, identity, note_continued, watched};
use crate::args::{ComputeArgs, DeviceArg, KlArgs, ModelArgs, ProtocolArgs};
use crate::input::{self, Usage};
use crate::interrupt::{self, Second};
use crate::model::Model;
use crate::output::{self, Align, Table};

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    statistics: Statistics,
    model: String,
    model_sha256: String,
    reference: String,
    reference_sha256: String,
    protocol: Value,
    settings: Settings,
    seconds: f64,
}

/// Measures and prints, or stores the reference's logits.
pub fn run(arguments: &KlArgs) -> anyhow::Result<()> {
    let path = Path::new(&arguments.reference);
    let stored = path.is_file() && path.extension().is_some_and(|extension| extension == "safetensors");
    match (&arguments.save_logits, &arguments.model) {
        (Some(_), _) if stored => {
            Err(Usage("--reference is already a file of stored logits".to_string()).into())
        }
        (Some(output), _) => save(arguments, output),
        (None, Some(model)) if stored => against_stored(arguments, model, path),
        (None, Some(model)) => against_model(arguments, model),
        (None, None) => Err(Usage("--model is missing: what shall be compared?".to_string()).into()),
    }
}

/// A model as named; the reference is never run on a device that is being tested.
fn load(model: &str, protocol: &ProtocolArgs, compute: &ComputeArgs) -> anyhow::Result<Model> {
    Model::load(&ModelArgs { model: model.to_string() }, &protocol.to_context(), compute)
}

fn load_reference(arguments: &KlArgs) -> anyhow::Result<Model> {
    let ComputeArgs { threads, isa, .. } = arguments.compute;
    load(&arguments.reference, &arguments.protocol, &ComputeArgs { threads, isa, device: DeviceArg::Auto })
}

fn text(arguments: &KlArgs, model: &Model, most: usize) -> anyhow::Result<Text> {
    let Some(file) = &arguments.file else {
        return Err(Usage("--file is missing: a text to measure on".to_string()).into());
    };
    Text::read(file, &arguments.protocol, arguments.run.limit, model, most)
}

fn save(arguments: &KlArgs, output: &Path) -> anyhow::Result<()> {
    let mut reference = load_reference(arguments)?;
    let text = text(arguments, &reference, reference.config.max_position)?;
    let origin = Origin {
        model: identity(&arguments.reference)?,
        data: text.data.clone(),
        protocol: text.to_json(reference.kv),
    };
    let cancel = interrupt::listen(Second::Waits)?;
    let subject = Subject { name: &reference.name, backend: reference.backend.as_mut() };
    let bytes =
        watched(&cancel, |watch| reference_logits::save(output, subject, &origin, &text.windows, watch))?;
    let predictions: usize = text.windows.iter().map(Window::predictions).sum();
    if arguments.run.json {
        return output::json(&json!({
            "output": output, "file_bytes": bytes, "windows": text.windows.len(), "predictions": predictions,
            "reference": origin.model, "data": origin.data, "protocol": origin.protocol,
        }));
    }
    let (name, windows) = (output.display(), text.windows.len());
    output::note(&format!(
        "{name}: {predictions} predictions of {windows} windows, {}",
        output::bytes(bytes)
    ));
    Ok(())
}

fn against_model(arguments: &KlArgs, name: &str) -> anyhow::Result<()> {
    let mut model = load(name, &arguments.protocol, &arguments.compute)?;
    let mut reference = load_reference(arguments)?;
    same_vocabulary(&model, &reference.name, reference.config.vocab_size)?;
    let most = model.config.max_position.min(reference.config.max_position);
    let text = text(arguments, &model, most)?;
    let theirs = self::text(arguments, &reference, most)?;
    if text.documents != theirs.documents {
        return Err(different_tokenizers(&model, &reference.name, &text.data.name));
    }
    let mut protocol = text.to_json(model.kv);
    protocol["reference_kv"] = json!(reference.kv);
    let header = Header::new("kl", identity(name)?, text.data.clone(), protocol)
        .with_reference(identity(&arguments.reference)?);
    let subject = Subject { name: &reference.name, backend: reference.backend.as_mut() };
    let (statistics, settings, seconds) =
        measure(arguments, &mut model, Reference::Model(subject), &text.windows, header.clone())?;
    let protocol = ProtocolReport::new(&text, statistics.tokens);
    let fields = protocol.fields();
    report(arguments, &header, statistics, serde_json::to_value(&protocol)?, settings, seconds, fields)
}

fn against_stored(arguments: &KlArgs, name: &str, path: &Path) -> anyhow::Result<()> {
    let ProtocolArgs { windows, context, stride, separator, .. } = &arguments.protocol;
    if windows.is_some() || context.is_some() || stride.is_some() || separator.is_some() {
        return Err(Usage(
            "stored logits bring their protocol with them: leave out --windows, --context, --stride and --separator"
                .to_string(),
        )
        .into());
    }
    let mut stored = Stored::open(path)?;
    let mut model = load(name, &arguments.protocol, &arguments.compute)?;
    same_vocabulary(&model, &arguments.reference, stored.vocabulary())?;
    let longest = stored.windows().iter().map(|window| window.tokens.len() - 1).max().unwrap_or(0);
    if model.config.max_position < longest {
        let most = model.config.max_position;
        bail!("{name} was made for {most} tokens, and {} has windows of {longest}", path.display());
    }
    if let Some(file) = &arguments.file {
        same_text(&stored, file, &model, &arguments.reference)?;
    }
    let mut windows = stored.windows().to_vec();
    windows.truncate(arguments.run.limit.unwrap_or(usize::MAX));
    let identity_of_file = stored.identity().clone();
    let (data, mut protocol, reference) = match stored.origin() {
        Some(origin) => (origin.data.clone(), origin.protocol.clone(), origin.model.clone()),
        None => (identity_of_file.clone(), json!({ "windows": "all but the first token" }), identity_of_file),
    };
    protocol["kv"] = json!(model.kv);
    protocol["window_count"] = json!(windows.len());
    let header =
        Header::new("kl", identity(name)?, data.clone(), protocol.clone()).with_reference(reference.clone());
    let (statistics, settings, seconds) =
        measure(arguments, &mut model, Reference::Stored(&mut stored), &windows, header.clone())?;
    let fields = vec![
        ("file", data.name.clone()),
        ("SHA-256", data.sha256),
        ("logits of", reference.short()),
        ("windows", format!("{}, {}", windows.len(), protocol["windows"].as_str().unwrap_or_default())),
        ("tokens", format!("{} predicted", output::grouped(statistics.tokens as u64))),
    ];
    report(arguments, &header, statistics, protocol, settings, seconds, fields)
}

fn measure(
    arguments: &KlArgs,
    model: &mut Model,
    reference: Reference<'_>,
    windows: &[Window],
    header: Header,
) -> anyhow::Result<(Statistics, Settings, f64)> {
    let settings = Settings::of(model);
    let path = arguments.run.output.as_deref();
    let header = header.with_settings(serde_json::to_value(&settings)?);
    let mut run = Run::open(path, &header, arguments.run.restart)?;
    note_continued(&run, path, "windows");
    let cancel = interrupt::listen(Second::Exits)?;
    let started = std::time::Instant::now();
    let threads = model.threads;
    let subject = Subject { name: &model.name, backend: model.backend.as_mut() };
    let statistics =
        watched(&cancel, |watch| kl::measure(subject, reference, windows, &mut run, watch, threads))?;
    Ok((statistics, settings, started.elapsed().as_secs_f64()))
}

fn same_vocabulary(model: &Model, reference: &str, vocabulary: usize) -> anyhow::Result<()> {
    let own = model.config.vocab_size;
    if own != vocabulary {
        bail!(
            "{} and {reference} cannot be compared: their vocabularies have {own} and {vocabulary} tokens; take the \
             checkpoint that the model was made from",
            model.name
        );
    }
    Ok(())
}

/// Two vocabularies of one size can still be different.
fn different_tokenizers(model: &Model, reference: &str, file: &str) -> anyhow::Error {
    anyhow!(
        "{} and {reference} cannot be compared: their tokenizers cut {file} differently; take the checkpoint that the \
         model was made from",
        model.name
    )
}

/// Checks that stored logits are of this text, by this tokenizer.
fn same_text(stored: &Stored, file: &Path, model: &Model, reference: &str) -> anyhow::Result<()> {
    let text = input::read_text(file)?;
    let name = file.display();
    let Some(origin) = stored.origin() else {
        bail!("{reference} does not say of which text it is: leave out --file");
    };
    let data = edgewen_eval::Identity::of_bytes(name.to_string(), text.as_bytes());
    if data.sha256 != origin.data.sha256 {
        bail!("{reference} holds logits of {}, not of {}", origin.data.short(), data.short());
    }
    let protocol = serde_json::from_value(origin.protocol.clone())?;
    let separator = origin.protocol["separator"].as_str();
    let documents = windows::documents(&text, separator, &model.tokenizer)?;
    let cut = windows::cut(&documents, &protocol, windows::bos(&model.tokenizer)?)?;
    if !cut.starts_with(stored.windows()) {
        return Err(different_tokenizers(model, reference, &name.to_string()));
    }
    Ok(())
}

fn report(
    arguments: &KlArgs,
    header: &Header,
    statistics: Statistics,
    protocol: Value,
    settings: Settings,
    seconds: f64,
    fields: Vec<(&'static str, String)>,
) -> anyhow::Result<()> {
    let reference = header.reference.as_ref().map(|reference| reference.short()).unwrap_or_default();
    if !arguments.run.json {
        let mut all = vec![("model", header.model.short()), ("reference", reference)];
        all.extend(fields);
        all.push(("computed", settings.line(seconds)));
        return output::text_out(&format!("{}\n{}", plain(&statistics), output::fields(&all)));
    }
    let identity = |identity: &edgewen_eval::Identity| (identity.name.clone(), identity.sha256.clone());
    let (model, model_sha256) = identity(&header.model);
    let (reference, reference_sha256) = header.reference.as_ref().map(identity).unwrap_or_default();
    output::json(&Report {
        statistics,
        model,
        model_sha256,
        reference,
        reference_sha256,
        protocol,
        settings,
        seconds,
    })
}

fn plain(statistics: &Statistics) -> String {
    let plus = |estimate: Estimate, digits: usize| {
        format!("{:.digits$} +- {:.digits$}", estimate.value, estimate.standard_error)
    };
    let percent = |estimate: Estimate| {
        format!("{:.3} +- {:.3} %", 100.0 * estimate.value, 100.0 * estimate.standard_error)
    };
    let figures = output::fields(&[
        ("KL divergence", format!("{} nats", plus(statistics.kl.mean, 6))),
        ("same top token", percent(statistics.same_top)),
        ("change of p", percent(statistics.probability_difference.mean)),
        ("RMS of that", percent(statistics.rms_probability_difference)),
        ("perplexity", plus(statistics.perplexity, 4)),
        ("of the reference", plus(statistics.reference_perplexity, 4)),
        ("ln of the ratio", plus(statistics.ln_ratio, 6)),
        ("ratio", plus(statistics.ratio, 6)),
        ("difference", plus(statistics.difference, 6)),
        ("correlation", format!("{:.2} %", 100.0 * statistics.correlation)),
    ]);
    let mut table =
        Table::new([("", Align::Left), ("KL divergence", Align::Right), ("change of p", Align::Right)]);
    let values = |of: &Distribution| {
        [
            of.maximum, of.p99_9, of.p99, of.p95, of.p90, of.p75, of.median, of.p25, of.p10, of.p5, of.p1,
            of.p0_1, of.minimum,
        ]
    };
    let names = [
        "maximum", "99.9 %", "99 %", "95 %", "90 %", "75 %", "median", "25 %", "10 %", "5 %", "1 %", "0.1 %",
        "minimum",
    ];
    let (kl, change) = (values(&statistics.kl), values(&statistics.probability_difference));
    for ((name, kl), change) in names.iter().zip(kl).zip(change) {
        table.row([name.to_string(), format!("{kl:.6}"), format!("{:.3} %", 100.0 * change)]);
    }
    format!("{figures}\n{}", table.render())
}
