//! From the calibration text to the token segments that the model sees.

use crate::report::CalibrationReport;
use crate::{Calibration, Error, Result};
use edgewen_engine::Batch;
use edgewen_model::Tokenizer;
use sha2::{Digest, Sha256};

/// Tokens of a segment, as in the published AWQ; shorter if the model's context is.
const SEGMENT: usize = 512;

/// Fewer tokens than this say too little about a layer's inputs.
const NEEDED: usize = 512;

/// Cuts the text into segments that start at position 0, each with the special tokens that the tokenizer puts in front
/// of a text. If the text has more tokens than `limit`, the segments lie at even distances in it.
pub(crate) fn segments(
    calibration: &Calibration,
    tokenizer: &Tokenizer,
    limit: usize,
    max_position: usize,
) -> Result<(Batch, CalibrationReport)> {
    let prefix = tokenizer.encode("", true)?;
    let ids = tokenizer.encode(calibration.text(), false)?;
    let found = ids.len().min(limit);
    if found < NEEDED {
        return Err(Error::CalibrationTooShort {
            name: calibration.name().to_owned(),
            found,
            needed: NEEDED,
        });
    }
    let length = SEGMENT.min(max_position).saturating_sub(prefix.len()).max(1);
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
    Ok((batch, report))
}
