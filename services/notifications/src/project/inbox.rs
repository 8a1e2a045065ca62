//! The inboxes: rows of notices by person, newest last, and beside them the order in which notices changed.
//!
//! A row is made by one event, so a notice has up to three: how it was made, the end of its episode, that it was read.
//! The row of a change is written after those of its content: who sees a change sees what it is about.

use async_trait::async_trait;
use bytes::Bytes;
use hearth_engine::{Aggregate, Commit, ConsumeError, Projection, Rows};
use hearth_kernel::{NoticeId, Part, Service, Timestamp};
use hearth_notifications_domain::notice;
use hearth_ports::{Family, Message, Position, Range, Stream, Table};

use crate::aggregates::Notice;
use crate::codec::{id, inbox_row, sealed_part};

/// Which of a notice's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// How it was made.
    Made,
    /// The end of its episode.
    Ended,
    /// That it was read.
    Read,
}

impl Row {
    const ALL: [Self; 3] = [Self::Made, Self::Ended, Self::Read];

    const fn number(self) -> u8 {
        match self {
            Self::Made => 0,
            Self::Ended => 1,
            Self::Read => 2,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|row| row.number() == number)
    }
}

/// Where a notice stands in its inbox: 24 bytes that sort by the time it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    /// When it was made.
    pub(crate) made_at: Timestamp,
    /// The notice.
    pub(crate) notice: NoticeId,
}

impl Slot {
    /// 24 bytes.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.made_at.micros().max(0).to_be_bytes().to_vec();
        bytes.extend_from_slice(self.notice.as_bytes());
        bytes
    }

    /// The slot of those bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (made_at, notice) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            made_at: Timestamp::from_micros(i64::from_be_bytes(*made_at)),
            notice: NoticeId::from_slice(notice)?,
        })
    }
}

/// The first byte of the keys of notices.
pub(crate) const NOTICES: u8 = b'n';
/// The first byte of the keys of changes.
pub(crate) const CHANGES: u8 = b'c';

/// The prefix of the rows of a notice.
pub(crate) fn notice_key(slot: Slot) -> Vec<u8> {
    let mut key = vec![NOTICES];
    key.extend(slot.to_bytes());
    key
}

/// What row a key is of.
pub(crate) fn read_notice_key(key: &[u8]) -> Option<(Slot, Row)> {
    let (row, slot) = key
        .strip_prefix(&[NOTICES])?
        .split_last_chunk::<1>()
        .map(|(s, r)| (r[0], s))?;
    Some((Slot::from_bytes(slot)?, Row::from_number(row)?))
}

/// The key of a change.
pub(crate) fn change_key(at: Position) -> Vec<u8> {
    let mut key = vec![CHANGES];
    key.extend_from_slice(&at.to_bytes());
    key
}

/// The fold.
pub(crate) struct Inbox;

#[async_trait]
impl Projection for Inbox {
    const TABLE: Table = Table("notifications_inbox");

    fn sources(&self) -> Vec<Stream> {
        vec![Stream::new(Family::Evt, Service::Notifications)]
    }

    async fn project(&self, message: &Message, rows: &Rows<'_>) -> Result<(), ConsumeError> {
        if message.subject.kind() != Notice::KIND {
            return Ok(());
        }
        let commit = Commit::read(&message.bytes)?;
        let notice: NoticeId = id(&commit.aggregate)?;
        let mut changed = None;
        for (index, stored) in commit.events.iter().enumerate() {
            let event = Notice::decode_event(&stored.name, stored.major, &stored.public)?;
            let place = event.place();
            let partition = place.account.as_bytes();
            let slot = Slot {
                made_at: place.made_at,
                notice,
            };
            let key = |row: Row| [&notice_key(slot)[..], &[row.number()]].concat();
            match event {
                notice::Event::Made(made) if !made.channels.inbox => continue,
                notice::Event::Made(mut made) => {
                    made.content = Part::Sealed(sealed_part(&commit, index)?);
                    rows.put(partition, &key(Row::Made), inbox_row(&made))
                        .await?;
                }
                notice::Event::EpisodeEnded { .. } => {
                    let content = sealed_part(&commit, index)?.encode();
                    rows.put(partition, &key(Row::Ended), content).await?;
                }
                notice::Event::Read { .. } => {
                    rows.put(partition, &key(Row::Read), Bytes::new()).await?;
                }
                notice::Event::Forgotten { .. } => {
                    forget_changes(partition, slot, rows).await?;
                    for row in Row::ALL {
                        rows.delete(partition, &key(row)).await?;
                    }
                    continue;
                }
                notice::Event::TryFailed { .. } | notice::Event::MailDone { .. } => continue,
            }
            changed = Some((place.account, slot));
        }
        if let Some((account, slot)) = changed {
            let key = change_key(message.position);
            rows.put(account.as_bytes(), &key, slot.to_bytes()).await?;
        }
        Ok(())
    }
}

/// Deletes the rows of a notice's changes, which say when it was. They stand at the positions of the notice's own rows,
/// so these go after them.
async fn forget_changes(partition: &[u8], slot: Slot, rows: &Rows<'_>) -> Result<(), ConsumeError> {
    let from = notice_key(slot);
    let range = Range {
        until: Some([&from[..], &[u8::MAX]].concat()),
        from: Some(from),
        ..Range::all(Row::ALL.len())
    };
    for row in rows.range(partition, range).await? {
        if let Some(at) = Position::from_stamp(row.stamp) {
            rows.delete(partition, &change_key(at)).await?;
        }
    }
    Ok(())
}
