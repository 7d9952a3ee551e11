//! Tells the binary which commit it was built from, so that `bench` can name it; no git, no commit, no failure.
//! And gives it the synthesis estimates, if they are there, for `accel report`.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_string()).filter(|text| !text.is_empty())
    };
    let commit = git(&["rev-parse", "--short=9", "HEAD"]).unwrap_or_else(|| "unknown".to_string());
    println!("cargo::rustc-env=EDGEWEN_COMMIT={commit}");
    println!("cargo::rerun-if-changed=build.rs");
    // The log of HEAD grows with every commit and checkout; HEAD itself names a branch and hardly ever changes.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let resources = "../../hw/synth/resources.json";
    println!("cargo::rerun-if-changed={resources}");
    let text = fs::read_to_string(resources).unwrap_or_else(|_| "null".to_string());
    let folder = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&folder).join("resources.json"), text).expect("cargo's folder can be written to");
}
