//! Builds the simulator of a module: Verilator makes C++, the compiler a shared library, a cache keeps it.
//!
//! The name of an entry is the hash of everything that determines it, so an entry is never out of date. It is built in
//! a folder of its own under a file lock and renamed when complete, so an interrupted build leaves nothing behind.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, thread};

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::ports::{self, Port};
use crate::sources::Source;
use crate::toolchain::Toolchain;

/// What to optimize for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speed {
    /// Short builds, and assertions: benches of single modules.
    #[default]
    Build,
    /// Short runs: whole tokens. No assertions, and the code in pieces that compile side by side.
    Run,
}

/// Everything that determines a simulator.
#[derive(Debug)]
pub(crate) struct Recipe<'a> {
    pub top: &'a str,
    pub parameters: &'a [(String, String)],
    pub sources: &'a [&'a Source],
    pub speed: Speed,
    pub coverage: bool,
}

/// A simulator in the cache.
#[derive(Debug)]
pub(crate) struct Built {
    pub library: PathBuf,
    pub ports: Vec<Port>,
}

const CLASS: &str = "Vtop";
const LIBRARY: &str = "model.so";
const HEADER: &str = "Vtop.h";

impl Recipe<'_> {
    /// Takes the simulator from the cache, or builds it.
    pub fn build(&self) -> Result<Built> {
        let tools = Toolchain::find()?;
        let cache = cache_folder()?;
        fs::create_dir_all(&cache).map_err(Error::file(&cache))?;
        let entry = self.entry(tools, &cache);
        if !entry.is_dir() {
            locked(&entry, || self.build_entry(tools, &cache, &entry))?;
        }
        let header = entry.join(HEADER);
        let header = fs::read_to_string(&header).map_err(Error::file(&header))?;
        Ok(Built { library: entry.join(LIBRARY), ports: ports::parse(&header)? })
    }

    /// Whether the simulator is in the cache.
    pub fn is_built(&self) -> Result<bool> {
        Ok(self.entry(Toolchain::find()?, &cache_folder()?).is_dir())
    }

    fn entry(&self, tools: &Toolchain, cache: &Path) -> PathBuf {
        cache.join(format!("{}-{}", self.top, self.key(tools)))
    }

    fn key(&self, tools: &Toolchain) -> String {
        let mut text = format!("{} {:?} {:?}\n", self.top, self.parameters, self.verilator_flags());
        for source in self.sources {
            writeln!(text, "{} {}", source.name, hex(source.text.as_bytes()))
                .expect("writing to a string cannot fail");
        }
        // The shim's text stands for the version of this crate's side of the interface.
        text.push_str(&ports::shim(CLASS, &[], self.coverage));
        write!(text, "{} {:?}", tools.version, compiler_flags(tools)).expect("as above");
        hex(text.as_bytes())
    }

    fn verilator_flags(&self) -> Vec<&'static str> {
        let mut flags = vec!["--cc", "-O3", "--x-assign", "fast", "--x-initial", "unique", "-Wno-fatal"];
        flags.extend(["-Wno-lint", "-Wno-style", "--prefix", CLASS]);
        match self.speed {
            Speed::Build => flags.push("--assert"),
            Speed::Run => flags.extend(["--no-assert", "--output-split", "20000"]),
        }
        if self.coverage {
            flags.extend(["--coverage-line", "--coverage-toggle"]);
        }
        flags
    }

    fn build_entry(&self, tools: &Toolchain, cache: &Path, entry: &Path) -> Result<()> {
        let work = tempdir(entry)?;
        let result = self.build_in(tools, cache, &work.0);
        result.and_then(|()| {
            let finished = work.0.join("out");
            fs::rename(&finished, entry).map_err(Error::file(entry))
        })
    }

    fn build_in(&self, tools: &Toolchain, cache: &Path, work: &Path) -> Result<()> {
        let (source, object, out) = (work.join("sv"), work.join("cpp"), work.join("out"));
        for folder in [&source, &object, &out] {
            fs::create_dir_all(folder).map_err(Error::file(folder))?;
        }
        let mut verilator = Command::new(&tools.verilator);
        verilator.args(self.verilator_flags());
        verilator.args(["--top-module", self.top]).arg("--Mdir").arg(&object);
        for (name, value) in self.parameters {
            verilator.arg(format!("-G{name}={value}"));
        }
        for file in self.sources {
            let path = source.join(file.name.as_ref());
            fs::write(&path, file.text.as_bytes()).map_err(Error::file(&path))?;
            verilator.arg(path);
        }
        self.run(&mut verilator)?;
        let header = object.join(HEADER);
        let text = fs::read_to_string(&header).map_err(Error::file(&header))?;
        let shim = object.join("shim.cpp");
        fs::write(&shim, ports::shim(CLASS, &ports::parse(&text)?, self.coverage))
            .map_err(Error::file(&shim))?;

        let runtime = self.runtime(tools, cache)?;
        let units = self.units(&object)?;
        let objects = self.compile(tools, &object, &units)?;
        let mut link = Command::new(&tools.compiler);
        link.args(["-shared", "-Wl,-Bsymbolic", "-pthread", "-o"]).arg(out.join(LIBRARY));
        link.args(&objects).args(&runtime);
        self.run(&mut link)?;
        let kept = out.join(HEADER);
        fs::copy(&header, &kept).map_err(Error::file(kept))?;
        Ok(())
    }

    /// Writes the translation units: the generated files in few pieces, since each reads the same long headers.
    fn units(&self, folder: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
        let mut names: Vec<(u64, String)> = Vec::new();
        for item in fs::read_dir(folder).map_err(Error::file(folder))? {
            let item = item.map_err(Error::file(folder))?;
            let name = item.file_name().to_string_lossy().into_owned();
            if name.ends_with(".cpp") {
                names.push((item.metadata().map_err(Error::file(item.path()))?.len(), name));
            }
        }
        // Biggest first: the pieces that take longest start first, and the same files always make the same pieces.
        names.sort_by(|a, b| b.cmp(a));
        let (slow, fast): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|(_, name)| name.ends_with("Slow.cpp"));
        let mut units = Vec::new();
        // The whole design runs as fast with -O1 as with -O3, and builds in less than half the time: what limits it is
        // the size of its code.
        for (list, level, stem) in [(&fast, "-O1", "fast"), (&slow, "-O0", "slow")] {
            let total: u64 = list.iter().map(|(size, _)| size).sum();
            // A piece of 200 kB compiles in a few seconds; small designs stay in one.
            let pieces = usize::try_from(total / 200_000).unwrap_or(usize::MAX).clamp(1, 16);
            let mut texts = vec![(0, String::new()); pieces];
            for (size, name) in list {
                let least =
                    texts.iter_mut().min_by_key(|(filled, _)| *filled).expect("there is at least one piece");
                least.0 += size;
                writeln!(least.1, "#include \"{name}\"").expect("writing to a string cannot fail");
            }
            for (index, (_, text)) in texts.into_iter().enumerate().filter(|(_, (_, text))| !text.is_empty())
            {
                let path = folder.join(format!("unit_{stem}_{index}.cc"));
                fs::write(&path, text).map_err(Error::file(&path))?;
                units.push((path, level));
            }
        }
        Ok(units)
    }

    /// Verilator's own run time, compiled once for all modules.
    fn runtime(&self, tools: &Toolchain, cache: &Path) -> Result<Vec<PathBuf>> {
        let names = ["verilated", "verilated_threads", "verilated_cov"];
        let key = hex(format!("{} {:?}", tools.version, compiler_flags(tools)).as_bytes());
        let entry = cache.join(format!("runtime-{key}"));
        if !entry.is_dir() {
            locked(&entry, || {
                let work = tempdir(&entry)?;
                let include = tools.root.join("include");
                let units: Vec<_> =
                    names.iter().map(|name| (include.join(format!("{name}.cpp")), "-O1")).collect();
                self.compile(tools, &work.0, &units)?;
                fs::rename(&work.0, &entry).map_err(Error::file(&entry))
            })?;
        }
        Ok(names.iter().map(|name| entry.join(format!("{name}.o"))).collect())
    }

    /// Compiles the files into `folder`, as many at a time as there are processors.
    fn compile(&self, tools: &Toolchain, folder: &Path, units: &[(PathBuf, &str)]) -> Result<Vec<PathBuf>> {
        let include = tools.root.join("include");
        let mut flags = compiler_flags(tools);
        flags.remove(0);
        let one = |(path, level): &(PathBuf, &str)| -> Result<PathBuf> {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let object = folder.join(format!("{stem}.o"));
            let mut command = Command::new(&tools.compiler);
            command.args(&flags).arg(level).arg("-I").arg(folder).arg("-I").arg(&include);
            command.arg("-I").arg(include.join("vltstd")).arg("-c").arg(path).arg("-o").arg(&object);
            self.run(&mut command)?;
            Ok(object)
        };
        let next = std::sync::atomic::AtomicUsize::new(0);
        let workers = thread::available_parallelism().map_or(1, usize::from).min(units.len());
        let work = || -> Vec<(usize, Result<PathBuf>)> {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(unit) = units.get(index) else { return done };
                done.push((index, one(unit)));
            }
        };
        let mut results: Vec<_> = thread::scope(|scope| {
            let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            handles.into_iter().flat_map(|handle| handle.join().expect("the worker does not panic")).collect()
        });
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn run(&self, command: &mut Command) -> Result<()> {
        let program = command.get_program().to_owned();
        let output = command.output().map_err(Error::file(PathBuf::from(&program)))?;
        if output.status.success() {
            return Ok(());
        }
        let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stdout));
        Err(Error::Build { top: self.top.to_owned(), command: format!("{command:?}"), output: text })
    }
}

/// The compiler's version, and the flags that all files have in common.
fn compiler_flags(tools: &Toolchain) -> Vec<String> {
    let mut flags = vec![tools.compiler_version.clone()];
    flags.extend(["-std=c++17", "-fPIC", "-fvisibility=hidden", "-w"].map(str::to_owned));
    flags.extend(["-DVL_TIME_CONTEXT", "-DVERILATOR=1", "-DVM_SC=0", "-DVM_TRACE=0"].map(str::to_owned));
    if !tools.compiler_version.contains("clang") {
        // Each library keeps its own copy of Verilator's run time.
        flags.push("-fno-gnu-unique".to_owned());
    }
    flags
}

/// Runs `build` unless another process has made the entry meanwhile.
fn locked(entry: &Path, build: impl FnOnce() -> Result<()>) -> Result<()> {
    let path = entry.with_extension("lock");
    let file = File::create(&path).map_err(Error::file(&path))?;
    file.lock().map_err(Error::file(&path))?;
    if entry.is_dir() { Ok(()) } else { build() }
}

/// A folder that vanishes unless it is renamed.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing to be done if it fails; the name is never taken for a finished entry.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tempdir(entry: &Path) -> Result<Temporary> {
    let path = entry.with_extension(format!("{}.partial", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).map_err(Error::file(&path))?;
    Ok(Temporary(path))
}

/// Where built simulators are kept.
fn cache_folder() -> Result<PathBuf> {
    let from = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("EDGEWEN_RTL_CACHE")
        .or_else(|| from("XDG_CACHE_HOME").map(|folder| folder.join("edgewen/rtl")))
        .or_else(|| from("HOME").map(|folder| folder.join(".cache/edgewen/rtl")))
        .ok_or(Error::NoCache)
}

/// The first 16 hexadecimal digits of the SHA-256.
fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
