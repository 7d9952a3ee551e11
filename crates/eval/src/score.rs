//! The score of the AICAS 2025 contest: formula (1) of arXiv 2504.17376, section IV.
//!
//! ```text
//! score = 0.4 accuracy / max accuracy + 0.2 memory / max memory
//!       + 0.2 prefill  / max prefill  + 0.2 decode / max decode
//! ```
//!
//! Memory is the compression rate, 1 - bytes / reference bytes. The paper does not say over whom the maxima go; in the
//! contest it was the teams. Here they go over the competitors of a data file, each with its source, and the entry
//! itself, so that no term is above its weight. The score is of the contest's day: it compares, it does not measure.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

const PUBLISHED: &str = include_str!("../data/aicas2025.json");
/// The size of the checkpoint as the paper prints it, in 10^6 bytes.
const PRINTED_MEGABYTES: f64 = 988.0;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// Published results of one contest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contest {
    /// Its name.
    pub contest: String,
    /// Where the results were published.
    pub source: String,
    /// Size of the uncompressed model.
    pub reference_bytes: u64,
    /// Where that size is from.
    pub reference_source: String,
    /// What accuracy was measured on.
    pub accuracy_set: String,
    /// Who took part.
    pub competitors: Vec<Competitor>,
}

/// Published results of one competitor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Competitor {
    /// Short name.
    pub name: String,
    /// Who they are.
    pub team: String,
    /// Share of right answers.
    pub accuracy: f64,
    /// Size of the compressed model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Compression rate, where the size was not published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<f64>,
    /// Tokens a second of a prompt.
    pub prefill: f64,
    /// Tokens a second of an answer.
    pub decode: f64,
    /// File with these figures.
    pub source: String,
    /// What one should know about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Why they do not count for the maxima.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<String>,
}

/// What is scored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Share of right answers, 0 to 1.
    pub accuracy: f64,
    /// Compression rate.
    pub compression: f64,
    /// Tokens a second of a prompt.
    pub prefill: f64,
    /// Tokens a second of an answer.
    pub decode: f64,
}

/// A term of the formula.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Term {
    /// `accuracy`, `memory`, `prefill` or `decode`.
    pub name: &'static str,
    /// The entry's.
    pub value: f64,
    /// The greatest.
    pub best: f64,
    /// Whose that is.
    pub best_of: String,
    /// The one over the other.
    pub share: f64,
    /// Weight in the sum.
    pub weight: f64,
    /// Share times weight.
    pub points: f64,
}

/// The terms and their sum.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// Who is scored.
    pub name: String,
    /// The four terms.
    pub terms: [Term; 4],
    /// Their sum, at most 1.
    pub total: f64,
}

/// A size in both units, and the compression rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Size {
    /// Bytes.
    pub bytes: u64,
    /// In 10^6 bytes.
    pub megabytes: f64,
    /// In 2^20 bytes.
    pub mebibytes: f64,
    /// 1 - bytes / reference bytes.
    pub compression: f64,
    /// What mebibytes over the reference's 988 megabytes would make of it, as in the paper's Table III.
    pub mixed_units: f64,
}

impl Size {
    /// A size against that of the uncompressed model.
    pub fn of(bytes: u64, reference_bytes: u64) -> Self {
        let mebibytes = bytes as f64 / MEBIBYTE;
        Size {
            bytes,
            megabytes: bytes as f64 / 1e6,
            mebibytes,
            compression: 1.0 - bytes as f64 / reference_bytes as f64,
            mixed_units: 1.0 - mebibytes / PRINTED_MEGABYTES,
        }
    }
}

impl Contest {
    /// The results that the contest's organizers published.
    pub fn published() -> Result<Self> {
        Self::parse(PUBLISHED, Path::new("aicas2025.json"))
    }

    /// Results in the same form from a file.
    pub fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|source| Error::io("read", path, source))?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let damaged = |place: String, problem: String| Error::Data { path: path.to_owned(), place, problem };
        let contest: Contest = serde_json::from_str(text).map_err(|error| {
            damaged(format!("line {}", error.line()), format!("not the results of a contest: {error}"))
        })?;
        if contest.reference_bytes == 0 {
            return Err(damaged("reference_bytes".into(), "0 is no size of a model".into()));
        }
        for competitor in &contest.competitors {
            let place = || format!("competitor {}", competitor.name);
            let entry = competitor
                .entry(contest.reference_bytes)
                .ok_or_else(|| damaged(place(), "neither bytes nor compression is given".into()))?;
            entry.check().map_err(|problem| damaged(place(), problem.to_string()))?;
        }
        if !contest.competitors.iter().any(|competitor| competitor.excluded.is_none()) {
            return Err(damaged("competitors".into(), "nobody counts for the maxima".into()));
        }
        Ok(contest)
    }

    /// The competitor of that name.
    pub fn competitor(&self, name: &str) -> Result<&Competitor> {
        self.competitors.iter().find(|competitor| competitor.name == name).ok_or_else(|| {
            let names: Vec<&str> =
                self.competitors.iter().map(|competitor| competitor.name.as_str()).collect();
            Error::Option { name: "competitor", value: name.to_string(), expected: names.join(", ") }
        })
    }

    /// The entries of those that count.
    fn entries(&self) -> impl Iterator<Item = Entry> {
        let counted = self.competitors.iter().filter(|competitor| competitor.excluded.is_none());
        counted.filter_map(|competitor| competitor.entry(self.reference_bytes))
    }

    /// The score of an entry against the competitors and itself.
    ///
    /// # Errors
    /// [`Error::Option`] if a figure is no share, not finite, or below 0.
    pub fn score(&self, entry: &Entry) -> Result<Score> {
        entry.check()?;
        let mut all: Vec<Entry> = self.entries().filter(|other| other.name != entry.name).collect();
        all.push(entry.clone());
        Ok(score_among(entry, &all))
    }

    /// All competitors that count, and the entry if one is given, the best first; all against the same maxima.
    ///
    /// # Errors
    /// As of [`Contest::score`].
    pub fn ranking(&self, entry: Option<&Entry>) -> Result<Vec<Score>> {
        let mut all: Vec<Entry> =
            self.entries().filter(|other| entry.is_none_or(|entry| other.name != entry.name)).collect();
        if let Some(entry) = entry {
            entry.check()?;
            all.push(entry.clone());
        }
        let mut scores: Vec<Score> = all.iter().map(|entry| score_among(entry, &all)).collect();
        scores.sort_by(|a, b| b.total.total_cmp(&a.total));
        Ok(scores)
    }
}

impl Competitor {
    /// What is scored; nothing if neither size nor compression rate is known.
    pub fn entry(&self, reference_bytes: u64) -> Option<Entry> {
        let of_bytes = self.bytes.map(|bytes| Size::of(bytes, reference_bytes).compression);
        Some(Entry {
            name: self.name.clone(),
            accuracy: self.accuracy,
            compression: of_bytes.or(self.compression)?,
            prefill: self.prefill,
            decode: self.decode,
        })
    }
}

impl Entry {
    fn check(&self) -> Result<()> {
        let wrong = |name, value: f64, expected: &str| {
            Err(Error::Option { name, value: value.to_string(), expected: expected.to_string() })
        };
        if !(0.0..=1.0).contains(&self.accuracy) {
            return wrong("accuracy", self.accuracy, "a share from 0 to 1, as 0.5197 for 51.97 %");
        }
        if !(self.compression.is_finite() && self.compression < 1.0) {
            return wrong("compression", self.compression, "a rate below 1");
        }
        for (name, value) in [("prefill", self.prefill), ("decode", self.decode)] {
            if !(value.is_finite() && 0.0 <= value) {
                return wrong(name, value, "tokens a second, 0 or more");
            }
        }
        Ok(())
    }
}

fn score_among(entry: &Entry, all: &[Entry]) -> Score {
    let term = |name, weight, value: fn(&Entry) -> f64| {
        let best = all.iter().max_by(|a, b| value(a).total_cmp(&value(b))).unwrap_or(entry);
        // Where everybody has 0 nobody gets points.
        let share = if 0.0 < value(best) { value(entry) / value(best) } else { 0.0 };
        Term {
            name,
            value: value(entry),
            best: value(best),
            best_of: best.name.clone(),
            share,
            weight,
            points: weight * share,
        }
    };
    let terms = [
        term("accuracy", 0.4, |entry| entry.accuracy),
        term("memory", 0.2, |entry| entry.compression),
        term("prefill", 0.2, |entry| entry.prefill),
        term("decode", 0.2, |entry| entry.decode),
    ];
    let total = terms.iter().map(|term| term.points).sum();
    Score { name: entry.name.clone(), terms, total }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reproduces_the_published_and_computed_scores() {
        let contest = Contest::published().unwrap();
        // 0.55 is printed in the paper (Table III); the others follow from the teams' files by the same formula.
        for (name, expected) in [
            ("sec", 0.977),
            ("pkuzzz", 0.753),
            ("ellme", 0.739),
            ("uestc", 0.556),
            ("sutd", 0.554),
            ("post-moore", 0.543),
            ("hust-ody", 0.533),
        ] {
            let entry = contest.competitor(name).unwrap().entry(contest.reference_bytes).unwrap();
            let score = contest.score(&entry).unwrap();
            assert!((score.total - expected).abs() < 0.001, "{name}: {}", score.total);
        }
        let seed = contest.ranking(None).unwrap().into_iter().find(|score| score.name == "sutd").unwrap();
        let points = seed.terms.map(|term| (term.points * 1000.0).round());
        assert_eq!(points, [398.0, 141.0, 2.0, 13.0]);
    }

    #[test]
    fn an_entry_above_all_is_the_maximum() {
        let contest = Contest::published().unwrap();
        let entry = Entry { name: "x".into(), accuracy: 0.9, compression: 0.9, prefill: 1e3, decode: 1e2 };
        let score = contest.score(&entry).unwrap();
        assert!((score.total - 1.0).abs() < 1e-12);
        assert!(score.terms.iter().all(|term| term.best_of == "x"));
        assert_eq!(contest.ranking(Some(&entry)).unwrap()[0], score);
    }

    #[test]
    fn knows_the_units_of_the_paper() {
        let size = Size::of(465_371_984, 988_097_824);
        assert_eq!(format!("{:.2}", size.mebibytes), "443.81");
        assert_eq!(format!("{:.2} {:.2}", 100.0 * size.compression, 100.0 * size.mixed_units), "52.90 55.08");
    }

    #[test]
    fn refuses_what_is_no_result() {
        let contest = Contest::published().unwrap();
        let good = Entry { name: "x".into(), accuracy: 0.5, compression: 0.5, prefill: 1.0, decode: 1.0 };
        for (entry, word) in [
            (Entry { accuracy: 51.97, ..good.clone() }, "accuracy"),
            (Entry { decode: f64::NAN, ..good.clone() }, "decode"),
            (Entry { prefill: -1.0, ..good.clone() }, "prefill"),
            (Entry { compression: 1.5, ..good }, "compression"),
        ] {
            assert!(contest.score(&entry).unwrap_err().to_string().contains(word));
        }
        assert!(contest.competitor("nobody").unwrap_err().to_string().contains("pkuzzz"));
    }

    #[test]
    fn names_what_is_wrong_with_a_data_file() {
        let path = Path::new("x.json");
        let message = |text: &str| Contest::parse(text, path).unwrap_err().to_string();
        assert!(message("{").contains("x.json, line 1"));
        let none = PUBLISHED.replace("\"compression\": 0.7479,", "");
        assert!(message(&none).contains("competitor pkuzzz: neither bytes nor compression"));
        let wrong = PUBLISHED.replace("187.9195", "-1");
        assert!(message(&wrong).contains("competitor pkuzzz: prefill"));
    }
}
