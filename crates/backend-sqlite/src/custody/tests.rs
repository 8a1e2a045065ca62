//! Tests of the files' own: every byte torn or flipped, every crash between two writes, both copies lost. The
//! port's promises are tested by the conformance suite.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use hearth_kernel::{AccountId, HomeId};
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;

struct Place {
    folder: TempDir,
    id: InstallationId,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
            id: InstallationId::from_bytes([5; 16]),
        };
        for folder in [place.keys(), place.escrow()] {
            crate::folder::make_private(&folder).unwrap();
        }
        create_epochs(&place.keys().join(EPOCHS), place.id).unwrap();
        create_escrow(&place.escrow(), place.id).unwrap();
        place
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn escrow(&self) -> PathBuf {
        self.folder.path().join("escrow")
    }

    fn open(&self) -> Result<FileCustody, CustodyError> {
        FileCustody::open(&self.keys(), &self.escrow(), self.id)
    }

    fn both(&self) -> [PathBuf; 2] {
        [self.keys().join(EPOCHS), self.escrow().join(EPOCHS)]
    }

    fn holds(&self, marker: &[u8]) -> bool {
        let rings = std::fs::read_dir(self.escrow().join(RINGS)).unwrap();
        let rings = rings.map(|entry| entry.unwrap().path());
        self.both().into_iter().chain(rings).any(|path| {
            let bytes = std::fs::read(path).unwrap();
            bytes.windows(marker.len()).any(|window| window == marker)
        })
    }
}

fn key(bucket: u8, epoch: u64) -> EpochKey {
    let byte = u8::try_from(epoch).unwrap() ^ bucket ^ 0xa0;
    EpochKey {
        bucket,
        epoch,
        key: Zeroizing::new([byte; 32]),
    }
}

async fn epochs(custody: &FileCustody) -> Vec<(u8, u64)> {
    let epochs = custody.epochs().await.unwrap();
    for one in &epochs {
        assert_eq!(one.key, key(one.bucket, one.epoch).key);
    }
    epochs.iter().map(|one| (one.bucket, one.epoch)).collect()
}

#[tokio::test]
async fn a_destroyed_key_is_in_neither_file_and_its_number_is_not_used_again() {
    let place = Place::new();
    let custody = place.open().unwrap();
    custody.store(&key(7, 1)).await.unwrap();
    custody.store(&key(7, 2)).await.unwrap();
    assert!(matches!(
        custody.store(&key(7, 3)).await,
        Err(StoreError::Conflict)
    ));
    assert!(place.holds(&key(7, 1).key[..]));
    custody.destroy(7, 1).await.unwrap();
    custody.destroy(7, 1).await.unwrap();
    assert!(!place.holds(&key(7, 1).key[..]));
    assert!(matches!(
        custody.store(&key(7, 1)).await,
        Err(StoreError::Conflict)
    ));
    custody.store(&key(7, 3)).await.unwrap();
    drop(custody);
    assert_eq!(epochs(&place.open().unwrap()).await, [(7, 3), (7, 2)]);
}

#[tokio::test]
async fn a_slot_that_is_torn_anywhere_in_one_file_is_healed_from_the_other() {
    for (torn, sound) in [(0, 1), (1, 0)] {
        for byte in 0..slots::SLOT_BYTES {
            let place = Place::new();
            {
                let custody = place.open().unwrap();
                custody.store(&key(0, 1)).await.unwrap();
                custody.store(&key(255, 9)).await.unwrap();
            }
            let files = place.both();
            let file = std::fs::File::options()
                .read(true)
                .write(true)
                .open(&files[torn])
                .unwrap();
            let mut there = [0];
            let at = 4096 + u64::try_from(byte).unwrap();
            file.read_exact_at(&mut there, at).unwrap();
            file.write_all_at(&[there[0] ^ 0x41], at).unwrap();
            drop(file);
            assert_eq!(epochs(&place.open().unwrap()).await, [(0, 1), (255, 9)]);
            assert_eq!(
                std::fs::read(&files[torn]).unwrap(),
                std::fs::read(&files[sound]).unwrap()
            );
        }
    }
}

#[tokio::test]
async fn a_file_that_was_cut_is_healed_and_a_cut_head_is_refused() {
    for torn in [0, 1] {
        for length in [4096, 4097, 4096 + 63, 4096 + 64, 36_863] {
            let place = Place::new();
            let custody = place.open().unwrap();
            custody.store(&key(0, 1)).await.unwrap();
            custody.store(&key(255, 9)).await.unwrap();
            drop(custody);
            let path = &place.both()[torn];
            std::fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(length)
                .unwrap();
            // Empty slots of the escrow are no proof that a torn key was never used, so those stay torn.
            let custody = place.open().unwrap();
            let found = custody.epochs().await;
            if torn == 1 {
                assert_eq!(found.unwrap().len(), 2, "{length}");
            } else {
                assert!(matches!(found, Err(StoreError::Terminal(_))), "{length}");
            }
        }
        let place = Place::new();
        let path = &place.both()[torn];
        for length in [59, 0] {
            std::fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(length)
                .unwrap();
            assert!(matches!(place.open(), Err(CustodyError::Damaged { .. })));
        }
        std::fs::remove_file(path).unwrap();
        let error = place.open().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{}: the keys of this data are missing", path.display())
        );
    }
}

#[tokio::test]
async fn a_slot_that_is_damaged_in_both_files_is_told_and_the_others_stay_of_use() {
    let place = Place::new();
    let custody = place.open().unwrap();
    custody.store(&key(3, 1)).await.unwrap();
    for path in place.both() {
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.write_all_at(&[9; 20], 4096 + 3 * 128 + 20).unwrap();
    }
    assert!(matches!(
        custody.epochs().await,
        Err(StoreError::Terminal(_))
    ));
    drop(custody);
    let custody = place.open().unwrap();
    custody.store(&key(4, 1)).await.unwrap();
    assert!(matches!(
        custody.store(&key(3, 2)).await,
        Err(StoreError::Terminal(_))
    ));
}

#[tokio::test]
async fn a_crash_between_the_two_files_finishes_what_was_begun() {
    let place = Place::new();
    let [keys, escrow] = place.both();
    let copy = |path: &PathBuf| std::fs::read(path).unwrap();
    let empty = copy(&keys);
    place.open().unwrap().store(&key(1, 1)).await.unwrap();
    let stored = copy(&keys);
    // A store that reached the escrow only.
    std::fs::write(&keys, &empty).unwrap();
    assert_eq!(epochs(&place.open().unwrap()).await, [(1, 1)]);
    assert_eq!(copy(&keys), stored);
    // A destruction that reached the keys only.
    place.open().unwrap().destroy(1, 1).await.unwrap();
    let destroyed = copy(&keys);
    std::fs::write(&escrow, &stored).unwrap();
    assert!(epochs(&place.open().unwrap()).await.is_empty());
    assert_eq!(copy(&escrow), destroyed);
    // An old copy of the keys that is put back revives nothing.
    std::fs::write(&keys, &stored).unwrap();
    assert!(epochs(&place.open().unwrap()).await.is_empty());
    // The next key in that place, begun in the escrow only.
    let custody = place.open().unwrap();
    custody.store(&key(1, 5)).await.unwrap();
    custody.store(&key(1, 6)).await.unwrap();
    drop(custody);
    std::fs::write(&keys, &destroyed).unwrap();
    assert_eq!(epochs(&place.open().unwrap()).await, [(1, 5), (1, 6)]);
}

#[test]
fn settling_never_revives_and_never_loses() {
    let live = |epoch| Slot::from(&key(0, epoch));
    let gone = |epoch| Slot::Destroyed { epoch };
    let all = [Slot::Empty, Slot::Torn, live(1), live(2), gone(1), gone(2)];
    for keys in &all {
        for escrow in &all {
            let settled = slots::settle(keys.clone(), escrow.clone());
            let (a, b) = match settled.clone() {
                Settled::Agreed(slot) => (slot.clone(), slot),
                Settled::HealKeys(slot) => {
                    assert_eq!(slot, *escrow);
                    (slot, escrow.clone())
                }
                Settled::HealEscrow(slot) => {
                    assert_eq!(slot, *keys);
                    (keys.clone(), slot)
                }
                Settled::Lost => continue,
            };
            assert_eq!(a, b, "{keys:?} {escrow:?}");
            assert_ne!(a, Slot::Torn);
            for (one, other) in [(keys, escrow), (escrow, keys)] {
                if let (Slot::Destroyed { epoch: dead }, Slot::Live { epoch, .. }) = (one, other) {
                    let lives = matches!(a, Slot::Live { .. });
                    assert_eq!(lives, epoch > dead, "{keys:?} {escrow:?}");
                }
            }
        }
    }
}

fn home(id: u8) -> Owner {
    Owner::Home(HomeId::from_bytes([id; 16]))
}

#[tokio::test]
async fn the_newest_ring_stays_and_the_ones_before_go() {
    let place = Place::new();
    let custody = place.open().unwrap();
    let person = Owner::Account(AccountId::from_bytes([1; 16]));
    custody.escrow_ring(person, 1, b"other").await.unwrap();
    for version in 1..=20_u64 {
        // Grows out of its file on the way.
        let ring =
            format!("ring-version-{version:04}-").repeat(usize::try_from(version).unwrap() * 40);
        custody
            .escrow_ring(home(1), version, ring.as_bytes())
            .await
            .unwrap();
        custody
            .escrow_ring(home(1), version - 1, b"older")
            .await
            .unwrap();
        let (found, bytes) = custody.escrowed_ring(home(1)).await.unwrap().unwrap();
        assert_eq!((found, bytes), (version, ring.into_bytes()));
        assert!(!place.holds(format!("ring-version-{:04}-", version - 1).as_bytes()));
    }
    drop(custody);
    let custody = place.open().unwrap();
    custody.remove_escrowed_ring(home(1)).await.unwrap();
    custody.remove_escrowed_ring(home(1)).await.unwrap();
    assert!(custody.escrowed_ring(home(1)).await.unwrap().is_none());
    assert!(!place.holds(b"ring-version-"));
    assert!(custody.escrowed_ring(person).await.unwrap().is_some());
}

#[tokio::test]
async fn a_ring_torn_anywhere_while_it_is_written_leaves_the_one_before() {
    let place = Place::new();
    let path = place
        .escrow()
        .join(RINGS)
        .join(home(2).token())
        .with_extension("ring");
    place
        .open()
        .unwrap()
        .escrow_ring(home(2), 1, b"first")
        .await
        .unwrap();
    let first = std::fs::read(&path).unwrap();
    place
        .open()
        .unwrap()
        .escrow_ring(home(2), 2, b"second")
        .await
        .unwrap();
    let second = std::fs::read(&path).unwrap();
    let half = first.len() / 2;
    for cut in 0..=72 {
        // What a power cut leaves: a beginning of the new ring in its place, the first still in its own.
        let mut torn = first.clone();
        torn[half..half + cut].copy_from_slice(&second[half..half + cut]);
        std::fs::write(&path, &torn).unwrap();
        let custody = place.open().unwrap();
        let (version, ring) = custody.escrowed_ring(home(2)).await.unwrap().unwrap();
        let whole = cut >= 64 + b"second".len();
        let expected: (u64, &[u8]) = if whole { (2, b"second") } else { (1, b"first") };
        assert_eq!((version, &ring[..]), expected, "{cut}");
        custody.escrow_ring(home(2), 3, b"third").await.unwrap();
        assert_eq!(
            custody.escrowed_ring(home(2)).await.unwrap().unwrap().1,
            b"third"
        );
    }
}

#[tokio::test]
async fn a_crash_while_a_ring_moves_to_a_greater_file_is_finished() {
    let place = Place::new();
    let ring = place
        .escrow()
        .join(RINGS)
        .join(home(3).token())
        .with_extension("ring");
    place
        .open()
        .unwrap()
        .escrow_ring(home(3), 1, b"living-ring")
        .await
        .unwrap();
    let (old, new) = (ring.with_extension("old"), ring.with_extension("new"));
    // Before the greater file took the name: the second name is the ring itself.
    std::fs::write(&new, b"half").unwrap();
    std::fs::hard_link(&ring, &old).unwrap();
    let found = place.open().unwrap().escrowed_ring(home(3)).await.unwrap();
    assert_eq!(found.unwrap().1, b"living-ring");
    assert!(!new.exists() && !old.exists());
    // After it.
    std::fs::write(&old, b"replaced-ring").unwrap();
    place.open().unwrap();
    assert!(!old.exists());
}
