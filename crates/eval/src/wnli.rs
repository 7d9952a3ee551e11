//! WNLI, the Winograd schemas of GLUE, by the two protocols that published figures use.
//!
//! `lm-eval` is task `wnli` version 2 of lm-evaluation-harness: the likelier of " False" and " True" after the sentences.
//! `aicas` is that of the AICAS 2025 contest (arXiv 2504.17376): a conversation, answered greedily, and the answer must be
//! a number. The set has 71 rows, so that one row is 1.4 points: see the standard errors.

use std::path::Path;

use crate::Result;
use crate::generation::{Prompt, Question, Rule};
use crate::tasks::{Query, Trial, data_error, decode};

/// The task's name.
pub(crate) const TASK: &str = "wnli";

/// The columns of GLUE's file that are needed.
const COLUMNS: [&str; 4] = ["index", "sentence1", "sentence2", "label"];

/// The contest's system message.
const SYSTEM: &str = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";

/// Tokens that an answer may take; "1" or "0" take one.
const ANSWER_TOKENS: usize = 32;

/// How the question is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// As lm-evaluation-harness.
    LmEval,
    /// As the AICAS contest.
    Aicas,
}

impl Protocol {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LmEval => "lm-eval",
            Self::Aicas => "aicas",
        }
    }

    /// What the model sees and what counts as right, for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::LmEval => {
                "lm-eval: \"{sentence1}\\nQuestion: {sentence2} True or False?\\nAnswer:\" and the likelier of \" False\" and \
                 \" True\", no examples"
            }
            Self::Aicas => {
                "aicas: the contest's question as a conversation, the greedy answer as a whole number"
            }
        }
    }

    fn query(self, sentence1: &str, sentence2: &str, label: usize) -> Query {
        match self {
            Self::LmEval => Query::Choice {
                context: format!("{sentence1}\nQuestion: {sentence2} True or False?\nAnswer:"),
                choices: vec!["False".to_string(), "True".to_string()],
                label,
            },
            Self::Aicas => Query::Answer(Question {
                prompt: Prompt::Chat {
                    system: Some(SYSTEM.to_string()),
                    user: format!(
                        "Sentence 1: {sentence1} Sentence 2: {sentence2} Is the second sentence entailed by the first? \
                         (1 for yes, 0 for no) you can only output 1 or 0"
                    ),
                },
                answers: vec![label.to_string()],
                rule: Rule::Integer,
                max_tokens: ANSWER_TOKENS,
            }),
        }
    }
}

/// The trials of GLUE's tab-separated file at `path`, whose contents are `bytes`: every row by every one of `protocols`,
/// row after row.
///
/// # Errors
/// Text that is not UTF-8, missing columns, rows with another number of cells, empty sentences and labels other than 0
/// and 1, all named by their line; a file without rows.
pub fn read(path: &Path, bytes: &[u8], protocols: &[Protocol]) -> Result<Vec<Trial>> {
    let mut lines = decode(path, bytes)?.lines().enumerate();
    let header: Vec<&str> = lines.next().map(|(_, line)| line.split('\t').collect()).unwrap_or_default();
    let mut places = [0; COLUMNS.len()];
    for (place, name) in places.iter_mut().zip(COLUMNS) {
        *place = header.iter().position(|column| column.trim() == name).ok_or_else(|| {
            let all = COLUMNS.join(", ");
            data_error(
                path,
                1,
                format!("there is no column {name:?}; the columns {all}, separated by tabs, are expected"),
            )
        })?;
    }
    let mut trials = Vec::new();
    for (index, text) in lines {
        let line = index + 1;
        if text.trim().is_empty() {
            continue;
        }
        let cells: Vec<&str> = text.split('\t').collect();
        if cells.len() != header.len() {
            let (found, expected) = (cells.len(), header.len());
            return Err(data_error(
                path,
                line,
                format!("{found} cells where the first line has {expected} columns"),
            ));
        }
        let [id, sentence1, sentence2, label] = places.map(|place| cells[place]);
        for (name, sentence) in [("sentence1", sentence1), ("sentence2", sentence2)] {
            if sentence.trim().is_empty() {
                return Err(data_error(path, line, format!("{name} is empty")));
            }
        }
        let label = match label.trim() {
            "0" => 0,
            "1" => 1,
            other => return Err(data_error(path, line, format!("the label is {other:?}, expected 0 or 1"))),
        };
        for protocol in protocols {
            let query = protocol.query(sentence1, sentence2, label);
            trials.push(Trial { line, id: id.to_string(), task: TASK, protocol: protocol.name(), query });
        }
    }
    if trials.is_empty() {
        return Err(data_error(path, 1, "the file has no row after its first line"));
    }
    Ok(trials)
}
