//! Files that get their name only when they are complete.

use std::path::Path;

use anyhow::{Context, bail};
use tempfile::NamedTempFile;

/// A temporary file beside `path`, with the rights that new files get. It vanishes unless it is finished.
pub fn begin(path: &Path) -> anyhow::Result<NamedTempFile> {
    if path.is_dir() {
        bail!("cannot write {}: it is a directory", path.display());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".edgewen-").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).with_context(|| format!("cannot write {}", path.display()))
}

/// Flushes a file to the disk and gives it its name.
pub fn finish(file: NamedTempFile, path: &Path) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", path.display());
    file.as_file().sync_all().with_context(context)?;
    file.persist(path).with_context(context)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_that_is_not_finished_vanishes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut file = begin(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut file = begin(&path).unwrap();
        file.write_all(b"whole").unwrap();
        finish(file, &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_folder_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(begin(folder.path()).unwrap_err().to_string().contains("is a directory"));
    }
}
