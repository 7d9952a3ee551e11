//! What was measured and chosen, for the report.

use super::choice::{Candidate, Choice};
use edgewen_eval::stats::Estimate;
use serde::{Deserialize, Serialize};

/// How a budget was spent. Divergences are means over the held-out tokens, in nats, from the original model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// Bits a weight that were allowed.
    pub bits: f64,
    /// Bits a weight of all matrices as written, with scales, zero points and padding.
    pub bits_per_weight: f64,
    /// The same if no matrix takes 8 bits.
    pub bits_per_weight_least: f64,
    /// The same if all do.
    pub bits_per_weight_most: f64,
    /// Tokens on which divergences are measured.
    pub held_out_tokens: usize,
    /// How many models were measured.
    pub measurements: usize,
    /// Time that took, the original model included.
    pub seconds_measuring: f64,
    /// Divergence with 4 bits everywhere; as the next two without [`Step::Correction`](crate::Step::Correction).
    pub kl_four: Estimate,
    /// Divergence with 8 bits everywhere.
    pub kl_eight: Estimate,
    /// Divergence of the mix that was chosen, before the checkpoint was quantized anew with it.
    pub kl_predicted: Estimate,
    /// Divergence of the file that was written.
    pub kl_measured: Estimate,
    /// By how much `kl_measured` is below `kl_four`; the standard error is that of the difference token by token.
    pub gain: Estimate,
    /// The matrices whose bits were chosen, in the order of the forward pass.
    pub matrices: Vec<Sensitivity>,
}

/// What the bits of a matrix are worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Name in the packed file.
    pub name: String,
    /// Weights.
    pub elements: u64,
    /// Bytes that 8 bits take more than 4.
    pub extra_bytes: u64,
    /// By how much the divergence falls if only this matrix takes 8 bits.
    pub gain: Estimate,
    /// Bits that it takes: 4 or 8.
    pub bits: u32,
    /// As how manieth it was chosen, from 1; absent with 4 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<usize>,
}

pub(super) fn sensitivities(candidates: &[Candidate], choice: &Choice) -> Vec<Sensitivity> {
    let one = |(index, candidate): (usize, &Candidate)| {
        let chosen = choice.taken.iter().position(|&taken| taken == index).map(|position| position + 1);
        Sensitivity {
            name: candidate.name.clone(),
            elements: candidate.elements,
            extra_bytes: candidate.eight - candidate.four,
            gain: choice.gains[index],
            bits: if chosen.is_some() { 8 } else { 4 },
            chosen,
        }
    };
    candidates.iter().enumerate().map(one).collect()
}
