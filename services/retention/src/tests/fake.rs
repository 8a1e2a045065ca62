//! The smallest service that has something to erase: people with sealed notes, and the facts of their closings.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_api::events::v1::{self as events, accounts_fact::Fact, envelope::Payload};
use hearth_engine::{
    Actor, Aggregate, Call, CodecError, Commit, Consume, ConsumeError, Consumer, EncodedEvent,
    Engine, Erased, Eraser, Erasures, Follower, Life, Parking, Publication, PublishedFacts,
    Publisher, Relay, RelayError, Stored, Target, erasure,
};
use hearth_kernel::{
    AccountId, Decider, Failure, HomeId, Owner, Part, PartSlot, Parts, Purpose, ReceiptId, Sealed,
    Service, Timestamp,
};
use hearth_ports::{Family, Message, Position, Stream, Table};
use prost::Message as _;
use ring::digest::{SHA256, digest};
use uuid::Uuid;

use super::world::World;
use crate::project::wire_time;

/// Notes of one owner, in the service of that number.
pub(super) struct Notes<const SERVICE: u8>;

/// The notes, sealed; and the closing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    notes: Vec<Sealed>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Written {
        owner: Owner,
        purpose: Purpose,
        note: Part,
    },
    Closing(Closing),
}

/// A closing, as the fake publishes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Closing {
    pub(super) account: AccountId,
    pub(super) receipt: ReceiptId,
    pub(super) secret: [u8; 32],
    pub(super) grace_ends_at: Timestamp,
    /// `None` when the account was reopened.
    pub(super) due: Option<bool>,
    pub(super) homes: Vec<HomeId>,
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        match self {
            Self::Written {
                owner,
                purpose,
                note,
            } => vec![PartSlot {
                owner: *owner,
                purpose: *purpose,
                part: note,
            }],
            Self::Closing(_) => Vec::new(),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum Never {}

impl From<Never> for Failure {
    fn from(never: Never) -> Self {
        match never {}
    }
}

impl<const SERVICE: u8> Decider for Notes<SERVICE> {
    type State = State;
    type Command = Event;
    type Event = Event;
    type Facts = ();
    type Rejection = Never;

    fn decide(_: &State, command: &Event, (): &()) -> Result<Vec<Event>, Never> {
        Ok(vec![command.clone()])
    }

    fn evolve(mut state: State, event: &Event) -> State {
        if let Event::Written { note, .. } = event {
            state.notes.extend(note.sealed().cloned());
        }
        state
    }

    fn invariant(_: &State) -> Result<(), &'static str> {
        Ok(())
    }
}

impl<const NUMBER: u8> Aggregate for Notes<NUMBER> {
    const SERVICE: Service = if NUMBER == 1 {
        Service::Accounts
    } else {
        Service::Notifications
    };
    const KIND: &'static str = "notes";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Lasting;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &Event) -> EncodedEvent {
        let (name, public) = match event {
            Event::Written { owner, purpose, .. } => {
                let public = [&owner.to_bytes()[..], &purpose.number().to_be_bytes()];
                ("written", public.concat())
            }
            Event::Closing(closing) => ("closing", encode(closing)),
        };
        EncodedEvent {
            name,
            major: 1,
            public,
        }
    }

    fn decode_event(name: &str, _: u32, public: &[u8]) -> Result<Event, CodecError> {
        Ok(match name {
            "written" => Event::Written {
                owner: Owner::from_bytes(&public[..17]).unwrap(),
                purpose: Purpose::from_number(u16::from_be_bytes([public[17], public[18]]))
                    .unwrap(),
                note: Part::clear(""),
            },
            _ => Event::Closing(decode(public)),
        })
    }

    fn encode_state(state: &State) -> Vec<u8> {
        state.notes.iter().flat_map(Sealed::encode).collect()
    }

    fn decode_state(_: u32, _: &[u8]) -> Result<State, CodecError> {
        Ok(State::default())
    }
}

fn encode(closing: &Closing) -> Vec<u8> {
    let fact = events::ClosingFact {
        account_id: Bytes::copy_from_slice(closing.account.as_bytes()),
        closed_at: Some(wire_time(Timestamp::from_seconds(1))),
        grace_ends_at: Some(wire_time(closing.grace_ends_at)),
        due: closing.due.unwrap_or_default(),
        receipt_id: Bytes::copy_from_slice(closing.receipt.as_bytes()),
        receipt_secret_hash: Bytes::copy_from_slice(digest(&SHA256, &closing.secret).as_ref()),
        ending_home_ids: closing
            .homes
            .iter()
            .map(|home| Bytes::copy_from_slice(home.as_bytes()))
            .collect(),
        membership_ids: Vec::new(),
    };
    // The fake has one event for all that closes; the end of the fact is an empty one.
    if closing.due.is_some() {
        fact.encode_to_vec()
    } else {
        closing.account.as_bytes().to_vec()
    }
}

fn decode(public: &[u8]) -> Closing {
    let fact = events::ClosingFact::decode(public).unwrap_or_default();
    Closing {
        account: AccountId::from_slice(&fact.account_id).unwrap_or_default(),
        receipt: ReceiptId::from_slice(&fact.receipt_id).unwrap_or_default(),
        secret: [0; 32],
        grace_ends_at: Timestamp::EPOCH,
        due: Some(fact.due),
        homes: Vec::new(),
    }
}

struct Projector;

#[async_trait]
impl Publisher for Projector {
    async fn publish(
        &self,
        commit: &Commit,
        _: &PublishedFacts,
    ) -> Result<Vec<Publication>, RelayError> {
        if let Some(answer) = erasure::publications(commit)? {
            return Ok(answer);
        }
        let id = Uuid::from_slice(&commit.aggregate).unwrap();
        let closing = commit.events.iter().find(|event| event.name == "closing");
        let fact = closing.and_then(|event| match event.public.len() {
            16 => None,
            _ => events::ClosingFact::decode(event.public.clone()).ok(),
        });
        if closing.is_none() && !commit.is_tombstone() {
            return Ok(Vec::new());
        }
        let gone = fact.is_none();
        let payload = fact.map_or(Payload::Gone(events::Gone {}), |fact| {
            Payload::AccountsFact(events::AccountsFact {
                fact: Some(Fact::Closing(fact)),
            })
        });
        let envelope = events::Envelope {
            stamp: None,
            owner: None,
            payload: Some(payload),
        };
        let target = Target::Fact {
            kind: "closing",
            id,
            gone,
        };
        Ok(vec![Publication {
            target,
            body: envelope.encode_to_vec(),
        }])
    }
}

/// A view that keeps a row per note, and that an erasure must wait for.
struct Rows(Engine);

pub(super) const ROWS: Table = Table("fake_notes");

#[async_trait]
impl Consume for Rows {
    fn name(&self) -> String {
        format!("{}.rows", self.0.service())
    }

    fn sources(&self) -> Vec<Stream> {
        vec![Stream::new(Family::Evt, self.0.service())]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        let commit = Commit::read(&message.bytes)?;
        let sealed = commit.events.iter().flat_map(|event| event.parts.iter());
        for part in sealed {
            let (key, stamp) = (commit.version.to_be_bytes(), message.position.stamp());
            self.0
                .documents()
                .put(ROWS, &commit.aggregate, &key, stamp, part.sealed.clone())
                .await?;
        }
        Ok(())
    }
}

struct NotesEraser<const SERVICE: u8>(Engine);

#[async_trait]
impl<const SERVICE: u8> Eraser for NotesEraser<SERVICE> {
    fn store(&self) -> &'static str {
        "fake.notes"
    }

    async fn erase(&self, order: &erasure::Order) -> Result<Erased, ConsumeError> {
        let mut removed = 0;
        for owner in &order.owners {
            removed += self.0.purge::<Notes<SERVICE>>(id_of(*owner)).await?;
        }
        Ok(Erased::items(removed))
    }
}

struct RowsEraser(Engine);

#[async_trait]
impl Eraser for RowsEraser {
    fn store(&self) -> &'static str {
        "fake.rows"
    }

    async fn erase(&self, order: &erasure::Order) -> Result<Erased, ConsumeError> {
        let evt = Stream::new(Family::Evt, self.0.service());
        let head = self.0.log().head(evt).await?.unwrap_or(Position::START);
        for owner in &order.owners {
            let id = id_of(*owner);
            self.0
                .documents()
                .drop_partition(ROWS, id.as_bytes(), head.stamp())
                .await?;
        }
        let ends_at = self.0.now();
        Ok(Erased::items(1).leaving(erasure::residual::BACKUPS, Some(ends_at)))
    }
}

pub(super) fn id_of(owner: Owner) -> Uuid {
    match owner {
        Owner::Account(id) => id.into(),
        Owner::Home(id) => id.into(),
        Owner::Service(_) => Uuid::nil(),
    }
}

/// A fake service, running.
pub(super) struct Fake<const SERVICE: u8> {
    pub(super) engine: Engine,
}

impl<const SERVICE: u8> Fake<SERVICE> {
    pub(super) async fn start(world: &World) -> Self {
        let context = world.context(Notes::<SERVICE>::SERVICE);
        let engine = context.engine().await.unwrap();
        let parking = Parking::new(Arc::clone(&context.documents), "fake relay");
        let relay = Arc::new(Relay::new(
            context.service,
            Arc::clone(&context.log),
            Arc::clone(&context.clock),
            parking,
            Arc::new(Projector),
        ));
        let rows = Arc::new(Consumer::new(
            Rows(engine.clone()),
            Arc::clone(&context.log),
            Arc::clone(&context.documents),
            context.watermarks.clone(),
        ));
        let stores = ["fake.notes", "fake.rows"];
        let erasers: Vec<Arc<dyn Eraser>> = vec![
            Arc::new(NotesEraser::<SERVICE>(engine.clone())),
            Arc::new(RowsEraser(engine.clone())),
        ];
        let erasures = Erasures::new(engine.clone(), &stores, erasers).unwrap();
        let erasures = erasures
            .behind([Follower::relay(context.service, &relay)])
            .behind(Follower::consumer(&rows));
        let erasures = Arc::new(Consumer::new(
            erasures,
            Arc::clone(&context.log),
            Arc::clone(&context.documents),
            context.watermarks.clone(),
        ));
        context.tasks.supervise("fake relay", move || {
            let relay = Arc::clone(&relay);
            async move { relay.run().await }
        });
        context.tasks.supervise("fake rows", move || {
            let rows = Arc::clone(&rows);
            async move { rows.run().await }
        });
        context.tasks.supervise("fake erasures", move || {
            let erasures = Arc::clone(&erasures);
            async move { erasures.run().await }
        });
        Self { engine }
    }

    async fn append(&self, id: Uuid, request: &str, event: Event) {
        let call = Call {
            commit: self
                .engine
                .hasher()
                .commit_id(id.as_bytes(), "append", request),
            fingerprint: [0; 16],
            actor: Actor::Nobody,
            causation: None,
            trace: String::new(),
        };
        self.engine
            .execute::<Notes<SERVICE>, _>(&call, id, &event, async |_| Ok(()))
            .await
            .unwrap();
    }

    pub(super) async fn write(&self, owner: Owner, note: &str) {
        let event = Event::Written {
            owner,
            purpose: match owner {
                Owner::Home(_) => Purpose::Home,
                _ if SERVICE == 1 => Purpose::Profile,
                _ => Purpose::Inbox,
            },
            note: Part::clear(note),
        };
        self.append(id_of(owner), note, event).await;
    }

    pub(super) async fn close(&self, closing: &Closing) {
        let request = format!("{} {:?}", closing.receipt, closing.due);
        let event = Event::Closing(closing.clone());
        self.append(closing.account.into(), &request, event).await;
    }
}
