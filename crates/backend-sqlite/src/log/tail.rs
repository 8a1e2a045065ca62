//! A tail: pages from the store, then woken by the commit that has more.
//!
//! It holds a position and one page, so a slow reader costs no more memory than that and is never skipped.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use hearth_ports::{Message, Position, StoreError, Stream};
use tokio::sync::watch;

use super::Reading;
use super::rows::sequence_at;
use crate::failure::{closed, int};

/// Messages that a tail reads at once.
const TAIL_PAGE: usize = 256;
/// Bytes beyond which a tail's page ends.
const TAIL_PAGE_BYTES: usize = 2 << 20;

/// Follows a stream from after a position; `head` grows with each commit.
pub(super) fn follow(
    reading: Arc<Reading>,
    stream: Stream,
    after: Position,
    head: watch::Receiver<u64>,
) -> BoxStream<'static, Result<Message, StoreError>> {
    let tail = Tail {
        reading,
        stream,
        after,
        page: VecDeque::new(),
        head,
        ended: false,
    };
    unfold(tail, |mut tail| async move {
        tail.next().await.map(|item| (item, tail))
    })
    .boxed()
}

/// Where a tail stands.
struct Tail {
    reading: Arc<Reading>,
    stream: Stream,
    after: Position,
    page: VecDeque<Message>,
    head: watch::Receiver<u64>,
    ended: bool,
}

impl Tail {
    async fn next(&mut self) -> Option<Result<Message, StoreError>> {
        if self.ended {
            return None;
        }
        let next = self.find().await;
        self.ended = next.is_err();
        Some(next)
    }

    async fn find(&mut self) -> Result<Message, StoreError> {
        loop {
            if self.reading.is_closed() {
                return Err(closed());
            }
            if let Some(message) = self.page.pop_front() {
                self.after = message.position;
                return Ok(message);
            }
            // Seen before reading: what is committed between the two wakes the wait below.
            let head = *self.head.borrow_and_update();
            let generation = self.reading.generation(self.stream);
            if sequence_at(generation, self.after) < int(head) {
                self.page = self
                    .reading
                    .page(self.stream, self.after, TAIL_PAGE, TAIL_PAGE_BYTES)
                    .await?
                    .into();
                if !self.page.is_empty() {
                    continue;
                }
                // Nothing up to the head is kept any more.
                self.after = Position {
                    generation,
                    sequence: head,
                };
            }
            self.head.changed().await.map_err(|_| closed())?;
        }
    }
}
