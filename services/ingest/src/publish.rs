//! What ingest makes public: claims and devices, as events that happened and as facts that are so.

use async_trait::async_trait;
use bytes::Bytes;
use hearth_api::events::v1::{self as events, envelope, ingest_event, ingest_fact, owner};
use hearth_engine::erasure;
use hearth_engine::{
    Aggregate, Commit, Publication, PublishedFacts, Publisher, RelayError, Target, decode_events,
};
use hearth_ingest_domain::claim::{Event as ClaimEvent, Made};
use hearth_ingest_domain::devices::{Event as DevicesEvent, Traits};
use hearth_kernel::{ClaimId, DeviceId, HomeId, HubId};
use prost::Message;
use uuid::Uuid;

use crate::aggregates::{Claim, Devices};
use crate::wire;

/// The publisher of ingest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IngestPublisher;

#[async_trait]
impl Publisher for IngestPublisher {
    async fn publish(
        &self,
        commit: &Commit,
        _: &PublishedFacts,
    ) -> Result<Vec<Publication>, RelayError> {
        if let Some(publications) = erasure::publications(commit)? {
            return Ok(publications);
        }
        let id = Uuid::from_slice(&commit.aggregate).unwrap_or_default();
        if commit.is_tombstone() {
            // A claim may be purged while it stands: then its fact ends here. Devices have ended before.
            let of_claim = commit.kind == Claim::KIND;
            return Ok(if of_claim {
                vec![gone("claim", id)]
            } else {
                Vec::new()
            });
        }
        let mut publications = Vec::new();
        match commit.kind.as_str() {
            Claim::KIND => {
                for event in decode_events::<Claim>(id, commit)? {
                    claim(&event, &mut publications);
                }
            }
            Devices::KIND => {
                for event in decode_events::<Devices>(id, commit)? {
                    devices(&event, &mut publications);
                }
            }
            _ => {}
        }
        Ok(publications)
    }
}

fn claim(event: &ClaimEvent, out: &mut Vec<Publication>) {
    match event {
        ClaimEvent::HubClaimed(made) => {
            out.push(event_of(
                "hub-claimed",
                made.home,
                ingest_event::Event::HubClaimed(events::HubClaimed {
                    home_id: raw(made.home),
                    hub_id: raw(made.hub),
                    claim_id: raw(made.claim),
                }),
            ));
            out.push(claim_fact(made));
        }
        ClaimEvent::HubRevoked {
            claim, hub, home, ..
        } => {
            out.push(revoked(*home, *hub, *claim));
            out.push(gone("claim", (*claim).into()));
        }
    }
}

fn revoked(home: HomeId, hub: HubId, claim: ClaimId) -> Publication {
    let event = events::HubRevoked {
        home_id: raw(home),
        hub_id: raw(hub),
        claim_id: raw(claim),
    };
    event_of("hub-revoked", home, ingest_event::Event::HubRevoked(event))
}

fn claim_fact(made: &Made) -> Publication {
    let fact = events::ClaimFact {
        claim_id: raw(made.claim),
        hub_id: raw(made.hub),
        home_id: raw(made.home),
        active: true,
        public_key: Bytes::copy_from_slice(&made.public_key),
        claimed_at: Some(wire::time(made.claimed_at)),
    };
    fact_of(
        "claim",
        made.claim.into(),
        made.home,
        ingest_fact::Fact::Claim(fact),
    )
}

fn devices(event: &DevicesEvent, out: &mut Vec<Publication>) {
    let ids = |home: HomeId, device: DeviceId| (raw(home), raw(device));
    match event {
        DevicesEvent::DeviceRegistered {
            home,
            device,
            traits,
            ..
        } => {
            let (home_id, device_id) = ids(*home, *device);
            let what = events::DeviceRegistered { home_id, device_id };
            out.push(event_of(
                "device-registered",
                *home,
                ingest_event::Event::DeviceRegistered(what),
            ));
            out.push(device_fact(*home, *device, traits));
        }
        DevicesEvent::DeviceUpdated {
            home,
            device,
            traits,
            ..
        } => {
            let (home_id, device_id) = ids(*home, *device);
            let what = events::DeviceUpdated { home_id, device_id };
            out.push(event_of(
                "device-updated",
                *home,
                ingest_event::Event::DeviceUpdated(what),
            ));
            out.push(device_fact(*home, *device, traits));
        }
        DevicesEvent::DeviceRemoved { home, device } => {
            let (home_id, device_id) = ids(*home, *device);
            let what = events::DeviceRemoved { home_id, device_id };
            out.push(event_of(
                "device-removed",
                *home,
                ingest_event::Event::DeviceRemoved(what),
            ));
            out.push(gone("device", (*device).into()));
        }
        DevicesEvent::DevicesEnded { devices, .. } => {
            out.extend(
                devices
                    .iter()
                    .map(|device| gone("device", (*device).into())),
            );
        }
    }
}

fn device_fact(home: HomeId, device: DeviceId, traits: &Traits) -> Publication {
    let fact = events::DeviceFact {
        device_id: raw(device),
        home_id: raw(home),
        area_id: traits.area.map(raw).unwrap_or_default(),
        capabilities: traits
            .capabilities
            .iter()
            .map(|it| i32::from(it.number()))
            .collect(),
    };
    fact_of(
        "device",
        device.into(),
        home,
        ingest_fact::Fact::Device(fact),
    )
}

fn event_of(name: &'static str, home: HomeId, event: ingest_event::Event) -> Publication {
    let payload = envelope::Payload::IngestEvent(events::IngestEvent { event: Some(event) });
    Publication {
        target: Target::Event {
            name,
            major: 1,
            id: home.into(),
        },
        body: body(Some(home), payload),
    }
}

fn fact_of(kind: &'static str, id: Uuid, home: HomeId, fact: ingest_fact::Fact) -> Publication {
    let payload = envelope::Payload::IngestFact(events::IngestFact { fact: Some(fact) });
    Publication {
        target: Target::Fact {
            kind,
            id,
            gone: false,
        },
        body: body(Some(home), payload),
    }
}

fn gone(kind: &'static str, id: Uuid) -> Publication {
    Publication {
        target: Target::Fact {
            kind,
            id,
            gone: true,
        },
        body: body(None, envelope::Payload::Gone(events::Gone {})),
    }
}

/// An envelope without a stamp: the engine puts its own before it.
fn body(home: Option<HomeId>, payload: envelope::Payload) -> Vec<u8> {
    let owner = |home: HomeId| events::Owner {
        owner: Some(owner::Owner::HomeId(raw(home))),
    };
    events::Envelope {
        stamp: None,
        owner: home.map(owner),
        payload: Some(payload),
    }
    .encode_to_vec()
}

fn raw(id: impl Into<Uuid>) -> Bytes {
    Bytes::copy_from_slice(id.into().as_bytes())
}
