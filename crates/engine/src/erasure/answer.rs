//! A service's answer to an erasure, as an aggregate of that service, and as the fact that it publishes.

use bytes::Bytes;
use hearth_kernel::{Decider, ErasureId, Failure, PartSlot, Parts, Reason, Service, Timestamp};
use hearth_ports::Read;
use prost::Message;
use uuid::Uuid;

use super::{Erased, Stage};
use crate::aggregate::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use crate::call::{Actor, Call};
use crate::envelope::Commit;
use crate::error::ExecuteError;
use crate::execute::Engine;
use crate::relay::{Publication, Target};

/// The aggregate's kind.
pub const KIND: &str = "erasure-answer";
/// The kind of the fact.
const FACT: &str = "erasure";
const EVENT: &str = "erasure_answered";
const MAJOR: u32 = 1;

/// `hearth.events.v1.ErasureAnswer`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireAnswer {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) erasure: Bytes,
    #[prost(enumeration = "Stage", tag = "2")]
    pub(super) stage: i32,
    #[prost(message, repeated, tag = "3")]
    pub(super) stores: Vec<WireErased>,
    #[prost(message, optional, tag = "4")]
    pub(super) done_at: Option<WireTime>,
}

/// `hearth.events.v1.StoreErased`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WireErased {
    #[prost(string, tag = "1")]
    store: String,
    #[prost(uint64, tag = "2")]
    removed: u64,
    #[prost(message, repeated, tag = "3")]
    residuals: Vec<WireResidual>,
}

/// `hearth.events.v1.ResidualLeft`.
#[derive(Clone, PartialEq, prost::Message)]
struct WireResidual {
    #[prost(string, tag = "1")]
    what: String,
    #[prost(message, optional, tag = "2")]
    ends_at: Option<WireTime>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct WireTime {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl From<Timestamp> for WireTime {
    fn from(time: Timestamp) -> Self {
        // Below 10^9, so it fits.
        let nanos = i32::try_from(time.subsecond_micros().saturating_mul(1000));
        Self {
            seconds: time.seconds(),
            nanos: nanos.unwrap_or(0),
        }
    }
}

fn wire(store: &str, erased: &Erased) -> WireErased {
    let residual = |(what, ends_at): &(&'static str, Option<Timestamp>)| WireResidual {
        what: (*what).to_owned(),
        ends_at: ends_at.map(WireTime::from),
    };
    WireErased {
        store: store.to_owned(),
        removed: erased.removed,
        residuals: erased.residuals.iter().map(residual).collect(),
    }
}

/// The answer of the service with that number.
#[derive(Debug)]
struct Answer<const SERVICE: u8>;

/// What was answered, as it is published; empty before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    answer: Bytes,
}

/// It was answered: an encoded `ErasureAnswer`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answered(Bytes);

impl Parts for Answered {
    fn parts(&mut self) -> Vec<PartSlot<'_>> {
        Vec::new()
    }
}

/// Nothing is refused: what was answered stays the answer.
#[derive(Debug, PartialEq, Eq)]
enum Never {}

impl From<Never> for Failure {
    fn from(never: Never) -> Self {
        match never {}
    }
}

impl<const SERVICE: u8> Decider for Answer<SERVICE> {
    type State = State;
    type Command = Bytes;
    type Event = Answered;
    type Facts = ();
    type Rejection = Never;

    fn decide(state: &State, command: &Bytes, (): &()) -> Result<Vec<Answered>, Never> {
        if state.answer.is_empty() {
            Ok(vec![Answered(command.clone())])
        } else {
            Ok(Vec::new())
        }
    }

    fn evolve(mut state: State, event: &Answered) -> State {
        state.answer = event.0.clone();
        state
    }

    fn invariant(_: &State) -> Result<(), &'static str> {
        Ok(())
    }
}

impl<const NUMBER: u8> Aggregate for Answer<NUMBER> {
    const SERVICE: Service = service(NUMBER);
    const KIND: &'static str = KIND;
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Episodic;
    const STATE_SCHEMA: u32 = 1;
    const REMEMBER: usize = 1;

    fn encode_event(event: &Answered) -> EncodedEvent {
        EncodedEvent {
            name: EVENT,
            major: MAJOR,
            public: event.0.to_vec(),
        }
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<Answered, CodecError> {
        if (name, major) != (EVENT, MAJOR) {
            return Err(CodecError::UnknownEvent {
                name: name.to_owned(),
                major,
            });
        }
        WireAnswer::decode(public).map_err(|_| CodecError::Malformed("erasure answer"))?;
        Ok(Answered(Bytes::copy_from_slice(public)))
    }

    fn encode_state(state: &State) -> Vec<u8> {
        state.answer.to_vec()
    }

    fn decode_state(_: u32, bytes: &[u8]) -> Result<State, CodecError> {
        Ok(State {
            answer: Bytes::copy_from_slice(bytes),
        })
    }
}

/// The service of an [`Answer`]; the number is one of [`Service::number`], as `dispatch` sees to.
const fn service(number: u8) -> Service {
    match number {
        1 => Service::Accounts,
        2 => Service::Ingest,
        3 => Service::Media,
        4 => Service::Notifications,
        5 => Service::Retention,
        _ => Service::Vault,
    }
}

/// Calls a function with the answer type of the engine's service.
macro_rules! dispatch {
    ($engine:expr, $function:ident ( $($argument:expr),* )) => {
        match $engine.service() {
            Service::Accounts => $function::<1>($engine, $($argument),*).await,
            Service::Ingest => $function::<2>($engine, $($argument),*).await,
            Service::Media => $function::<3>($engine, $($argument),*).await,
            Service::Notifications => $function::<4>($engine, $($argument),*).await,
            Service::Retention => $function::<5>($engine, $($argument),*).await,
            Service::Vault => $function::<6>($engine, $($argument),*).await,
        }
    };
}

/// Whether the answer stands already.
pub(super) async fn given(engine: &Engine, erasure: ErasureId) -> Result<bool, ExecuteError> {
    dispatch!(engine, given_as(erasure))
}

async fn given_as<const SERVICE: u8>(
    engine: &Engine,
    erasure: ErasureId,
) -> Result<bool, ExecuteError> {
    let loaded = engine
        .load::<Answer<SERVICE>>(erasure, Read::Leader)
        .await?;
    Ok(loaded.gone || loaded.exists())
}

/// Answers.
pub(super) async fn give(
    engine: &Engine,
    erasure: ErasureId,
    done: &[(&'static str, Erased)],
) -> Result<(), ExecuteError> {
    let answer = WireAnswer {
        erasure: Bytes::copy_from_slice(erasure.as_bytes()),
        stage: Stage::Purging.into(),
        stores: done
            .iter()
            .map(|(store, erased)| wire(store, erased))
            .collect(),
        done_at: Some(engine.now().into()),
    };
    let answer = Bytes::from(answer.encode_to_vec());
    dispatch!(engine, give_as(erasure, &answer))
}

async fn give_as<const SERVICE: u8>(
    engine: &Engine,
    erasure: ErasureId,
    answer: &Bytes,
) -> Result<(), ExecuteError> {
    let call = Call {
        commit: engine
            .hasher()
            .commit_id(b"erasure", "answer", &erasure.to_string()),
        // One answer, whatever a second run counts.
        fingerprint: [0; 16],
        actor: Actor::Service(engine.service()),
        causation: None,
        trace: String::new(),
    };
    let answered = engine
        .execute::<Answer<SERVICE>, _>(&call, erasure, answer, async |_| Ok(()))
        .await;
    match answered {
        Err(ExecuteError::Refused(failure)) if failure.reason == Reason::ERASED => Ok(()),
        other => other.map(|_| ()),
    }
}

/// Purges the answer of an erasure that has ended.
pub(super) async fn forget(engine: &Engine, erasure: ErasureId) -> Result<(), ExecuteError> {
    dispatch!(engine, forget_as(erasure))
}

async fn forget_as<const SERVICE: u8>(
    engine: &Engine,
    erasure: ErasureId,
) -> Result<(), ExecuteError> {
    engine.purge::<Answer<SERVICE>>(erasure).await.map(|_| ())
}

/// Drops the answer of an erasure from memory. The kind is the same in every service.
pub(crate) fn uncache(engine: &Engine, erasure: Uuid) {
    engine.drop_cached::<Answer<1>>(erasure);
}

/// What a commit of an answer makes public; `None` for commits of other aggregates. A service's publisher asks this
/// first.
///
/// # Errors
/// `Malformed`.
pub fn publications(commit: &Commit) -> Result<Option<Vec<Publication>>, CodecError> {
    if commit.kind != KIND {
        return Ok(None);
    }
    let reference = commit
        .reference()
        .ok_or(CodecError::Malformed("erasure answer"))?;
    let gone = commit.is_tombstone();
    let body = match commit.events.first() {
        Some(event) if !gone => envelope(reference.service, &event.public),
        _ => gone_body(),
    };
    let target = Target::Fact {
        kind: FACT,
        id: reference.id,
        gone,
    };
    Ok(Some(vec![Publication { target, body }]))
}

/// The field of the envelope that holds a service's facts, and the field of those that holds the answer.
const fn tags(service: Service) -> (u32, u32) {
    match service {
        Service::Accounts => (41, 7),
        Service::Ingest => (42, 3),
        Service::Media => (43, 3),
        Service::Notifications => (44, 3),
        Service::Retention => (45, 3),
        Service::Vault => (46, 3),
    }
}

fn envelope(service: Service, answer: &[u8]) -> Vec<u8> {
    let (fact, field) = tags(service);
    nested(fact, &nested(field, answer))
}

/// `hearth.events.v1.Gone`, field 60.
fn gone_body() -> Vec<u8> {
    nested(60, &[])
}

/// A message field: key, length, bytes.
fn nested(tag: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut out);
    prost::encoding::encode_varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX), &mut out);
    out.extend_from_slice(bytes);
    out
}
