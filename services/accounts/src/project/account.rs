//! What a commit of an account makes public.

use std::collections::BTreeMap;

use hearth_accounts_domain::account::{Cause, Closing, Departure, Event, Mail};
use hearth_api::events::v1::{
    self as events, accounts_event::Event as Out, accounts_fact::Fact, session_revoked,
};
use hearth_engine::{CodecError, Commit, Publication, PublishedFacts, RelayError, decode_events};
use hearth_kernel::{AccountId, Part};

use super::{access, bytes, current, event, fact, gone, of_account};
use crate::aggregates::Account;
use crate::app::mail::wire_time;

/// The facts of one commit: at most one per subject, the last word counts.
type Facts = BTreeMap<(&'static str, [u8; 16]), Publication>;

pub(super) async fn publish(
    account: AccountId,
    commit: &Commit,
    published: &PublishedFacts,
) -> Result<Vec<Publication>, RelayError> {
    if commit.is_tombstone() {
        let kinds = ["access", "address", "closing"];
        return Ok(kinds.map(|kind| gone(kind, account)).to_vec());
    }
    let events = decode_events::<Account>(account.into(), commit)?;
    let mut out = Vec::new();
    let mut facts = Facts::new();
    let mut access = match current(published, "access", account.into()).await? {
        Some(Fact::Access(access)) => access,
        _ => access::nothing(account),
    };
    let mut access_changed = false;
    let mut closing = match current(published, "closing", account.into()).await? {
        Some(Fact::Closing(closing)) => Some(closing),
        _ => None,
    };
    for it in &events {
        access_changed |= access::fold(&mut access, it);
        out.extend(happened(account, it)?);
        linked(account, it, &mut facts)?;
        close(account, it, &mut closing, &mut facts);
        if matches!(it, Event::Lapsed) {
            let lapsed = lapsed(account, commit)?;
            let owner = Some(of_account(account));
            let due = fact("closing", account, owner, Fact::Closing(lapsed));
            facts.insert(("closing", *account.as_bytes()), due);
        }
    }
    if access_changed {
        let access = fact(
            "access",
            account,
            Some(of_account(account)),
            Fact::Access(access),
        );
        facts
            .entry(("access", *account.as_bytes()))
            .or_insert(access);
    }
    out.extend(facts.into_values());
    Ok(out)
}

/// The event for others, if it is one.
fn happened(account: AccountId, it: &Event) -> Result<Option<Publication>, CodecError> {
    let account_id = bytes(account);
    let (name, out) = match it {
        Event::Registered { .. } => (
            "account-registered",
            Out::AccountRegistered(events::AccountRegistered { account_id }),
        ),
        Event::Verified { .. } => (
            "account-verified",
            Out::AccountVerified(events::AccountVerified { account_id }),
        ),
        Event::Lapsed => (
            "account-lapsed",
            Out::AccountLapsed(events::AccountLapsed { account_id }),
        ),
        Event::SessionOpened { session, .. } => (
            "session-opened",
            Out::SessionOpened(events::SessionOpened {
                account_id,
                session_id: bytes(*session),
            }),
        ),
        Event::SessionEnded { session, cause, .. } => (
            "session-revoked",
            Out::SessionRevoked(events::SessionRevoked {
                account_id,
                session_id: bytes(*session),
                cause: why(*cause).into(),
            }),
        ),
        Event::ClosingStarted(closing) => (
            "account-closing",
            Out::AccountClosing(events::AccountClosing {
                account_id,
                grace_ends_at: Some(wire_time(closing.grace_ends_at)),
            }),
        ),
        Event::Reopened => (
            "account-reopened",
            Out::AccountReopened(events::AccountReopened { account_id }),
        ),
        Event::Closed => (
            "account-closed",
            Out::AccountClosed(events::AccountClosed { account_id }),
        ),
        Event::MailRequested { mail, .. } => (
            "mail-requested",
            Out::MailRequested(request(account, mail)?),
        ),
        Event::JoinBegun { .. }
        | Event::AccessNoted { .. }
        | Event::AccessEnded { .. }
        | Event::Departed(_) => return Ok(None),
    };
    Ok(Some(event(name, account.into(), of_account(account), out)))
}

const fn why(cause: Cause) -> session_revoked::Cause {
    match cause {
        Cause::SignedOut => session_revoked::Cause::SignedOut,
        Cause::TokenReused => session_revoked::Cause::TokenReused,
        Cause::Revoked | Cause::Displaced | Cause::Expired => session_revoked::Cause::Revoked,
    }
}

fn request(account: AccountId, mail: &Mail) -> Result<events::MailRequested, CodecError> {
    Ok(events::MailRequested {
        mail_id: bytes(mail.id),
        account_id: bytes(account),
        sealed: sealed(&mail.content)?.into(),
        expires_at: Some(wire_time(mail.expires_at)),
    })
}

fn sealed(part: &Part) -> Result<Vec<u8>, CodecError> {
    let sealed = part.sealed().ok_or(CodecError::Malformed("part"))?;
    Ok(sealed.encode())
}

/// The facts that lead to the account and from it.
fn linked(account: AccountId, it: &Event, facts: &mut Facts) -> Result<(), CodecError> {
    let owner = || Some(of_account(account));
    match it {
        Event::Verified { address, .. } => {
            let address = events::Address {
                account_id: bytes(account),
                sealed: sealed(address)?.into(),
            };
            let address = fact("address", account, owner(), Fact::Address(address));
            facts.insert(("address", *account.as_bytes()), address);
        }
        Event::AccessNoted { home, access } => {
            let member = events::MemberFact {
                membership_id: bytes(access.membership),
                account_id: bytes(account),
                home_id: bytes(*home),
            };
            let member = fact("member", access.membership, owner(), Fact::Member(member));
            facts.insert(("member", *access.membership.as_bytes()), member);
        }
        Event::AccessEnded { membership, .. } => {
            facts.insert(
                ("member", *membership.as_bytes()),
                gone("member", *membership),
            );
        }
        Event::Lapsed => {
            facts.insert(("access", *account.as_bytes()), gone("access", account));
        }
        _ => {}
    }
    Ok(())
}

/// The fact of a closing, for retention.
fn close(
    account: AccountId,
    it: &Event,
    closing: &mut Option<events::ClosingFact>,
    facts: &mut Facts,
) {
    let published = match it {
        Event::ClosingStarted(started) => {
            let begun = begun(account, started);
            *closing = Some(begun.clone());
            fact(
                "closing",
                account,
                Some(of_account(account)),
                Fact::Closing(begun),
            )
        }
        Event::Reopened => {
            *closing = None;
            gone("closing", account)
        }
        Event::Departed(departure) => {
            let Some(standing) = closing.as_mut() else {
                return;
            };
            due(standing, departure);
            let standing = standing.clone();
            fact(
                "closing",
                account,
                Some(of_account(account)),
                Fact::Closing(standing),
            )
        }
        _ => return,
    };
    facts.insert(("closing", *account.as_bytes()), published);
}

fn begun(account: AccountId, closing: &Closing) -> events::ClosingFact {
    events::ClosingFact {
        account_id: bytes(account),
        closed_at: Some(wire_time(closing.closed_at)),
        grace_ends_at: Some(wire_time(closing.grace_ends_at)),
        due: false,
        receipt_id: bytes(closing.receipt),
        receipt_secret_hash: closing.receipt_secret_hash.to_vec().into(),
        ending_home_ids: Vec::new(),
        membership_ids: Vec::new(),
    }
}

/// What nobody confirmed is erased like what was closed, at once and unasked: its receipt is nobody's, since no
/// secret has a hash of zeros.
fn lapsed(account: AccountId, commit: &Commit) -> Result<events::ClosingFact, CodecError> {
    let receipt = commit.commit_id().ok_or(CodecError::Malformed("commit"))?;
    Ok(events::ClosingFact {
        account_id: bytes(account),
        closed_at: Some(wire_time(commit.decided_at())),
        grace_ends_at: Some(wire_time(commit.decided_at())),
        due: true,
        receipt_id: bytes(receipt),
        receipt_secret_hash: vec![0; 32].into(),
        ending_home_ids: Vec::new(),
        membership_ids: Vec::new(),
    })
}

fn due(closing: &mut events::ClosingFact, departure: &Departure) {
    closing.due = true;
    closing.ending_home_ids = departure.ended.iter().map(|it| bytes(*it)).collect();
    closing.membership_ids = departure.left.iter().map(|it| bytes(*it)).collect();
}
