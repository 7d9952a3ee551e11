//! `edgewen quantize`: all its choices, its report, and what it leaves behind when it must not write.
#![allow(clippy::unwrap_used)]

mod common;

use common::Scratch;
use edgewen_testing::TinySpec;

#[test]
fn every_method_group_and_head_gives_a_file_that_runs() {
    let scratch = Scratch::new();
    scratch.checkpoint("c", &TinySpec::default());
    let mut sizes = Vec::new();
    for (method, group, head) in [
        ("rtn", "32", "4"),
        ("rtn", "64", "8"),
        ("rtn", "128", "16"),
        ("awq", "64", "4"),
        ("awq", "128", "8"),
    ] {
        let output = format!("{method}-{group}-{head}.ewn");
        let flags =
            ["--method", method, "--group", group, "--head", head, "--calibration-tokens", "512", "--json"];
        let json = scratch.run(&[&["quantize", "c", "-o", &output], &flags[..]].concat()).succeeds().json();
        let bytes = std::fs::metadata(scratch.path(&output)).unwrap().len();
        assert_eq!(json["file_bytes"], bytes);
        assert!(0.0 < json["ratio"].as_f64().unwrap());
        sizes.push(bytes);
        scratch.run(&["inspect", &output, "--verify"]).succeeds();
        scratch.run(&["generate", "hello", "--model", &output, "-n", "3"]).succeeds();
    }
    assert!(sizes[3] < sizes[1] && sizes[1] < sizes[2], "{sizes:?}");
}

#[test]
fn quantizing_twice_gives_the_same_bytes() {
    let scratch = Scratch::new();
    scratch.checkpoint("c", &TinySpec::default());
    for (output, threads) in [("a.ewn", "1"), ("b.ewn", "2")] {
        let flags = ["--calibration-tokens", "512", "--threads", threads];
        scratch.run(&[&["quantize", "c", "-o", output], &flags[..]].concat()).succeeds();
    }
    assert!(std::fs::read(scratch.path("a.ewn")).unwrap() == std::fs::read(scratch.path("b.ewn")).unwrap());
}

#[test]
fn an_existing_file_is_replaced_only_with_force() {
    let scratch = Scratch::new();
    scratch.checkpoint("c", &TinySpec::default());
    scratch.write("x.ewn", "precious");
    let arguments = ["quantize", "c", "-o", "x.ewn", "--method", "rtn"];
    scratch.run(&arguments).fails_with(&["x.ewn", "--force"]);
    assert_eq!(std::fs::read(scratch.path("x.ewn")).unwrap(), b"precious");
    scratch.run(&[&arguments[..], &["--force"]].concat()).succeeds();
    scratch.run(&["inspect", "x.ewn", "--verify"]).succeeds();
    assert_eq!(scratch.names(), ["c", "x.ewn"]);
}

#[test]
fn the_report_tells_the_error_of_each_matrix() {
    let scratch = Scratch::new();
    scratch.checkpoint("c", &TinySpec::default());
    scratch.write("text.txt", "The quick brown fox jumps over the lazy dog. ".repeat(40));
    let flags = ["--calibration", "text.txt", "--calibration-tokens", "512", "--report", "r.json"];
    scratch.run(&[&["quantize", "c", "-o", "x.ewn"], &flags[..]].concat()).succeeds();
    let text = std::fs::read_to_string(scratch.path("r.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let tensors = report["tensors"].as_array().unwrap();
    assert!(8 <= tensors.len());
    assert_eq!(scratch.names(), ["c", "r.json", "text.txt", "x.ewn"]);
}

#[test]
fn what_cannot_work_fails_before_the_work() {
    let scratch = Scratch::new();
    scratch.checkpoint("c", &TinySpec::default());
    scratch.write("latin1.txt", b"\xff\xfe");
    scratch.write("empty.txt", "");
    for (flags, word) in [
        (["-o", "no/such/x.ewn", "--group", "64"], "no/such"),
        (["-o", "x.ewn", "--calibration", "absent.txt"], "absent.txt"),
        (["-o", "x.ewn", "--calibration", "latin1.txt"], "UTF-8"),
        (["-o", "x.ewn", "--calibration", "empty.txt"], "empty.txt"),
        (["-o", "x.ewn", "--report", "no/such/r.json"], "no/such"),
    ] {
        scratch.run(&[&["quantize", "c"], &flags[..]].concat()).fails_with(&[word]);
        assert_eq!(scratch.names(), ["c", "empty.txt", "latin1.txt"]);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_nothing() {
    let scratch = Scratch::new();
    // Large enough that the signal arrives in the middle.
    let spec = TinySpec { hidden: 512, intermediate: 1536, layers: 12, heads: 8, ..TinySpec::default() };
    scratch.checkpoint("c", &spec);
    let child = scratch
        .command(&["quantize", "c", "-o", "x.ewn"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let started = std::time::Instant::now();
    // The temporary file shows that the work has begun.
    while scratch.names().len() == 1 && started.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(scratch.names(), ["c"]);
}
