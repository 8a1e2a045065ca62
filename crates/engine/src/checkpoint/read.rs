//! Reading checkpoints: for who makes the next one, and for who verifies them all.

use bytes::Bytes;
use hearth_kernel::Service;
use hearth_ports::{Documents, Family, Log, Message, Position, Range, Read, StoreError, Subject};
use prost::Message as _;

use super::head::{Head, Kept, Leaf, Page};
use super::tree::Hash;
use super::{KIND, TABLE};
use crate::envelope::Commit;

/// Heads per page.
const HEADS: usize = 256;
/// Pages of leaves per read; each is below 64 KiB.
const PAGES: usize = 32;
/// The key of the row that names the newest head.
const NEWEST: &[u8] = b"newest";

/// The subject that holds a service's checkpoints.
#[must_use]
pub fn subject(service: Service) -> Subject {
    let id = uuid::Uuid::from_u128(1);
    let reference = hearth_kernel::AggregateRef::new(service, KIND, id);
    Subject::aggregate(Family::Evt, &reference)
}

/// Whether a subject holds checkpoints and no history of its own.
#[must_use]
pub fn is_checkpoints(subject: &Subject) -> bool {
    subject.kind() == KIND
}

/// The partition of a checkpoint's leaves.
pub(super) fn partition(service: Service, number: u64) -> Vec<u8> {
    format!("{service}.{number:020}").into_bytes()
}

/// The key of a page of leaves. The root is in it: what another try at the same checkpoint wrote does not disturb.
pub(super) fn page_key(root: &Hash, page: u32) -> Vec<u8> {
    [root.as_slice(), &page.to_be_bytes()].concat()
}

/// The stored checkpoints of a service after a position, oldest first; a page of them, empty at the end.
///
/// # Errors
/// When the log does not answer.
pub async fn heads(
    log: &dyn Log,
    service: Service,
    after: Option<Position>,
) -> Result<Vec<Message>, StoreError> {
    log.load(&subject(service), after, HEADS, Read::Leader)
        .await
}

/// The newest stored checkpoint: its message, and what is in it.
pub(super) async fn newest(
    log: &dyn Log,
    service: Service,
) -> Result<Option<(Message, Option<(Commit, Head)>)>, StoreError> {
    let last = log.last(&subject(service), Read::Leader).await?;
    Ok(last.map(|message| {
        let commit = Commit::read(&message.bytes).ok();
        let head = commit.and_then(|commit| Head::of(&commit).ok().map(|head| (commit, head)));
        (message, head)
    }))
}

/// The leaves of a checkpoint, in their order; `None` when what is stored cannot be read. That they are those of the
/// root is for the caller to see.
///
/// # Errors
/// When the documents do not answer.
pub async fn leaves(
    documents: &dyn Documents,
    service: Service,
    number: u64,
    root: &Hash,
) -> Result<Option<Vec<Leaf>>, StoreError> {
    let partition = partition(service, number);
    let (mut from, mut leaves) = (page_key(root, 0), Vec::new());
    let mut until = page_key(root, u32::MAX);
    until.push(0);
    loop {
        let range = Range {
            from: Some(from),
            until: Some(until.clone()),
            descending: false,
            limit: PAGES,
        };
        let rows = documents.range(TABLE, &partition, range).await?;
        let Some(last) = rows.last() else {
            return Ok(Some(leaves));
        };
        from = last.key.clone();
        // The next key in order.
        from.push(0);
        for row in &rows {
            match Page::decode(row.value.clone()) {
                Ok(page) => leaves.extend(page.leaves),
                Err(_) => return Ok(None),
            }
        }
    }
}

/// The newest checkpoint as the documents name it, which are another store than the log.
///
/// # Errors
/// When the documents do not answer.
pub async fn noted(
    documents: &dyn Documents,
    service: Service,
) -> Result<Option<Kept>, StoreError> {
    let row = documents
        .get(TABLE, service.name().as_bytes(), NEWEST)
        .await?;
    Ok(row.and_then(|row| std::str::from_utf8(&row.value).ok()?.parse().ok()))
}

/// Notes the newest checkpoint, behind its append: so what is noted and is not in the log was taken out of it.
pub(super) async fn note(
    documents: &dyn Documents,
    kept: Kept,
    position: Position,
) -> Result<(), StoreError> {
    let partition = kept.service.name().as_bytes();
    let value = Bytes::from(kept.to_string());
    documents
        .put(TABLE, partition, NEWEST, position.stamp(), value)
        .await
}
