//! The choice of matrices that take 8 bits: greedy, by what a byte gains, measured again as the choice grows.
//!
//! What a matrix gains depends on what has been chosen before, mostly downwards. So a gain measured earlier is taken as
//! a bound: the matrix with the largest is measured again, and taken if it still leads (Minoux 1978, "Accelerated greedy
//! algorithms for maximizing submodular set functions"). Hence every step of the choice rests on a measurement of the
//! very mix it leads to, at little more cost than measuring each matrix once.

use crate::Result;
use edgewen_eval::stats::{Estimate, mean};

/// What a matrix would cost.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// Name in the packed file.
    pub(super) name: String,
    /// Weights.
    pub(super) elements: u64,
    /// Bytes with 4 bits.
    pub(super) four: u64,
    /// Bytes with 8 bits.
    pub(super) eight: u64,
}

impl Candidate {
    fn extra(&self) -> u64 {
        self.eight - self.four
    }
}

/// The result.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// Which candidates take 8 bits, in the order in which they were taken.
    pub(super) taken: Vec<usize>,
    /// What each candidate gains alone.
    pub(super) gains: Vec<Estimate>,
    /// Divergences with none chosen, one a token.
    pub(super) base: Vec<f64>,
    /// Those of the choice.
    pub(super) chosen: Vec<f64>,
}

/// A candidate that is still open.
struct Open {
    index: usize,
    /// What a byte gains, as last measured.
    density: f64,
    /// How many had been taken then.
    taken: usize,
    /// The divergences with those and this one.
    divergences: Vec<f64>,
}

/// Chooses candidates whose extra bytes do not exceed `room`. `measure` gives the divergences, one a token, of the model
/// in which these candidates have 8 bits and the others 4.
pub(super) fn choose(
    candidates: &[Candidate],
    room: u64,
    measure: &mut dyn FnMut(&[usize]) -> Result<Vec<f64>>,
) -> Result<Choice> {
    let density = |gain: Estimate, index: usize| gain.value / candidates[index].extra() as f64;
    let base = measure(&[])?;
    let (mut gains, mut open) = (Vec::new(), Vec::new());
    for index in 0..candidates.len() {
        let divergences = measure(&[index])?;
        let gain = gain(&base, &divergences);
        gains.push(gain);
        open.push(Open { index, density: density(gain, index), taken: 0, divergences });
    }
    let (mut taken, mut chosen, mut left) = (Vec::new(), base.clone(), room);
    loop {
        open.retain(|open| candidates[open.index].extra() <= left);
        // Of equal ones the first.
        let lead = (0..open.len()).reduce(|a, b| if open[a].density < open[b].density { b } else { a });
        let Some(lead) = lead.filter(|&lead| 0.0 < open[lead].density) else { break };
        let index = open[lead].index;
        if open[lead].taken == taken.len() {
            left -= candidates[index].extra();
            taken.push(index);
            chosen = open.swap_remove(lead).divergences;
            // In order, so that ties do not depend on what was removed.
            open.sort_unstable_by_key(|open| open.index);
        } else {
            let divergences = measure(&[taken.as_slice(), &[index]].concat())?;
            let density = density(gain(&chosen, &divergences), index);
            open[lead] = Open { index, density, taken: taken.len(), divergences };
        }
    }
    Ok(Choice { taken, gains, base, chosen })
}

/// What is gained from one list of divergences to another, token by token.
pub(super) fn gain(before: &[f64], after: &[f64]) -> Estimate {
    mean(&before.iter().zip(after).map(|(before, after)| before - after).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn candidates(extras: &[u64]) -> Vec<Candidate> {
        let one = |&extra: &u64| Candidate { name: String::new(), elements: 1, four: 10, eight: 10 + extra };
        extras.iter().map(one).collect()
    }

    /// Divergences of a made-up model: 10 less what the chosen gain, where 0 and 1 gain the same thing.
    fn model(gains: &'static [f64]) -> impl FnMut(&[usize]) -> Result<Vec<f64>> {
        move |chosen| {
            let mut sum: f64 = chosen.iter().map(|&index| gains[index]).sum();
            if chosen.contains(&0) && chosen.contains(&1) {
                sum -= gains[0].min(gains[1]);
            }
            Ok(vec![10.0 - sum; 3])
        }
    }

    #[test]
    fn takes_what_gains_most_a_byte_and_still_fits() {
        let candidates = candidates(&[10, 10, 20, 5, 100]);
        let gains = &[3.0, 2.9, 2.0, 0.4, 50.0];
        let of = |room| choose(&candidates, room, &mut model(gains)).unwrap();
        assert_eq!(of(4).taken, [0; 0]);
        assert_eq!(of(9).taken, [3]);
        // 1 gains next to nothing after 0, so 2 comes before it, and 3 where 2 does not fit.
        assert_eq!(of(15).taken, [0, 3]);
        assert_eq!(of(35).taken, [0, 2, 3]);
        assert_eq!(of(1000).taken, [4, 0, 2, 3]);
        let choice = of(35);
        assert_eq!((choice.base[0], choice.chosen[0]), (10.0, 10.0 - 5.4));
        assert!((choice.gains[1].value - 2.9).abs() < 1e-12);
    }

    #[test]
    fn what_gains_nothing_is_not_taken() {
        let candidates = candidates(&[1, 1, 1]);
        let choice = choose(&candidates, 10, &mut model(&[0.0, 0.5, -1.0])).unwrap();
        assert_eq!(choice.taken, [1]);
    }

    #[test]
    fn few_measurements_are_needed() {
        let candidates = candidates(&[1; 50]);
        let mut count = 0;
        let mut measure = |chosen: &[usize]| {
            count += 1;
            Ok(vec![100.0 - chosen.iter().map(|&index| 1.0 + index as f64 / 100.0).sum::<f64>()])
        };
        assert_eq!(choose(&candidates, 10, &mut measure).unwrap().taken[..3], [49, 48, 47]);
        // None chosen, each alone, and each of those taken after the first once more.
        assert_eq!(count, 1 + 50 + 9);
    }
}
