//! `hearth ctl erasure`: how far an erasure is, its receipts, and whether they are true. Nobody is signed in for it:
//! the file from `account close` proves the right to ask.

mod proof;

use std::path::PathBuf;

use clap::Subcommand;
use hearth_api::retention::v1 as wire;
use hearth_host::Exit;
use serde_json::{Value, json};
use tonic::Code;

use super::connection::{Connection, ConnectionArgs};
use super::output::{Shown, Table};
use super::receipt::{ReceiptFile, Signed};
use super::values;

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum ErasureCommand {
    /// Show how far an erasure is, and what still stays
    Status {
        /// The file from `account close`
        receipt: PathBuf,
    },
    /// Get the signed receipts that are there, and keep them in the file
    Receipts {
        /// The file from `account close`
        receipt: PathBuf,
    },
    /// Check the receipts in the file without the server
    Verify {
        /// The file from `account close`, after `receipts`
        receipt: PathBuf,
        /// A public key of receipts in hexadecimal, got elsewhere: only what it signed is then taken
        #[arg(long, value_name = "HEX")]
        key: Option<String>,
    },
    /// Show how long each kind of data is kept
    Periods,
}

pub(crate) async fn run(command: ErasureCommand, to: &ConnectionArgs) -> Result<Shown, Exit> {
    match command {
        ErasureCommand::Status { receipt } => {
            status(&to.connect()?, &ReceiptFile::load(&receipt)?).await
        }
        ErasureCommand::Receipts { receipt } => {
            let mut file = ReceiptFile::load(&receipt)?;
            let shown = receipts(&to.connect()?, &mut file).await?;
            file.save(&receipt)?;
            Ok(shown)
        }
        // Without the server: a proof that needs who gives it is none.
        ErasureCommand::Verify { receipt, key } => {
            proof::verify(&ReceiptFile::load(&receipt)?, key.as_deref())
        }
        ErasureCommand::Periods => periods(&to.connect()?).await,
    }
}

async fn status(to: &Connection, file: &ReceiptFile) -> Result<Shown, Exit> {
    let answer = erasure(to, file).await?;
    let state = values::enum_name(answer.state().as_str_name(), "ERASURE_STATE_");
    Ok(Shown::Parts(vec![
        (
            "erasure",
            Shown::One(vec![
                ("state", state),
                ("grace_ends_at", values::wire_time(answer.grace_ends_at)),
            ]),
        ),
        ("steps", steps(&answer.steps).into()),
        ("residuals", residuals(&answer.residuals).into()),
    ]))
}

/// The erasure. Retention says no only behind everything that was closed before it was asked.
async fn erasure(to: &Connection, file: &ReceiptFile) -> Result<wire::GetErasureResponse, Exit> {
    let request = wire::GetErasureRequest {
        receipt: Some(file.reference()?),
        ..wire::GetErasureRequest::default()
    };
    let answer = to.client.retention().get_erasure(request).await;
    let answer = answer.map_err(|status| to.refused(&status))?;
    Ok(answer.into_inner())
}

async fn receipts(to: &Connection, file: &mut ReceiptFile) -> Result<Shown, Exit> {
    let mut retention = to.client.retention();
    let request = wire::GetKeyReceiptRequest {
        receipt: Some(file.reference()?),
    };
    let keys = retention
        .get_key_receipt(request)
        .await
        .map(|it| it.into_inner().receipt);
    let request = wire::GetByteReceiptRequest {
        receipt: Some(file.reference()?),
    };
    let bytes = retention
        .get_byte_receipt(request)
        .await
        .map(|it| it.into_inner().receipt);
    let mut table = Table::new(&["proves_gone", "there", "key_id"]);
    let mut there = Vec::new();
    for (kind, answer) in [("keys", keys), ("bytes", bytes)] {
        match answer {
            Ok(Some(receipt)) => {
                table.push(vec![json!(kind), json!(true), json!(receipt.key_id)]);
                there.push(Signed::of(&receipt));
            }
            Ok(None) => table.push(vec![json!(kind), json!(false), Value::Null]),
            // Not there yet; an unknown receipt would have been refused for both.
            Err(status) if status.code() == Code::NotFound => {
                table.push(vec![json!(kind), json!(false), Value::Null]);
            }
            Err(status) => return Err(to.refused(&status)),
        }
    }
    file.receipts = there;
    Ok(table.into())
}

async fn periods(to: &Connection) -> Result<Shown, Exit> {
    let answer = to
        .client
        .retention()
        .get_periods(wire::GetPeriodsRequest {})
        .await;
    let periods = answer.map_err(|it| to.refused(&it))?.into_inner().periods;
    let rows = periods.into_iter().map(|it| {
        vec![
            json!(it.category),
            values::shown_span(it.default_period),
            values::shown_span(it.max_period),
            json!(it.on_closing),
        ]
    });
    Ok(Table::of(&["category", "kept_for", "at_most", "on_closing"], rows).into())
}

fn steps(steps: &[wire::StepTaken]) -> Table {
    let rows = steps.iter().map(|it| {
        vec![
            values::enum_name(it.step().as_str_name(), "STEP_"),
            values::wire_time(it.at),
        ]
    });
    Table::of(&["step", "at"], rows)
}

fn residuals(residuals: &[wire::Residual]) -> Table {
    let rows = residuals.iter().map(|it| {
        vec![
            json!(it.what),
            json!(it.store),
            values::wire_time(it.ends_at),
            json!(it.ended),
            json!(it.reason),
        ]
    });
    Table::of(&["what", "store", "ends_at", "ended", "reason"], rows)
}
