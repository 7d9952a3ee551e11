//! Sessions: where they stop, what they show, what they compute again.
//!
//! Most tests use a backend that answers by a script, so that what the model says is known; the last ones use a
//! random model.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use edgewen_engine::{
    Backend, Batch, CpuBackend, Error, FinishReason, GenerateOptions, Generated, Linear, Norm, Result,
    SamplerOptions, Session, StopOptions,
};
use edgewen_kernels::kv::KvType;
use edgewen_kernels::{Compute, Isa};
use edgewen_layout::{GroupSize, WeightBits};
use edgewen_model::{Checkpoint, Config, Rope, RopeScaling, Tokenizer, TokenizerFiles};
use edgewen_testing::rtn::{self, Head};
use edgewen_testing::{TinySpec, byte_level_tokenizer, tiny_checkpoint};

/// The end token of the byte-level tokenizer.
const EOS: u32 = 256;

/// Every token has one successor: after the byte `A` comes what the script has behind it.
struct Scripted {
    config: Config,
    next: HashMap<u32, u32>,
    /// Tokens of every forward pass.
    passes: Vec<usize>,
    /// Whether the next pass fails.
    fails: bool,
}

impl Scripted {
    /// A model that says the bytes of `script`, all different, and then the end token.
    fn new(script: &str) -> Self {
        let ids: Vec<u32> = script.bytes().map(u32::from).chain([EOS, 0]).collect();
        let next: HashMap<u32, u32> = ids.windows(2).map(|pair| (pair[0], pair[1])).collect();
        assert_eq!(next.len(), ids.len() - 1, "the bytes of a script differ");
        let config = Config {
            hidden_size: 1,
            intermediate_size: 1,
            layers: 1,
            heads: 1,
            kv_heads: 1,
            head_dim: 2,
            vocab_size: 257,
            max_position: 4096,
            rms_norm_eps: 1e-6,
            rope: Rope { theta: 10_000.0, scaling: RopeScaling::None },
            tie_word_embeddings: true,
        };
        Self { config, next, passes: Vec::new(), fails: false }
    }
}

impl Backend for Scripted {
    fn name(&self) -> String {
        "script".to_string()
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn embed(&mut self, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        if std::mem::take(&mut self.fails) {
            return Err(Error::Backend("the board is gone".to_string()));
        }
        self.passes.push(tokens.len());
        out.iter_mut().zip(tokens).for_each(|(out, &token)| *out = token as f32);
        Ok(())
    }

    fn rms_norm(&mut self, _: Norm, x: &[f32], out: &mut [f32]) -> Result<()> {
        out.copy_from_slice(x);
        Ok(())
    }

    fn linear(&mut self, which: Linear, x: &[f32], _: usize, out: &mut [f32]) -> Result<()> {
        out.fill(0.0);
        if which == Linear::Head {
            for (logits, &token) in out.chunks_exact_mut(self.config.vocab_size).zip(x) {
                logits[self.next.get(&(token as u32)).copied().unwrap_or(0) as usize] = 1.0;
            }
        }
        Ok(())
    }

    fn rope(&mut self, _: &Batch, _: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn attention(&mut self, _: usize, _: &Batch, _: &[f32], out: &mut [f32]) -> Result<()> {
        out.fill(0.0);
        Ok(())
    }

    fn silu_mul(&mut self, _: &[f32], out: &mut [f32]) -> Result<()> {
        out.fill(0.0);
        Ok(())
    }

    fn add(&mut self, _: &mut [f32], _: &[f32]) -> Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: usize, _: usize) {}

    fn kv_bytes(&self) -> usize {
        0
    }
}

fn tokenizer() -> Tokenizer {
    let tokenizer_json = byte_level_tokenizer().to_string().into_bytes();
    Tokenizer::from_files(&TokenizerFiles { tokenizer_json, tokenizer_config: None, chat_template: None })
        .unwrap()
}

fn session(backend: &mut Scripted, context: usize) -> Session<'_> {
    Session::new(backend, tokenizer(), vec![EOS], context)
}

/// Generates after `prompt`; also the pieces of text as they came.
fn say(session: &mut Session<'_>, prompt: &str, options: &GenerateOptions) -> (Generated, Vec<String>) {
    let ids: Vec<u32> = prompt.bytes().map(u32::from).collect();
    let mut pieces = Vec::new();
    let mut on_text = |piece: &str| {
        pieces.push(piece.to_string());
        true
    };
    let result = session.generate(&ids, options, &AtomicBool::new(false), &mut on_text).unwrap();
    assert_eq!(pieces.concat(), result.text, "what was shown is the text");
    (result, pieces)
}

fn stop_at(strings: &[&str]) -> GenerateOptions {
    let strings = strings.iter().map(ToString::to_string).collect();
    GenerateOptions { stop: StopOptions { strings, ignore_eos: false }, ..Default::default() }
}

fn at_most(max_tokens: usize) -> GenerateOptions {
    GenerateOptions { max_tokens: Some(max_tokens), ..Default::default() }
}

#[test]
fn shows_whole_characters_and_ends_at_the_end_token() {
    let mut backend = Scripted::new("Abé日z");
    let (result, pieces) = say(&mut session(&mut backend, 100), "A", &GenerateOptions::default());
    assert_eq!(pieces, ["b", "é", "日", "z"]);
    assert_eq!((result.text.as_str(), result.finish_reason), ("bé日z", FinishReason::Eos));
    assert_eq!(result.tokens.last(), Some(&EOS));
}

#[test]
fn goes_on_after_the_end_token_if_asked() {
    let mut backend = Scripted::new("Ab");
    let options = GenerateOptions {
        max_tokens: Some(3),
        stop: StopOptions { ignore_eos: true, ..Default::default() },
        ..Default::default()
    };
    let (result, _) = say(&mut session(&mut backend, 100), "A", &options);
    assert_eq!((result.tokens, result.finish_reason), (vec![u32::from(b'b'), EOS, 0], FinishReason::Length));
}

#[test]
fn a_stop_string_is_never_shown_in_part() {
    let mut backend = Scripted::new("Abc日STOP");
    let (result, pieces) = say(&mut session(&mut backend, 100), "A", &stop_at(&["STO"]));
    assert_eq!(pieces, ["b", "c", "日"]);
    assert_eq!(result.finish_reason, FinishReason::Stop);
}

#[test]
fn what_was_held_back_is_shown_when_it_was_no_stop_string() {
    let mut backend = Scripted::new("Abcde");
    let (result, _) = say(&mut session(&mut backend, 100), "A", &stop_at(&["bcx", "dey"]));
    assert_eq!((result.text.as_str(), result.finish_reason), ("bcde", FinishReason::Eos));
}

#[test]
fn an_unfinished_character_at_the_limit_is_a_replacement_character() {
    let mut backend = Scripted::new("Ab日");
    let (result, _) = say(&mut session(&mut backend, 100), "A", &at_most(3));
    assert_eq!((result.text.as_str(), result.finish_reason), ("b\u{fffd}", FinishReason::Length));
}

#[test]
fn limits_hold() {
    // Context, prompt, limit, tokens generated.
    let cases = [
        (6, "A", None, 5),
        (3, "A", None, 2),
        (3, "Abc", None, 0),
        (3, "Ab", Some(100), 1),
        (9, "A", Some(2), 2),
        (9, "A", Some(0), 0),
    ];
    for (context, prompt, max_tokens, expected) in cases {
        let mut backend = Scripted::new("Abcdefgh");
        let options = GenerateOptions { max_tokens, ..Default::default() };
        let (result, _) = say(&mut session(&mut backend, context), prompt, &options);
        let case = format!("context {context}, prompt {prompt}, limit {max_tokens:?}");
        assert_eq!((result.tokens.len(), result.finish_reason), (expected, FinishReason::Length), "{case}");
    }
}

#[test]
fn refuses_prompts_that_are_empty_or_too_long_and_bad_options() {
    let mut backend = Scripted::new("Ab");
    let mut session = session(&mut backend, 3);
    let none = AtomicBool::new(false);
    let mut generate = |prompt: &[u32], options: &GenerateOptions| {
        session.generate(prompt, options, &none, &mut |_| true).unwrap_err().to_string()
    };
    let message = generate(&[65; 4], &GenerateOptions::default());
    assert!(message.contains("4 tokens") && message.contains("context of 3"), "{message}");
    assert!(generate(&[], &GenerateOptions::default()).contains("no tokens"));
    let sampler = SamplerOptions { top_p: 2.0, ..Default::default() };
    let message = generate(&[65], &GenerateOptions { sampler, ..Default::default() });
    assert!(message.contains("top-p is 2, expected a number from 0 to 1"), "{message}");
    let message = generate(&[300], &GenerateOptions::default());
    assert!(message.contains("token id 300") && message.contains("257"), "{message}");
    assert!(backend.passes.is_empty(), "nothing was computed");
}

#[test]
fn a_cancelled_generation_keeps_what_it_has() {
    let mut backend = Scripted::new("Abcdef");
    let mut session = session(&mut backend, 100);
    let options = GenerateOptions::default();
    let set = AtomicBool::new(true);
    let result = session.generate(&[65], &options, &set, &mut |_| true).unwrap();
    assert_eq!((result.tokens.len(), result.finish_reason), (0, FinishReason::Cancelled));
    let unset = AtomicBool::new(false);
    let result = session.generate(&[65], &options, &unset, &mut |piece| piece != "c").unwrap();
    assert_eq!((result.text.as_str(), result.finish_reason), ("bc", FinishReason::Cancelled));
}

#[test]
fn a_longer_prompt_is_computed_from_where_it_differs() {
    let mut backend = Scripted::new("Abcdef");
    let mut session = session(&mut backend, 100);
    say(&mut session, "xyA", &at_most(3));
    // In the cache: x y A b c; the last token was never put in.
    let (result, _) = say(&mut session, "xyAbcdgA", &at_most(1));
    assert_eq!(result.timings.prompt_computed, 3);
    let (result, _) = say(&mut session, "xyAbcdgA", &at_most(1));
    assert_eq!(result.timings.prompt_computed, 1, "the last token is needed for its logits");
    let (result, _) = say(&mut session, "xA", &at_most(1));
    assert_eq!(result.timings.prompt_computed, 1);
    assert_eq!(backend.passes, [3, 1, 1, 3, 1, 1]);
}

#[test]
fn long_prompts_are_computed_in_pieces() {
    let mut backend = Scripted::new("Ab");
    say(&mut session(&mut backend, 4000), &"A".repeat(1100), &at_most(1));
    assert_eq!(backend.passes, [512, 512, 76]);
}

#[test]
fn a_session_survives_a_failing_backend() {
    let mut backend = Scripted::new("Abc");
    backend.fails = true;
    let mut session = session(&mut backend, 100);
    let unset = AtomicBool::new(false);
    let failed = session.generate(&[65], &GenerateOptions::default(), &unset, &mut |_| true);
    assert_eq!(failed.unwrap_err().to_string(), "the board is gone");
    assert_eq!(say(&mut session, "A", &GenerateOptions::default()).0.text, "bc");
}

#[test]
fn a_seed_gives_the_same_text_again_and_a_kept_cache_changes_nothing() {
    let directory = tiny_checkpoint(&TinySpec::default());
    let checkpoint = Checkpoint::open(directory.path()).unwrap();
    let path = directory.path().join("tiny.ewn");
    let file = Arc::new(rtn::pack(&checkpoint, GroupSize::G64, Head::Bits(WeightBits::Four), &path));
    let mut backend = CpuBackend::new(file, Compute::new(Isa::best(), 2), KvType::F16).unwrap();
    let mut session = Session::new(&mut backend, tokenizer(), Vec::new(), 200);
    let mut tokens = |prompt: &[u32], seed| {
        // Random weights with a tied head say the same token for ever at lower temperatures.
        let sampler = SamplerOptions { temperature: 10.0, top_p: 0.95, seed, ..Default::default() };
        let options = GenerateOptions { max_tokens: Some(30), sampler, ..Default::default() };
        session.generate(prompt, &options, &AtomicBool::new(false), &mut |_| true).unwrap().tokens
    };
    let first = tokens(&[1, 2, 3], 5);
    assert_ne!(tokens(&[1, 2, 3], 6), first);
    tokens(&[9], 5);
    assert_eq!(tokens(&[1, 2, 3], 5), first);
}
