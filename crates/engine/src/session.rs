//! A text that grows: prompt in, tokens out.
//!
//! A session remembers which tokens are in the key-value cache. A new prompt that begins with the same tokens, as
//! every turn of a conversation does, is only computed from where it differs.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use edgewen_model::Tokenizer;

use crate::{
    Backend, Batch, Error, Forward, Logits, Result, Sampler, SamplerOptions, StopOptions, StopStrings,
};

/// Tokens of a prompt that are computed at once: enough for full speed, few enough for small buffers.
const PREFILL_TOKENS: usize = 512;

/// The cache that a session uses.
const SLOT: usize = 0;

/// How to generate.
#[derive(Debug, Clone, Default)]
pub struct GenerateOptions {
    /// Most tokens to generate; without it the context is the limit.
    pub max_tokens: Option<usize>,
    /// How to choose tokens.
    pub sampler: SamplerOptions,
    /// When to stop.
    pub stop: StopOptions,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended the text.
    Eos,
    /// A stop string came.
    Stop,
    /// The token limit or the context was reached.
    Length,
    /// The caller cancelled, or its output is closed.
    Cancelled,
}

impl FinishReason {
    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eos => "eos",
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a generation took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// From the call to the logits of the last prompt token.
    pub prompt: Duration,
    /// Prompt tokens that were computed; the others were in the cache.
    pub prompt_computed: usize,
    /// From there to the end.
    pub generate: Duration,
}

/// A finished generation.
#[derive(Debug, Clone)]
pub struct Generated {
    /// The tokens, an end token included.
    pub tokens: Vec<u32>,
    /// Their text, without end token and stop string.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// How long it took.
    pub timings: Timings,
}

/// What is wanted of the last token that is computed.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Nothing,
    Logits,
    /// The likeliest tokens only: some backends then need not write all logits.
    Top(usize),
}

/// One sequence on a backend.
pub struct Session<'a> {
    backend: &'a mut dyn Backend,
    tokenizer: Tokenizer,
    eos: BTreeSet<u32>,
    context: usize,
    forward: Forward,
    top: Vec<(u32, f32)>,
    cached: Vec<u32>,
}

impl<'a> Session<'a> {
    /// A session with an empty cache. `eos` are the tokens that end a text, `context` is the most tokens of prompt
    /// and answer together.
    pub fn new(backend: &'a mut dyn Backend, tokenizer: Tokenizer, eos: Vec<u32>, context: usize) -> Self {
        backend.truncate(SLOT, 0);
        let eos = eos.into_iter().collect();
        let (forward, top, cached) = (Forward::default(), Vec::new(), Vec::new());
        Self { backend, tokenizer, eos, context, forward, top, cached }
    }

    /// Continues `prompt`. Text is handed to `on_text` as soon as it is certain: characters are never split and what
    /// may begin a stop string is held back. `on_text` returns whether to go on.
    ///
    /// # Errors
    /// A prompt that is empty or longer than the context, bad options, and what the backend says.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        options: &GenerateOptions,
        cancel: &AtomicBool,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generated> {
        if prompt.is_empty() {
            return Err(Error::EmptyPrompt);
        }
        if self.context < prompt.len() {
            return Err(Error::PromptTooLong { prompt: prompt.len(), context: self.context });
        }
        let mut sampler = Sampler::new(options.sampler, prompt)?;
        let mut detokenizer = self.tokenizer.stream(true);
        let mut stop = StopStrings::new(&options.stop.strings);
        let room = self.context - prompt.len();
        let limit = options.max_tokens.map_or(room, |most| most.min(room));
        let mut result = Generated {
            tokens: Vec::new(),
            text: String::new(),
            finish_reason: FinishReason::Length,
            timings: Timings::default(),
        };

        let started = Instant::now();
        let (most, vocabulary) = (self.backend.most_top_k(), self.backend.config().vocab_size);
        let top = sampler.needed_top().filter(|&needed| needed <= most && needed < vocabulary);
        let wanted = top.map_or(Wanted::Logits, Wanted::Top);
        let computed = self.prefill(prompt, wanted, cancel)?;
        result.timings.prompt = started.elapsed();
        result.timings.prompt_computed = computed.unwrap_or(0);
        if computed.is_none() {
            result.finish_reason = FinishReason::Cancelled;
            return Ok(result);
        }

        let started = Instant::now();
        let mut show = |text: &str, whole: &mut String| {
            whole.push_str(text);
            text.is_empty() || on_text(text)
        };
        while result.tokens.len() < limit {
            let token = match wanted {
                Wanted::Top(_) => sampler.sample_top(&self.top)?,
                _ => sampler.sample(self.forward.logits())?,
            };
            result.tokens.push(token);
            if self.eos.contains(&token) && !options.stop.ignore_eos {
                result.finish_reason = FinishReason::Eos;
                break;
            }
            let piece = detokenizer.push(token).unwrap_or_default();
            let open = show(&stop.push(&piece), &mut result.text);
            if stop.stopped() {
                result.finish_reason = FinishReason::Stop;
                break;
            }
            if !open || cancel.load(Ordering::SeqCst) {
                result.finish_reason = FinishReason::Cancelled;
                break;
            }
            if result.tokens.len() < limit {
                self.compute(&[token], wanted)?;
            }
        }
        if !stop.stopped() {
            let rest = stop.push(&detokenizer.finish().unwrap_or_default());
            show(&rest, &mut result.text);
            show(&stop.finish(), &mut result.text);
        }
        result.timings.generate = started.elapsed();
        Ok(result)
    }

    /// Brings the cache to `prompt` and computes what is wanted of its last token. Returns how many tokens were computed,
    /// or nothing if it was cancelled.
    fn prefill(&mut self, prompt: &[u32], wanted: Wanted, cancel: &AtomicBool) -> Result<Option<usize>> {
        let same = self.cached.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        // The last token is always computed: its logits are wanted.
        let same = same.min(prompt.len() - 1);
        self.cached.truncate(same);
        self.backend.truncate(SLOT, same);
        let rest = &prompt[same..];
        for (index, piece) in rest.chunks(PREFILL_TOKENS).enumerate() {
            if cancel.load(Ordering::SeqCst) {
                return Ok(None);
            }
            let is_last = rest.len() <= (index + 1) * PREFILL_TOKENS;
            self.compute(piece, if is_last { wanted } else { Wanted::Nothing })?;
        }
        Ok(Some(rest.len()))
    }

    /// Computes tokens behind those in the cache.
    fn compute(&mut self, tokens: &[u32], wanted: Wanted) -> Result<()> {
        let batch = Batch::one(SLOT, self.cached.len(), tokens);
        if let Err(error) = self.run(&batch, wanted) {
            // Some layers may have the tokens in their caches and others not.
            self.backend.truncate(SLOT, self.cached.len());
            return Err(error);
        }
        self.cached.extend_from_slice(tokens);
        Ok(())
    }

    fn run(&mut self, batch: &Batch, wanted: Wanted) -> Result<()> {
        match wanted {
            Wanted::Nothing => self.forward.hidden(self.backend, batch),
            Wanted::Logits => self.forward.run(self.backend, batch, Logits::Last).map(|_| ()),
            Wanted::Top(k) => {
                self.forward.hidden(self.backend, batch)?;
                self.top = self.forward.top_k(self.backend, batch.len() - 1, k)?;
                Ok(())
            }
        }
    }
}
