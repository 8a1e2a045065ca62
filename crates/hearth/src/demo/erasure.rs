//! The end of an account: closed by its person, erased when the grace is over, proved by two receipts.
//!
//! Receipts are verified as anybody would: with public keys that were got before, and nothing else of Hearth.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use hearth_api::accounts::v1::{CloseAccountRequest, GetAccountRequest};
use hearth_api::retention::v1::{
    ErasureState, GetByteReceiptRequest, GetErasureRequest, GetErasureResponse,
    GetKeyReceiptRequest, GetReceiptKeysRequest, ReceiptBody, ReceiptKey, ReceiptReference,
    SignedReceipt, Step, receipt_body::Kind,
};
use hearth_api::types::v1::CommitToken;
use hearth_kernel::{HomeId, Timestamp};
use hearth_ports::{Clock, SystemClock};
use hearth_retention::{key_id, verify_receipt};

use super::people::{Line, Person, refused, request_id, time};
use super::readings::moment;
use super::screen::{Screen, check};
use super::stage::Stage;

/// How often the erasure is asked about.
const ASK: Duration = Duration::from_millis(100);
/// How long nothing may happen before time is moved on.
const QUIET: Duration = Duration::from_millis(500);
/// How much time passes first, and twice as much each time that nothing came of it: leases end after 90 s, rotation
/// comes within a day, residuals end after weeks.
const FIRST_STRIDE: Duration = Duration::from_secs(120);
/// The most that passes at once.
const LONGEST_STRIDE: Duration = Duration::from_secs(86_400);

/// What the person keeps of her closing: all that can later ask about it.
pub(super) struct Closed {
    reference: ReceiptReference,
    pub(super) grace_ends_at: Timestamp,
    pub(super) ending: Vec<String>,
    /// Stands for the closing: what is asked with it is answered by who knows of that.
    token: Option<CommitToken>,
    /// The keys that receipts are signed with, got before anything is erased.
    keys: Vec<ReceiptKey>,
}

/// Closes the account with the password, and learns the keys of receipts.
pub(super) async fn close(who: &Person, line: &Line, home: HomeId) -> Result<Closed> {
    let keys = line
        .retention()
        .get_receipt_keys(line.unsigned(GetReceiptKeysRequest {}))
        .await;
    let keys = keys.map_err(refused("GetReceiptKeys"))?.into_inner().keys;
    check(
        !keys.is_empty(),
        "a key that receipts are signed with",
        "none",
    )?;
    let close = CloseAccountRequest {
        request_id: request_id()?,
        password: who.password.to_owned(),
        grace: None,
    };
    let closed = who.accounts().close_account(who.call(close).await?).await;
    let closed = closed.map_err(refused("CloseAccount"))?.into_inner();
    check(
        closed.ending_home_ids == [home.to_string()],
        format_args!("her home {home} to end with the account"),
        format_args!("{:?}", closed.ending_home_ids),
    )?;
    let grace_ends_at = time(closed.grace_ends_at.as_ref());
    let grace = grace_ends_at.since(time(closed.closed_at.as_ref()));
    check(
        grace >= Duration::from_secs(72 * 3600),
        "a grace of 72 hours",
        format_args!("{} s", grace.as_secs()),
    )?;
    Ok(Closed {
        reference: ReceiptReference {
            receipt_id: closed.receipt_id,
            receipt_secret: closed.receipt_secret,
        },
        grace_ends_at,
        ending: closed.ending_home_ids,
        token: closed.token,
        keys,
    })
}

/// How far the erasure is, once retention has heard of the closing. `None` when it cannot answer right now.
async fn ask(line: &Line, closed: &Closed) -> Result<Option<GetErasureResponse>> {
    let get = GetErasureRequest {
        receipt: Some(closed.reference.clone()),
        after: closed.token.iter().cloned().collect(),
    };
    match line.retention().get_erasure(line.unsigned(get)).await {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) => match status.code() {
            tonic::Code::Unavailable => Ok(None),
            _ => Err(refused("GetErasure")(status)),
        },
    }
}

/// Waits until the erasure stands at `goal`, letting time pass whenever nothing happens for a while, and shows each
/// step after the first `told` as it is taken. Answers how many were.
pub(super) async fn until(
    stage: &Stage,
    line: &Line,
    closed: &Closed,
    goal: ErasureState,
    mut told: usize,
    screen: &Screen,
) -> Result<usize> {
    let mut quiet_since = SystemClock.now();
    let (mut stride, mut passed) = (FIRST_STRIDE, Duration::ZERO);
    loop {
        if let Some(erasure) = ask(line, closed).await? {
            for step in erasure.steps.iter().skip(told) {
                let at = moment(time(step.at.as_ref()));
                screen.now(&format!("{at}  {}", step_name(step.step())));
            }
            if erasure.steps.len() > told {
                told = erasure.steps.len();
                (quiet_since, stride) = (SystemClock.now(), FIRST_STRIDE);
            }
            check(
                erasure.state() != ErasureState::Cancelled,
                "an erasure that goes on",
                "one that was cancelled",
            )?;
            if i32::from(erasure.state()) >= i32::from(goal) {
                return Ok(told);
            }
            let state = erasure
                .state()
                .as_str_name()
                .trim_start_matches("ERASURE_STATE_");
            screen.progress(&format!(
                "{state}, {told} steps, {} days passed",
                passed.as_secs() / 86_400
            ));
            // Once its keys are gone it waits for dates alone.
            let waits = erasure.state() == ErasureState::KeysGone;
            if waits || SystemClock.now().since(quiet_since) >= QUIET {
                stage.pass(stride).await?;
                passed += stride;
                stride = (stride * 2).min(LONGEST_STRIDE);
                quiet_since = SystemClock.now();
            }
        }
        tokio::time::sleep(ASK).await;
    }
}

/// What a step means to a person.
fn step_name(step: Step) -> &'static str {
    match step {
        Step::Unspecified => "a step without a name",
        Step::Requested => "requested: readers fail closed",
        Step::Fenced => "fenced: her key ring and her home's take no more",
        Step::LeasesEnded => "no process holds a key of hers any more",
        Step::Purged => "every service has purged what it held",
        Step::Verified => "searched: nothing found outside the residual list",
        Step::KeysGone => "the epoch keys that wrapped her rings are destroyed",
        Step::BytesGone => "the last residual has ended",
    }
}

/// Gets a receipt and verifies it offline.
pub(super) async fn receipt(line: &Line, closed: &Closed, kind: Kind) -> Result<ReceiptBody> {
    let reference = Some(closed.reference.clone());
    let mut client = line.retention();
    let signed = match kind {
        Kind::Bytes => {
            let get = GetByteReceiptRequest { receipt: reference };
            let answer = client.get_byte_receipt(line.unsigned(get)).await;
            answer
                .map_err(refused("GetByteReceipt"))?
                .into_inner()
                .receipt
        }
        _ => {
            let get = GetKeyReceiptRequest { receipt: reference };
            let answer = client.get_key_receipt(line.unsigned(get)).await;
            answer
                .map_err(refused("GetKeyReceipt"))?
                .into_inner()
                .receipt
        }
    };
    let body = verify(&signed.context("a receipt")?, &closed.keys)?;
    check(
        body.kind() == kind,
        kind.as_str_name(),
        body.kind().as_str_name(),
    )?;
    check(
        body.receipt_id == closed.reference.receipt_id,
        &closed.reference.receipt_id,
        &body.receipt_id,
    )?;
    check(
        body.rings_destroyed == 2,
        "two key rings destroyed",
        body.rings_destroyed,
    )?;
    let search = body
        .search
        .as_ref()
        .context("a receipt says how the stores were searched")?;
    check(
        search.found_before > 0,
        "markers found before",
        search.found_before,
    )?;
    check(
        search.found_after == 0,
        "no marker found after",
        search.found_after,
    )?;
    Ok(body)
}

/// The signature is that of a key known from before. A changed byte must not pass.
fn verify(signed: &SignedReceipt, known: &[ReceiptKey]) -> Result<ReceiptBody> {
    let key = known.iter().find(|key| key.key_id == signed.key_id);
    let key = key.context("expected a key known from before; saw another")?;
    check(
        key_id(&key.public_key) == signed.key_id,
        "the id of the key",
        "another",
    )?;
    let body = verify_receipt(&signed.body, &signed.signature, &key.public_key)
        .context("the receipt does not verify")?;
    let mut forged = signed.body.to_vec();
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    check(
        verify_receipt(&forged, &signed.signature, &key.public_key).is_err(),
        "a forged receipt to be refused",
        "it verified",
    )?;
    Ok(body)
}

/// A receipt on a few lines.
pub(super) fn show(body: &ReceiptBody, screen: &Screen) {
    let search = body.search.unwrap_or_default();
    screen.say(format!(
        "receipt {}… of {}: {} rings destroyed",
        body.receipt_id.get(..8).unwrap_or_default(),
        moment(time(body.issued_at.as_ref())),
        body.rings_destroyed
    ));
    let removed: u64 = body.stores.iter().map(|store| store.removed).sum();
    screen.say(format!(
        "{removed} items removed from {} stores",
        body.stores.len()
    ));
    screen.say(format!(
        "search of {} files: {} markers, found {} times before, {} after, {} on the residual list",
        search.files,
        search.markers,
        search.found_before,
        search.found_after,
        search.found_residual
    ));
    // What of the name stays for ever is told apart from what ends.
    let mut residuals: BTreeMap<(&str, bool), (u32, Option<Timestamp>, bool)> = BTreeMap::new();
    for residual in &body.residuals {
        let ends = residual.ends_at.as_ref().map(|ends| time(Some(ends)));
        let row = residuals
            .entry((&residual.what, ends.is_some()))
            .or_insert((0, None, true));
        *row = (row.0 + 1, row.1.max(ends), row.2 && residual.ended);
    }
    for ((what, _), (places, ends, ended)) in residuals {
        let until = match ends {
            None => "bare ids that stay".to_owned(),
            Some(ends) if ended => format!("ended {}", moment(ends)),
            Some(ends) => format!("until {}", moment(ends)),
        };
        screen.say(format!("residual: {what} ({places}), {until}"));
    }
    for caveat in &body.caveats {
        screen.say(format!("caveat: {caveat}"));
    }
}

/// Nobody signs in to the account any more, and its tokens open nothing.
pub(super) async fn is_gone(who: &Person) -> Result<()> {
    if who.sign_in().await.is_ok() {
        anyhow::bail!("expected the sign-in to be refused; saw it succeed");
    }
    let Ok(get) = who.call(GetAccountRequest { after: Vec::new() }).await else {
        return Ok(());
    };
    let answer = who.accounts().get_account(get).await;
    check(answer.is_err(), "the account to be refused", "an answer")
}
