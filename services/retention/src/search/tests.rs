//! Every marker is found once, wherever the reader cuts; the control is demanded.

use std::sync::Mutex;

use async_trait::async_trait;
use hearth_kernel::Timestamp;
use hearth_ports::StoreError;
use proptest::prelude::*;

use super::*;

/// Reads in pieces of given lengths.
struct Pieces<'a> {
    bytes: &'a [u8],
    lengths: Vec<usize>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let wanted = self.lengths.pop().unwrap_or(out.len()).max(1);
        let length = wanted.min(out.len()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(length);
        out[..length].copy_from_slice(now);
        self.bytes = later;
        Ok(length)
    }
}

fn all(scanner: &Scanner, reader: impl Read) -> (Vec<(usize, u64)>, u64) {
    let mut hits = Vec::new();
    let stop = AtomicBool::new(false);
    let bytes = scanner
        .scan(reader, &stop, |marker, at| hits.push((marker, at)))
        .unwrap();
    hits.sort_unstable();
    (hits, bytes)
}

/// Files that are texts.
struct Texts(Mutex<Vec<(StoredFile, Vec<u8>)>>);

#[async_trait]
impl StoredFiles for Texts {
    async fn scrub(&self, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    fn files(&self) -> io::Result<Vec<StoredFile>> {
        let files = self.0.lock().unwrap();
        Ok(files.iter().map(|(file, _)| file.clone()).collect())
    }

    fn open(&self, file: &StoredFile) -> io::Result<Box<dyn Read + Send>> {
        let files = self.0.lock().unwrap();
        let found = files.iter().find(|(it, _)| it == file);
        let (_, bytes) = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(bytes.clone())))
    }
}

fn texts(files: &[(&str, Holding, &[u8])]) -> Texts {
    let file = |(name, holds, bytes): &(&str, Holding, &[u8])| {
        let name = (*name).to_owned();
        (
            StoredFile {
                name,
                holds: *holds,
            },
            bytes.to_vec(),
        )
    };
    Texts(Mutex::new(files.iter().map(file).collect()))
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        bytes in prop::collection::vec(0u8..3, 0..400),
        lengths in prop::collection::vec(1usize..40, 0..60),
    ) {
        let markers = ["\u{0}\u{1}", "\u{1}\u{2}\u{0}\u{1}", "\u{2}\u{2}\u{2}"];
        let scanner = Scanner::new(&markers.map(Marker::text)).unwrap();
        let (hits, read) = all(&scanner, Pieces { bytes: &bytes, lengths });
        let mut expected = Vec::new();
        for (number, marker) in markers.iter().enumerate() {
            let places = bytes.windows(marker.len()).enumerate();
            expected.extend(places.filter(|(_, it)| *it == marker.as_bytes()).map(|(at, _)| (number, at as u64)));
        }
        expected.sort_unstable();
        prop_assert_eq!(hits, expected);
        prop_assert_eq!(read, bytes.len() as u64);
    }
}

#[test]
fn a_marker_on_the_border_of_two_buffers_is_found_once() {
    let scanner = Scanner::new(&[Marker::id([7; 16])]).unwrap();
    for at in (BUFFER - 20)..(BUFFER + 5) {
        let mut bytes = vec![0; 2 * BUFFER];
        bytes[at..at + 16].fill(7);
        let (hits, _) = all(&scanner, &bytes[..]);
        assert_eq!(hits, [(0, at as u64)]);
    }
}

#[test]
fn ids_are_found_in_every_spelling_and_in_names() {
    let id = *uuid::uuid!("0123456789abcdef0123456789abcdef").as_bytes();
    let files = texts(&[
        ("log.db", Holding::Log, &id),
        (
            "documents.db",
            Holding::Documents,
            b"x 01234567-89ab-cdef-0123-456789abcdef",
        ),
        (
            "blobs/0123456789abcdef0123456789abcdef/1",
            Holding::Blobs,
            b"sealed",
        ),
    ]);
    let report = search(&files, &[Marker::id(id)], &AtomicBool::new(false)).unwrap();
    let places: Vec<_> = report
        .hits
        .iter()
        .map(|hit| (hit.holds, hit.offset))
        .collect();
    assert_eq!(
        places,
        [
            (Holding::Log, 0),
            (Holding::Documents, 2),
            (Holding::Blobs, 0)
        ]
    );
    assert_eq!((report.files, report.count(0)), (3, 3));
}

#[test]
fn without_the_control_there_is_no_proof() {
    let markers = [Marker::text("anna"), Marker::text("never written")];
    let stop = AtomicBool::new(false);
    let files = texts(&[("log.db", Holding::Log, b"anna")]);
    let before = search(&files, &markers, &stop).unwrap();
    assert_eq!(Control::of(&before, 2).unwrap_err(), Void(vec![1]));
    let control = Control::of(&before, 1).unwrap();

    let after = search(
        &texts(&[("log.db", Holding::Log, b"----")]),
        &markers,
        &stop,
    )
    .unwrap();
    assert_eq!(control.prove(&after, |_, _| false).outside, 0);
    let left = control.prove(&before, |_, _| false);
    assert_eq!((left.before, left.residual, left.outside), (1, 0, 1));
    let listed = control.prove(&before, |_, holds| holds == Holding::Log);
    assert_eq!((listed.residual, listed.outside), (1, 0));
}

#[test]
fn it_stops_when_told() {
    let files = texts(&[("log.db", Holding::Log, b"anna")]);
    let stopped = search(&files, &[Marker::text("anna")], &AtomicBool::new(true));
    assert!(matches!(stopped, Err(SearchError::Stopped)));
}
