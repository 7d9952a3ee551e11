//! What the ARM cores do between two operations of the accelerator, and how long it takes.
//!
//! A part is the cycles of its kernel on the threads it is split over (`cycles`), plus the bytes it moves to and from
//! memory at the rate the cores reach, plus constants for registers and threads. Nothing of that overlaps here: the
//! cores work in order. Everything is a projection; the constants are assumptions that the report prints.

pub mod arrays;
pub mod cycles;

use edgewen_kernels::kv::KvType;
use edgewen_model::Config;
use serde::Serialize;

pub use cycles::{Figures, Line, Model, figures};

/// How the kernels cut their work into tasks: query rows and scores of a tile of attention; tokens of a task of
/// quantization, or inputs if there is one token; elements of a task of addition; and of SiLU if there is one token.
const TILE_ROWS: u32 = 32;
const TILE_SCORES: u32 = 64 * 1024;
const QUANTIZE_TASK_TOKENS: u32 = 4;
const QUANTIZE_TASK_INPUTS: u32 = 16 * 64;
const ADD_TASK_ELEMENTS: u32 = 32 * 1024;
const SILU_TASK_ELEMENTS: u32 = 1024;
/// Positions of a block of the key-value cache.
const KV_BLOCK: u32 = 16;
const F32_BYTES: u64 = 4;

/// The processor of the board and what is assumed of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Processor {
    /// Clock in MHz.
    pub mhz: f64,
    /// Threads that compute.
    pub threads: u32,
    /// Memory rate of all cores together, GB/s: measured with three threads on the board.
    pub cluster_gbps: f64,
    /// Memory rate of one core, GB/s: a third of that.
    pub thread_gbps: f64,
    /// Second-level cache: what one operation reads and writes in less than half of this stays there.
    pub l2_bytes: u64,
    /// A register write and the barrier before it. Assumed.
    pub register_write_ns: f64,
    /// A register read. Assumed.
    pub register_read_ns: f64,
    /// Reads until the end of an operation is seen, on average: half a read late, and the read itself.
    pub polls: f64,
    /// Handing work to the other threads and waiting for the last. Assumed.
    pub handover_ns: f64,
    /// What a token costs outside of the kernels: detokenizer, stop strings, output. Assumed.
    pub token_ns: f64,
    /// Which price of the kernels counts.
    pub model: Model,
}

impl Default for Processor {
    /// Four Cortex-A53 at 1,333 MHz.
    fn default() -> Self {
        Self {
            mhz: 1333.33,
            threads: 4,
            cluster_gbps: 5.70,
            thread_gbps: 1.90,
            l2_bytes: 1 << 20,
            register_write_ns: 150.0,
            register_read_ns: 250.0,
            polls: 1.5,
            handover_ns: 600.0,
            token_ns: 5_000.0,
            model: Model::Mca,
        }
    }
}

/// One thing the processor does, in the order of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Reading the list of the best logits, and what a token costs outside of the kernels.
    Sampling,
    /// A row of the embedding.
    Embedding,
    /// Reading the accelerator's results.
    Results,
    /// `x += y`.
    Add,
    /// RMSNorm.
    RmsNorm,
    /// Rotating queries and keys.
    Rope,
    /// Appending keys and values to the cache.
    KvAppend,
    /// Attention with its softmax; where the arrays do most of it, the products of the last group of positions.
    Attention,
    /// Softmax and its quantization, where the arrays do the products.
    Softmax,
    /// `silu(gate) * up`.
    SiluMul,
    /// Activations to eight bits.
    Quantize,
    /// Doorbell, and the wait until its end is seen.
    Registers,
    /// The output head, if the accelerator does not compute it.
    Head,
}

impl Task {
    /// Every task in the order of the forward pass.
    pub const ALL: [Self; 13] = [
        Self::Sampling,
        Self::Embedding,
        Self::Results,
        Self::Add,
        Self::RmsNorm,
        Self::Rope,
        Self::KvAppend,
        Self::Attention,
        Self::Softmax,
        Self::SiluMul,
        Self::Quantize,
        Self::Registers,
        Self::Head,
    ];

    /// For tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sampling => "sampling",
            Self::Embedding => "embedding row",
            Self::Results => "read results",
            Self::Add => "add",
            Self::RmsNorm => "RMSNorm",
            Self::Rope => "RoPE",
            Self::KvAppend => "KV append",
            Self::Attention => "attention",
            Self::Softmax => "softmax",
            Self::SiluMul => "SiLU x mul",
            Self::Quantize => "quantize",
            Self::Registers => "doorbell, poll",
            Self::Head => "output head",
        }
    }
}

/// What a task costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Part {
    /// Which.
    pub task: Task,
    /// Cycles of the thread that takes longest.
    pub cycles: f64,
    /// Bytes to and from memory.
    pub bytes: u64,
    /// Constants.
    pub constant_ns: f64,
    /// All of it in nanoseconds.
    pub ns: f64,
}

/// Tokens that the processor works on at once, and where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Position of the first.
    pub start: u32,
    /// How many.
    pub tokens: u32,
}

impl Processor {
    /// Bytes that one position of one layer takes in the key-value cache.
    pub fn kv_bytes(config: &Config, kv: KvType) -> u64 {
        let elements = 2 * config.kv_size() as u64;
        match kv {
            KvType::F16 => 2 * elements,
            // A segment has 64 bytes of header beside 16 x 64 codes; a value has its scale apart.
            KvType::Int8 => elements + elements / 16 + F32_BYTES * config.kv_heads as u64,
        }
    }

    /// What the processor does before the operation `name` of a layer, in order. `first` marks the first layer, whose
    /// input comes from the embedding, `results` whether the operation before it left some.
    ///
    /// # Panics
    /// If there is no operation of that name.
    pub fn before(&self, config: &Config, kv: KvType, name: &str, first: bool, span: Span) -> Vec<Part> {
        let hidden = config.hidden_size as u32;
        let intermediate = config.intermediate_size as u32;
        let tokens = span.tokens;
        let normed =
            || [self.elements(Task::RmsNorm, "rms_norm", hidden, tokens), self.quantize(hidden, tokens)];
        let added = || [self.results(hidden, tokens), self.add(hidden, tokens)];
        let mut parts = match name {
            "qkv" if first => {
                let mut parts = vec![self.embedding(hidden, tokens)];
                parts.extend(normed());
                parts
            }
            "qkv" | "gate_up" | "head" => added().into_iter().chain(normed()).collect(),
            "o" => vec![
                self.results(config.qkv_rows() as u32, tokens),
                self.rope(config, tokens),
                self.append(config, kv, tokens),
                self.attention(config, kv, span),
                self.quantize(config.attention_size() as u32, tokens),
            ],
            "down" => vec![
                self.results(2 * intermediate, tokens),
                self.elements(Task::SiluMul, "silu_mul", intermediate, tokens),
                self.quantize(intermediate, tokens),
            ],
            _ => panic!("there is no operation {name}"),
        };
        parts.push(self.registers());
        parts
    }

    /// A doorbell, and the wait until the end of what it started is seen.
    fn registers(&self) -> Part {
        self.part(Task::Registers, 0.0, 0, 1, self.register_write_ns + self.polls * self.register_read_ns)
    }

    /// After the head: the best logits, one register each, and the token.
    pub fn sampling(&self, candidates: u32) -> Part {
        let reads = 1 + 2 * candidates;
        self.part(Task::Sampling, 0.0, 0, 1, self.token_ns + f64::from(reads) * self.register_read_ns)
    }

    /// The output head on the cores, where the accelerator cannot compute it: as fast as its `bytes` come.
    pub fn head(&self, bytes: u64) -> Part {
        self.part(Task::Head, 0.0, bytes, self.threads, 0.0)
    }

    /// A part whose cycles are known, its memory traffic spread over as many threads.
    fn part(&self, task: Task, cycles: f64, bytes: u64, threads: u32, constant_ns: f64) -> Part {
        let rate = (self.thread_gbps * f64::from(threads)).min(self.cluster_gbps);
        let handover = if threads > 1 { self.handover_ns } else { 0.0 };
        let constant_ns = constant_ns + handover;
        let ns = cycles * 1e3 / self.mhz + bytes as f64 / rate + constant_ns;
        Part { task, cycles, bytes, constant_ns, ns }
    }

    /// Hands tasks to the threads, in order, each to whoever is done first: the threads that get one, and the cycles
    /// of the one that is done last.
    fn schedule(&self, tasks: impl Iterator<Item = f64>) -> (u32, f64) {
        let mut busy_until = vec![0.0f64; self.threads as usize];
        let mut count = 0;
        for cycles in tasks {
            let next = busy_until.iter_mut().min_by(|a, b| a.total_cmp(b)).expect("there is a thread");
            *next += cycles;
            count += 1;
        }
        (count.clamp(1, self.threads), busy_until.into_iter().fold(0.0, f64::max))
    }

    /// One row of `n` elements in tasks of `task`.
    fn by_element(&self, line: Line, n: u32, task: u32) -> (u32, f64) {
        self.schedule((0..n.div_ceil(task)).map(|i| line.at(f64::from(task.min(n - i * task)))))
    }

    /// Tokens that cost `cycles` each in tasks of `task`.
    fn by_token(&self, cycles: f64, tokens: u32, task: u32) -> (u32, f64) {
        self.schedule((0..tokens.div_ceil(task)).map(|i| cycles * f64::from(task.min(tokens - i * task))))
    }

    /// Tokens of `n` elements each.
    fn elements(&self, task: Task, probe: &str, n: u32, tokens: u32) -> Part {
        let line = figures().line(probe, self.model);
        let (threads, cycles) = match task {
            Task::SiluMul if tokens == 1 => self.by_element(line, n, SILU_TASK_ELEMENTS),
            _ => self.by_token(line.at(f64::from(n)), tokens, 1),
        };
        let bytes = self.spilled(u64::from(n) * u64::from(tokens) * 2 * F32_BYTES);
        self.part(task, cycles, bytes, threads, 0.0)
    }

    fn quantize(&self, n: u32, tokens: u32) -> Part {
        let line = figures().line("quantize", self.model);
        let (threads, cycles) = match tokens {
            1 => self.by_element(line, n, QUANTIZE_TASK_INPUTS),
            _ => self.by_token(line.at(f64::from(n)), tokens, QUANTIZE_TASK_TOKENS),
        };
        let bytes = self.spilled(u64::from(n) * u64::from(tokens) * (F32_BYTES + 1));
        self.part(Task::Quantize, cycles, bytes, threads, 0.0)
    }

    fn add(&self, n: u32, tokens: u32) -> Part {
        let elements = n * tokens;
        let (threads, cycles) =
            self.by_element(figures().line("add", self.model), elements, ADD_TASK_ELEMENTS);
        let bytes = self.spilled(u64::from(elements) * 2 * F32_BYTES);
        self.part(Task::Add, cycles, bytes, threads, 0.0)
    }

    fn embedding(&self, n: u32, tokens: u32) -> Part {
        let cost = figures().line("embedding_row", self.model).at(f64::from(n)) * f64::from(tokens);
        // A row is spread over a block's lines: one cache line of every eight inputs.
        let bytes = u64::from(n.div_ceil(8)) * 64 * u64::from(tokens);
        self.part(Task::Embedding, cost, bytes, 1, 0.0)
    }

    /// The accelerator writes past the caches: its results come from memory, to as many threads as use them.
    fn results(&self, n: u32, tokens: u32) -> Part {
        let bytes = u64::from(n) * u64::from(tokens) * F32_BYTES;
        let threads = match tokens {
            1 => n.div_ceil(2 * SILU_TASK_ELEMENTS),
            _ => tokens,
        };
        let mut part = self.part(Task::Results, 0.0, bytes, threads.clamp(1, self.threads), 0.0);
        // They are handed over for the work itself, which has that in its own cost.
        part.ns -= part.constant_ns;
        part.constant_ns = 0.0;
        part
    }

    fn rope(&self, config: &Config, tokens: u32) -> Part {
        let heads = (config.heads + config.kv_heads) as f64 * config.head_dim as f64 / 64.0;
        let (threads, cycles) = self.by_token(figures().line("rope", self.model).at(heads), tokens, 1);
        let bytes = self.spilled(config.qkv_rows() as u64 * u64::from(tokens) * 2 * F32_BYTES);
        self.part(Task::Rope, cycles, bytes, threads, 0.0)
    }

    fn append(&self, config: &Config, kv: KvType, tokens: u32) -> Part {
        let probe = match kv {
            KvType::F16 => "append_f16",
            KvType::Int8 => "append_int8",
        };
        let heads = config.kv_heads as f64 * config.head_dim as f64 / 64.0;
        let cycles = figures().line(probe, self.model).at(heads) * f64::from(tokens);
        // A key goes to one lane of as many lines as it has elements, which come from memory and go back.
        let lines = (config.kv_heads * config.head_dim) as u64 * u64::from(tokens.div_ceil(KV_BLOCK));
        let bytes = 2 * 64 * lines + Self::kv_bytes(config, kv) / 2 * u64::from(tokens);
        self.part(Task::KvAppend, cycles, bytes, 1, 0.0)
    }

    /// The tiles of the kernel, handed to the threads in its order.
    fn attention(&self, config: &Config, kv: KvType, span: Span) -> Part {
        let probe = match kv {
            KvType::F16 => "attention_f16",
            KvType::Int8 => "attention_int8",
        };
        let (kv_heads, group) = (config.kv_heads as u32, (config.heads / config.kv_heads) as u32);
        let rows = (TILE_SCORES / (span.start + span.tokens)).min(TILE_ROWS);
        let (tile_tokens, block) = match kv {
            KvType::F16 => ((rows / group).clamp(1, span.tokens), KV_BLOCK),
            KvType::Int8 => (1, arrays::GROUP_POSITIONS),
        };
        let tiles = span.tokens.div_ceil(tile_tokens);
        let parts = self.threads.div_ceil(tiles * kv_heads).min(group);
        let part_heads = group.div_ceil(parts);
        let parts = group.div_ceil(part_heads);

        let mut bytes = 0;
        let mut tasks = Vec::new();
        for tile in (0..tiles).rev() {
            let first = tile * tile_tokens;
            let tokens = tile_tokens.min(span.tokens - first);
            let positions = span.start + first + tokens;
            bytes += u64::from(positions) * Self::kv_bytes(config, kv);
            let head_dim = config.head_dim as u32;
            let held = positions.next_multiple_of(block);
            let cost = |heads| figures().attention(probe, self.model, tokens * heads, held, head_dim);
            let costs: Vec<_> =
                (0..parts).map(|part| cost(part_heads.min(group - part * part_heads))).collect();
            (0..kv_heads).for_each(|_| tasks.extend_from_slice(&costs));
        }
        let (threads, cycles) = self.schedule(tasks.into_iter());
        let whole = u64::from(span.start + span.tokens) * Self::kv_bytes(config, kv);
        // Later tiles find in the cache what earlier ones read, if it fits.
        let bytes = if 2 * whole <= self.l2_bytes { whole } else { bytes };
        self.part(Task::Attention, cycles, bytes, threads, 0.0)
    }

    /// Bytes of an operation that go to memory because they do not fit the cache.
    fn spilled(&self, bytes: u64) -> u64 {
        if 2 * bytes <= self.l2_bytes { 0 } else { bytes }
    }
}
