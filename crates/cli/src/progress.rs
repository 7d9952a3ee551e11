//! Progress on standard error: a line that redraws itself on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// Pause between plain lines when standard error is not a terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// How the amount done is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// `7/24`: the units mean something.
    Count,
    /// `29 %`: they only measure the work.
    Share,
}

/// An amount towards a known total.
pub struct Progress {
    bar: Option<ProgressBar>,
    shown: Shown,
    total: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Shows how much of `total` is done; `what` names the work or its units.
    pub fn new(total: u64, what: &str, shown: Shown) -> Self {
        let template = match shown {
            Shown::Count => "{prefix} [{bar:24}] {pos}/{len}  {msg}  {elapsed}, {eta} left",
            Shown::Share => "{prefix} [{bar:24}] {percent} %  {msg}  {elapsed}, {eta} left",
        };
        let style = ProgressStyle::with_template(template)
            .expect("the templates are constant and valid")
            .progress_chars("=> ");
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.with_style(style).with_prefix(what.to_string())
        });
        let now = Instant::now();
        Progress { bar, shown, total, started: now, last_line: now }
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
            let amount = match self.shown {
                Shown::Count => format!("{done}/{}", self.total),
                Shown::Share => format!("{} %", 100 * done / self.total.max(1)),
            };
            output::note(&format!("{amount} {now}{}", self.time_left(done)));
        }
    }

    fn time_left(&self, done: u64) -> String {
        // Before a hundredth is done an estimate would be a guess.
        if 100 * done < self.total || self.total <= done {
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
