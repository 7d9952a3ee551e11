//! Faults of the memory that a test asks for.

/// What goes wrong with a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The response from this beat on is SLVERR (of a write: the response).
    SlaveError {
        /// First beat that fails.
        beat: u32,
    },
    /// The response from this beat on is DECERR (of a write: the response).
    DecodeError {
        /// First beat that fails.
        beat: u32,
    },
    /// RLAST comes with this beat, and the rest of the burst never.
    EarlyLast {
        /// The beat with RLAST.
        beat: u32,
    },
    /// All beats come, none with RLAST.
    MissingLast,
    /// No answer to this burst and to those after it, until a soft reset.
    NoAnswer,
}

/// A fault of one burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Port as in the register ERROR_PORT: 0 to 3 weights, 4 data read, 5 data write.
    pub port: usize,
    /// How many bursts of the port go well before.
    pub after: u64,
    /// What happens.
    pub kind: FaultKind,
}

/// The faults that one direction of a port still has to make.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(u64, FaultKind)>);

impl Faults {
    pub fn add(&mut self, at: u64, kind: FaultKind) {
        self.0.push((at, kind));
    }

    /// The fault of burst number `burst`, which is then gone.
    pub fn take(&mut self, burst: u64) -> Option<FaultKind> {
        let index = self.0.iter().position(|&(at, _)| at == burst)?;
        Some(self.0.swap_remove(index).1)
    }
}
