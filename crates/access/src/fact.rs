//! From published messages to values. A message that does not decode is no fact: fail closed.

use hearth_api::events::v1::{self as events, accounts_fact, envelope};
use hearth_kernel::{AreaId, HomeId, MembershipId, Role, Timestamp};
use prost::Message;

use crate::member::{HomeFacts, Member};

/// The fact of accounts in a published message.
pub(crate) fn read(bytes: &[u8]) -> Option<accounts_fact::Fact> {
    match events::Envelope::decode(bytes).ok()?.payload? {
        envelope::Payload::AccountsFact(fact) => fact.fact,
        _ => None,
    }
}

/// The grant for one home, if the account has one.
pub(crate) fn grant(access: &events::Access, home: HomeId) -> Option<Member> {
    let grant = access
        .grants
        .iter()
        .find(|grant| grant.home_id.as_ref() == home.as_bytes())?;
    Some(Member {
        membership: MembershipId::from_slice(&grant.membership_id)?,
        role: role(grant.role)?,
        areas: ids(&grant.area_ids, AreaId::from_slice)?,
        expires_at: grant.expires_at.as_ref().map(timestamp),
    })
}

fn role(number: i32) -> Option<Role> {
    u8::try_from(number).ok().and_then(Role::from_number)
}

/// Every id, or nothing: an area that cannot be read must not widen a guest's sight.
fn ids<T>(list: &[impl AsRef<[u8]>], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Vec<T>> {
    list.iter().map(|id| parse(id.as_ref())).collect()
}

pub(crate) fn home(fact: events::HomeFact) -> Option<HomeFacts> {
    Some(HomeFacts {
        home: HomeId::from_slice(&fact.home_id)?,
        ended: fact.status() == events::home_fact::Status::Ended,
        members: ids(&fact.membership_ids, MembershipId::from_slice)?,
        areas: ids(&fact.area_ids, AreaId::from_slice)?,
        time_zone: fact.time_zone,
        retention: fact.retention,
    })
}

pub(crate) fn timestamp(time: &prost_types::Timestamp) -> Timestamp {
    let micros = time
        .seconds
        .saturating_mul(1_000_000)
        .saturating_add(i64::from(time.nanos) / 1000);
    Timestamp::from_micros(micros)
}
