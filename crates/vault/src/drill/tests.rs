//! What the drill opens, and what it no longer can.

use std::sync::Arc;

use hearth_kernel::{Owner, Purpose, Service};
use hearth_ports::{KeyCustody, Log};

use super::*;
use crate::trial::{ANNA, BEN, event, trial};

async fn drill(log: &dyn Log, custody: &dyn KeyCustody) -> Drill {
    Drill::new(log, custody).await.expect("memory answers")
}

fn texts(drill: &Drill, bytes: &[u8]) -> Vec<(Owner, usize, bool)> {
    let mut found = Vec::new();
    drill.open(bytes, |guess| {
        let holds = guess.clear.windows(7).any(|window| window == b"planted");
        found.push((guess.owner, guess.at, holds));
    });
    found
}

#[tokio::test]
async fn it_opens_what_lost_its_place_and_nothing_that_was_erased() {
    let trial = trial().await;
    let accounts = trial.vault.handle(Service::Accounts);
    let seal = |owner, text: &'static [u8]| {
        let accounts = Arc::clone(&accounts);
        async move {
            let sealed = accounts
                .seal(owner, Purpose::Profile, &event(1, 0), text)
                .await;
            sealed.expect("sealed")
        }
    };
    let (annas, bens) = (
        seal(ANNA, b"planted by anna").await,
        seal(BEN, b"planted by ben").await,
    );
    // As in a file: noise before, another value behind, and the last one torn off.
    let file = [b"noise".as_slice(), &annas, &bens[..40]].concat();
    let copy = trial.memory.fork();

    let before = drill(&*trial.memory.log, &*trial.memory.custody).await;
    assert!(before.keys_of(ANNA) >= 1 && before.keys() > before.keys_of(ANNA));
    let second = 5 + annas.len();
    assert_eq!(
        texts(&before, &file),
        [(ANNA, 5, true), (BEN, second, true)]
    );
    assert!(
        texts(&before, &file[6..20]).is_empty(),
        "half an id is none"
    );

    trial.vault.shred(ANNA).await.expect("fenced");
    let rotated = trial.vault.rotate(bucket_of(ANNA)).await.expect("rotated");
    assert!(rotated.unfinished.is_empty());
    let after = drill(&*trial.memory.log, &*trial.memory.custody).await;
    assert_eq!(after.keys_of(ANNA), 0);
    assert_eq!(texts(&after, &file), [(BEN, second, true)]);

    // The log of before, beside the keys of after, does not give hers back; the keys of before do.
    let beside = drill(&*copy.log, &*trial.memory.custody).await;
    assert_eq!(beside.keys_of(ANNA), 0);
    assert!(beside.closed().contains(&ANNA));
    let theirs = drill(&*copy.log, &*copy.custody).await;
    assert_eq!(texts(&theirs, &file).len(), 2);
}
