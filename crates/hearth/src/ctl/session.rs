//! The file that keeps a person signed in between commands: only she may read it.
//!
//! It holds tokens of one server, and is never shown to another one. It is replaced whole and synced before new
//! tokens are used, so that a crash leaves the old tokens or the new ones.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hearth_client::app::{Registration, Session, SessionStore};
use hearth_kernel::Secret;
use serde::{Deserialize, Serialize};

/// What the file holds.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    /// The server that all of it belongs to.
    server: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Kept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration: Option<Pending>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    account_id: String,
    session_id: String,
    access_token: String,
    refresh_token: String,
    /// In hexadecimal.
    changes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Pending {
    registration_id: String,
    /// In hexadecimal.
    client_secret: String,
}

/// The session file of one server.
#[derive(Clone, Debug)]
pub(crate) struct SessionFile {
    path: PathBuf,
    server: String,
}

impl SessionFile {
    pub(crate) const fn new(path: PathBuf, server: String) -> Self {
        Self { path, server }
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The registration that waits for its code, if there is one.
    pub(crate) fn registration(&self) -> io::Result<Option<Registration>> {
        let Some(pending) = self.read()?.registration else {
            return Ok(None);
        };
        Ok(Some(Registration {
            registration_id: pending.registration_id,
            client_secret: Secret::new(unhex(&pending.client_secret)?),
        }))
    }

    /// Keeps a registration, beside the session.
    pub(crate) fn keep_registration(&self, registration: Option<&Registration>) -> io::Result<()> {
        let mut content = self.read()?;
        content.registration = registration.map(|it| Pending {
            registration_id: it.registration_id.clone(),
            client_secret: hex::encode(it.client_secret.expose()),
        });
        self.write(&content)
    }

    /// What it holds for this server; nothing when it is not there or belongs to another one.
    fn read(&self) -> io::Result<Content> {
        let nothing = || Content {
            server: self.server.clone(),
            ..Content::default()
        };
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(nothing()),
            other => other?,
        };
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            let line = "others may read it; make it private: chmod 600";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, line));
        }
        let content: Content =
            serde_json::from_reader(io::BufReader::new(file)).map_err(damaged)?;
        Ok(if content.server == self.server {
            content
        } else {
            nothing()
        })
    }

    fn write(&self, content: &Content) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(content).map_err(damaged)?;
        write_private(&self.path, &bytes)
    }
}

impl SessionStore for SessionFile {
    fn load(&self) -> io::Result<Option<Session>> {
        let Some(kept) = self.read()?.session else {
            return Ok(None);
        };
        let changes = kept
            .changes
            .iter()
            .map(|change| unhex(change).map(Bytes::from));
        Ok(Some(Session {
            changes: changes.collect::<io::Result<_>>()?,
            account_id: kept.account_id,
            session_id: kept.session_id,
            access_token: kept.access_token.into(),
            refresh_token: kept.refresh_token.into(),
        }))
    }

    fn save(&self, session: &Session) -> io::Result<()> {
        let text = |secret: &Secret| secret.expose_text().unwrap_or_default().to_owned();
        let mut content = self.read()?;
        content.session = Some(Kept {
            account_id: session.account_id.clone(),
            session_id: session.session_id.clone(),
            access_token: text(&session.access_token),
            refresh_token: text(&session.refresh_token),
            changes: session.changes.iter().map(hex::encode).collect(),
        });
        self.write(&content)
    }

    fn clear(&self) -> io::Result<()> {
        let mut content = self.read()?;
        content.session = None;
        self.write(&content)
    }
}

/// Writes a file that only this user may read, whole or not at all, and makes its folder.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    // One name per process, so that two of them never write into one file.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = folder.join(name);
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let renamed = written.and_then(|()| std::fs::rename(&new, path));
    if renamed.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    renamed?;
    File::open(folder)?.sync_all()
}

fn unhex(text: &str) -> io::Result<Vec<u8>> {
    hex::decode(text).map_err(damaged)
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            account_id: "a".repeat(32),
            session_id: "b".repeat(32),
            access_token: Secret::from("access"),
            refresh_token: Secret::from("refresh"),
            changes: vec![Bytes::from_static(&[1, 2])],
        }
    }

    fn file(folder: &tempfile::TempDir) -> SessionFile {
        SessionFile::new(
            folder.path().join("deep/er/session.json"),
            "http://a".to_owned(),
        )
    }

    #[test]
    fn it_is_kept_private_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        assert_eq!(file.load().unwrap(), None);
        file.save(&session()).unwrap();
        assert_eq!(file.load().unwrap(), Some(session()));
        let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let beside = std::fs::read_dir(file.path().parent().unwrap()).unwrap();
        assert_eq!(beside.count(), 1, "nothing is left beside it");
        file.clear().unwrap();
        assert_eq!(file.load().unwrap(), None);
    }

    #[test]
    fn a_registration_stands_beside_the_session() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        let registration = Registration {
            registration_id: "c".repeat(32),
            client_secret: Secret::new(vec![7; 32]),
        };
        file.keep_registration(Some(&registration)).unwrap();
        file.save(&session()).unwrap();
        assert_eq!(file.registration().unwrap(), Some(registration));
        file.keep_registration(None).unwrap();
        assert_eq!(file.registration().unwrap(), None);
        assert_eq!(file.load().unwrap(), Some(session()));
    }

    #[test]
    fn tokens_of_one_server_are_not_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        file.save(&session()).unwrap();
        let other = SessionFile::new(file.path().to_owned(), "http://b".to_owned());
        assert_eq!(other.load().unwrap(), None);
    }

    #[test]
    fn a_file_that_others_may_read_or_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        file.save(&session()).unwrap();
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(file.path(), open).unwrap();
        assert_eq!(
            file.load().unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        write_private(file.path(), b"{").unwrap();
        assert_eq!(file.load().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
