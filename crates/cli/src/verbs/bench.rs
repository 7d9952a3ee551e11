//! `edgewen bench`: how fast a model reads a prompt (pp) and generates (tg) on this machine.
//!
//! The two numbers have the definitions of llama-bench, so that tables can be compared: pp512 is one pass over 512
//! tokens, tg128 is 128 passes over one token each, without tokenizing. Both end with the likeliest token, as with
//! `generate --temperature 0`; llama-bench computes the logits and chooses none. Each test is run once to warm up and
//! then several times; the median and the extremes are printed.

use std::time::Instant;

use anyhow::bail;
use edgewen_engine::{Batch, Forward};
use serde::Serialize;

use crate::args::BenchArgs;
use crate::input::Usage;
use crate::interrupt::{self, Interrupted, Second};
use crate::machine::{self, Machine};
use crate::model::Model;
use crate::output::{self, Align, Table};
use crate::progress::{Progress, Shown};

/// Tokens computed at once when a prompt is read, as `generate` does it.
const PIECE: usize = 512;

#[derive(Serialize)]
struct Report {
    machine: Machine,
    model: String,
    model_bytes: u64,
    device: String,
    kv: &'static str,
    repetitions: usize,
    load_seconds: f64,
    bytes_per_token: u64,
    peak_memory_bytes: Option<u64>,
    tests: Vec<Test>,
}

#[derive(Serialize)]
struct Test {
    name: String,
    kind: Kind,
    tokens: usize,
    depth: usize,
    tokens_per_second: Spread,
    #[serde(skip_serializing_if = "Option::is_none")]
    gigabytes_per_second: Option<f64>,
    seconds: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Prompt,
    Generate,
}

#[derive(Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// Runs the tests and prints the table.
pub fn run(arguments: &BenchArgs) -> anyhow::Result<()> {
    let mut model = Model::load(&arguments.model, &arguments.context, &arguments.compute)?;
    let wanted = [(Kind::Prompt, arguments.prompt_tokens), (Kind::Generate, arguments.generate_tokens)];
    let mut plans = Vec::new();
    for (kind, tokens) in wanted.into_iter().filter(|&(_, tokens)| tokens != 0) {
        plans.push((kind, fitting(tokens, arguments.depth, model.context)?));
    }
    if plans.is_empty() {
        return Err(Usage("nothing to measure: both -p and -n are 0".to_string()).into());
    }

    let cancel = interrupt::listen(Second::Exits)?;
    let mut progress =
        Progress::new((plans.len() * (arguments.repetitions + 1)) as u64, "runs", Shown::Count);
    let mut forward = Forward::default();
    let mut tests = Vec::new();
    for (index, &(kind, tokens)) in plans.iter().enumerate() {
        let mut seconds = Vec::new();
        for repetition in 0..=arguments.repetitions {
            progress.update((index * (arguments.repetitions + 1) + repetition) as u64, &name(kind, tokens));
            if cancel.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(Interrupted.into());
            }
            let time = measure(&mut model, &mut forward, kind, tokens, arguments.depth)?;
            // The first run reads the file into memory and wakes the threads.
            if repetition != 0 {
                seconds.push(time);
            }
        }
        tests.push(test(kind, tokens, arguments.depth, seconds, model.bytes_per_token));
    }
    drop(progress);

    let report = Report {
        machine: Machine::new(&model.isa, model.threads),
        model_bytes: model.bytes,
        device: model.device.clone(),
        kv: model.kv,
        repetitions: arguments.repetitions,
        load_seconds: model.load_seconds,
        bytes_per_token: model.bytes_per_token,
        peak_memory_bytes: machine::peak_memory_bytes(),
        tests,
        model: model.name,
    };
    if arguments.json { output::json(&report) } else { output::text_out(&text(&report)) }
}

fn name(kind: Kind, tokens: usize) -> String {
    match kind {
        Kind::Prompt => format!("pp{tokens}"),
        Kind::Generate => format!("tg{tokens}"),
    }
}

/// As many of `tokens` as fit the context behind `depth`; says so if they are fewer.
fn fitting(tokens: usize, depth: usize, context: usize) -> anyhow::Result<usize> {
    if context <= depth {
        bail!("--depth {depth} leaves no room in the context of {context} tokens");
    }
    let room = context - depth;
    if room < tokens {
        output::note(&format!("{tokens} tokens do not fit a context of {context}: measuring {room}"));
    }
    Ok(tokens.min(room))
}

/// Seconds of one run, the `depth` tokens before it not counted.
fn measure(
    model: &mut Model,
    forward: &mut Forward,
    kind: Kind,
    tokens: usize,
    depth: usize,
) -> anyhow::Result<f64> {
    let ids = token_ids(depth + tokens, model.config.vocab_size);
    let backend = model.backend.as_mut();
    backend.truncate(0, 0);
    // Computed as for `generate --temperature 0`, which needs the likeliest token after each piece that ends a text.
    let mut read = |from: usize, to: usize, piece: usize| -> anyhow::Result<()> {
        for start in (from..to).step_by(piece) {
            let end = to.min(start + piece);
            forward.hidden(backend, &Batch::one(0, start, &ids[start..end]))?;
            if end == to || piece == 1 {
                forward.top_k(backend, end - start - 1, 1)?;
            }
        }
        Ok(())
    };
    read(0, depth, PIECE)?;
    let started = Instant::now();
    read(depth, depth + tokens, if kind == Kind::Prompt { PIECE } else { 1 })?;
    Ok(started.elapsed().as_secs_f64())
}

/// Ids without a pattern: the multiplier is Knuth's for hashing.
fn token_ids(count: usize, vocabulary: usize) -> Vec<u32> {
    (0..count as u64).map(|index| (((index * 2_654_435_761) >> 7) % vocabulary as u64) as u32).collect()
}

fn test(kind: Kind, tokens: usize, depth: usize, seconds: Vec<f64>, bytes_per_token: u64) -> Test {
    let mut speeds: Vec<f64> = seconds.iter().map(|time| tokens as f64 / time).collect();
    speeds.sort_by(f64::total_cmp);
    let median = (speeds[(speeds.len() - 1) / 2] + speeds[speeds.len() / 2]) / 2.0;
    Test {
        name: name(kind, tokens),
        kind,
        tokens,
        depth,
        tokens_per_second: Spread { median, min: speeds[0], max: speeds[speeds.len() - 1] },
        // A prompt reads the weights once for many tokens, so there it says nothing.
        gigabytes_per_second: (kind == Kind::Generate).then(|| median * bytes_per_token as f64 / 1e9),
        seconds,
    }
}

fn text(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = output::fields(&[
        ("model", format!("{}, {}", report.model, output::bytes(report.model_bytes))),
        ("machine", format!("{}, {} cores, {}", machine.cpu, machine.cores, machine.target)),
        (
            "computing",
            format!("{}, {} threads, {}, kv {}", report.device, machine.threads, machine.isa, report.kv),
        ),
        ("edgewen", format!("{}, commit {}", machine.version, machine.commit)),
        ("load", output::seconds(report.load_seconds)),
        ("peak memory", report.peak_memory_bytes.map_or("unknown".to_string(), output::bytes)),
        ("weights read", format!("{} a token", output::bytes(report.bytes_per_token))),
        ("repetitions", report.repetitions.to_string()),
    ]);
    let mut table = Table::new([
        ("test", Align::Left),
        ("depth", Align::Right),
        ("tokens/s", Align::Right),
        ("min", Align::Right),
        ("max", Align::Right),
        ("GB/s", Align::Right),
    ]);
    for test in &report.tests {
        let speed = &test.tokens_per_second;
        table.row([
            test.name.clone(),
            test.depth.to_string(),
            format!("{:.1}", speed.median),
            format!("{:.1}", speed.min),
            format!("{:.1}", speed.max),
            test.gigabytes_per_second.map_or(String::new(), |rate| format!("{rate:.1}")),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_an_even_number_of_runs_is_between_the_middle_ones() {
        let test = test(Kind::Generate, 10, 0, vec![1.0, 0.5, 0.25, 2.0], 1_000_000_000);
        assert_eq!(test.tokens_per_second.median, 15.0);
        assert_eq!((test.tokens_per_second.min, test.tokens_per_second.max), (5.0, 40.0));
        assert_eq!(test.gigabytes_per_second, Some(15.0));
    }

    #[test]
    fn bench_tokens_are_inside_the_vocabulary_and_differ() {
        let ids = token_ids(512, 3072);
        assert!(ids.iter().all(|&id| id < 3072));
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert!(400 < distinct.len());
    }
}
