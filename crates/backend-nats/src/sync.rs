//! Whether the servers sync each write before they ack it: asked of each of them, through a service that the operator
//! imports, because an ordinary account may not ask the system.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::StartError;

/// Where the service is imported to.
const SERVICE: &str = "hearth.server.jsz";
/// How long each round of answers is waited for.
const ROUND: Duration = Duration::from_millis(1500);

/// What an operator has to write where nobody answers.
pub(crate) const CONFIGURATION: &str = r#"accounts {
  SYS    { users: [...], exports: [{service: "$SYS.REQ.SERVER.PING.JSZ", accounts: [HEARTH], response_type: stream}] }
  HEARTH { jetstream: enabled, users: [...], imports: [{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ"}, to: "hearth.server.jsz"}] }
}
system_account: SYS
jetstream { sync_interval: always }"#;

#[derive(Debug, Deserialize)]
struct Answer {
    server: Server,
    #[serde(default)]
    data: Jetstream,
}

#[derive(Debug, Deserialize)]
struct Server {
    id: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Default, Deserialize)]
struct Jetstream {
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    config: Configured,
    #[serde(default)]
    meta_cluster: Option<Meta>,
}

#[derive(Debug, Default, Deserialize)]
struct Configured {
    #[serde(default)]
    sync_always: bool,
}

#[derive(Debug, Deserialize)]
struct Meta {
    #[serde(default)]
    cluster_size: usize,
}

/// Asks every server, and refuses one that does not sync, or too few that say so.
///
/// Every server is waited for. After the patience a majority is enough, loudly: a cluster that has lost one of three
/// must not stop the services that restart meanwhile.
pub(crate) async fn check(
    connection: &Connection,
    least: usize,
    patience: Duration,
) -> Result<(), StartError> {
    let end = Instant::now() + patience.min(Duration::from_secs(10));
    let mut known: BTreeMap<String, Answer> = BTreeMap::new();
    let mut expected = least;
    loop {
        round(connection, &mut known, &mut expected, end).await?;
        let unsynced: Vec<&str> = known
            .values()
            .filter(|it| !it.data.disabled && !it.data.config.sync_always)
            .map(|it| it.server.name.as_str())
            .collect();
        if !unsynced.is_empty() {
            return Err(StartError::Unsynced(unsynced.join(", ")));
        }
        let answered = known.values().filter(|it| !it.data.disabled).count();
        if answered >= expected {
            return Ok(());
        }
        if Instant::now() < end {
            continue;
        }
        if answered > expected / 2 {
            tracing::error!(
                answered,
                expected,
                "not every server of the log said whether it syncs each write"
            );
            return Ok(());
        }
        return Err(StartError::Silent { answered, expected });
    }
}

async fn round(
    connection: &Connection,
    known: &mut BTreeMap<String, Answer>,
    expected: &mut usize,
    end: Instant,
) -> Result<(), StartError> {
    let until = end.min(Instant::now() + ROUND);
    let mut answers = connection
        .converse(until)
        .await
        .map_err(|why| StartError::Store(why.retryable()))?;
    let question = Bytes::from_static(br#"{"config":true}"#);
    answers
        .ask(SERVICE.to_owned(), question)
        .await
        .map_err(|why| StartError::Store(why.retryable()))?;
    // An answer without a body is the server's word for nobody being there.
    while let Ok(message) = answers.next(until).await {
        let Ok(answer) = serde_json::from_slice::<Answer>(&message.payload) else {
            // Asking again at once would spin: the service is not there, or not yet.
            tokio::time::sleep_until(until).await;
            break;
        };
        let size = answer.data.meta_cluster.as_ref();
        *expected = size.map_or(*expected, |meta| meta.cluster_size.max(*expected));
        known.insert(answer.server.id.clone(), answer);
        let storing = known.values().filter(|it| !it.data.disabled).count();
        if storing >= *expected {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_say_that_it_syncs_does_not() {
        let text = r#"{"server":{"id":"A","name":"n1"},"data":{"config":{"max_memory":1}}}"#;
        let answer: Answer = serde_json::from_str(text).unwrap();
        assert!(!answer.data.config.sync_always && !answer.data.disabled);
        let text = r#"{"server":{"id":"A"},"data":{"config":{"sync_always":true},"meta_cluster":{"cluster_size":3}}}"#;
        let answer: Answer = serde_json::from_str(text).unwrap();
        assert!(answer.data.config.sync_always);
        assert_eq!(answer.data.meta_cluster.unwrap().cluster_size, 3);
    }
}
