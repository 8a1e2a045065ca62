//! The files of an installation: how large, and of which format.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use hearth_backend_sqlite::Stores;
use serde_json::{Value, json};

use crate::ctl::output::Table;
use crate::installation::Folders;

/// How an SQLite file begins (sqlite.org/fileformat.html, section 1.3).
const SQLITE: &[u8] = b"SQLite format 3\0";
/// Where the format that its writer chose stands in it: `user_version`, 4 bytes, big-endian.
const USER_VERSION: usize = 60;
/// How a file of epoch keys begins; its format follows, 4 bytes, big-endian.
const KEYS: &[u8] = b"HRTHKEYS";
/// As much of a file as its format can stand in.
const HEAD: usize = 64;

/// Every file by its place, those of a folder inside one line; and its format where it says one.
pub(super) fn of(stores: &Stores, folders: &Folders) -> io::Result<Table> {
    let roots = [
        ("data", &folders.data),
        ("keys", &folders.keys),
        ("escrow", &folders.escrow),
    ];
    let mut places: BTreeMap<String, (u64, u64, Option<u32>)> = BTreeMap::new();
    for path in stores.files()? {
        let found = roots
            .iter()
            .find_map(|(name, root)| Some((name, path.strip_prefix(root).ok()?)));
        let Some((root, inside)) = found else {
            continue;
        };
        let mut parts = inside.components();
        let first = parts
            .next()
            .map(|part| part.as_os_str().to_string_lossy().into_owned());
        let first = first.unwrap_or_default();
        let deeper = parts.next().is_some();
        let place = format!("{root}/{first}{}", if deeper { "/" } else { "" });
        let metadata = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        let entry = places.entry(place).or_default();
        entry.0 += 1;
        entry.1 += metadata.len();
        entry.2 = entry.2.max(format_of(&path)?);
    }
    let rows = places.into_iter().map(|(place, (files, bytes, format))| {
        vec![
            json!(place),
            json!(files),
            json!(bytes),
            format.map_or(Value::Null, Value::from),
        ]
    });
    Ok(Table::of(&["place", "files", "bytes", "format"], rows))
}

/// The format that a file says it has.
fn format_of(path: &Path) -> io::Result<Option<u32>> {
    let mut head = Vec::with_capacity(HEAD);
    File::open(path)?.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(format_in(&head))
}

fn format_in(head: &[u8]) -> Option<u32> {
    let number = |at: usize| {
        let bytes = head.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    if head.starts_with(SQLITE) {
        return number(USER_VERSION);
    }
    if head.starts_with(KEYS) {
        return number(KEYS.len());
    }
    let text = std::str::from_utf8(head).ok()?;
    let second = text.strip_prefix("hearth data folder\n")?.lines().next()?;
    second.strip_prefix("format ")?.parse().ok()
}

/// Which of the folders lie on one file system: pairs of names.
pub(super) fn together(folders: &Folders) -> Vec<(&'static str, &'static str)> {
    let device = |path: &Path| std::fs::metadata(path).ok().map(|metadata| metadata.dev());
    let (data, keys) = (device(&folders.data), device(&folders.keys));
    let escrow = device(&folders.escrow);
    let mut pairs = Vec::new();
    if data.is_some() && data == keys {
        pairs.push(("data", "keys"));
    }
    if keys.is_some() && keys == escrow {
        pairs.push(("keys", "escrow"));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hearth_ports::SystemClock;

    use super::*;

    #[test]
    fn formats_are_read_from_heads() {
        let mut sqlite = [SQLITE, &[0; 48]].concat();
        sqlite[USER_VERSION..].copy_from_slice(&7_u32.to_be_bytes());
        assert_eq!(format_in(&sqlite), Some(7));
        assert_eq!(format_in(&[KEYS, &3_u32.to_be_bytes()].concat()), Some(3));
        assert_eq!(
            format_in(b"hearth data folder\nformat 12\ninstallation x"),
            Some(12)
        );
        for other in [
            &b""[..],
            SQLITE,
            KEYS,
            b"hearth data folder\n",
            b"hearth data folder\nformat x",
        ] {
            assert_eq!(format_in(other), None);
        }
    }

    #[tokio::test]
    async fn a_new_installation_has_files_with_formats() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::new(folder.path().join("data"), None, None);
        let stores = folders.open(Arc::new(SystemClock)).await.unwrap();
        stores.close();
        let table = crate::ctl::output::Shown::from(of(&stores, &folders).unwrap()).json();
        let rows = table.as_array().unwrap();
        let place = |name: &str| {
            rows.iter()
                .find(|row| row["place"] == name)
                .cloned()
                .unwrap()
        };
        assert_eq!(place("data/installation")["format"], json!(1));
        assert_eq!(place("keys/epochs.bin")["format"], json!(1));
        assert!(
            rows.iter()
                .any(|row| row["place"].as_str().unwrap().ends_with(".sqlite")
                    || row["place"].as_str().unwrap().ends_with(".db")),
            "{rows:?}"
        );
        assert_eq!(together(&folders).len(), 2);
    }
}
