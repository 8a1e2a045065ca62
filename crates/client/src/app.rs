//! What an app does with Hearth: register, sign in, and call the services as the person who is signed in.
//!
//! Calls that are safe to repeat are repeated by [`RetryingChannel`], with their own request id. An access token
//! lives for minutes: when the server no longer takes it, the client changes its refresh token for new ones, hands
//! them to its [`SessionStore`] before it uses them, and sends the call again. It asks no clock: the server alone
//! says what is too old. It knows no file, terminal or backend.

mod authorised;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_api::accounts::v1 as accounts;
use hearth_api::accounts::v1::accounts_service_client::AccountsServiceClient;
use hearth_api::accounts::v1::homes_service_client::HomesServiceClient;
use hearth_api::ingest::v1::devices_service_client::DevicesServiceClient;
use hearth_api::ingest::v1::hubs_service_client::HubsServiceClient;
use hearth_api::ingest::v1::readings_service_client::ReadingsServiceClient;
use hearth_api::notifications::v1::notifications_service_client::NotificationsServiceClient;
use hearth_api::retention::v1::retention_service_client::RetentionServiceClient;
use hearth_api::types::v1::CommitToken;
use hearth_kernel::{Failure, Reason, Secret};
use hearth_rpc::{RetryPolicy, RetryingChannel, failure_of};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use tonic::Status;
use tonic::body::Body;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use authorised::BoxError;
pub use authorised::{Anonymous, Authorised};
pub use session::{MemorySessions, Session, SessionStore};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How often an open connection is asked whether the other side is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The largest answer, in bytes: a chunk of 4,096 readings is far below.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// Where the server is and how to reach it.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://host:port`, or `https://host:port`.
    pub server: String,
    /// The certificates, in PEM, of the authorities that the server's certificate may come from. `None` for the public
    /// ones, as Mozilla lists them.
    pub authorities: Option<Vec<u8>>,
    /// How long a call may take with all its repetitions; streams have no end.
    pub timeout: Duration,
}

impl Options {
    /// A server, plain or by TLS as its address says, with 10 s for each call.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            authorities: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address is not one.
    #[error("not the address of a server")]
    Address(#[source] tonic::transport::Error),
    /// The certificates cannot be used.
    #[error("the authority's certificate cannot be used")]
    Authority(#[source] tonic::transport::Error),
    /// The contract that was compiled in cannot be read.
    #[error("the compiled contract cannot be read")]
    Contract(#[source] prost::DecodeError),
    /// The session cannot be read.
    #[error("the session cannot be read")]
    Session(#[source] io::Error),
}

/// Why a step of signing in or out did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The server refused, or did not answer; [`AppError::reason`] tells why.
    #[error("the server refused the call")]
    Refused(#[from] Status),
    /// The session cannot be kept.
    #[error("the session cannot be kept")]
    Store(#[source] io::Error),
    /// Nobody is signed in.
    #[error("nobody is signed in")]
    NotSignedIn,
    /// The machine has no randomness.
    #[error("the machine has no randomness")]
    NoRandomness,
}

impl AppError {
    /// Why the server refused; `None` when it was not the server.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.failure().map(|failure| failure.reason)
    }

    /// When to try again, if the server said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.failure()?.retry_after
    }

    /// Everything that the server said: reason, violations, and when to try again.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match self {
            Self::Refused(status) => Some(failure_of(status)),
            Self::Store(_) | Self::NotSignedIn | Self::NoRandomness => None,
        }
    }
}

/// A registration that waits for the code from the mail. Keep it: only this client can finish it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The registration: 32 lower-case hexadecimal digits.
    pub registration_id: String,
    /// The secret whose hash was registered: 32 bytes.
    pub client_secret: Secret,
}

/// The clients of one server and one person. Cheap to clone; all clones share the session.
#[derive(Clone)]
pub struct AppClient {
    anonymous: Anonymous,
    authorised: Authorised,
}

impl AppClient {
    /// A client that connects when it is first used, with the session that `store` holds, if there is one.
    ///
    /// # Errors
    /// See [`ConnectError`]. That the server cannot be reached is told by the first call.
    pub fn new(options: &Options, store: Arc<dyn SessionStore>) -> Result<Self, ConnectError> {
        let mut endpoint = Endpoint::from_shared(options.server.clone())
            .map_err(ConnectError::Address)?
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(CONNECT);
        if endpoint.uri().scheme_str() == Some("https") {
            let tls = ClientTlsConfig::new();
            // Not both: who names an authority of its own trusts no other.
            let tls = match &options.authorities {
                Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
                None => tls.with_webpki_roots(),
            };
            endpoint = endpoint.tls_config(tls).map_err(ConnectError::Authority)?;
        }
        Self::over(endpoint.connect_lazy(), options.timeout, store)
    }

    /// The same over a channel that is there already, or routes in the same process.
    ///
    /// # Errors
    /// `Contract`, `Session`.
    pub fn over<C>(
        channel: C,
        timeout: Duration,
        store: Arc<dyn SessionStore>,
    ) -> Result<Self, ConnectError>
    where
        C: Service<http::Request<Body>, Response = http::Response<Body>>
            + Clone
            + Send
            + Sync
            + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        let channel = BoxCloneSyncService::new(channel.map_err(Into::into));
        let methods = hearth_rpc::descriptor::methods(hearth_api::FILE_DESCRIPTOR_SET)
            .map_err(ConnectError::Contract)?;
        let calls = methods.into_iter().filter(|method| !method.is_stream());
        let calls: Arc<BTreeSet<String>> = Arc::new(calls.map(|method| method.path).collect());
        // Every method of the contract is safe to repeat, by its request id, by nature, or because it only reads.
        let repeatable = Arc::clone(&calls);
        let policy = RetryPolicy::new(move |path| repeatable.contains(path));
        let anonymous = Anonymous::new(RetryingChannel::new(channel, policy), calls, timeout);
        let session = store.load().map_err(ConnectError::Session)?;
        let authorised = Authorised::new(anonymous.clone(), session, store);
        Ok(Self {
            anonymous,
            authorised,
        })
    }

    /// Who is signed in, if somebody is. The session may have ended meanwhile.
    pub async fn session(&self) -> Option<Session> {
        self.authorised.session().await
    }

    /// Asks for an account. The code comes by mail, if the address is not one of an account.
    ///
    /// # Errors
    /// `Refused`, `NoRandomness`.
    pub async fn register(
        &self,
        email: &str,
        username: &str,
        password: &Secret,
        locale: &str,
    ) -> Result<Registration, AppError> {
        let secret = random::<32>()?;
        let request = accounts::RegisterRequest {
            request_id: request_id()?,
            email: email.to_owned(),
            username: username.to_owned(),
            password: password.expose_text().unwrap_or_default().to_owned(),
            locale: locale.to_owned(),
            client_secret_hash: hash(&secret),
        };
        let answer = self.anonymous_accounts().register(request).await?;
        Ok(Registration {
            registration_id: answer.into_inner().registration_id,
            client_secret: Secret::new(secret.to_vec()),
        })
    }

    /// Proves the address with the code from the mail, and is signed in from then on.
    ///
    /// # Errors
    /// `Refused`, `Store`, `NoRandomness`.
    pub async fn verify_email(
        &self,
        registration: &Registration,
        code: &str,
        device_label: &str,
    ) -> Result<Session, AppError> {
        let request = accounts::VerifyEmailRequest {
            request_id: request_id()?,
            registration_id: registration.registration_id.clone(),
            client_secret: Bytes::copy_from_slice(registration.client_secret.expose()),
            code: code.to_owned(),
            device_label: device_label.to_owned(),
        };
        let answer = self.anonymous_accounts().verify_email(request).await?;
        let answer = answer.into_inner();
        let session = Session::new(answer.account_id, answer.session_id, answer.tokens);
        self.begin(session.ok_or_else(malformed)?, answer.token)
            .await
    }

    /// Signs in, and is signed in from then on. A session from before is left as it is on the server.
    ///
    /// # Errors
    /// `Refused`, `Store`, `NoRandomness`.
    pub async fn sign_in(
        &self,
        email: &str,
        password: &Secret,
        device_label: &str,
    ) -> Result<Session, AppError> {
        let request = accounts::SignInRequest {
            request_id: request_id()?,
            email: email.to_owned(),
            password: password.expose_text().unwrap_or_default().to_owned(),
            device_label: device_label.to_owned(),
            client_secret_hash: hash(&random::<32>()?),
        };
        let answer = self.anonymous_accounts().sign_in(request).await?;
        let answer = answer.into_inner();
        let session = Session::new(answer.account_id, answer.session_id, answer.tokens);
        self.begin(session.ok_or_else(malformed)?, answer.token)
            .await
    }

    /// Ends the session on the server and forgets it here; one that had ended already is forgotten all the same.
    ///
    /// # Errors
    /// `NotSignedIn`, `Refused`, `Store`.
    pub async fn sign_out(&self) -> Result<(), AppError> {
        if self.session().await.is_none() {
            return Err(AppError::NotSignedIn);
        }
        let request = accounts::SignOutRequest {
            request_id: request_id()?,
        };
        match self.accounts().sign_out(request).await {
            Ok(_) => {}
            Err(status) if status.code() == tonic::Code::Unauthenticated => {}
            Err(status) => return Err(status.into()),
        }
        self.authorised.forget().await.map_err(AppError::Store)
    }

    /// Remembers a change, so that reads from now on show it: give [`Self::after`] to them.
    ///
    /// # Errors
    /// `Store`.
    pub async fn saw(&self, token: Option<CommitToken>) -> Result<(), AppError> {
        match token {
            Some(token) => self.authorised.saw(token).await.map_err(AppError::Store),
            None => Ok(()),
        }
    }

    /// The newest changes that this session made, at most 8: what a read must show.
    pub async fn after(&self) -> Vec<CommitToken> {
        let session = self.session().await;
        session.map(|session| session.after()).unwrap_or_default()
    }

    /// Accounts, as the person who is signed in.
    #[must_use]
    pub fn accounts(&self) -> AccountsServiceClient<Authorised> {
        AccountsServiceClient::new(self.authorised.clone())
    }

    /// Accounts, as nobody: for what needs no sign-in, or proves itself by a secret.
    #[must_use]
    pub fn anonymous_accounts(&self) -> AccountsServiceClient<Anonymous> {
        AccountsServiceClient::new(self.anonymous.clone())
    }

    /// Homes.
    #[must_use]
    pub fn homes(&self) -> HomesServiceClient<Authorised> {
        HomesServiceClient::new(self.authorised.clone())
    }

    /// Hubs, as a person.
    #[must_use]
    pub fn hubs(&self) -> HubsServiceClient<Authorised> {
        HubsServiceClient::new(self.authorised.clone())
    }

    /// Hubs, as a hub: it proves itself by signatures.
    #[must_use]
    pub fn anonymous_hubs(&self) -> HubsServiceClient<Anonymous> {
        HubsServiceClient::new(self.anonymous.clone())
    }

    /// Devices.
    #[must_use]
    pub fn devices(&self) -> DevicesServiceClient<Authorised> {
        DevicesServiceClient::new(self.authorised.clone())
    }

    /// Readings.
    #[must_use]
    pub fn readings(&self) -> ReadingsServiceClient<Authorised> {
        ReadingsServiceClient::new(self.authorised.clone())
            .max_decoding_message_size(LARGEST_ANSWER)
    }

    /// Notifications.
    #[must_use]
    pub fn notifications(&self) -> NotificationsServiceClient<Authorised> {
        NotificationsServiceClient::new(self.authorised.clone())
    }

    /// Retention: its receipts prove themselves by their secret, so nobody needs to be signed in.
    #[must_use]
    pub fn retention(&self) -> RetentionServiceClient<Anonymous> {
        RetentionServiceClient::new(self.anonymous.clone())
    }

    async fn begin(
        &self,
        mut session: Session,
        token: Option<CommitToken>,
    ) -> Result<Session, AppError> {
        if let Some(token) = token {
            session.saw(token);
        }
        let begun = self.authorised.begin(session.clone()).await;
        begun.map_err(AppError::Store)?;
        Ok(session)
    }
}

impl fmt::Debug for AppClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppClient")
    }
}

/// A new request id: 32 hexadecimal digits, random. One for each intention, and the same for its repetitions.
///
/// # Errors
/// `NoRandomness`.
pub fn request_id() -> Result<String, AppError> {
    use fmt::Write as _;
    let bytes = random::<16>()?;
    Ok(bytes
        .iter()
        .fold(String::with_capacity(32), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        }))
}

fn random<const N: usize>() -> Result<[u8; N], AppError> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| AppError::NoRandomness)?;
    Ok(bytes)
}

fn hash(secret: &[u8]) -> Bytes {
    Bytes::copy_from_slice(digest::digest(&digest::SHA256, secret).as_ref())
}

/// An answer without what it must hold: the server is not one of ours.
fn malformed() -> Status {
    Status::internal("the answer holds no tokens")
}
