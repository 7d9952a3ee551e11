//! Ctrl-C: a flag that long work looks at, so that it can end cleanly.
//!
//! The first signal only sets the flag; whoever works stops at the next good place, keeps what the user would
//! want kept and removes what is half-written. A second signal ends the process at once for those verbs that have
//! nothing to clean up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

/// Exit code after Ctrl-C, as shells expect it: 128 and the number of SIGINT.
pub const EXIT_CODE: i32 = 130;

/// What a second signal does while the first is being obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// Ends the process.
    Exits,
    /// Nothing: there are files to remove first.
    Waits,
}

/// Error of work that was stopped by a signal.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Starts listening for SIGINT, SIGTERM and SIGHUP and returns the flag they set. Call once a process.
pub fn listen(second: Second) -> anyhow::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::SeqCst) && second == Second::Exits {
            std::process::exit(EXIT_CODE);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(flag)
}
