//! The drill: opens everything that any surviving key opens, and searches it for planted texts.
//!
//! The search of files proves that ids and key ids are gone; this proves that nothing which is left can be read. It is
//! run on canary owners and in tests, by a role that exists only there: whoever builds with the feature `drill` and
//! holds every service's handle. It walks history, records, events, facts, documents, frames and segments; chunks are
//! given to it, because only their capability finds them. A value that is sealed otherwise than as a part, a segment,
//! signals or a chunk is not tried.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use hearth_api::events::v1 as events;
use hearth_engine::Commit;
use hearth_kernel::{
    ClaimId, Day, HomeId, HubStreamId, Origin, Owner, Purpose, RetentionClass, Sealed, Secret,
    Service,
};
use hearth_ports::{
    Binding, Documents, Family, Log, Message, Opened, Position, Range, Sealing, Series, StoreError,
    StoredChunk, Stream, Table,
};
use prost::Message as _;

/// Messages, documents or segments read at once.
const PAGE: usize = 500;
/// How deep messages lie in each other at most.
const DEPTH: u32 = 12;

/// Opens sealed values by whatever key is left.
#[async_trait]
pub trait OpenAny: Send + Sync {
    /// The content, if any key opens it.
    async fn open(
        &self,
        owner: Owner,
        purpose: Purpose,
        binding: &Binding,
        sealed: &[u8],
    ) -> Option<Secret>;
}

/// The handles of all services: each opens what the table lets it open.
pub struct Handles(pub Vec<Arc<dyn Sealing>>);

#[async_trait]
impl OpenAny for Handles {
    async fn open(
        &self,
        owner: Owner,
        purpose: Purpose,
        binding: &Binding,
        sealed: &[u8],
    ) -> Option<Secret> {
        for handle in &self.0 {
            if let Ok(Opened::Clear(clear)) = handle.open(owner, purpose, binding, sealed).await {
                return Some(clear);
            }
        }
        None
    }
}

/// What is walked.
pub struct Stores {
    /// Every stream of every service, and the frames.
    pub log: Arc<dyn Log>,
    /// The documents of these tables.
    pub documents: (Arc<dyn Documents>, Vec<Table>),
    /// The segments of every home.
    pub series: Arc<dyn Series>,
    /// Chunks that the caller has found.
    pub chunks: Vec<StoredChunk>,
}

/// What was tried, and where a text was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drilled {
    /// Sealed values that were tried.
    pub tried: u64,
    /// How many of them opened.
    pub opened: u64,
    /// How often each text was found, by its place in the list, in each sort of store.
    pub found: BTreeMap<(usize, &'static str), u64>,
}

impl Drilled {
    /// How often a text was found anywhere.
    #[must_use]
    pub fn count(&self, text: usize) -> u64 {
        let of = self.found.iter().filter(|((it, _), _)| *it == text);
        of.map(|(_, count)| count).sum()
    }
}

struct Drill<'a> {
    opener: &'a dyn OpenAny,
    texts: &'a [&'a str],
    drilled: Drilled,
}

/// Tries to open everything, and searches what opens, and what lies open, for texts.
///
/// # Errors
/// When a store does not answer: what was not read proves nothing.
pub async fn drill(
    stores: &Stores,
    opener: &dyn OpenAny,
    texts: &[&str],
) -> Result<Drilled, StoreError> {
    let mut drill = Drill {
        opener,
        texts,
        drilled: Drilled::default(),
    };
    drill.log(&*stores.log).await?;
    let (documents, tables) = &stores.documents;
    for table in tables {
        drill.documents(&**documents, *table).await?;
    }
    drill.series(&*stores.series).await?;
    for chunk in &stores.chunks {
        drill.chunk(chunk).await;
    }
    Ok(drill.drilled)
}

impl Drill<'_> {
    fn look(&mut self, store: &'static str, clear: &[u8]) {
        for (number, text) in self.texts.iter().enumerate() {
            let count = memmem(clear, text.as_bytes());
            if count > 0 {
                *self.drilled.found.entry((number, store)).or_default() += count;
            }
        }
    }

    async fn try_to_open(
        &mut self,
        store: &'static str,
        key: (Owner, Purpose),
        binding: &Binding,
        sealed: &[u8],
    ) {
        self.drilled.tried += 1;
        if let Some(clear) = self.opener.open(key.0, key.1, binding, sealed).await {
            self.drilled.opened += 1;
            self.look(store, clear.expose());
        }
    }

    async fn log(&mut self, log: &dyn Log) -> Result<(), StoreError> {
        let families = [Family::Evt, Family::Rec, Family::Int, Family::State];
        let of_services = Service::ALL.into_iter();
        let streams = of_services.flat_map(|it| families.map(|family| Stream::new(family, it)));
        for stream in streams.chain([Stream::TELEMETRY]) {
            let mut after = Position::START;
            loop {
                let page = log.page(stream, after, PAGE).await?;
                for message in &page {
                    self.message(message).await;
                }
                match page.last() {
                    Some(last) => after = last.position,
                    None => break,
                }
            }
        }
        Ok(())
    }

    async fn message(&mut self, message: &Message) {
        self.look("log", &message.bytes);
        match message.subject.stream().family {
            Family::Evt | Family::Rec => {
                if let Ok(commit) = Commit::read(&message.bytes) {
                    self.commit(&commit).await;
                }
            }
            Family::Telemetry => self.frame(&message.bytes).await,
            Family::Int | Family::State => {}
        }
        self.parts_within("log", &message.bytes).await;
    }

    async fn commit(&mut self, commit: &Commit) {
        let Some(aggregate) = commit.reference() else {
            return;
        };
        for (event, stored) in (0..).zip(&commit.events) {
            for (part, stored) in (0..).zip(&stored.parts) {
                let Some(key) = stored.key() else { continue };
                let binding = Binding::Event(Origin {
                    aggregate: aggregate.clone(),
                    version: commit.version,
                    event,
                    part,
                });
                self.try_to_open("log", key, &binding, &stored.sealed).await;
            }
        }
    }

    /// Tries each part that stands in a message as one byte string, however deep.
    async fn parts_within(&mut self, store: &'static str, bytes: &[u8]) {
        let mut parts = Vec::new();
        find_parts(bytes, DEPTH, &mut parts);
        for part in parts {
            let binding = Binding::Event(part.origin.clone());
            let key = (part.owner, part.purpose);
            self.try_to_open(store, key, &binding, &part.bytes).await;
        }
    }

    async fn frame(&mut self, bytes: &[u8]) {
        let Ok(frame) = events::Frame::decode(bytes) else {
            return;
        };
        for segment in &frame.segments {
            if let Some((owner, purpose, binding)) = segment_of(segment) {
                let key = (owner, purpose);
                self.try_to_open("frames", key, &binding, &segment.sealed)
                    .await;
            }
        }
        for signals in &frame.signals {
            if let Some((home, binding)) = signals_of(signals) {
                let key = (Owner::Home(home), Purpose::Signals);
                self.try_to_open("frames", key, &binding, &signals.sealed)
                    .await;
            }
        }
    }

    async fn documents(
        &mut self,
        documents: &dyn Documents,
        table: Table,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let partitions = documents.partitions(table, after, PAGE).await?;
            for partition in &partitions {
                self.partition(documents, table, partition).await?;
            }
            match partitions.last() {
                Some(last) => after = Some(last.clone()),
                None => return Ok(()),
            }
        }
    }

    async fn partition(
        &mut self,
        documents: &dyn Documents,
        table: Table,
        partition: &[u8],
    ) -> Result<(), StoreError> {
        let mut range = Range::all(PAGE);
        loop {
            let rows = documents.range(table, partition, range.clone()).await?;
            for row in &rows {
                self.look("documents", &row.value);
                self.parts_within("documents", &row.value).await;
            }
            match rows.last() {
                Some(last) if rows.len() == PAGE => {
                    // The first key after the last one.
                    range.from = Some([&last.key[..], &[0]].concat());
                }
                _ => return Ok(()),
            }
        }
    }

    async fn series(&mut self, series: &dyn Series) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let homes = series.homes(after, PAGE).await?;
            for home in &homes {
                for day in series.segment_days(*home, PAGE).await? {
                    self.segments(series, *home, day).await?;
                }
            }
            match homes.last() {
                Some(last) => after = Some(*last),
                None => return Ok(()),
            }
        }
    }

    async fn segments(
        &mut self,
        series: &dyn Series,
        home: HomeId,
        day: Day,
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let segments = series.segments(home, day, after, PAGE).await?;
            for segment in &segments {
                let key = segment.key;
                let binding = Binding::Segment {
                    home,
                    claim: key.claim,
                    stream: key.stream,
                    sequence: key.sequence,
                    class: key.class,
                    day,
                };
                let of = (Owner::Home(home), Purpose::Telemetry(key.class));
                self.try_to_open("series", of, &binding, &segment.sealed)
                    .await;
            }
            match segments.last() {
                Some(last) => after = Some(last.key),
                None => return Ok(()),
            }
        }
    }

    async fn chunk(&mut self, chunk: &StoredChunk) {
        let key = chunk.key;
        let binding = Binding::Chunk {
            home: key.home,
            device: key.device,
            capability: key.capability,
            class: key.class,
            day: key.day,
            window: key.window,
            generation: key.generation,
        };
        let of = (Owner::Home(key.home), Purpose::Telemetry(key.class));
        self.try_to_open("series", of, &binding, &chunk.sealed)
            .await;
    }
}

fn segment_of(segment: &events::Segment) -> Option<(Owner, Purpose, Binding)> {
    let home = HomeId::from_slice(&segment.home_id)?;
    let class = u8::try_from(segment.class).ok();
    let class = class.and_then(RetentionClass::from_number)?;
    let binding = Binding::Segment {
        home,
        claim: ClaimId::from_slice(&segment.claim_id)?,
        stream: HubStreamId::from_slice(&segment.stream_id)?,
        sequence: segment.sequence,
        class,
        day: Day::from_number(segment.day),
    };
    Some((Owner::Home(home), Purpose::Telemetry(class), binding))
}

fn signals_of(signals: &events::Signals) -> Option<(HomeId, Binding)> {
    let home = HomeId::from_slice(&signals.home_id)?;
    let binding = Binding::Signals {
        home,
        claim: ClaimId::from_slice(&signals.claim_id)?,
        stream: HubStreamId::from_slice(&signals.stream_id)?,
        sequence: signals.sequence,
    };
    Some((home, binding))
}

/// Every [`Sealed`] that is a bytes field of a message, or of a message in it.
fn find_parts(bytes: &[u8], depth: u32, parts: &mut Vec<Sealed>) {
    if let Some(part) = Sealed::decode(bytes) {
        parts.push(part);
        return;
    }
    if depth == 0 {
        return;
    }
    let mut rest = bytes;
    while let Some((field, after)) = next_field(rest) {
        if let Some(inner) = field {
            find_parts(inner, depth - 1, parts);
        }
        rest = after;
    }
}

/// The next field of a message, its bytes if it has some, and what follows; `None` at the end or where it is none.
fn next_field(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (key, rest) = varint(bytes)?;
    match key & 7 {
        0 => varint(rest).map(|(_, rest)| (None, rest)),
        1 => rest.get(8..).map(|rest| (None, rest)),
        2 => {
            let (length, rest) = varint(rest)?;
            let (inner, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            Some((Some(inner), rest))
        }
        5 => rest.get(4..).map(|rest| (None, rest)),
        _ => None,
    }
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut rest = bytes;
    let value = prost::encoding::decode_varint(&mut rest).ok()?;
    Some((value, rest))
}

/// How often a text stands in bytes.
fn memmem(bytes: &[u8], text: &[u8]) -> u64 {
    if text.is_empty() {
        return 0;
    }
    let count = bytes.windows(text.len()).filter(|it| *it == text).count();
    u64::try_from(count).unwrap_or(u64::MAX)
}
