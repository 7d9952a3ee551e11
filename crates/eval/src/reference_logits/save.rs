//! Stores the logits of a reference. They are written while they are computed, under a temporary name.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::json;

use super::{FORMAT, Origin};
use crate::kl::Subject;
use crate::rows::{self, Rows};
use crate::windows::Window;
use crate::{Error, Result, Watch};

/// Computes the logits of `windows` and stores them at `path`, replacing what is there; returns the file's bytes.
///
/// # Errors
/// A disk with too little room, cancellation, logits that are not finite, and what the backend says. A failure leaves
/// no file.
pub fn save(
    path: &Path,
    reference: Subject<'_>,
    origin: &Origin,
    windows: &[Window],
    watch: &mut Watch<'_>,
) -> Result<u64> {
    let failed = |error| Error::io("write", path, error);
    let vocabulary = reference.backend.config().vocab_size;
    let header = header(origin, windows, vocabulary);
    let predictions: usize = windows.iter().map(Window::predictions).sum();
    let tokens: usize = windows.iter().map(|window| window.tokens.len()).sum();
    let bytes = (8 + header.len() + 8 * tokens + 24 * windows.len() + 4 * predictions * vocabulary) as u64;

    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    require_space(path, folder, bytes)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".edgewen-").suffix(".partial");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    write_front(&mut out, &header, windows).map_err(failed)?;

    watch.begin(windows);
    let mut rows = Rows::new(reference.backend);
    for (index, window) in windows.iter().enumerate() {
        rows.begin();
        for piece in rows::pieces(window) {
            let logits = rows.get(window, piece.clone(), watch)?;
            for (row, position) in logits.chunks_exact(vocabulary).zip(piece) {
                if row.iter().any(|logit| !logit.is_finite()) {
                    return Err(Error::not_finite(reference.name, index, position));
                }
                for logit in row {
                    out.write_all(&logit.to_le_bytes()).map_err(failed)?;
                }
            }
        }
    }
    rows.begin();
    out.flush().map_err(failed)?;
    drop(out);
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(bytes)
}

/// The header, padded so that the tensors behind it are aligned.
fn header(origin: &Origin, windows: &[Window], vocabulary: usize) -> Vec<u8> {
    let tokens: usize = windows.iter().map(|window| window.tokens.len()).sum();
    let predictions: usize = windows.iter().map(Window::predictions).sum();
    let tokens_end = 8 * tokens;
    let windows_end = tokens_end + 24 * windows.len();
    let logits_end = windows_end + 4 * predictions * vocabulary;
    let header = json!({
        "__metadata__": {
            "format": FORMAT,
            "model": json!(origin.model).to_string(),
            "data": json!(origin.data).to_string(),
            "protocol": origin.protocol.to_string(),
            "edgewen": env!("CARGO_PKG_VERSION"),
        },
        "tokens": {"dtype": "I64", "shape": [tokens], "data_offsets": [0, tokens_end]},
        "windows": {"dtype": "I64", "shape": [windows.len(), 3], "data_offsets": [tokens_end, windows_end]},
        "logits": {"dtype": "F32", "shape": [predictions, vocabulary], "data_offsets": [windows_end, logits_end]},
    });
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

fn write_front(out: &mut impl Write, header: &[u8], windows: &[Window]) -> io::Result<()> {
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header)?;
    for id in windows.iter().flat_map(|window| &window.tokens) {
        out.write_all(&i64::from(*id).to_le_bytes())?;
    }
    for window in windows {
        for value in [window.document, window.tokens.len(), window.scored] {
            out.write_all(&(value as i64).to_le_bytes())?;
        }
    }
    Ok(())
}

/// Fails if the disk has less than `bytes` left: better than after hours of computing.
#[cfg(unix)]
fn require_space(path: &Path, folder: &Path, bytes: u64) -> Result<()> {
    let stat = rustix::fs::statvfs(folder).map_err(|error| Error::io("write to", folder, error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if bytes <= free {
        return Ok(());
    }
    let problem = format!(
        "the logits take {:.1} GB and the disk has {:.1} GB left; measure fewer windows with --limit, or give the \
         reference itself",
        bytes as f64 / 1e9,
        free as f64 / 1e9
    );
    Err(Error::Data { path: path.to_owned(), place: "size".to_string(), problem })
}

/// Other systems do not say.
#[cfg(not(unix))]
fn require_space(_path: &Path, _folder: &Path, _bytes: u64) -> Result<()> {
    Ok(())
}
