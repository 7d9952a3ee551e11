//! The figures of a run, from its lines alone.

use serde::Serialize;

use super::{Line, Outcome};
use crate::stats::{self, Estimate};
use crate::wnli;

/// One figure of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Name of the task.
    pub task: String,
    /// How it was asked.
    pub protocol: String,
    /// "acc": the share of right ones; "acc_norm", "acc_bytes": the same with log-likelihoods divided by the choices'
    /// characters or bytes; "perplexity": of a last word, the exponential of the mean negative log-likelihood of a whole
    /// word; "answered": the share of answers that could be read at all.
    pub metric: &'static str,
    /// The figure.
    pub value: f64,
    /// Its standard error: sample deviation over the root of the items; of a perplexity, to first order.
    pub standard_error: f64,
    /// Items it is a mean of.
    pub items: usize,
}

/// The figures of all tasks and protocols in `lines`, in the order in which they first occur.
pub fn summarize(lines: &[Line]) -> Vec<Summary> {
    let mut names: Vec<(&str, &str)> = Vec::new();
    for line in lines {
        let name = (line.task.as_str(), line.protocol.as_str());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut result = Vec::new();
    for (task, protocol) in names {
        let outcomes: Vec<&Outcome> = lines
            .iter()
            .filter(|line| line.task == task && line.protocol == protocol)
            .map(|line| &line.outcome)
            .collect();
        let mut add = |metric, Estimate { value, standard_error }| {
            let items = outcomes.len();
            let (task, protocol) = (task.to_string(), protocol.to_string());
            result.push(Summary { task, protocol, metric, value, standard_error, items });
        };
        let share = |of: &dyn Fn(&Outcome) -> Option<bool>| {
            let values: Vec<f64> = outcomes
                .iter()
                .filter_map(|outcome| of(outcome))
                .map(|right| f64::from(u8::from(right)))
                .collect();
            (!values.is_empty()).then(|| stats::mean(&values))
        };
        add("acc", share(&|outcome| Some(outcome.correct())).unwrap_or_default());
        if let Some(estimate) = share(&answered) {
            add("answered", estimate);
        }
        // WNLI's choices are always "False" and "True": their lengths say nothing, and lm-eval gives no such figure.
        for (metric, estimate) in [("acc_norm", share(&norm)), ("acc_bytes", share(&bytes))] {
            if let Some(estimate) = estimate.filter(|_| task != wnli::TASK) {
                add(metric, estimate);
            }
        }
        let words: Vec<f64> = outcomes.iter().filter_map(|outcome| word(outcome)).collect();
        if !words.is_empty() {
            let Estimate { value, standard_error } = stats::mean(&words);
            let value = libm::exp(-value);
            add("perplexity", Estimate { value, standard_error: value * standard_error });
        }
    }
    result
}

fn norm(outcome: &Outcome) -> Option<bool> {
    if let Outcome::Choice { correct_norm, .. } = outcome { Some(*correct_norm) } else { None }
}

fn bytes(outcome: &Outcome) -> Option<bool> {
    if let Outcome::Choice { correct_bytes, .. } = outcome { Some(*correct_bytes) } else { None }
}

fn answered(outcome: &Outcome) -> Option<bool> {
    if let Outcome::Answer(answered) = outcome { Some(answered.answer.is_some()) } else { None }
}

fn word(outcome: &Outcome) -> Option<f64> {
    if let Outcome::Word { log_likelihood, .. } = outcome { Some(*log_likelihood) } else { None }
}
