//! The fact `access.<account>`: what an account may do, folded event by event.

use hearth_accounts_domain::account::{Access, Event};
use hearth_accounts_domain::limits::REVOKED_NAMED;
use hearth_api::events::v1::{self as events, access::Status};
use hearth_kernel::{AccountId, AreaId, HomeId, MembershipId, SessionId, Timestamp};

use super::bytes;
use crate::app::mail::wire_time;

/// Ended sessions that are named at the same time.
const REVOKED: usize = 64;

/// The fact of an account that has none yet.
pub(super) fn nothing(account: AccountId) -> events::Access {
    events::Access {
        account_id: bytes(account),
        ..events::Access::default()
    }
}

/// Folds an event in. Answers whether the fact says something else now. An event that is in already changes nothing.
pub(super) fn fold(access: &mut events::Access, event: &Event) -> bool {
    match event {
        Event::Registered { .. } => access.set_status(Status::Unverified),
        Event::Verified { .. } | Event::Reopened => access.set_status(Status::Active),
        Event::ClosingStarted(_) => access.set_status(Status::Closing),
        Event::Closed => access.set_status(Status::Closed),
        Event::SessionEnded { session, at, .. } => revoke(access, *session, *at),
        Event::AccessNoted {
            home,
            access: noted,
        } => grant(access, *home, noted),
        Event::AccessEnded { membership, .. } => withdraw(access, *membership),
        Event::SessionOpened { .. }
        | Event::JoinBegun { .. }
        | Event::MailRequested { .. }
        | Event::Departed(_)
        | Event::Lapsed => return false,
    }
    true
}

fn revoke(access: &mut events::Access, session: SessionId, at: Timestamp) {
    let long_ago = at.minus(REVOKED_NAMED);
    let live = |it: &events::RevokedSession| {
        let revoked_at = it.revoked_at.as_ref();
        revoked_at.is_some_and(|time| time.seconds >= long_ago.seconds())
    };
    let list = &mut access.revoked_sessions;
    list.retain(|it| live(it) && it.session_id.as_ref() != session.as_bytes());
    list.push(events::RevokedSession {
        session_id: bytes(session),
        revoked_at: Some(wire_time(at)),
    });
    let surplus = list.len().saturating_sub(REVOKED);
    // A session that is named no more while one of its tokens may live: every token as old as that goes with it.
    if let Some(last) = list.drain(..surplus).last() {
        access.tokens_not_before = last.revoked_at;
    }
}

fn grant(access: &mut events::Access, home: HomeId, noted: &Access) {
    access
        .grants
        .retain(|it| it.home_id.as_ref() != home.as_bytes());
    access.grants.push(events::Grant {
        home_id: bytes(home),
        membership_id: bytes(noted.membership),
        role: i32::from(noted.role.number()),
        area_ids: noted
            .areas
            .iter()
            .map(|area: &AreaId| bytes(*area))
            .collect(),
        expires_at: noted.expires_at.map(wire_time),
    });
}

fn withdraw(access: &mut events::Access, membership: MembershipId) {
    access
        .grants
        .retain(|it| it.membership_id.as_ref() != membership.as_bytes());
}

#[cfg(test)]
mod tests {
    //! Ended sessions are named, or their tokens are refused by age.

    use hearth_accounts_domain::account::Cause;
    use hearth_kernel::Timestamp;

    use super::*;

    #[test]
    fn a_session_that_is_named_no_more_takes_its_tokens_with_it() {
        let mut access = nothing(AccountId::from_bytes([1; 16]));
        let start = Timestamp::from_seconds(1_800_000_000);
        let ended = |n: u8| Event::SessionEnded {
            session: SessionId::from_bytes([n; 16]),
            cause: Cause::Revoked,
            at: start.plus(std::time::Duration::from_secs(u64::from(n))),
        };
        for n in 1..=64 {
            assert!(fold(&mut access, &ended(n)));
        }
        assert_eq!(access.tokens_not_before, None, "all are named");
        for n in 65..=70 {
            fold(&mut access, &ended(n));
            let again = access.clone();
            fold(&mut access, &ended(n));
            assert_eq!(access, again, "an event that is in already changes nothing");
        }
        assert_eq!(access.revoked_sessions.len(), 64);
        let bound = access.tokens_not_before.expect("a bound");
        assert_eq!(
            bound.seconds,
            start.seconds() + 6,
            "the last one that is not named"
        );
    }
}
