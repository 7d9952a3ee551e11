//! How far a quantized model's predictions are from the original's, on text that the quantizer did not see.
//!
//! The original's logits are computed once, by the float reference, and kept in a temporary file: those of 1,024 tokens
//! of a model with Qwen2.5's vocabulary are 620 MB. The measure is the KL divergence of the quantized distribution from
//! the original one, one value a token: comparing two models token by token tells much smaller differences from chance
//! than comparing two means does.

use crate::{Error, Result};
use edgewen_engine::{Backend, Batch, Forward};
use edgewen_eval::kl;
use rayon::ThreadPool;
use rayon::prelude::*;
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Rows of logits at a time: 32 of Qwen2.5's are 19 MB.
const HEAD_ROWS: usize = 32;

/// Tokens that the float reference computes between two looks at whether to go on: a few seconds for 0.5 billion
/// weights.
const REFERENCE_TOKENS: usize = 32;

/// The same for a quantized model.
const MODEL_TOKENS: usize = 512;

/// The cache that is used.
const SLOT: usize = 0;

/// Called with the number of tokens done since the last call; may end the work.
pub(crate) type Tick<'a> = &'a mut dyn FnMut(usize) -> Result<()>;

/// Held-out text with the original model's logits.
pub(crate) struct HeldOut<'a> {
    windows: Vec<Vec<u32>>,
    workers: &'a ThreadPool,
    path: PathBuf,
    logits: File,
}

impl<'a> HeldOut<'a> {
    /// Runs `reference` on `windows`, texts that begin at position 0, and keeps its logits in a new file `path`.
    pub(crate) fn new(
        reference: &mut dyn Backend,
        windows: Vec<Vec<u32>>,
        path: &Path,
        workers: &'a ThreadPool,
        tick: Tick<'_>,
    ) -> Result<Self> {
        let failed = |source| scratch_error("write", path, source);
        let logits = File::options().read(true).write(true).create_new(true).open(path).map_err(failed)?;
        let mut writer = BufWriter::new(&logits);
        run(reference, &windows, REFERENCE_TOKENS, tick, &mut |rows| {
            rows.iter().try_for_each(|logit| writer.write_all(&logit.to_le_bytes())).map_err(failed)
        })?;
        writer.flush().map_err(failed)?;
        drop(writer);
        Ok(HeldOut { windows, workers, path: path.to_owned(), logits })
    }

    /// Tokens that are measured.
    pub(crate) fn tokens(&self) -> usize {
        self.windows.iter().map(Vec::len).sum()
    }

    /// The divergence from the reference at each token, in nats.
    pub(crate) fn divergences(&self, model: &mut dyn Backend, tick: Tick<'_>) -> Result<Vec<f64>> {
        let failed = |source| scratch_error("read", &self.path, source);
        let vocabulary = model.config().vocab_size;
        let mut logits = &self.logits;
        logits.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut result = Vec::with_capacity(self.tokens());
        let mut bytes = Vec::new();
        run(model, &self.windows, MODEL_TOKENS, tick, &mut |rows| {
            bytes.resize(4 * rows.len(), 0);
            logits.read_exact(&mut bytes).map_err(failed)?;
            let pairs = bytes.par_chunks_exact(4 * vocabulary).zip(rows.par_chunks_exact(vocabulary));
            let divergences: Option<Vec<f64>> = self.workers.install(|| {
                pairs
                    .map(|(reference, row)| {
                        let words = reference.as_chunks().0.iter();
                        let reference: Vec<f32> = words.map(|word| f32::from_le_bytes(*word)).collect();
                        kl::divergence(&reference, row)
                    })
                    .collect()
            });
            result.extend(divergences.ok_or(Error::Engine(edgewen_engine::Error::NonFiniteLogits))?);
            Ok(())
        })?;
        Ok(result)
    }
}

fn scratch_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Model(edgewen_model::Error::Io { action, path: path.to_owned(), source })
}

/// Runs a model over texts, `piece` tokens at a time, and hands on the logits `[rows, vocabulary]` of all tokens.
fn run(
    backend: &mut dyn Backend,
    windows: &[Vec<u32>],
    piece: usize,
    tick: Tick<'_>,
    sink: &mut dyn FnMut(&[f32]) -> Result<()>,
) -> Result<()> {
    let mut forward = Forward::default();
    for window in windows {
        backend.truncate(SLOT, 0);
        for (index, tokens) in window.chunks(piece).enumerate() {
            tick(0)?;
            forward.hidden(backend, &Batch::one(SLOT, index * piece, tokens))?;
            for first in (0..tokens.len()).step_by(HEAD_ROWS) {
                let rows = first..tokens.len().min(first + HEAD_ROWS);
                sink(forward.head(backend, rows)?)?;
            }
            tick(tokens.len())?;
        }
    }
    backend.truncate(SLOT, 0);
    Ok(())
}
