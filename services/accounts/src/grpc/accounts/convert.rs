//! Messages of accounts to what the use cases take, and back.

use std::time::Duration;

use hearth_accounts_domain::account::Status;
use hearth_accounts_domain::limits::{LONGEST_GRACE, SHORTEST_GRACE};
use hearth_api::accounts::v1 as api;
use hearth_api::types::v1::CommitToken;
use hearth_kernel::{AccountId, Failure, Reason, Secret, SessionId};
use hearth_rpc::Principal;

use crate::app::account::AccountView;
use crate::app::closing::{Closed, Reopening};
use crate::app::mail::wire_time;
use crate::app::registering::{NewAccount, Proof};
use crate::app::sessions::{SessionView, Tokens};
use crate::app::sign_in::SignIn;
use crate::grpc::fields::Fields;
use crate::grpc::wire_token;

pub(super) fn only_id(request_id: String) -> Result<String, Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(request_id);
    fields.finish(request_id)
}

pub(super) fn after(tokens: &[CommitToken]) -> Result<(), Failure> {
    let mut fields = Fields::default();
    fields.after(tokens);
    fields.finish(Some(()))
}

pub(super) fn new_account(it: api::RegisterRequest) -> Result<(String, NewAccount), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let email = fields.email(&it.email);
    let username = fields.name("username", &it.username);
    let locale = fields.locale(&it.locale);
    let password = fields.new_password(&it.password);
    let client_secret_hash = fields.bytes_32("client_secret_hash", &it.client_secret_hash);
    let read = (|| {
        let new = NewAccount {
            email: email?,
            username: username?,
            locale: locale?,
            password: password?,
            client_secret_hash: client_secret_hash?,
        };
        Some((request_id?, new))
    })();
    fields.finish(read)
}

pub(super) fn proof(it: api::VerifyEmailRequest) -> Result<(String, Proof), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let registration = fields.id("registration_id", &it.registration_id);
    let client_secret = fields.bytes_32("client_secret", &it.client_secret);
    let code = fields.digits("code", &it.code);
    let device_label = fields.name("device_label", &it.device_label);
    let read = (|| {
        let proof = Proof {
            registration: registration?,
            client_secret: Secret::new(client_secret?.to_vec()),
            code: code?,
            device_label: device_label?,
        };
        Some((request_id?, proof))
    })();
    fields.finish(read)
}

pub(super) fn sign_in(it: api::SignInRequest) -> Result<(String, SignIn), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let email = fields.email(&it.email);
    let password = fields.shown_password(&it.password);
    let device_label = fields.name("device_label", &it.device_label);
    let client_secret_hash = fields.bytes_32("client_secret_hash", &it.client_secret_hash);
    let read = (|| {
        let sign_in = SignIn {
            email: email?,
            password: password?,
            device_label: device_label?,
            client_secret_hash: client_secret_hash?,
        };
        Some((request_id?, sign_in))
    })();
    fields.finish(read)
}

/// The shown token. One that is malformed is answered as one that is over.
pub(super) fn refresh(it: api::RefreshSessionRequest) -> Result<String, Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let token = fields.secret_text("refresh_token", it.refresh_token);
    fields.finish(request_id.and(token))
}

pub(super) fn revocation(it: api::RevokeSessionRequest) -> Result<(String, SessionId), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let session = fields.id("session_id", &it.session_id);
    fields.finish(request_id.zip(session))
}

/// A session that is not one of the caller's does not exist for her; her own sign-in is another matter.
pub(super) fn no_session(failure: Failure, session: SessionId) -> Failure {
    if failure.reason == Reason::SESSION_ENDED {
        return Failure::new(Reason::NOT_FOUND).about("session", session);
    }
    failure
}

pub(super) fn closing(it: api::CloseAccountRequest) -> Result<(String, Secret, Duration), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let password = fields.shown_password(&it.password);
    let bounds = (SHORTEST_GRACE, LONGEST_GRACE);
    let grace = fields.span("grace", it.grace, bounds, "from 72 hours to 30 days");
    let read = (|| Some((request_id?, password?, grace?.unwrap_or(SHORTEST_GRACE))))();
    fields.finish(read)
}

pub(super) fn reopening(
    it: api::ReopenAccountRequest,
    principal: &Principal,
) -> Result<(String, Reopening), Failure> {
    let mut fields = Fields::default();
    let request_id = fields.request_id(it.request_id);
    let by_token = !it.undo_token.is_empty();
    let named: Option<AccountId> = match it.account_id.as_str() {
        "" if !by_token => None,
        text => fields.id("account_id", text),
    };
    fields.require(
        it.undo_token.len() <= 128,
        "undo_token",
        "at most 128 characters",
    );
    let request_id = fields.finish(request_id)?;
    if by_token {
        let account = named.ok_or_else(|| Failure::new(Reason::INVALID_REQUEST))?;
        return Ok((request_id, Reopening::ByToken(account, it.undo_token)));
    }
    let (account, _) = principal.signed_in()?;
    if named.is_some_and(|named| named != account) {
        return Err(Failure::new(Reason::NOT_FOUND));
    }
    Ok((request_id, Reopening::SignedIn(account)))
}

pub(super) fn tokens(tokens: &Tokens) -> api::SessionTokens {
    let text = |secret: &Secret| secret.expose_text().unwrap_or_default().to_owned();
    api::SessionTokens {
        access_token: text(&tokens.access),
        access_expires_at: Some(wire_time(tokens.access_expires_at)),
        refresh_token: text(&tokens.refresh),
        refresh_expires_at: Some(wire_time(tokens.refresh_expires_at)),
    }
}

pub(super) fn session(it: SessionView, current: SessionId) -> api::Session {
    api::Session {
        session_id: it.session.to_string(),
        device_label: it.label,
        opened_at: Some(wire_time(it.opened_at)),
        refreshed_at: Some(wire_time(it.refreshed_at)),
        expires_at: Some(wire_time(it.expires_at)),
        current: it.session == current,
    }
}

pub(super) fn account(it: AccountView) -> api::Account {
    let state = match it.status {
        Status::Active => api::AccountState::Active,
        Status::Closing(_) => api::AccountState::Closing,
        Status::Closed(_) | Status::Departed(_) => api::AccountState::Closed,
        Status::Absent | Status::Unverified | Status::Lapsed => api::AccountState::Unverified,
    };
    let closing = match it.status {
        Status::Closing(closing) => Some(api::Closing {
            closed_at: Some(wire_time(closing.closed_at)),
            grace_ends_at: Some(wire_time(closing.grace_ends_at)),
        }),
        _ => None,
    };
    api::Account {
        account_id: it.account.to_string(),
        email: it.email,
        username: it.username,
        locale: it.locale,
        state: state.into(),
        registered_at: Some(wire_time(it.registered_at)),
        closing,
    }
}

pub(super) fn closed(closed: &Closed) -> api::CloseAccountResponse {
    api::CloseAccountResponse {
        token: wire_token(closed.token),
        closed_at: Some(wire_time(closed.closing.closed_at)),
        grace_ends_at: Some(wire_time(closed.closing.grace_ends_at)),
        receipt_id: closed.receipt.to_string(),
        receipt_secret: closed.receipt_secret.to_vec().into(),
        ending_home_ids: closed
            .ending_homes
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}
