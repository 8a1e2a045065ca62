//! The suite of blobs: written once, read by range, listed by pages.

use std::future::Future;

use bytes::Bytes;
use hearth_ports::{BlobKey, Blobs, StoreError};
use tokio::task::JoinSet;

use crate::Instance;
use crate::instance::within;

/// What backends may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether creating the same bytes again conflicts. Behind a caller that repeats calls they may count as
    /// its own.
    pub refuses_same_bytes: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            refuses_same_bytes: true,
        }
    }
}

impl Capabilities {
    /// The same, behind a caller that repeats calls.
    #[must_use]
    pub const fn repeated(mut self) -> Self {
        self.refuses_same_bytes = false;
        self
    }
}

suite! { $
    /// Every case of blobs that needs no reopening.
    suite, blobs_conformance, blobs, dyn Blobs:
    an_object_is_created_once,
    of_two_creators_one_wins,
    ranges_end_where_the_object_ends,
    what_is_not_there_is_not_found,
    a_deleted_object_is_gone,
    objects_of_nothing_and_of_megabytes,
    keys_are_listed_by_pages,
    a_key_may_begin_like_another,
}

suite! { $
    /// The cases of blobs that outlive the store: instances must know how to be reopened.
    persistence, blobs_persistence, blobs, dyn Blobs:
    reopening_keeps_objects,
}

fn key(text: &str) -> BlobKey {
    BlobKey::parse(text).expect("a key of the right form")
}

async fn create(blobs: &dyn Blobs, name: &str, bytes: &'static [u8]) {
    within(blobs.create(&key(name), Bytes::from_static(bytes)))
        .await
        .expect("a new object");
}

async fn whole(blobs: &dyn Blobs, name: &str) -> Bytes {
    within(blobs.read(&key(name), 0..u64::MAX))
        .await
        .expect("an object")
}

async fn list(blobs: &dyn Blobs, prefix: &str, limit: usize) -> Vec<String> {
    let mut keys: Vec<BlobKey> = Vec::new();
    loop {
        let page = within(blobs.list(prefix, keys.last(), limit)).await;
        let page = page.expect("a page");
        assert!(page.len() <= limit, "{} of {limit}", page.len());
        if page.is_empty() {
            return keys.iter().map(ToString::to_string).collect();
        }
        assert!(
            keys.last() < page.first(),
            "a page begins behind the one before"
        );
        keys.extend(page);
    }
}

/// A second creation conflicts, even with the same bytes, and changes nothing.
pub async fn an_object_is_created_once(instance: Instance<dyn Blobs>, can: Capabilities) {
    let blobs = instance.store();
    create(&*blobs, "a/b", b"first").await;
    let same = can.refuses_same_bytes.then_some(&b"first"[..]);
    for bytes in [&b"second"[..], b"x"].into_iter().chain(same) {
        let again = within(blobs.create(&key("a/b"), Bytes::from_static(bytes))).await;
        assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
    }
    assert_eq!(whole(&*blobs, "a/b").await, "first");
    assert_eq!(
        within(blobs.length(&key("a/b"))).await.expect("a length"),
        5
    );
}

/// Of two creations at once one is stored, whole.
pub async fn of_two_creators_one_wins(instance: Instance<dyn Blobs>, _: Capabilities) {
    for round in 0..10 {
        let name = format!("race/{round}");
        let mut creators = JoinSet::new();
        for creator in 0..2_u8 {
            let (blobs, name) = (instance.store(), name.clone());
            creators.spawn(async move {
                let bytes = Bytes::from(vec![creator; 10_000]);
                (blobs.create(&key(&name), bytes).await, creator)
            });
        }
        let mut winners = Vec::new();
        for (answer, creator) in within(creators.join_all()).await {
            match answer {
                Ok(()) => winners.push(creator),
                Err(StoreError::Conflict) => {}
                Err(error) => panic!("neither won nor lost: {error:?}"),
            }
        }
        let [winner] = winners[..] else {
            panic!("one winner expected, got {winners:?}");
        };
        let stored = whole(&*instance.store(), &name).await;
        assert!(stored == vec![winner; 10_000], "not the winner's bytes");
    }
}

/// A range beyond the end is shorter, and one that begins there is empty.
pub async fn ranges_end_where_the_object_ends(instance: Instance<dyn Blobs>, _: Capabilities) {
    let blobs = instance.store();
    create(&*blobs, "a", b"0123456789").await;
    for (range, expected) in [
        (0..10, "0123456789"),
        (0..1, "0"),
        (3..6, "345"),
        (9..10, "9"),
        (7..100, "789"),
        (0..u64::MAX, "0123456789"),
        (4..4, ""),
        (10..11, ""),
        (100..200, ""),
    ] {
        let read = within(blobs.read(&key("a"), range.clone())).await;
        assert_eq!(read.expect("a range"), expected, "{range:?}");
    }
}

/// Length and reading of an object that is not there.
pub async fn what_is_not_there_is_not_found(instance: Instance<dyn Blobs>, _: Capabilities) {
    let blobs = instance.store();
    create(&*blobs, "there/too", b"x").await;
    for name in ["never", "there", "there/too/deep"] {
        let length = within(blobs.length(&key(name))).await;
        assert!(matches!(length, Err(StoreError::NotFound)), "{length:?}");
        let read = within(blobs.read(&key(name), 0..1)).await;
        assert!(matches!(read, Err(StoreError::NotFound)), "{read:?}");
    }
}

/// Deleting removes it from reads and lists, is repeatable, and touches no other.
pub async fn a_deleted_object_is_gone(instance: Instance<dyn Blobs>, _: Capabilities) {
    let blobs = instance.store();
    create(&*blobs, "a/1", b"one").await;
    create(&*blobs, "a/2", b"two").await;
    for _ in 0..2 {
        within(blobs.delete(&key("a/1"))).await.expect("a delete");
        let length = within(blobs.length(&key("a/1"))).await;
        assert!(matches!(length, Err(StoreError::NotFound)), "{length:?}");
        assert_eq!(list(&*blobs, "", 10).await, ["a/2"]);
    }
    assert_eq!(whole(&*blobs, "a/2").await, "two");
}

/// An empty object is an object, and one of 9 MiB (a segment and its headers) comes back whole.
pub async fn objects_of_nothing_and_of_megabytes(instance: Instance<dyn Blobs>, _: Capabilities) {
    let blobs = instance.store();
    create(&*blobs, "empty", b"").await;
    assert_eq!(
        within(blobs.length(&key("empty"))).await.expect("a length"),
        0
    );
    assert_eq!(whole(&*blobs, "empty").await, "");
    let segment: Vec<u8> = (0..=250).cycle().take(9 << 20).collect();
    let segment = Bytes::from(segment);
    let created = within(blobs.create(&key("segment"), segment.clone())).await;
    created.expect("a new object");
    assert!(whole(&*blobs, "segment").await == segment, "it differs");
    let middle = within(blobs.read(&key("segment"), 5_000_000..5_065_536)).await;
    assert!(
        middle.expect("a range") == segment[5_000_000..5_065_536],
        "it differs"
    );
}

/// Every key with the prefix is listed exactly once, in order, by pages of any size.
pub async fn keys_are_listed_by_pages(instance: Instance<dyn Blobs>, _: Capabilities) {
    let blobs = instance.store();
    assert_eq!(list(&*blobs, "", 10).await, [""; 0]);
    for number in (0..20).rev() {
        create(&*blobs, &format!("media/{number:02}/segment"), b"x").await;
        create(&*blobs, &format!("mediation-{number:02}"), b"x").await;
    }
    let segments: Vec<String> = (0..20).map(|n| format!("media/{n:02}/segment")).collect();
    for limit in [1, 7, 20, 100] {
        assert_eq!(list(&*blobs, "media/", limit).await, segments);
        assert_eq!(list(&*blobs, "media/1", limit).await, segments[10..]);
        assert_eq!(list(&*blobs, "", limit).await.len(), 40);
        assert_eq!(list(&*blobs, "none", limit).await, [""; 0]);
    }
}

/// The order of keys is that of their bytes, where `-` comes before `/`.
pub async fn a_key_may_begin_like_another(instance: Instance<dyn Blobs>, _: Capabilities) {
    let blobs = instance.store();
    let names = ["a-b/c", "a/b", "a/b-c", "a0", "ab"];
    for name in names {
        create(&*blobs, name, b"x").await;
    }
    assert_eq!(list(&*blobs, "", 2).await, names);
    assert_eq!(list(&*blobs, "a/b", 1).await, ["a/b", "a/b-c"]);
}

/// Objects are there after reopening, and stay created.
pub async fn reopening_keeps_objects(mut instance: Instance<dyn Blobs>, _: Capabilities) {
    let blobs = instance.store();
    create(&*blobs, "kept", b"kept").await;
    create(&*blobs, "deleted", b"deleted").await;
    within(blobs.delete(&key("deleted")))
        .await
        .expect("a delete");
    drop(blobs);
    instance.reopen().await;
    let blobs = instance.store();
    assert_eq!(list(&*blobs, "", 10).await, ["kept"]);
    assert_eq!(whole(&*blobs, "kept").await, "kept");
    let again = within(blobs.create(&key("kept"), Bytes::from("x"))).await;
    assert!(matches!(again, Err(StoreError::Conflict)), "{again:?}");
}
