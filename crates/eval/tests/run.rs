//! Runs that are stopped, continued, mixed up and damaged.
#![allow(clippy::unwrap_used)]

mod common;

use common::header;
use edgewen_eval::{Header, Identity, Run};
use serde_json::{Value, json};

fn identity(name: &str) -> Identity {
    Identity::of_bytes(name, name.as_bytes())
}

#[test]
fn items_are_kept_with_all_their_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.jsonl");
    let values: Vec<f64> = (1..2000).map(|n| (f64::from(n) * 0.731).sin() / 3.0f64.powi(n % 50)).collect();
    let mut run = Run::open(Some(&path), &header("x"), false).unwrap();
    run.push(&values).unwrap();
    drop(run);
    let run = Run::open(Some(&path), &header("x"), false).unwrap();
    assert_eq!(run.items::<Vec<f64>>().unwrap(), [values]);
    assert_eq!(run.continued(), 1);
}

#[test]
fn a_torn_last_line_is_dropped_and_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.jsonl");
    let mut run = Run::open(Some(&path), &header("x"), false).unwrap();
    run.push(&json!({ "row": 0 })).unwrap();
    run.push(&json!({ "row": 1 })).unwrap();
    drop(run);
    let whole = std::fs::read(&path).unwrap();
    let header_bytes = whole.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    for end in 0..whole.len() {
        std::fs::write(&path, &whole[..end]).unwrap();
        let mut run =
            Run::open(Some(&path), &header("x"), false).unwrap_or_else(|error| panic!("{end}: {error}"));
        for row in run.done().len()..2 {
            run.push(&json!({ "row": row })).unwrap();
        }
        assert!(header_bytes <= end || run.continued() == 0);
        drop(run);
        assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {end}");
    }
}

#[test]
fn another_measurement_is_never_continued_and_the_change_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.jsonl");
    let open = |header: &Header, restart| Run::open(Some(&path), header, restart).map(|run| run.continued());
    let with = |model: &str, data: &str, protocol: Value| {
        Header::new("x", identity(model), identity(data), protocol).with_reference(identity("reference"))
    };
    let was = with("model", "data", json!({ "context": 8, "stride": 7 }));
    Run::open(Some(&path), &was, false).unwrap().push(&1).unwrap();
    let other_reference = Header { reference: Some(identity("other")), ..was.clone() };
    let cases = [
        (
            with("new model", "data", was.protocol.clone()),
            "the model changed, from model (9372c470eead) to new model",
        ),
        (with("model", "new data", was.protocol.clone()), "the data changed"),
        (
            with("model", "data", json!({ "context": 9, "stride": 7 })),
            "the protocol changed, from context 8 to context 9",
        ),
        (other_reference, "the reference changed"),
        (Header { reference: None, ..was.clone() }, "to none"),
        (Header { kind: "y".into(), ..was.clone() }, "the kind of measurement changed, from x to y"),
        (Header { edgewen: "99".into(), ..was.clone() }, "the version of edgewen changed"),
    ];
    for (header, expected) in &cases {
        let message = open(header, false).unwrap_err().to_string();
        assert!(message.contains(expected) && message.contains("--restart"), "{message}");
    }
    // A file that only moved, and other settings, are the same measurement.
    let mut moved = was.clone().with_settings(json!({ "threads": 7 }));
    moved.model.name = "elsewhere".into();
    assert_eq!(open(&moved, false).unwrap(), 1);
    assert_eq!(open(&cases[0].0, true).unwrap(), 0);
    assert_eq!(open(&cases[0].0, false).unwrap(), 0);
}

#[test]
fn files_that_are_no_runs_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    for text in ["my notes\n", "my notes", "{\"a\": 1}\n", "[]\n"] {
        std::fs::write(&path, text).unwrap();
        let message = Run::open(Some(&path), &header("x"), false).unwrap_err().to_string();
        assert!(message.contains("notes.txt, line 1: is no header"), "{message}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    let header_line = serde_json::to_string(&header("x")).unwrap();
    std::fs::write(&path, format!("{header_line}\n{{\"row\":\n{{}}\n")).unwrap();
    let message = Run::open(Some(&path), &header("x"), false).unwrap_err().to_string();
    assert!(message.contains("line 2: is not JSON"), "{message}");
    std::fs::write(&path, format!("{header_line}\n\"text\"\n")).unwrap();
    let message =
        Run::open(Some(&path), &header("x"), false).unwrap().items::<f64>().unwrap_err().to_string();
    assert!(message.contains("line 2: is no item"), "{message}");
}

#[test]
fn two_runs_do_not_write_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.jsonl");
    let _first = Run::open(Some(&path), &header("x"), false).unwrap();
    let message = Run::open(Some(&path), &header("x"), true).unwrap_err().to_string();
    assert!(message.contains("another run is writing"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_reported_by_name() {
    let full = std::path::Path::new("/dev/full");
    let message = Run::open(Some(full), &header("x"), false).unwrap_err().to_string();
    assert!(message.contains("cannot write /dev/full") && message.contains("space"), "{message}");
    let missing = std::path::Path::new("/nonexistent/items.jsonl");
    assert!(Run::open(Some(missing), &header("x"), false).unwrap_err().to_string().contains("items.jsonl"));
}
