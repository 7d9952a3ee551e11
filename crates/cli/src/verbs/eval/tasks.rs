//! `edgewen eval tasks`: multiple choice, last words and written answers, item by item.

use std::path::Path;

use anyhow::Context;
use edgewen_eval::tasks::{self, Line, Outcome, Subject, Summary, Task, Trial};
use edgewen_eval::{Header, Identity, Run};
use edgewen_model::ChatTemplate;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Settings, identity, note_continued};
use crate::args::{RunArgs, TaskArg, TasksArgs};
use crate::input::Usage;
use crate::interrupt::{self, Interrupted, Second};
use crate::model::Model;
use crate::output::{self, Align, Table};
use crate::progress::{Progress, Shown};

/// Tokens that a written answer may take unless something else is asked for.
const ANSWER_TOKENS: usize = 32;

/// What is measured.
pub(super) struct Asked {
    /// The measurement's name in its file.
    pub kind: &'static str,
    /// What the figures depend on besides model, data, context and cache.
    pub protocol: Value,
    /// The protocol for people.
    pub text: Vec<&'static str>,
    /// Most trials to run.
    pub limit: Option<usize>,
    /// All of them.
    pub trials: Vec<Trial>,
    /// The model's chat template.
    pub template: Option<ChatTemplate>,
}

#[derive(Serialize)]
struct Report<'a> {
    model: &'a Identity,
    data: &'a Identity,
    protocol: &'a Value,
    figures: &'a [Summary],
    /// Items of which the beginning did not fit the context.
    cut_items: usize,
    settings: Settings,
    seconds: f64,
    continued_items: usize,
    output: Option<&'a Path>,
}

/// Measures and prints.
pub fn run(arguments: &TasksArgs) -> anyhow::Result<()> {
    let task = task(arguments)?;
    let bytes = read_bytes(&arguments.file)?;
    let trials = task.read(&arguments.file, &bytes)?;
    let mut model = Model::load(&arguments.model, &arguments.context, &arguments.compute)?;
    let template = model.chat_template()?;
    if arguments.chat && template.is_none() {
        return Err(crate::model::no_template(&model.name));
    }
    let mut protocol = json!({ "task": task.name(), "asked_as": task.protocol() });
    if let Task::Answers { max_tokens, .. } = task {
        protocol["max_tokens"] = json!(max_tokens);
    }
    let asked = Asked {
        kind: "tasks",
        protocol,
        text: vec![task.describe()],
        limit: arguments.run.limit,
        trials,
        template,
    };
    measure(&mut model, &arguments.model.model, &arguments.file, &bytes, asked, &arguments.run)
}

/// The task that the flags name.
fn task(arguments: &TasksArgs) -> anyhow::Result<Task> {
    let (chat, max_tokens) = (arguments.chat, arguments.max_tokens);
    if arguments.task != TaskArg::Answers && (chat || max_tokens.is_some()) {
        let flag = if chat { "--chat" } else { "--max-tokens" };
        return Err(
            Usage(format!("{flag} is for --task answers: nothing is written in the other tasks")).into()
        );
    }
    Ok(match arguments.task {
        TaskArg::Arc => Task::Arc,
        TaskArg::Piqa => Task::Piqa,
        TaskArg::Lambada => Task::Lambada,
        TaskArg::Choices => Task::Choices,
        TaskArg::Answers => Task::Answers { chat, max_tokens: max_tokens.unwrap_or(ANSWER_TOKENS) },
    })
}

/// Runs the trials that the output file does not hold yet, and prints the figures of all.
pub(super) fn measure(
    model: &mut Model,
    source: &str,
    path: &Path,
    bytes: &[u8],
    asked: Asked,
    arguments: &RunArgs,
) -> anyhow::Result<()> {
    let Asked { kind, mut protocol, text, limit, mut trials, template } = asked;
    trials.truncate(limit.unwrap_or(usize::MAX));
    protocol["context"] = json!(model.context);
    protocol["kv"] = json!(model.kv);
    let settings = Settings::of(model);
    let data = Identity::of_bytes(path.display().to_string(), bytes);
    let header = Header::new(kind, identity(source)?, data, protocol).with_settings(json!(settings));
    let mut subject = Subject {
        backend: model.backend.as_mut(),
        tokenizer: &model.tokenizer,
        template: template.as_ref(),
        eos: &model.generation.eos,
        context: model.context,
    };
    // Before the file exists: what is refused here leaves nothing behind.
    let prepared = tasks::prepare(&subject, path, &trials)?;
    let mut run = Run::open(arguments.output.as_deref(), &header, arguments.restart)?;
    let continued = run.continued().min(trials.len());
    note_continued(&run, arguments.output.as_deref(), "items");

    let cancel = interrupt::listen(Second::Exits)?;
    let started = std::time::Instant::now();
    let mut progress: Option<Progress> = None;
    let measured = tasks::measure(&mut subject, &prepared, &mut run, &cancel, &mut |done, total| {
        progress
            .get_or_insert_with(|| Progress::new(total as u64, "items", Shown::Count))
            .update(done as u64, "");
    });
    drop(progress);
    match measured {
        Err(error) if error.is_cancelled() => {
            output::note(&match &arguments.output {
                Some(file) => format!(
                    "{} of {} items are in {}: the same command goes on from there",
                    run.done().len(),
                    trials.len(),
                    file.display()
                ),
                None => "nothing is kept without --output".to_string(),
            });
            return Err(Interrupted.into());
        }
        measured => measured?,
    }

    let mut lines: Vec<Line> = run.items()?;
    lines.truncate(trials.len());
    let report = Report {
        model: &header.model,
        data: &header.data,
        protocol: &header.protocol,
        figures: &tasks::summarize(&lines),
        cut_items: lines.iter().filter(|line| is_cut(&line.outcome)).count(),
        settings,
        seconds: started.elapsed().as_secs_f64(),
        continued_items: continued,
        output: arguments.output.as_deref(),
    };
    if arguments.json { output::json(&report) } else { output::text_out(&plain(&report, &text)) }
}

fn is_cut(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Choice { cut, .. } | Outcome::Word { cut, .. } if 0 < *cut)
}

fn plain(report: &Report<'_>, protocol: &[&str]) -> String {
    let mut table = Table::new([
        ("task", Align::Left),
        ("protocol", Align::Left),
        ("figure", Align::Left),
        ("value", Align::Right),
        ("+-", Align::Right),
        ("items", Align::Right),
    ]);
    for figure in report.figures {
        let number = |value: f64| format!("{value:.4}");
        table.row([
            figure.task.clone(),
            figure.protocol.clone(),
            figure.metric.to_string(),
            number(figure.value),
            number(figure.standard_error),
            output::grouped(figure.items as u64),
        ]);
    }
    let mut pairs = vec![
        ("model", report.model.short()),
        ("file", report.data.short()),
        ("protocol", protocol.join("; ")),
        ("context", format!("{} tokens", report.protocol["context"])),
        ("computed", report.settings.line(report.seconds)),
    ];
    if 0 < report.cut_items {
        pairs.insert(
            4,
            ("cut", format!("{} items lost their beginning: they do not fit the context", report.cut_items)),
        );
    }
    if let Some(file) = report.output {
        pairs.push(("items", file.display().to_string()));
    }
    format!("{}\n{}", table.render(), output::fields(&pairs))
}

/// The bytes of a file of items.
pub(super) fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
