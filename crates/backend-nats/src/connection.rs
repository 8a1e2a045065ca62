//! One connection: asks with a deadline, and tells what was never sent from what may have happened.
//!
//! It must not know streams. It exists because the client library answers a lost connection by silence until the
//! deadline: here whoever waits for an answer hears of the loss at once.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{
    Client, ConnectOptions, Event, HeaderMap, Message, Request, RequestErrorKind, ServerAddr,
    Subscriber,
};
use bytes::Bytes;
use hearth_ports::{StoreError, Tasks};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use crate::error::StartError;
use crate::options::{Credentials, NatsOptions};

/// Messages that a subscription holds before it loses some: above what any request here may bring at once.
const SUBSCRIPTION: usize = 1024;
/// Commands on their way to the socket.
const OUTGOING: usize = 1024;
/// Appends that wait for their ack at once.
const IN_FLIGHT: usize = 256;
/// How long a call waits for a connection that is down before it gives up: callers know better what to do meanwhile.
const WAIT_FOR_CONNECTION: Duration = Duration::from_secs(2);
/// How long a stream may be without a leader before calls fail.
const WAIT_FOR_LEADER: Duration = Duration::from_secs(3);
const ASK_AGAIN: Duration = Duration::from_millis(50);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A server that says nothing for two of these is taken for lost.
const PING: Duration = Duration::from_secs(3);
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
const RECONNECT_MOST: Duration = Duration::from_secs(2);

/// The state of the connection: which one it is, counted from the start, and whether it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Link {
    lost: u64,
    up: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// Nobody listens to such questions now.
    #[error("nobody is there to answer")]
    NobodyThere,
    /// The question was not sent.
    #[error("the request was not sent: {0}")]
    NotTaken(String),
    /// It was sent, and what became of it is not known.
    #[error("no answer: {0}")]
    Lost(String),
}

impl Unanswered {
    /// As a failed read, or a failed write that may be repeated.
    pub(crate) fn retryable(self) -> StoreError {
        StoreError::Retryable(Arc::new(self))
    }

    /// As a failed write that must not be doubled.
    pub(crate) fn of_write(self) -> StoreError {
        match self {
            Self::NobodyThere | Self::NotTaken(_) => StoreError::Retryable(Arc::new(self)),
            Self::Lost(_) => StoreError::Unknown(Arc::new(self)),
        }
    }
}

/// A connection. Cheap to share; the library reconnects it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    link: watch::Receiver<Link>,
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) tasks: Tasks,
    pub(crate) patience: Duration,
}

impl Connection {
    /// Connects once; what is lost later is connected again.
    pub(crate) async fn open(options: &NatsOptions, tasks: &Tasks) -> Result<Self, StartError> {
        let addresses: Result<Vec<ServerAddr>, _> =
            options.urls.iter().map(|url| url.parse()).collect();
        // The error is not shown: it may quote an URL with a password.
        let addresses = addresses.map_err(|_| StartError::Options("not an URL".to_owned()))?;
        let (sender, link) = watch::channel(Link::default());
        let events = Arc::new(sender);
        let told = Arc::clone(&events);
        let connecting = with_credentials(options, &addresses)
            .await?
            .name(&options.name)
            .custom_inbox_prefix(&options.inbox)
            .connection_timeout(CONNECT_WITHIN)
            .request_timeout(Some(options.deadline))
            .ping_interval(PING)
            .client_capacity(OUTGOING)
            .subscription_capacity(SUBSCRIPTION)
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                let told = Arc::clone(&told);
                async move { hear(&told, &event) }
            });
        let client = connecting
            .connect(addresses)
            .await
            .map_err(StartError::Connect)?;
        events.send_modify(|link| link.up = true);
        Ok(Self {
            client,
            link,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
            tasks: tasks.clone(),
            patience: options.deadline,
        })
    }

    /// When a call that begins now must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// Waits for the connection, for a moment.
    async fn up(&self, until: Instant) -> Result<(watch::Receiver<Link>, u64), Unanswered> {
        let mut link = self.link.clone();
        // The library may drop an event when many come at once, but it knows its state.
        if self.client.connection_state() == State::Connected {
            let lost = link.borrow().lost;
            return Ok((link, lost));
        }
        let until = until.min(Instant::now() + WAIT_FOR_CONNECTION);
        let waited = timeout_at(until, link.wait_for(|link| link.up)).await;
        let lost = match waited.map(|link| link.map(|link| link.lost)) {
            Ok(Ok(lost)) => lost,
            Ok(Err(_)) => return Err(Unanswered::NotTaken("the client has ended".to_owned())),
            Err(_) => return Err(Unanswered::NotTaken("not connected".to_owned())),
        };
        Ok((link, lost))
    }

    /// Asks, and waits for the one answer until then at most. Where nobody is there to take the question (a stream's
    /// leader has gone, the next one is not chosen yet) it is asked again for a moment: nothing happened.
    pub(crate) async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        until: Instant,
    ) -> Result<Message, Unanswered> {
        let patience = until.min(Instant::now() + WAIT_FOR_LEADER);
        loop {
            let answer = self.ask_once(&subject, headers.as_ref(), &payload, until);
            match answer.await {
                Err(Unanswered::NobodyThere) if Instant::now() < patience => {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    async fn ask_once(
        &self,
        subject: &str,
        headers: Option<&HeaderMap>,
        payload: &Bytes,
        until: Instant,
    ) -> Result<Message, Unanswered> {
        let (mut link, lost) = self.up(until).await?;
        let mut request = Request::new().payload(payload.clone()).timeout(None);
        if let Some(headers) = headers {
            request = request.headers(headers.clone());
        }
        let asked = self.client.send_request(subject.to_owned(), request);
        let answer = tokio::select! {
            answer = timeout_at(until, asked) => answer,
            _ = link.wait_for(|link| link.lost != lost) => {
                return Err(Unanswered::Lost("the connection was lost".to_owned()));
            }
        };
        match answer {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => Unanswered::NobodyThere,
                RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                    Unanswered::NotTaken(error.to_string())
                }
                _ => Unanswered::Lost(error.to_string()),
            }),
            Err(_) => Err(Unanswered::Lost("the deadline is over".to_owned())),
        }
    }

    /// Says something that nobody answers. While the connection is down nothing is said: what would be queued until it
    /// stands again is old by then.
    pub(crate) async fn say(
        &self,
        subject: String,
        payload: Bytes,
        until: Instant,
    ) -> Result<(), Unanswered> {
        if self.client.connection_state() != State::Connected {
            return Err(Unanswered::NotTaken("not connected".to_owned()));
        }
        match timeout_at(until, self.client.publish(subject, payload)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Unanswered::NotTaken(error.to_string())),
            Err(_) => Err(Unanswered::Lost("the deadline is over".to_owned())),
        }
    }

    /// Asks for many answers. They come through the conversation until it is dropped.
    pub(crate) async fn converse(&self, until: Instant) -> Result<Conversation, Unanswered> {
        let (link, lost) = self.up(until).await?;
        let inbox = self.client.new_inbox();
        let answers = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| Unanswered::NotTaken(error.to_string()))?;
        Ok(Conversation {
            client: self.client.clone(),
            inbox,
            answers,
            link,
            lost,
        })
    }

    /// Runs something after its owner was dropped, where there is still a runtime to run it.
    pub(crate) fn afterwards(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        if tokio::runtime::Handle::try_current().is_ok() {
            self.tasks.spawn(name, future);
        }
    }
}

/// A subject of its own, to which many answers come.
#[derive(Debug)]
pub(crate) struct Conversation {
    client: Client,
    inbox: String,
    answers: Subscriber,
    link: watch::Receiver<Link>,
    lost: u64,
}

impl Conversation {
    /// Asks; the answers come to [`Conversation::next`].
    pub(crate) async fn ask(&self, subject: String, payload: Bytes) -> Result<(), Unanswered> {
        self.client
            .publish_with_reply(subject, self.inbox.clone(), payload)
            .await
            .map_err(|error| Unanswered::NotTaken(error.to_string()))
    }

    /// The next answer. What has arrived is given also after the connection was lost.
    pub(crate) async fn next(&mut self, until: Instant) -> Result<Message, Unanswered> {
        use futures::StreamExt;
        let lost = self.lost;
        tokio::select! {
            biased;
            answer = self.answers.next() => {
                answer.ok_or_else(|| Unanswered::Lost("the client has ended".to_owned()))
            }
            _ = self.link.wait_for(|link| link.lost != lost) => {
                Err(Unanswered::Lost("the connection was lost".to_owned()))
            }
            () = tokio::time::sleep_until(until) => {
                Err(Unanswered::Lost("the deadline is over".to_owned()))
            }
        }
    }
}

async fn with_credentials(
    options: &NatsOptions,
    addresses: &[ServerAddr],
) -> Result<ConnectOptions, StartError> {
    let unreadable = |_| StartError::Options("the credentials file cannot be read".to_owned());
    let mut connecting = match &options.credentials {
        // The library reads them out of no URL.
        Credentials::InUrls => match addresses
            .iter()
            .find_map(|it| it.username().zip(it.password()))
        {
            Some((user, password)) => {
                ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned())
            }
            None => ConnectOptions::new(),
        },
        Credentials::Password { user, password } => {
            ConnectOptions::with_user_and_password(user.clone(), password.clone())
        }
        Credentials::File(path) => ConnectOptions::with_credentials_file(path)
            .await
            .map_err(unreadable)?,
        Credentials::Nkey(seed) => ConnectOptions::with_nkey(seed.clone()),
    };
    if let Some(tls) = &options.tls {
        connecting = connecting
            .add_root_certificates(tls.roots.clone())
            .require_tls(true);
        if let Some((certificate, key)) = &tls.client {
            connecting = connecting.add_client_certificate(certificate.clone(), key.clone());
        }
    }
    Ok(connecting)
}

fn hear(link: &watch::Sender<Link>, event: &Event) {
    match event {
        Event::Connected => {
            tracing::info!("connected to the log");
            link.send_modify(|link| link.up = true);
        }
        Event::Disconnected => {
            tracing::warn!("the connection to the log was lost");
            link.send_modify(|link| {
                link.up = false;
                link.lost += 1;
            });
        }
        // The permission that was missed stands in it, and subjects hold nothing personal.
        other => tracing::warn!(event = %other, "the log's connection"),
    }
}

/// Full jitter below a bound that doubles: replicas that lost one server do not come back at once.
fn reconnect_delay(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).map_or(6, |attempt| attempt.min(6));
    let most = RECONNECT_FIRST
        .saturating_mul(1 << doublings)
        .min(RECONNECT_MOST);
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1);
    // The library of chance is not worth a dependency here: the hasher's keys are random.
    Duration::from_millis(RandomState::new().build_hasher().finish() % most)
}
