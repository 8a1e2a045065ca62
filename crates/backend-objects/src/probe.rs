//! The proof at the start that the store keeps to create-only writes and deletes what it is told to.
//!
//! Some stores that speak S3 take `If-None-Match` and write all the same, or check first and write then, so that
//! two writers at once both win. The proof finds the first for certain and the second with great likelihood.

use futures::future::join_all;
use hearth_ports::StoreError;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, PutResult};
use ring::rand::{SecureRandom, SystemRandom};

use crate::bucket::OpenError;
use crate::failure;
use crate::names::Names;

/// Writers at once.
const WRITERS: u8 = 4;
/// How often they race.
const RACES: usize = 3;

/// Proves it, with objects of no key that are deleted again; what a crash leaves of them is 1 byte each.
///
/// Answers whether the store gave versions to the objects, which is how versioning shows where it cannot be asked.
///
/// # Errors
/// `Overwrites` when it does not keep to it, `Unavailable` when that could not be found out.
pub(crate) async fn prove(store: &impl ObjectStore, names: &Names) -> Result<bool, OpenError> {
    let mut versions = false;
    for _ in 0..RACES {
        versions |= race(store, names).await?;
    }
    Ok(versions)
}

async fn race(store: &impl ObjectStore, names: &Names) -> Result<bool, OpenError> {
    let mut random = [0; 16];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| OpenError::Unavailable(StoreError::retryable("no random bytes")))?;
    let name = names.aside(&format!("proof-{}", hex::encode(random)));
    let raced = raced(store, &name).await;
    // Whatever came out: what was written goes.
    let gone = gone(store, &name).await;
    let versions = raced?;
    gone?;
    Ok(versions)
}

async fn raced(store: &impl ObjectStore, name: &Path) -> Result<bool, OpenError> {
    let answers = join_all((0..WRITERS).map(|writer| create(store, name, writer))).await;
    let mut won: Option<(u8, PutResult)> = None;
    for (writer, answer) in (0..WRITERS).zip(answers) {
        match answer {
            Ok(result) if won.is_none() => won = Some((writer, result)),
            Ok(_) => return Err(OpenError::Overwrites("two writers at once both won")),
            // `Retryable` is how S3 itself answers some of several writers at once.
            Err(StoreError::Conflict | StoreError::Retryable(_)) => {}
            Err(error) => return Err(OpenError::Unavailable(error)),
        }
    }
    let Some((winner, result)) = won else {
        let error = StoreError::retryable("of several writers of a new object none won");
        return Err(OpenError::Unavailable(error));
    };
    match create(store, name, WRITERS).await {
        Err(StoreError::Conflict) => {}
        Ok(_) => return Err(OpenError::Overwrites("an object was created twice")),
        Err(error) => return Err(OpenError::Unavailable(error)),
    }
    let there = match store.get(name).await {
        Ok(found) => found.bytes().await,
        Err(error) => Err(error),
    };
    let there = there.map_err(|error| OpenError::Unavailable(failure::repeatable(error)))?;
    if there.as_ref() != [winner] {
        return Err(OpenError::Overwrites("a refused creation was written"));
    }
    // A bucket whose versioning is suspended calls its versions "null".
    Ok(result.version.is_some_and(|it| it != "null"))
}

async fn create(
    store: &impl ObjectStore,
    name: &Path,
    writer: u8,
) -> Result<PutResult, StoreError> {
    let payload = PutPayload::from(vec![writer]);
    let created = store.put_opts(name, payload, PutMode::Create.into()).await;
    created.map_err(failure::creation)
}

async fn gone(store: &impl ObjectStore, name: &Path) -> Result<(), OpenError> {
    match store.delete(name).await.map_err(failure::repeatable) {
        Ok(()) | Err(StoreError::NotFound) => {}
        Err(error) => return Err(OpenError::Unavailable(error)),
    }
    match store.head(name).await.map_err(failure::repeatable) {
        Err(StoreError::NotFound) => Ok(()),
        Ok(_) => Err(OpenError::Overwrites("a deleted object is still there")),
        Err(error) => Err(OpenError::Unavailable(error)),
    }
}
