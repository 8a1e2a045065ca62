//! `hearth ctl account`: register, sign in and out, sessions, and the way out.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use hearth_api::accounts::v1 as wire;
use hearth_api::retention::v1::GetReceiptKeysRequest;
use hearth_host::Exit;
use serde_json::{Value, json};

use super::connection::{Connection, request_id};
use super::output::{Shown, Table};
use super::receipt::ReceiptFile;
use super::{pages, password, values};

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum AccountCommand {
    /// Ask for an account; the code comes by mail
    Register {
        /// The sign-in name
        email: String,
        /// The name that people you share a home with see
        #[arg(long)]
        username: String,
        /// The language of mails and notices
        #[arg(long, default_value = "en")]
        locale: String,
    },
    /// Prove the address with the code from the mail, and be signed in
    Verify {
        /// The code from the mail
        code: String,
        /// What to call this device in the list of sessions
        #[arg(long, default_value = "hearth ctl")]
        label: String,
    },
    /// Sign in
    SignIn {
        /// The sign-in name
        email: String,
        /// What to call this device in the list of sessions
        #[arg(long, default_value = "hearth ctl")]
        label: String,
    },
    /// End this session
    SignOut,
    /// Show the account
    Show,
    /// List the open sessions
    Sessions,
    /// End one session
    Revoke {
        /// The session, from `sessions`
        session: String,
    },
    /// Close the account: after a grace in which it can be reopened, all of it is erased
    Close {
        /// How long the closing can be taken back: 72h to 30d
        #[arg(long, value_name = "SPAN", value_parser = values::span)]
        grace: Option<Duration>,
        /// Where the receipt goes, which is all that can later ask about the erasure
        /// [default: receipt-ID.json beside the session file]
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
    },
    /// Take a closing back
    Reopen {
        /// The account, where nobody is signed in
        #[arg(long, requires = "undo")]
        account: Option<String>,
        /// The file with the undo token from the mail
        #[arg(long, value_name = "FILE", requires = "account")]
        undo: Option<PathBuf>,
    },
}

pub(crate) async fn run(command: AccountCommand, to: &Connection) -> Result<Shown, Exit> {
    match command {
        AccountCommand::Register {
            email,
            username,
            locale,
        } => register(to, &email, &username, &locale).await,
        AccountCommand::Verify { code, label } => verify(to, &code, &label).await,
        AccountCommand::SignIn { email, label } => {
            let password = password::ask()?;
            let session = to.client.sign_in(&email, &password, &label).await;
            let session = session.map_err(|error| to.app(&error))?;
            Ok(Shown::Line(format!(
                "signed in as account {}",
                session.account_id
            )))
        }
        AccountCommand::SignOut => {
            to.client.sign_out().await.map_err(|error| to.app(&error))?;
            Ok(Shown::Line("signed out".to_owned()))
        }
        AccountCommand::Show => show(to).await,
        AccountCommand::Sessions => sessions(to).await,
        AccountCommand::Revoke { session } => {
            to.signed_in().await?;
            let line = format!("session {session} is ended");
            let request = wire::RevokeSessionRequest {
                request_id: request_id()?,
                session_id: session,
            };
            let answer = to.client.accounts().revoke_session(request).await;
            to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
                .await?;
            Ok(Shown::Line(line))
        }
        AccountCommand::Close { grace, receipt } => close(to, grace, receipt).await,
        AccountCommand::Reopen { account, undo } => reopen(to, account, undo).await,
    }
}

async fn register(
    to: &Connection,
    email: &str,
    username: &str,
    locale: &str,
) -> Result<Shown, Exit> {
    let password = password::choose()?;
    let asked = to.client.register(email, username, &password, locale).await;
    let registration = asked.map_err(|error| to.app(&error))?;
    kept(to, to.file.keep_registration(Some(&registration)))?;
    Ok(Shown::One(vec![
        ("registration_id", json!(registration.registration_id)),
        (
            "next",
            json!("hearth ctl account verify CODE, with the code from the mail"),
        ),
    ]))
}

async fn verify(to: &Connection, code: &str, label: &str) -> Result<Shown, Exit> {
    let Some(registration) = kept(to, to.file.registration())? else {
        let path = to.file.path().display();
        return Err(Exit::usage(format!(
            "{path}: no registration waits here for its code"
        )));
    };
    let proved = to.client.verify_email(&registration, code, label).await;
    let session = proved.map_err(|error| to.app(&error))?;
    kept(to, to.file.keep_registration(None))?;
    Ok(Shown::Line(format!(
        "signed in as account {}",
        session.account_id
    )))
}

async fn show(to: &Connection) -> Result<Shown, Exit> {
    to.signed_in().await?;
    let request = wire::GetAccountRequest {
        after: to.client.after().await,
    };
    let answer = to.client.accounts().get_account(request).await;
    let account = answer
        .map_err(|it| to.refused(&it))?
        .into_inner()
        .account
        .unwrap_or_default();
    let state = values::enum_name(account.state().as_str_name(), "ACCOUNT_STATE_");
    let mut facts = vec![
        ("account_id", json!(account.account_id)),
        ("email", json!(account.email)),
        ("username", json!(account.username)),
        ("locale", json!(account.locale)),
        ("state", state),
        ("registered_at", values::wire_time(account.registered_at)),
    ];
    if let Some(closing) = account.closing {
        facts.push(("closed_at", values::wire_time(closing.closed_at)));
        facts.push(("grace_ends_at", values::wire_time(closing.grace_ends_at)));
    }
    Ok(Shown::One(facts))
}

async fn sessions(to: &Connection) -> Result<Shown, Exit> {
    to.signed_in().await?;
    let after = to.client.after().await;
    let sessions = pages::all(|page| {
        let request = wire::ListSessionsRequest {
            after: after.clone(),
            page,
        };
        async move {
            let answer = to
                .client
                .accounts()
                .list_sessions(request)
                .await?
                .into_inner();
            Ok((answer.sessions, answer.next))
        }
    });
    let sessions = sessions.await.map_err(|it| to.refused(&it))?;
    let rows = sessions.into_iter().map(|it| {
        vec![
            json!(it.session_id),
            json!(it.device_label),
            values::wire_time(it.opened_at),
            values::wire_time(it.refreshed_at),
            values::wire_time(it.expires_at),
            json!(it.current),
        ]
    });
    let columns = &[
        "session_id",
        "device_label",
        "opened_at",
        "refreshed_at",
        "expires_at",
        "current",
    ];
    Ok(Table::of(columns, rows).into())
}

async fn close(
    to: &Connection,
    grace: Option<Duration>,
    receipt: Option<PathBuf>,
) -> Result<Shown, Exit> {
    to.signed_in().await?;
    let password = password::ask()?;
    // Got before the erasure, the keys later tell a true receipt from one that was made up.
    let keys = to
        .client
        .retention()
        .get_receipt_keys(GetReceiptKeysRequest {})
        .await;
    let keys = keys.map_err(|it| to.refused(&it))?.into_inner().keys;
    let request = wire::CloseAccountRequest {
        request_id: request_id()?,
        password: password.expose_text().unwrap_or_default().to_owned(),
        grace: grace.map(values::wire_span),
    };
    let answer = to.client.accounts().close_account(request).await;
    let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
    let path = receipt.unwrap_or_else(|| {
        to.file
            .path()
            .with_file_name(format!("receipt-{}.json", answer.receipt_id))
    });
    let file = ReceiptFile::new(&to.server, &answer, &keys);
    if let Err(exit) = file.save(&path) {
        // The account is closed: what would be lost with the file is said here, once.
        super::output::remark(&format!(
            "the receipt could not be saved; keep this:\n  receipt id      {}\n  receipt secret  {}",
            answer.receipt_id,
            hex::encode(&answer.receipt_secret)
        ));
        return Err(exit);
    }
    to.changed(answer.token).await?;
    Ok(Shown::One(vec![
        ("closed_at", values::wire_time(answer.closed_at)),
        ("grace_ends_at", values::wire_time(answer.grace_ends_at)),
        ("ending_homes", Value::from(answer.ending_home_ids)),
        ("receipt_id", json!(answer.receipt_id)),
        ("receipt", json!(path.display().to_string())),
        (
            "next",
            json!("keep the receipt; hearth ctl erasure status FILE asks how far the erasure is"),
        ),
    ]))
}

async fn reopen(
    to: &Connection,
    account: Option<String>,
    undo: Option<PathBuf>,
) -> Result<Shown, Exit> {
    let request_id = request_id()?;
    let answer = if let (Some(account_id), Some(undo)) = (account, undo) {
        let token = std::fs::read_to_string(&undo).map_err(|error| {
            Exit::usage(format!(
                "{}: the undo token cannot be read: {error}",
                undo.display()
            ))
        })?;
        let undo_token = token.trim().to_owned();
        let request = wire::ReopenAccountRequest {
            request_id,
            account_id,
            undo_token,
        };
        to.client.anonymous_accounts().reopen_account(request).await
    } else {
        to.signed_in().await?;
        let request = wire::ReopenAccountRequest {
            request_id,
            ..Default::default()
        };
        to.client.accounts().reopen_account(request).await
    };
    to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
        .await?;
    Ok(Shown::Line("the account is open again".to_owned()))
}

fn kept<T>(to: &Connection, outcome: std::io::Result<T>) -> Result<T, Exit> {
    let path = to.file.path().display();
    outcome
        .map_err(|error| Exit::failed(&format!("{path}: the registration cannot be kept"), &error))
}
