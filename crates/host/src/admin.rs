//! The admin port: probes and metrics on a thread and runtime of their own, so that a busy data path cannot fail its
//! probe. Loopback or a Unix socket only.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread::JoinHandle;

use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;
use crate::tls::may_be_plain;

/// An admin port that has its place.
#[derive(Debug)]
pub struct AdminBound {
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener, SocketAddr),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener, PathBuf),
}

impl AdminBound {
    /// Takes the place named by `server.admin_listen`; `None` when it is empty.
    ///
    /// # Errors
    /// `Usage`: not loopback, occupied, or a path that cannot be written.
    pub fn new(listen: &str) -> Result<Option<Self>, Exit> {
        if listen.is_empty() {
            return Ok(None);
        }
        let cannot = |error: std::io::Error| {
            Exit::usage(format!(
                "server.admin_listen {listen} cannot be used: {error}"
            ))
        };
        if let Some(path) = listen.strip_prefix("unix:") {
            return unix(PathBuf::from(path)).map(Some).map_err(cannot);
        }
        let address = listen.parse::<SocketAddr>().ok();
        let Some(address) = address.filter(|address| may_be_plain(address.ip())) else {
            return Err(Exit::usage(
                "server.admin_listen must be a loopback address and port, or unix: and a path",
            ));
        };
        let listener = TcpListener::bind(address).map_err(cannot)?;
        listener.set_nonblocking(true).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Some(Self {
            socket: Socket::Tcp(listener, address),
        }))
    }

    /// Where it listens, unless it is a path.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(_, address) => Some(*address),
            #[cfg(unix)]
            Socket::Unix(..) => None,
        }
    }

    /// Serves these routes on a thread of its own.
    ///
    /// # Errors
    /// When the machine gives no thread or runtime.
    pub fn serve(self, routes: Router) -> Result<Admin, Exit> {
        let failed = |error: std::io::Error| Exit::failed("the admin port does not start", &error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(failed)?;
        let stop = CancellationToken::new();
        let until = stop.clone();
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                let outcome = runtime.block_on(run(self.socket, routes, until));
                if let Err(error) = outcome {
                    tracing::error!(%error, "admin port failed");
                }
            });
        Ok(Admin {
            stop,
            thread: Some(thread.map_err(failed)?),
        })
    }
}

#[cfg(unix)]
fn unix(path: PathBuf) -> std::io::Result<AdminBound> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    // A socket that is left of a killed process; anything else is not ours to remove.
    let left = std::fs::symlink_metadata(&path).is_ok_and(|it| it.file_type().is_socket());
    if left && std::os::unix::net::UnixStream::connect(&path).is_err() {
        std::fs::remove_file(&path)?;
    }
    let listener = std::os::unix::net::UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(AdminBound {
        socket: Socket::Unix(listener, path),
    })
}

#[cfg(not(unix))]
fn unix(_: PathBuf) -> std::io::Result<AdminBound> {
    Err(std::io::ErrorKind::Unsupported.into())
}

async fn run(socket: Socket, routes: Router, stop: CancellationToken) -> std::io::Result<()> {
    let served = async {
        match socket {
            Socket::Tcp(listener, _) => {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                axum::serve(listener, routes).await
            }
            #[cfg(unix)]
            Socket::Unix(listener, path) => {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                let _removed_at_the_end = Removed(path);
                axum::serve(listener, routes).await
            }
        }
    };
    tokio::select! {
        served = served => served,
        () = stop.cancelled() => Ok(()),
    }
}

/// Removes the socket's path when it is dropped.
#[cfg(unix)]
struct Removed(PathBuf);

#[cfg(unix)]
impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An admin port that serves. Dropping it ends it and waits for its thread.
#[derive(Debug)]
pub struct Admin {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::metrics::Metrics;
    use crate::probe::{Ready, routes};

    fn ask(mut stream: impl Read + Write, path: &str) -> String {
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer
    }

    #[test]
    fn probes_answer_on_loopback() {
        let admin = AdminBound::new("127.0.0.1:0").expect("a port").expect("on");
        let address = admin.address().expect("an address");
        let ready = Ready::when(Vec::new());
        let served = admin
            .serve(routes(Metrics::new(), ready.clone()))
            .expect("served");
        let connect = || std::net::TcpStream::connect(address).expect("connected");
        assert!(ask(connect(), "/readyz").starts_with("HTTP/1.1 200"));
        ready.drain();
        let answer = ask(connect(), "/readyz");
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains("draining"),
            "{answer}"
        );
        assert!(ask(connect(), "/healthz").starts_with("HTTP/1.1 200"));
        assert!(ask(connect(), "/version").contains(crate::probe::VERSION));
        assert!(ask(connect(), "/other").starts_with("HTTP/1.1 404"));
        drop(served);
        assert!(std::net::TcpStream::connect(address).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_socket_is_this_users_and_goes_with_the_process() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin");
        let listen = format!("unix:{}", path.display());
        // What a killed process left.
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        let admin = AdminBound::new(&listen).expect("bound").expect("on");
        let mode = std::fs::metadata(&path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let served = admin
            .serve(routes(Metrics::new(), Ready::when(Vec::new())))
            .expect("served");
        let stream = std::os::unix::net::UnixStream::connect(&path).expect("connected");
        assert!(ask(stream, "/metrics").starts_with("HTTP/1.1 200"));
        assert!(AdminBound::new(&listen).is_err(), "in use");
        drop(served);
        assert!(!path.exists());
    }

    #[test]
    fn other_places_are_refused() {
        assert!(AdminBound::new("").expect("off").is_none());
        for listen in ["0.0.0.0:0", "192.0.2.1:80", "x", "unix:/nowhere/x"] {
            assert_eq!(
                AdminBound::new(listen).expect_err("refused").number(),
                64,
                "{listen}"
            );
        }
    }
}
