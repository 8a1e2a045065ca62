//! Toxiproxy: connections that can be cut, slowed and left half open.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tempfile::TempDir;

use crate::cache::Cache;
use crate::error::ServerError;
use crate::fetch::Server;
use crate::http;
use crate::ports::free_port;
use crate::process::Process;

const READY_WITHIN: Duration = Duration::from_secs(10);

/// A running Toxiproxy.
#[derive(Debug)]
pub struct Toxiproxy {
    process: Process,
    api: SocketAddr,
    _folder: TempDir,
}

impl Toxiproxy {
    /// Starts it, without a proxy.
    ///
    /// # Errors
    /// When it is not in the cache or does not become ready.
    pub fn start(cache: &Cache) -> Result<Self, ServerError> {
        let program = cache.have(Server::Toxiproxy)?.join("toxiproxy-server");
        let folder = tempfile::Builder::new()
            .prefix("hearth-toxiproxy-")
            .tempdir()
            .map_err(ServerError::io("cannot create", std::env::temp_dir()))?;
        let port = free_port().map_err(ServerError::io("no free port in", "/"))?;
        let api = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = folder.path().join("toxiproxy.log");
        let process = Process::start("toxiproxy", &program, log, |command| {
            command.args(["-host", "127.0.0.1", "-port", &port.to_string()]);
        })?;
        process.wait_until(READY_WITHIN, || {
            matches!(http::get(api, "/version"), Some((200, _)))
        })?;
        Ok(Self {
            process,
            api,
            _folder: folder,
        })
    }

    /// Its process.
    #[must_use]
    pub const fn process(&self) -> &Process {
        &self.process
    }

    /// A new proxy to `upstream`; answers where it listens.
    ///
    /// # Errors
    /// When Toxiproxy refuses.
    pub fn proxy(&self, name: &str, upstream: SocketAddr) -> Result<SocketAddr, ServerError> {
        let port = free_port().map_err(ServerError::io("no free port in", "/"))?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let body = format!(
            r#"{{"name":"{name}","listen":"{listen}","upstream":"{upstream}","enabled":true}}"#
        );
        self.ask("POST", "/proxies", &body)?;
        Ok(listen)
    }

    /// Cuts every connection of a proxy and takes no new one.
    ///
    /// # Errors
    /// When Toxiproxy refuses.
    pub fn cut(&self, name: &str) -> Result<(), ServerError> {
        self.ask("POST", &format!("/proxies/{name}"), r#"{"enabled":false}"#)
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// When Toxiproxy refuses.
    pub fn restore(&self, name: &str) -> Result<(), ServerError> {
        self.ask("POST", &format!("/proxies/{name}"), r#"{"enabled":true}"#)
    }

    /// Delays what the upstream sends, until [`Toxiproxy::heal`].
    ///
    /// # Errors
    /// When Toxiproxy refuses.
    pub fn delay(&self, name: &str, by: Duration) -> Result<(), ServerError> {
        let body = format!(
            r#"{{"name":"delay","type":"latency","stream":"downstream","attributes":{{"latency":{}}}}}"#,
            by.as_millis()
        );
        self.ask("POST", &format!("/proxies/{name}/toxics"), &body)
    }

    /// Lets nothing through in either direction and keeps the connections open, until [`Toxiproxy::heal`].
    ///
    /// # Errors
    /// When Toxiproxy refuses.
    pub fn silence(&self, name: &str) -> Result<(), ServerError> {
        for stream in ["upstream", "downstream"] {
            let body = format!(
                r#"{{"name":"silence-{stream}","type":"timeout","stream":"{stream}","attributes":{{"timeout":0}}}}"#
            );
            self.ask("POST", &format!("/proxies/{name}/toxics"), &body)?;
        }
        Ok(())
    }

    /// Takes every delay, silence and cut away, from every proxy.
    ///
    /// # Errors
    /// When Toxiproxy refuses.
    pub fn heal(&self) -> Result<(), ServerError> {
        self.ask("POST", "/reset", "")
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<(), ServerError> {
        let answer = http::request(self.api, method, path, body);
        match answer {
            Some((200..=299, _)) => Ok(()),
            Some((status, body)) => Err(self.refused(format!("{status} {body}"))),
            None => Err(self.refused("nothing".to_owned())),
        }
    }

    fn refused(&self, answer: String) -> ServerError {
        ServerError::Answer {
            name: self.process.name().to_owned(),
            answer,
        }
    }
}
