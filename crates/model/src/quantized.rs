//! Linear layers of checkpoints that are quantized already: AutoAWQ `gemm`, GPTQ and compressed-tensors.
//!
//! All three hold the same thing, `w = (q - z) * s` with unsigned codes q and zero points z and one scale s for the
//! inputs of a group; what differs is which nibble of which word lies where. Reading turns them into [`StoredLinear`],
//! which is exact; [`StoredLinear::pack`] gives the same integers in the order of the packed file. Nothing here rounds
//! a weight: what cannot be held exactly is refused by name, and bfloat16 scales that become f16 are counted.

mod config;
mod linear;
mod read;
mod words;

pub use config::{Format, Grouping, Quantization, Scheme, eight_bits};
pub use linear::{LinearLayout, QuantizedLinear, ScaleNotes, StoredLinear, order};
pub(crate) use read::{Opened, open};
pub(crate) use words::AWQ_NIBBLE;
