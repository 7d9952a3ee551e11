//! Files that get their name only when they are complete.

use crate::{Error, Result};
use std::io;
use std::path::Path;
use tempfile::NamedTempFile;

/// A temporary file beside `path` that will hold `bytes`. Fails if `path` exists and not `force`, or if the disk has
/// too little room.
pub(crate) fn create(path: &Path, bytes: u64, force: bool) -> Result<NamedTempFile> {
    if !force && path.exists() {
        return Err(Error::Exists { path: path.to_owned() });
    }
    let dir = parent(path);
    check_space(path, dir, bytes)?;
    temporary(path, dir).map_err(|e| Error::io("create a file in", dir, e))
}

/// The directory that `path` is in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Fails if the disk of `dir` has too little room for the `bytes` of `path`.
pub(crate) fn check_space(path: &Path, dir: &Path, bytes: u64) -> Result<()> {
    match free_bytes(dir).map_err(|e| Error::io("write to", dir, e))? {
        Some(free) if free < bytes => Err(Error::NoSpace { path: path.to_owned(), needed: bytes, free }),
        _ => Ok(()),
    }
}

/// Flushes the file to the disk and gives it its name.
pub(crate) fn finish(file: NamedTempFile, path: &Path, force: bool) -> Result<()> {
    file.as_file().sync_all().map_err(|e| Error::io("write", file.path(), e))?;
    let renamed = if force { file.persist(path) } else { file.persist_noclobber(path) };
    match renamed {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::Exists { path: path.to_owned() })
        }
        Err(e) => Err(Error::io("rename the finished file to", path, e.error)),
    }
}

/// `NAME.XXXXXX.partial` beside the final name, so that the rename cannot cross file systems.
fn temporary(path: &Path, dir: &Path) -> io::Result<NamedTempFile> {
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".partial");
    #[cfg(unix)]
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    // As any new file: what the umask leaves, not the private mode of temporary files.
    #[cfg(unix)]
    builder.permissions(permissions);
    builder.tempfile_in(dir)
}

/// Bytes that an ordinary user may still write; `None` where the system cannot say.
#[cfg(unix)]
fn free_bytes(dir: &Path) -> io::Result<Option<u64>> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.checked_mul(stat.f_frsize))
}

/// Bytes that an ordinary user may still write; `None` where the system cannot say.
#[cfg(not(unix))]
fn free_bytes(_dir: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}
