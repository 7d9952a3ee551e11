//! `edgewen eval perplexity`: how well a model predicts a text, with the protocol that the number belongs to.

use edgewen_eval::perplexity::{self, ByLength, Score};
use edgewen_eval::windows::Protocol;
use edgewen_eval::{Header, Identity, Run};
use serde::Serialize;

use super::protocol::{ProtocolReport, Text};
use super::{Settings, identity, note_continued, watched};
use crate::args::PerplexityArgs;
use crate::interrupt::{self, Second};
use crate::model::Model;
use crate::output;

#[derive(Serialize)]
struct Report {
    perplexity: f64,
    standard_error: f64,
    negative_log_likelihood: f64,
    #[serde(flatten)]
    by_length: Option<ByLength>,
    model: String,
    model_sha256: String,
    protocol: ProtocolReport,
    settings: Settings,
    seconds: f64,
}

/// Measures and prints.
pub fn run(arguments: &PerplexityArgs) -> anyhow::Result<()> {
    let mut model = Model::load(&arguments.model, &arguments.protocol.to_context(), &arguments.compute)?;
    let text = Text::read(
        &arguments.file,
        &arguments.protocol,
        arguments.run.limit,
        &model,
        model.config.max_position,
    )?;
    let settings = Settings::of(&model);
    let name: Identity = identity(&arguments.model.model)?;
    let header = Header::new("perplexity", name.clone(), text.data.clone(), text.to_json(model.kv))
        .with_settings(serde_json::to_value(&settings)?);
    let path = arguments.run.output.as_deref();
    let mut run = Run::open(path, &header, arguments.run.restart)?;
    note_continued(&run, path, "windows");

    let cancel = interrupt::listen(Second::Exits)?;
    let started = std::time::Instant::now();
    let score = watched(&cancel, |watch| {
        perplexity::measure(model.backend.as_mut(), &text.windows, &mut run, watch)
    })?;
    // Per word and byte only where every token of the text was predicted.
    let whole = matches!(text.protocol, Protocol::Rolling { .. }) && arguments.run.limit.is_none();
    let report = Report {
        perplexity: score.perplexity(),
        standard_error: score.standard_error(),
        negative_log_likelihood: score.negative_log_likelihood,
        by_length: whole.then(|| score.by_length(&text.documents)),
        model: model.name.clone(),
        model_sha256: name.sha256,
        protocol: ProtocolReport::new(&text, score.tokens),
        settings,
        seconds: started.elapsed().as_secs_f64(),
    };
    if arguments.run.json { output::json(&report) } else { output::text_out(&plain(&report, &score)) }
}

fn plain(report: &Report, score: &Score) -> String {
    let mut fields =
        vec![("perplexity", format!("{:.4} +- {:.4}", score.perplexity(), score.standard_error()))];
    if let Some(units) = report.by_length {
        fields.push(("per word", format!("{:.4}", units.word_perplexity)));
        fields.push(("per byte", format!("{:.6}; {:.6} bits", units.byte_perplexity, units.bits_per_byte)));
    }
    fields.push(("model", report.model.clone()));
    fields.extend(report.protocol.fields());
    fields.push(("computed", report.settings.line(report.seconds)));
    output::fields(&fields)
}
