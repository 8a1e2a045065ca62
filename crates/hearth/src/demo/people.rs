//! The people of the story, as their apps see Hearth: generated clients over a real connection.
//!
//! A person's app keeps her tokens and refreshes them by the demo's clock, which jumps.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hearth_api::accounts::v1::accounts_service_client::AccountsServiceClient;
use hearth_api::accounts::v1::homes_service_client::HomesServiceClient;
use hearth_api::accounts::v1::{
    RefreshSessionRequest, RegisterRequest, SessionTokens, SignInRequest, VerifyEmailRequest,
};
use hearth_api::ingest::v1::devices_service_client::DevicesServiceClient;
use hearth_api::ingest::v1::hubs_service_client::HubsServiceClient;
use hearth_api::ingest::v1::readings_service_client::ReadingsServiceClient;
use hearth_api::notifications::v1::notifications_service_client::NotificationsServiceClient;
use hearth_api::retention::v1::retention_service_client::RetentionServiceClient;
use hearth_api::types::v1::CommitToken;
use hearth_kernel::{AccountId, Timestamp};
use hearth_ports::{AdjustableClock, Clock};
use hearth_rpc::{RetryPolicy, RetryingChannel, RuleTable, failure_of};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Mutex;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::smtp_sink::SmtpSink;

/// How long one call may take.
const CALL: Duration = Duration::from_secs(20);
/// How long a mail may take to arrive.
pub(super) const MAIL: Duration = Duration::from_secs(20);
/// A token that ends sooner is refreshed first.
const SOON: Duration = Duration::from_secs(60);

/// A connection that repeats what is safe to repeat.
pub(super) type Wire = RetryingChannel<Channel>;

/// The way to the server, and the time.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) wire: Wire,
    pub(super) channel: Channel,
    pub(super) clock: AdjustableClock,
}

impl Line {
    /// Over this connection. Each method's row of the table says whether it may be repeated.
    pub(super) fn new(channel: Channel, rules: RuleTable, clock: AdjustableClock) -> Self {
        let wire = RetryingChannel::new(channel.clone(), RetryPolicy::of_rules(rules));
        Self {
            wire,
            channel,
            clock,
        }
    }

    /// A call that nobody signed.
    pub(super) fn unsigned<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(CALL);
        request
    }

    pub(super) fn retention(&self) -> RetentionServiceClient<Wire> {
        RetentionServiceClient::new(self.wire.clone())
    }

    pub(super) fn hubs(&self) -> HubsServiceClient<Wire> {
        HubsServiceClient::new(self.wire.clone())
    }
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| anyhow::anyhow!("the machine gives no random bytes"))?;
    Ok(bytes)
}

/// A request id: new for each intention.
pub(super) fn request_id() -> Result<String> {
    Ok(hex::encode(random::<16>()?))
}

/// Turns a refusal into a sentence with its reason and violations.
pub(super) fn refused(call: &'static str) -> impl Fn(Status) -> anyhow::Error {
    move |status| {
        let failure = failure_of(&status);
        let violations: Vec<_> = failure
            .violations
            .iter()
            .map(|one| format!("{}: {}", one.field, one.description))
            .collect();
        anyhow::anyhow!(
            "expected {call} to succeed; saw {:?} {} {} {}",
            status.code(),
            failure.reason.name(),
            status.message(),
            violations.join("; ")
        )
    }
}

/// A time on the wire as one of ours; absent is 1970.
pub(super) fn time(wire: Option<&prost_types::Timestamp>) -> Timestamp {
    wire.map_or(Timestamp::EPOCH, |wire| {
        Timestamp::from_micros(wire.seconds * 1_000_000 + i64::from(wire.nanos / 1000))
    })
}

/// A time of ours on the wire.
pub(super) fn wire_time(time: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.subsecond_micros() * 1000).unwrap_or(0);
    prost_types::Timestamp {
        seconds: time.seconds(),
        nanos,
    }
}

/// A duration on the wire.
pub(super) fn wire_duration(duration: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: 0 }
}

/// Somebody with an account.
pub(super) struct Person {
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    pub(super) password: &'static str,
    pub(super) account: AccountId,
    line: Line,
    /// What the app drew at registration, and keeps.
    secret: [u8; 32],
    tokens: Arc<Mutex<SessionTokens>>,
    /// Changes that later reads must show.
    seen: std::sync::Mutex<Vec<CommitToken>>,
}

/// What somebody registers with.
#[derive(Clone, Copy)]
pub(super) struct Newcomer {
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    pub(super) password: &'static str,
}

impl Person {
    /// Registers, takes the code from the mail, and verifies.
    pub(super) async fn register(line: &Line, sink: &SmtpSink, who: Newcomer) -> Result<Self> {
        let secret = random::<32>()?;
        let mut accounts = AccountsServiceClient::new(line.wire.clone());
        let register = RegisterRequest {
            request_id: request_id()?,
            email: who.email.to_owned(),
            username: who.name.to_owned(),
            password: who.password.to_owned(),
            locale: "en".to_owned(),
            client_secret_hash: digest(&SHA256, &secret).as_ref().to_vec().into(),
        };
        let registered = accounts.register(line.unsigned(register)).await;
        let registration = registered
            .map_err(refused("Register"))?
            .into_inner()
            .registration_id;
        let mail = sink.next_to(who.email, "code", 0, MAIL).await?;
        let verify = VerifyEmailRequest {
            request_id: request_id()?,
            registration_id: registration,
            client_secret: secret.to_vec().into(),
            code: mail.field("Code:")?,
            device_label: format!("{}'s phone", who.name),
        };
        let verified = accounts.verify_email(line.unsigned(verify)).await;
        let verified = verified.map_err(refused("VerifyEmail"))?.into_inner();
        Ok(Self {
            name: who.name,
            email: who.email,
            password: who.password,
            account: verified.account_id.parse().context("an account id")?,
            line: line.clone(),
            secret,
            tokens: Arc::new(Mutex::new(verified.tokens.context("tokens")?)),
            seen: std::sync::Mutex::new(verified.token.into_iter().collect()),
        })
    }

    /// Signs in anew, with the password.
    pub(super) async fn sign_in(&self) -> Result<()> {
        let sign_in = SignInRequest {
            request_id: request_id()?,
            email: self.email.to_owned(),
            password: self.password.to_owned(),
            device_label: format!("{}'s phone", self.name),
            client_secret_hash: digest(&SHA256, &self.secret).as_ref().to_vec().into(),
        };
        let mut accounts = AccountsServiceClient::new(self.line.wire.clone());
        let answer = accounts.sign_in(self.line.unsigned(sign_in)).await;
        let answer = answer.map_err(refused("SignIn"))?.into_inner();
        super::screen::check(
            answer.account_id == self.account.to_string(),
            format_args!("account {}", self.account),
            &answer.account_id,
        )?;
        *self.tokens.lock().await = answer.tokens.context("tokens")?;
        self.saw(answer.token);
        Ok(())
    }

    /// A line for a shell that signs in anew and keeps the access token in `TOKEN`.
    pub(super) fn line_to_sign_in(&self, address: impl std::fmt::Display) -> Result<String> {
        let hash = digest(&SHA256, &self.secret);
        let message = serde_json::json!({
            "request_id": "ID",
            "email": self.email,
            "password": self.password,
            "device_label": "a terminal",
            "client_secret_hash": STANDARD.encode(hash),
        });
        // Each sign-in needs an id of its own, which the shell makes: 16 characters at least.
        let message = serde_json::to_string(&message)?;
        let message = message.replace("\"ID\"", "\"terminal-'$(date +%s)'\"");
        let call = format!(
            "grpcurl -plaintext -d '{message}' {address} hearth.accounts.v1.AccountsService/SignIn"
        );
        Ok(format!(
            "TOKEN=$({call} | sed -n 's/.*\"accessToken\": \"\\(.*\\)\".*/\\1/p')"
        ))
    }

    /// Remembers a change, so that later reads show it.
    pub(super) fn saw(&self, token: Option<CommitToken>) {
        let mut seen = self
            .seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.extend(token);
        // A call may name eight.
        let surplus = seen.len().saturating_sub(8);
        seen.drain(..surplus);
    }

    /// What reads must show.
    pub(super) fn after(&self) -> Vec<CommitToken> {
        self.seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// The access token, fresh.
    pub(super) async fn access_token(&self) -> Result<String> {
        let mut tokens = self.tokens.lock().await;
        let ends = time(tokens.access_expires_at.as_ref());
        if ends.since(self.line.clock.now()) < SOON {
            let refresh = RefreshSessionRequest {
                request_id: request_id()?,
                refresh_token: tokens.refresh_token.clone(),
            };
            let mut accounts = AccountsServiceClient::new(self.line.wire.clone());
            let answer = accounts.refresh_session(self.line.unsigned(refresh)).await;
            let answer = answer.map_err(refused("RefreshSession"))?.into_inner();
            *tokens = answer.tokens.context("tokens")?;
        }
        Ok(tokens.access_token.clone())
    }

    /// A call of hers, with a deadline.
    pub(super) async fn call<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = self.stream(message).await?;
        request.set_timeout(CALL);
        Ok(request)
    }

    /// A call of hers that stays open.
    pub(super) async fn stream<T>(&self, message: T) -> Result<Request<T>> {
        let bearer = format!("Bearer {}", self.access_token().await?);
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("authorization", bearer.parse()?);
        Ok(request)
    }

    pub(super) fn accounts(&self) -> AccountsServiceClient<Wire> {
        AccountsServiceClient::new(self.line.wire.clone())
    }

    pub(super) fn homes(&self) -> HomesServiceClient<Wire> {
        HomesServiceClient::new(self.line.wire.clone())
    }

    pub(super) fn hubs(&self) -> HubsServiceClient<Wire> {
        self.line.hubs()
    }

    pub(super) fn devices(&self) -> DevicesServiceClient<Wire> {
        DevicesServiceClient::new(self.line.wire.clone())
    }

    pub(super) fn readings(&self) -> ReadingsServiceClient<Wire> {
        // An answer of a year is many chunks, each far below this.
        ReadingsServiceClient::new(self.line.wire.clone())
    }

    pub(super) fn notifications(&self) -> NotificationsServiceClient<Wire> {
        NotificationsServiceClient::new(self.line.wire.clone())
    }
}
