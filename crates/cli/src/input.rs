//! What a verb reads besides the model: prompts from the command line, a file or a pipe, and lists of ids.

use std::io::{self, IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, bail};

/// Error of a command line that clap accepts but that makes no sense: exit code 2.
#[derive(Debug)]
pub struct Usage(pub String);

impl std::fmt::Display for Usage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The text given as argument, else in `file`, else piped in; `-` is the pipe too. `what` names it in messages.
///
/// Text from a file or a pipe loses one line break at its end, which editors and `echo` put there.
pub fn text(argument: Option<&str>, file: Option<&Path>, what: &str) -> anyhow::Result<String> {
    match (argument, file) {
        (_, Some(path)) => Ok(without_last_line_break(read_text(path)?)),
        (Some(text), None) if text != "-" => Ok(text.to_string()),
        (dash, None) => {
            if dash.is_none() && io::stdin().is_terminal() {
                let message = format!("no {what}: give it as an argument, or pipe it in (see --help)");
                return Err(Usage(message).into());
            }
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
            Ok(without_last_line_break(decode(bytes, "standard input")?))
        }
    }
}

/// A whole file as UTF-8.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    decode(bytes, &path.display().to_string())
}

fn decode(bytes: Vec<u8>, name: &str) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!(
            "{name} is not UTF-8 text: byte {at} begins no character; convert it, for example with iconv"
        )
    })
}

fn without_last_line_break(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

/// Token ids separated by spaces, commas or line breaks, all below `vocabulary`.
pub fn token_ids(text: &str, vocabulary: usize) -> anyhow::Result<Vec<u32>> {
    let words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    let mut ids = Vec::new();
    for word in words {
        let id: u32 = word.parse().map_err(|_| Usage(format!("--tokens: `{word}` is not a token id")))?;
        if vocabulary <= id as usize {
            bail!("token id {id} is outside the vocabulary of {vocabulary} tokens (0 to {})", vocabulary - 1);
        }
        ids.push(id);
    }
    if ids.is_empty() {
        return Err(Usage("--tokens holds no token id".to_string()).into());
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn drops_one_line_break() {
        assert_eq!(without_last_line_break("a\n\n".into()), "a\n");
        assert_eq!(without_last_line_break("a\r\n".into()), "a");
        assert_eq!(without_last_line_break("a".into()), "a");
    }

    #[test]
    fn reads_ids_and_refuses_those_outside_the_vocabulary() {
        assert_eq!(token_ids(" 1, 2\n3", 4).unwrap(), [1, 2, 3]);
        assert!(token_ids("1 4", 4).unwrap_err().to_string().contains("outside the vocabulary of 4"));
        for text in ["", "x", "-1", "1.5", "99999999999"] {
            assert!(token_ids(text, 4).unwrap_err().is::<Usage>(), "{text}");
        }
    }
}
