//! The listener of a process: bound before anything else is built, drained at the end.
//!
//! It speaks HTTP/2 (and HTTP/1.1 for probes) through hyper directly and not through tonic's server, whose own deadline
//! would answer CANCELLED in front of the stack, and which bounds neither connections nor handshakes.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hearth_kernel::Timestamp;
use hearth_ports::Tasks;
use hearth_rpc::stack::Front;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;

use crate::config::Server;
use crate::connection::{Connection, Door};
use crate::exit::Exit;
use crate::tls;

/// The longest that a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The wait after an accept that failed, usually for want of file descriptors.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(50);

/// A listener that has its port, and takes no connection yet.
pub struct Bound {
    listener: StdListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Bound {
    /// Takes the port, and reads or makes the certificate. `folder` is where a local CA lives.
    ///
    /// # Errors
    /// `Usage`, in one line: not an address, an occupied port, a certificate that does not work.
    pub fn new(server: &Server, folder: &Path, now: Timestamp) -> Result<Self, Exit> {
        let address = address(&server.listen)?;
        // The port first: nothing is made for an address that cannot be had.
        let listener = StdListener::bind(address).map_err(|error| occupied(address, &error))?;
        let configured = !server.tls_certificate.as_os_str().is_empty();
        let tls = if configured || !tls::may_be_plain(address.ip()) {
            Some(tls::acceptor(server, folder, now)?)
        } else {
            None
        };
        let ready = listener
            .set_nonblocking(true)
            .and_then(|()| listener.local_addr());
        let address = ready.map_err(|error| occupied(address, &error))?;
        Ok(Self {
            listener,
            address,
            tls,
        })
    }

    /// Where it listens: the real port, also when port 0 was asked for.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether connections are protected.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Takes connections from now on, on tasks of `tasks`. Loopback peers of a loopback listener reach `probes` too.
    ///
    /// # Errors
    /// When the runtime does not take the socket.
    pub fn serve(
        self,
        server: &Server,
        front: Front<Routes>,
        probes: axum::Router,
        tasks: &Tasks,
    ) -> Result<Serving, Exit> {
        let listener = TcpListener::from_std(self.listener)
            .map_err(|error| Exit::failed("the listener does not start", &error))?;
        let connections = tasks.child();
        let loop_ = Accepting {
            listener,
            tls: self.tls,
            places: Arc::new(Semaphore::new(places(server.max_connections))),
            door: Door::new(front, probes, tls::may_be_plain(self.address.ip())),
            streams: server.max_connection_streams,
            connections: connections.clone(),
        };
        connections.spawn("accept", loop_.run());
        Ok(Serving {
            address: self.address,
            connections,
        })
    }
}

impl std::fmt::Debug for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bound({}, tls: {})", self.address, self.is_tls())
    }
}

/// A listener that takes connections.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    connections: Tasks,
}

impl Serving {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets those that are open end their calls, at most for `grace`. Answers whether all did.
    pub async fn stop(&self, grace: Duration) -> bool {
        self.connections.stop(grace).await
    }
}

struct Accepting {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    places: Arc<Semaphore>,
    door: Door,
    streams: u32,
    connections: Tasks,
}

impl Accepting {
    async fn run(self) {
        loop {
            // The place first: what finds none waits in the kernel's queue, which is bounded.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                return;
            };
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "connection not accepted");
                    tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let connection = Connection {
                service: self.door.for_peer(peer.ip()),
                streams: self.streams,
                stop: self.connections.stopping(),
            };
            let tls = self.tls.clone();
            self.connections.spawn_draining("connection", async move {
                Box::pin(serve(stream, tls, connection)).await;
                drop(place);
            });
        }
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, connection: Connection) {
    let Some(tls) = tls else {
        return connection.serve(stream).await;
    };
    let stop = connection.stop.clone();
    let handshake = tokio::select! {
        handshake = tokio::time::timeout(HANDSHAKE, tls.accept(stream)) => handshake,
        () = stop.cancelled() => return,
    };
    match handshake {
        Ok(Ok(stream)) => connection.serve(stream).await,
        Ok(Err(error)) => tracing::debug!(%error, "handshake failed"),
        Err(_elapsed) => tracing::debug!("handshake took too long"),
    }
}

fn places(count: u32) -> usize {
    usize::try_from(count)
        .unwrap_or(Semaphore::MAX_PERMITS)
        .min(Semaphore::MAX_PERMITS)
}

fn address(listen: &str) -> Result<SocketAddr, Exit> {
    listen.parse().map_err(|_| {
        Exit::usage(format!(
            "server.listen must be an address and a port such as 127.0.0.1:7400, not {listen:?}"
        ))
    })
}

fn occupied(address: SocketAddr, error: &std::io::Error) -> Exit {
    Exit::usage(match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!(
                "port {} of {} is occupied: end what uses it, or choose another with --listen",
                address.port(),
                address.ip()
            )
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!(
                "{} is no address of this machine: choose another with --listen",
                address.ip()
            )
        }
        _ => format!("{address} cannot be listened on: {error}"),
    })
}

#[cfg(test)]
mod tests;
