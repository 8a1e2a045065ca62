//! The stored form of accounts.

use hearth_accounts_domain::account::{
    Access, AddressKey, Cause, Closing, Departure, Event, Joining, Mail, MailKind, Profile,
    Session, State, Status,
};
use hearth_api::stored::accounts::v1 as stored;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_kernel::{HomeId, Service};
use prost::Message;

use super::{
    all_bytes, bytes, decoded, empty_part, encoded, hash, id, ids, optional_micros, optional_part,
    optional_part_bytes, optional_time, part, part_bytes, role, role_number, time, unknown,
};
use crate::aggregates::Account;

impl Aggregate for Account {
    const SERVICE: Service = Service::Accounts;
    const KIND: &'static str = "account";
    const STORED: Stored = Stored::History;
    const LIFE: Life = Life::Lasting;
    const STATE_SCHEMA: u32 = 1;

    fn encode_event(event: &Event) -> EncodedEvent {
        encode(event)
    }

    fn decode_event(name: &str, major: u32, public: &[u8]) -> Result<Event, CodecError> {
        if major != super::MAJOR {
            return Err(unknown(name, major));
        }
        match name {
            "registered" | "verified" | "lapsed" | "closing_started" | "reopened" | "closed"
            | "departed" => standing(name, public),
            "session_opened" | "session_ended" | "mail_requested" => happening(name, public),
            "join_begun" | "access_noted" | "access_ended" => belonging(name, public),
            _ => Err(unknown(name, major)),
        }
    }

    fn encode_state(state: &State) -> Vec<u8> {
        state_out(state).encode_to_vec()
    }

    fn decode_state(schema: u32, bytes: &[u8]) -> Result<State, CodecError> {
        if schema != Self::STATE_SCHEMA {
            return Err(CodecError::Malformed("account state of another schema"));
        }
        let state = stored::AccountState::decode(bytes);
        state_in(state.map_err(|_| CodecError::Malformed("account state"))?)
    }
}

fn encode(event: &Event) -> EncodedEvent {
    match event {
        Event::Registered {
            account,
            registration,
            address_key,
            at,
            profile: _,
        } => encoded(
            "registered",
            &stored::AccountRegistered {
                account: bytes(*account),
                registration: bytes(*registration),
                at: at.micros(),
                address_key: address_key.0.to_vec().into(),
            },
        ),
        Event::Verified { account, at, .. } => encoded(
            "verified",
            &stored::AccountVerified {
                account: bytes(*account),
                at: at.micros(),
            },
        ),
        Event::SessionOpened {
            account,
            session,
            at,
            label: _,
        } => encoded(
            "session_opened",
            &stored::SessionOpened {
                account: bytes(*account),
                session: bytes(*session),
                at: at.micros(),
            },
        ),
        Event::SessionEnded { session, cause, at } => encoded(
            "session_ended",
            &stored::SessionEnded {
                session: bytes(*session),
                cause: cause_out(*cause).into(),
                at: at.micros(),
            },
        ),
        Event::JoinBegun {
            home,
            membership,
            at,
        } => encoded(
            "join_begun",
            &stored::JoinBegun {
                home: bytes(*home),
                membership: bytes(*membership),
                at: at.micros(),
            },
        ),
        Event::AccessNoted { home, access } => encoded("access_noted", &noted(*home, access)),
        Event::AccessEnded { home, membership } => encoded(
            "access_ended",
            &stored::AccessEnded {
                home: bytes(*home),
                membership: bytes(*membership),
            },
        ),
        Event::MailRequested { account, mail, at } => encoded(
            "mail_requested",
            &stored::MailRequested {
                account: bytes(*account),
                mail: bytes(mail.id),
                kind: kind_out(mail.kind).into(),
                expires_at: mail.expires_at.micros(),
                at: at.micros(),
            },
        ),
        Event::ClosingStarted(closing) => encoded("closing_started", &closing_out(closing)),
        Event::Reopened => encoded("reopened", &stored::AccountReopened {}),
        Event::Closed => encoded("closed", &stored::AccountClosed {}),
        Event::Departed(departure) => encoded("departed", &departure_out(departure)),
        Event::Lapsed => encoded("lapsed", &stored::AccountLapsed {}),
    }
}

fn standing(name: &str, public: &[u8]) -> Result<Event, CodecError> {
    Ok(match name {
        "registered" => {
            let it: stored::AccountRegistered = decoded(public)?;
            Event::Registered {
                account: id(&it.account)?,
                registration: id(&it.registration)?,
                address_key: key(&it.address_key)?,
                profile: Box::new(Profile {
                    email: empty_part(),
                    username: empty_part(),
                    locale: empty_part(),
                }),
                at: time(it.at),
            }
        }
        "verified" => {
            let it: stored::AccountVerified = decoded(public)?;
            Event::Verified {
                account: id(&it.account)?,
                address: empty_part(),
                at: time(it.at),
            }
        }
        "closing_started" => Event::ClosingStarted(closing_in(&decoded(public)?)?),
        "reopened" => Event::Reopened,
        "closed" => Event::Closed,
        "departed" => Event::Departed(departure_in(&decoded(public)?)?),
        "lapsed" => Event::Lapsed,
        _ => return Err(unknown(name, super::MAJOR)),
    })
}

fn happening(name: &str, public: &[u8]) -> Result<Event, CodecError> {
    Ok(match name {
        "session_opened" => {
            let it: stored::SessionOpened = decoded(public)?;
            Event::SessionOpened {
                account: id(&it.account)?,
                session: id(&it.session)?,
                label: empty_part(),
                at: time(it.at),
            }
        }
        "session_ended" => {
            let it: stored::SessionEnded = decoded(public)?;
            Event::SessionEnded {
                session: id(&it.session)?,
                cause: cause_in(it.cause())?,
                at: time(it.at),
            }
        }
        "mail_requested" => {
            let it: stored::MailRequested = decoded(public)?;
            Event::MailRequested {
                account: id(&it.account)?,
                mail: Box::new(Mail {
                    id: id(&it.mail)?,
                    kind: kind_in(it.kind())?,
                    content: empty_part(),
                    expires_at: time(it.expires_at),
                }),
                at: time(it.at),
            }
        }
        _ => return Err(unknown(name, super::MAJOR)),
    })
}

fn belonging(name: &str, public: &[u8]) -> Result<Event, CodecError> {
    Ok(match name {
        "join_begun" => {
            let (home, joining) = joining_in(&decoded(public)?)?;
            Event::JoinBegun {
                home,
                membership: joining.membership,
                at: joining.at,
            }
        }
        "access_noted" => {
            let (home, access) = access_in(&decoded(public)?)?;
            Event::AccessNoted { home, access }
        }
        "access_ended" => {
            let it: stored::AccessEnded = decoded(public)?;
            Event::AccessEnded {
                home: id(&it.home)?,
                membership: id(&it.membership)?,
            }
        }
        _ => return Err(unknown(name, super::MAJOR)),
    })
}

fn key(bytes: &[u8]) -> Result<AddressKey, CodecError> {
    let key = bytes.try_into().map(AddressKey);
    key.map_err(|_| CodecError::Malformed("address key"))
}

fn joining_in(it: &stored::JoinBegun) -> Result<(HomeId, Joining), CodecError> {
    let joining = Joining {
        membership: id(&it.membership)?,
        at: time(it.at),
    };
    Ok((id(&it.home)?, joining))
}

fn noted(home: HomeId, access: &Access) -> stored::AccessNoted {
    stored::AccessNoted {
        home: bytes(home),
        access: Some(stored::Access {
            membership: bytes(access.membership),
            role: role_number(access.role),
            areas: all_bytes(&access.areas),
            expires_at: optional_micros(access.expires_at),
            revision: access.revision,
        }),
    }
}

fn access_in(it: &stored::AccessNoted) -> Result<(HomeId, Access), CodecError> {
    let access = it.access.as_ref();
    let access = access.ok_or(CodecError::Malformed("access"))?;
    let read = Access {
        membership: id(&access.membership)?,
        role: role(access.role)?,
        areas: ids(&access.areas)?,
        expires_at: optional_time(access.expires_at),
        revision: access.revision,
    };
    Ok((id(&it.home)?, read))
}

fn closing_out(closing: &Closing) -> stored::ClosingStarted {
    stored::ClosingStarted {
        closed_at: closing.closed_at.micros(),
        grace_ends_at: closing.grace_ends_at.micros(),
        receipt: bytes(closing.receipt),
        receipt_secret_hash: closing.receipt_secret_hash.to_vec().into(),
    }
}

fn closing_in(it: &stored::ClosingStarted) -> Result<Closing, CodecError> {
    Ok(Closing {
        closed_at: time(it.closed_at),
        grace_ends_at: time(it.grace_ends_at),
        receipt: id(&it.receipt)?,
        receipt_secret_hash: hash(&it.receipt_secret_hash)?,
    })
}

fn departure_out(departure: &Departure) -> stored::AccountDeparted {
    stored::AccountDeparted {
        ended: all_bytes(&departure.ended),
        left: all_bytes(&departure.left),
    }
}

fn departure_in(it: &stored::AccountDeparted) -> Result<Departure, CodecError> {
    Ok(Departure {
        ended: ids(&it.ended)?,
        left: ids(&it.left)?,
    })
}

const fn cause_out(cause: Cause) -> stored::SessionCause {
    match cause {
        Cause::SignedOut => stored::SessionCause::SignedOut,
        Cause::Revoked => stored::SessionCause::Revoked,
        Cause::TokenReused => stored::SessionCause::TokenReused,
        Cause::Displaced => stored::SessionCause::Displaced,
        Cause::Expired => stored::SessionCause::Expired,
    }
}

const fn cause_in(cause: stored::SessionCause) -> Result<Cause, CodecError> {
    Ok(match cause {
        stored::SessionCause::Unspecified => return Err(CodecError::Malformed("cause")),
        stored::SessionCause::SignedOut => Cause::SignedOut,
        stored::SessionCause::Revoked => Cause::Revoked,
        stored::SessionCause::TokenReused => Cause::TokenReused,
        stored::SessionCause::Displaced => Cause::Displaced,
        stored::SessionCause::Expired => Cause::Expired,
    })
}

const fn kind_out(kind: MailKind) -> stored::MailKind {
    match kind {
        MailKind::Verification => stored::MailKind::Verification,
        MailKind::KnownAddress => stored::MailKind::KnownAddress,
        MailKind::Invitation => stored::MailKind::Invitation,
        MailKind::Closing => stored::MailKind::Closing,
    }
}

const fn kind_in(kind: stored::MailKind) -> Result<MailKind, CodecError> {
    Ok(match kind {
        stored::MailKind::Unspecified => return Err(CodecError::Malformed("mail kind")),
        stored::MailKind::Verification => MailKind::Verification,
        stored::MailKind::KnownAddress => MailKind::KnownAddress,
        stored::MailKind::Invitation => MailKind::Invitation,
        stored::MailKind::Closing => MailKind::Closing,
    })
}

fn state_out(state: &State) -> stored::AccountState {
    let status = match state.status {
        Status::Absent => stored::AccountStatus::Absent,
        Status::Unverified => stored::AccountStatus::Unverified,
        Status::Active => stored::AccountStatus::Active,
        Status::Closing(_) => stored::AccountStatus::Closing,
        Status::Closed(_) => stored::AccountStatus::Closed,
        Status::Departed(_) => stored::AccountStatus::Departed,
        Status::Lapsed => stored::AccountStatus::Lapsed,
    };
    let profile = state.profile.as_deref();
    let sessions = state.sessions.iter().map(|(id, it)| stored::OpenSession {
        session: bytes(*id),
        label: part_bytes(&it.label),
        opened_at: it.opened_at.micros(),
    });
    let revoked = state.revoked.iter().map(|(id, at)| stored::EndedSession {
        session: bytes(*id),
        at: at.micros(),
    });
    let joining = state.joining.iter().map(|(home, it)| stored::JoinBegun {
        home: bytes(*home),
        membership: bytes(it.membership),
        at: it.at.micros(),
    });
    stored::AccountState {
        status: status.into(),
        account: bytes(state.account),
        registration: bytes(state.registration),
        address_key: state.address_key.0.to_vec().into(),
        registered_at: state.registered_at.micros(),
        email: optional_part_bytes(profile.map(|it| &it.email)),
        username: optional_part_bytes(profile.map(|it| &it.username)),
        locale: optional_part_bytes(profile.map(|it| &it.locale)),
        address: optional_part_bytes(state.address.as_ref()),
        closing: state.closing().map(closing_out),
        sessions: sessions.collect(),
        revoked: revoked.collect(),
        homes: state.homes.iter().map(|(id, it)| noted(*id, it)).collect(),
        joining: joining.collect(),
        left: all_bytes(&state.left),
        departure: Some(departure_out(&state.departure)),
        told_known_at: optional_micros(state.told_known_at),
    }
}

fn state_in(it: stored::AccountState) -> Result<State, CodecError> {
    let closing = it.closing.as_ref().map(closing_in).transpose()?;
    let closing = closing.ok_or(CodecError::Malformed("closing"));
    let status = match it.status() {
        stored::AccountStatus::Unspecified => return Err(CodecError::Malformed("status")),
        stored::AccountStatus::Absent => Status::Absent,
        stored::AccountStatus::Unverified => Status::Unverified,
        stored::AccountStatus::Active => Status::Active,
        stored::AccountStatus::Closing => Status::Closing(closing?),
        stored::AccountStatus::Closed => Status::Closed(closing?),
        stored::AccountStatus::Departed => Status::Departed(closing?),
        stored::AccountStatus::Lapsed => Status::Lapsed,
    };
    let profile = match optional_part(&it.email)? {
        None => None,
        Some(email) => Some(Box::new(Profile {
            email,
            username: part(&it.username)?,
            locale: part(&it.locale)?,
        })),
    };
    let session = |it: &stored::OpenSession| {
        let session = Session {
            label: part(&it.label)?,
            opened_at: time(it.opened_at),
        };
        Ok::<_, CodecError>((id(&it.session)?, session))
    };
    let revoked = |it: &stored::EndedSession| Ok::<_, CodecError>((id(&it.session)?, time(it.at)));
    let departure = it.departure.as_ref().map(departure_in).transpose()?;
    Ok(State {
        status,
        account: id(&it.account)?,
        registration: id(&it.registration)?,
        address_key: key(&it.address_key)?,
        registered_at: time(it.registered_at),
        profile,
        address: optional_part(&it.address)?,
        sessions: it.sessions.iter().map(session).collect::<Result<_, _>>()?,
        revoked: it.revoked.iter().map(revoked).collect::<Result<_, _>>()?,
        homes: it.homes.iter().map(access_in).collect::<Result<_, _>>()?,
        joining: it
            .joining
            .iter()
            .map(joining_in)
            .collect::<Result<_, _>>()?,
        left: ids(&it.left)?,
        departure: departure.unwrap_or_default(),
        told_known_at: optional_time(it.told_known_at),
    })
}
