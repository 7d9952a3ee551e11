//! Stop strings in a stream of text.

/// When to stop before the token limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// Texts that end the generation; they are not part of the result.
    pub strings: Vec<String>,
    /// Whether to go on after an end token.
    pub ignore_eos: bool,
}

/// Watches a stream for stop strings. Text that might begin one is held back until that is decided.
#[derive(Debug)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopStrings {
    /// A watcher for `strings`; empty ones are ignored.
    pub fn new(strings: &[String]) -> Self {
        let strings = strings.iter().filter(|string| !string.is_empty()).cloned().collect();
        Self { strings, held: String::new(), stopped: false }
    }

    /// Takes a piece of text and returns what may be shown now.
    pub fn push(&mut self, piece: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(piece);
        if let Some(at) = self.strings.iter().filter_map(|string| self.held.find(string.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        // A prefix of a stop string begins with its first character, so the cut is between two characters.
        let undecided = self.undecided();
        let keep = self.held.split_off(self.held.len() - undecided);
        std::mem::replace(&mut self.held, keep)
    }

    /// Whether a stop string was found.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// What was held back, at the end of the stream.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Length of the longest end of the held text that begins a stop string.
    fn undecided(&self) -> usize {
        let longest = |string: &String| {
            let most = self.held.len().min(string.len() - 1);
            (1..=most).rev().find(|&n| self.held.as_bytes().ends_with(&string.as_bytes()[..n])).unwrap_or(0)
        };
        self.strings.iter().map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(strings: &[&str], pieces: &[&str]) -> (Vec<String>, String, bool) {
        let strings: Vec<String> = strings.iter().map(ToString::to_string).collect();
        let mut stop = StopStrings::new(&strings);
        let shown = pieces.iter().map(|piece| stop.push(piece)).collect();
        let stopped = stop.stopped();
        (shown, stop.finish(), stopped)
    }

    fn owned(pieces: &[&str]) -> Vec<String> {
        pieces.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn holds_back_what_may_begin_a_stop_string() {
        let (shown, rest, stopped) = stream(&["END"], &["the E", "N", "d", " END more"]);
        assert_eq!((shown, rest.as_str(), stopped), (owned(&["the ", "", "ENd", " "]), "", true));
    }

    #[test]
    fn gives_back_the_held_text_when_the_stream_ends() {
        let (shown, rest, stopped) = stream(&["END"], &["a E"]);
        assert_eq!((shown, rest.as_str(), stopped), (owned(&["a "]), "E", false));
    }

    #[test]
    fn the_earliest_of_several_wins_and_multibyte_text_is_kept_whole() {
        let (shown, _, stopped) = stream(&["stop", "é!"], &["aé", "b é! stop"]);
        assert_eq!((shown, stopped), (owned(&["a", "éb "]), true));
    }

    #[test]
    fn without_stop_strings_everything_passes() {
        assert_eq!(stream(&[""], &["a", "b"]), (owned(&["a", "b"]), String::new(), false));
    }
}
