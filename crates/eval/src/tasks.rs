//! Tasks with right answers: multiple choice, the last word of a passage, and answers that the model writes.
//!
//! The texts that a model sees and the figures that come out are those of lm-evaluation-harness 0.4 (no examples in
//! the prompt), so that published figures can be compared. A task file becomes a list of [`Trial`]s; each trial becomes
//! one [`Line`] of the run, and every figure is computed from those lines by [`summarize`], also by a reader who has
//! nothing but the file.

mod formats;
mod rows;
mod summary;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use edgewen_engine::Backend;
use edgewen_model::{ChatTemplate, Tokenizer};
use serde::{Deserialize, Serialize};

pub use formats::Task;
pub use summary::{Summary, summarize};

use crate::generation::{self, Answered, Question};
use crate::likelihood::{Scorer, encode_pair};
use crate::{Error, Result, Run};
pub(crate) use rows::{data_error, decode};

/// What the model is asked, and what is right.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Line of the task's file, from 1.
    pub line: usize,
    /// Its name in the file; the number of the line where it has none.
    pub id: String,
    /// Name of the task.
    pub task: &'static str,
    /// How it is asked: "lm-eval", "aicas", "text" or "chat".
    pub protocol: &'static str,
    /// The question.
    pub query: Query,
}

/// The kinds of question.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// Which of `choices`, each after a space, is the likeliest continuation of `context`?
    Choice {
        /// What the model reads.
        context: String,
        /// What may follow; at least two, none empty.
        choices: Vec<String>,
        /// Index of the right one.
        label: usize,
    },
    /// Is `word`, after a space, what the model would write after `context`?
    Word {
        /// What the model reads.
        context: String,
        /// What is right.
        word: String,
    },
    /// What does the model write?
    Answer(Question),
}

/// A finished trial: one line of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Name of the task.
    pub task: String,
    /// How it was asked.
    pub protocol: String,
    /// Line of the task's file, from 1.
    pub line: usize,
    /// The item's name in the file.
    pub id: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Outcome {
    /// Of a choice.
    Choice {
        /// Index of the right one.
        label: usize,
        /// Index of the likeliest one, the first of equal ones.
        prediction: usize,
        /// Sums of the logarithms of the probabilities, in nats, choice by choice.
        log_likelihoods: Vec<f64>,
        /// Whether greedy decoding would have written the choice.
        greedy: Vec<bool>,
        /// Tokens of each choice.
        tokens: Vec<usize>,
        /// Tokens at the beginning that did not fit the context, of the choice that lost most.
        cut: usize,
        /// Whether the likeliest one is right.
        correct: bool,
        /// The same with the log-likelihoods divided by the choices' characters.
        correct_norm: bool,
        /// The same with the log-likelihoods divided by the choices' UTF-8 bytes.
        correct_bytes: bool,
    },
    /// Of a last word.
    Word {
        /// Sum of the logarithms of the probabilities of its tokens, in nats.
        log_likelihood: f64,
        /// Its tokens.
        tokens: usize,
        /// Tokens at the beginning that did not fit the context.
        cut: usize,
        /// Whether greedy decoding would have written it.
        correct: bool,
    },
    /// Of a written answer.
    Answer(Answered),
}

impl Outcome {
    /// Whether it is right, by the task's first measure.
    pub fn correct(&self) -> bool {
        match self {
            Self::Choice { correct, .. } | Self::Word { correct, .. } => *correct,
            Self::Answer(answered) => answered.correct,
        }
    }
}

/// The model under test.
pub struct Subject<'a> {
    /// Where it runs.
    pub backend: &'a mut dyn Backend,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Its chat template, for questions that are put as a conversation.
    pub template: Option<&'a ChatTemplate>,
    /// Tokens that end an answer.
    pub eos: &'a [u32],
    /// Most tokens that it may see at once.
    pub context: usize,
}

/// A trial that fits the model, with its tokens.
#[derive(Debug)]
pub struct Prepared<'a> {
    trial: &'a Trial,
    tokens: Tokens,
}

#[derive(Debug)]
enum Tokens {
    /// Context and continuation of each choice.
    Pairs(Vec<(Vec<u32>, Vec<u32>)>),
    Prompt(Vec<u32>),
}

/// Tokenizes trials, so that one that does not fit is known before hours of work and before a run's file exists.
///
/// # Errors
/// A trial that does not fit the model, named by its line in `path`; a conversation without a chat template.
pub fn prepare<'a>(subject: &Subject<'_>, path: &Path, trials: &'a [Trial]) -> Result<Vec<Prepared<'a>>> {
    trials.iter().map(|trial| Ok(Prepared { trial, tokens: tokens(subject, path, trial)? })).collect()
}

/// Runs the trials that `run` does not hold yet. `progress` is called with the trials that this call has finished, and
/// with those it has to do.
///
/// # Errors
/// Cancellation; what the backend says; a run that cannot be written. Finished trials stay in the run.
pub fn measure(
    subject: &mut Subject<'_>,
    trials: &[Prepared<'_>],
    run: &mut Run,
    cancel: &AtomicBool,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<()> {
    let rest = run.done().len().min(trials.len());
    let total = trials.len() - rest;
    for (index, Prepared { trial, tokens }) in trials[rest..].iter().enumerate() {
        progress(index, total);
        if cancel.load(Ordering::SeqCst) {
            return Err(Error::Cancelled);
        }
        let outcome = attempt(subject, trial, tokens, cancel)?;
        run.push(&Line {
            task: trial.task.to_string(),
            protocol: trial.protocol.to_string(),
            line: trial.line,
            id: trial.id.clone(),
            outcome,
        })?;
    }
    Ok(())
}

fn tokens(subject: &Subject<'_>, path: &Path, trial: &Trial) -> Result<Tokens> {
    let wrong = |problem: String| data_error(path, trial.line, problem);
    let context = match &trial.query {
        Query::Choice { context, .. } | Query::Word { context, .. } => context,
        Query::Answer(question) => {
            let prompt = generation::encode(question, subject.tokenizer, subject.template)?;
            let room = subject.context.saturating_sub(prompt.len());
            if prompt.is_empty() || room == 0 {
                let (found, most) = (prompt.len(), subject.context);
                return Err(wrong(format!(
                    "the prompt has {found} tokens, and the model sees {most} with the answer: leave the item out"
                )));
            }
            return Ok(Tokens::Prompt(prompt));
        }
    };
    let pairs = continuations(&trial.query).iter().map(|continuation| {
        let pair = encode_pair(subject.tokenizer, context, &format!(" {continuation}"))?;
        match (pair.0.len(), pair.1.len()) {
            (0, _) => {
                Err(wrong("there is no token before what is to be predicted: leave the item out".into()))
            }
            (_, 0) => {
                Err(wrong(format!("the tokenizer makes no token of {continuation:?}: leave the item out")))
            }
            (_, tokens) if subject.context < tokens => Err(wrong(format!(
                "{tokens} tokens are to be predicted, and the model sees {}: leave the item out",
                subject.context
            ))),
            _ => Ok(pair),
        }
    });
    Ok(Tokens::Pairs(pairs.collect::<Result<_>>()?))
}

/// What is scored, without the space before it.
fn continuations(query: &Query) -> &[String] {
    match query {
        Query::Choice { choices, .. } => choices,
        Query::Word { word, .. } => std::slice::from_ref(word),
        Query::Answer(_) => &[],
    }
}

fn attempt(
    subject: &mut Subject<'_>,
    trial: &Trial,
    tokens: &Tokens,
    cancel: &AtomicBool,
) -> Result<Outcome> {
    let pairs = match (tokens, &trial.query) {
        (Tokens::Prompt(prompt), Query::Answer(question)) => {
            return Ok(Outcome::Answer(generation::answer(subject, question, prompt, cancel)?));
        }
        (Tokens::Pairs(pairs), _) => pairs,
        (Tokens::Prompt(_), _) => &Vec::new(),
    };
    let mut scorer = Scorer::new(subject.backend, subject.context)?;
    let mut scores = Vec::with_capacity(pairs.len());
    let mut cut = 0;
    for (context, continuation) in pairs {
        scores.push(scorer.continuation(context, continuation)?);
        cut = cut.max((context.len() + continuation.len()).saturating_sub(subject.context + 1));
    }
    let log_likelihoods: Vec<f64> = scores.iter().map(|score| score.log_likelihood).collect();
    Ok(match &trial.query {
        Query::Choice { choices, label, .. } => {
            let likeliest = |weight: fn(&str) -> usize| {
                first_largest(
                    log_likelihoods.iter().zip(choices).map(|(value, choice)| value / weight(choice) as f64),
                )
            };
            let prediction = likeliest(|_| 1);
            Outcome::Choice {
                label: *label,
                prediction,
                greedy: scores.iter().map(|score| score.is_greedy).collect(),
                tokens: scores.iter().map(|score| score.tokens).collect(),
                cut,
                correct: prediction == *label,
                correct_norm: likeliest(|choice| choice.chars().count()) == *label,
                correct_bytes: likeliest(str::len) == *label,
                log_likelihoods,
            }
        }
        _ => Outcome::Word {
            log_likelihood: log_likelihoods.iter().sum(),
            tokens: scores.iter().map(|score| score.tokens).sum(),
            cut,
            correct: scores.iter().all(|score| score.is_greedy),
        },
    })
}

/// Index of the largest value, the first of equal ones, as NumPy's `argmax`.
fn first_largest(values: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, value) in values.enumerate() {
        if best.1 < value {
            best = (index, value);
        }
    }
    best.0
}
