//! `hearth ctl parked`: what consumers set aside because they could not handle it, and its release (an operator's).
//!
//! It asks the admin port of a running process, not the API: what is parked is nobody's in particular. Consumers,
//! subjects, reasons and times alone; the content is sealed, and nobody needs it here.

use std::time::Duration;

use clap::{Args, Subcommand};
use hearth_host::Exit;
use hearth_host::operate::{self, List, Parked, Release};
use hearth_kernel::Timestamp;
use serde_json::{Value, json};

use super::output::{Shown, Table};
use super::values;

/// How long a release is waited for; it goes on when that is over.
const RELEASED_WITHIN: Duration = Duration::from_secs(60);
/// How often the state of a release is asked for.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Which admin port, and what to do.
#[derive(Args, Clone, Debug)]
pub(crate) struct ParkedArgs {
    /// The admin port of the process: what its option server.admin_listen says
    #[arg(long, value_name = "ADDR", env = "HEARTH_ADMIN", global = true)]
    admin: Option<String>,
    #[command(subcommand)]
    command: Option<ParkedCommand>,
}

#[derive(Subcommand, Clone, Debug)]
enum ParkedCommand {
    /// Handle what was left alone of a subject, in order, and go on with it: when its cause is put right
    Release {
        /// The consumer, as the list names it
        consumer: String,
        /// The subject, as the list names it
        subject: String,
    },
}

/// Lists what is parked, or releases one subject.
///
/// # Errors
/// `Usage` when no admin port is named or nobody listens there, `Refused` when there is nothing to release or it
/// stopped again, `Failed` for the rest.
pub(crate) async fn run(args: &ParkedArgs) -> Result<Shown, Exit> {
    let admin = args.admin.as_deref().filter(|admin| !admin.is_empty());
    let admin = admin.ok_or_else(|| {
        Exit::usage("--admin or HEARTH_ADMIN must name the admin port (the option server.admin_listen of the process)")
    })?;
    match &args.command {
        None => Ok(table(&list(admin).await?)),
        Some(ParkedCommand::Release { consumer, subject }) => {
            release(admin, consumer, subject).await
        }
    }
}

async fn list(admin: &str) -> Result<List, Exit> {
    let answer = operate::ask(admin, "/parked", None).await?;
    let list = (answer.status == 200).then(|| serde_json::from_str(&answer.body).ok());
    list.flatten()
        .ok_or_else(|| refused(answer.status, &answer.body))
}

fn table(list: &List) -> Shown {
    let columns = &[
        "consumer",
        "subject",
        "reason",
        "since",
        "position",
        "release_asked",
        "releasable",
    ];
    let rows = list.parked.iter().map(|it| {
        let since = it.since_micros.map(Timestamp::from_micros);
        vec![
            json!(it.consumer),
            json!(it.subject),
            json!(it.reason),
            since.map_or(Value::Null, values::time),
            json!(it.position),
            json!(it.asked),
            json!(it.releasable),
        ]
    });
    Table::of(columns, rows).into()
}

async fn release(admin: &str, consumer: &str, subject: &str) -> Result<Shown, Exit> {
    let body = json!(Release {
        consumer: consumer.to_owned(),
        subject: subject.to_owned(),
    });
    let answer = operate::ask(admin, "/parked/release", Some(&body.to_string())).await?;
    if answer.status != 202 {
        return Err(refused(answer.status, &answer.body));
    }
    let waited = async {
        loop {
            let list = list(admin).await?;
            let is_it = |it: &&Parked| it.consumer == consumer && it.subject == subject;
            match list.parked.iter().find(is_it) {
                // Past the end of a list that is cut it may stand still.
                None if !list.more => return Ok(Shown::Line(format!("{subject} is released"))),
                Some(it) if !it.asked => {
                    return Err(refusal(format!(
                        "it stopped again, at {} ({}); the log of the process says why",
                        it.position, it.reason
                    )));
                }
                _ => tokio::time::sleep(ASK_EVERY).await,
            }
        }
    };
    let outcome = tokio::time::timeout(RELEASED_WITHIN, waited).await;
    outcome.unwrap_or_else(|_| {
        Ok(Shown::Line(format!(
            "the release of {subject} is asked for and under way; the list shows when it is over"
        )))
    })
}

fn refused(status: u16, body: &str) -> Exit {
    let line = body.lines().next().unwrap_or_default();
    match status {
        400..=499 => refusal(format!("the admin port refuses this: {line}")),
        _ => Exit::Failed(format!("the admin port answers {status}: {line}")),
    }
}

const fn refusal(line: String) -> Exit {
    Exit::Refused {
        line,
        wrong: Vec::new(),
    }
}
