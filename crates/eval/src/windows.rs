//! How a text is cut into windows, and which of their tokens are predicted: the protocol of a measurement.
//!
//! Perplexities and divergences are comparable only under the same protocol and tokenizer, so a protocol is part of
//! every result. docs/evaluation.md gives each as a formula.

use edgewen_model::Tokenizer;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The way of cutting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "windows", rename_all = "kebab-case")]
pub enum Protocol {
    /// Windows of `context` tokens, each begun `stride` tokens after the one before; a window predicts what no window
    /// before it has predicted. As in the documentation of `transformers`, but a token is never left out.
    Strided {
        /// Tokens of a window, with BOS where the tokenizer adds one.
        context: usize,
        /// Tokens from one window to the next.
        stride: usize,
        /// Whether a document longer than a window is cut off there instead of continued in the next one.
        first_window_only: bool,
    },
    /// Disjoint windows as `loglikelihood_rolling` of lm-evaluation-harness cuts them: every token is predicted, the
    /// first one from `prefix`; the last window is filled up with context on the left.
    Rolling {
        /// Tokens that a window reads.
        context: usize,
        /// The token before the text: BOS, or the end token where there is none.
        prefix: u32,
    },
    /// Disjoint windows of which the second half is predicted, as `llama-perplexity` does; what is left at the end of
    /// the text is not used. BOS, where the tokenizer adds one, replaces the first token of each window.
    LlamaCpp {
        /// Tokens of a window.
        context: usize,
    },
}

impl Protocol {
    /// Tokens that a prediction can depend on, at most.
    pub fn context(&self) -> usize {
        match *self {
            Self::Strided { context, .. } | Self::Rolling { context, .. } | Self::LlamaCpp { context } => {
                context
            }
        }
    }

    /// Checks the numbers against the `most` tokens that a model was made for.
    ///
    /// # Errors
    /// A context or stride that makes no sense.
    pub fn check(&self, most: usize) -> Result<()> {
        let least = match self {
            Self::Rolling { .. } => 1,
            Self::Strided { .. } => 2,
            Self::LlamaCpp { .. } => 4,
        };
        let context = self.context();
        if context < least || most < context {
            return Err(Error::Option {
                name: "context",
                value: context.to_string(),
                expected: format!("{least} to {most}, the context that the model was made for"),
            });
        }
        match *self {
            Self::Strided { context, stride, .. } if stride == 0 || context <= stride => Err(Error::Option {
                name: "stride",
                value: stride.to_string(),
                expected: "1 to one less than the context".to_string(),
            }),
            _ => Ok(()),
        }
    }
}

/// A text that is scored by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its tokens, as the tokenizer begins a text.
    pub tokens: Vec<u32>,
    /// Pieces between white space, counted as lm-evaluation-harness does: runs of white space, and one.
    pub words: usize,
    /// Bytes in UTF-8.
    pub bytes: usize,
}

/// A run of tokens that is computed from an empty cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The document it is of, from 0.
    pub document: usize,
    /// Its tokens; the last one is predicted, never read.
    pub tokens: Vec<u32>,
    /// The first token that is predicted: at least 1, and below the number of tokens.
    pub scored: usize,
}

impl Window {
    /// Number of tokens that are predicted.
    pub fn predictions(&self) -> usize {
        self.tokens.len() - self.scored
    }
}

/// The documents of a text: all of it, or what lies between separators, without the white space around it and without
/// empty ones.
///
/// # Errors
/// An empty separator, and what the tokenizer says.
pub fn documents(text: &str, separator: Option<&str>, tokenizer: &Tokenizer) -> Result<Vec<Document>> {
    let parts: Vec<&str> = match separator {
        Some("") => {
            return Err(Error::Option {
                name: "the separator",
                value: "empty".to_string(),
                expected: "a text between two documents".to_string(),
            });
        }
        Some(separator) => text.split(separator).map(str::trim).filter(|part| !part.is_empty()).collect(),
        None => vec![text],
    };
    let document = |part: &str| {
        Ok(Document { tokens: tokenizer.encode(part, true)?, words: words(part), bytes: part.len() })
    };
    parts.into_iter().map(document).collect()
}

/// The token that the tokenizer puts before a text, if it does.
///
/// # Errors
/// What the tokenizer says.
pub fn bos(tokenizer: &Tokenizer) -> Result<Option<u32>> {
    let (with, without) = (tokenizer.encode("a", true)?, tokenizer.encode("a", false)?);
    Ok(with.first().copied().filter(|first| without.first() != Some(first)))
}

/// Cuts documents into windows. `bos` is what the tokenizer puts before a text.
///
/// # Errors
/// A text without anything to predict: it says how many tokens are needed.
pub fn cut(documents: &[Document], protocol: &Protocol, bos: Option<u32>) -> Result<Vec<Window>> {
    let mut windows = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        let tokens = &document.tokens;
        let mut push = |tokens: &[u32], scored| {
            windows.push(Window { document: index, tokens: tokens.to_vec(), scored });
        };
        match *protocol {
            Protocol::Strided { context, stride, first_window_only } => {
                // The token before the first predicted one is always in the window, to predict it from.
                let (mut scored, mut start) = (1, 0);
                while scored < tokens.len() {
                    let end = tokens.len().min(start + context);
                    push(&tokens[start..end], scored - start);
                    if first_window_only {
                        break;
                    }
                    scored = end;
                    start += stride;
                }
            }
            Protocol::Rolling { context, prefix } => {
                let all: Vec<u32> = std::iter::once(prefix).chain(tokens.iter().copied()).collect();
                let mut scored = 1;
                while scored < all.len() {
                    let end = all.len().min(scored + context);
                    let start = end.saturating_sub(context + 1);
                    push(&all[start..end], scored - start);
                    scored = end;
                }
            }
            Protocol::LlamaCpp { context } => {
                for chunk in tokens.chunks_exact(context) {
                    let mut chunk = chunk.to_vec();
                    if let Some(bos) = bos {
                        chunk[0] = bos;
                    }
                    push(&chunk, context / 2 + 1);
                }
            }
        }
    }
    if windows.is_empty() {
        let longest = documents.iter().map(|document| document.tokens.len()).max().unwrap_or(0);
        let needed = match protocol {
            Protocol::Strided { .. } => 2,
            Protocol::Rolling { .. } => 1,
            Protocol::LlamaCpp { context } => *context,
        };
        return Err(Error::TextTooShort { longest, needed });
    }
    Ok(windows)
}

/// Runs of white space, as Python's regular expressions see it, and one.
fn words(text: &str) -> usize {
    let is_space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    let (mut runs, mut inside) = (0, false);
    for c in text.chars() {
        let space = is_space(c);
        runs += usize::from(space && !inside);
        inside = space;
    }
    runs + 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn document(len: u32) -> Document {
        Document { tokens: (0..len).collect(), words: 1, bytes: 1 }
    }

    fn strided(context: usize, stride: usize, first_window_only: bool) -> Protocol {
        Protocol::Strided { context, stride, first_window_only }
    }

    #[test]
    fn strided_windows_predict_every_token_but_the_first_once() {
        for (len, context, stride) in [(10, 4, 3), (10, 4, 2), (10, 4, 1), (11, 5, 4), (3, 8, 7), (2, 2, 1)] {
            let windows = cut(&[document(len)], &strided(context, stride, false), None).unwrap();
            let scored: Vec<u32> =
                windows.iter().flat_map(|window| window.tokens[window.scored..].to_vec()).collect();
            assert_eq!(
                scored,
                (1..len).collect::<Vec<_>>(),
                "{len} tokens, context {context}, stride {stride}"
            );
        }
        let windows = cut(&[document(10)], &strided(4, 3, true), None).unwrap();
        assert_eq!(windows, [Window { document: 0, tokens: vec![0, 1, 2, 3], scored: 1 }]);
    }

    #[test]
    fn rolling_windows_are_those_of_lm_eval() {
        // `make_disjoint_window(get_rolling_token_windows(list(range(10)), 99, 4, 1))` of lm-eval 0.4.13.
        let expected: [(&[u32], &[u32]); 3] =
            [(&[99], &[0, 1, 2, 3]), (&[3], &[4, 5, 6, 7]), (&[5, 6, 7], &[8, 9])];
        let windows = cut(&[document(10)], &Protocol::Rolling { context: 4, prefix: 99 }, None).unwrap();
        assert_eq!(windows.len(), 3);
        for (window, (context, predicted)) in windows.iter().zip(expected) {
            assert_eq!(window.tokens.split_at(window.scored), (context, predicted));
        }
        let short = cut(&[document(1)], &Protocol::Rolling { context: 4, prefix: 99 }, None).unwrap();
        assert_eq!(short[0].tokens, [99, 0]);
    }

    #[test]
    fn the_windows_of_llama_cpp_predict_their_second_half() {
        let windows = cut(&[document(11)], &Protocol::LlamaCpp { context: 4 }, Some(77)).unwrap();
        assert_eq!(windows.len(), 2);
        assert_eq!((windows[1].tokens.as_slice(), windows[1].scored), (&[77, 5, 6, 7][..], 3));
    }

    #[test]
    fn a_text_that_is_too_short_names_what_is_needed() {
        for (protocol, expected) in [
            (strided(8, 7, false), "has 1 tokens, at least 2"),
            (Protocol::LlamaCpp { context: 8 }, "has 1 tokens, at least 8"),
        ] {
            let message = cut(&[document(1)], &protocol, None).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        assert!(cut(&[], &Protocol::Rolling { context: 8, prefix: 0 }, None).is_err());
    }

    #[test]
    fn impossible_windows_are_refused() {
        for (context, stride) in [(1, 1), (8, 0), (8, 8), (65, 1)] {
            assert!(strided(context, stride, false).check(64).is_err(), "context {context}, stride {stride}");
        }
        assert!(Protocol::LlamaCpp { context: 3 }.check(64).is_err());
        assert!(Protocol::Rolling { context: 64, prefix: 0 }.check(64).is_ok());
    }

    #[test]
    fn words_are_counted_as_python_splits() {
        // len(re.split(r"\s+", text))
        for (text, expected) in [("", 1), ("a", 1), (" a b ", 4), ("a\n\n b", 2), ("a\u{1c}b", 2)] {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }
}
