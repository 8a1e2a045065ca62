//! What operators do over the admin port: see what is parked, and release it. And how `hearth ctl` asks.
//!
//! It shows consumers, subjects, reasons and times; nothing of any content, which this process could not open from here.
//! The port is loopback or a Unix socket, so whoever reaches it is on the machine. A web page in a browser there is too:
//! the host of a request must be loopback (a name that was rebound is not), and what changes something needs a header
//! that a page may not send.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hearth_engine::parking::{self, Asking, ParkedSubject};
use hearth_ports::tasks::Chain;
use hearth_ports::{Documents, StoreError};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::exit::Exit;

/// The most subjects that one answer lists.
pub const LISTED: usize = 1000;
/// The header without which nothing is changed; its value does not matter.
pub const HEADER: &str = "x-hearth-operator";
/// How long a store may take to answer, and how long a caller waits for the admin port.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The longest body that is taken, and the longest answer that is read.
const LONGEST: (usize, u64) = (4096, 4 * 1024 * 1024);

/// A parked subject in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Whose.
    pub consumer: String,
    /// Its stream, kind and id.
    pub subject: String,
    /// The message that it stopped at, as generation:sequence.
    pub position: String,
    /// One of `unreadable`, `no-key`, `refused`, `store`, `other`.
    pub reason: String,
    /// When that message was recorded, in microseconds since 1970; not known of what old versions parked.
    pub since_micros: Option<i64>,
    /// Whether its release is asked for.
    pub asked: bool,
    /// Whether it can be released: what a relay set aside cannot.
    pub releasable: bool,
}

/// What is parked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// At most [`LISTED`].
    pub parked: Vec<Parked>,
    /// Whether there may be more.
    pub more: bool,
}

/// Which subject is to be released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Whose.
    pub consumer: String,
    /// As [`Parked::subject`] says it.
    pub subject: String,
}

impl From<ParkedSubject> for Parked {
    fn from(parked: ParkedSubject) -> Self {
        let at = parked.position;
        Self {
            consumer: parked.consumer,
            subject: parked.subject,
            position: format!("{}:{}", at.generation, at.sequence),
            reason: parked.reason.name().to_owned(),
            since_micros: parked.since.map(hearth_kernel::Timestamp::micros),
            asked: parked.asked,
            releasable: parked.releasable,
        }
    }
}

/// `GET /parked` and `POST /parked/release`: for the admin port alone.
pub fn routes(documents: Arc<dyn Documents>) -> Router {
    let listed = Arc::clone(&documents);
    Router::new()
        .route(
            "/parked",
            get(move |headers: HeaderMap| async move {
                if !is_local(&headers) {
                    return refused("the host is not this machine");
                }
                answer(parking::list(&*listed, LISTED), |parked| {
                    let more = parked.len() >= LISTED;
                    let parked = parked.into_iter().map(Parked::from).collect();
                    json(StatusCode::OK, &List { parked, more })
                })
                .await
            }),
        )
        .route(
            "/parked/release",
            post(move |headers: HeaderMap, body: String| async move {
                if !is_local(&headers) || !headers.contains_key(HEADER) {
                    return refused("not an operator's request");
                }
                let Ok(release) = serde_json::from_str::<Release>(&body) else {
                    let text = "consumer and subject are needed, in JSON\n";
                    return (StatusCode::BAD_REQUEST, text).into_response();
                };
                let asked = parking::ask_release(&*documents, &release.consumer, &release.subject);
                answer(asked, |asking| match asking {
                    Asking::Accepted => {
                        let Release { consumer, subject } = release.clone();
                        tracing::info!(consumer, subject, "release asked for");
                        (StatusCode::ACCEPTED, "asked for\n").into_response()
                    }
                    Asking::NotParked => {
                        (StatusCode::NOT_FOUND, "it is not parked\n").into_response()
                    }
                    Asking::NotReleasable => {
                        let text = "a relay set it aside, which cannot be undone\n";
                        (StatusCode::CONFLICT, text).into_response()
                    }
                })
                .await
            }),
        )
        .layer(DefaultBodyLimit::max(LONGEST.0))
}

fn refused(why: &'static str) -> Response {
    (StatusCode::FORBIDDEN, format!("{why}\n")).into_response()
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let text = serde_json::to_string(value).unwrap_or_default();
    (status, [(CONTENT_TYPE, "application/json")], text).into_response()
}

async fn answer<T>(
    asked: impl Future<Output = Result<T, StoreError>>,
    of: impl FnOnce(T) -> Response,
) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(Ok(it)) => of(it),
        Ok(Err(error)) => {
            tracing::warn!(error = %Chain(&error), "the store does not answer an operator");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "the store does not answer\n",
            )
                .into_response()
        }
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the store takes too long\n",
        )
            .into_response(),
    }
}

/// Whether a request names this machine as its host: over a Unix socket any name does, and clients send `localhost`.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host else {
        return false;
    };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse().is_ok_and(|it: IpAddr| it.is_loopback())
}

/// An answer of the admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Asks an admin port: `listen` is what `server.admin_listen` says. A body makes it a change.
///
/// # Errors
/// `Usage` when nobody listens there, `Failed` when the answer is none.
pub async fn ask(listen: &str, path: &str, body: Option<&str>) -> Result<Answer, Exit> {
    let asked = async {
        if let Some(socket) = listen.strip_prefix("unix:") {
            #[cfg(unix)]
            return exchange(tokio::net::UnixStream::connect(socket).await?, path, body).await;
            #[cfg(not(unix))]
            return Err(std::io::Error::other(format!(
                "{socket}: no Unix sockets here"
            )));
        }
        exchange(tokio::net::TcpStream::connect(listen).await?, path, body).await
    };
    let answer = match tokio::time::timeout(ANSWER_WITHIN * 2, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            return Err(Exit::usage(format!(
                "the admin port {listen} cannot be asked: {error}"
            )));
        }
        Err(_) => {
            return Err(Exit::Failed(format!(
                "the admin port {listen} does not answer"
            )));
        }
    };
    parse(&answer).ok_or_else(|| Exit::Failed(format!("{listen} is not an admin port of hearth")))
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    body: Option<&str>,
) -> std::io::Result<String> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let length = body.len();
    // HTTP/1.0: the answer ends with the connection, and comes in one piece.
    let request = format!(
        "{method} {path} HTTP/1.0\r\nhost: localhost\r\n{HEADER}: ctl\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(LONGEST.1).read_to_string(&mut answer).await?;
    Ok(answer)
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    Some(Answer {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests;
