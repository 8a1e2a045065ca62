//! Tests of making and opening an installation: every step may be the last, and nothing strange is taken over.

use std::os::unix::fs::PermissionsExt;

use hearth_ports::ManualClock;
use tempfile::TempDir;

use super::*;

struct Place {
    root: TempDir,
    folders: Folders,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let folders = Folders {
            data: at("data"),
            keys: at("data.keys"),
            escrow: at("far/away/escrow"),
        };
        Self { root, folders }
    }

    fn open_with(&self, step: Steps<'_>) -> Result<Stores, OpenError> {
        let clock = ManualClock::new(Timestamp::from_seconds(2_000_000_000));
        open(&self.folders, Arc::new(clock), step)
    }

    fn open(&self) -> Result<Stores, OpenError> {
        self.open_with(&mut |_| Ok(()))
    }

    fn message(&self) -> String {
        let message = self.open().unwrap_err().to_string();
        let root = format!("{}/", self.root.path().display());
        message.replace(&root, "")
    }
}

const STEPS: [Step; 7] = [
    Step::Folders,
    Step::Lock,
    Step::Begin,
    Step::Keys,
    Step::Escrow,
    Step::Stores,
    Step::Finish,
];

#[test]
fn a_first_start_that_ends_at_any_step_is_finished_by_the_next() {
    for last in STEPS {
        for second in STEPS {
            let place = Place::new();
            for end in [last, second] {
                let ended = place.open_with(&mut |step| {
                    if step == end {
                        Err(OpenError::Stopped)
                    } else {
                        Ok(())
                    }
                });
                // A step that is done is not done again, and then the start goes through.
                let passed = end == second && second <= last && ended.is_ok();
                assert!(
                    passed || matches!(ended, Err(OpenError::Stopped)),
                    "{end:?}"
                );
            }
            let id = place.open().unwrap().installation;
            assert_eq!(
                place.open().unwrap().installation,
                id,
                "{last:?} {second:?}"
            );
        }
    }
}

#[test]
fn what_a_crash_inside_a_step_leaves_is_no_hindrance() {
    let place = Place::new();
    place
        .open_with(&mut |step| {
            if step == Step::Keys {
                Err(OpenError::Stopped)
            } else {
                Ok(())
            }
        })
        .unwrap_err();
    std::fs::write(place.folders.keys.join("epochs.unfinished"), b"half").unwrap();
    std::fs::write(place.folders.data.join(HALF), b"half").unwrap();
    // A database without its schema.
    std::fs::write(place.folders.data.join("log.db"), b"").unwrap();
    place.open().unwrap();
}

#[test]
fn two_processes_do_not_share_it() {
    let place = Place::new();
    let stores = place.open().unwrap();
    assert_eq!(
        place.message(),
        "data: another process has this data folder open"
    );
    drop(stores);
    place.open().unwrap();
}

#[test]
fn folders_inside_one_another_are_refused_by_whatever_links() {
    let inside = |data: &str, keys: &str, escrow: &str| {
        let mut place = Place::new();
        let root = place.root.path().to_owned();
        std::fs::create_dir_all(root.join("real/deep")).unwrap();
        std::os::unix::fs::symlink(root.join("real"), root.join("link")).unwrap();
        place.folders = Folders {
            data: root.join(data),
            keys: root.join(keys),
            escrow: root.join(escrow),
        };
        matches!(place.open(), Err(OpenError::Inside { .. }))
    };
    assert!(inside("a", "a/keys", "e"));
    assert!(inside("a", "k", "a"));
    assert!(inside("a/b/c", "k", "a/b"));
    assert!(inside("real/deep", "link/deep/keys", "e"));
    assert!(inside("link", "real", "e"));
    assert!(inside("a", "k", "real/../a/e"));
    assert!(!inside("a", "a.keys", "a.escrow"));
    assert!(!inside("link/a", "real/b", "real/deep"));
}

#[test]
fn foreign_missing_and_newer_parts_are_refused_by_name() {
    let (place, other) = (Place::new(), Place::new());
    let id = place.open().unwrap().installation;
    let other_id = other.open().unwrap().installation;
    let swap = |name: &str| {
        let aside = place.root.path().join("aside");
        let there = place.root.path().join(name);
        std::fs::rename(&there, &aside).unwrap();
        std::fs::rename(other.root.path().join(name), &there).unwrap();
        let message = place.message();
        std::fs::rename(&there, other.root.path().join(name)).unwrap();
        std::fs::rename(&aside, &there).unwrap();
        message
    };
    let foreign = format!("these keys belong to another installation, {other_id}");
    assert_eq!(
        swap("data.keys"),
        format!("data.keys/epochs.bin: {foreign}")
    );
    assert_eq!(
        swap("far/away/escrow"),
        format!("far/away/escrow/epochs.bin: {foreign}")
    );
    // Data that are gone or new do not get the keys of others.
    let data = &place.folders.data;
    let aside = place.root.path().join("aside");
    std::fs::rename(data, &aside).unwrap();
    let message = format!("data.keys/epochs.bin: these keys belong to another installation, {id}");
    assert_eq!(place.message(), message);
    std::fs::remove_dir_all(data).unwrap();
    std::fs::rename(&aside, data).unwrap();
    // Keys or escrow that are gone.
    for name in ["data.keys", "far/away/escrow"] {
        let there = place.root.path().join(name);
        std::fs::rename(&there, &aside).unwrap();
        assert_eq!(
            place.message(),
            format!("{name}/epochs.bin: the keys of this data are missing")
        );
        assert!(!there.exists());
        std::fs::rename(&aside, &there).unwrap();
    }
    assert_eq!(place.open().unwrap().installation, id);
    let text = format!("{TITLE}\nformat 2\ninstallation {id}\n");
    std::fs::write(data.join(INSTALLATION), text).unwrap();
    assert_eq!(
        place.message(),
        "data/installation: written by a newer version, format 2"
    );
    std::fs::write(data.join(INSTALLATION), "something").unwrap();
    assert_eq!(
        place.message(),
        "data/installation: the file that names the installation is damaged"
    );
}

#[test]
fn a_file_of_another_format_is_refused_by_name_and_left_as_it_is() {
    let place = Place::new();
    drop(place.open().unwrap());
    let path = place.folders.data.join("series.db");
    let form = |format: i32| {
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.pragma_update(None, "user_version", format).unwrap();
    };
    form(1);
    let old = std::fs::read(&path).unwrap();
    let message =
        "data/series.db: written by an older version, format 1, which this one does not read";
    assert_eq!(place.message(), message);
    assert_eq!(std::fs::read(&path).unwrap(), old);
    form(3);
    let message = "data/series.db: written by a newer version, format 3";
    assert_eq!(place.message(), message);
    form(2);
    assert!(place.open().is_ok());
}

#[test]
fn what_is_in_the_way_is_named() {
    let place = Place::new();
    std::fs::create_dir(&place.folders.data).unwrap();
    std::fs::write(place.folders.data.join("letter.txt"), b"dear").unwrap();
    let message = "data/letter.txt: no installation is here, and this is in the way of a new one";
    assert_eq!(place.message(), message);
    std::fs::remove_dir_all(&place.folders.data).unwrap();
    std::fs::write(&place.folders.data, b"a file").unwrap();
    assert_eq!(place.message(), "data: cannot be opened: not a directory");
}

#[tokio::test]
async fn all_files_are_listed_and_are_for_this_user_only() {
    let place = Place::new();
    let stores = place.open().unwrap();
    stores.scrub().await.unwrap();
    let files = stores.files().unwrap();
    for name in [
        "data/installation",
        "data/log.db",
        "data/documents.db",
        "data/series.db",
        "data.keys/epochs.bin",
        "far/away/escrow/epochs.bin",
    ] {
        assert!(files.contains(&place.root.path().join(name)), "{name}");
    }
    for file in &files {
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
    let page_bytes = |name: &str| {
        let head = std::fs::read(place.folders.data.join(name)).unwrap();
        u16::from_be_bytes([head[16], head[17]])
    };
    assert_eq!(page_bytes("series.db"), 4096);
    assert_eq!(page_bytes("log.db"), 4096);
}

#[tokio::test]
async fn a_search_reads_each_wal_before_its_database_and_waits_for_no_socket() {
    let place = Place::new();
    let stores = place.open().unwrap();
    let _socket =
        std::os::unix::net::UnixListener::bind(place.folders.data.join("admin.sock")).unwrap();
    let files = stores.files().unwrap();
    let at = |name: &str| files.iter().position(|it| it.ends_with(name));
    for name in ["log.db", "documents.db", "series.db"] {
        // A checkpoint between the two would hide what it moves.
        assert!(
            at(&format!("{name}-wal")).unwrap() < at(name).unwrap(),
            "{name}"
        );
    }
    assert_eq!(at("admin.sock"), None);
}
