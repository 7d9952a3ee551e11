//! Tokens to text, one at a time.
//!
//! A byte-level decoder joins bytes, so the state is the few bytes of an unfinished character. Any other decoder (the
//! Llama kind strips the first space and joins byte tokens) is asked for the text of a short window of tokens, and
//! what is new in it is handed out.

use std::sync::Arc;
use tokenizers::{Decoder, DecoderWrapper};

use super::Inner;

/// Turns tokens into text one at a time and never splits a character.
///
/// What `push` and `finish` return, joined, equals [`Tokenizer::decode`](super::Tokenizer::decode) of all the tokens.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    inner: Arc<Inner>,
    skip_special: bool,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Bytes of an unfinished character.
    Bytes(Vec<u8>),
    /// The pieces that gave the last text, and those since.
    Window { done: Vec<String>, pending: Vec<String> },
}

/// Whether more pieces may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    Open,
    Final,
}

impl Detokenizer {
    pub(super) fn new(inner: Arc<Inner>, skip_special: bool) -> Self {
        let state = match inner.tokenizer.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => State::Bytes(Vec::new()),
            _ => State::Window { done: Vec::new(), pending: Vec::new() },
        };
        Detokenizer { inner, skip_special, state }
    }

    /// The text that is certain after this token, if any.
    pub fn push(&mut self, id: u32) -> Option<String> {
        let piece = self.inner.piece(id)?;
        if self.skip_special && self.inner.tokenizer.get_added_vocabulary().is_special_token(&piece) {
            return None;
        }
        match &mut self.state {
            State::Bytes(held) => {
                held.extend(self.inner.bytes_of(&piece));
                take_decided(held)
            }
            State::Window { pending, .. } => {
                // A run of byte tokens is valid or invalid as a whole, so it must have ended.
                let open = is_byte_token(&piece);
                pending.push(piece);
                if open { None } else { self.advance(Tail::Open) }
            }
        }
    }

    /// What is left at the end.
    pub fn finish(&mut self) -> Option<String> {
        match &mut self.state {
            State::Bytes(held) if held.is_empty() => None,
            State::Bytes(held) => Some(String::from_utf8_lossy(&std::mem::take(held)).into_owned()),
            State::Window { .. } => self.advance(Tail::Final),
        }
    }

    /// The text that the pending pieces add, if it is certain.
    fn advance(&mut self, tail: Tail) -> Option<String> {
        let State::Window { done, pending } = &mut self.state else { return None };
        if pending.is_empty() {
            return None;
        }
        let before = self.inner.join(done.clone());
        let window: Vec<String> = done.iter().chain(pending.iter()).cloned().collect();
        let text = self.inner.join(window);
        let new = text.get(before.len()..).unwrap_or_default();
        // A byte-level decoder within a sequence writes U+FFFD for a character that the next piece may complete.
        if new.is_empty() || (tail == Tail::Open && new.ends_with('\u{fffd}')) {
            return None;
        }
        let new = new.to_owned();
        *done = std::mem::take(pending);
        Some(new)
    }
}

impl Inner {
    /// The text of pieces by this tokenizer's decoder.
    fn join(&self, pieces: Vec<String>) -> String {
        match self.tokenizer.get_decoder() {
            Some(decoder) => decoder.decode(pieces).unwrap_or_default(),
            None => pieces.join(" "),
        }
    }

    /// The bytes of a byte-level piece: its characters stand for bytes, unless one of them stands for none, in which
    /// case the piece is text.
    fn bytes_of(&self, piece: &str) -> Vec<u8> {
        piece.chars().map(byte_of).collect::<Option<Vec<u8>>>().unwrap_or_else(|| piece.as_bytes().to_vec())
    }
}

/// The byte that a character of the byte-level alphabet stands for (GPT-2's `bytes_to_unicode`, backwards): printable
/// Latin-1 stands for itself, the other 68 bytes follow in order from U+0100.
fn byte_of(c: char) -> Option<u8> {
    match c as u32 {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

fn is_byte_token(piece: &str) -> bool {
    piece.len() == 6
        && piece.starts_with("<0x")
        && piece.ends_with('>')
        && piece.get(3..5).is_some_and(|hex| u8::from_str_radix(hex, 16).is_ok())
}

/// Takes all complete characters out of `held`, invalid ones as U+FFFD, and leaves an unfinished one.
fn take_decided(held: &mut Vec<u8>) -> Option<String> {
    let unfinished = match held.utf8_chunks().last() {
        // An invalid tail that more bytes could complete: `from_utf8` gives it no length.
        Some(chunk) if !chunk.invalid().is_empty() => match std::str::from_utf8(chunk.invalid()) {
            Err(e) if e.error_len().is_none() => chunk.invalid().len(),
            _ => 0,
        },
        _ => 0,
    };
    let rest = held.split_off(held.len() - unfinished);
    let decided = std::mem::replace(held, rest);
    if decided.is_empty() { None } else { Some(String::from_utf8_lossy(&decided).into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_a_bijection_of_all_bytes() {
        let mut bytes: Vec<u8> = ('\u{0}'..='\u{200}').filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
    }

    #[test]
    fn an_unfinished_character_is_held_and_an_invalid_one_is_not() {
        let mut held = b"a\xe4\xbd".to_vec();
        assert_eq!(take_decided(&mut held).as_deref(), Some("a"));
        held.push(0xa0);
        assert_eq!(take_decided(&mut held).as_deref(), Some("\u{4f60}"));
        held.extend(b"\xff\xe4b");
        assert_eq!(take_decided(&mut held).as_deref(), Some("\u{fffd}\u{fffd}b"));
        assert!(held.is_empty());
    }
}
