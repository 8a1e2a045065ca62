//! The suite of documents: the greatest stamp wins in any order, and ranges are what they say.

use std::future::Future;

use bytes::Bytes;
use hearth_ports::{Document, Documents, Range, StoreError, Table};
use tokio::task::JoinSet;

use crate::instance::within;
use crate::{Instance, Random};

/// What backends may differ in: nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {}

suite! { $
    /// Every case of documents that needs no reopening.
    suite, documents_conformance, documents, dyn Documents:
    what_is_put_is_got,
    tables_partitions_and_keys_are_apart,
    the_greatest_stamp_wins,
    a_delete_wins_over_a_later_arriving_older_put,
    at_equal_stamps_a_delete_wins_and_then_the_greater_value,
    writes_in_any_order_end_the_same,
    concurrent_writes_end_with_the_greatest,
    ranges_ascend_and_descend,
    ranges_have_bounds_and_limits,
    a_range_of_ten_thousand_and_not_one_more,
    keys_are_bytes,
    sizes_are_bounded,
    a_dropped_partition_is_dropped_as_of_its_stamp,
    a_partition_dropped_in_any_order_ends_the_same,
    partitions_are_listed_by_pages,
}

suite! { $
    /// The cases of documents that outlive the store: instances must know how to be reopened.
    persistence, documents_persistence, documents, dyn Documents:
    reopening_keeps_documents_and_deletes,
}

const TABLE: Table = Table("conformance_things");
const OTHER: Table = Table("conformance_others");

async fn put(documents: &dyn Documents, key: &str, stamp: i64, value: &str) {
    put_in(documents, "p", key, stamp, value).await;
}

async fn put_in(documents: &dyn Documents, partition: &str, key: &str, stamp: i64, value: &str) {
    let value = Bytes::from(value.to_owned());
    let (partition, key) = (partition.as_bytes(), key.as_bytes());
    within(documents.put(TABLE, partition, key, stamp, value))
        .await
        .expect("a put");
}

async fn delete(documents: &dyn Documents, key: &str, stamp: i64) {
    within(documents.delete(TABLE, b"p", key.as_bytes(), stamp))
        .await
        .expect("a delete");
}

async fn drop_partition(documents: &dyn Documents, partition: &str, stamp: i64) {
    within(documents.drop_partition(TABLE, partition.as_bytes(), stamp))
        .await
        .expect("a drop");
}

/// Stamp and value of the document.
async fn get(documents: &dyn Documents, key: &str) -> Option<(i64, String)> {
    within(documents.get(TABLE, b"p", key.as_bytes()))
        .await
        .expect("a get")
        .map(|document| {
            assert_eq!(document.key, key.as_bytes());
            (document.stamp, text(&document.value))
        })
}

async fn range(documents: &dyn Documents, range: Range) -> Vec<Document> {
    within(documents.range(TABLE, b"p", range))
        .await
        .expect("a range")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn keys(documents: &[Document]) -> Vec<String> {
    documents
        .iter()
        .map(|document| text(&document.key))
        .collect()
}

#[track_caller]
fn assert_terminal<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(
        matches!(answer, Err(StoreError::Terminal(_))),
        "expected a refusal for good, got {answer:?}"
    );
}

/// A put is read back; what was never put, and what was deleted, is not there.
pub async fn what_is_put_is_got(instance: Instance<dyn Documents>, _: Capabilities) {
    let documents = instance.store();
    assert_eq!(get(&*documents, "a").await, None);
    assert_eq!(range(&*documents, Range::all(10)).await, []);
    put(&*documents, "a", 1, "one").await;
    assert_eq!(get(&*documents, "a").await, Some((1, "one".into())));
    put(&*documents, "a", 2, "").await;
    assert_eq!(get(&*documents, "a").await, Some((2, String::new())));
    delete(&*documents, "a", 3).await;
    assert_eq!(get(&*documents, "a").await, None);
    put(&*documents, "a", 4, "again").await;
    assert_eq!(get(&*documents, "a").await, Some((4, "again".into())));
    delete(&*documents, "never there", 9).await;
}

/// The same key in another table or partition is another document.
pub async fn tables_partitions_and_keys_are_apart(
    instance: Instance<dyn Documents>,
    _: Capabilities,
) {
    let documents = instance.store();
    // Joined without a separator, all of these would be one.
    let places = [
        (TABLE, "p", "qr"),
        (TABLE, "pq", "r"),
        (OTHER, "p", "qr"),
        (OTHER, "pq", "r"),
    ];
    for (stamp, (table, partition, key)) in (1..).zip(places) {
        let value = Bytes::from(format!("{stamp}"));
        let (partition, key) = (partition.as_bytes(), key.as_bytes());
        let put = within(documents.put(table, partition, key, stamp, value)).await;
        put.expect("a put");
    }
    for (stamp, (table, partition, key)) in (1..).zip(places) {
        let got = within(documents.get(table, partition.as_bytes(), key.as_bytes())).await;
        let got = got.expect("a get").expect("a document");
        assert_eq!((got.stamp, text(&got.value)), (stamp, stamp.to_string()));
        let all = within(documents.range(table, partition.as_bytes(), Range::all(10))).await;
        assert_eq!(all.expect("a range"), [got]);
    }
    drop_partition(&*documents, "p", 100).await;
    let other = within(documents.get(OTHER, b"p", b"qr"))
        .await
        .expect("a get");
    assert!(other.is_some(), "a dropped partition took another table's");
}

/// Of two puts the one with the greater stamp stays, whichever comes first; also for negative stamps.
pub async fn the_greatest_stamp_wins(instance: Instance<dyn Documents>, _: Capabilities) {
    let documents = instance.store();
    for (key, first, second) in [("a", 1, 2), ("b", 2, 1), ("c", -5, 5), ("d", 0, -1)] {
        put(&*documents, key, first, &first.to_string()).await;
        put(&*documents, key, second, &second.to_string()).await;
        let greatest: i64 = first.max(second);
        assert_eq!(
            get(&*documents, key).await,
            Some((greatest, greatest.to_string()))
        );
    }
    let greatest = (1 << 62) + 1;
    put(&*documents, "e", greatest - 1, "old").await;
    put(&*documents, "e", greatest, "new").await;
    put(&*documents, "e", greatest - 1, "older").await;
    assert_eq!(get(&*documents, "e").await, Some((greatest, "new".into())));
}

/// A delete is a write: an older put that arrives after it stays deleted, a newer one does not.
pub async fn a_delete_wins_over_a_later_arriving_older_put(
    instance: Instance<dyn Documents>,
    _: Capabilities,
) {
    let documents = instance.store();
    delete(&*documents, "a", 5).await;
    put(&*documents, "a", 4, "late").await;
    assert_eq!(get(&*documents, "a").await, None);
    assert_eq!(range(&*documents, Range::all(10)).await, []);
    put(&*documents, "a", 6, "new").await;
    assert_eq!(get(&*documents, "a").await, Some((6, "new".into())));
    delete(&*documents, "a", 5).await;
    assert_eq!(get(&*documents, "a").await, Some((6, "new".into())));
}

/// At equal stamps a delete wins over a put, and of two puts the greater value, in any order.
pub async fn at_equal_stamps_a_delete_wins_and_then_the_greater_value(
    instance: Instance<dyn Documents>,
    _: Capabilities,
) {
    let documents = instance.store();
    put(&*documents, "a", 1, "put first").await;
    delete(&*documents, "a", 1).await;
    delete(&*documents, "b", 1).await;
    put(&*documents, "b", 1, "put last").await;
    assert_eq!(get(&*documents, "a").await, None);
    assert_eq!(get(&*documents, "b").await, None);
    for (key, first, second) in [
        ("c", "x", "y"),
        ("d", "y", "x"),
        ("e", "x", "xa"),
        ("f", "y", "xa"),
    ] {
        put(&*documents, key, 1, first).await;
        put(&*documents, key, 1, second).await;
        let greater = first.max(second);
        assert_eq!(get(&*documents, key).await, Some((1, greater.into())));
    }
}

/// The same writes, each perhaps twice, in random orders: always the same documents.
pub async fn writes_in_any_order_end_the_same(instance: Instance<dyn Documents>, _: Capabilities) {
    let documents = instance.store();
    let mut random = Random::fresh("writes_in_any_order_end_the_same");
    let mut writes: Vec<(i64, Option<&str>)> = vec![
        (1, Some("one")),
        (2, Some("two")),
        (2, Some("also two")),
        (3, None),
        (4, Some("four")),
        (5, Some("five")),
        (5, Some("fifth")),
    ];
    let mut ends = vec![(
        "ends with a put".to_owned(),
        Some((5, "five".to_owned())),
        writes.clone(),
    )];
    writes.push((5, None));
    ends.push(("ends with a delete".to_owned(), None, writes));
    for (name, end, writes) in ends {
        for round in 0..20 {
            let mut order: Vec<_> = writes.iter().chain(&writes).copied().collect();
            random.shuffle(&mut order);
            let key = format!("{name} {round}");
            for (stamp, value) in &order {
                match value {
                    Some(value) => put(&*documents, &key, *stamp, value).await,
                    None => delete(&*documents, &key, *stamp).await,
                }
            }
            assert_eq!(get(&*documents, &key).await, end, "after {order:?}");
        }
    }
}

/// Many writers at once: the greatest stamp stays, and every key of a partition is there.
pub async fn concurrent_writes_end_with_the_greatest(
    instance: Instance<dyn Documents>,
    _: Capabilities,
) {
    let documents = instance.store();
    let mut writers = JoinSet::new();
    for writer in 0..4_i64 {
        let documents = instance.store();
        writers.spawn(async move {
            for number in 0..25 {
                let stamp = number * 4 + writer;
                put(&*documents, "shared", stamp, &stamp.to_string()).await;
                put(&*documents, &format!("own {writer} {number}"), 1, "own").await;
            }
        });
    }
    within(writers.join_all()).await;
    assert_eq!(get(&*documents, "shared").await, Some((99, "99".into())));
    assert_eq!(range(&*documents, Range::all(1000)).await.len(), 101);
}

/// Keys come in the order of their bytes, or in the opposite one.
pub async fn ranges_ascend_and_descend(instance: Instance<dyn Documents>, _: Capabilities) {
    let documents = instance.store();
    let mut random = Random::fresh("ranges_ascend_and_descend");
    let sorted = ["", "A", "a", "a\0", "aa", "ab", "b", "\u{e9}"];
    let mut order = sorted;
    random.shuffle(&mut order);
    for key in order {
        put(&*documents, key, 1, key).await;
    }
    let ascending = range(&*documents, Range::all(100)).await;
    assert_eq!(keys(&ascending), sorted);
    assert!(
        ascending
            .iter()
            .all(|document| document.key == *document.value)
    );
    let backwards = Range {
        descending: true,
        ..Range::all(100)
    };
    let mut descending = range(&*documents, backwards).await;
    descending.reverse();
    assert_eq!(descending, ascending);
}

/// From, until, descending, limit; and the keys that such a range gives.
type Wanted = (
    Option<&'static str>,
    Option<&'static str>,
    bool,
    usize,
    &'static [&'static str],
);

/// From is included, until is excluded, a limit counts from the side that the range begins at.
pub async fn ranges_have_bounds_and_limits(instance: Instance<dyn Documents>, _: Capabilities) {
    let documents = instance.store();
    for key in ["a", "b", "c", "d", "e"] {
        put(&*documents, key, 1, "there").await;
    }
    delete(&*documents, "c", 2).await;
    put_in(&*documents, "p2", "b2", 1, "another partition").await;
    let cases: [Wanted; 12] = [
        (None, None, false, 100, &["a", "b", "d", "e"]),
        (None, None, false, 3, &["a", "b", "d"]),
        (None, None, true, 3, &["e", "d", "b"]),
        (Some("b"), None, false, 100, &["b", "d", "e"]),
        (Some("b\0"), None, false, 100, &["d", "e"]),
        (None, Some("d"), false, 100, &["a", "b"]),
        (None, Some("d\0"), true, 100, &["d", "b", "a"]),
        (Some("b"), Some("e"), false, 100, &["b", "d"]),
        (Some("b"), Some("e"), true, 1, &["d"]),
        (Some("c"), Some("c\0"), false, 100, &[]),
        (Some("d"), Some("d"), false, 100, &[]),
        (Some("e"), Some("a"), true, 100, &[]),
    ];
    for (from, until, descending, limit, expected) in cases {
        let wanted = Range {
            from: from.map(|key| key.as_bytes().to_vec()),
            until: until.map(|key| key.as_bytes().to_vec()),
            descending,
            limit,
        };
        let got = range(&*documents, wanted.clone()).await;
        assert_eq!(keys(&got), expected, "{wanted:?}");
    }
}

/// A range gives up to 10,000 documents; a greater limit, and none, is refused for good.
pub async fn a_range_of_ten_thousand_and_not_one_more(
    instance: Instance<dyn Documents>,
    _: Capabilities,
) {
    let documents = instance.store();
    let mut writers = JoinSet::new();
    for writer in 0..20 {
        let documents = instance.store();
        writers.spawn(async move {
            for number in 0..501 {
                put(&*documents, &format!("{writer:02}/{number:03}"), 1, "").await;
            }
        });
    }
    within(writers.join_all()).await;
    let all = range(&*documents, Range::all(10_000)).await;
    assert_eq!(all.len(), 10_000);
    assert_eq!(keys(&all).first().map(String::as_str), Some("00/000"));
    assert_eq!(keys(&all).last().map(String::as_str), Some("19/480"));
    for limit in [0, 10_001, usize::MAX] {
        assert_terminal(within(documents.range(TABLE, b"p", Range::all(limit))).await);
    }
}

/// Partitions, keys and values are bytes, not text.
pub async fn keys_are_bytes(instance: Instance<dyn Documents>, _: Capabilities) {
    let documents = instance.store();
    for byte in [0, 1, 0x7f, 0x80, 0xff] {
        let (partition, key) = ([byte, 0], [0, byte]);
        let value = Bytes::from(vec![byte; 3]);
        let put = within(documents.put(TABLE, &partition, &key, 1, value.clone())).await;
        put.expect("a put");
        let got = within(documents.get(TABLE, &partition, &key))
            .await
            .expect("a get");
        assert_eq!(got.map(|document| document.value), Some(value));
        let all = within(documents.range(TABLE, &partition, Range::all(10))).await;
        assert_eq!(all.expect("a range").len(), 1);
    }
}

/// A key of 1 KiB and a value of 1 MiB are kept; more is refused for good, and changes nothing.
pub async fn sizes_are_bounded(instance: Instance<dyn Documents>, _: Capabilities) {
    let documents = instance.store();
    let (most, more) = (vec![b'k'; 1 << 10], vec![b'k'; (1 << 10) + 1]);
    let value = Bytes::from(vec![b'v'; 1 << 20]);
    let put = within(documents.put(TABLE, &most, &most, 1, value.clone())).await;
    put.expect("the greatest document");
    let got = within(documents.get(TABLE, &most, &most))
        .await
        .expect("a get");
    assert!(
        got.is_some_and(|document| document.value == value),
        "it differs"
    );
    let small = Bytes::from("v");
    let over = Bytes::from(vec![b'v'; (1 << 20) + 1]);
    assert_terminal(within(documents.put(TABLE, &most, b"k", 2, over)).await);
    assert_terminal(within(documents.put(TABLE, &more, b"k", 2, small.clone())).await);
    assert_terminal(within(documents.put(TABLE, b"p", &more, 2, small)).await);
    assert_terminal(within(documents.delete(TABLE, b"p", &more, 2)).await);
    assert_terminal(within(documents.drop_partition(TABLE, &more, 2)).await);
    let all = within(documents.range(TABLE, &most, Range::all(10))).await;
    assert_eq!(all.expect("a range").len(), 1);
}

/// What has that stamp or an older one goes, also when it arrives later; what is newer stays.
pub async fn a_dropped_partition_is_dropped_as_of_its_stamp(
    instance: Instance<dyn Documents>,
    _: Capabilities,
) {
    let documents = instance.store();
    for (key, stamp) in [("a", 1), ("b", 5), ("c", 6)] {
        put(&*documents, key, stamp, "there").await;
        put_in(&*documents, "other", key, stamp, "there").await;
    }
    for _ in 0..2 {
        drop_partition(&*documents, "p", 5).await;
        assert_eq!(keys(&range(&*documents, Range::all(10)).await), ["c"]);
    }
    put(&*documents, "late", 5, "late").await;
    put(&*documents, "new", 6, "new").await;
    drop_partition(&*documents, "p", 3).await;
    assert_eq!(
        keys(&range(&*documents, Range::all(10)).await),
        ["c", "new"]
    );
    assert_eq!(get(&*documents, "late").await, None);
    let other = within(documents.range(TABLE, b"other", Range::all(10))).await;
    assert_eq!(keys(&other.expect("a range")), ["a", "b", "c"]);
}

/// Puts, deletes and drops of one partition in random orders: always the same documents.
pub async fn a_partition_dropped_in_any_order_ends_the_same(
    instance: Instance<dyn Documents>,
    _: Capabilities,
) {
    let documents = instance.store();
    let mut random = Random::fresh("a_partition_dropped_in_any_order_ends_the_same");
    for round in 0..20 {
        let partition = format!("round {round}");
        let mut order: Vec<i64> = (0..=12).collect();
        random.shuffle(&mut order);
        for stamp in &order {
            match stamp {
                0 | 4 | 7 => drop_partition(&*documents, &partition, *stamp).await,
                12 => {
                    let deleted = documents.delete(TABLE, partition.as_bytes(), b"11", 12);
                    within(deleted).await.expect("a delete");
                }
                stamp => put_in(&*documents, &partition, &stamp.to_string(), *stamp, "there").await,
            }
        }
        let left = within(documents.range(TABLE, partition.as_bytes(), Range::all(100))).await;
        assert_eq!(
            keys(&left.expect("a range")),
            ["10", "8", "9"],
            "after {order:?}"
        );
    }
}

/// Every partition that has a document is listed exactly once, by pages of any size.
pub async fn partitions_are_listed_by_pages(instance: Instance<dyn Documents>, _: Capabilities) {
    let documents = instance.store();
    for number in 0..20 {
        put_in(&*documents, &format!("{number:02}"), "a", 1, "there").await;
        put_in(&*documents, &format!("{number:02}"), "b", 1, "there").await;
    }
    drop_partition(&*documents, "07", 1).await;
    drop_partition(&*documents, "never there", 1).await;
    let other = within(documents.put(OTHER, b"other", b"a", 1, Bytes::from("there"))).await;
    other.expect("a put");
    for limit in [1, 7, 19, 100] {
        let mut listed: Vec<Vec<u8>> = Vec::new();
        loop {
            let after = listed.last().cloned();
            let page = within(documents.partitions(TABLE, after, limit)).await;
            let page = page.expect("a page");
            assert!(page.len() <= limit, "{} of {limit}", page.len());
            if page.is_empty() {
                break;
            }
            listed.extend(page);
            assert!(listed.len() < 20, "pages overlap, by {limit}");
        }
        listed.sort();
        let listed: Vec<String> = listed.iter().map(|key| text(key)).collect();
        let expected: Vec<String> = (0..20)
            .filter(|n| *n != 7)
            .map(|n| format!("{n:02}"))
            .collect();
        assert_eq!(listed, expected, "by {limit}");
    }
}

/// Documents are there after reopening, and deletes still beat what is older.
pub async fn reopening_keeps_documents_and_deletes(
    mut instance: Instance<dyn Documents>,
    _: Capabilities,
) {
    let documents = instance.store();
    put(&*documents, "kept", 7, "kept").await;
    delete(&*documents, "deleted", 7).await;
    put_in(&*documents, "dropped", "a", 1, "there").await;
    drop_partition(&*documents, "dropped", 7).await;
    drop(documents);
    instance.reopen().await;
    let documents = instance.store();
    put(&*documents, "kept", 6, "older").await;
    put(&*documents, "deleted", 6, "older").await;
    put_in(&*documents, "dropped", "a", 6, "older").await;
    assert_eq!(get(&*documents, "kept").await, Some((7, "kept".into())));
    assert_eq!(get(&*documents, "deleted").await, None);
    let dropped = within(documents.range(TABLE, b"dropped", Range::all(10))).await;
    assert_eq!(dropped.expect("a range"), []);
}
