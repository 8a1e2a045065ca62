//! Reading an inbox: pages from the newest back, and changes from a position on.

use std::sync::Arc;
use std::time::Duration;

use hearth_engine::{CommitToken, Consumer, Engine, ExecuteError, View, store_failure};
use hearth_kernel::{AccountId, Failure, NoticeId, Part, Reason, Sealed, Service};
use hearth_notifications_domain::notice::Made;
use hearth_ports::{Binding, Document, Family, Opened, Position, Range, Stream};
use tokio::sync::watch;

use crate::codec::content::Content;
use crate::codec::made_of_row;
use crate::project::inbox::{
    CHANGES, Inbox as Projection, NOTICES, Row, Slot, change_key, notice_key, read_notice_key,
};

/// The view and who feeds it.
pub(crate) type InboxConsumer = Consumer<Arc<View<Projection>>>;

const EVT: Stream = Stream::new(Family::Evt, Service::Notifications);
/// Rows per look.
const PAGE: usize = 300;
/// How long a reader waits for what she has written.
const READ_YOUR_WRITES: Duration = Duration::from_secs(2);

/// A notice as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Where it stands.
    pub(crate) slot: Slot,
    /// How it was made.
    pub(crate) made: Made,
    /// What it is about.
    pub(crate) content: Content,
    /// Whether it was read.
    pub(crate) read: bool,
}

/// The rows of one notice.
#[derive(Default)]
struct Rows {
    made: Option<Made>,
    ended: Option<Sealed>,
    read: bool,
}

/// The inboxes, for readers.
#[derive(Clone)]
pub(crate) struct Inbox {
    pub(crate) engine: Engine,
    pub(crate) view: Arc<View<Projection>>,
    pub(crate) consumer: Arc<InboxConsumer>,
}

fn store(error: hearth_ports::StoreError) -> Failure {
    store_failure(&error)
}

impl Inbox {
    /// How far the rows have come.
    pub(crate) fn progress(&self) -> Option<watch::Receiver<Position>> {
        self.consumer.progress(EVT)
    }

    /// Waits until the rows show these commits of this service.
    ///
    /// # Errors
    /// `STALE_KNOWLEDGE` when that takes longer than 2 s.
    pub(crate) async fn after(&self, tokens: &[CommitToken]) -> Result<(), Failure> {
        for token in tokens
            .iter()
            .filter(|token| token.service == Service::Notifications)
        {
            tokio::time::timeout(READ_YOUR_WRITES, self.consumer.reached(*token))
                .await
                .map_err(|_| Failure::new(Reason::STALE_KNOWLEDGE))?;
        }
        Ok(())
    }

    /// The head of the history now: what a stream without a cursor begins behind.
    ///
    /// # Errors
    /// When the log does not answer.
    pub(crate) async fn head(&self) -> Result<Position, Failure> {
        Ok(self
            .engine
            .log()
            .head(EVT)
            .await
            .map_err(store)?
            .unwrap_or(Position::START))
    }

    /// At most `size` notices older than `before`, newest first; and whether there may be more.
    ///
    /// # Errors
    /// When store or keys do not answer.
    pub(crate) async fn page(
        &self,
        account: AccountId,
        before: Option<Slot>,
        size: usize,
        unread_only: bool,
    ) -> Result<(Vec<Item>, Option<Slot>), Failure> {
        let mut items = Vec::new();
        let mut until = before.map_or_else(|| vec![NOTICES + 1], notice_key);
        loop {
            let range = Range {
                from: Some(vec![NOTICES]),
                until: Some(until),
                descending: true,
                limit: PAGE,
            };
            let page = self
                .view
                .range(account.as_bytes(), range)
                .await
                .map_err(store)?;
            let full = page.len() == PAGE;
            let mut notices = grouped(&page)?;
            if full {
                // The last one's rows may go on beyond this page: it is read again.
                notices.pop();
            }
            for (slot, rows) in notices.iter() {
                let shown = !(unread_only && rows.read);
                if let (true, Some(item)) = (shown, self.item(*slot, rows).await?) {
                    items.push(item);
                }
                if items.len() == size {
                    return Ok((items, Some(*slot)));
                }
            }
            match notices.last() {
                Some((last, _)) if full => until = notice_key(*last),
                _ => return Ok((items, None)),
            }
        }
    }

    /// The changes after a position, oldest first, each with its own position. A notice that is no more is left out.
    ///
    /// # Errors
    /// When store or keys do not answer.
    pub(crate) async fn changes(
        &self,
        account: AccountId,
        after: Position,
    ) -> Result<Vec<(Position, Option<Item>)>, Failure> {
        let range = Range {
            from: Some([&change_key(after)[..], &[0]].concat()),
            until: Some(vec![CHANGES + 1]),
            descending: false,
            limit: PAGE,
        };
        let rows = self
            .view
            .range(account.as_bytes(), range)
            .await
            .map_err(store)?;
        let mut changes = Vec::new();
        for row in rows {
            let at = row
                .key
                .strip_prefix(&[CHANGES])
                .and_then(Position::from_bytes);
            let slot = Slot::from_bytes(&row.value);
            let (at, slot) = at
                .zip(slot)
                .ok_or_else(|| Failure::new(Reason::DATA_CORRUPT))?;
            changes.push((at, self.notice(account, slot).await?));
        }
        Ok(changes)
    }

    async fn notice(&self, account: AccountId, slot: Slot) -> Result<Option<Item>, Failure> {
        let from = notice_key(slot);
        let until = [&from[..], &[u8::MAX]].concat();
        let range = Range {
            from: Some(from),
            until: Some(until),
            ..Range::all(8)
        };
        let page = self
            .view
            .range(account.as_bytes(), range)
            .await
            .map_err(store)?;
        match grouped(&page)?.first() {
            Some((slot, rows)) => self.item(*slot, rows).await,
            None => Ok(None),
        }
    }

    /// The notice of its rows. `None` when it does not stand in the inbox, or its keys are gone.
    async fn item(&self, slot: Slot, rows: &Rows) -> Result<Option<Item>, Failure> {
        let Some(made) = &rows.made else {
            return Ok(None);
        };
        let Part::Sealed(sealed) = &made.content else {
            return Ok(None);
        };
        let Some(mut content) = self.open(sealed).await? else {
            return Ok(None);
        };
        if let Some(ended) = &rows.ended {
            content.ended_at = self.open(ended).await?.and_then(|ended| ended.ended_at);
        }
        Ok(Some(Item {
            slot,
            made: made.clone(),
            content,
            read: rows.read,
        }))
    }

    async fn open(&self, sealed: &Sealed) -> Result<Option<Content>, Failure> {
        let binding = Binding::Event(sealed.origin.clone());
        let sealing = self.engine.sealing();
        let opened = sealing
            .open(sealed.owner, sealed.purpose, &binding, &sealed.bytes)
            .await;
        match opened.map_err(ExecuteError::from)? {
            Opened::Clear(clear) => Ok(Some(Content::read(&clear).map_err(ExecuteError::from)?)),
            Opened::Erased | Opened::Expired => Ok(None),
        }
    }

    /// Deletes an inbox, for an erasure. Answers whether there was one.
    ///
    /// # Errors
    /// When a store does not answer.
    pub(crate) async fn erase(&self, account: AccountId) -> Result<u64, hearth_ports::StoreError> {
        let there = self.view.range(account.as_bytes(), Range::all(1)).await?;
        let head = self
            .engine
            .log()
            .head(EVT)
            .await?
            .unwrap_or(Position::START);
        self.view.erase(account.as_bytes(), head).await?;
        Ok(u64::try_from(there.len()).unwrap_or(0))
    }
}

/// Rows by notice, in the order they come.
fn grouped(page: &[Document]) -> Result<Vec<(Slot, Rows)>, Failure> {
    let corrupt = || Failure::new(Reason::DATA_CORRUPT);
    let mut notices: Vec<(Slot, Rows)> = Vec::new();
    for row in page {
        let (slot, which) = read_notice_key(&row.key).ok_or_else(corrupt)?;
        if notices.last().is_none_or(|(last, _)| *last != slot) {
            notices.push((slot, Rows::default()));
        }
        let Some((_, rows)) = notices.last_mut() else {
            continue;
        };
        match which {
            Row::Made => rows.made = Some(made_of_row(&row.value).map_err(|_| corrupt())?),
            Row::Ended => rows.ended = Some(Sealed::decode(&row.value).ok_or_else(corrupt)?),
            Row::Read => rows.read = true,
        }
    }
    Ok(notices)
}

/// The wire form of an id.
pub(crate) fn notice_text(slot: Slot) -> String {
    NoticeId::to_string(&slot.notice)
}
