//! Help, completions, exit codes of wrong usage, the environment, and pipes whose reader has gone.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Read;
use std::process::Stdio;

use common::Scratch;

const VERBS: [&str; 9] =
    ["quantize", "generate", "chat", "inspect", "tokenize", "logits", "perplexity", "bench", "completions"];

#[test]
fn help_goes_to_standard_output_and_fits_80_columns() {
    let scratch = Scratch::new();
    for verb in VERBS {
        let help = scratch.run(&[verb, "--help"]).succeeds();
        assert!(help.out.contains("Example"), "{verb}");
        assert!(help.out.lines().all(|line| line.chars().count() <= 80), "{}", help.out);
    }
    assert!(scratch.run(&["--help"]).succeeds().out.contains("quantise"));
    assert!(scratch.run(&["quantise", "--help"]).succeeds().out.contains("--group"));
    assert!(scratch.run(&["--version"]).succeeds().out.starts_with("edgewen "));
}

#[test]
fn wrong_usage_exits_with_2_and_says_so_on_standard_error() {
    let scratch = Scratch::new();
    for arguments in [
        &["frobnicate"][..],
        &[],
        &["quantize", "dir"],
        &["quantize", "dir", "-o", "x.ewn", "--group", "48"],
        &["quantize", "dir", "-o", "x.ewn", "--head", "5"],
        &["generate", "x", "--temperature", "warm"],
        &["generate", "x", "--top-p", "2"],
        &["generate", "x", "--threads", "0"],
        &["generate", "x", "--isa", "mmx"],
        &["generate", "x", "--device", "gpu"],
        &["generate", "x", "--kv", "f32"],
        &["generate", "x", "--prompt-file", "y"],
        &["logits", "-o", "x"],
        &["logits", "-o", "x", "--tokens", "one"],
        &["logits", "-o", "x", "--tokens", ""],
        &["tokenize", "x", "--chat", "y"],
        &["completions", "tcsh"],
    ] {
        let ran = scratch.run(arguments).exits(2);
        assert!(ran.out.is_empty() && !ran.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn completions_name_every_verb() {
    let scratch = Scratch::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = scratch.run(&["completions", shell]).succeeds().out;
        for verb in VERBS {
            assert!(script.contains(verb), "{shell} {verb}");
        }
    }
}

#[test]
fn flags_can_be_set_in_the_environment_and_the_command_line_wins() {
    let scratch = Scratch::new();
    let variables = [("EDGEWEN_MAX_TOKENS", "3"), ("EDGEWEN_JSON", "1"), ("EDGEWEN_IGNORE_EOS", "true")];
    let tokens = |arguments: &[&str]| {
        scratch.run_with_env(&variables, arguments).succeeds().json()["tokens"].as_array().unwrap().len()
    };
    assert_eq!(tokens(&["generate", "Once"]), 3);
    assert_eq!(tokens(&["generate", "Once", "-n", "5"]), 5);
    scratch.run_with_env(&[("EDGEWEN_THREADS", "none")], &["generate", "Once"]).exits(2);
    let plain = scratch.run_with_env(&[("EDGEWEN_JSON", "0")], &["tokenize", "a"]).succeeds();
    assert!(plain.out.starts_with("id"), "{}", plain.out);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let scratch = Scratch::new();
    for arguments in [
        &["generate", "Once upon a time", "--seed", "1", "--ignore-eos", "-n", "400"][..],
        &["inspect", "demo"],
        &["inspect", "demo", "--json"],
        &["tokenize", "some text"],
        &["completions", "zsh"],
    ] {
        let mut child =
            scratch.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Read a little, then go.
        let mut pipe = child.stdout.take().unwrap();
        let _ = pipe.read(&mut [0; 4]).unwrap();
        drop(pipe);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("edgewen: "), "{arguments:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let scratch = Scratch::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = scratch.command(&["inspect", "demo"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write to standard output"));
}
