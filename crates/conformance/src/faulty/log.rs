//! The log behind faults: appends that fail before, after, or land late, and tails that are cut.

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use hearth_ports::{
    Announcement, Expected, Log, Message, Position, Purge, Read, Removed, StoreError, Stream,
    Subject, Topic,
};

use super::{Fault, Faulty, LateAppend, failed_after, failed_before, lock};

impl<T: Log + ?Sized> Faulty<T> {
    /// What was under way arrives now. Whether it is still wanted, its expectation decides.
    async fn land(&self) {
        let landing = std::mem::take(&mut *lock(&self.late));
        for append in landing {
            drop(
                self.inner
                    .append(&append.subject, append.expected, append.bytes)
                    .await,
            );
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Log + ?Sized> Log for Faulty<T> {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        self.land().await;
        match self.faults.next() {
            Fault::None => {}
            Fault::Delay(period) => self.faults.clock.sleep(period).await,
            Fault::Before => return Err(failed_before()),
            // Without an expectation, a late message and its repetition would both stay.
            Fault::Late if expected != Expected::Any => {
                lock(&self.late).push(LateAppend {
                    subject: subject.clone(),
                    expected,
                    bytes,
                });
                return Err(failed_after());
            }
            Fault::After | Fault::Late => {
                drop(self.inner.append(subject, expected, bytes).await);
                return Err(failed_after());
            }
        }
        self.inner.append(subject, expected, bytes).await
    }

    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        read: Read,
    ) -> Result<Vec<Message>, StoreError> {
        self.read(self.inner.load(subject, after, limit, read))
            .await
    }

    async fn last(&self, subject: &Subject, read: Read) -> Result<Option<Message>, StoreError> {
        self.read(self.inner.last(subject, read)).await
    }

    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError> {
        self.read(self.inner.head(stream)).await
    }

    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError> {
        self.read(self.inner.newest(stream)).await
    }

    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.read(self.inner.page(stream, after, limit)).await
    }

    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>> {
        let faults = std::sync::Arc::clone(&self.faults);
        let open = Some((self.inner.tail(stream, after), faults));
        unfold(open, |open| async move {
            let (mut tail, faults) = open?;
            let item = tail.next().await?;
            if faults.cuts() {
                return Some((Err(failed_before()), None));
            }
            Some((item, Some((tail, faults))))
        })
        .boxed()
    }

    async fn purge(
        &self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError> {
        self.write(self.inner.purge(subject, through, purge)).await
    }

    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError> {
        self.write(self.inner.remove(subject, position)).await
    }

    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError> {
        self.write(self.inner.trim(stream, before)).await
    }

    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError> {
        self.write(self.inner.announce(topic, bytes)).await
    }

    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement> {
        self.inner.listen(topic)
    }
}
