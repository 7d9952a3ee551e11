//! Chooses the next token from logits.
//!
//! The order of steps is that of `transformers`: repetition penalty, presence and frequency penalties, temperature,
//! top-k, top-p, min-p. All arithmetic is in a fixed order with the kernels' exponential, and ties go to the lower
//! id, so that a seed gives the same tokens on every machine.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use edgewen_kernels::exp::exp;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng;

use crate::{Error, Result};

/// Candidates that are sorted at once when top-p alone limits them; most distributions need no more.
const FIRST_SORTED: usize = 256;

/// How to choose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplerOptions {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f32,
    /// Keeps this many of the likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the likeliest tokens that together have this probability; 1 keeps all.
    pub top_p: f32,
    /// Drops tokens less likely than this times the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens that occurred, prompt included; 1 does nothing.
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens that were generated; 0 does nothing.
    pub presence_penalty: f32,
    /// Subtracted for every time a token was generated; 0 does nothing.
    pub frequency_penalty: f32,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 0,
        }
    }
}

impl SamplerOptions {
    fn check(&self) -> Result<()> {
        let within = |name, value: f32, low: f32, high: f32, expected| {
            if value.is_finite() && low <= value && value <= high {
                return Ok(());
            }
            Err(Error::Option { name, value: value.to_string(), expected })
        };
        within("temperature", self.temperature, 0.0, 100.0, "a number from 0 to 100")?;
        within("top-p", self.top_p, 0.0, 1.0, "a number from 0 to 1")?;
        within("min-p", self.min_p, 0.0, 1.0, "a number from 0 to 1")?;
        within("repetition penalty", self.repetition_penalty, 1e-3, 1e3, "a number from 0.001 to 1000")?;
        within("presence penalty", self.presence_penalty, -100.0, 100.0, "a number from -100 to 100")?;
        within("frequency penalty", self.frequency_penalty, -100.0, 100.0, "a number from -100 to 100")
    }
}

/// A token with its (penalized, tempered) logit or its probability.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    id: u32,
    value: f32,
}

/// Chooses tokens one after another.
#[derive(Debug)]
pub struct Sampler {
    options: SamplerOptions,
    random: Pcg64Mcg,
    /// Tokens that occurred, and how often each was generated: 0 for one that is only in the prompt.
    seen: BTreeMap<u32, u32>,
    candidates: Vec<Candidate>,
}

impl Sampler {
    /// A sampler for a text that begins with `prompt`.
    ///
    /// # Errors
    /// An option that is out of its range.
    pub fn new(options: SamplerOptions, prompt: &[u32]) -> Result<Self> {
        options.check()?;
        let random = Pcg64Mcg::new(spread(options.seed));
        let seen = prompt.iter().map(|&id| (id, 0)).collect();
        Ok(Self { options, random, seen, candidates: Vec::new() })
    }

    /// How many of the likeliest tokens [`Self::sample_top`] needs to choose what [`Self::sample`] would; nothing where it
    /// takes all logits. The vocabulary must be larger.
    pub fn needed_top(&self) -> Option<usize> {
        let SamplerOptions { repetition_penalty, presence_penalty, frequency_penalty, .. } = self.options;
        let penalized = (repetition_penalty, presence_penalty, frequency_penalty) != (1.0, 0.0, 0.0);
        match self.options {
            _ if penalized => None,
            SamplerOptions { temperature: 0.0, .. } => Some(1),
            SamplerOptions { top_k: 0, .. } => None,
            SamplerOptions { top_k, .. } => Some(top_k),
        }
    }

    /// Chooses a token from the [`Self::needed_top`] likeliest, given largest logit first as
    /// [`top_k`](crate::Backend::top_k) gives them.
    ///
    /// # Errors
    /// As [`Self::sample`].
    pub fn sample_top(&mut self, top: &[(u32, f32)]) -> Result<u32> {
        self.candidates.clear();
        self.candidates.extend(top.iter().map(|&(id, value)| Candidate { id, value }));
        // NaN and infinity would be the first of all.
        let best = self.candidates.first().copied().filter(|best| best.value.is_finite());
        self.choose(best)
    }

    /// Chooses a token from the logits of all tokens and remembers it for the penalties.
    ///
    /// # Errors
    /// Logits of which none is finite, or one is NaN.
    pub fn sample(&mut self, logits: &[f32]) -> Result<u32> {
        if logits.iter().any(|logit| logit.is_nan() || *logit == f32::INFINITY) {
            return Err(Error::NonFiniteLogits);
        }
        self.candidates.clear();
        self.candidates.extend((0..).zip(logits).map(|(id, &value)| Candidate { id, value }));
        self.penalize();
        let best = self.candidates.iter().copied().min_by(likelier).filter(|best| best.value.is_finite());
        self.choose(best)
    }

    /// Chooses among the candidates, of which `best` is the likeliest.
    fn choose(&mut self, best: Option<Candidate>) -> Result<u32> {
        let best = best.ok_or(Error::NonFiniteLogits)?;
        let id = if self.options.temperature == 0.0 { best.id } else { self.draw(best.value) };
        *self.seen.entry(id).or_default() += 1;
        Ok(id)
    }

    fn penalize(&mut self) {
        let options = &self.options;
        for (&id, &generated) in &self.seen {
            let Some(candidate) = self.candidates.get_mut(id as usize) else { continue };
            let value = &mut candidate.value;
            *value = if 0.0 < *value {
                *value / options.repetition_penalty
            } else {
                *value * options.repetition_penalty
            };
            if generated != 0 {
                *value -= options.presence_penalty + options.frequency_penalty * generated as f32;
            }
        }
    }

    /// Draws by probability; `best` is the largest logit.
    fn draw(&mut self, best: f32) -> u32 {
        let SamplerOptions { temperature, top_k, top_p, min_p, .. } = self.options;
        let candidates = &mut self.candidates;
        if 0 < top_k && top_k < candidates.len() {
            candidates.select_nth_unstable_by(top_k - 1, likelier);
            candidates.truncate(top_k);
            // The total below is a sum in the order of the candidates, which selection leaves undefined.
            candidates.sort_unstable_by(likelier);
        }
        for candidate in candidates.iter_mut() {
            candidate.value = exp((candidate.value - best) / temperature);
        }
        // The likeliest token has the value 1 here, so min-p is a plain threshold.
        let total: f64 = candidates.iter().map(|candidate| f64::from(candidate.value)).sum();
        if top_p < 1.0 {
            keep_top_p(candidates, f64::from(top_p) * total);
        }
        candidates.retain(|candidate| min_p <= candidate.value);
        let total: f64 = candidates.iter().map(|candidate| f64::from(candidate.value)).sum();
        // 53 random bits: every f64 in [0, 1) of this spacing is equally likely.
        let mut left = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * total;
        let mut chosen = None;
        for candidate in candidates.iter().filter(|candidate| 0.0 < candidate.value) {
            chosen = Some(candidate.id);
            left -= f64::from(candidate.value);
            if left < 0.0 {
                break;
            }
        }
        chosen.expect("the likeliest token always stays, with the value 1")
    }
}

/// 128 bits for the generator, which ignores the lowest two and needs the others mixed to begin well: two outputs of
/// SplitMix64 (Steele et al. 2014).
fn spread(seed: u64) -> u128 {
    let mix = |step: u64| {
        let z = seed.wrapping_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    };
    u128::from(mix(1)) << 64 | u128::from(mix(2))
}

/// Keeps the fewest of the likeliest candidates whose values sum up to `wanted`, sorted.
fn keep_top_p(candidates: &mut Vec<Candidate>, wanted: f64) {
    let mut sorted = FIRST_SORTED;
    loop {
        let head = sorted.min(candidates.len());
        if head < candidates.len() {
            candidates.select_nth_unstable_by(head, likelier);
        }
        candidates[..head].sort_unstable_by(likelier);
        let mut sum = 0.0;
        let enough = candidates[..head].iter().position(|candidate| {
            sum += f64::from(candidate.value);
            wanted <= sum
        });
        match enough {
            Some(last) => return candidates.truncate(last + 1),
            // Rounding can leave the whole sum a little short.
            None if head == candidates.len() => return,
            None => sorted *= 8,
        }
    }
}

/// The likelier first, the lower id among equals.
fn likelier(a: &Candidate, b: &Candidate) -> Ordering {
    b.value.total_cmp(&a.value).then(a.id.cmp(&b.id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sampled(options: SamplerOptions) -> SamplerOptions {
        SamplerOptions { temperature: 1.0, ..options }
    }

    /// How often each of the logits is drawn in 20,000 draws, as a share.
    fn shares(options: SamplerOptions, logits: &[f32]) -> Vec<f64> {
        let mut sampler = Sampler::new(options, &[]).unwrap();
        let mut counts = vec![0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.sample(logits).unwrap() as usize] += 1;
        }
        counts.into_iter().map(|count| f64::from(count) / 20_000.0).collect()
    }

    #[test]
    fn greedy_takes_the_likeliest_and_the_lower_id_among_equals() {
        let mut sampler = Sampler::new(SamplerOptions::default(), &[]).unwrap();
        assert_eq!(sampler.sample(&[0.0, 3.0, 3.0, -1.0]).unwrap(), 1);
    }

    #[test]
    fn draws_with_the_probabilities_of_the_softmax() {
        let logits = [2.0f32.ln(), 1.0f32.ln(), 5.0f32.ln()];
        for (share, expected) in
            shares(sampled(SamplerOptions::default()), &logits).into_iter().zip([0.25, 0.125, 0.625])
        {
            assert!((share - expected).abs() < 0.015, "{share} instead of {expected}");
        }
    }

    #[test]
    fn each_filter_drops_what_it_should() {
        let logits = [0.1f32.ln(), 0.5f32.ln(), 0.15f32.ln(), 0.25f32.ln()];
        let cases = [
            ("top-k", SamplerOptions { top_k: 2, ..Default::default() }, [false, true, false, true]),
            ("top-p", SamplerOptions { top_p: 0.8, ..Default::default() }, [false, true, true, true]),
            ("top-p 0", SamplerOptions { top_p: 0.0, ..Default::default() }, [false, true, false, false]),
            ("min-p", SamplerOptions { min_p: 0.4, ..Default::default() }, [false, true, false, true]),
        ];
        for (name, options, kept) in cases {
            let drawn: Vec<bool> =
                shares(sampled(options), &logits).iter().map(|&share| 0.0 < share).collect();
            assert_eq!(drawn, kept, "{name}");
        }
    }

    #[test]
    fn top_p_over_a_long_tail_equals_sorting_everything() {
        let mut candidates: Vec<_> =
            (0..5000u32).map(|id| Candidate { id, value: 1.0 / (1 + id * 7919 % 5000) as f32 }).collect();
        let total: f64 = candidates.iter().map(|candidate| f64::from(candidate.value)).sum();
        let mut expected = candidates.clone();
        expected.sort_by(likelier);
        keep_top_p(&mut candidates, 0.9 * total);
        let kept: f64 = candidates.iter().map(|candidate| f64::from(candidate.value)).sum();
        let last = f64::from(candidates.last().unwrap().value);
        assert!(0.9 * total <= kept && kept - last < 0.9 * total);
        assert!(candidates.iter().zip(&expected).all(|(a, b)| a.id == b.id));
    }

    #[test]
    fn penalties_push_tokens_away() {
        let options = SamplerOptions { repetition_penalty: 2.0, ..Default::default() };
        assert_eq!(Sampler::new(options, &[0]).unwrap().sample(&[3.0, 2.0]).unwrap(), 1);
        assert_eq!(Sampler::new(options, &[0]).unwrap().sample(&[-1.0, -1.5]).unwrap(), 1);
        let options = SamplerOptions { presence_penalty: 0.6, frequency_penalty: 0.6, ..Default::default() };
        let mut sampler = Sampler::new(options, &[0]).unwrap();
        let drawn: Vec<u32> = (0..5).map(|_| sampler.sample(&[2.0, 1.0]).unwrap()).collect();
        assert_eq!(drawn, [0, 1, 0, 0, 1], "the prompt does not count, what was generated does");
    }

    #[test]
    fn the_same_seed_draws_the_same_and_others_draw_otherwise() {
        let logits: Vec<f32> = (0..100).map(|i| (i * 37 % 100) as f32 / 25.0).collect();
        let draw = |seed| {
            let mut sampler =
                Sampler::new(sampled(SamplerOptions { seed, ..Default::default() }), &[]).unwrap();
            (0..20).map(|_| sampler.sample(&logits).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        let texts: std::collections::BTreeSet<_> = (0..50).map(draw).collect();
        assert_eq!(texts.len(), 50);
    }

    #[test]
    fn first_draws_of_consecutive_seeds_are_uniform() {
        let mut counts = [0; 8];
        for seed in 0..4000 {
            let options = sampled(SamplerOptions { seed, ..Default::default() });
            counts[Sampler::new(options, &[]).unwrap().sample(&[1.0; 8]).unwrap() as usize] += 1;
        }
        // 500 expected, with a standard deviation of 21.
        assert!(counts.iter().all(|count| (400..600).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_tiny_temperature_is_greedy_and_impossible_tokens_are_never_drawn() {
        let options = SamplerOptions { temperature: 1e-30, ..Default::default() };
        assert_eq!(Sampler::new(options, &[]).unwrap().sample(&[1.0, f32::NEG_INFINITY, 1.5]).unwrap(), 2);
        let drawn = shares(sampled(SamplerOptions::default()), &[f32::NEG_INFINITY, 0.0, -1e30]);
        assert_eq!(drawn, [0.0, 1.0, 0.0]);
    }

    #[test]
    fn the_likeliest_tokens_alone_give_the_same_choices() {
        let logits: Vec<f32> = (0..200u32).map(|id| (id * 7919 % 97) as f32 / 10.0).collect();
        let mut sorted: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let all = [
            SamplerOptions::default(),
            sampled(SamplerOptions { top_k: 20, seed: 3, ..Default::default() }),
            sampled(SamplerOptions { top_k: 32, top_p: 0.7, min_p: 0.05, seed: 4, ..Default::default() }),
        ];
        for options in all {
            let (mut one, mut other) =
                (Sampler::new(options, &[1]).unwrap(), Sampler::new(options, &[1]).unwrap());
            let needed = one.needed_top().unwrap();
            for _ in 0..50 {
                assert_eq!(one.sample(&logits).unwrap(), other.sample_top(&sorted[..needed]).unwrap());
            }
        }
        let penalized = SamplerOptions { repetition_penalty: 1.1, ..Default::default() };
        assert_eq!(Sampler::new(penalized, &[]).unwrap().needed_top(), None);
        assert_eq!(Sampler::new(sampled(SamplerOptions::default()), &[]).unwrap().needed_top(), None);
        let mut sampler = Sampler::new(SamplerOptions::default(), &[]).unwrap();
        for bad in [&[(0, f32::NAN)][..], &[(0, f32::INFINITY)], &[(0, f32::NEG_INFINITY)], &[]] {
            assert!(sampler.sample_top(bad).is_err());
        }
    }

    #[test]
    fn refuses_options_out_of_range_and_logits_that_are_not_numbers() {
        let bad = [
            SamplerOptions { temperature: -1.0, ..Default::default() },
            SamplerOptions { top_p: 1.5, ..Default::default() },
            SamplerOptions { min_p: f32::NAN, ..Default::default() },
            SamplerOptions { repetition_penalty: 0.0, ..Default::default() },
        ];
        for options in bad {
            let message = Sampler::new(options, &[]).unwrap_err().to_string();
            assert!(message.contains("expected a number"), "{message}");
        }
        for logits in [[f32::NAN, 1.0], [f32::NEG_INFINITY; 2], [f32::INFINITY, 0.0]] {
            assert!(Sampler::new(SamplerOptions::default(), &[]).unwrap().sample(&logits).is_err());
        }
    }
}
