//! Text to tokens and back, by the `tokenizers` crate.
//!
//! This module finds the files, loads them quickly and streams text; the tokenization itself is Hugging Face's own
//! code, so the ids are theirs by construction.

mod detokenizer;
mod files;
mod load;

pub use detokenizer::Detokenizer;
pub use files::TokenizerFiles;
pub(crate) use files::special_token;

use crate::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// A tokenizer; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    tokenizer: tokenizers::Tokenizer,
    largest_id: u32,
    /// A token to put first, if tokenizer_config.json asks for it and the post-processor does not do it.
    extra_bos: Option<u32>,
    /// `bos_token` of tokenizer_config.json, else its `eos_token`.
    text_prefix: Option<u32>,
}

impl Tokenizer {
    /// From a directory that holds a tokenizer.json.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        Self::named(&TokenizerFiles::from_dir(dir)?, &dir.join("tokenizer.json").display().to_string())
    }

    /// From the files' contents.
    pub fn from_files(files: &TokenizerFiles) -> Result<Self> {
        Self::named(files, "tokenizer.json")
    }

    fn named(files: &TokenizerFiles, name: &str) -> Result<Self> {
        let wrong = |detail: String| Error::Tokenizer { name: name.to_owned(), detail };
        let (tokenizer, largest_id) = load::tokenizer_from_json(&files.tokenizer_json)
            .map_err(|e| wrong(format!("not a usable tokenizer ({e}); download it again")))?;
        let config = files.config()?;
        let mut extra_bos = None;
        if config["add_bos_token"].as_bool() == Some(true)
            && let Some(bos) = special_token(&config, "bos_token")
        {
            let id = tokenizer.token_to_id(bos).ok_or_else(|| {
                wrong(format!("has no token {bos:?}, the \"bos_token\" of tokenizer_config.json; take both from one model"))
            })?;
            let probe = tokenizer.encode_fast("a", true).map_err(|e| wrong(e.to_string()))?;
            extra_bos = (probe.get_ids().first() != Some(&id)).then_some(id);
        }
        let named = |key| special_token(&config, key).and_then(|piece| tokenizer.token_to_id(piece));
        let text_prefix = named("bos_token").or_else(|| named("eos_token"));
        Ok(Tokenizer { inner: Arc::new(Inner { tokenizer, largest_id, extra_bos, text_prefix }) })
    }

    /// The token that stands before a text of which the first token is to be predicted: BOS, or the end token where
    /// tokenizer_config.json names no BOS.
    pub fn text_prefix(&self) -> Option<u32> {
        self.inner.text_prefix
    }

    /// Token ids of a text. `add_special` adds what the post-processor adds (a BOS token, for example), and a BOS token
    /// if `add_bos_token` asks for one that the post-processor does not add.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .tokenizer
            .encode_fast(text, add_special)
            .map_err(|e| Error::Tokenizer { name: "tokenizer".into(), detail: e.to_string() })?;
        let bos = self.inner.extra_bos.filter(|_| add_special);
        Ok(bos.into_iter().chain(encoding.get_ids().iter().copied()).collect())
    }

    /// Text of tokens; invalid UTF-8 becomes U+FFFD. Ids without a token give no text.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.inner
            .tokenizer
            .decode(ids, skip_special)
            .map_err(|e| Error::Tokenizer { name: "tokenizer".into(), detail: e.to_string() })
    }

    /// A token as the vocabulary spells it.
    pub fn piece(&self, id: u32) -> Option<String> {
        self.inner.piece(id)
    }

    /// The id of a token as the vocabulary spells it.
    pub fn id(&self, piece: &str) -> Option<u32> {
        self.inner.tokenizer.token_to_id(piece)
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.tokenizer.get_vocab_size(true)
    }

    /// Whether the id is a special token (one that `skip_special` leaves out).
    pub fn is_special(&self, id: u32) -> bool {
        self.piece(id)
            .is_some_and(|piece| self.inner.tokenizer.get_added_vocabulary().is_special_token(&piece))
    }

    /// Fails if the tokenizer can produce an id that an embedding of `rows` rows has not.
    pub fn check_vocabulary(&self, rows: usize) -> Result<()> {
        let id = self.inner.largest_id;
        if (id as usize) < rows {
            return Ok(());
        }
        let piece = self.piece(id).unwrap_or_default();
        Err(Error::VocabularyTooLarge { piece, id, rows, last: rows.saturating_sub(1) })
    }

    /// A decoder that is given one token at a time.
    pub fn stream(&self, skip_special: bool) -> Detokenizer {
        Detokenizer::new(Arc::clone(&self.inner), skip_special)
    }
}

impl Inner {
    fn piece(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }
}
