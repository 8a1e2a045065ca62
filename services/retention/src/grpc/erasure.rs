//! What is shown of an erasure, and to whom.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_api::retention::v1 as api;
use hearth_api::types::v1::CommitToken;
use hearth_kernel::{Failure, Reason, ReceiptId, Timestamp, Violations};
use hearth_retention_domain::erasure::{Receipt, State};
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use super::Grpc;
use crate::app::{residuals, steps};
use crate::project::wire_time;
use crate::receipt::key_id;

/// The most lines of the residual list that are answered.
pub(super) const RESIDUALS: usize = 64;
/// Tokens that one call waits for.
const TOKENS: usize = 8;
/// When to ask again for a receipt that waits for nothing with a date.
const ASK_AGAIN: Duration = Duration::from_secs(3_600);

impl Grpc {
    /// The erasure of a receipt, for whoever shows its secret. An unknown receipt and a wrong secret are one refusal,
    /// and take the same steps.
    pub(super) async fn shown(
        &self,
        reference: Option<api::ReceiptReference>,
    ) -> Result<Arc<State>, Failure> {
        self.shown_after(reference, &[]).await
    }

    /// The same, once what these tokens stand for is known here.
    pub(super) async fn shown_after(
        &self,
        reference: Option<api::ReceiptReference>,
        after: &[CommitToken],
    ) -> Result<Arc<State>, Failure> {
        let ((receipt, secret), after) = named(reference, after)?;
        self.knowledge.after(&after).await?;
        if let Some(state) = self.known(receipt, &secret).await? {
            return Ok(state);
        }
        // She may have closed her account a moment ago: "no" is said only behind all that was decided before she asked.
        self.knowledge.settled(self.app.engine.now()).await?;
        let state = self.known(receipt, &secret).await?;
        state.ok_or_else(|| Failure::new(Reason::NOT_FOUND).about("receipt", receipt))
    }

    async fn known(
        &self,
        receipt: ReceiptId,
        secret: &[u8],
    ) -> Result<Option<Arc<State>>, Failure> {
        let loaded = self.app.load(self.app.erasure_of(receipt)).await?;
        let known = loaded.state.closing.as_ref();
        let hash = digest(&SHA256, secret);
        let expected = known.map_or([0; 32], |closing| closing.secret_hash);
        let same = bool::from(hash.as_ref().ct_eq(&expected));
        let own = known.is_some_and(|closing| closing.receipt == receipt);
        Ok((same && own).then(|| Arc::clone(&loaded.state)))
    }
}

type Named = ((ReceiptId, Bytes), Vec<hearth_engine::CommitToken>);

fn named(
    reference: Option<api::ReceiptReference>,
    after: &[CommitToken],
) -> Result<Named, Failure> {
    let mut violations = Violations::new();
    let reference = reference.unwrap_or_default();
    let receipt = violations.take(
        reference.receipt_id.parse::<ReceiptId>(),
        "receipt.receipt_id",
        "32 lower-case hexadecimal digits",
    );
    let secret = reference.receipt_secret;
    violations.require(
        secret.len() == 32,
        "receipt.receipt_secret",
        "exactly 32 bytes",
    );
    violations.require(after.len() <= TOKENS, "after", "at most 8 tokens");
    let read = |token: &CommitToken| hearth_engine::CommitToken::from_bytes(&token.value);
    let tokens: Option<Vec<_>> = after.iter().take(TOKENS).map(read).collect();
    violations.require(tokens.is_some(), "after", "tokens of this system");
    violations.finish(
        receipt
            .zip(tokens)
            .map(|(receipt, tokens)| ((receipt, secret), tokens)),
    )
}

/// How far it is.
pub(super) fn response(state: &State, now: Timestamp) -> api::GetErasureResponse {
    use api::ErasureState as Wire;
    let standing = if state.cancelled_at.is_some() {
        Wire::Cancelled
    } else if state.bytes_gone.is_some() {
        Wire::BytesGone
    } else if state.keys_gone.is_some() {
        Wire::KeysGone
    } else if state.request.is_some() {
        Wire::Running
    } else {
        Wire::Grace
    };
    let grace = state.closing.as_ref().map(|it| it.grace_ends_at);
    api::GetErasureResponse {
        state: standing.into(),
        steps: steps(state),
        grace_ends_at: grace.map(wire_time),
        residuals: residuals(state, now),
    }
}

/// The key receipt, or when to ask for it.
///
/// # Errors
/// `NOT_FOUND` until it is there.
pub(super) fn key_receipt(state: &State, now: Timestamp) -> Result<api::SignedReceipt, Failure> {
    let grace = state.closing.as_ref().map(|it| it.grace_ends_at);
    match &state.keys_gone {
        Some((receipt, _)) => Ok(signed(receipt)),
        None => Err(not_yet(grace, now)),
    }
}

/// The byte receipt, or when to ask for it.
///
/// # Errors
/// `NOT_FOUND` until it is there.
pub(super) fn byte_receipt(state: &State, now: Timestamp) -> Result<api::SignedReceipt, Failure> {
    match &state.bytes_gone {
        Some((receipt, _)) => Ok(signed(receipt)),
        None => Err(not_yet(state.residuals_end_at(), now)),
    }
}

fn not_yet(expected: Option<Timestamp>, now: Timestamp) -> Failure {
    let wait = expected.map_or(Duration::ZERO, |at| at.since(now));
    Failure::new(Reason::NOT_FOUND).retry_after(wait.max(ASK_AGAIN))
}

fn signed(receipt: &Receipt) -> api::SignedReceipt {
    api::SignedReceipt {
        body: Bytes::copy_from_slice(&receipt.body),
        signature: Bytes::copy_from_slice(&receipt.signature),
        key_id: key_id(&receipt.public_key),
        public_key: Bytes::copy_from_slice(&receipt.public_key),
    }
}
