//! What people and hubs ask for: pairing, devices, who sees what.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use hearth_api::ingest::v1 as api;
use hearth_api::ingest::v1::devices_service_server::DevicesService;
use hearth_api::ingest::v1::hubs_service_server::HubsService;
use hearth_api::ingest::v1::readings_service_server::ReadingsService;
use hearth_kernel::{AccountId, AreaId, HomeId, Reason, Role, SessionId, Timestamp};
use hearth_rpc::{Principal, failure_of};
use ring::signature::{Ed25519KeyPair, KeyPair};
use tonic::{Request, Status};

use super::kit::{AUDIENCE, HOME, METER, NOW, World, power};
use crate::app::hubs::By;
use crate::grpc::{Devices, Hubs, Readings};
use crate::knowledge::{HomeKnown, Member};
use crate::proof;

const ANNA: AccountId = AccountId::from_bytes([0xa1; 16]);
const GUEST: AccountId = AccountId::from_bytes([0xa2; 16]);
const STRANGER: AccountId = AccountId::from_bytes([0xa3; 16]);
const KITCHEN: AreaId = AreaId::from_bytes([0xb1; 16]);
const OTHER: HomeId = HomeId::from_bytes([0x99; 16]);

fn of<T>(account: AccountId, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Principal::Account {
        account,
        session: SessionId::from_bytes([1; 16]),
        signed_in_at: NOW,
    });
    request
}

fn reason<T>(answer: Result<T, Status>) -> Reason {
    match answer {
        Ok(_) => panic!("it was answered"),
        Err(status) => failure_of(&status).reason,
    }
}

async fn world() -> World {
    let world = World::new().await;
    let member = |role, areas: &[AreaId]| Member {
        membership: hearth_engine::random_id(),
        role,
        areas: areas.to_vec(),
    };
    {
        let mut members = world.told.members.lock().unwrap();
        members.insert((ANNA, HOME), member(Role::Admin, &[]));
        members.insert((GUEST, HOME), member(Role::Guest, &[KITCHEN]));
        members.insert((STRANGER, OTHER), member(Role::Owner, &[]));
        let mut homes = world.told.homes.lock().unwrap();
        homes.entry(HOME).or_default().areas = vec![KITCHEN];
        homes.insert(OTHER, HomeKnown::default());
    }
    world
}

fn micros(at: Timestamp) -> [u8; 8] {
    at.micros().to_be_bytes()
}

struct Box1 {
    pair: Ed25519KeyPair,
}

impl Box1 {
    fn new(seed: u8) -> Self {
        Self {
            pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(),
        }
    }

    fn public_key(&self) -> Bytes {
        Bytes::copy_from_slice(self.pair.public_key().as_ref())
    }

    fn begin(&self, request_id: &str, at: Timestamp) -> api::BeginPairingRequest {
        let key = self.public_key();
        let parts: [&[u8]; 6] = [
            b"hearth.pairing.v1",
            AUDIENCE.as_bytes(),
            request_id.as_bytes(),
            &key,
            b"box-1",
            &micros(at),
        ];
        api::BeginPairingRequest {
            request_id: request_id.to_owned(),
            model: "box-1".into(),
            signed_at: Some(crate::wire::time(at)),
            signature: Bytes::copy_from_slice(self.pair.sign(&proof::framed(&parts)).as_ref()),
            public_key: key,
        }
    }

    fn ask(&self, pairing: &str, at: Timestamp) -> api::GetPairingRequest {
        let parts: [&[u8]; 4] = [
            b"hearth.pairing-state.v1",
            AUDIENCE.as_bytes(),
            pairing.as_bytes(),
            &micros(at),
        ];
        api::GetPairingRequest {
            pairing_id: pairing.to_owned(),
            signed_at: Some(crate::wire::time(at)),
            signature: Bytes::copy_from_slice(self.pair.sign(&proof::framed(&parts)).as_ref()),
        }
    }
}

fn claim(request_id: &str, code: &str) -> api::ClaimHubRequest {
    api::ClaimHubRequest {
        request_id: request_id.to_owned(),
        home_id: HOME.to_string(),
        code: code.to_owned(),
        name: "Hall box".into(),
    }
}

const FIRST: &str = "request-000000001";
const SECOND: &str = "request-000000002";

async fn begin(hubs: &Hubs, hub: &Box1) -> api::BeginPairingResponse {
    let request = Request::new(hub.begin(FIRST, NOW));
    hubs.begin_pairing(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_hub_is_paired_once_listed_and_revoked() {
    let world = world().await;
    let hubs = Hubs(world.running.app.clone());
    let hub = Box1::new(5);
    let begun = begin(&hubs, &hub).await;
    let again = begin(&hubs, &hub).await;
    assert_eq!(begun, again, "the same request gets the first answer");
    let stand = async |at| {
        let asked = hub.ask(&begun.pairing_id, at);
        let answer = hubs
            .get_pairing(Request::new(asked))
            .await
            .unwrap()
            .into_inner();
        (answer.state(), answer.claim_id)
    };
    assert_eq!(stand(NOW).await.0, api::PairingState::Waiting);
    let typed = format!("{}-{}", &begun.code[..5].to_lowercase(), &begun.code[5..]);
    let claimed = hubs
        .claim_hub(of(ANNA, claim(SECOND, &typed)))
        .await
        .unwrap()
        .into_inner();
    let repeated = hubs
        .claim_hub(of(ANNA, claim(SECOND, &begun.code)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (&claimed.claim_id, &claimed.hub_id),
        (&repeated.claim_id, &repeated.hub_id)
    );
    assert_eq!(
        reason(
            hubs.claim_hub(of(ANNA, claim("request-000000003", &begun.code)))
                .await
        ),
        Reason::PAIRING_CODE_NOT_VALID
    );
    assert_eq!(
        stand(NOW).await,
        (api::PairingState::Claimed, claimed.claim_id.clone())
    );
    let list = async |token: Option<hearth_api::types::v1::CommitToken>| {
        let request = api::ListHubsRequest {
            home_id: HOME.to_string(),
            after: token.into_iter().collect(),
        };
        hubs.list_hubs(of(GUEST, request))
            .await
            .unwrap()
            .into_inner()
            .hubs
    };
    let listed = list(claimed.token).await;
    assert_eq!(
        (
            listed.len(),
            listed[0].name.as_str(),
            listed[0].model.as_str()
        ),
        (1, "Hall box", "box-1")
    );
    let revoke = api::RevokeHubRequest {
        request_id: FIRST.into(),
        home_id: HOME.to_string(),
        hub_id: claimed.hub_id.clone(),
    };
    let revoked = hubs
        .revoke_hub(of(ANNA, revoke.clone()))
        .await
        .unwrap()
        .into_inner();
    hubs.revoke_hub(of(ANNA, revoke)).await.unwrap();
    assert_eq!(list(revoked.token).await.len(), 0);
    assert_eq!(stand(NOW).await.0, api::PairingState::Revoked);
}

#[tokio::test]
async fn of_two_homes_that_take_a_hub_at_once_the_later_has_it() {
    let world = world().await;
    let (app, hubs) = (world.running.app.clone(), Hubs(world.running.app.clone()));
    let hub = Box1::new(5);
    let begun = begin(&hubs, &hub).await;
    let later = hub.begin(SECOND, NOW);
    let later = hubs.begin_pairing(Request::new(later)).await.unwrap();
    let later = later.into_inner();
    let membership = hearth_engine::random_id();
    let by = By {
        account: ANNA,
        membership,
    };
    let request = crate::app::Request {
        rpc: "test",
        request_id: FIRST.to_owned(),
        trace: String::new(),
    };
    let names = (begun.code.as_str(), "Hall box");
    let taken = app.take_hub(&request, by, HOME, names).await.unwrap();
    let of_other = api::ClaimHubRequest {
        home_id: OTHER.to_string(),
        ..claim(SECOND, &later.code)
    };
    let claimed = hubs.claim_hub(of(STRANGER, of_other)).await.unwrap();
    let overtaken = app.make_claim(&taken, "Hall box").await;
    assert_eq!(
        overtaken.map(|_| ()).unwrap_err().reason,
        Reason::PAIRING_CODE_NOT_VALID
    );
    let stand = async |pairing: &str| {
        let asked = hub.ask(pairing, NOW);
        let answer = hubs.get_pairing(Request::new(asked)).await.unwrap();
        let answer = answer.into_inner();
        (answer.state(), answer.claim_id)
    };
    assert_eq!(stand(&begun.pairing_id).await.0, api::PairingState::Revoked);
    assert_eq!(
        stand(&later.pairing_id).await,
        (api::PairingState::Claimed, claimed.into_inner().claim_id)
    );
}

/// A process may die between the making of a claim and the look whether it was overtaken: its home can end it.
#[tokio::test]
async fn a_claim_that_the_hubs_record_does_not_name_can_be_revoked() {
    let world = world().await;
    let hubs = Hubs(world.running.app.clone());
    let lost = world.hub(5).await;
    let begun = begin(&hubs, &Box1::new(5)).await;
    let of_other = api::ClaimHubRequest {
        home_id: OTHER.to_string(),
        ..claim(SECOND, &begun.code)
    };
    hubs.claim_hub(of(STRANGER, of_other)).await.unwrap();
    let revoke = api::RevokeHubRequest {
        request_id: FIRST.into(),
        home_id: HOME.to_string(),
        hub_id: proof::hub_of(&Box1::new(5).public_key()[..].try_into().unwrap()).to_string(),
    };
    let list = api::ListHubsRequest {
        home_id: HOME.to_string(),
        after: vec![],
    };
    while hubs
        .list_hubs(of(GUEST, list.clone()))
        .await
        .unwrap()
        .into_inner()
        .hubs
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
    let revoked = hubs.revoke_hub(of(ANNA, revoke.clone())).await.unwrap();
    let list = api::ListHubsRequest {
        after: revoked.into_inner().token.into_iter().collect(),
        ..list
    };
    let listed = hubs.list_hubs(of(GUEST, list)).await.unwrap();
    assert_eq!(listed.into_inner().hubs, vec![]);
    hubs.revoke_hub(of(ANNA, revoke)).await.unwrap();
    let claim = world
        .engine
        .load::<crate::aggregates::Claim>(lost.claim, hearth_ports::Read::Leader)
        .await
        .unwrap();
    assert!(claim.state.active().is_none());
}

#[tokio::test]
async fn nobody_but_an_admin_with_the_code_claims_a_hub() {
    let world = world().await;
    let hubs = Hubs(world.running.app.clone());
    let begun = hubs
        .begin_pairing(Request::new(Box1::new(5).begin(FIRST, NOW)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        reason(
            hubs.claim_hub(of(STRANGER, claim(FIRST, &begun.code)))
                .await
        ),
        Reason::NOT_FOUND
    );
    assert_eq!(
        reason(hubs.claim_hub(of(GUEST, claim(FIRST, &begun.code))).await),
        Reason::NOT_ALLOWED
    );
    assert_eq!(
        reason(hubs.claim_hub(of(ANNA, claim(FIRST, "ACDEFGHJKM"))).await),
        Reason::PAIRING_CODE_NOT_VALID
    );
}

#[tokio::test]
async fn a_new_pairing_ends_the_claim_before() {
    let world = world().await;
    let hubs = Hubs(world.running.app.clone());
    let hub = Box1::new(6);
    let mut claims = Vec::new();
    for (n, request) in [(0u8, FIRST), (1, SECOND)] {
        let begun = hubs
            .begin_pairing(Request::new(hub.begin(request, NOW)))
            .await
            .unwrap()
            .into_inner();
        let id = format!("request-claim-{n:08}");
        claims.push(
            hubs.claim_hub(of(ANNA, claim(&id, &begun.code)))
                .await
                .unwrap()
                .into_inner(),
        );
    }
    assert_eq!(claims[0].hub_id, claims[1].hub_id);
    let core = &world.running.app.core;
    for (claimed, stands) in claims.iter().zip([false, true]) {
        let claim = claimed.claim_id.parse().unwrap();
        let found = core
            .standing(claim, hearth_ports::Read::Leader)
            .await
            .unwrap();
        assert_eq!(found.is_some(), stands);
    }
}

#[tokio::test]
async fn a_code_is_over_after_ten_minutes_and_clocks_must_agree() {
    let world = world().await;
    let hubs = Hubs(world.running.app.clone());
    let hub = Box1::new(7);
    let begun = hubs
        .begin_pairing(Request::new(hub.begin(FIRST, NOW)))
        .await
        .unwrap()
        .into_inner();
    world.clock.advance(Duration::from_secs(600));
    assert_eq!(
        reason(hubs.claim_hub(of(ANNA, claim(FIRST, &begun.code))).await),
        Reason::PAIRING_CODE_NOT_VALID
    );
    assert_eq!(
        reason(
            hubs.begin_pairing(Request::new(hub.begin(SECOND, NOW)))
                .await
        ),
        Reason::CLOCK_TOO_FAR_OFF
    );
    let mut forged = hub.begin(SECOND, NOW.plus(Duration::from_secs(600)));
    forged.model = "box-2".into();
    assert_eq!(
        reason(hubs.begin_pairing(Request::new(forged)).await),
        Reason::HUB_NOT_PROVED
    );
    let asked = Box1::new(8).ask(&begun.pairing_id, NOW.plus(Duration::from_secs(600)));
    assert_eq!(
        reason(hubs.get_pairing(Request::new(asked)).await),
        Reason::NOT_FOUND
    );
}

fn device(request_id: &str, area: &str) -> api::RegisterDeviceRequest {
    api::RegisterDeviceRequest {
        request_id: request_id.to_owned(),
        home_id: HOME.to_string(),
        area_id: area.to_owned(),
        name: "Oven".into(),
        kind: api::DeviceKind::Plug.into(),
        capabilities: vec![602],
        hub_id: String::new(),
    }
}

#[tokio::test]
async fn devices_are_registered_changed_listed_and_removed() {
    let world = world().await;
    let devices = Devices(world.running.app.clone());
    let kitchen = KITCHEN.to_string();
    assert_eq!(
        reason(
            devices
                .register_device(of(GUEST, device(FIRST, &kitchen)))
                .await
        ),
        Reason::NOT_ALLOWED
    );
    let unknown = AreaId::from_bytes([0xee; 16]).to_string();
    assert_eq!(
        reason(
            devices
                .register_device(of(ANNA, device(FIRST, &unknown)))
                .await
        ),
        Reason::NOT_FOUND
    );
    let made = devices
        .register_device(of(ANNA, device(FIRST, &kitchen)))
        .await
        .unwrap()
        .into_inner();
    let again = devices
        .register_device(of(ANNA, device(FIRST, &kitchen)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(made.device_id, again.device_id);
    assert_eq!(
        reason(devices.register_device(of(ANNA, device(FIRST, ""))).await),
        Reason::REQUEST_ID_REUSED
    );
    let list = async |account| {
        let request = api::ListDevicesRequest {
            home_id: HOME.to_string(),
            ..Default::default()
        };
        devices
            .list_devices(of(account, request))
            .await
            .unwrap()
            .into_inner()
            .devices
    };
    assert_eq!(list(ANNA).await.len(), 3);
    let seen = list(GUEST).await;
    assert_eq!(
        (seen.len(), seen[0].name.as_str()),
        (1, "Oven"),
        "a guest sees her areas"
    );
    let update = api::UpdateDeviceRequest {
        request_id: SECOND.into(),
        home_id: HOME.to_string(),
        device_id: made.device_id.clone(),
        area_id: Some(String::new()),
        name: Some("Kettle".into()),
        ..Default::default()
    };
    devices.update_device(of(ANNA, update)).await.unwrap();
    assert_eq!(list(GUEST).await.len(), 0);
    assert_eq!(list(ANNA).await[2].name, "Kettle");
    let remove = api::RemoveDeviceRequest {
        request_id: "request-000000003".into(),
        home_id: HOME.to_string(),
        device_id: made.device_id,
    };
    devices.remove_device(of(ANNA, remove)).await.unwrap();
    assert_eq!(list(ANNA).await.len(), 2);
}

#[tokio::test]
async fn everything_that_is_wrong_is_reported_at_once() {
    let world = world().await;
    let devices = Devices(world.running.app.clone());
    let request = api::RegisterDeviceRequest {
        request_id: "short".into(),
        home_id: "x".into(),
        area_id: "y".into(),
        name: String::new(),
        kind: 99,
        capabilities: vec![602, 602, 9_999],
        hub_id: "z".into(),
    };
    let status = devices
        .register_device(of(ANNA, request))
        .await
        .unwrap_err();
    let fields: Vec<_> = failure_of(&status)
        .violations
        .into_iter()
        .map(|it| it.field)
        .collect();
    let expected = [
        "request_id",
        "name",
        "home_id",
        "area_id",
        "hub_id",
        "kind",
        "capabilities[1]",
        "capabilities[2]",
    ];
    assert_eq!(fields, expected);
}

fn query(home: HomeId) -> api::QueryReadingsRequest {
    api::QueryReadingsRequest {
        home_id: home.to_string(),
        device_id: METER.to_string(),
        capability: 602,
        interval: Some(hearth_api::types::v1::Interval {
            start: Some(crate::wire::time(
                NOW.minus(Duration::from_secs(10 * 86_400)),
            )),
            end: Some(crate::wire::time(NOW.plus(Duration::from_secs(60)))),
        }),
        resolution: api::Resolution::Raw.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_query_goes_on_at_its_cursor_and_is_for_members_only() {
    let world = world().await;
    let hub = world.hub(1).await;
    let all: Vec<_> = (0..9_000).rev().map(|n| power(n, n as f64)).collect();
    let batches: Vec<_> = (1u64..)
        .zip(all.chunks(1_000))
        .map(|(n, it)| hub.batch(n, it.to_vec()))
        .collect();
    world.send(&hub, &batches).await;
    let readings = Readings(world.running.app.clone());
    let mut found = Vec::new();
    let mut cursor = Bytes::new();
    loop {
        let request = api::QueryReadingsRequest {
            cursor: cursor.clone(),
            limit: 5_000,
            ..query(HOME)
        };
        let mut pages = readings
            .query_readings(of(ANNA, request))
            .await
            .unwrap()
            .into_inner();
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            let Some(api::query_readings_response::Chunk::Raw(columns)) = page.chunk else {
                panic!("raw")
            };
            assert!(
                columns.numbers.len() <= 4_096 && columns.numbers.len() == columns.time_delta.len()
            );
            found.extend(columns.numbers);
            cursor = page.cursor;
        }
        if cursor.is_empty() {
            break;
        }
    }
    let expected: Vec<f64> = (0..9_000).rev().map(f64::from).collect();
    assert_eq!(found, expected);
    assert_eq!(
        reason(
            readings
                .query_readings(of(STRANGER, query(HOME)))
                .await
                .map(|_| ())
        ),
        Reason::NOT_FOUND
    );
    assert_eq!(
        reason(
            readings
                .query_readings(of(GUEST, query(HOME)))
                .await
                .map(|_| ())
        ),
        Reason::NOT_FOUND
    );
    assert_eq!(
        reason(
            readings
                .query_readings(Request::new(query(HOME)))
                .await
                .map(|_| ())
        ),
        Reason::NOT_SIGNED_IN
    );
    // Another home's member sees nothing of this device under her own home.
    let mut pages = readings
        .query_readings(of(STRANGER, query(OTHER)))
        .await
        .unwrap()
        .into_inner();
    let page = pages.next().await.unwrap().unwrap();
    assert_eq!(
        page.chunk,
        Some(api::query_readings_response::Chunk::Raw(
            api::RawColumns::default()
        ))
    );
}

#[tokio::test]
async fn a_watcher_sees_the_newest_then_what_comes_and_ends_with_her_membership() {
    let world = world().await;
    let hub = world.hub(1).await;
    let mut line = world.connect(&hub).await.unwrap();
    line.send(hub.batch(1, vec![power(10, 1.0)])).await;
    line.acked(1).await;
    let readings = Readings(world.running.app.clone());
    let request = api::WatchReadingsRequest {
        home_id: HOME.to_string(),
        ..Default::default()
    };
    let mut watched = readings
        .watch_readings(of(ANNA, request))
        .await
        .unwrap()
        .into_inner();
    let first = watched.next().await.unwrap().unwrap();
    assert!(first.initial && first.observations.len() == 1);
    line.send(hub.batch(2, vec![power(9, 2.0), power(8, 3.0)]))
        .await;
    line.acked(2).await;
    let second = watched.next().await.unwrap().unwrap();
    assert_eq!(
        (second.initial, second.observations.len(), second.dropped),
        (false, 2, 0)
    );
    world.told.members.lock().unwrap().remove(&(ANNA, HOME));
    let status = watched.next().await.unwrap().unwrap_err();
    assert_eq!(failure_of(&status).reason, Reason::NOT_FOUND);
}
