//! A jar of numbered beans: the smallest aggregate that has parts, ends, and can refuse. And what it runs on.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_backend_memory::Memory;
use hearth_kernel::{
    AccountId, Decider, Failure, Owner, Part, PartSlot, Parts, Purpose, Reason, Secret, Service,
    Timestamp,
};
use hearth_ports::sealing::ToOpen;
use hearth_ports::{Binding, Log, ManualClock, Opened, SealError, Sealing};
use uuid::Uuid;

use crate::{
    Actor, Aggregate, Call, CodecError, EncodedEvent, Engine, EngineOptions, Hasher, Life, Stored,
};

pub(super) const OWNER: Owner = Owner::Account(AccountId::from_bytes([5; 16]));

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Beans {
    pub(super) count: u64,
    pub(super) note: Option<Vec<u8>>,
    pub(super) closed: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Added { beans: u64, note: Part },
    Closed,
}

impl Parts for Event {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        match self {
            Self::Added { note, .. } => {
                vec![PartSlot {
                    owner: OWNER,
                    purpose: Purpose::Profile,
                    part: note,
                }]
            }
            Self::Closed => Vec::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Full;

impl From<Full> for Failure {
    fn from(_: Full) -> Self {
        Self::new(Reason::QUOTA_EXCEEDED)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Command {
    Add(u64),
    Close,
}

/// `Jar<true>` keeps its history, `Jar<false>` its last state only.
pub(super) struct Jar<const HISTORY: bool>;

impl<const HISTORY: bool> Decider for Jar<HISTORY> {
    type State = Beans;
    type Command = Command;
    type Event = Event;
    type Facts = ();
    type Rejection = Full;

    fn decide(state: &Beans, command: &Command, (): &()) -> Result<Vec<Event>, Full> {
        match command {
            Command::Add(0) => Ok(Vec::new()),
            Command::Add(beans) if state.count + beans > 1000 => Err(Full),
            Command::Add(beans) => Ok(vec![Event::Added {
                beans: *beans,
                note: Part::clear("hi"),
            }]),
            Command::Close => Ok(vec![Event::Closed]),
        }
    }

    fn evolve(mut state: Beans, event: &Event) -> Beans {
        match event {
            Event::Added { beans, note } => {
                state.count += beans;
                state.note = note.sealed().map(hearth_kernel::Sealed::encode);
            }
            Event::Closed => state.closed = true,
        }
        state
    }

    fn invariant(state: &Beans) -> Result<(), &'static str> {
        if state.count > 1000 {
            Err("too many beans")
        } else {
            Ok(())
        }
    }

    fn is_closed(state: &Beans) -> bool {
        state.closed
    }
}

impl<const HISTORY: bool> Aggregate for Jar<HISTORY> {
    const SERVICE: Service = Service::Accounts;
    const KIND: &'static str = if HISTORY { "jar" } else { "tin" };
    const STORED: Stored = if HISTORY {
        Stored::History
    } else {
        Stored::Record
    };
    const LIFE: Life = Life::Lasting;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &Event) -> EncodedEvent {
        match event {
            Event::Added { beans, .. } => EncodedEvent {
                name: "beans_added",
                major: 1,
                public: beans.to_be_bytes().to_vec(),
            },
            Event::Closed => EncodedEvent {
                name: "jar_closed",
                major: 1,
                public: Vec::new(),
            },
        }
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<Event, CodecError> {
        match (name, major) {
            ("beans_added", 1) => {
                let beans = public
                    .try_into()
                    .map_err(|_| CodecError::Malformed("beans"))?;
                Ok(Event::Added {
                    beans: u64::from_be_bytes(beans),
                    note: Part::clear(""),
                })
            }
            ("jar_closed", 1) => Ok(Event::Closed),
            _ => Err(CodecError::UnknownEvent {
                name: name.to_owned(),
                major,
            }),
        }
    }

    fn encode_state(state: &Beans) -> Vec<u8> {
        let mut out = state.count.to_be_bytes().to_vec();
        out.push(u8::from(state.closed));
        out.extend_from_slice(state.note.as_deref().unwrap_or_default());
        out
    }

    fn decode_state(_schema: u32, bytes: &[u8]) -> Result<Beans, CodecError> {
        let (count, rest) = bytes
            .split_first_chunk::<8>()
            .ok_or(CodecError::Malformed("jar"))?;
        let (closed, note) = rest.split_first().ok_or(CodecError::Malformed("jar"))?;
        Ok(Beans {
            count: u64::from_be_bytes(*count),
            note: (!note.is_empty()).then(|| note.to_vec()),
            closed: *closed == 1,
        })
    }
}

/// Seals by reversing, so that a test can see whether something was sealed; the vault has tests of its own.
struct Reversing;

#[async_trait]
impl Sealing for Reversing {
    async fn seal(
        &self,
        _: Owner,
        _: Purpose,
        _: &Binding,
        clear: &[u8],
    ) -> Result<Bytes, SealError> {
        Ok(clear.iter().rev().copied().collect())
    }

    async fn open(
        &self,
        _: Owner,
        _: Purpose,
        _: &Binding,
        sealed: &[u8],
    ) -> Result<Opened, SealError> {
        Ok(Opened::Clear(Secret::new(
            sealed.iter().rev().copied().collect(),
        )))
    }

    async fn open_all(
        &self,
        _: Owner,
        _: Purpose,
        _: &[ToOpen<'_>],
    ) -> Result<Vec<Opened>, SealError> {
        Err(SealError::Unavailable)
    }

    async fn service_secret(&self, _: Purpose, _: &str) -> Result<Secret, SealError> {
        Ok(Secret::from("secret"))
    }
}

pub(super) fn memory() -> (Memory, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_seconds(1_800_000_000));
    (Memory::new(Arc::new(clock.clone())), clock)
}

pub(super) fn engine(memory: &Memory) -> Engine {
    engine_on(memory, Arc::clone(&memory.log) as _)
}

/// An engine that sees its log through something.
pub(super) fn engine_on(memory: &Memory, log: Arc<dyn Log>) -> Engine {
    Engine::new(EngineOptions {
        service: Service::Accounts,
        log,
        documents: Arc::clone(&memory.documents) as _,
        sealing: Arc::new(Reversing),
        clock: Arc::clone(&memory.clock),
        hasher: Hasher::new(b"test"),
        cache: 100,
    })
}

pub(super) fn call(engine: &Engine, request: &str) -> Call {
    Call {
        commit: engine.hasher().commit_id(b"me", "Add", request),
        fingerprint: [7; 16],
        actor: Actor::Nobody,
        causation: None,
        trace: String::new(),
    }
}

pub(super) fn id(n: u8) -> Uuid {
    Uuid::from_bytes([n; 16])
}

pub(super) async fn add<const HISTORY: bool>(
    engine: &Engine,
    jar: u8,
    request: &str,
    beans: u64,
) -> Result<crate::Outcome<Jar<HISTORY>>, crate::ExecuteError> {
    let call = call(engine, request);
    engine
        .execute::<Jar<HISTORY>, _>(&call, id(jar), &Command::Add(beans), async |_| Ok(()))
        .await
}
