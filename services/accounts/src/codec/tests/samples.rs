//! One of each event, and states with every field set.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_accounts_domain::account::{
    self, Access, AddressKey, Cause, Closing, Departure, Joining, Mail, MailKind, Profile,
};
use hearth_accounts_domain::home::{self, DataFamily, HomeKind, Invitation, Member, Scope};
use hearth_accounts_domain::registration::{Request, Stage};
use hearth_accounts_domain::{credentials, email, membership, registration, session, token_keys};
use hearth_kernel::{
    AccountId, AggregateRef, AreaId, CommitId, HomeId, InvitationId, MembershipId, Origin, Owner,
    Part, Purpose, ReceiptId, RegistrationId, RetentionClass, Role, Sealed, Service, SessionId,
    Timestamp, TokenId,
};

const ACCOUNT: AccountId = AccountId::from_bytes([1; 16]);
const HOME: HomeId = HomeId::from_bytes([2; 16]);
const MEMBERSHIP: MembershipId = MembershipId::from_bytes([3; 16]);
const AREA: AreaId = AreaId::from_bytes([4; 16]);
const INVITATION: InvitationId = InvitationId::from_bytes([5; 16]);
const SESSION: SessionId = SessionId::from_bytes([6; 16]);
const REGISTRATION: RegistrationId = RegistrationId::from_bytes([7; 16]);
const SEED: CommitId = CommitId::from_bytes([8; 16]);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_700_000_000 + seconds)
}

/// A part as a stored state holds it.
fn part(n: u8) -> Part {
    Part::Sealed(Sealed {
        owner: Owner::Account(ACCOUNT),
        purpose: Purpose::Profile,
        origin: Origin {
            aggregate: AggregateRef::new(Service::Accounts, "account", ACCOUNT),
            version: 1,
            event: 0,
            part: u16::from(n),
        },
        bytes: Arc::from([n; 48].as_slice()),
    })
}

fn profile() -> Profile {
    Profile {
        email: part(0),
        username: part(1),
        locale: part(2),
    }
}

fn closing() -> Closing {
    Closing {
        closed_at: at(1),
        grace_ends_at: at(2),
        receipt: ReceiptId::from_bytes([9; 16]),
        receipt_secret_hash: [10; 32],
    }
}

fn access() -> Access {
    Access {
        membership: MEMBERSHIP,
        role: Role::Guest,
        areas: [AREA].into(),
        expires_at: Some(at(3)),
        revision: 7,
    }
}

fn departure() -> Departure {
    Departure {
        ended: [HOME].into(),
        left: [MEMBERSHIP].into(),
    }
}

pub(super) fn account_events() -> Vec<account::Event> {
    use account::Event;
    let mail = |kind| Event::MailRequested {
        account: ACCOUNT,
        mail: Box::new(Mail {
            id: TokenId::from_bytes([11; 16]),
            kind,
            content: part(0),
            expires_at: at(4),
        }),
        at: at(5),
    };
    let ended = |cause| Event::SessionEnded {
        session: SESSION,
        cause,
        at: at(6),
    };
    vec![
        Event::Registered {
            account: ACCOUNT,
            registration: REGISTRATION,
            address_key: AddressKey([18; 16]),
            profile: Box::new(profile()),
            at: at(0),
        },
        Event::Verified {
            account: ACCOUNT,
            address: part(0),
            at: at(1),
        },
        Event::SessionOpened {
            account: ACCOUNT,
            session: SESSION,
            label: part(0),
            at: at(2),
        },
        ended(Cause::SignedOut),
        ended(Cause::Revoked),
        ended(Cause::TokenReused),
        ended(Cause::Displaced),
        ended(Cause::Expired),
        Event::JoinBegun {
            home: HOME,
            membership: MEMBERSHIP,
            at: at(3),
        },
        Event::AccessNoted {
            home: HOME,
            access: access(),
        },
        Event::AccessEnded {
            home: HOME,
            membership: MEMBERSHIP,
        },
        mail(MailKind::Verification),
        mail(MailKind::KnownAddress),
        mail(MailKind::Invitation),
        mail(MailKind::Closing),
        Event::ClosingStarted(closing()),
        Event::Reopened,
        Event::Closed,
        Event::Departed(departure()),
        Event::Lapsed,
    ]
}

pub(super) fn account_states() -> Vec<account::State> {
    use account::{Session, State, Status};
    let full = |status| State {
        status,
        account: ACCOUNT,
        registration: REGISTRATION,
        address_key: AddressKey([18; 16]),
        registered_at: at(0),
        profile: Some(Box::new(profile())),
        address: Some(part(3)),
        sessions: [(
            SESSION,
            Session {
                label: part(4),
                opened_at: at(1),
            },
        )]
        .into(),
        revoked: [(SessionId::from_bytes([12; 16]), at(2))].into(),
        homes: [(HOME, access())].into(),
        joining: [(
            HomeId::from_bytes([13; 16]),
            Joining {
                membership: MembershipId::from_bytes([14; 16]),
                at: at(3),
            },
        )]
        .into(),
        left: [MembershipId::from_bytes([15; 16])].into(),
        departure: departure(),
        told_known_at: Some(at(4)),
    };
    vec![
        State::default(),
        full(Status::Unverified),
        full(Status::Active),
        full(Status::Closing(closing())),
        full(Status::Closed(closing())),
        full(Status::Departed(closing())),
        full(Status::Lapsed),
    ]
}

fn scope(role: Role) -> Scope {
    Scope {
        role,
        areas: BTreeSet::from([AREA]),
        expires_at: Some(at(9)),
    }
}

fn invitation() -> Invitation {
    Invitation {
        scope: scope(Role::Guest),
        expires_at: at(10),
        by: MEMBERSHIP,
    }
}

pub(super) fn home_events() -> Vec<home::Event> {
    use home::Event;
    let created = |kind| Event::Created {
        home: HOME,
        name: part(0),
        kind,
        time_zone: "Europe/Skopje".into(),
        at: at(0),
    };
    let chosen = |family, class| Event::RetentionChosen { family, class };
    let joined = |invitation| Event::MemberJoined {
        membership: MEMBERSHIP,
        scope: scope(Role::Owner),
        invitation,
        at: at(1),
    };
    vec![
        created(HomeKind::Household),
        created(HomeKind::Office),
        Event::Renamed {
            home: HOME,
            name: part(0),
        },
        Event::TimeZoneChanged {
            time_zone: "Europe/Berlin".into(),
        },
        chosen(DataFamily::Readings, RetentionClass::Days400),
        chosen(DataFamily::Water, RetentionClass::Days7),
        Event::AreaAdded {
            home: HOME,
            area: AREA,
            name: part(0),
        },
        Event::AreaRenamed {
            home: HOME,
            area: AREA,
            name: part(0),
        },
        Event::AreaRemoved { area: AREA },
        Event::Invited {
            invitation: INVITATION,
            invited: invitation(),
        },
        Event::InvitationLapsed {
            invitation: INVITATION,
        },
        joined(None),
        joined(Some(INVITATION)),
        Event::MemberChanged {
            membership: MEMBERSHIP,
            scope: scope(Role::Adult),
        },
        Event::MemberLeft {
            membership: MEMBERSHIP,
        },
        Event::Ended,
    ]
}

pub(super) fn home_states() -> Vec<home::State> {
    use home::{State, Status};
    let full = |status, kind| State {
        status,
        home: HOME,
        name: Some(part(0)),
        kind,
        time_zone: "Europe/Skopje".into(),
        created_at: at(0),
        areas: [(AREA, part(1))].into(),
        members: [(
            MEMBERSHIP,
            Member {
                scope: scope(Role::Admin),
                joined_at: at(1),
            },
        )]
        .into(),
        invitations: [(INVITATION, invitation())].into(),
        retention: [(DataFamily::Water, RetentionClass::Days30)].into(),
        revision: 12,
    };
    vec![
        State::default(),
        full(Status::Active, HomeKind::Household),
        full(Status::Ended, HomeKind::Office),
    ]
}

fn request() -> Box<Request> {
    Box::new(Request {
        account: ACCOUNT,
        profile: profile(),
        password: part(3),
        client_secret_hash: [16; 32],
    })
}

pub(super) fn registration_events() -> Vec<registration::Event> {
    use registration::Event;
    vec![
        Event::Asked {
            request: request(),
            at: at(0),
        },
        Event::Proceeded,
        Event::Dropped,
        Event::WrongCodeCounted,
    ]
}

pub(super) fn registration_states() -> Vec<registration::State> {
    let at_stage = |stage| registration::State {
        stage,
        requested_at: at(0),
        tries: 3,
    };
    vec![
        registration::State::default(),
        at_stage(Stage::Requested(request())),
        at_stage(Stage::Pending {
            account: ACCOUNT,
            client_secret_hash: [16; 32],
        }),
        at_stage(Stage::Dropped { account: None }),
        at_stage(Stage::Dropped {
            account: Some(ACCOUNT),
        }),
    ]
}

pub(super) fn email_events() -> Vec<email::Event> {
    vec![email::Event::Reserved {
        account: ACCOUNT,
        at: at(0),
    }]
}

pub(super) fn email_states() -> Vec<email::State> {
    let reserved = email::State {
        account: Some(ACCOUNT),
        reserved_at: at(0),
        reservations: 0,
    };
    let again = email::State {
        reservations: 3,
        ..reserved.clone()
    };
    vec![email::State::default(), reserved, again]
}

pub(super) fn credentials_events() -> Vec<credentials::Event> {
    use credentials::Event;
    vec![
        Event::PasswordSet {
            account: ACCOUNT,
            password: part(0),
        },
        Event::PasswordRehashed {
            account: ACCOUNT,
            password: part(0),
        },
        Event::AttemptFailed { at: at(0) },
        Event::AttemptsForgiven,
    ]
}

pub(super) fn credentials_states() -> Vec<credentials::State> {
    let guessed = credentials::State {
        password: Some(part(0)),
        failures: 7,
        failed_at: at(1),
    };
    vec![credentials::State::default(), guessed]
}

pub(super) fn session_events() -> Vec<session::Event> {
    use session::Event;
    vec![
        Event::Opened {
            account: ACCOUNT,
            seed: SEED,
            at: at(0),
        },
        Event::Rotated {
            generation: 2,
            at: at(1),
        },
    ]
}

pub(super) fn session_states() -> Vec<session::State> {
    let rotated = session::State {
        account: Some(ACCOUNT),
        seed: SEED,
        generation: 2,
        opened_at: at(0),
        rotated_at: at(1),
    };
    vec![session::State::default(), rotated]
}

pub(super) fn membership_events() -> Vec<membership::Event> {
    vec![membership::Event::Taken {
        account: ACCOUNT,
        home: HOME,
    }]
}

pub(super) fn membership_states() -> Vec<membership::State> {
    let taken = membership::State {
        holder: Some((ACCOUNT, HOME)),
    };
    vec![membership::State::default(), taken]
}

fn key() -> token_keys::Key {
    token_keys::Key {
        id: "0a".repeat(16),
        public: [17; 32],
        not_before: at(0),
    }
}

pub(super) fn token_keys_events() -> Vec<token_keys::Event> {
    vec![token_keys::Event::Announced(key())]
}

pub(super) fn token_keys_states() -> Vec<token_keys::State> {
    let one = token_keys::State { keys: vec![key()] };
    vec![token_keys::State::default(), one]
}
