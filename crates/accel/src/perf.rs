//! How long a token takes. To be written.

pub mod accelerator;
