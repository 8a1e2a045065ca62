//! From the options of a command to a client: server, authority, session; and from refusals to the end of the process.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hearth_client::app::{AppClient, AppError, ConnectError, Options, Session};
use hearth_host::Exit;
use hearth_kernel::Timestamp;
use hearth_ports::tasks::Chain;
use hearth_ports::{Clock, SystemClock};
use hearth_rpc::failure_of;
use tonic::Status;

use super::session::SessionFile;

/// How long a call may take: the server's own limits are shorter.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How a certificate in PEM begins.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Which server, and who is signed in.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConnectionArgs {
    /// The server's address
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "HEARTH_SERVER",
        default_value = "http://127.0.0.1:7400"
    )]
    server: String,
    /// The certificate of the authority that the server's comes from, in PEM; needed with https
    #[arg(long, global = true, value_name = "FILE", env = "HEARTH_CA")]
    ca: Option<PathBuf>,
    /// Where the sign-in is kept [default: $HOME/.config/hearth/session.json]
    #[arg(long, global = true, value_name = "FILE", env = "HEARTH_SESSION")]
    session: Option<PathBuf>,
    /// The user's home folder, where the session file lies unless it is named.
    #[arg(long, global = true, hide = true, value_name = "DIR", env = "HOME")]
    home_folder: Option<PathBuf>,
}

/// A client, and where it keeps what it must remember.
pub(crate) struct Connection {
    pub(crate) client: AppClient,
    pub(crate) file: Arc<SessionFile>,
    pub(crate) server: String,
}

impl ConnectionArgs {
    /// The client. It connects when it is first used.
    ///
    /// # Errors
    /// `Usage` for an address, certificate or session file that cannot be used.
    pub(crate) fn connect(&self) -> Result<Connection, Exit> {
        let server = self.server.trim_end_matches('/').to_owned();
        let mut options = Options::new(&server);
        options.timeout = TIMEOUT;
        if let Some(path) = &self.ca {
            let wrong = |what: &str| Exit::usage(format!("{}: {what}", path.display()));
            let pem = std::fs::read(path)
                .map_err(|error| wrong(&format!("the certificate cannot be read: {error}")))?;
            if !pem.windows(PEM.len()).any(|part| part == PEM) {
                return Err(wrong("this is not a certificate in PEM"));
            }
            options.authorities = Some(pem);
        }
        let path = self.session_path()?;
        let file = Arc::new(SessionFile::new(path, server.clone()));
        let client = AppClient::new(&options, Arc::clone(&file) as _);
        let client = client.map_err(|error| match &error {
            ConnectError::Session(_) => {
                Exit::usage(format!("{}: {}", file.path().display(), Chain(&error)))
            }
            _ => Exit::usage(format!("{server}: {}", Chain(&error))),
        })?;
        Ok(Connection {
            client,
            file,
            server,
        })
    }

    fn session_path(&self) -> Result<PathBuf, Exit> {
        if let Some(path) = &self.session {
            return Ok(path.clone());
        }
        let home = self.home_folder.as_ref();
        home.map(|home| home.join(".config/hearth/session.json"))
            .ok_or_else(|| {
                Exit::usage("there is no home folder: name the session file with --session FILE")
            })
    }
}

impl Connection {
    /// The session of who is signed in.
    ///
    /// # Errors
    /// `Failed` when nobody is.
    pub(crate) async fn signed_in(&self) -> Result<Session, Exit> {
        self.client.session().await.ok_or_else(not_signed_in)
    }

    /// What a call that changed something answered, after its change is remembered for the reads to come.
    ///
    /// # Errors
    /// When the session file cannot be written.
    pub(crate) async fn changed(
        &self,
        token: Option<hearth_api::types::v1::CommitToken>,
    ) -> Result<(), Exit> {
        self.client
            .saw(token)
            .await
            .map_err(|error| self.app(&error))
    }

    /// The end after a step of signing in or out did not happen.
    pub(crate) fn app(&self, error: &AppError) -> Exit {
        match error {
            AppError::Refused(status) => self.refused(status),
            AppError::NotSignedIn => not_signed_in(),
            AppError::Store(_) => {
                Exit::Failed(format!("{}: {}", self.file.path().display(), Chain(error)))
            }
            AppError::NoRandomness => Exit::failed("nothing was sent", error),
        }
    }

    /// The end after a server refused a call, or did not answer.
    pub(crate) fn refused(&self, status: &Status) -> Exit {
        refusal(&self.server, status)
    }
}

/// A new request id.
///
/// # Errors
/// `Failed` when the machine has no randomness.
pub(crate) fn request_id() -> Result<String, Exit> {
    hearth_client::app::request_id().map_err(|error| Exit::failed("nothing was sent", &error))
}

/// What the machine's clock says.
pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

fn not_signed_in() -> Exit {
    Exit::Failed("nobody is signed in: hearth ctl account sign-in".to_owned())
}

/// A refusal as a readable block: reason and what it means, then everything that is wrong.
fn refusal(server: &str, status: &Status) -> Exit {
    let cause = Error::source(status);
    if let Some(cause) = cause.filter(|_| status.details().is_empty()) {
        return Exit::Failed(format!("{server} does not answer: {}", causes(cause)));
    }
    let failure = failure_of(status);
    let mut wrong: Vec<String> = Vec::new();
    for violation in &failure.violations {
        wrong.push(if violation.field.is_empty() {
            violation.description.to_string()
        } else {
            format!("{}: {}", violation.field, violation.description)
        });
    }
    if let Some((kind, id)) = &failure.resource {
        wrong.push(format!("about {kind} {id}"));
    }
    if let Some(wait) = failure.retry_after {
        wrong.push(format!("try again in {:.1} s", wait.as_secs_f64()));
    }
    Exit::Refused {
        line: failure.to_string(),
        wrong,
    }
}

/// The chain of causes on one line, without what a cause says again.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use hearth_kernel::{Failure, Reason};
    use hearth_rpc::status_of;

    use super::*;

    #[test]
    fn a_refusal_says_reason_and_everything_that_is_wrong() {
        let failure = Failure::new(Reason::INVALID_REQUEST)
            .violation("email", "must hold one @")
            .violation("password", "must have 15 to 256 characters");
        let exit = refusal("http://a", &status_of(&failure));
        assert_eq!(exit.number(), 1);
        let text = exit.to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[0].starts_with("hearth: INVALID_REQUEST: the request has fields"),
            "{text}"
        );
        assert_eq!(
            lines[1..],
            [
                "  email: must hold one @",
                "  password: must have 15 to 256 characters"
            ]
        );
    }

    #[test]
    fn a_wait_and_a_resource_are_named() {
        let failure = Failure::new(Reason::TOO_MANY_REQUESTS)
            .retry_after(Duration::from_millis(2500))
            .about("home", "x");
        let text = refusal("http://a", &status_of(&failure)).to_string();
        assert!(
            text.contains("\n  about home x\n  try again in 2.5 s"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_said_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let args = ConnectionArgs {
            // Port 1 of the loopback: reserved, and nobody listens.
            server: "http://127.0.0.1:1/".to_owned(),
            ca: None,
            session: None,
            home_folder: Some(folder.path().to_owned()),
        };
        let connection = args.connect().unwrap();
        let mut retention = connection.client.retention();
        let status = retention
            .get_periods(hearth_api::retention::v1::GetPeriodsRequest {})
            .await
            .unwrap_err();
        let text = connection.refused(&status).to_string();
        assert!(
            text.starts_with("hearth: http://127.0.0.1:1 does not answer: "),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
        assert_eq!(text.matches("tcp connect error").count(), 1, "{text}");
        let missing = ConnectionArgs {
            home_folder: None,
            ..args
        };
        assert_eq!(missing.connect().map(|_| ()).unwrap_err().number(), 64);
    }
}
