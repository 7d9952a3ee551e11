//! Finds Verilator and the C++ compiler.
//!
//! `VERILATOR` (a program) and `VERILATOR_ROOT` (an installation) are honored before PATH. Verilator's own
//! configuration header says which version it is: the wheel's `--version` is blank.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use crate::error::{Error, Result};

/// The programs that build a simulator.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// Verilator's driver.
    pub verilator: PathBuf,
    /// Its installation, with `include/`.
    pub root: PathBuf,
    /// What identifies its version.
    pub version: String,
    /// The C++ compiler.
    pub compiler: PathBuf,
    /// What the compiler says of itself.
    pub compiler_version: String,
}

impl Toolchain {
    /// Looks for both, once in the life of the process.
    ///
    /// # Errors
    /// [`Error::NoVerilator`] or [`Error::NoCompiler`], with what to install.
    pub fn find() -> Result<&'static Self> {
        static FOUND: OnceLock<Toolchain> = OnceLock::new();
        match FOUND.get() {
            Some(found) => Ok(found),
            None => {
                let found = Self::search()?;
                Ok(FOUND.get_or_init(|| found))
            }
        }
    }

    fn search() -> Result<Self> {
        let given_root = env::var_os("VERILATOR_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from);
        let verilator = match env::var_os("VERILATOR").filter(|program| !program.is_empty()) {
            Some(program) => PathBuf::from(program),
            None => match &given_root {
                // Debian's installation keeps the driver elsewhere.
                Some(root) if root.join("bin/verilator").is_file() => root.join("bin/verilator"),
                _ => PathBuf::from("verilator"),
            },
        };
        let root = match given_root {
            Some(root) => root,
            None => PathBuf::from(
                said(&verilator, &["--getenv", "VERILATOR_ROOT"])
                    .map_err(|why| Error::NoVerilator(format!("`{}`: {why}", verilator.display())))?,
            ),
        };
        let version = version(&verilator, &root)?;
        let (compiler, compiler_version) = compiler()?;
        Ok(Self { verilator, root, version, compiler, compiler_version })
    }
}

/// Reads the version from the installation, and asks the driver, which also shows that it starts.
fn version(verilator: &Path, root: &Path) -> Result<String> {
    let header = root.join("include/verilated_config.h");
    let text = fs::read_to_string(&header).map_err(|why| {
        Error::NoVerilator(format!("no Verilator 5 in `{}`: {}: {why}", root.display(), header.display()))
    })?;
    let said = said(verilator, &["--version"])
        .map_err(|why| Error::NoVerilator(format!("`{}`: {why}", verilator.display())))?;
    let major = text.lines().find_map(|line| line.strip_prefix("#define VERILATOR_VERSION ")).unwrap_or("");
    let major = major.trim().trim_matches('"').trim_start();
    if !major.is_empty() && !major.starts_with('5') {
        return Err(Error::NoVerilator(format!("`{}` is version {major}", verilator.display())));
    }
    Ok(format!("{} {major} {said}", root.display()))
}

/// `CXX`, or the first of the usual names that starts.
fn compiler() -> Result<(PathBuf, String)> {
    let given = env::var_os("CXX").filter(|program| !program.is_empty()).map(PathBuf::from);
    let candidates =
        given.map_or_else(|| ["g++", "clang++", "c++"].map(PathBuf::from).to_vec(), |one| vec![one]);
    let mut why = String::new();
    for program in candidates {
        match said(&program, &["--version"]) {
            Ok(text) => return Ok((program, text.lines().next().unwrap_or_default().to_owned())),
            Err(reason) => why = format!("`{}`: {reason}", program.display()),
        }
    }
    Err(Error::NoCompiler(why))
}

/// What a program prints.
fn said(program: &Path, arguments: &[&str]) -> std::result::Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|why| why.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
