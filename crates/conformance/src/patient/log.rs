//! The log, asked patiently: an unknown append is settled by reading the subject.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use hearth_ports::{
    Announcement, Expected, Log, Message, Position, Purge, Read, Removed, StoreError, Stream,
    Subject, Topic,
};

use super::{Patient, TRIES, again, exhausted};

impl<T: Log + ?Sized> Patient<T> {
    /// The position of an own message with these bytes, if it was stored under that expectation.
    ///
    /// It is the first that lies behind what was expected; where nothing was expected, any behind the
    /// stream's head at the time. A record that a rival has replaced since counts as not found: only its
    /// content can tell, and it is the content's business to remember whose writes it holds.
    async fn own(
        &self,
        subject: &Subject,
        expected: Expected,
        head: Option<Position>,
        bytes: &Bytes,
    ) -> Result<Option<Position>, StoreError> {
        let found: VecDeque<Message> = match expected {
            Expected::Subject(after) => self.load(subject, after, 1, Read::Leader).await?.into(),
            Expected::Stream(after) => {
                let after = after.unwrap_or(Position::START);
                self.page(subject.stream(), after, 1).await?.into()
            }
            Expected::Any => {
                let all = self.load(subject, head, usize::MAX, Read::Leader).await?;
                all.into_iter().filter(|m| m.bytes == *bytes).collect()
            }
        };
        Ok(found
            .front()
            .filter(|message| message.subject == *subject && message.bytes == *bytes)
            .map(|message| message.position))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Log + ?Sized> Log for Patient<T> {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        let head = match expected {
            Expected::Any => self.head(subject.stream()).await?,
            Expected::Subject(_) | Expected::Stream(_) => None,
        };
        let mut unsure = false;
        for _ in 0..TRIES {
            match self.inner.append(subject, expected, bytes.clone()).await {
                Err(StoreError::Retryable(_)) => {}
                Err(StoreError::Unknown(_)) => {
                    unsure = true;
                    if let Some(position) = self.own(subject, expected, head, &bytes).await? {
                        return Ok(position);
                    }
                }
                // After an unknown outcome, the message in the way may be the own one, landed late.
                Err(StoreError::Conflict) if unsure => {
                    let own = self.own(subject, expected, head, &bytes).await?;
                    return own.ok_or(StoreError::Conflict);
                }
                known => return known,
            }
            tokio::task::yield_now().await;
        }
        Err(exhausted())
    }

    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        read: Read,
    ) -> Result<Vec<Message>, StoreError> {
        again(|| self.inner.load(subject, after, limit, read)).await
    }

    async fn last(&self, subject: &Subject, read: Read) -> Result<Option<Message>, StoreError> {
        again(|| self.inner.last(subject, read)).await
    }

    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError> {
        again(|| self.inner.head(stream)).await
    }

    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError> {
        again(|| self.inner.newest(stream)).await
    }

    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        again(|| self.inner.page(stream, after, limit)).await
    }

    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>> {
        let inner = Arc::clone(&self.inner);
        let open = inner.tail(stream, after);
        unfold(
            (inner, open, after, 0),
            move |(inner, mut open, mut after, mut failures)| async move {
                loop {
                    match open.next().await {
                        Some(Ok(message)) => {
                            after = message.position;
                            return Some((Ok(message), (inner, open, after, 0)));
                        }
                        Some(Err(StoreError::Retryable(_))) | None if failures < TRIES => {
                            failures += 1;
                            tokio::task::yield_now().await;
                            open = inner.tail(stream, after);
                        }
                        Some(Err(error)) => {
                            return Some((Err(error), (inner, open, after, failures)));
                        }
                        None => return None,
                    }
                }
            },
        )
        .boxed()
    }

    async fn purge(
        &self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError> {
        again(|| self.inner.purge(subject, through, purge)).await
    }

    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError> {
        again(|| self.inner.remove(subject, position)).await
    }

    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError> {
        again(|| self.inner.trim(stream, before)).await
    }

    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError> {
        again(|| self.inner.announce(topic, bytes.clone())).await
    }

    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement> {
        self.inner.listen(topic)
    }
}
