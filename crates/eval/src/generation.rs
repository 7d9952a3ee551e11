//! Answers that a model writes, and whether they are right.
//!
//! Decoding is greedy: the likeliest token, no penalty, whatever the model's own sampling defaults say. An answer is
//! read out of what was written by one of two rules, which are part of the protocol: [`Rule::Integer`] is that of the
//! AICAS contest, [`Rule::FirstLine`] suits short answers in words.

use std::sync::atomic::{AtomicBool, Ordering};

use edgewen_engine::{FinishReason, GenerateOptions, Session};
use edgewen_model::{ChatTemplate, Tokenizer};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::tasks::Subject;
use crate::{Error, Result};

/// A question and its right answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What the model reads.
    pub prompt: Prompt,
    /// The right answers.
    pub answers: Vec<String>,
    /// How an answer is read.
    pub rule: Rule,
    /// Most tokens the model may write.
    pub max_tokens: usize,
}

/// What the model reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A text to continue.
    Text(String),
    /// A conversation, put into the model's chat template.
    Chat {
        /// The system message; without one the template's own default holds.
        system: Option<String>,
        /// The user's message.
        user: String,
    },
}

/// How an answer is read out of what the model wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// All of it, without white space around it, must be a whole number; right if it is the same number.
    Integer,
    /// Its first line that is not blank. Compared are lower case texts in which a run of white space is one space, without
    /// quotation marks around them and without `. , ; : ! ?` at the end.
    FirstLine,
}

/// What the model wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// Its words.
    pub output: String,
    /// Why it ended: "eos", "length", or "line" where the first line was all that counts.
    pub finish: String,
    /// The answer in it, if there is one.
    pub answer: Option<String>,
    /// The right answers.
    pub answers: Vec<String>,
    /// Whether it is one of them.
    pub correct: bool,
}

impl Rule {
    /// The answer in `output`, in the form in which answers are compared.
    pub fn answer(self, output: &str) -> Option<String> {
        match self {
            Self::Integer => output.trim().parse::<i64>().ok().map(|number| number.to_string()),
            Self::FirstLine => {
                let line = output.lines().map(str::trim).find(|line| !line.is_empty())?;
                let line = line.to_lowercase();
                let line = line.trim_end_matches(['.', ',', ';', ':', '!', '?', ' ']);
                let line =
                    line.trim_matches(['"', '\'', '`', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}', ' ']);
                let line = line.trim_end_matches(['.', ',', ';', ':', '!', '?', ' ']);
                let words: Vec<&str> = line.split_whitespace().collect();
                (!words.is_empty()).then(|| words.join(" "))
            }
        }
    }

    /// Whether what was written so far already holds the whole answer.
    fn is_complete(self, output: &str) -> bool {
        self == Self::FirstLine && output.trim_start().contains('\n')
    }
}

/// The tokens of a prompt.
///
/// # Errors
/// A conversation for a model without a chat template, and what template and tokenizer say.
pub fn encode(
    question: &Question,
    tokenizer: &Tokenizer,
    template: Option<&ChatTemplate>,
) -> Result<Vec<u32>> {
    match &question.prompt {
        Prompt::Text(text) => Ok(tokenizer.encode(text, true)?),
        Prompt::Chat { system, user } => {
            let template = template.ok_or_else(|| Error::Option {
                name: "the model",
                value: "without a chat template".to_string(),
                expected: "an instruct model, since the question is put as a conversation".to_string(),
            })?;
            let messages: Vec<_> = system
                .iter()
                .map(|text| json!({"role": "system", "content": text}))
                .chain([json!({"role": "user", "content": user})])
                .collect();
            Ok(tokenizer.encode(&template.render(&messages, None, true)?, false)?)
        }
    }
}

/// Lets the model answer `prompt`, the tokens of `question`.
///
/// # Errors
/// Cancellation, and what the backend says.
pub fn answer(
    subject: &mut Subject<'_>,
    question: &Question,
    prompt: &[u32],
    cancel: &AtomicBool,
) -> Result<Answered> {
    let (tokenizer, eos) = (subject.tokenizer.clone(), subject.eos.to_vec());
    let mut session = Session::new(subject.backend, tokenizer, eos, subject.context);
    let options = GenerateOptions { max_tokens: Some(question.max_tokens), ..GenerateOptions::default() };
    let mut written = String::new();
    let generated = session.generate(prompt, &options, cancel, &mut |text| {
        written.push_str(text);
        !question.rule.is_complete(&written)
    })?;
    if cancel.load(Ordering::SeqCst) {
        return Err(Error::Cancelled);
    }
    let finish = match generated.finish_reason {
        FinishReason::Cancelled => "line",
        reason => reason.name(),
    };
    let answer = question.rule.answer(&generated.text);
    let correct = answer.as_ref().is_some_and(|answer| {
        question.answers.iter().any(|right| question.rule.answer(right).as_ref() == Some(answer))
    });
    Ok(Answered {
        output: generated.text,
        finish: finish.to_string(),
        answer,
        answers: question.answers.clone(),
        correct,
    })
}
