//! A line that is cut after so many bytes, wherever that is: in the middle of a batch, of an ack, of a handshake.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::{Channel, Endpoint};

/// Bytes that are carried at a time.
const PIECE: usize = 1024;
/// The longest that a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A channel to an address over a line that carries at most that many bytes up and down, and then is cut both ways.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's line ends by itself, with its budget or either end"
)]
pub async fn line(address: &str, up: usize, down: usize) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = listener.local_addr().unwrap();
    let far = address.to_owned();
    tokio::spawn(async move {
        let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
        let (Ok(Ok((caller, _))), Ok(called)) = (accepted, TcpStream::connect(far).await) else {
            return;
        };
        let (mut from_caller, mut to_caller) = caller.into_split();
        let (mut from_called, mut to_called) = called.into_split();
        tokio::select! {
            () = carry(&mut from_caller, &mut to_called, up) => {}
            () = carry(&mut from_called, &mut to_caller, down) => {}
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{near}")).unwrap();
    endpoint.connect_timeout(PATIENCE).connect_lazy()
}

/// Carries bytes until there are no more, or the budget is spent.
async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut budget: usize,
) {
    let mut piece = [0; PIECE];
    while budget > 0 {
        let most = budget.min(PIECE);
        match from.read(&mut piece[..most]).await {
            Ok(read) if read > 0 && to.write_all(&piece[..read]).await.is_ok() => budget -= read,
            _ => return,
        }
    }
}
