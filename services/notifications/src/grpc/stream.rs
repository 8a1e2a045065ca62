//! The live stream of an inbox: what changed after the cursor, then what changes, without a gap or a double.
//!
//! The stack ends it when the session does.

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use hearth_api::notifications::v1 as api;
use hearth_kernel::{AccountId, Failure, Reason};
use hearth_ports::Position;
use hearth_rpc::fail;
use tonic::Status;

use super::convert;
use crate::app::inbox::Inbox;

/// Half of what the contract allows between two messages.
const HEARTBEAT: Duration = Duration::from_secs(15);

type Messages = BoxStream<'static, Result<api::StreamInboxResponse, Status>>;

/// Opens the stream.
///
/// # Errors
/// `INVALID_REQUEST` for a cursor that is none.
pub(super) async fn open(
    inbox: Inbox,
    account: AccountId,
    cursor: &[u8],
) -> Result<Messages, Failure> {
    let from = if cursor.is_empty() {
        inbox.head().await?
    } else {
        let violation =
            || Failure::new(Reason::INVALID_REQUEST).violation("cursor", "not a cursor");
        Position::from_bytes(cursor).ok_or_else(violation)?
    };
    Ok(messages(inbox, account, from).boxed())
}

fn message(at: Position, notice: Option<api::Notice>) -> api::StreamInboxResponse {
    api::StreamInboxResponse {
        notice,
        cursor: at.to_bytes().to_vec().into(),
    }
}

fn messages(
    inbox: Inbox,
    account: AccountId,
    from: Position,
) -> impl futures::Stream<Item = Result<api::StreamInboxResponse, Status>> + Send {
    async_stream::stream! {
        let Some(mut progress) = inbox.progress() else { return };
        let _waiting = inbox.consumer.waiting();
        let mut at = from;
        // At once, so that the client has a cursor before anything happens.
        yield Ok(message(at, None));
        loop {
            // Seen before the rows are read: what comes in meanwhile wakes us again.
            let passed = *progress.borrow_and_update();
            let changes = match inbox.changes(account, at).await {
                Ok(changes) => changes,
                Err(failure) => {
                    yield Err(fail(&failure, None));
                    return;
                }
            };
            let quiet = changes.is_empty();
            for (position, item) in changes {
                at = position;
                if let Some(item) = item {
                    yield Ok(message(at, Some(convert::notice(&item))));
                }
            }
            if !quiet {
                continue;
            }
            at = at.max(passed);
            if let Err(_elapsed) = tokio::time::timeout(HEARTBEAT, progress.changed()).await {
                yield Ok(message(at, None));
            }
        }
    }
}
