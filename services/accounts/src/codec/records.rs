//! The stored form of the records. A record's decoder reads every schema ever released.

use hearth_accounts_domain::account::Profile;
use hearth_accounts_domain::registration::{Request, Stage};
use hearth_accounts_domain::{credentials, email, membership, registration, session};
use hearth_api::stored::accounts::v1 as stored;
use hearth_engine::{Aggregate, CodecError, EncodedEvent, Life, Stored};
use hearth_kernel::{AccountId, CommitId, Service};
use prost::Message;

use super::{
    bytes, decoded, empty_part, encoded, hash, id, optional_id, optional_part, optional_part_bytes,
    part, part_bytes, time, unknown,
};
use crate::aggregates::{Credentials, Email, Membership, Registration, SessionFamily};

/// What is the same for every record: where it lies, how long, and that its schema is the first.
macro_rules! record {
    ($aggregate:ty, $kind:literal, $life:expr, $remember:literal, $module:ident) => {
        impl Aggregate for $aggregate {
            const SERVICE: Service = Service::Accounts;
            const KIND: &'static str = $kind;
            const STORED: Stored = Stored::Record;
            const LIFE: Life = $life;
            const STATE_SCHEMA: u32 = 1;
            const REMEMBER: usize = $remember;

            fn encode_event(event: &Self::Event) -> EncodedEvent {
                $module::event_out(event)
            }

            fn decode_event(
                name: &str,
                major: u32,
                public: &[u8],
            ) -> Result<Self::Event, CodecError> {
                if major != super::MAJOR {
                    return Err(unknown(name, major));
                }
                $module::event_in(name, public)
            }

            fn encode_state(state: &Self::State) -> Vec<u8> {
                $module::state_out(state).encode_to_vec()
            }

            fn decode_state(schema: u32, bytes: &[u8]) -> Result<Self::State, CodecError> {
                if schema != Self::STATE_SCHEMA {
                    return Err(CodecError::Malformed("record of another schema"));
                }
                let state = Message::decode(bytes).map_err(|_| CodecError::Malformed("record"))?;
                $module::state_in(state)
            }
        }
    };
}

// Only a registration is asked for by a client's request id. What is done to the others names its own effect, and
// remembering each refresh of a session would make its record a hundred times as large.
record!(
    Registration,
    "registration",
    Life::Episodic,
    16,
    of_registration
);
record!(Email, "email", Life::Lasting, 0, of_email);
record!(Credentials, "credentials", Life::Lasting, 0, of_credentials);
record!(SessionFamily, "session", Life::Episodic, 0, of_session);
record!(Membership, "membership", Life::Lasting, 0, of_membership);

mod of_registration {
    use super::*;
    use registration::{Event, State};

    pub(super) fn event_out(event: &Event) -> EncodedEvent {
        match event {
            Event::Asked { request, at } => encoded(
                "asked",
                &stored::RegistrationAsked {
                    account: bytes(request.account),
                    client_secret_hash: request.client_secret_hash.to_vec().into(),
                    at: at.micros(),
                },
            ),
            Event::Proceeded => encoded("proceeded", &stored::RegistrationProceeded {}),
            Event::Dropped => encoded("dropped", &stored::RegistrationDropped {}),
            Event::WrongCodeCounted => encoded("wrong_code_counted", &stored::WrongCodeCounted {}),
        }
    }

    pub(super) fn event_in(name: &str, public: &[u8]) -> Result<Event, CodecError> {
        Ok(match name {
            "asked" => {
                let it: stored::RegistrationAsked = decoded(public)?;
                let request = Request {
                    account: id(&it.account)?,
                    profile: Profile {
                        email: empty_part(),
                        username: empty_part(),
                        locale: empty_part(),
                    },
                    password: empty_part(),
                    client_secret_hash: hash(&it.client_secret_hash)?,
                };
                Event::Asked {
                    request: Box::new(request),
                    at: time(it.at),
                }
            }
            "proceeded" => Event::Proceeded,
            "dropped" => Event::Dropped,
            "wrong_code_counted" => Event::WrongCodeCounted,
            _ => return Err(unknown(name, super::super::MAJOR)),
        })
    }

    pub(super) fn state_out(state: &State) -> stored::RegistrationState {
        let mut out = stored::RegistrationState {
            requested_at: state.requested_at.micros(),
            tries: state.tries.into(),
            ..stored::RegistrationState::default()
        };
        let mut known = |account: AccountId, hash: &[u8; 32]| {
            out.account = bytes(account);
            out.client_secret_hash = hash.to_vec().into();
        };
        let stage = match &state.stage {
            Stage::Absent => stored::RegistrationStage::Absent,
            Stage::Dropped { account } => {
                out.account = account.map(bytes).unwrap_or_default();
                stored::RegistrationStage::Dropped
            }
            Stage::Pending {
                account,
                client_secret_hash,
            } => {
                known(*account, client_secret_hash);
                stored::RegistrationStage::Pending
            }
            Stage::Requested(request) => {
                known(request.account, &request.client_secret_hash);
                out.email = part_bytes(&request.profile.email);
                out.username = part_bytes(&request.profile.username);
                out.locale = part_bytes(&request.profile.locale);
                out.password = part_bytes(&request.password);
                stored::RegistrationStage::Requested
            }
        };
        out.stage = stage.into();
        out
    }

    pub(super) fn state_in(it: stored::RegistrationState) -> Result<State, CodecError> {
        let stage = match it.stage() {
            stored::RegistrationStage::Unspecified => return Err(CodecError::Malformed("stage")),
            stored::RegistrationStage::Absent => Stage::Absent,
            stored::RegistrationStage::Dropped => Stage::Dropped {
                account: optional_id(&it.account)?,
            },
            stored::RegistrationStage::Pending => Stage::Pending {
                account: id(&it.account)?,
                client_secret_hash: hash(&it.client_secret_hash)?,
            },
            stored::RegistrationStage::Requested => Stage::Requested(Box::new(Request {
                account: id(&it.account)?,
                profile: Profile {
                    email: part(&it.email)?,
                    username: part(&it.username)?,
                    locale: part(&it.locale)?,
                },
                password: part(&it.password)?,
                client_secret_hash: hash(&it.client_secret_hash)?,
            })),
        };
        Ok(State {
            stage,
            requested_at: time(it.requested_at),
            tries: u8::try_from(it.tries).map_err(|_| CodecError::Malformed("tries"))?,
        })
    }
}

mod of_email {
    use super::*;
    use email::{Event, State};

    pub(super) fn event_out(event: &Event) -> EncodedEvent {
        let Event::Reserved { account, at } = event;
        let message = stored::EmailReserved {
            account: bytes(*account),
            at: at.micros(),
        };
        encoded("reserved", &message)
    }

    pub(super) fn event_in(name: &str, public: &[u8]) -> Result<Event, CodecError> {
        if name != "reserved" {
            return Err(unknown(name, super::super::MAJOR));
        }
        let it: stored::EmailReserved = decoded(public)?;
        Ok(Event::Reserved {
            account: id(&it.account)?,
            at: time(it.at),
        })
    }

    pub(super) fn state_out(state: &State) -> stored::EmailState {
        stored::EmailState {
            account: state.account.map(bytes).unwrap_or_default(),
            reserved_at: state.reserved_at.micros(),
            reservations: state.reservations,
        }
    }

    pub(super) fn state_in(it: stored::EmailState) -> Result<State, CodecError> {
        Ok(State {
            account: optional_id(&it.account)?,
            reserved_at: time(it.reserved_at),
            reservations: it.reservations,
        })
    }
}

mod of_credentials {
    use super::*;
    use credentials::{Event, State};

    pub(super) fn event_out(event: &Event) -> EncodedEvent {
        let hashed = |account: &AccountId| stored::PasswordHashed {
            account: bytes(*account),
        };
        match event {
            Event::PasswordSet { account, .. } => encoded("password_set", &hashed(account)),
            Event::PasswordRehashed { account, .. } => {
                encoded("password_rehashed", &hashed(account))
            }
            Event::AttemptFailed { at } => {
                encoded("attempt_failed", &stored::AttemptFailed { at: at.micros() })
            }
            Event::AttemptsForgiven => encoded("attempts_forgiven", &stored::AttemptsForgiven {}),
        }
    }

    pub(super) fn event_in(name: &str, public: &[u8]) -> Result<Event, CodecError> {
        let account = || id(&decoded::<stored::PasswordHashed>(public)?.account);
        Ok(match name {
            "password_set" => Event::PasswordSet {
                account: account()?,
                password: empty_part(),
            },
            "password_rehashed" => Event::PasswordRehashed {
                account: account()?,
                password: empty_part(),
            },
            "attempt_failed" => Event::AttemptFailed {
                at: time(decoded::<stored::AttemptFailed>(public)?.at),
            },
            "attempts_forgiven" => Event::AttemptsForgiven,
            _ => return Err(unknown(name, super::super::MAJOR)),
        })
    }

    pub(super) fn state_out(state: &State) -> stored::CredentialsState {
        stored::CredentialsState {
            password: optional_part_bytes(state.password.as_ref()),
            failures: state.failures,
            failed_at: state.failed_at.micros(),
        }
    }

    pub(super) fn state_in(it: stored::CredentialsState) -> Result<State, CodecError> {
        Ok(State {
            password: optional_part(&it.password)?,
            failures: it.failures,
            failed_at: time(it.failed_at),
        })
    }
}

mod of_session {
    use super::*;
    use session::{Event, State};

    pub(super) fn event_out(event: &Event) -> EncodedEvent {
        match event {
            Event::Opened { account, seed, at } => encoded(
                "opened",
                &stored::FamilyOpened {
                    account: bytes(*account),
                    seed: bytes(*seed),
                    at: at.micros(),
                },
            ),
            Event::Rotated { generation, at } => encoded(
                "rotated",
                &stored::FamilyRotated {
                    generation: *generation,
                    at: at.micros(),
                },
            ),
        }
    }

    pub(super) fn event_in(name: &str, public: &[u8]) -> Result<Event, CodecError> {
        Ok(match name {
            "opened" => {
                let it: stored::FamilyOpened = decoded(public)?;
                Event::Opened {
                    account: id(&it.account)?,
                    seed: id(&it.seed)?,
                    at: time(it.at),
                }
            }
            "rotated" => {
                let it: stored::FamilyRotated = decoded(public)?;
                Event::Rotated {
                    generation: it.generation,
                    at: time(it.at),
                }
            }
            _ => return Err(unknown(name, super::super::MAJOR)),
        })
    }

    pub(super) fn state_out(state: &State) -> stored::FamilyState {
        stored::FamilyState {
            account: state.account.map(bytes).unwrap_or_default(),
            seed: bytes(state.seed),
            generation: state.generation,
            opened_at: state.opened_at.micros(),
            rotated_at: state.rotated_at.micros(),
        }
    }

    pub(super) fn state_in(it: stored::FamilyState) -> Result<State, CodecError> {
        Ok(State {
            account: optional_id(&it.account)?,
            seed: id::<CommitId>(&it.seed)?,
            generation: it.generation,
            opened_at: time(it.opened_at),
            rotated_at: time(it.rotated_at),
        })
    }
}

mod of_membership {
    use super::*;
    use membership::{Event, State};

    pub(super) fn event_out(event: &Event) -> EncodedEvent {
        let Event::Taken { account, home } = event;
        let message = stored::MembershipTaken {
            account: bytes(*account),
            home: bytes(*home),
        };
        encoded("taken", &message)
    }

    pub(super) fn event_in(name: &str, public: &[u8]) -> Result<Event, CodecError> {
        if name != "taken" {
            return Err(unknown(name, super::super::MAJOR));
        }
        let it: stored::MembershipTaken = decoded(public)?;
        Ok(Event::Taken {
            account: id(&it.account)?,
            home: id(&it.home)?,
        })
    }

    pub(super) fn state_out(state: &State) -> stored::MembershipState {
        let (account, home) = state.holder.unzip();
        stored::MembershipState {
            account: account.map(bytes).unwrap_or_default(),
            home: home.map(bytes).unwrap_or_default(),
        }
    }

    pub(super) fn state_in(it: stored::MembershipState) -> Result<State, CodecError> {
        let account = optional_id(&it.account)?;
        Ok(State {
            holder: account.zip(optional_id(&it.home)?),
        })
    }
}
