//! Builds a `tokenizers::Tokenizer` from tokenizer.json, quickly.
//!
//! The crate's own deserializer goes through two untyped copies of the vocabulary, which takes most of the start-up
//! time of a 150,000 token model. A BPE model is therefore read into typed fields and handed to the crate's builder;
//! everything else of the file, and every other kind of model, is left to the crate. The result is the same object.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{
    AddedToken, DecoderWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Tokenizer,
};

/// Reads tokenizer.json; returns the tokenizer and its largest id.
pub(super) fn tokenizer_from_json(json: &[u8]) -> Result<(Tokenizer, u32), String> {
    let (mut tokenizer, largest) = match read_bpe(json)? {
        Some(loaded) => loaded,
        None => {
            let tokenizer = Tokenizer::from_bytes(json).map_err(|e| e.to_string())?;
            let largest = tokenizer.get_vocab(false).into_values().max().unwrap_or(0);
            (tokenizer, largest)
        }
    };
    // Cutting and padding are for training batches; transformers switches both off as well.
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
    let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder().keys().max();
    let largest = largest.max(added.copied().unwrap_or(0));
    Ok((tokenizer, largest))
}

/// `None` if the model is no BPE in today's or yesterday's spelling; the crate then decides.
fn read_bpe(json: &[u8]) -> Result<Option<(Tokenizer, u32)>, String> {
    let Ok(text) = std::str::from_utf8(json) else { return Err("not UTF-8 text".into()) };
    let Ok(file) = serde_json::from_str::<File<'_>>(text) else { return Ok(None) };
    if file.model.kind != Some(Cow::Borrowed("BPE")) || file.version.as_deref() != Some("1.0") {
        return Ok(None);
    }
    let largest = file.model.vocab.largest;
    let Some(bpe) = file.model.build()? else { return Ok(None) };
    let mut tokenizer = Tokenizer::new(bpe);
    tokenizer.with_normalizer(file.normalizer).map_err(|e| e.to_string())?;
    tokenizer
        .with_pre_tokenizer(file.pre_tokenizer)
        .with_post_processor(file.post_processor)
        .with_decoder(file.decoder);
    let tokens: Vec<AddedToken> = file.added_tokens.into_iter().map(Into::into).collect();
    tokenizer.add_tokens(tokens).map_err(|e| e.to_string())?;
    Ok(Some((tokenizer, largest)))
}

#[derive(serde::Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    version: Option<Cow<'a, str>>,
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    post_processor: Option<PostProcessorWrapper>,
    decoder: Option<DecoderWrapper>,
    #[serde(borrow)]
    model: Model<'a>,
}

/// An added token. The id is not used: the crate finds it in the vocabulary, or counts on from its end.
#[derive(serde::Deserialize)]
struct Added {
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

impl From<Added> for AddedToken {
    fn from(added: Added) -> Self {
        AddedToken::from(added.content, added.special)
            .single_word(added.single_word)
            .lstrip(added.lstrip)
            .rstrip(added.rstrip)
            .normalized(added.normalized)
    }
}

#[derive(serde::Deserialize)]
struct Model<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    dropout: Option<f32>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    vocab: Pieces,
    #[serde(borrow)]
    merges: Merges<'a>,
}

impl Model<'_> {
    fn build(self) -> Result<Option<BPE>, String> {
        let mut merges = Vec::with_capacity(self.merges.0.len());
        for merge in self.merges.0 {
            let pair = match merge {
                Merge::Pair(left, right) => (left.into_owned(), right.into_owned()),
                // The old spelling: one space between the two. Anything else is for the crate to judge.
                Merge::Joined(text) => match text.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => (left.to_owned(), right.to_owned()),
                    _ => return Ok(None),
                },
            };
            merges.push(pair);
        }
        let mut builder = BPE::builder()
            .vocab_and_merges(self.vocab.ids, merges)
            .fuse_unk(self.fuse_unk.unwrap_or(false))
            .byte_fallback(self.byte_fallback.unwrap_or(false))
            .ignore_merges(self.ignore_merges.unwrap_or(false));
        if let Some(dropout) = self.dropout {
            builder = builder.dropout(dropout);
        }
        if let Some(token) = self.unk_token {
            builder = builder.unk_token(token);
        }
        if let Some(prefix) = self.continuing_subword_prefix {
            builder = builder.continuing_subword_prefix(prefix);
        }
        if let Some(suffix) = self.end_of_word_suffix {
            builder = builder.end_of_word_suffix(suffix);
        }
        builder.build().map(Some).map_err(|e| e.to_string())
    }
}

/// The vocabulary.
struct Pieces {
    ids: Vocab,
    largest: u32,
}

impl<'de> Deserialize<'de> for Pieces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Pieces;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from tokens to ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pieces, A::Error> {
                // Room for the vocabularies of the Qwen2 family from the start: growing a large table is slow.
                let (mut ids, mut largest) = (Vocab::with_capacity(160_000), 0);
                while let Some((piece, id)) = map.next_entry::<String, u32>()? {
                    largest = largest.max(id);
                    ids.insert(piece, id);
                }
                Ok(Pieces { ids, largest })
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// The merge rules in order of rank.
struct Merges<'a>(Vec<Merge<'a>>);

enum Merge<'a> {
    Joined(Cow<'a, str>),
    Pair(Cow<'a, str>, Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Merges<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Merges)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Merge<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Merge<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"left right\" or [\"left\", \"right\"]")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Merge::Joined(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Merge::Joined(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let (Some(left), Some(right)) =
                    (seq.next_element::<Text<'de>>()?, seq.next_element::<Text<'de>>()?)
                else {
                    return Err(serde::de::Error::invalid_length(1, &self));
                };
                if seq.next_element::<IgnoredAny>()?.is_some() {
                    return Err(serde::de::Error::invalid_length(3, &self));
                }
                Ok(Merge::Pair(left.0, right.0))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A string that borrows from the file unless it holds an escape.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
