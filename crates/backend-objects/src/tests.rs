//! Names, verdicts and classes of failure, and the port on a store that misbehaves.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use hearth_ports::{BlobKey, Blobs, StoreError};
use http::Method;
use object_store::client::HttpClient;
use proptest::prelude::*;

use crate::bucket::{Bucket, Credentials, Deadlines, OpenError};
use crate::fake::{Fake, Mishap, Shared};
use crate::keeping::{Keeping, Verdict};
use crate::names::Names;
use crate::wire::Refusal;
use crate::{MAX_BLOB_BYTES, S3Blobs};

fn key(text: &str) -> BlobKey {
    BlobKey::parse(text).expect("a key of the right form")
}

fn bucket() -> Bucket {
    Bucket {
        endpoint: "https://store.invalid/".to_owned(),
        region: "us-east-1".to_owned(),
        name: "bucket".to_owned(),
        prefix: "media".to_owned(),
        credentials: Credentials {
            access_key: "visible-nowhere".to_owned(),
            secret: "visible-nowhere".to_owned().into(),
        },
        roots: None,
        plain: false,
        allowed: [].into(),
        deadlines: Deadlines::default(),
    }
}

async fn open(fake: Fake, bucket: Bucket) -> (Result<S3Blobs, OpenError>, Arc<Fake>) {
    let fake = Arc::new(fake);
    let client = HttpClient::new(Shared(Arc::clone(&fake)));
    let opened = S3Blobs::open_on(bucket, client).await;
    fake.asked.lock().expect("what was asked").clear();
    (opened, fake)
}

async fn good() -> (S3Blobs, Arc<Fake>) {
    let (opened, fake) = open(Fake::default(), bucket()).await;
    (opened.expect("a bucket"), fake)
}

fn then(fake: &Fake, mishaps: impl IntoIterator<Item = Mishap>) {
    let mut next = fake.mishaps.lock().unwrap_or_else(PoisonError::into_inner);
    next.extend(mishaps);
}

fn asked(fake: &Fake, method: &Method) -> usize {
    let asked = fake.asked.lock().expect("what was asked");
    asked.iter().filter(|it| *it == method).count()
}

#[tokio::test]
async fn the_proof_leaves_nothing_behind() {
    let (_, fake) = good().await;
    assert!(fake.objects.lock().expect("objects").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_in_the_proof_is_tried_again() {
    let fake = Fake::default();
    then(&fake, [Mishap::DoneBut(500), Mishap::DoneAndLost]);
    let (opened, _) = open(fake, bucket()).await;
    assert!(opened.is_ok(), "{opened:?}");
    let fake = Fake::default();
    then(&fake, [Mishap::Refuse(500, "InternalError"); 1000]);
    let (opened, _) = open(fake, bucket()).await;
    let unavailable = matches!(opened, Err(OpenError::Unavailable(_)));
    assert!(unavailable, "{opened:?}");
}

#[tokio::test]
async fn a_store_that_overwrites_or_keeps_is_refused() {
    let overwrites = Fake {
        overwrites: true,
        ..Fake::default()
    };
    let (opened, fake) = open(overwrites, bucket()).await;
    assert!(
        matches!(opened, Err(OpenError::Overwrites(_))),
        "{opened:?}"
    );
    assert!(fake.objects.lock().expect("objects").is_empty());
    let keeps = Fake {
        keeps: true,
        ..Fake::default()
    };
    let (opened, _) = open(keeps, bucket()).await;
    assert!(
        matches!(opened, Err(OpenError::Overwrites(_))),
        "{opened:?}"
    );
}

#[tokio::test]
async fn versions_show_even_where_the_store_does_not_tell() {
    let silent = || Fake {
        versions: true,
        versioning: Some((501, "<Error><Code>NotImplemented</Code></Error>")),
        ..Fake::default()
    };
    let (opened, _) = open(silent(), bucket()).await;
    let versioning = Keeping::Versioning;
    assert!(
        matches!(opened, Err(OpenError::Keeps(it)) if it == versioning),
        "{opened:?}"
    );
    let allowed = Bucket {
        allowed: [versioning].into(),
        ..bucket()
    };
    let (opened, _) = open(silent(), allowed).await;
    assert!(opened.is_ok(), "{opened:?}");
}

#[tokio::test]
async fn what_cannot_be_told_is_refused() {
    for unclear in [
        (403, "<Error><Code>AccessDenied</Code></Error>"),
        (200, "<ListBucketResult/>"),
        (200, "not xml"),
    ] {
        let fake = Fake {
            versioning: Some(unclear),
            ..Fake::default()
        };
        let (opened, _) = open(fake, bucket()).await;
        assert!(
            matches!(opened, Err(OpenError::Unclear { .. })),
            "{opened:?}"
        );
    }
}

#[tokio::test]
async fn settings_that_never_work_are_refused() {
    let with = |change: fn(&mut Bucket)| {
        let mut bucket = bucket();
        change(&mut bucket);
        bucket
    };
    for bucket in [
        with(|it| it.prefix = String::new()),
        with(|it| it.prefix = "a".repeat(129)),
        with(|it| it.prefix = "Media".to_owned()),
        with(|it| it.endpoint = "http://store.invalid".to_owned()),
        with(|it| it.endpoint = "store.invalid".to_owned()),
        with(|it| it.name = "a/b".to_owned()),
    ] {
        let (opened, _) = open(Fake::default(), bucket).await;
        assert!(matches!(opened, Err(OpenError::Settings(_))), "{opened:?}");
    }
}

#[tokio::test]
async fn a_creation_is_sent_once_and_says_no_more_than_is_known() {
    let (blobs, fake) = good().await;
    for (number, mishap) in [
        Mishap::DoneBut(500),
        Mishap::DoneBut(502),
        Mishap::DoneBut(503),
        Mishap::DoneAndLost,
        Mishap::Refuse(500, "InternalError"),
    ]
    .into_iter()
    .enumerate()
    {
        then(&fake, [mishap]);
        let before = asked(&fake, &Method::PUT);
        let key = key(&format!("unknown/{number}"));
        let answer = blobs.create(&key, Bytes::from("x")).await;
        assert!(matches!(answer, Err(StoreError::Unknown(_))), "{answer:?}");
        assert_eq!(asked(&fake, &Method::PUT), before + 1, "{mishap:?}");
    }
    for (status, code) in [
        (503, "SlowDown"),
        (429, ""),
        (409, "ConditionalRequestConflict"),
        (403, "RequestTimeTooSkewed"),
        (404, "NoSuchBucket"),
        (400, "RequestTimeout"),
    ] {
        then(&fake, [Mishap::Refuse(status, code)]);
        let answer = blobs.create(&key("later"), Bytes::from("x")).await;
        assert!(
            matches!(answer, Err(StoreError::Retryable(_))),
            "{answer:?}"
        );
    }
    for (status, code) in [(400, "EntityTooLarge"), (501, "NotImplemented"), (301, "")] {
        then(&fake, [Mishap::Refuse(status, code)]);
        let answer = blobs.create(&key("never"), Bytes::from("x")).await;
        assert!(matches!(answer, Err(StoreError::Terminal(_))), "{answer:?}");
    }
    let great = Bytes::from(vec![0; MAX_BLOB_BYTES + 1]);
    let answer = blobs.create(&key("great"), great).await;
    assert!(matches!(answer, Err(StoreError::Terminal(_))), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_harmless_is_repeated_a_few_times() {
    let (blobs, fake) = good().await;
    let key = key("there");
    blobs.create(&key, Bytes::from("x")).await.expect("created");
    then(&fake, [Mishap::Refuse(500, ""), Mishap::DoneAndLost]);
    assert_eq!(blobs.length(&key).await.expect("a length"), 1);
    then(
        &fake,
        [Mishap::DoneAndLost, Mishap::Refuse(503, "SlowDown")],
    );
    blobs.delete(&key).await.expect("a deletion");
    assert!(matches!(
        blobs.length(&key).await,
        Err(StoreError::NotFound)
    ));
    then(&fake, [Mishap::Refuse(500, ""); 4]);
    let before = asked(&fake, &Method::HEAD);
    let answer = blobs.length(&key).await;
    assert!(
        matches!(answer, Err(StoreError::Retryable(_))),
        "{answer:?}"
    );
    assert_eq!(asked(&fake, &Method::HEAD), before + 4);
}

#[tokio::test]
async fn a_closed_store_answers_that_it_is() {
    let (blobs, _) = good().await;
    blobs.close();
    let created = blobs.create(&key("a"), Bytes::from("x")).await;
    assert!(matches!(created, Err(StoreError::Retryable(_))));
}

#[test]
fn verdicts_follow_the_table() {
    let refusal = |status, code: &str| Refusal {
        status,
        code: code.to_owned(),
    };
    for keeping in Keeping::ALL {
        assert_eq!(Keeping::named(keeping.name()), Some(keeping));
        for (status, code) in [
            (501, ""),
            (405, "MethodNotAllowed"),
            (400, "NotImplemented"),
        ] {
            let verdict = keeping.verdict(Err(&refusal(status, code)));
            assert_eq!(verdict, Verdict::NotOffered);
        }
        for (status, code) in [(404, ""), (404, "NoSuchBucket"), (403, "AccessDenied")] {
            let verdict = keeping.verdict(Err(&refusal(status, code)));
            assert!(matches!(verdict, Verdict::Unclear(_)), "{verdict:?}");
        }
    }
    let rule = b"<r:ReplicationConfiguration xmlns:r='s3'><r:Rule/></r:ReplicationConfiguration>";
    let replication = Keeping::Replication;
    assert_eq!(replication.verdict(Ok(rule)), Verdict::On);
    let none = refusal(404, "ReplicationConfigurationNotFoundError");
    assert_eq!(replication.verdict(Err(&none)), Verdict::Off);
    for (body, expected) in [
        ("<VersioningConfiguration/>", Verdict::Off),
        (
            "<VersioningConfiguration><Status></Status></VersioningConfiguration>",
            Verdict::Off,
        ),
        (
            "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
            Verdict::On,
        ),
    ] {
        assert_eq!(Keeping::Versioning.verdict(Ok(body.as_bytes())), expected);
    }
    let cut = Keeping::Versioning.verdict(Ok(b"<VersioningConfiguration>"));
    assert!(matches!(cut, Verdict::Unclear(_)), "{cut:?}");
}

#[test]
fn credentials_are_not_printed() {
    assert!(!format!("{:?}", bucket()).contains("visible-nowhere"));
}

fn keys() -> impl Strategy<Value = BlobKey> {
    let token = proptest::collection::vec(proptest::sample::select(vec!['a', 'b', '-', '0']), 1..4);
    proptest::collection::vec(token, 1..4).prop_map(|tokens| {
        let tokens: Vec<String> = tokens
            .into_iter()
            .map(|it| it.into_iter().collect())
            .collect();
        key(&tokens.join("/"))
    })
}

proptest! {
    /// Both orders that stores list in are that of the keys, and names lead back.
    #[test]
    fn names_keep_the_order(one in keys(), other in keys()) {
        let names = Names::below("root").expect("names");
        let (a, b) = (names.text(&one), names.text(&other));
        prop_assert_eq!(names.key(&a), Some(one.clone()));
        prop_assert_eq!(a.cmp(&b), one.cmp(&other));
        let folders = a.split('/').cmp(b.split('/'));
        prop_assert_eq!(folders, one.cmp(&other));
        prop_assert_eq!(names.of(&one).to_string(), a);
    }

    /// A key begins with a prefix exactly if its name begins with the prefix's.
    #[test]
    fn prefixes_are_prefixes(one in keys(), prefix in "[ab0/-]{0,4}") {
        let names = Names::below("root").expect("names");
        let found = names.prefix(&prefix).is_some_and(|it| names.text(&one).starts_with(&it));
        prop_assert_eq!(found, one.as_str().starts_with(&prefix));
    }
}

#[test]
fn what_is_not_ours_has_no_key() {
    let names = Names::below("root").expect("names");
    for name in [
        "root./a/b",
        "root./_proof-00",
        "root./a.",
        "other./a",
        "root./",
        "root./A",
    ] {
        assert_eq!(names.key(name), None, "{name}");
    }
}
