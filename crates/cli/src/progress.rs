//! Progress on standard error: a line that redraws itself on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Pause between plain lines when standard error is not a terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// A count towards a known total.
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Shows `0/total` of something, named by `what`.
    pub fn new(total: u64, what: &str) -> Self {
        let style =
            ProgressStyle::with_template("{prefix} [{bar:24}] {pos}/{len}  {msg}  {elapsed}, {eta} left")
                .expect("the template is constant and valid")
                .progress_chars("=> ");
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.with_style(style).with_prefix(what.to_string())
        });
        let now = Instant::now();
        Progress { bar, total, started: now, last_line: now }
    }

    /// `done` of the total are finished; `now` says what is being worked on.
    pub fn update(&mut self, done: u64, now: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(now.to_string());
            return;
        }
        if PLAIN_INTERVAL <= self.last_line.elapsed() {
            self.last_line = Instant::now();
            output::note(&format!("{done}/{} {now}{}", self.total, self.time_left(done)));
        }
    }

    fn time_left(&self, done: u64) -> String {
        if done == 0 || self.total <= done {
            return String::new();
        }
        let left = self.started.elapsed().as_secs_f64() / done as f64 * (self.total - done) as f64;
        format!(", about {} left", output::seconds(left))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
