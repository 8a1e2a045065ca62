//! Who else may write where the process keeps what is secret.
//!
//! Files are made for this user alone; in a folder that somebody else owns or may write to, they can still be taken away
//! and others put in their place: keys, or the authority that clients trust. A user of the same machine does that by
//! making the folder first, where anybody may make one.

use std::path::Path;

use crate::exit::Exit;

/// Refuses a folder of secrets that other users may write to. One that is not there yet will be made for this user.
///
/// # Errors
/// `Usage`, in one line that names the path and what to do.
pub fn refuse_shared(path: &Path) -> Result<(), Exit> {
    match shared(path) {
        Some(why) => Err(Exit::usage(format!(
            "{}: {why}: what is secret cannot lie there; make the folder your own with chown and chmod 700",
            path.display()
        ))),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn shared(path: &Path) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    // What cannot be looked at cannot be used either, and whoever uses it says so.
    let metadata = std::fs::metadata(path).ok()?;
    let (owner, me) = (metadata.uid(), rustix::process::geteuid());
    if metadata.mode() & 0o002 != 0 {
        return Some("every user of this machine may write to it");
    }
    // What root owns is the machine's; and root is trusted to know whose folder it uses.
    (owner != me.as_raw() && owner != 0 && !me.is_root()).then_some("it belongs to another user")
}

#[cfg(not(unix))]
const fn shared(_: &Path) -> Option<&'static str> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_anybody_may_write_to_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(refuse_shared(&folder.path().join("not there")).is_ok());
        for (mode, fits) in [
            (0o700, true),
            (0o755, true),
            (0o770, true),
            (0o777, false),
            (0o1777, false),
        ] {
            set_permissions(folder.path(), Permissions::from_mode(mode)).expect("mine");
            assert_eq!(refuse_shared(folder.path()).is_ok(), fits, "{mode:o}");
        }
    }
}
