//! Tests of the folder's own: how keys become names, and listing in the order of the keys. The port's promises
//! are tested by the conformance suite.

use proptest::prelude::*;

use super::*;

fn key(text: &str) -> BlobKey {
    BlobKey::parse(text).unwrap()
}

#[tokio::test]
async fn what_a_crash_left_unfinished_goes_and_folders_go_with_their_last_object() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("blobs");
    let blobs = FolderBlobs::open(&root).unwrap();
    for name in ["a", "a/b", "a/b/c"] {
        blobs
            .create(&key(name), Bytes::from(name.to_owned()))
            .await
            .unwrap();
    }
    std::fs::write(root.join(UNFINISHED).join("17"), b"half").unwrap();
    let blobs = FolderBlobs::open(&root).unwrap();
    assert_eq!(std::fs::read_dir(root.join(UNFINISHED)).unwrap().count(), 0);
    assert_eq!(
        blobs.read(&key("a/b"), 0..9).await.unwrap(),
        Bytes::from("a/b")
    );
    for name in ["a/b/c", "a/b"] {
        blobs.delete(&key(name)).await.unwrap();
    }
    assert!(!root.join("a").exists());
    assert_eq!(blobs.length(&key("a")).await.unwrap(), 1);
}

fn keys() -> impl Strategy<Value = Vec<String>> {
    let token = prop_oneof![
        "[a-c0-]{1,2}",
        Just("a".repeat(200)),
        Just("a".repeat(201)),
        Just(format!("{}-b", "a".repeat(200))),
        Just("z".repeat(450)),
    ];
    let key = prop::collection::vec(token, 1..4).prop_map(|tokens| tokens.join("/"));
    prop::collection::vec(key, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn listing_gives_every_key_in_order(names in keys(), prefix in "[a0]{0,2}/?", limit in 1..5_usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = BTreeSet::new();
        let unfinished = folder.path().join("unfinished");
        let root = folder.path().join("blobs");
        std::fs::create_dir(&root).unwrap();
        for key in names.iter().filter_map(|name| BlobKey::parse(name)) {
            std::fs::write(&unfinished, b"x").unwrap();
            if link(&root, &unfinished, &path_of(&root, &key)).is_ok() {
                expected.insert(key);
            }
            std::fs::remove_file(&unfinished).unwrap();
        }
        prop_assert_eq!(expected.len(), names.iter().filter_map(|name| BlobKey::parse(name)).collect::<BTreeSet<_>>().len());
        let mut all = Vec::new();
        loop {
            let after = all.last().map(|key: &BlobKey| key.as_str().to_owned());
            let mut listing = Listing { prefix: &prefix, after: after.as_deref(), limit, found: BTreeSet::new() };
            listing.walk(&root, "").unwrap();
            let page: Vec<BlobKey> = listing.found.iter().filter_map(|key| BlobKey::parse(key)).collect();
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        let expected: Vec<BlobKey> =
            expected.into_iter().filter(|key| key.as_str().starts_with(&prefix)).collect();
        prop_assert_eq!(all, expected);
    }
}
