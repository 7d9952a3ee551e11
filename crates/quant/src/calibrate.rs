//! From the calibration text to the token segments that the model sees.
//!
//! Where something is chosen by what it does to the model's predictions, part of the text is held out: the quantizer
//! does not see it, and the divergence from the original model is measured on it.

use crate::report::CalibrationReport;
use crate::{Calibration, Error, Result};
use edgewen_engine::Batch;
use edgewen_model::Tokenizer;
use sha2::{Digest, Sha256};

/// Tokens of a segment, as in the published AWQ; shorter if the model's context is.
const SEGMENT: usize = 512;

/// Fewer tokens than this say too little about a layer's inputs.
const NEEDED: usize = 512;

/// The largest part of a text that is held out, as a divisor of its tokens.
const HELD_OUT_SHARE: usize = 8;

/// A calibration text in tokens.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    /// What the quantizer sees.
    pub(crate) batch: Batch,
    /// What it does not see, in windows that begin as texts do.
    pub(crate) held_out: Vec<Vec<u32>>,
    /// About the former.
    pub(crate) report: CalibrationReport,
}

/// Cuts the text into segments that start at position 0, each with the special tokens that the tokenizer puts in front
/// of a text. If the text has more tokens than `limit`, the segments lie at even distances in it. Before that,
/// `held_out` tokens, at most an eighth of the text, are taken out of it.
pub(crate) fn segments(
    calibration: &Calibration,
    tokenizer: &Tokenizer,
    limit: usize,
    held_out: usize,
    max_position: usize,
) -> Result<Text> {
    let prefix = tokenizer.encode("", true)?;
    let length = SEGMENT.min(max_position).saturating_sub(prefix.len()).max(1);
    let (ids, windows) = hold_out(tokenizer.encode(calibration.text(), false)?, held_out, length);
    let found = ids.len().min(limit);
    if found < NEEDED {
        // What is held out must be there as well.
        let needed =
            if windows.is_empty() { NEEDED } else { 1 + NEEDED * HELD_OUT_SHARE / (HELD_OUT_SHARE - 1) };
        let found = found + windows.iter().map(Vec::len).sum::<usize>();
        return Err(Error::CalibrationTooShort { name: calibration.name().to_owned(), found, needed });
    }
    let held_out = windows.into_iter().map(|window| [prefix.as_slice(), &window].concat()).collect();
    let mut batch = Batch::new();
    let mut tokens = prefix.clone();
    let count = found.div_ceil(length);
    for segment in 0..count {
        // The starts are spread over the whole text; the last segment may be shorter.
        let size = length.min(found - segment * length);
        let spread = (ids.len() - found) * segment / (count - 1).max(1);
        let start = segment * length + spread;
        tokens.truncate(prefix.len());
        tokens.extend_from_slice(&ids[start..start + size]);
        batch.push(segment, 0, &tokens);
    }
    let digest = Sha256::digest(calibration.text().as_bytes());
    let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let report = CalibrationReport {
        name: calibration.name().to_owned(),
        sha256,
        tokens: batch.len(),
        segments: count,
    };
    Ok(Text { batch, held_out, report })
}

/// Takes windows of `length` tokens at even distances out of a text, `tokens` in all but at most an eighth of it: what
/// is left, and the windows.
fn hold_out(ids: Vec<u32>, tokens: usize, length: usize) -> (Vec<u32>, Vec<Vec<u32>>) {
    let tokens = tokens.min(ids.len() / HELD_OUT_SHARE);
    let count = tokens.div_ceil(length);
    let (mut rest, mut windows) = (Vec::with_capacity(ids.len()), Vec::new());
    let mut end = 0;
    for window in 0..count {
        // Each window lies in the middle of its part of the text.
        let size = length.min(tokens - window * length);
        let start = (ids.len() - tokens) * (2 * window + 1) / (2 * count) + window * length;
        rest.extend_from_slice(&ids[end..start]);
        end = start + size;
        windows.push(ids[start..end].to_vec());
    }
    rest.extend_from_slice(&ids[end..]);
    (rest, windows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_either_held_out_or_left() {
        for (len, tokens, length) in
            [(8000, 1000, 511), (8000, 0, 511), (100, 500, 8), (7, 3, 4), (4096, 512, 512)]
        {
            let ids: Vec<u32> = (0..len).collect();
            let (rest, windows) = hold_out(ids.clone(), tokens, length);
            let held: usize = windows.iter().map(Vec::len).sum();
            assert_eq!(held, tokens.min(len as usize / HELD_OUT_SHARE), "{len} {tokens} {length}");
            let mut all: Vec<u32> = rest.into_iter().chain(windows.concat()).collect();
            all.sort_unstable();
            assert_eq!(all, ids, "{len} {tokens} {length}");
            for window in windows {
                assert!(window.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{window:?}");
            }
        }
    }
}
