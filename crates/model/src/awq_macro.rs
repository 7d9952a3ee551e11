//! Files in AWQ_MACRO: the layout of the paper arXiv 2504.17376, for exchange with that design.
//!
//! ```text
//! layer 0..     q macros | q bias | k macros | k bias | v macros | v bias | o | gate | up | down | norms
//! after them    final norm | embedding | head, where it is not the embedding
//! ```
//!
//! Macros are those of [`edgewen_layout::awq_macro`]; biases, norms, embedding and head are row-major f16. There is no
//! header, no tokenizer and no padding: what is where follows from the model's shape alone, and a manifest beside the
//! file says it. The quantized matrices keep every bit on their way in and out; all else is rounded to f16.

mod export;
mod import;
mod manifest;
mod parts;

pub use export::{ExportReport, Rounding, export};
pub(crate) use export::{dense_row, embedding_bits, to_f16};
pub use import::{Description, import};
pub use manifest::manifest;
pub use parts::{Content, Part, file_bytes, parts};
