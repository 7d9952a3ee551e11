//! Where tests find data: fixtures inside the repository, and the shared references beside it.
//!
//! The shared folder exists for developers and continuous integration, not for users: a test that needs it is
//! skipped with a message where it is absent. With `CI=true` absence is a failure, so that a green run means that
//! the references were compared.

use std::path::{Path, PathBuf};

/// The root of the repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The path of a file or folder under `fixtures/`.
pub fn fixture(relative: &str) -> PathBuf {
    repository().join("fixtures").join(relative)
}

/// The path of `relative` in the shared data folder beside the repository, or `None` (with a message) if absent.
///
/// # Panics
/// If the data is absent and the environment says `CI=true`.
pub fn shared(relative: &str) -> Option<PathBuf> {
    let path = repository().join("../shared").join(relative);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "shared test data `{relative}` is absent, and CI=true forbids skipping the test"
    );
    eprintln!("skipped: shared test data `{relative}` is not beside this checkout");
    None
}

/// Reads a two-dimensional little-endian f32 array from NumPy's `.npy` format, version 1.
///
/// # Panics
/// If the file is not such an array: tests have no use for an error value.
pub fn read_npy_f32(path: &Path) -> (Vec<f32>, [usize; 2]) {
    let bytes = std::fs::read(path).expect("the .npy file is readable");
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{}: not a version 1 .npy file", path.display());
    let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..header_end]);
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape: Vec<usize> = header
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map(|(inside, _)| inside.split(',').filter_map(|n| n.trim().parse().ok()).collect())
        .expect("the header states a shape");
    let values: Vec<f32> = bytes[header_end..]
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")))
        .collect();
    assert_eq!(values.len(), shape.iter().product::<usize>());
    (values, [shape[0], shape[1]])
}
