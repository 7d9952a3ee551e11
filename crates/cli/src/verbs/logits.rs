//! `edgewen logits`: the logits of every token of a text, as a safetensors file.
//!
//! The file is written while it is computed, since it can be far larger than the model, under a temporary name
//! that becomes the final one when it is complete.

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::bail;
use edgewen_engine::{Batch, Forward};
use serde::Serialize;
use serde_json::json;

use crate::args::LogitsArgs;
use crate::files;
use crate::input;
use crate::interrupt::{self, Interrupted, Second};
use crate::model::Model;
use crate::output;
use crate::progress::{Progress, Shown};

/// Rows of logits in memory at once: one of Qwen2.5 takes 608 kB.
const HEAD_ROWS: usize = 16;

#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    output: &'a Path,
    tokens: usize,
    vocabulary: usize,
    file_bytes: u64,
}

/// Computes and writes.
pub fn run(arguments: &LogitsArgs) -> anyhow::Result<()> {
    let mut model = Model::load(&arguments.model, &arguments.context, &arguments.compute)?;
    let vocabulary = model.config.vocab_size;
    let ids = match (&arguments.tokens, &arguments.prompt) {
        (Some(list), _) => input::token_ids(list, vocabulary)?,
        (None, text) => model.tokenizer.encode(text.as_deref().unwrap_or_default(), true)?,
    };
    if ids.is_empty() {
        bail!("the text has no tokens");
    }
    if model.context < ids.len() {
        bail!("{} tokens are more than the context of {} tokens", ids.len(), model.context);
    }

    let cancel = interrupt::listen(Second::Waits)?;
    let mut file = files::begin(&arguments.output)?;
    let file_bytes = {
        let mut out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
        let header_bytes = write_header(&mut out, &ids, vocabulary)?;
        let mut progress = Progress::new(ids.len() as u64, "tokens", Shown::Count);
        let mut forward = Forward::default();
        for (index, piece) in ids.chunks(arguments.chunk).enumerate() {
            if cancel.load(std::sync::atomic::Ordering::SeqCst) {
                return Err(Interrupted.into());
            }
            let start = index * arguments.chunk;
            let batch = Batch::one(0, start, piece);
            forward.hidden(model.backend.as_mut(), &batch)?;
            for rows in (0..piece.len()).step_by(HEAD_ROWS) {
                let logits = forward.head(model.backend.as_mut(), rows..piece.len().min(rows + HEAD_ROWS))?;
                for logit in logits {
                    out.write_all(&logit.to_le_bytes())?;
                }
            }
            progress.update((start + piece.len()) as u64, "computing");
        }
        out.flush()?;
        header_bytes + ids.len() as u64 * (8 + 4 * vocabulary as u64)
    };
    files::finish(file, &arguments.output)?;

    let report =
        Report { model: &model.name, output: &arguments.output, tokens: ids.len(), vocabulary, file_bytes };
    if arguments.json {
        return output::json(&report);
    }
    let name = arguments.output.display();
    output::note(&format!("{name}: logits f32 [{}, {vocabulary}], {}", ids.len(), output::bytes(file_bytes)));
    Ok(())
}

/// Header and `tokens`; returns the bytes of the header. The wider type comes first, so that both are aligned.
fn write_header(out: &mut impl Write, ids: &[u32], vocabulary: usize) -> anyhow::Result<u64> {
    let tokens_end = 8 * ids.len();
    let logits_end = tokens_end + 4 * ids.len() * vocabulary;
    let header = json!({
        "tokens": {"dtype": "I64", "shape": [ids.len()], "data_offsets": [0, tokens_end]},
        "logits": {"dtype": "F32", "shape": [ids.len(), vocabulary], "data_offsets": [tokens_end, logits_end]},
    });
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for &id in ids {
        out.write_all(&i64::from(id).to_le_bytes())?;
    }
    Ok(8 + header.len() as u64)
}
