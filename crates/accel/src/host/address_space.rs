//! The addresses that accelerator and processor share: the model, read only, and the buffers.
//!
//! On the board both are pieces of its DDR memory. Here the model is read out of the memory-mapped file, so that nothing
//! is copied beforehand, and an access to anything else is answered as the interconnect would: DECERR where nothing is, SLVERR
//! where it is not allowed.

use std::ops::Range;
use std::sync::Arc;

use crate::image::ModelImage;

/// Where a model lies that ends before the buffers.
const MODEL_BASE: u64 = 0x1000_0000;

/// Where a larger one lies: the upper window of the board's memory.
const LARGE_MODEL_BASE: u64 = 0x8_0000_0000;

/// Where the buffers lie.
const BUFFER_BASE: u64 = 0x6000_0000;

/// Bytes of the buffers: enough for 512 tokens of the widest layer of a 0.5B model and for the keys and values of 6,144
/// positions.
pub const BUFFER_BYTES: usize = 128 << 20;

/// The answer to an access that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusError {
    /// SLVERR: the memory there cannot do it.
    Slave,
    /// DECERR: there is no memory.
    Decode,
}

/// Memory that is read and written by address.
pub trait Memory: Send + Sync {
    /// Reads `out.len()` bytes from `address` on.
    ///
    /// # Errors
    /// What the bus answers.
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), BusError>;

    /// Writes `data` from `address` on.
    ///
    /// # Errors
    /// What the bus answers.
    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), BusError>;
}

/// Where model and buffers are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressMap {
    /// First byte of the model's image.
    pub model: u64,
    /// The buffers, which software divides as it likes.
    pub buffers: Range<u64>,
}

/// A model's image and zeroed buffers.
#[derive(Debug)]
pub struct AddressSpace {
    image: Arc<ModelImage>,
    map: AddressMap,
    buffers: Vec<u8>,
}

impl AddressSpace {
    /// The image with [`BUFFER_BYTES`] of buffers.
    pub fn new(image: Arc<ModelImage>) -> Self {
        Self::with_buffers(image, BUFFER_BYTES)
    }

    /// The image with so many bytes of buffers.
    pub fn with_buffers(image: Arc<ModelImage>, buffer_bytes: usize) -> Self {
        let fits = image.bytes() <= BUFFER_BASE - MODEL_BASE;
        let model = if fits { MODEL_BASE } else { LARGE_MODEL_BASE };
        let map = AddressMap { model, buffers: BUFFER_BASE..BUFFER_BASE + buffer_bytes as u64 };
        Self { image, map, buffers: vec![0; buffer_bytes] }
    }

    /// Where everything is.
    pub fn map(&self) -> &AddressMap {
        &self.map
    }
}

/// What of `base..base + len` begins at `address`, as offsets.
fn place(base: u64, len: usize, address: u64) -> Option<Range<usize>> {
    let start = usize::try_from(address.checked_sub(base)?).ok()?;
    (start < len).then_some(start..len)
}

impl Memory for AddressSpace {
    fn read(&self, address: u64, out: &mut [u8]) -> Result<(), BusError> {
        let offset = address.checked_sub(self.map.model);
        if offset.is_some_and(|offset| self.image.read(offset, out)) {
            return Ok(());
        }
        let range = place(self.map.buffers.start, self.buffers.len(), address).ok_or(BusError::Decode)?;
        let bytes = self.buffers[range].get(..out.len()).ok_or(BusError::Decode)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self, address: u64, data: &[u8]) -> Result<(), BusError> {
        if let Some(range) = place(self.map.buffers.start, self.buffers.len(), address) {
            let target = self.buffers[range].get_mut(..data.len()).ok_or(BusError::Decode)?;
            target.copy_from_slice(data);
            return Ok(());
        }
        // Where the model may be read something answers, but not with OKAY.
        let model = self.map.model..self.map.model + self.image.bytes();
        Err(if model.contains(&address) { BusError::Slave } else { BusError::Decode })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_buffers_can_be_written_and_nothing_lies_between() {
        let image = Arc::new(ModelImage::from_bytes((0..=255).collect()));
        let mut space = AddressSpace::with_buffers(image, 128);
        let AddressMap { model, buffers } = space.map().clone();
        let mut out = [0; 4];
        assert_eq!(space.read(model + 252, &mut out), Ok(()));
        assert_eq!(out, [252, 253, 254, 255]);
        assert_eq!(space.read(model + 253, &mut out), Err(BusError::Decode), "beyond the model");
        assert_eq!(space.read(model - 1, &mut out), Err(BusError::Decode), "before the model");
        assert_eq!(space.write(model, &out), Err(BusError::Slave), "the model is read only");
        assert_eq!(space.write(buffers.start + 124, &[1, 2, 3, 4]), Ok(()));
        assert_eq!(space.read(buffers.start + 124, &mut out), Ok(()));
        assert_eq!(out, [1, 2, 3, 4]);
        assert_eq!(space.write(buffers.start + 125, &out), Err(BusError::Decode), "beyond the buffers");
        assert_eq!(space.read(u64::MAX, &mut out), Err(BusError::Decode));
    }
}
