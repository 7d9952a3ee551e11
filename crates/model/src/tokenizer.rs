//! Text to tokens and back, by the `tokenizers` crate.

use crate::Result;
use std::path::Path;

/// The contents of a tokenizer's files: all that a packed file has to carry.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizerFiles {
    /// tokenizer.json.
    pub tokenizer_json: Vec<u8>,
    /// tokenizer_config.json.
    pub tokenizer_config: Option<String>,
    /// chat_template.jinja.
    pub chat_template: Option<String>,
}

impl TokenizerFiles {
    /// Reads the files from a directory.
    pub fn from_dir(_dir: &Path) -> Result<Self> {
        unimplemented!()
    }
}

/// A tokenizer; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Tokenizer {}

impl Tokenizer {
    /// From a directory that holds a tokenizer.json.
    pub fn from_dir(_dir: &Path) -> Result<Self> {
        unimplemented!()
    }

    /// From the files' contents.
    pub fn from_files(_files: &TokenizerFiles) -> Result<Self> {
        unimplemented!()
    }

    /// Token ids of a text. `add_special` adds what the tokenizer's post-processor adds (a BOS token, for example).
    pub fn encode(&self, _text: &str, _add_special: bool) -> Result<Vec<u32>> {
        unimplemented!()
    }

    /// Text of tokens; invalid UTF-8 becomes U+FFFD.
    pub fn decode(&self, _ids: &[u32], _skip_special: bool) -> Result<String> {
        unimplemented!()
    }

    /// A token as the vocabulary spells it.
    pub fn piece(&self, _id: u32) -> Option<String> {
        unimplemented!()
    }

    /// The id of a token as the vocabulary spells it.
    pub fn id(&self, _piece: &str) -> Option<u32> {
        unimplemented!()
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        unimplemented!()
    }

    /// Whether the id is a special token (one that `skip_special` leaves out).
    pub fn is_special(&self, _id: u32) -> bool {
        unimplemented!()
    }

    /// Fails if the tokenizer can produce an id that an embedding of `rows` rows has not.
    pub fn check_vocabulary(&self, _rows: usize) -> Result<()> {
        unimplemented!()
    }

    /// A decoder that is given one token at a time.
    pub fn stream(&self, _skip_special: bool) -> Detokenizer {
        unimplemented!()
    }
}

/// Turns tokens into text one at a time and never splits a character.
///
/// What `push` and `finish` return, joined, equals [`Tokenizer::decode`] of all the tokens.
#[derive(Debug, Clone)]
pub struct Detokenizer {}

impl Detokenizer {
    /// The text that is certain after this token, if any.
    pub fn push(&mut self, _id: u32) -> Option<String> {
        unimplemented!()
    }

    /// What is left at the end.
    pub fn finish(&mut self) -> Option<String> {
        unimplemented!()
    }
}
