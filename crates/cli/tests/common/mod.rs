//! Runs the real binary in a scratch directory and keeps what it said.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use edgewen_testing::{TinySpec, write_checkpoint};
use serde_json::Value;
use tempfile::TempDir;

/// A scratch directory in which the binary runs.
pub struct Scratch(TempDir);

/// What a run left behind.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
    command: String,
}

impl Scratch {
    pub fn new() -> Self {
        Scratch(tempfile::tempdir().expect("a temporary directory can be made"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, contents).expect("the scratch directory can be written");
        path
    }

    /// A random checkpoint in the folder `name`.
    pub fn checkpoint(&self, name: &str, spec: &TinySpec) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).expect("the scratch directory can be written");
        write_checkpoint(spec, &path);
        path
    }

    /// A quantized random model; plain rounding, since it is quick.
    pub fn packed(&self, name: &str, spec: &TinySpec) -> PathBuf {
        let checkpoint = self.checkpoint(&format!("{name}.checkpoint"), spec);
        let checkpoint = checkpoint.to_str().expect("the path is UTF-8");
        self.run(&["quantize", checkpoint, "-o", name, "--method", "rtn"]).succeeds();
        self.path(name)
    }

    /// The binary, without variables of the caller that would change what it does.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgewen"));
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("EDGEWEN_") {
                command.env_remove(name);
            }
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments), arguments)
    }

    pub fn run_with_env(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        ran(self.command(arguments).envs(variables.iter().copied()), arguments)
    }

    pub fn run_with_input(&self, input: &[u8], arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let mut pipe = child.stdin.take().expect("the input is piped");
        // A run that fails early may close its input before all is written.
        let _ = pipe.write_all(input);
        drop(pipe);
        finished(child.wait_with_output().expect("the binary ends"), arguments)
    }

    /// Names in the directory, sorted: a test of what a failure leaves behind.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).expect("the scratch directory can be read");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn ran(command: &mut Command, arguments: &[&str]) -> Ran {
    finished(command.output().expect("the binary runs"), arguments)
}

fn finished(output: std::process::Output, arguments: &[&str]) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the output is UTF-8");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
        command: arguments.join(" "),
    }
}

impl Ran {
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        let Ran { out, err, command, .. } = &self;
        assert_eq!(self.code, code, "edgewen {command}\nstdout: {out}\nstderr: {err}");
        assert!(!err.contains("panicked") && !err.contains("RUST_BACKTRACE"), "edgewen {command}\n{err}");
        self
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits(0)
    }

    /// Fails with code 1 and a message that has each of `words`.
    #[track_caller]
    pub fn fails_with(self, words: &[&str]) -> Self {
        let ran = self.exits(1);
        let message = ran.err.lines().last().unwrap_or_default();
        assert!(message.starts_with("edgewen: "), "edgewen {}\n{}", ran.command, ran.err);
        for word in words {
            assert!(message.contains(word), "edgewen {}\nno `{word}` in: {message}", ran.command);
        }
        ran
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("edgewen {}: {error}\n{}", self.command, self.out))
    }
}

/// Changes a JSON file in place.
pub fn edit_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let text = std::fs::read_to_string(path).expect("the file can be read");
    let mut value = serde_json::from_str(&text).expect("the file is JSON");
    change(&mut value);
    std::fs::write(path, value.to_string()).expect("the file can be written");
}

/// Changes the bytes of a file in place.
pub fn edit_bytes(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("the file can be read");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("the file can be written");
}
