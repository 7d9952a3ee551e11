//! `edgewen generate`: continues a text.

use std::io::IsTerminal;

use anyhow::bail;
use edgewen_engine::{FinishReason, GenerateOptions, Generated, StopOptions};
use serde::Serialize;

use crate::args::GenerateArgs;
use crate::input;
use crate::interrupt::{self, Interrupted, Second};
use crate::model::Model;
use crate::output;
use crate::sampling::Settings;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    prompt_tokens: usize,
    tokens: &'a [u32],
    text: &'a str,
    finish_reason: &'static str,
    seed: u64,
    timings: Timings,
    settings: SettingsReport<'a>,
}

#[derive(Serialize)]
struct Timings {
    load_seconds: f64,
    prompt_seconds: f64,
    prompt_tokens_per_second: f64,
    generate_seconds: f64,
    generate_tokens_per_second: f64,
}

#[derive(Serialize)]
struct SettingsReport<'a> {
    #[serde(flatten)]
    sampling: Settings,
    max_tokens: usize,
    stop: &'a [String],
    ignore_eos: bool,
    context: usize,
    kv: &'static str,
    threads: usize,
    isa: &'a str,
    device: &'a str,
}

/// Streams the text, or prints it at the end as text or JSON.
pub fn run(arguments: &GenerateArgs) -> anyhow::Result<()> {
    let prompt = input::text(arguments.prompt.as_deref(), arguments.prompt_file.as_deref(), "prompt")?;
    let mut model = Model::load(&arguments.model, &arguments.context, &arguments.compute)?;
    let settings = Settings::new(&arguments.sampling, &model.generation);
    let ids = prompt_ids(&model, &prompt)?;
    settings.tell_seed(&arguments.sampling);

    let options = GenerateOptions {
        max_tokens: Some(arguments.stop.max_tokens),
        sampler: settings.options(),
        stop: StopOptions { strings: arguments.stop.stop.clone(), ignore_eos: arguments.stop.ignore_eos },
    };
    let cancel = interrupt::listen(Second::Exits)?;
    let streams = !arguments.json && !arguments.no_stream;
    // A reader that has gone ends the generation; its error ends the command, as success.
    let mut written = Ok(());
    let result = model.session()?.generate(&ids, &options, &cancel, &mut |piece| {
        if streams {
            written = output::text_out(piece);
        }
        written.is_ok()
    })?;
    written?;

    match (arguments.json, streams) {
        (true, _) => output::json(&report(arguments, &model, settings, ids.len(), &result))?,
        (false, true) => output::text_out("\n")?,
        (false, false) => output::text_out(&format!("{}\n", result.text))?,
    }
    if !arguments.json && std::io::stderr().is_terminal() {
        tell_speed(&result, ids.len());
    }
    if result.finish_reason == FinishReason::Cancelled {
        return Err(Interrupted.into());
    }
    Ok(())
}

/// An empty text is the beginning of one, for models that have a token for it.
fn prompt_ids(model: &Model, prompt: &str) -> anyhow::Result<Vec<u32>> {
    let ids = model.tokenizer.encode(prompt, true)?;
    if !ids.is_empty() {
        return Ok(ids);
    }
    match model.generation.bos {
        Some(bos) => Ok(vec![bos]),
        None => bail!("the prompt is empty and model {} has no token to begin a text with", model.name),
    }
}

fn per_second(tokens: usize, seconds: f64) -> f64 {
    if 0.0 < seconds { tokens as f64 / seconds } else { 0.0 }
}

fn report<'a>(
    arguments: &'a GenerateArgs,
    model: &'a Model,
    settings: Settings,
    prompt_tokens: usize,
    result: &'a Generated,
) -> Report<'a> {
    let (prompt_seconds, generate_seconds) =
        (result.timings.prompt.as_secs_f64(), result.timings.generate.as_secs_f64());
    Report {
        model: &model.name,
        prompt_tokens,
        tokens: &result.tokens,
        text: &result.text,
        finish_reason: result.finish_reason.name(),
        seed: settings.seed,
        timings: Timings {
            load_seconds: model.load_seconds,
            prompt_seconds,
            prompt_tokens_per_second: per_second(prompt_tokens, prompt_seconds),
            generate_seconds,
            generate_tokens_per_second: per_second(result.tokens.len(), generate_seconds),
        },
        settings: SettingsReport {
            sampling: settings,
            max_tokens: arguments.stop.max_tokens,
            stop: &arguments.stop.stop,
            ignore_eos: arguments.stop.ignore_eos,
            context: model.context,
            kv: model.kv,
            threads: model.threads,
            isa: &model.isa,
            device: &model.device,
        },
    }
}

fn tell_speed(result: &Generated, prompt_tokens: usize) {
    let timings = &result.timings;
    output::note(&format!(
        "read {prompt_tokens} tokens in {}, generated {} in {} ({:.1} tokens/s)",
        output::seconds(timings.prompt.as_secs_f64()),
        result.tokens.len(),
        output::seconds(timings.generate.as_secs_f64()),
        per_second(result.tokens.len(), timings.generate.as_secs_f64()),
    ));
}
