//! The likeliest tokens, without a look at every logit's rank.
//!
//! Which of equal logits come first, and what a NaN is, is fixed here for all backends: larger logits first, equal ones
//! by id, a NaN before everything, so that it is seen.

use std::cmp::Ordering;

/// Pieces of the logits whose maxima bound the answer: more than most `k`, few enough to find the k-th largest of.
const PIECES: usize = 4096;

/// Logits that are looked at together.
const RUN: usize = 32;

/// The `k` largest of some logits with their ids, largest first.
pub(crate) fn largest(logits: &[f32], k: usize) -> Vec<(u32, f32)> {
    let bound = bound(logits, k);
    let is_below = |logit: f32| logit < bound;
    let mut entries = Vec::with_capacity(2 * k.min(logits.len()));
    for (at, run) in logits.chunks(RUN).enumerate() {
        // Nearly every run has none: a test of the whole run needs no branch for each logit.
        if run.iter().fold(false, |any, &logit| any | !is_below(logit)) {
            let ids = (at * RUN) as u32..;
            entries.extend(ids.zip(run.iter().copied()).filter(|entry| !is_below(entry.1)));
        }
    }
    keep_largest(&mut entries, k);
    entries
}

/// Keeps the `k` largest of some entries, largest first.
pub(crate) fn keep_largest(entries: &mut Vec<(u32, f32)>, k: usize) {
    if k < entries.len() {
        entries.select_nth_unstable_by(k, larger);
        entries.truncate(k);
    }
    entries.sort_unstable_by(larger);
}

fn larger(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.is_nan().cmp(&a.1.is_nan()).then(b.1.total_cmp(&a.1)).then(a.0.cmp(&b.0))
}

/// A number that at least `k` logits (or all of them) are not below: the k-th largest of the maxima of pieces. NaN counts
/// as larger, and is left out of the maxima.
fn bound(logits: &[f32], k: usize) -> f32 {
    if k == 0 || PIECES < k {
        return f32::NEG_INFINITY;
    }
    // Every piece takes one logit in so many, so that all maxima are updated side by side.
    let mut maxima = vec![f32::NEG_INFINITY; PIECES];
    for logits in logits.chunks(PIECES) {
        for (most, &logit) in maxima.iter_mut().zip(logits) {
            *most = if *most < logit { logit } else { *most };
        }
    }
    *maxima.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_logits_come_first_and_nan_before_them() {
        let logits = [1.0, 3.0, f32::NAN, 3.0, f32::NEG_INFINITY, -1.0];
        let ids = |k| largest(&logits, k).iter().map(|entry| entry.0).collect::<Vec<_>>();
        assert_eq!(ids(0), [0; 0]);
        assert_eq!(ids(3), [2, 1, 3]);
        assert_eq!(ids(9), [2, 1, 3, 0, 5, 4]);
    }

    #[test]
    fn many_logits_give_what_sorting_all_of_them_gives() {
        // Few different values, so that equal ones lie on both sides of every cut; with signed zeros and NaN.
        let mut logits: Vec<f32> =
            (0..30_011_u64).map(|i| ((i * i * 7919 + i) % 977) as f32 / 8.0 - 60.0).collect();
        for (special, at) in [(f32::NAN, 17), (-0.0, 5000), (0.0, 5001), (f32::INFINITY, 29_000)] {
            logits[at] = special;
        }
        logits[40..60].fill(f32::NAN);
        let mut sorted: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        sorted.sort_by(larger);
        let bits = |entries: &[(u32, f32)]| -> Vec<_> {
            entries.iter().map(|(id, logit)| (*id, logit.to_bits())).collect()
        };
        for k in [0, 1, 20, 512, 4095, 4096, 5000, 30_011, 40_000] {
            assert_eq!(bits(&largest(&logits, k)), bits(&sorted[..k.min(sorted.len())]), "k = {k}");
        }
    }
}
