//! Receipts: what they say, and the key that signs them. The key never leaves.

use std::collections::BTreeMap;

use hearth_api::retention::v1 as api;
use hearth_engine::{Actor, Call, Engine, ExecuteError};
use hearth_kernel::{InstallationId, Purpose, Service, Timestamp};
use hearth_ports::{SealError, SealedOff, Sealing};
use hearth_retention_domain::erasure::{Pass, Receipt, Residual, State};
use hearth_retention_domain::signing::Use;
use prost::Message;
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::aggregates::{SIGNING, Signing};
use crate::project::wire_time;
use crate::receipt::signed_bytes;

/// The name that the seed is derived under.
const SEED: &str = "receipts";
/// What weakens the proof where destroyed keys are not overwritten.
const NOT_IN_PLACE: &str = "the key files lie on a file system that does not overwrite in place: \
    destroyed keys may stay on the medium until it reuses their place";

/// Signs receipts of one installation.
pub(crate) struct Receipts {
    installation: InstallationId,
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl Receipts {
    /// With the service's own key.
    ///
    /// # Errors
    /// When the vault does not give it.
    pub(crate) async fn new(
        installation: InstallationId,
        sealing: &dyn Sealing,
    ) -> Result<Self, SealError> {
        let seed = sealing.service_secret(Purpose::Signing, SEED).await?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose());
        let pair = pair.map_err(|_| SealError::Corrupt)?;
        let public = pair.public_key().as_ref().try_into();
        Ok(Self {
            installation,
            public: public.map_err(|_| SealError::Corrupt)?,
            pair,
        })
    }

    /// Notes the key as the one in use, so that others can verify what it signs.
    ///
    /// # Errors
    /// When the log fails.
    pub(crate) async fn note(&self, engine: &Engine) -> Result<(), ExecuteError> {
        let key = self.public;
        let call = Call {
            commit: engine.hasher().id("signing key", &[&key]).into(),
            fingerprint: [0; 16],
            actor: Actor::Service(Service::Retention),
            causation: None,
            trace: String::new(),
        };
        let now = engine.now();
        engine
            .execute::<Signing, _>(&call, SIGNING, &Use(key), async move |_| Ok(now))
            .await
            .map(|_| ())
    }

    /// The key receipt. The state has passed the search after the purge.
    pub(crate) fn keys(&self, state: &State, evidence: SealedOff, now: Timestamp) -> Receipt {
        let pass = state.verified.map(|(pass, _)| pass).unwrap_or_default();
        let mut body = self.body(state, pass, evidence, now);
        body.set_kind(api::receipt_body::Kind::Keys);
        body.steps.push(taken(api::Step::KeysGone, now));
        self.sign(&body)
    }

    /// The byte receipt, after the last search.
    pub(crate) fn bytes(
        &self,
        state: &State,
        pass: Pass,
        evidence: SealedOff,
        now: Timestamp,
    ) -> Receipt {
        let mut body = self.body(state, pass, evidence, now);
        body.set_kind(api::receipt_body::Kind::Bytes);
        body.steps.push(taken(api::Step::BytesGone, now));
        self.sign(&body)
    }

    fn body(
        &self,
        state: &State,
        pass: Pass,
        evidence: SealedOff,
        now: Timestamp,
    ) -> api::ReceiptBody {
        let receipt = state.closing.as_ref().map(|it| it.receipt.to_string());
        let mut stores: BTreeMap<String, u64> = BTreeMap::new();
        for store in state.answers.values().flatten() {
            *stores.entry(store.name.clone()).or_default() += store.removed;
        }
        let caveat = (!evidence.overwritten_in_place).then(|| NOT_IN_PLACE.to_owned());
        api::ReceiptBody {
            kind: api::receipt_body::Kind::Unspecified.into(),
            receipt_id: receipt.unwrap_or_default(),
            installation_id: self.installation.to_string(),
            steps: steps(state),
            rings_destroyed: u32::try_from(state.fenced.len()).unwrap_or(u32::MAX),
            stores: stores
                .into_iter()
                .map(|(store, removed)| api::StoreResult { store, removed })
                .collect(),
            search: Some(api::SearchResult {
                files: pass.files,
                bytes: pass.bytes,
                markers: pass.markers,
                found_before: state.control.as_ref().map_or(0, |it| it.found),
                found_after: pass.outside,
                found_residual: pass.residual,
            }),
            residuals: residuals(state, now),
            caveats: caveat.into_iter().collect(),
            issued_at: Some(wire_time(now)),
        }
    }

    fn sign(&self, body: &api::ReceiptBody) -> Receipt {
        let body = body.encode_to_vec();
        let signature = self.pair.sign(&signed_bytes(&body));
        Receipt {
            // An Ed25519 signature always has 64 bytes; a wrong one would be refused by whoever verifies.
            signature: signature.as_ref().try_into().unwrap_or([0; 64]),
            body,
            public_key: self.public,
        }
    }
}

fn taken(step: api::Step, at: Timestamp) -> api::StepTaken {
    api::StepTaken {
        step: step.into(),
        at: Some(wire_time(at)),
    }
}

/// Every step that was taken, in order.
pub(crate) fn steps(state: &State) -> Vec<api::StepTaken> {
    use api::Step;
    let steps = [
        (Step::Requested, state.request.as_ref().map(|it| it.at)),
        (Step::Fenced, state.fenced_at),
        (Step::LeasesEnded, state.leases_ended_at),
        (Step::Purged, state.purged_at),
        (Step::Verified, state.verified.map(|(_, at)| at)),
        (Step::KeysGone, state.keys_gone.as_ref().map(|(_, at)| *at)),
        (
            Step::BytesGone,
            state.bytes_gone.as_ref().map(|(_, at)| *at),
        ),
    ];
    let steps = steps.into_iter();
    steps
        .filter_map(|(step, at)| at.map(|at| taken(step, at)))
        .collect()
}

/// The residual list: by end, those without one last.
pub(crate) fn residuals(state: &State, now: Timestamp) -> Vec<api::Residual> {
    let mut list: Vec<_> = state.residuals.iter().collect();
    list.sort_by_key(|it| (it.ends_at.unwrap_or(Timestamp::MAX), *it));
    list.into_iter().map(|it| residual(it, now)).collect()
}

fn residual(it: &Residual, now: Timestamp) -> api::Residual {
    let reason = match it.what.as_str() {
        "tombstones" => "bare ids that forbid what was erased to come back",
        "fences" => "bare ids that forbid new keys for whom was erased",
        "ledger" => "bare ids, so that a restored backup is erased again",
        "int-events" => "published events of the last days: ids and states, no content",
        "frames" => "sealed readings on their way to their store; their keys are destroyed",
        "backups" => "copies that hold no keys, until they are replaced",
        "records" => "what the law or a contract demands, each for its period",
        "holds" => "items that a legal hold names, until it ends",
        _ => "reported by the store",
    };
    api::Residual {
        what: it.what.clone(),
        store: it.store.clone(),
        reason: reason.to_owned(),
        ends_at: it.ends_at.map(wire_time),
        ended: it.ends_at.is_some_and(|end| end <= now),
    }
}
