//! A Verilated module, driven by the names of its ports.
//!
//! A mistake in a name or a width is one of the test's author, so it panics with the name instead of returning an error.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::compile::{Recipe, Speed};
use crate::error::{Error, Result};
use crate::ffi::Instance;
use crate::ports::{Port, Storage};
use crate::sources::{self, Source};

/// A port, found once by name and then used without a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortId(u16);

/// How a module is built.
#[derive(Debug, Clone)]
pub struct Builder {
    top: String,
    parameters: Vec<(String, String)>,
    sources: Option<Vec<Source>>,
    speed: Speed,
    coverage: bool,
    seed: i32,
}

/// A running module.
#[derive(Debug)]
pub struct Model {
    instance: Instance,
    ports: Vec<Port>,
    names: BTreeMap<String, PortId>,
    cycles: u64,
    /// Where the coverage counters go when the module is dropped.
    coverage_file: Option<PathBuf>,
}

/// Names a folder: every module is built with coverage counters and leaves a file there.
const COVERAGE_FOLDER: &str = "EDGEWEN_RTL_COVERAGE";

impl Builder {
    /// Sets a parameter of the top module, in SystemVerilog's notation.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sources to use instead of the embedded ones.
    #[must_use]
    pub fn sources(mut self, sources: Vec<Source>) -> Self {
        self.sources = Some(sources);
        self
    }

    /// What to optimize for.
    #[must_use]
    pub fn speed(mut self, speed: Speed) -> Self {
        self.speed = speed;
        self
    }

    /// Counts lines and toggles, for [`Model::write_coverage`].
    #[must_use]
    pub fn coverage(mut self, coverage: bool) -> Self {
        self.coverage = coverage;
        self
    }

    /// Seed of the values that registers have before reset.
    #[must_use]
    pub fn seed(mut self, seed: i32) -> Self {
        self.seed = seed;
        self
    }

    /// Builds the module, or takes it from the cache, and starts it with all inputs 0.
    ///
    /// # Errors
    /// Missing tools, an unknown module, or what Verilator and the compiler have to say.
    pub fn build(&self) -> Result<Model> {
        let coverage_file = coverage_file(&self.top);
        let built = self.with_recipe(|recipe| recipe.build())?;
        let instance = Instance::load(&built.library, &built.ports, self.seed)?;
        let names = built.ports.iter().enumerate();
        let names = names.map(|(index, port)| (port.name.clone(), PortId(index as u16))).collect();
        let mut model = Model { instance, ports: built.ports, names, cycles: 0, coverage_file };
        for index in 0..model.ports.len() {
            if model.ports[index].input {
                model.instance.write(index, 0);
            }
        }
        model.instance.eval();
        Ok(model)
    }

    /// Whether [`Self::build`] finds the module in the cache; otherwise it takes its time.
    ///
    /// # Errors
    /// Missing tools or an unknown module.
    pub fn is_built(&self) -> Result<bool> {
        self.with_recipe(|recipe| recipe.is_built())
    }

    fn with_recipe<T>(&self, use_recipe: impl FnOnce(&Recipe<'_>) -> Result<T>) -> Result<T> {
        let all = self.sources.as_deref().unwrap_or(sources::EMBEDDED);
        use_recipe(&Recipe {
            top: &self.top,
            parameters: &self.parameters,
            sources: &sources::needed(&self.top, all)?,
            speed: self.speed,
            coverage: self.coverage || coverage_file(&self.top).is_some(),
        })
    }
}

impl Model {
    /// How module `top` is to be built; the defaults suit the bench of a module.
    #[must_use]
    pub fn builder(top: &str) -> Builder {
        Builder {
            top: top.to_owned(),
            parameters: Vec::new(),
            sources: None,
            speed: Speed::Build,
            coverage: false,
            seed: 1,
        }
    }

    /// Builds module `top` of the design with these parameters.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn build(top: &str, parameters: &[(&str, &str)]) -> Result<Self> {
        let builder = Self::builder(top);
        parameters.iter().fold(builder, |builder, (name, value)| builder.parameter(name, value)).build()
    }

    /// The port of that name.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn port(&self, name: &str) -> PortId {
        match self.names.get(name) {
            Some(&id) => id,
            None => panic!("no port `{name}`; there are {:?}", self.names.keys().collect::<Vec<_>>()),
        }
    }

    /// Width of a port in bits.
    #[must_use]
    pub fn width(&self, name: &str) -> u32 {
        self.ports[usize::from(self.port(name).0)].width
    }

    /// Sets an input; a wide one gets 0 above bit 63.
    ///
    /// # Panics
    /// If there is no such port or the value does not fit.
    pub fn set(&mut self, name: &str, value: u64) {
        self.set_at(self.port(name), value);
    }

    /// Reads a port, of a wide one the lowest 64 bits.
    ///
    /// # Panics
    /// If there is no such port.
    #[must_use]
    pub fn get(&self, name: &str) -> u64 {
        self.get_at(self.port(name))
    }

    /// Sets an input from 32-bit words, lowest first; missing ones are 0.
    ///
    /// # Panics
    /// If there is no such port or the words do not fit.
    pub fn set_words(&mut self, name: &str, words: &[u32]) {
        self.set_words_at(self.port(name), words);
    }

    /// Reads a port as 32-bit words, lowest first; the rest of `words` becomes 0.
    ///
    /// # Panics
    /// If there is no such port.
    pub fn get_words(&self, name: &str, words: &mut [u32]) {
        self.get_words_at(self.port(name), words);
    }

    /// Sets a part of an input: an element of a packed array or a field of a structure.
    ///
    /// # Panics
    /// If there is no such port, or part of it, or the value does not fit.
    pub fn set_bits(&mut self, name: &str, lsb: u32, width: u32, value: u64) {
        let id = self.port(name);
        let port = &self.ports[usize::from(id.0)];
        assert!(lsb + width <= port.width && width <= 64, "port `{name}` has no bits {lsb}+:{width}");
        assert!(width == 64 || value >> width == 0, "{value:#x} does not fit {width} bits of port `{name}`");
        let mut words = vec![0; port.width.div_ceil(32) as usize];
        self.get_words_at(id, &mut words);
        for bit in 0..width {
            let (word, shift) = (((lsb + bit) / 32) as usize, (lsb + bit) % 32);
            words[word] = words[word] & !(1 << shift) | ((value >> bit & 1) as u32) << shift;
        }
        self.set_words_at(id, &words);
    }

    /// Reads a part of a port: an element of a packed array or a field of a structure.
    ///
    /// # Panics
    /// If there is no such port, or part of it.
    #[must_use]
    pub fn get_bits(&self, name: &str, lsb: u32, width: u32) -> u64 {
        let id = self.port(name);
        let port = &self.ports[usize::from(id.0)];
        assert!(lsb + width <= port.width && width <= 64, "port `{name}` has no bits {lsb}+:{width}");
        let mut words = vec![0; port.width.div_ceil(32) as usize];
        self.get_words_at(id, &mut words);
        (0..width).fold(0, |value, bit| {
            let (word, shift) = (((lsb + bit) / 32) as usize, (lsb + bit) % 32);
            value | u64::from(words[word] >> shift & 1) << bit
        })
    }

    /// [`Self::set`] without the search.
    ///
    /// # Panics
    /// If the value does not fit.
    #[inline]
    pub fn set_at(&mut self, id: PortId, value: u64) {
        let port = &self.ports[usize::from(id.0)];
        assert!(port.width >= 64 || value >> port.width == 0, "{value:#x} does not fit port `{}`", port.name);
        self.instance.write(usize::from(id.0), value);
    }

    /// [`Self::get`] without the search.
    #[inline]
    #[must_use]
    pub fn get_at(&self, id: PortId) -> u64 {
        self.instance.read(usize::from(id.0))
    }

    /// [`Self::set_words`] without the search.
    ///
    /// # Panics
    /// If the words do not fit.
    #[inline]
    pub fn set_words_at(&mut self, id: PortId, words: &[u32]) {
        let index = usize::from(id.0);
        let Port { width, ref name, storage, .. } = self.ports[index];
        let have = width.div_ceil(32) as usize;
        let fits = words.len() < have
            || words.len() == have && (width.is_multiple_of(32) || words[have - 1] >> (width % 32) == 0);
        assert!(fits, "{} words do not fit port `{name}` of {width} bits", words.len());
        match (storage, self.instance.words_mut(index)) {
            (Storage::Words(_), Some(all)) => {
                all[..words.len()].copy_from_slice(words);
                all[words.len()..].fill(0);
            }
            _ => {
                let word = |index: usize| words.get(index).copied().map_or(0, u64::from);
                self.instance.write(index, word(0) | word(1) << 32);
            }
        }
    }

    /// [`Self::get_words`] without the search.
    #[inline]
    pub fn get_words_at(&self, id: PortId, words: &mut [u32]) {
        let index = usize::from(id.0);
        match self.instance.words(index) {
            Some(all) => {
                let count = all.len().min(words.len());
                words[..count].copy_from_slice(&all[..count]);
                words[count..].fill(0);
            }
            None => {
                let value = self.instance.read(index);
                for (index, word) in words.iter_mut().enumerate() {
                    *word = if index < 2 { (value >> (32 * index)) as u32 } else { 0 };
                }
            }
        }
    }

    /// Lets the combinational paths follow the inputs.
    #[inline]
    pub fn eval(&mut self) {
        self.instance.eval();
    }

    /// One clock: the inputs set before are taken at the rising edge, and the outputs after it can be read.
    ///
    /// # Panics
    /// If the module has no `clk_i`.
    #[inline]
    pub fn clock(&mut self) {
        self.instance.clock();
        self.cycles += 1;
    }

    /// Half a clock, for a bus that looks at combinational outputs between its edges: the inputs set before settle with
    /// the clock low.
    #[inline]
    pub fn low(&mut self, clock: PortId) {
        self.instance.write(usize::from(clock.0), 0);
        self.instance.eval();
    }

    /// The other half: the rising edge.
    #[inline]
    pub fn high(&mut self, clock: PortId) {
        self.instance.write(usize::from(clock.0), 1);
        self.instance.eval();
        self.cycles += 1;
    }

    /// Holds `rst_ni` at 0 for some clocks and releases it.
    ///
    /// # Panics
    /// If the module has no `clk_i` and `rst_ni`.
    pub fn reset(&mut self, clocks: u32) {
        self.set("rst_ni", 0);
        for _ in 0..clocks {
            self.clock();
        }
        self.set("rst_ni", 1);
        self.eval();
    }

    /// Clocks so far.
    #[must_use]
    pub fn cycles(&self) -> u64 {
        self.cycles
    }

    /// Writes the coverage counters of a module built with [`Builder::coverage`].
    ///
    /// # Errors
    /// If the path cannot be given to C or the file was not written.
    pub fn write_coverage(&self, path: &Path) -> Result<()> {
        let text = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| Error::file(path)(std::io::ErrorKind::InvalidInput.into()))?;
        self.instance.write_coverage(&text);
        std::fs::metadata(path).map(|_| ()).map_err(Error::file(path))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        if let Some(path) = self.coverage_file.take() {
            // A missing file shows as missing coverage; there is nobody to report to here.
            let _ = self.write_coverage(&path);
        }
    }
}

/// A new name in the folder that the environment gives.
fn coverage_file(top: &str) -> Option<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = std::env::var_os(COVERAGE_FOLDER).filter(|folder| !folder.is_empty())?;
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    Some(PathBuf::from(folder).join(format!("{top}-{}-{number}.dat", std::process::id())))
}
