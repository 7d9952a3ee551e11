//! From the files of the tasks to trials, with the texts of lm-evaluation-harness.

use std::path::Path;

use serde_json::Value;

use super::rows::{Row, rows};
use super::{Query, Trial};
use crate::Result;
use crate::generation::{Prompt, Question, Rule};

/// Tasks whose files hold one JSON object a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// AI2's Reasoning Challenge, easy or not: `{"question": {"stem", "choices": [{"text", "label"}]}, "answerKey"}` as AI2
    /// publishes it, or `{"question", "choices": {"text": [], "label": []}, "answerKey"}` as the Hugging Face data set.
    Arc,
    /// Physical commonsense: `{"goal", "sol1", "sol2", "label"}` with label 0 or 1.
    Piqa,
    /// The last word of a passage: `{"text"}`.
    Lambada,
    /// Any multiple choice: `{"context", "choices": [], "label"}`; each choice follows the context after a space.
    Choices,
    /// Answers that the model writes: `{"prompt", "answer"}` with one right answer or a list of them.
    Answers {
        /// Whether the prompt is put as a user's message of a conversation.
        chat: bool,
        /// Most tokens of an answer.
        max_tokens: usize,
    },
}

impl Task {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arc => "arc",
            Self::Piqa => "piqa",
            Self::Lambada => "lambada",
            Self::Choices => "choices",
            Self::Answers { .. } => "answers",
        }
    }

    /// How its questions are put.
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::Answers { chat: true, .. } => "chat",
            Self::Answers { chat: false, .. } => "text",
            _ => "lm-eval",
        }
    }

    /// What the model sees and what counts as right, for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Arc | Self::Piqa => {
                "\"Question: {question}\\nAnswer:\" and the likelier \" {choice}\", no examples, as lm-evaluation-harness"
            }
            Self::Lambada => {
                "the last word after the rest of the passage, right if greedy decoding writes it, as lm-evaluation-harness"
            }
            Self::Choices => "the context and the likelier \" {choice}\", no examples",
            Self::Answers { chat: true, .. } => {
                "the prompt as a user's message, the first line of the greedy answer"
            }
            Self::Answers { chat: false, .. } => {
                "the prompt as it is, the first line of the greedy continuation"
            }
        }
    }

    /// The trials of the file at `path`, whose contents are `bytes`.
    ///
    /// # Errors
    /// Text that is not UTF-8 or JSONL, an empty file, missing columns and unknown labels, all named by their line.
    pub fn read(self, path: &Path, bytes: &[u8]) -> Result<Vec<Trial>> {
        let trial = |row: &Row<'_>| {
            let query = match self {
                Self::Arc => arc(row),
                Self::Piqa => piqa(row),
                Self::Lambada => lambada(row),
                Self::Choices => choices(row),
                Self::Answers { chat, max_tokens } => answers(row, chat, max_tokens),
            }?;
            let (line, id) = (row.line, row.id());
            Ok(Trial { line, id, task: self.name(), protocol: self.protocol(), query })
        };
        rows(path, bytes)?.iter().map(trial).collect()
    }
}

/// `Question: {question}\nAnswer:` and the choices' texts.
fn arc(row: &Row<'_>) -> Result<Query> {
    let question = row.get("question");
    let (stem, texts, labels) = match question {
        Some(Value::Object(question)) => {
            let empty = Vec::new();
            let listed = question.get("choices").and_then(Value::as_array).unwrap_or(&empty);
            let of = |name: &str| -> Result<Vec<String>> {
                listed.iter().map(|choice| row.text_of(choice.get(name), name)).collect()
            };
            (row.text_of(question.get("stem"), "stem")?, of("text")?, of("label")?)
        }
        _ => {
            let stem = row.text("question")?;
            let choices = row.get("choices");
            let of = |name: &str| row.texts_of(choices.and_then(|choices| choices.get(name)), name);
            (stem, of("text")?, of("label")?)
        }
    };
    if texts.len() != labels.len() {
        return Err(row.error(format!("{} choices have {} labels", texts.len(), labels.len())));
    }
    let key = row.text("answerKey")?;
    let label = labels.iter().position(|label| *label == key).ok_or_else(|| {
        row.error(format!("\"answerKey\" is {key:?}, expected one of the labels {}", labels.join(", ")))
    })?;
    choice(row, asked(&stem), texts, label)
}

/// `Question: {goal}\nAnswer:` and the two solutions.
fn piqa(row: &Row<'_>) -> Result<Query> {
    let choices = vec![row.text("sol1")?, row.text("sol2")?];
    let label = row.label("label", choices.len())?;
    choice(row, asked(&row.text("goal")?), choices, label)
}

fn asked(question: &str) -> String {
    format!("Question: {question}\nAnswer:")
}

/// The passage up to its last space, and what comes after.
fn lambada(row: &Row<'_>) -> Result<Query> {
    let text = row.text("text")?;
    match text.rsplit_once(' ') {
        Some((context, word)) if !context.is_empty() && !word.is_empty() => {
            Ok(Query::Word { context: context.to_string(), word: word.to_string() })
        }
        _ => Err(row.error("\"text\" must have a space with something before and a last word after it")),
    }
}

fn choices(row: &Row<'_>) -> Result<Query> {
    let choices = row.texts_of(row.get("choices"), "choices")?;
    let label = row.label("label", choices.len())?;
    choice(row, row.text("context")?, choices, label)
}

fn choice(row: &Row<'_>, context: String, choices: Vec<String>, label: usize) -> Result<Query> {
    match choices.len() {
        0 | 1 => Err(row.error(format!("{} choices, at least two are expected", choices.len()))),
        _ => Ok(Query::Choice { context, choices, label }),
    }
}

fn answers(row: &Row<'_>, chat: bool, max_tokens: usize) -> Result<Query> {
    let prompt = row.text("prompt")?;
    let answers = match row.get("answer") {
        Some(list @ Value::Array(_)) => row.texts_of(Some(list), "answer")?,
        one => vec![row.text_of(one, "answer")?],
    };
    if answers.is_empty() {
        return Err(row.error("\"answer\" is an empty list, at least one right answer is expected"));
    }
    let prompt = if chat { Prompt::Chat { system: None, user: prompt } } else { Prompt::Text(prompt) };
    Ok(Query::Answer(Question { prompt, answers, rule: Rule::FirstLine, max_tokens }))
}
