//! How a stream is opened: a fresh nonce, and a signature over it, the audience, the hub and its claim.
//!
//! A hub that cannot prove itself learns nothing more than that: not whether it or its claim exists.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use hearth_api::ingest::v1::{
    Challenge as WireChallenge, Hello, IngestRequest, Limits, StreamPosition, Welcome,
    ingest_request,
};
use hearth_ingest_domain::window::{MAX_STREAMS, Window};
use hearth_kernel::{ClaimId, Failure, HubId, HubStreamId, Reason};
use hearth_ports::Read;
use hearth_rpc::inbound;
use tonic::Status;

use crate::batch::{MAX_BATCH_BYTES, MAX_MEASURES, MAX_READINGS};
use crate::core::{Core, Standing};
use crate::proof;
use crate::registry::Registry;
use crate::wire;

/// How long a nonce is good. A hub signs at once; whoever is silent holds one of the process's streams as long.
const NONCE_PERIOD: Duration = Duration::from_secs(10);

/// What the hub is to sign.
pub(super) struct Challenge {
    nonce: [u8; 32],
    audience: String,
}

impl Challenge {
    pub(super) fn to_wire(&self) -> WireChallenge {
        WireChallenge {
            nonce: Bytes::copy_from_slice(&self.nonce),
            audience: self.audience.clone(),
            domain_tag: proof::INGEST_TAG.to_owned(),
        }
    }
}

/// A hub that proved itself.
pub(super) struct Greeted {
    pub(super) standing: Standing,
    pub(super) registry: Arc<Registry>,
    pub(super) windows: BTreeMap<HubStreamId, Window>,
    pub(super) welcome: Welcome,
}

/// A fresh challenge.
pub(super) fn challenge(core: &Core) -> Result<Challenge, Failure> {
    Ok(Challenge {
        nonce: proof::nonce().ok_or(Reason::INTERNAL)?,
        audience: core.audience.clone(),
    })
}

/// Waits for hello and checks it.
pub(super) async fn greet<S>(
    core: &Core,
    challenge: &Challenge,
    requests: &mut S,
) -> Result<Greeted, Failure>
where
    S: Stream<Item = Result<IngestRequest, Status>> + Send + Unpin,
{
    let first = tokio::time::timeout(NONCE_PERIOD, requests.next()).await;
    let hello = match first.map_err(|_| Reason::DEADLINE_EXCEEDED)? {
        Some(Ok(IngestRequest {
            frame: Some(ingest_request::Frame::Hello(hello)),
        })) => hello,
        Some(Ok(_)) | None => {
            let failure = Failure::new(Reason::INVALID_REQUEST);
            return Err(failure.violation("frame", "hello is expected first"));
        }
        Some(Err(status)) => return Err(inbound(&status)),
    };
    let standing = prove(core, challenge, &hello).await?;
    let streams = streams(&hello)?;
    let registry = core.registry(standing.home, Read::Leader).await?;
    let windows = core.resume.windows(standing.claim, &streams).await?;
    let welcome = welcome(core, &windows);
    Ok(Greeted {
        standing,
        registry: Arc::new(registry),
        windows,
        welcome,
    })
}

async fn prove(core: &Core, challenge: &Challenge, hello: &Hello) -> Result<Standing, Failure> {
    let not_proved = || Failure::new(Reason::HUB_NOT_PROVED);
    let hub = HubId::from_slice(&hello.hub_id).ok_or_else(not_proved)?;
    let claim = ClaimId::from_slice(&hello.claim_id).ok_or_else(not_proved)?;
    if hello.nonce != challenge.nonce.as_slice() {
        return Err(not_proved());
    }
    let loaded = core
        .engine
        .load::<crate::aggregates::Claim>(claim, Read::Leader)
        .await
        .map_err(Failure::from)?;
    let made = loaded.state.made().ok_or_else(not_proved)?;
    let proved = proof::opens_stream(
        &made.public_key,
        &challenge.audience,
        &challenge.nonce,
        (hub, claim),
        &hello.signature,
    );
    if !proved || made.hub != hub {
        return Err(not_proved());
    }
    // The hub's own key said so: it may know that its claim is over.
    let standing = core
        .standing(claim, Read::Follower)
        .await
        .map_err(Failure::from)?;
    standing.ok_or_else(|| Failure::new(Reason::CLAIM_ENDED))
}

fn streams(hello: &Hello) -> Result<Vec<HubStreamId>, Failure> {
    let malformed = || {
        let failure = Failure::new(Reason::INVALID_REQUEST);
        failure.violation("hello.stream_ids", "at most 16, 16 bytes each")
    };
    if hello.stream_ids.len() > MAX_STREAMS {
        return Err(malformed());
    }
    let ids = hello.stream_ids.iter();
    ids.map(|id| HubStreamId::from_slice(id).ok_or_else(malformed))
        .collect()
}

fn welcome(core: &Core, windows: &BTreeMap<HubStreamId, Window>) -> Welcome {
    let position = |(stream, window): (&HubStreamId, &Window)| StreamPosition {
        stream_id: Bytes::copy_from_slice(stream.as_bytes()),
        durable_through: window.through(),
    };
    Welcome {
        positions: windows.iter().map(position).collect(),
        credit: core.credit.load(Ordering::Relaxed),
        limits: Some(Limits {
            max_batch_bytes: MAX_BATCH_BYTES,
            max_readings: MAX_READINGS,
            max_measures: MAX_MEASURES,
            max_text_bytes: u32::try_from(hearth_kernel::capability::MAX_TEXT_BYTES).unwrap_or(0),
            max_streams: u32::try_from(MAX_STREAMS).unwrap_or(0),
        }),
        server_time: Some(wire::time(core.engine.now())),
    }
}
