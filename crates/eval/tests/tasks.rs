//! The tasks' files, prompts and figures: against definitions written out by hand, and against the shared references.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use edgewen_engine::{Backend, Reference};
use edgewen_eval::generation::{Question, Rule, encode};
use edgewen_eval::likelihood::encode_pair;
use edgewen_eval::tasks::{Line, Outcome, Query, Subject, Task, Trial, measure, prepare, summarize};
use edgewen_eval::wnli::{self, Protocol};
use edgewen_eval::{Error, Header, Identity, Run};
use edgewen_model::{ChatTemplate, Checkpoint, Tokenizer, TokenizerFiles};
use edgewen_testing::conformance::logits;
use edgewen_testing::{TinySpec, shared, tiny_checkpoint};
use serde_json::{Value, json};

const ANSWERS: Task = Task::Answers { chat: false, max_tokens: 8 };

fn read(task: Task, text: &str) -> Vec<Trial> {
    task.read(Path::new("items.jsonl"), text.as_bytes()).unwrap()
}

fn choice(trial: &Trial) -> (&str, Vec<&str>, usize) {
    let Query::Choice { context, choices, label } = &trial.query else { panic!("{trial:?}") };
    (context, choices.iter().map(String::as_str).collect(), *label)
}

#[test]
fn arc_is_read_as_ai2_and_as_hugging_face_publish_it() {
    let ai2 = r#"{"id": "x", "question": {"stem": "Why?", "choices": [{"text": "No.", "label": "1"}, {"text": "So.", "label": "2"}]}, "answerKey": "2"}"#;
    let hub = r#"{"id": "x", "question": "Why?", "choices": {"text": ["No.", "So."], "label": ["1", "2"]}, "answerKey": "2"}"#;
    let trials = read(Task::Arc, &format!("\u{feff}{ai2}\r\n\r\n{hub}\r\n"));
    assert_eq!(
        trials.iter().map(|trial| (trial.line, trial.id.as_str())).collect::<Vec<_>>(),
        [(1, "x"), (3, "x")]
    );
    for trial in &trials {
        assert_eq!(choice(trial), ("Question: Why?\nAnswer:", vec!["No.", "So."], 1));
    }
}

#[test]
fn piqa_lambada_choices_and_answers_are_read() {
    let piqa = read(Task::Piqa, r#"{"goal": "Cut it", "sol1": "knife", "sol2": "spoon", "label": "0"}"#);
    assert_eq!(choice(&piqa[0]), ("Question: Cut it\nAnswer:", vec!["knife", "spoon"], 0));
    let choices = read(Task::Choices, r#"{"context": "A is", "choices": ["a", "b", "c"], "label": 2}"#);
    assert_eq!(choice(&choices[0]), ("A is", vec!["a", "b", "c"], 2));
    let lambada = read(Task::Lambada, r#"{"text": "they went  home again"}"#);
    let expected = Query::Word { context: "they went  home".into(), word: "again".into() };
    assert_eq!(lambada[0].query, expected);
    let answers = read(ANSWERS, r#"{"prompt": "1+1=", "answer": ["2", "two"]}"#);
    let Query::Answer(Question { answers, .. }) = &answers[0].query else { panic!("{answers:?}") };
    assert_eq!(answers, &["2", "two"]);
}

#[test]
fn bad_files_are_refused_by_their_line() {
    let good = r#"{"goal": "g", "sol1": "a", "sol2": "b", "label": 1}"#;
    let arc = |key: &str| {
        format!(
            r#"{{"question": {{"stem": "s", "choices": [{{"text": "a", "label": "A"}}, {{"text": "b", "label": "B"}}]}}, "answerKey": {key}}}"#
        )
    };
    let cases: Vec<(Task, String, &[&str])> = vec![
        (Task::Piqa, String::new(), &["line 1", "empty"]),
        (Task::Piqa, "\n \n".into(), &["empty"]),
        (Task::Piqa, format!("{good}\n{{\"goal\": "), &["line 2", "not JSON"]),
        (Task::Piqa, format!("{good}\n[1]"), &["line 2", "object"]),
        (
            Task::Piqa,
            format!("{good}\n\n{}", r#"{"goal": "g", "sol1": "a", "label": 1}"#),
            &["line 3", "\"sol2\"", "only \"goal\""],
        ),
        (Task::Piqa, good.replace('1', "2"), &["line 1", "\"sol1\""]),
        (Task::Piqa, good.replace("\"label\": 1", "\"label\": 2"), &["line 1", "label", "2", "0 to 1"]),
        (Task::Piqa, good.replace("\"label\": 1", "\"label\": \"yes\""), &["line 1", "yes", "0 to 1"]),
        (Task::Piqa, good.replace("\"label\": 1", "\"label\": -1"), &["line 1", "-1"]),
        (Task::Piqa, good.replace("\"a\"", "7"), &["\"sol1\" is 7", "text"]),
        (Task::Piqa, good.replace("\"a\"", "\" \""), &["\"sol1\" is empty"]),
        (Task::Arc, format!("{}\n{}", arc("\"A\""), arc("\"C\"")), &["line 2", "answerKey", "\"C\"", "A, B"]),
        (Task::Arc, arc("1"), &["answerKey", "text"]),
        (Task::Arc, r#"{"question": {"stem": "s"}, "answerKey": "A"}"#.into(), &["\"A\""]),
        (Task::Arc, r#"{"question": "s", "answerKey": "A"}"#.into(), &["no \"text\""]),
        (Task::Lambada, r#"{"text": "word"}"#.into(), &["line 1", "space"]),
        (Task::Lambada, r#"{"text": "word "}"#.into(), &["line 1", "last word"]),
        (
            Task::Choices,
            r#"{"context": "c", "choices": ["a"], "label": 0}"#.into(),
            &["1 choices", "at least two"],
        ),
        (Task::Choices, r#"{"context": "c", "choices": "ab", "label": 0}"#.into(), &["list"]),
        (ANSWERS, r#"{"prompt": "p"}"#.into(), &["no \"answer\""]),
        (ANSWERS, r#"{"prompt": "p", "answer": []}"#.into(), &["empty list"]),
    ];
    for (task, text, words) in cases {
        let error = task.read(Path::new("items.jsonl"), text.as_bytes()).unwrap_err().to_string();
        for word in words.iter().chain(&["items.jsonl"]) {
            assert!(error.contains(word), "{text}\nno `{word}` in: {error}");
        }
    }
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let latin1 = [good.as_bytes(), b"\n\xe9"].concat();
    for (bytes, words) in
        [([&[0xff, 0xfe], &utf16[..]].concat(), ["line 1", "UTF-16"]), (latin1, ["line 2", "not UTF-8"])]
    {
        let error = Task::Piqa.read(Path::new("items.jsonl"), &bytes).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn bad_wnli_files_are_refused_by_their_line() {
    let head = "index\tsentence1\tsentence2\tlabel\n";
    let cases = [
        (String::new(), ["line 1", "\"index\""]),
        (head.replace("sentence2", "sentence3"), ["line 1", "\"sentence2\""]),
        (head.replace("\tlabel", ""), ["line 1", "\"label\""]),
        (head.to_string(), ["line 1", "no row"]),
        (format!("{head}0\ta\tb\t1\n1\ta\tb\t2\n"), ["line 3", "\"2\""]),
        (format!("{head}0\ta\tb\tentailment\n"), ["line 2", "expected 0 or 1"]),
        (format!("{head}0\ta\t1\n"), ["line 2", "3 cells"]),
        (format!("{head}0\ta\t\t1\n"), ["line 2", "sentence2 is empty"]),
    ];
    for (text, words) in cases {
        let error =
            wnli::read(Path::new("dev.tsv"), text.as_bytes(), &[Protocol::LmEval]).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{text:?}: {error}");
    }
    // The order of the columns and the kind of line break are free.
    let text = "label\tsentence2\tsentence1\tindex\r\n1\tso\tas\t7\r\n";
    let trials =
        wnli::read(Path::new("dev.tsv"), text.as_bytes(), &[Protocol::Aicas, Protocol::LmEval]).unwrap();
    let names: Vec<_> = trials.iter().map(|trial| (trial.id.as_str(), trial.protocol)).collect();
    assert_eq!(names, [("7", "aicas"), ("7", "lm-eval")]);
    assert_eq!(choice(&trials[1]), ("as\nQuestion: so True or False?\nAnswer:", vec!["False", "True"], 1));
}

#[test]
fn wnli_prompts_are_those_of_both_protocols_on_the_genuine_tokenizer() {
    let (Some(folder), Some(file), Some(expected)) = (
        shared("data/third-party/tokenizer"),
        shared("data/third-party/eval/wnli/dev.tsv"),
        shared("data/own/wnli_dev_prompts.jsonl"),
    ) else {
        return;
    };
    let files = TokenizerFiles::from_dir(&folder).unwrap();
    let tokenizer = Tokenizer::from_files(&files).unwrap();
    let template = ChatTemplate::from_files(&files).unwrap();
    let protocols = [Protocol::LmEval, Protocol::Aicas];
    let trials = wnli::read(&file, &std::fs::read(&file).unwrap(), &protocols).unwrap();
    let text = std::fs::read_to_string(expected).unwrap();
    let expected: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((trials.len(), expected.len()), (142, 71));
    let ids = |value: &Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
    for (pair, expected) in trials.chunks(2).zip(&expected) {
        assert_eq!(pair[0].id, expected["index"].to_string());
        let (context, choices, label) = choice(&pair[0]);
        assert_eq!(
            (context, label as u64),
            (expected["lmeval_context"].as_str().unwrap(), expected["label"].as_u64().unwrap())
        );
        for (choice, name) in choices.iter().zip(["lmeval_false_ids", "lmeval_true_ids"]) {
            let (before, rest) = encode_pair(&tokenizer, context, &format!(" {choice}")).unwrap();
            assert_eq!((before, rest), (ids(&expected["lmeval_context_ids"]), ids(&expected[name])));
        }
        let Query::Answer(question) = &pair[1].query else { panic!("{:?}", pair[1]) };
        assert_eq!(question.answers, [expected["label"].to_string()]);
        let prompt = encode(question, &tokenizer, template.as_ref()).unwrap();
        assert_eq!(prompt, ids(&expected["aicas_ids"]));
        assert_eq!(tokenizer.decode(&prompt, false).unwrap(), expected["aicas_text"].as_str().unwrap());
    }
}

#[test]
fn white_space_before_the_seam_belongs_to_the_continuation() {
    let directory = tiny_checkpoint(&TinySpec::default());
    let tokenizer = Tokenizer::from_dir(directory.path()).unwrap();
    let text = |ids: &[u32]| tokenizer.decode(ids, false).unwrap();
    for (context, continuation, before, rest) in [
        ("a b", " c", "a b", " c"),
        ("a b \n", "c", "a b", " \nc"),
        ("a\u{1f}\u{a0}", " c", "a", "\u{1f}\u{a0} c"),
        (" ", "c", "", " c"),
        ("", " c", "", " c"),
    ] {
        let (a, b) = encode_pair(&tokenizer, context, continuation).unwrap();
        assert_eq!((text(&a), text(&b)), (before.to_string(), rest.to_string()), "{context:?}");
    }
}

#[test]
fn a_second_bos_is_not_added() {
    let Some(folder) = shared("data/third-party/models/stories260k-qwen2") else { return };
    let tokenizer = Tokenizer::from_dir(&folder).unwrap();
    let count = |context: &str| {
        let (context, continuation) = encode_pair(&tokenizer, context, " there").unwrap();
        [context, continuation].concat().iter().filter(|&&id| id == 1).count()
    };
    assert_eq!((count("once"), count("<s> once")), (1, 1));
}

#[test]
fn answers_are_read_by_their_rule() {
    let integer = |text: &str| Rule::Integer.answer(text);
    assert_eq!(integer(" 1\n").as_deref(), Some("1"));
    assert_eq!(integer("+01").as_deref(), Some("1"));
    for text in ["", "1.", "yes", "1 or 0", "1\n1"] {
        assert_eq!(integer(text), None, "{text:?}");
    }
    let line = |text: &str| Rule::FirstLine.answer(text);
    assert_eq!(line("\n  The  Cat!\nand so on").as_deref(), Some("the cat"));
    assert_eq!(line("\"Paris.\"").as_deref(), Some("paris"));
    assert_eq!(line("-3.5").as_deref(), Some("-3.5"));
    for text in ["", " \n ", "...", "\"\""] {
        assert_eq!(line(text), None, "{text:?}");
    }
}

/// A small random model with everything a subject needs.
struct Model {
    directory: tempfile::TempDir,
    backend: Reference,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
}

impl Model {
    fn new() -> Self {
        let spec = TinySpec { hidden: 32, intermediate: 64, max_position: 64, ..TinySpec::default() };
        let directory = tiny_checkpoint(&spec);
        let checkpoint = Checkpoint::open(directory.path()).unwrap();
        let files = checkpoint.tokenizer_files().unwrap();
        let tokenizer = Tokenizer::from_files(&files).unwrap();
        let template = ChatTemplate::from_files(&files).unwrap();
        Self { backend: Reference::new(checkpoint, 1).unwrap(), directory, tokenizer, template }
    }

    fn measure(&mut self, trials: &[Trial], run: &mut Run, cancel_at: usize) -> edgewen_eval::Result<()> {
        let context = self.backend.config().max_position;
        let mut subject = Subject {
            backend: &mut self.backend,
            tokenizer: &self.tokenizer,
            template: self.template.as_ref(),
            eos: &[256],
            context,
        };
        let cancel = AtomicBool::new(false);
        let prepared = prepare(&subject, Path::new("items.jsonl"), trials)?;
        measure(&mut subject, &prepared, run, &cancel, &mut |done, _| {
            cancel.store(done == cancel_at, Ordering::SeqCst);
        })
    }

    /// Lines of trials that are run at once.
    fn lines(&mut self, trials: &[Trial]) -> Vec<Line> {
        let mut run = Run::open(None, &header(), false).unwrap();
        self.measure(trials, &mut run, usize::MAX).unwrap();
        run.items().unwrap()
    }

    /// The log-likelihood of the last `tokens` bytes of `text`, and whether they are greedy, from all logits at once.
    fn by_hand(&mut self, text: &str, tokens: usize) -> (f64, bool) {
        let all = self.tokenizer.encode(text, true).unwrap();
        let ids = &all[all.len().saturating_sub(65)..];
        let rows = logits(&mut self.backend, &ids[..ids.len() - 1], ids.len());
        let vocabulary = self.backend.config().vocab_size;
        let (mut sum, mut greedy) = (0.0, true);
        for at in ids.len() - tokens..ids.len() {
            let row = &rows[(at - 1) * vocabulary..at * vocabulary];
            let target = row[ids[at] as usize];
            sum += f64::from(target) - row.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
            greedy &= row.iter().all(|&logit| logit <= target);
        }
        (sum, greedy)
    }
}

fn header() -> Header {
    let of = |name: &str| Identity::of_bytes(name, name.as_bytes());
    Header::new("tasks", of("model"), of("data"), json!({"task": "choices"}))
}

fn some_choices() -> Vec<Trial> {
    let row = |context: &str, label| {
        json!({"context": context, "choices": ["é", "ab", "xyz"], "label": label}).to_string()
    };
    let long = "long ".repeat(20);
    read(Task::Choices, &[row("it is", 0), row("so ", 1), row(&long, 2), row("why?", 1)].join("\n"))
}

#[test]
fn choices_are_scored_by_their_definition() {
    let mut model = Model::new();
    let trials = some_choices();
    let lines = model.lines(&trials);
    for (trial, line) in trials.iter().zip(&lines) {
        let (context, choices, right) = choice(trial);
        let Outcome::Choice {
            label,
            prediction,
            log_likelihoods,
            greedy,
            tokens,
            cut,
            correct,
            correct_norm,
            correct_bytes,
        } = &line.outcome
        else {
            panic!("{line:?}")
        };
        let spaces = context.len() - context.trim_end().len();
        let mut expected = Vec::new();
        for (index, choice) in choices.iter().enumerate() {
            let length = spaces + 1 + choice.len();
            let (log_likelihood, is_greedy) = model.by_hand(&format!("{context} {choice}"), length);
            assert!(
                (log_likelihoods[index] - log_likelihood).abs() < 1e-6,
                "{line:?}, {log_likelihood} by hand"
            );
            assert_eq!((greedy[index], tokens[index]), (is_greedy, length));
            expected.push(log_likelihood);
        }
        let best = |weights: [f64; 3]| {
            let value = |index: usize| expected[index] / weights[index];
            (0..3).max_by(|&a, &b| value(a).total_cmp(&value(b))).unwrap()
        };
        assert_eq!((*label, *prediction, *correct), (right, best([1.0; 3]), best([1.0; 3]) == right));
        assert_eq!(
            (*correct_norm, *correct_bytes),
            (best([1.0, 2.0, 3.0]) == right, best([2.0, 2.0, 3.0]) == right)
        );
        assert_eq!(*cut, if context.starts_with("long") { 100 + 4 - 65 } else { 0 });
    }
    let summary = summarize(&lines);
    let right = lines.iter().filter(|line| line.outcome.correct()).count() as f64;
    assert_eq!(
        summary.iter().map(|figure| figure.metric).collect::<Vec<_>>(),
        ["acc", "acc_norm", "acc_bytes"]
    );
    assert_eq!((summary[0].value, summary[0].items), (right / 4.0, 4));
    let p = right / 4.0;
    assert!((summary[0].standard_error - (p * (1.0 - p) / 3.0).sqrt()).abs() < 1e-12);
}

#[test]
fn last_words_are_scored_by_their_definition() {
    let mut model = Model::new();
    let trials = read(Task::Lambada, "{\"text\": \"the end\"}\n{\"text\": \"a b cd\"}");
    let lines = model.lines(&trials);
    let expected: Vec<(f64, bool)> = vec![model.by_hand("the end", 4), model.by_hand("a b cd", 3)];
    for (line, (expected, greedy)) in lines.iter().zip(&expected) {
        let Outcome::Word { log_likelihood, correct, .. } = line.outcome else { panic!("{line:?}") };
        assert!((log_likelihood - expected).abs() < 1e-6 && correct == *greedy, "{line:?}");
    }
    let figures = summarize(&lines);
    let perplexity = (-(expected[0].0 + expected[1].0) / 2.0).exp();
    assert_eq!((figures[0].metric, figures[1].metric), ("acc", "perplexity"));
    assert!((figures[1].value / perplexity - 1.0).abs() < 1e-6, "{figures:?}");
}

#[test]
fn a_written_answer_is_the_greedy_continuation() {
    let mut model = Model::new();
    let ids = model.tokenizer.encode("two and", true).unwrap();
    let mut written = ids.clone();
    for _ in 0..8 {
        let rows = logits(&mut model.backend, &written, written.len());
        let vocabulary = model.backend.config().vocab_size;
        let last = &rows[rows.len() - vocabulary..];
        let best = (0..vocabulary).rev().max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
        written.push(best as u32);
    }
    let expected = model.tokenizer.decode(&written[ids.len()..], true).unwrap();
    let row = json!({"prompt": "two and", "answer": ["no", expected.trim()]}).to_string();
    let lines = model.lines(&read(ANSWERS, &row));
    let Outcome::Answer(answered) = &lines[0].outcome else { panic!("{lines:?}") };
    assert!(expected.starts_with(&answered.output), "{answered:?}, expected {expected:?}");
    assert_eq!(answered.correct, answered.answer.is_some());
    let row = json!({"prompt": "two and", "answer": "something else"}).to_string();
    assert!(!model.lines(&read(Task::Answers { chat: true, max_tokens: 4 }, &row))[0].outcome.correct());
}

#[test]
fn a_stopped_run_goes_on_to_the_same_lines() {
    let mut model = Model::new();
    let trials = some_choices();
    let whole = model.lines(&trials);
    let path = model.directory.path().join("run.jsonl");
    let mut run = Run::open(Some(&path), &header(), false).unwrap();
    assert!(matches!(model.measure(&trials, &mut run, 2), Err(Error::Cancelled)));
    drop(run);
    let mut run = Run::open(Some(&path), &header(), false).unwrap();
    assert_eq!(run.done().len(), 2);
    model.measure(&trials, &mut run, usize::MAX).unwrap();
    assert_eq!(run.items::<Line>().unwrap(), whole);
    // Lines survive their way through JSON exactly.
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Line> = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, whole);
    // Fewer trials than there are lines: nothing is left to do.
    model.measure(&trials[..1], &mut run, usize::MAX).unwrap();
    assert_eq!(run.done().len(), 4);
}

#[test]
fn items_that_do_not_fit_the_model_are_refused_before_anything_is_computed() {
    let mut model = Model::new();
    let mut refused = |text: &str, task: Task| {
        let mut run = Run::open(None, &header(), false).unwrap();
        let error = model.measure(&read(task, text), &mut run, usize::MAX).unwrap_err().to_string();
        assert!(run.done().is_empty());
        error
    };
    let row = |context: &str, long: &str| {
        json!({"context": context, "choices": ["a", long], "label": 0}).to_string()
    };
    let error = refused(&[row("c", "b"), row("c", &"x".repeat(64))].join("\n"), Task::Choices);
    assert!(error.contains("line 2") && error.contains("65 tokens") && error.contains("sees 64"), "{error}");
    let error = refused("{\"text\": \"\\n word\"}", Task::Lambada);
    assert!(error.contains("line 1") && error.contains("no token before"), "{error}");
    let long = json!({"prompt": "x".repeat(64), "answer": "y"}).to_string();
    let error = refused(&long, ANSWERS);
    assert!(error.contains("line 1") && error.contains("64 tokens"), "{error}");
}

#[test]
fn a_conversation_needs_a_chat_template() {
    let mut model = Model::new();
    model.template = None;
    let text = "index\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n";
    let trials = wnli::read(Path::new("dev.tsv"), text.as_bytes(), &[Protocol::Aicas]).unwrap();
    let mut run = Run::open(None, &header(), false).unwrap();
    let error = model.measure(&trials, &mut run, usize::MAX).unwrap_err().to_string();
    assert!(error.contains("chat template"), "{error}");
}
