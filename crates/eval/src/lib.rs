//! Measures what compression costs a model.
//!
//! Perplexity, divergence from a reference model, multiple-choice and generation tasks, each by a protocol that is
//! written down in docs/evaluation.md and printed with the figure. A measurement is a [`Run`]: one line of JSON an
//! item, so that it can be stopped and continued, and recomputed by others. Every figure is computed from those
//! items alone.
#![forbid(unsafe_code)]

pub mod compare;
mod error;
pub mod generation;
pub mod identity;
pub mod kl;
pub mod likelihood;
pub mod perplexity;
pub mod reference_logits;
pub mod report;
mod rows;
pub mod run;
pub mod score;
pub mod stats;
pub mod tasks;
pub mod windows;
pub mod wnli;

pub use error::{Error, Result};
pub use identity::Identity;
pub use rows::Watch;
pub use run::{Header, Run};
