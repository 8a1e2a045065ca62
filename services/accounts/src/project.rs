//! What others learn of accounts: events with ids and states, and facts that stand until they end.
//!
//! A fact is folded from its former value and one commit, never from anything else, so that the relay may publish it
//! again after a crash. No name, address or other content is published but sealed.

mod access;
mod account;
mod home;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_api::events::v1::{self as events, accounts_event, accounts_fact, envelope};
use hearth_engine::{
    Aggregate, CodecError, Commit, Publication, PublishedFacts, Publisher, RelayError, Target,
    erasure,
};
use hearth_kernel::{AccountId, HomeId};
use prost::Message;
use uuid::Uuid;

use crate::aggregates::{Account, Home, TokenKeys};
use crate::app::mail::wire_time;

/// The major version of every event so far.
const MAJOR: u32 = 1;

/// What accounts publishes.
#[derive(Debug)]
pub(crate) struct Published;

#[async_trait]
impl Publisher for Published {
    async fn publish(
        &self,
        commit: &Commit,
        facts: &PublishedFacts,
    ) -> Result<Vec<Publication>, RelayError> {
        if let Some(answered) = erasure::publications(commit)? {
            return Ok(answered);
        }
        let reference = commit.reference().ok_or(CodecError::Malformed("commit"))?;
        match &*reference.kind {
            Account::KIND => account::publish(reference.id.into(), commit, facts).await,
            Home::KIND => home::publish(reference.id.into(), commit, facts).await,
            TokenKeys::KIND => keys(reference.id, commit, facts).await,
            _ => Err(CodecError::Malformed("kind").into()),
        }
    }
}

/// The fact that stands published, if there is one.
async fn current(
    facts: &PublishedFacts,
    kind: &str,
    id: Uuid,
) -> Result<Option<accounts_fact::Fact>, RelayError> {
    let Some(bytes) = facts.current(kind, id).await? else {
        return Ok(None);
    };
    let envelope = events::Envelope::decode(bytes);
    match envelope.map_err(|_| CodecError::Malformed("fact"))?.payload {
        Some(envelope::Payload::AccountsFact(fact)) => Ok(fact.fact),
        _ => Ok(None),
    }
}

fn bytes(id: impl Into<Uuid>) -> Bytes {
    Bytes::copy_from_slice(id.into().as_bytes())
}

fn of_account(account: AccountId) -> events::Owner {
    events::Owner {
        owner: Some(events::owner::Owner::AccountId(bytes(account))),
    }
}

fn of_home(home: HomeId) -> events::Owner {
    events::Owner {
        owner: Some(events::owner::Owner::HomeId(bytes(home))),
    }
}

fn body(owner: Option<events::Owner>, payload: envelope::Payload) -> Vec<u8> {
    let envelope = events::Envelope {
        stamp: None,
        owner,
        payload: Some(payload),
    };
    envelope.encode_to_vec()
}

/// An event about an owner.
fn event(
    name: &'static str,
    id: Uuid,
    owner: events::Owner,
    event: accounts_event::Event,
) -> Publication {
    let event = events::AccountsEvent { event: Some(event) };
    Publication {
        target: Target::Event {
            name,
            major: MAJOR,
            id,
        },
        body: body(Some(owner), envelope::Payload::AccountsEvent(event)),
    }
}

/// A fact that stands.
fn fact(
    kind: &'static str,
    id: impl Into<Uuid>,
    owner: Option<events::Owner>,
    fact: accounts_fact::Fact,
) -> Publication {
    let fact = events::AccountsFact { fact: Some(fact) };
    Publication {
        target: Target::Fact {
            kind,
            id: id.into(),
            gone: false,
        },
        body: body(owner, envelope::Payload::AccountsFact(fact)),
    }
}

/// The end of a fact.
fn gone(kind: &'static str, id: impl Into<Uuid>) -> Publication {
    Publication {
        target: Target::Fact {
            kind,
            id: id.into(),
            gone: true,
        },
        body: body(None, envelope::Payload::Gone(events::Gone {})),
    }
}

/// The keys of access tokens: those that stand, and the new one.
async fn keys(
    id: Uuid,
    commit: &Commit,
    facts: &PublishedFacts,
) -> Result<Vec<Publication>, RelayError> {
    use hearth_accounts_domain::token_keys::Event;
    let mut keys = match current(facts, "keys", id).await? {
        Some(accounts_fact::Fact::Keys(keys)) => keys,
        _ => events::SigningKeys::default(),
    };
    for Event::Announced(key) in hearth_engine::decode_events::<TokenKeys>(id, commit)? {
        keys.keys.retain(|known| known.key_id != key.id);
        keys.keys.push(events::SigningKey {
            key_id: key.id,
            public_key: key.public.to_vec().into(),
            r#use: events::signing_key::Use::AccessToken.into(),
            not_before: Some(wire_time(key.not_before)),
            not_after: None,
        });
    }
    let most = hearth_accounts_domain::limits::TOKEN_KEYS;
    let surplus = keys.keys.len().saturating_sub(most);
    keys.keys.drain(..surplus);
    Ok(vec![fact(
        "keys",
        id,
        None,
        accounts_fact::Fact::Keys(keys),
    )])
}
