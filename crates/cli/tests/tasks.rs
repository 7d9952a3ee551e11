//! `edgewen eval wnli` and `edgewen eval tasks`: figures, files of items, continued runs, refusals.
#![allow(clippy::unwrap_used)]

mod common;

use common::Scratch;
use edgewen_testing::TinySpec;
use serde_json::{Value, json};

const WNLI: &str = "index\tsentence1\tsentence2\tlabel\n0\tIt rains.\tIt is wet.\t1\n1\tHe eats.\tHe sings.\t0\n\
                    2\tA dog barks.\tA cat barks.\t0\n";

fn small() -> TinySpec {
    TinySpec { hidden: 64, intermediate: 64, layers: 1, max_position: 512, ..TinySpec::default() }
}

/// Three questions with four choices.
fn choices() -> String {
    let row = |context: &str, label| {
        json!({"context": context, "choices": ["red", "green", "blue", "a much longer one"], "label": label})
            .to_string()
    };
    [row("grass is", 1), row("the sky is", 2), row("blood is", 0)].join("\n")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn wnli_is_measured_by_both_protocols() {
    let scratch = Scratch::new();
    scratch.packed("m.ewn", &small());
    scratch.write("dev.tsv", WNLI);
    let run = ["eval", "wnli", "--model", "m.ewn", "--file", "dev.tsv", "-o", "items.jsonl", "--json"];
    let report = scratch.run(&run).succeeds().json();
    let figures: Vec<(&str, &str, u64)> = report["figures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| {
            (f["protocol"].as_str().unwrap(), f["metric"].as_str().unwrap(), f["items"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(figures, [("lm-eval", "acc", 3), ("aicas", "acc", 3), ("aicas", "answered", 3)]);
    let items = lines(&std::fs::read_to_string(scratch.path("items.jsonl")).unwrap());
    assert_eq!(items.len(), 1 + 6);
    assert_eq!(items[0]["protocol"]["protocols"], "lm-eval+aicas");
    let right =
        items[1..].iter().filter(|item| item["protocol"] == "lm-eval" && item["correct"] == true).count();
    assert_eq!(report["figures"][0]["value"], right as f64 / 3.0);

    let one = scratch.run(&[
        "eval",
        "wnli",
        "--model",
        "m.ewn",
        "--file",
        "dev.tsv",
        "--protocol",
        "lm-eval",
        "--limit",
        "2",
    ]);
    let text = one.succeeds().out;
    assert!(text.contains("True or False?") && !text.contains("aicas"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("wnli") && line.ends_with('2')), "{text}");
}

#[test]
fn a_stopped_run_goes_on_and_a_changed_one_is_refused() {
    let scratch = Scratch::new();
    scratch.packed("m.ewn", &small());
    scratch.packed("other.ewn", &TinySpec { seed: 2, ..small() });
    scratch.write("choices.jsonl", choices());
    let run = |more: &[&str]| {
        let base = ["eval", "tasks", "--task", "choices", "--file", "choices.jsonl", "-o", "items.jsonl"];
        scratch.run(&[&base[..], more].concat())
    };
    let items = || std::fs::read_to_string(scratch.path("items.jsonl")).unwrap();

    let printed = run(&["--model", "m.ewn", "--json"]).succeeds().json();
    let whole = items();
    // Killed in the middle of the third item's line.
    let kept: usize = whole.split_inclusive('\n').take(3).map(str::len).sum();
    std::fs::write(scratch.path("items.jsonl"), &whole[..kept + 20]).unwrap();
    let again = run(&["--model", "m.ewn", "--json", "--threads", "1"]).succeeds();
    assert!(again.err.contains("after 2 items"), "{}", again.err);
    let again = again.json();
    assert_eq!((&again["figures"], &again["continued_items"]), (&printed["figures"], &json!(2)));
    assert_eq!(items(), whole);

    run(&["--model", "other.ewn"]).fails_with(&["items.jsonl", "the model changed", "--restart"]);
    run(&["--model", "m.ewn", "--context", "64"]).fails_with(&["the protocol changed", "context"]);
    run(&["--model", "m.ewn", "--kv", "int8"]).fails_with(&["the protocol changed", "kv"]);
    scratch.write("choices.jsonl", choices().replace("blood", "milk"));
    run(&["--model", "m.ewn"]).fails_with(&["the data changed"]);
    assert_eq!(items(), whole);
    run(&["--model", "m.ewn", "--restart"]).succeeds();
    assert_ne!(items(), whole);
}

#[test]
fn a_run_with_a_limit_can_be_extended() {
    let scratch = Scratch::new();
    scratch.packed("m.ewn", &small());
    scratch.write("choices.jsonl", choices());
    let run = |more: &[&str]| {
        let base =
            ["eval", "tasks", "--task", "choices", "--file", "choices.jsonl", "--model", "m.ewn", "--json"];
        scratch.run(&[&base[..], more].concat()).succeeds().json()
    };
    let two = run(&["-o", "items.jsonl", "--limit", "2"]);
    assert_eq!((&two["figures"][0]["items"], &two["continued_items"]), (&json!(2), &json!(0)));
    let all = run(&["-o", "items.jsonl"]);
    assert_eq!((&all["figures"], &all["continued_items"]), (&run(&[])["figures"], &json!(2)));
    // Fewer than are done: the first ones count.
    assert_eq!(run(&["-o", "items.jsonl", "--limit", "2"])["figures"], two["figures"]);
}

#[test]
fn the_bits_of_a_run_do_not_depend_on_threads_and_instruction_set() {
    let scratch = Scratch::new();
    scratch.packed("m.ewn", &small());
    scratch.write("choices.jsonl", choices());
    let mut files = Vec::new();
    for settings in [["--isa", "scalar"], ["--threads", "1"]] {
        let base = [
            "eval",
            "tasks",
            "--task",
            "choices",
            "--file",
            "choices.jsonl",
            "--model",
            "m.ewn",
            "-o",
            "i",
            "--restart",
        ];
        scratch.run(&[&base[..], &settings].concat()).succeeds();
        files.push(lines(&std::fs::read_to_string(scratch.path("i")).unwrap())[1..].to_vec());
    }
    assert_eq!(files[0], files[1]);
}

#[test]
fn answers_are_written_and_compared() {
    let scratch = Scratch::new();
    scratch.packed("m.ewn", &small());
    scratch.write(
        "q.jsonl",
        "{\"prompt\": \"1+1=\", \"answer\": [\"2\", \"two\"]}\n{\"prompt\": \"Hi\", \"answer\": \"x\"}\n",
    );
    let base =
        ["eval", "tasks", "--task", "answers", "--file", "q.jsonl", "--model", "m.ewn", "-o", "i.jsonl"];
    for (more, asked_as) in [(&["--max-tokens", "4"][..], "text"), (&["--chat", "--restart"][..], "chat")] {
        scratch.run(&[&base[..], more].concat()).succeeds();
        let items = lines(&std::fs::read_to_string(scratch.path("i.jsonl")).unwrap());
        assert_eq!(
            (items.len(), &items[1]["protocol"], &items[1]["kind"]),
            (3, &json!(asked_as), &json!("answer"))
        );
        assert_eq!(items[1]["answers"], json!(["2", "two"]));
    }
}

#[test]
fn bad_items_and_senseless_flags_are_refused() {
    let scratch = Scratch::new();
    scratch.packed("m.ewn", &small());
    scratch.write("choices.jsonl", choices());
    scratch.write("empty.jsonl", "");
    scratch.write("label.tsv", WNLI.replace("\t0\n2", "\tno\n2"));
    scratch.write("latin1.tsv", [WNLI.as_bytes(), b"\xe9"].concat());
    let tasks = |file: &str, more: &[&str]| {
        let base = ["eval", "tasks", "--model", "m.ewn", "--file", file, "--task"];
        scratch.run(&[&base[..], more].concat())
    };
    tasks("none.jsonl", &["arc"]).fails_with(&["cannot read none.jsonl"]);
    tasks("empty.jsonl", &["arc"]).fails_with(&["empty.jsonl", "empty"]);
    tasks("choices.jsonl", &["piqa"]).fails_with(&["choices.jsonl, line 1", "\"sol1\""]);
    tasks("choices.jsonl", &["choices", "-o", "no/items.jsonl"]).fails_with(&["cannot write no/items.jsonl"]);
    for more in
        [&["choices", "--chat"][..], &["arc", "--max-tokens", "3"], &["sum"], &["choices", "--restart"]]
    {
        let ran = tasks("choices.jsonl", more).exits(2);
        assert!(!ran.err.is_empty(), "{more:?}");
    }
    let wnli = |file: &str| scratch.run(&["eval", "wnli", "--model", "m.ewn", "--file", file]);
    wnli("label.tsv").fails_with(&["label.tsv, line 3", "\"no\"", "0 or 1"]);
    wnli("latin1.tsv").fails_with(&["latin1.tsv, line 5", "UTF-8"]);

    // A base model cannot be asked in a conversation.
    let checkpoint = scratch.checkpoint("base", &small());
    std::fs::write(checkpoint.join("tokenizer_config.json"), "{\"eos_token\": \"<|endoftext|>\"}").unwrap();
    scratch.write("dev.tsv", WNLI);
    let ran = scratch.run(&["eval", "wnli", "--model", "base", "--file", "dev.tsv", "--protocol", "aicas"]);
    ran.fails_with(&["no chat template"]);
    let ran = scratch.run(&["eval", "wnli", "--model", "base", "--file", "dev.tsv"]).succeeds();
    assert!(ran.err.contains("only the protocol lm-eval"), "{}", ran.err);
}
