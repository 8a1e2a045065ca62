//! `hearth.ingest.v1.HubsService`.

use hearth_api::ingest::v1::hubs_service_server::HubsService;
use hearth_api::ingest::v1::{
    BeginPairingRequest, BeginPairingResponse, ClaimHubRequest, ClaimHubResponse,
    GetPairingRequest, GetPairingResponse, Hub, ListHubsRequest, ListHubsResponse, PairingState,
    RevokeHubRequest, RevokeHubResponse,
};
use hearth_ingest_domain::pairing::normalise_code;
use hearth_kernel::{Failure, HomeId, HubId, PairingId, Role, Timestamp, Violations};
use tonic::{Request, Response, Status};

use super::{Around, around, refused};
use crate::app::App;
use crate::app::hubs::{Listed, Stand, Wish};
use crate::wire;

/// The service.
pub(crate) struct Hubs(pub(crate) App);

#[tonic::async_trait]
impl HubsService for Hubs {
    async fn begin_pairing(
        &self,
        request: Request<BeginPairingRequest>,
    ) -> Result<Response<BeginPairingResponse>, Status> {
        let wish = wish(&around(&request), request.get_ref()).map_err(refused)?;
        let waiting = self.0.begin_pairing(&wish).await.map_err(refused)?;
        Ok(Response::new(BeginPairingResponse {
            token: None,
            pairing_id: waiting.pairing.to_string(),
            hub_id: waiting.hub.to_string(),
            code: waiting.code,
            expires_at: Some(wire::time(waiting.expires_at)),
        }))
    }

    async fn claim_hub(
        &self,
        request: Request<ClaimHubRequest>,
    ) -> Result<Response<ClaimHubResponse>, Status> {
        let around = around(&request);
        let claim = claim(request.get_ref()).map_err(refused)?;
        let response = self.claim(&around, request.get_ref(), claim).await;
        response.map(Response::new).map_err(refused)
    }

    async fn get_pairing(
        &self,
        request: Request<GetPairingRequest>,
    ) -> Result<Response<GetPairingResponse>, Status> {
        let asked = request.get_ref();
        let (pairing, signed_at) = question(asked).map_err(refused)?;
        let pairing = (pairing, asked.pairing_id.as_str());
        let stand = self
            .0
            .pairing(pairing, signed_at, &asked.signature)
            .await
            .map_err(refused)?;
        let (state, claim_id) = match stand {
            Stand::Waiting => (PairingState::Waiting, String::new()),
            Stand::Claimed(claim) => (PairingState::Claimed, claim.to_string()),
            Stand::Expired => (PairingState::Expired, String::new()),
            Stand::Revoked => (PairingState::Revoked, String::new()),
        };
        Ok(Response::new(GetPairingResponse {
            state: state.into(),
            claim_id,
        }))
    }

    async fn revoke_hub(
        &self,
        request: Request<RevokeHubRequest>,
    ) -> Result<Response<RevokeHubResponse>, Status> {
        let around = around(&request);
        let response = self.revoke(&around, request.get_ref()).await;
        response.map(Response::new).map_err(refused)
    }

    async fn list_hubs(
        &self,
        request: Request<ListHubsRequest>,
    ) -> Result<Response<ListHubsResponse>, Status> {
        let around = around(&request);
        let response = self.list(&around, request.get_ref()).await;
        response.map(Response::new).map_err(refused)
    }
}

impl Hubs {
    async fn claim(
        &self,
        around: &Around,
        request: &ClaimHubRequest,
        (home, code): (HomeId, String),
    ) -> Result<ClaimHubResponse, Failure> {
        let by = around.by(&self.0, home, Role::Admin).await?;
        let asked = around.request("ClaimHub", &request.request_id);
        let named = (code.as_str(), request.name.as_str());
        let (hub, outcome) = self.0.claim_hub(&asked, by, home, named).await?;
        let claim = outcome.state.made().map(|made| made.claim.to_string());
        Ok(ClaimHubResponse {
            token: wire::token(&outcome),
            hub_id: hub.to_string(),
            claim_id: claim.unwrap_or_default(),
        })
    }

    async fn revoke(
        &self,
        around: &Around,
        request: &RevokeHubRequest,
    ) -> Result<RevokeHubResponse, Failure> {
        let mut violations = Violations::new();
        wire::request_id(&request.request_id, &mut violations);
        let home = wire::id::<HomeId>(&request.home_id, "home_id", &mut violations);
        let hub = wire::id::<HubId>(&request.hub_id, "hub_id", &mut violations);
        let (home, hub) = violations.finish(home.zip(hub))?;
        let by = around.by(&self.0, home, Role::Admin).await?;
        let asked = around.request("RevokeHub", &request.request_id);
        let outcome = self.0.revoke_hub(&asked, by, home, hub).await?;
        Ok(RevokeHubResponse {
            token: wire::token(&outcome),
        })
    }

    async fn list(
        &self,
        around: &Around,
        request: &ListHubsRequest,
    ) -> Result<ListHubsResponse, Failure> {
        let mut violations = Violations::new();
        let home = wire::id::<HomeId>(&request.home_id, "home_id", &mut violations);
        let after = wire::tokens(&request.after, &mut violations);
        let home = violations.finish(home)?;
        // A member who was just added asks with the token of that.
        self.0.core.knowledge.after(&after).await?;
        around.member(&self.0, home, Role::Guest).await?;
        let hubs = self.0.hubs(home, &after).await?;
        Ok(ListHubsResponse {
            hubs: hubs.iter().map(to_wire).collect(),
        })
    }
}

fn to_wire(listed: &Listed) -> Hub {
    Hub {
        hub_id: listed.made.hub.to_string(),
        claim_id: listed.made.claim.to_string(),
        name: listed.name.clone(),
        model: listed.model.clone(),
        claimed_at: Some(wire::time(listed.made.claimed_at)),
        last_seen_at: listed.last_seen_at.map(wire::time),
    }
}

fn signed_at(
    time: Option<&prost_types::Timestamp>,
    violations: &mut Violations,
) -> Option<Timestamp> {
    let at = time.and_then(wire::of_time);
    violations.require(at.is_some(), "signed_at", "a time");
    at
}

fn wish(around: &Around, request: &BeginPairingRequest) -> Result<Wish, Failure> {
    let mut violations = Violations::new();
    wire::request_id(&request.request_id, &mut violations);
    let key: Result<[u8; 32], _> = request.public_key.as_ref().try_into();
    let key = violations.take(key, "public_key", "32 bytes");
    let printable = request.model.bytes().all(|it| (0x20..0x7f).contains(&it));
    let model = (1..=64).contains(&request.model.len()) && printable;
    violations.require(model, "model", "1 to 64 printable ASCII characters");
    violations.require(request.signature.len() == 64, "signature", "64 bytes");
    let at = signed_at(request.signed_at.as_ref(), &mut violations);
    let (public_key, signed_at) = violations.finish(key.zip(at))?;
    Ok(Wish {
        request: around.request("BeginPairing", &request.request_id),
        public_key,
        model: request.model.clone(),
        signed_at,
        signature: request.signature.clone(),
    })
}

fn claim(request: &ClaimHubRequest) -> Result<(HomeId, String), Failure> {
    let mut violations = Violations::new();
    wire::request_id(&request.request_id, &mut violations);
    wire::name(&request.name, &mut violations);
    let home = wire::id::<HomeId>(&request.home_id, "home_id", &mut violations);
    let code = normalise_code(&request.code);
    violations.require(
        code.is_some(),
        "code",
        "10 characters, as the hub shows them",
    );
    violations.finish(home.zip(code))
}

fn question(request: &GetPairingRequest) -> Result<(PairingId, Timestamp), Failure> {
    let mut violations = Violations::new();
    let pairing = wire::id::<PairingId>(&request.pairing_id, "pairing_id", &mut violations);
    violations.require(request.signature.len() == 64, "signature", "64 bytes");
    let at = signed_at(request.signed_at.as_ref(), &mut violations);
    violations.finish(pairing.zip(at))
}
