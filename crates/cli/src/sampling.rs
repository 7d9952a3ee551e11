//! Which sampling settings hold: flags first, then the model's generation_config.json, then the likeliest token.

use std::hash::{BuildHasher, RandomState};

use edgewen_engine::SamplerOptions;
use edgewen_model::GenerationDefaults;
use serde::Serialize;

use crate::args::SamplingArgs;
use crate::output;

/// The settings of a run, as `--json` reports them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Settings {
    pub temperature: f32,
    pub top_k: usize,
    pub top_p: f32,
    pub min_p: f32,
    pub repetition_penalty: f32,
    pub presence_penalty: f32,
    pub frequency_penalty: f32,
    /// The flag's seed, or one chosen at random.
    #[serde(skip)]
    pub seed: u64,
}

impl Settings {
    /// Combines flags and the model's defaults. A model that asks for `do_sample` has temperature 1 unless it says
    /// another; one that does not is greedy. Penalties hold for greedy choice too, as in `transformers`.
    pub fn new(flags: &SamplingArgs, model: &GenerationDefaults) -> Self {
        let own_temperature = match model.do_sample {
            Some(true) => model.temperature.unwrap_or(1.0),
            _ => 0.0,
        };
        Settings {
            temperature: flags.temperature.unwrap_or(own_temperature),
            top_k: flags.top_k.or(model.top_k.map(|k| k as usize)).unwrap_or(0),
            top_p: flags.top_p.or(model.top_p).unwrap_or(1.0),
            min_p: flags.min_p.or(model.min_p).unwrap_or(0.0),
            repetition_penalty: flags.repetition_penalty.or(model.repetition_penalty).unwrap_or(1.0),
            presence_penalty: flags.presence_penalty.unwrap_or(0.0),
            frequency_penalty: flags.frequency_penalty.unwrap_or(0.0),
            seed: flags.seed.unwrap_or_else(random_seed),
        }
    }

    /// Says which seed was chosen, where it matters and the user gave none.
    pub fn tell_seed(&self, flags: &SamplingArgs) {
        if flags.seed.is_none() && self.temperature != 0.0 {
            output::note(&format!("seed {} (repeat with --seed {})", self.seed, self.seed));
        }
    }

    /// For the engine's sampler.
    pub fn options(&self) -> SamplerOptions {
        SamplerOptions {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            seed: self.seed,
        }
    }
}

/// Short enough to type again, and exact in JSON: 32 bits of the randomness that hash maps are seeded with.
fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id()) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> SamplingArgs {
        SamplingArgs {
            temperature: None,
            top_k: None,
            top_p: None,
            min_p: None,
            repetition_penalty: None,
            presence_penalty: None,
            frequency_penalty: None,
            seed: Some(1),
        }
    }

    #[test]
    fn flags_win_over_the_model_and_the_model_over_greedy() {
        let none = GenerationDefaults::default();
        let qwen = GenerationDefaults {
            do_sample: Some(true),
            temperature: Some(0.7),
            top_k: Some(20),
            top_p: Some(0.8),
            repetition_penalty: Some(1.1),
            ..GenerationDefaults::default()
        };
        let plain = Settings::new(&flags(), &none);
        assert_eq!(
            (plain.temperature, plain.top_k, plain.top_p, plain.repetition_penalty),
            (0.0, 0, 1.0, 1.0)
        );
        let own = Settings::new(&flags(), &qwen);
        assert_eq!((own.temperature, own.top_k, own.top_p, own.repetition_penalty), (0.7, 20, 0.8, 1.1));
        let given = SamplingArgs { temperature: Some(0.0), repetition_penalty: Some(1.0), ..flags() };
        let mixed = Settings::new(&given, &qwen);
        assert_eq!((mixed.temperature, mixed.top_k, mixed.repetition_penalty), (0.0, 20, 1.0));
        let sampled = GenerationDefaults { do_sample: Some(true), ..none };
        assert_eq!(Settings::new(&flags(), &sampled).temperature, 1.0);
    }

    #[test]
    fn two_chosen_seeds_differ() {
        assert_ne!(random_seed(), random_seed());
    }
}
