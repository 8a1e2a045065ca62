//! The data folder, its keys and its escrow: made once, opened by one process at a time.

use std::path::Path;

/// Makes a folder for this user only, if it is not there.
pub(crate) fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists || !path.is_dir() => {
            Err(error)
        }
        _ => path.parent().map_or(Ok(()), crate::database::sync_folder),
    }
}
