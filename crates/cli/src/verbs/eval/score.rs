//! `edgewen eval score`: what the AICAS 2025 contest would have given.

use edgewen_eval::score::{Contest, Entry, Score, Size};
use serde::Serialize;

use crate::args::ScoreArgs;
use crate::input::Usage;
use crate::output::{self, Align, Table, grouped};

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    contest: &'a str,
    source: &'a str,
    accuracy_set: &'a str,
    reference_bytes: u64,
    score: Option<Score>,
    size: Option<Size>,
    ranking: Vec<Score>,
}

/// Prints each term, the sum, and where it stands among the competitors.
pub fn run(arguments: &ScoreArgs) -> anyhow::Result<()> {
    let contest = match &arguments.against {
        Some(path) => Contest::open(path)?,
        None => Contest::published()?,
    };
    let (entry, bytes) = entry(arguments, &contest)?;
    let answer = Answer {
        contest: &contest.contest,
        source: &contest.source,
        accuracy_set: &contest.accuracy_set,
        reference_bytes: contest.reference_bytes,
        score: entry.as_ref().map(|entry| contest.score(entry)).transpose()?,
        size: bytes.map(|bytes| Size::of(bytes, contest.reference_bytes)),
        ranking: contest.ranking(entry.as_ref())?,
    };
    if arguments.json { output::json(&answer) } else { output::text_out(&text(&answer, &contest)) }
}

/// What is scored, and its size if that is known; nothing if no figure was given.
fn entry(arguments: &ScoreArgs, contest: &Contest) -> anyhow::Result<(Option<Entry>, Option<u64>)> {
    if let Some(name) = &arguments.of {
        let competitor = contest.competitor(name)?;
        return Ok((competitor.entry(contest.reference_bytes), competitor.bytes));
    }
    let ScoreArgs { accuracy, bytes, prefill, decode, .. } = arguments;
    match (accuracy, bytes, prefill, decode) {
        (None, None, None, None) => Ok((None, None)),
        (Some(accuracy), Some(bytes), Some(prefill), Some(decode)) => {
            let size = Size::of(*bytes as u64, contest.reference_bytes);
            let entry = Entry {
                name: "this entry".to_string(),
                accuracy: exactly(*accuracy),
                compression: size.compression,
                prefill: exactly(*prefill),
                decode: exactly(*decode),
            };
            Ok((Some(entry), Some(size.bytes)))
        }
        _ => {
            let given = [accuracy.is_some(), bytes.is_some(), prefill.is_some(), decode.is_some()];
            let missing: Vec<&str> = ["--accuracy", "--bytes", "--prefill", "--decode"]
                .into_iter()
                .zip(given)
                .filter_map(|(flag, given)| (!given).then_some(flag))
                .collect();
            Err(Usage(format!("a score needs all four figures: {} is missing", missing.join(", "))).into())
        }
    }
}

/// The decimal that was given, and not its nearest f32 with seventeen digits.
fn exactly(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn text(answer: &Answer<'_>, contest: &Contest) -> String {
    let mut text = format!("{}\n", answer.contest);
    if let Some(score) = &answer.score {
        let mut table = Table::new([
            ("term", Align::Left),
            ("value", Align::Right),
            ("best", Align::Right),
            ("of", Align::Left),
            ("share", Align::Right),
            ("weight", Align::Right),
            ("points", Align::Right),
        ]);
        for term in &score.terms {
            table.row([
                term.name.to_string(),
                shown(term.name, term.value),
                shown(term.name, term.best),
                term.best_of.clone(),
                format!("{:.3}", term.share),
                format!("{:.1}", term.weight),
                format!("{:.3}", term.points),
            ]);
        }
        let blank = String::new;
        table.row([
            score.name.clone(),
            blank(),
            blank(),
            blank(),
            blank(),
            "1.0".into(),
            format!("{:.3}", score.total),
        ]);
        text.push_str(&format!("\n{}", table.render()));
    }
    if let Some(size) = &answer.size {
        let fields = [
            (
                "size",
                format!(
                    "{} bytes = {:.2} MB (10^6) = {:.2} MiB (2^20)",
                    grouped(size.bytes),
                    size.megabytes,
                    size.mebibytes
                ),
            ),
            (
                "compression",
                format!(
                    "{:.2} % of {} bytes. {:.2} MiB set against 988 MB, as in the paper's Table III, would read \
                     {:.2} %",
                    100.0 * size.compression,
                    grouped(answer.reference_bytes),
                    size.mebibytes,
                    100.0 * size.mixed_units
                ),
            ),
        ];
        text.push_str(&format!("\n{}", output::fields(&fields)));
    }
    text.push_str(&format!("\n{}", ranking(answer)));
    for competitor in &contest.competitors {
        if let Some(reason) = &competitor.excluded {
            let line = output::fields(&[("left out", format!("{}: {reason}", competitor.name))]);
            text.push_str(&format!("\n{line}"));
        }
    }
    text
}

fn ranking(answer: &Answer<'_>) -> String {
    let mut table = Table::new([
        ("competitor", Align::Left),
        ("accuracy", Align::Right),
        ("memory", Align::Right),
        ("prefill", Align::Right),
        ("decode", Align::Right),
        ("score", Align::Right),
    ]);
    for score in &answer.ranking {
        let [accuracy, memory, prefill, decode] =
            [0, 1, 2, 3].map(|index| shown(score.terms[index].name, score.terms[index].value));
        table.row([score.name.clone(), accuracy, memory, prefill, decode, format!("{:.3}", score.total)]);
    }
    table.render()
}

/// A figure with its unit.
fn shown(term: &str, value: f64) -> String {
    match term {
        "accuracy" | "memory" => format!("{:.2} %", 100.0 * value),
        _ => format!("{value:.2} t/s"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn arguments() -> ScoreArgs {
        ScoreArgs {
            accuracy: None,
            bytes: None,
            prefill: None,
            decode: None,
            of: None,
            against: None,
            json: false,
        }
    }

    #[test]
    fn all_figures_or_none() {
        let contest = Contest::published().unwrap();
        assert_eq!(entry(&arguments(), &contest).unwrap(), (None, None));
        let part = ScoreArgs { accuracy: Some(0.5), decode: Some(1.0), ..arguments() };
        let message = entry(&part, &contest).unwrap_err().to_string();
        assert!(message.contains("--bytes, --prefill is missing"), "{message}");
        let all = ScoreArgs { bytes: Some(465_371_984), prefill: Some(2.5), ..part };
        let (entry, bytes) = entry(&all, &contest).unwrap();
        assert_eq!((entry.unwrap().prefill, bytes), (2.5, Some(465_371_984)));
    }

    #[test]
    fn says_the_units() {
        let contest = Contest::published().unwrap();
        let (entry, bytes) = entry(&ScoreArgs { of: Some("sutd".into()), ..arguments() }, &contest).unwrap();
        let answer = Answer {
            contest: &contest.contest,
            source: &contest.source,
            accuracy_set: &contest.accuracy_set,
            reference_bytes: contest.reference_bytes,
            score: entry.as_ref().map(|entry| contest.score(entry)).transpose().unwrap(),
            size: bytes.map(|bytes| Size::of(bytes, contest.reference_bytes)),
            ranking: contest.ranking(entry.as_ref()).unwrap(),
        };
        let text = text(&answer, &contest);
        for part in ["443.81 MiB", "465.37 MB", "52.90 %", "55.08 %", "0.554", "left out  hkustgz-mics"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }
}
