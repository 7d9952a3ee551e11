//! The built library, loaded: the only place of this crate with `unsafe`.
//!
//! The library is made by this crate from Verilator's output and its own shim, so the types of its functions and the
//! sizes of its ports are known. Ports are read and written in place; a call is only needed to evaluate.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::error::{Error, Result};
use crate::ports::{Port, Storage};

type Evaluate = unsafe extern "C" fn(*mut c_void);

/// One instance of a Verilated module.
#[derive(Debug)]
pub(crate) struct Instance {
    handle: NonNull<c_void>,
    ports: Vec<Slot>,
    eval: Evaluate,
    clock: Option<Evaluate>,
    delete: Evaluate,
    coverage: unsafe extern "C" fn(*mut c_void, *const c_char),
}

/// Where a port is kept.
#[derive(Debug, Clone, Copy)]
struct Slot {
    address: NonNull<c_void>,
    storage: Storage,
}

// SAFETY: the instance owns its context and module; Verilator keeps nothing of a single-threaded model in the thread
// that made it except the context, which the model itself refers to.
unsafe impl Send for Instance {}

impl Instance {
    /// Loads the library and makes an instance whose registers begin with random values.
    pub fn load(path: &Path, ports: &[Port], seed: i32) -> Result<Self> {
        let error = |source| Error::Load { path: path.to_owned(), source };
        // SAFETY: the library was built by `compile` from this crate's shim. Its constructors only set up its own data.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(error)?;
        // SAFETY: the names and types are those of `ports::shim`.
        let (new, table, eval, clock, delete, coverage) = unsafe {
            (
                *library
                    .get::<unsafe extern "C" fn(c_int) -> *mut c_void>(b"edgewen_new\0")
                    .map_err(error)?,
                *library
                    .get::<unsafe extern "C" fn(*mut c_void, *mut *mut c_void)>(b"edgewen_ports\0")
                    .map_err(error)?,
                *library.get::<Evaluate>(b"edgewen_eval\0").map_err(error)?,
                library.get::<Evaluate>(b"edgewen_clock\0").ok().map(|symbol| *symbol),
                *library.get::<Evaluate>(b"edgewen_delete\0").map_err(error)?,
                *library
                    .get::<unsafe extern "C" fn(*mut c_void, *const c_char)>(b"edgewen_coverage\0")
                    .map_err(error)?,
            )
        };
        // The code stays loaded for good: instances hold its functions.
        std::mem::forget(library);
        // SAFETY: any seed is allowed; the result is a new instance that nobody else holds.
        let handle = NonNull::new(unsafe { new(seed) }).expect("`new` does not return null");
        let mut addresses = vec![std::ptr::null_mut(); ports.len()];
        // SAFETY: the shim writes as many addresses as there are ports in the header it was made from.
        unsafe { table(handle.as_ptr(), addresses.as_mut_ptr()) };
        let slots = addresses.iter().zip(ports).map(|(&address, port)| Slot {
            address: NonNull::new(address).expect("a member has an address"),
            storage: port.storage,
        });
        Ok(Self { handle, ports: slots.collect(), eval, clock, delete, coverage })
    }

    #[inline]
    pub fn eval(&mut self) {
        // SAFETY: the handle is alive until drop, and `&mut` keeps every other access away.
        unsafe { (self.eval)(self.handle.as_ptr()) }
    }

    /// A rising and a falling edge; the module has a `clk_i`.
    #[inline]
    pub fn clock(&mut self) {
        let clock = self.clock.expect("a module that is clocked has a port `clk_i`");
        // SAFETY: as in `eval`.
        unsafe { clock(self.handle.as_ptr()) }
    }

    #[inline]
    pub fn read(&self, index: usize) -> u64 {
        let slot = self.ports[index];
        // SAFETY: the address is that of a member of the living instance, whose type the header gave; a wide port has
        // at least two words. `&self` keeps writers away.
        unsafe {
            match slot.storage {
                Storage::U8 => u64::from(slot.address.cast::<u8>().read()),
                Storage::U16 => u64::from(slot.address.cast::<u16>().read()),
                Storage::U32 => u64::from(slot.address.cast::<u32>().read()),
                Storage::U64 => slot.address.cast::<u64>().read(),
                Storage::Words(_) => {
                    let words = slot.address.cast::<u32>();
                    u64::from(words.read()) | u64::from(words.add(1).read()) << 32
                }
            }
        }
    }

    #[inline]
    pub fn write(&mut self, index: usize, value: u64) {
        let slot = self.ports[index];
        // SAFETY: as in `read`, with `&mut` keeping every other access away. The truncations keep what fits.
        unsafe {
            match slot.storage {
                Storage::U8 => slot.address.cast::<u8>().write(value as u8),
                Storage::U16 => slot.address.cast::<u16>().write(value as u16),
                Storage::U32 => slot.address.cast::<u32>().write(value as u32),
                Storage::U64 => slot.address.cast::<u64>().write(value),
                Storage::Words(count) => {
                    let words = std::slice::from_raw_parts_mut(slot.address.cast::<u32>().as_ptr(), count);
                    words.fill(0);
                    words[0] = value as u32;
                    words[1] = (value >> 32) as u32;
                }
            }
        }
    }

    /// The words of a wide port, lowest first.
    #[inline]
    pub fn words(&self, index: usize) -> Option<&[u32]> {
        let slot = self.ports[index];
        let Storage::Words(count) = slot.storage else { return None };
        // SAFETY: as in `read`; Verilator keeps a wide port as an array of that many 32-bit words.
        Some(unsafe { std::slice::from_raw_parts(slot.address.cast::<u32>().as_ptr(), count) })
    }

    /// The words of a wide port, to be written.
    #[inline]
    pub fn words_mut(&mut self, index: usize) -> Option<&mut [u32]> {
        let slot = self.ports[index];
        let Storage::Words(count) = slot.storage else { return None };
        // SAFETY: as in `words`, and `&mut self` makes it the only access.
        Some(unsafe { std::slice::from_raw_parts_mut(slot.address.cast::<u32>().as_ptr(), count) })
    }

    /// Writes the coverage counters, if the module was built with them.
    pub fn write_coverage(&self, path: &CString) {
        // SAFETY: the handle is alive and the string ends with a zero; the shim only reads the counters.
        unsafe { (self.coverage)(self.handle.as_ptr(), path.as_ptr()) }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: the handle came from `edgewen_new` and is used nowhere after this.
        unsafe { (self.delete)(self.handle.as_ptr()) }
    }
}
