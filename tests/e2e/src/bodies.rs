//! A valid body for every RPC of the contract, about things that are given: whatever refuses it refuses the caller.
//!
//! It knows nothing of who calls. A new RPC without a row here fails the test that goes over all of them.

use bytes::Bytes;
use hearth_api::accounts::v1 as accounts;
use hearth_api::ingest::v1 as ingest;
use hearth_api::notifications::v1 as notifications;
use hearth_api::retention::v1 as retention;
use hearth_api::types::v1::{Capability, Interval, Role};
use hearth_kernel::Timestamp;
use hearth_testkit::hub::{id_bytes, random_id, wire_time};
use hearth_testkit::person::request_id;
use prost::Message;

/// What a body names. Ids are as the API spells them.
#[derive(Clone, Debug, Default)]
pub struct Things {
    /// A home.
    pub home: String,
    /// An area of it.
    pub area: String,
    /// A device of it.
    pub device: String,
    /// A hub of it.
    pub hub: String,
    /// That hub's claim.
    pub claim: String,
    /// A rule of it.
    pub rule: String,
    /// A member of it.
    pub membership: String,
    /// An open invitation to it.
    pub invitation: String,
    /// The code of a hub that waits to be claimed.
    pub pairing_code: String,
    /// That hub's pairing.
    pub pairing: String,
    /// A session of somebody's.
    pub session: String,
    /// A notice to somebody.
    pub notice: String,
    /// A registration that waits for its code.
    pub registration: String,
    /// An account that is closing.
    pub closing: String,
    /// Its address.
    pub closing_email: String,
    /// The receipt of its closing.
    pub receipt: String,
    /// The server's time.
    pub now: Timestamp,
}

/// The body of a method, by its name.
///
/// # Panics
/// When the contract has a method that has no body here.
#[must_use]
pub fn body(method: &str, of: &Things) -> Bytes {
    let found = account(method, of)
        .or_else(|| home(method, of))
        .or_else(|| devices(method, of))
        .or_else(|| hubs(method, of))
        .or_else(|| notices(method, of))
        .or_else(|| receipts(method, of));
    found
        .unwrap_or_else(|| panic!("{method} has no body here"))
        .into()
}

fn name() -> String {
    format!("Name {}", &request_id()[..12])
}

const PASSWORD: &str = "nobody has this password";

fn account(method: &str, of: &Things) -> Option<Vec<u8>> {
    let request_id = request_id();
    Some(match method {
        "Register" => accounts::RegisterRequest {
            email: format!("{request_id}@example.org"),
            username: "somebody".to_owned(),
            password: PASSWORD.to_owned(),
            locale: "en".to_owned(),
            client_secret_hash: vec![7; 32].into(),
            request_id,
        }
        .encode_to_vec(),
        "VerifyEmail" => accounts::VerifyEmailRequest {
            request_id,
            registration_id: of.registration.clone(),
            client_secret: vec![9; 32].into(),
            code: "12345678".to_owned(),
            device_label: "test".to_owned(),
        }
        .encode_to_vec(),
        "SignIn" => accounts::SignInRequest {
            request_id,
            email: of.closing_email.clone(),
            password: PASSWORD.to_owned(),
            device_label: "test".to_owned(),
            client_secret_hash: vec![7; 32].into(),
        }
        .encode_to_vec(),
        "RefreshSession" => accounts::RefreshSessionRequest {
            request_id,
            refresh_token: "a".repeat(43),
        }
        .encode_to_vec(),
        "SignOut" => accounts::SignOutRequest { request_id }.encode_to_vec(),
        "ListSessions" => accounts::ListSessionsRequest::default().encode_to_vec(),
        "RevokeSession" => accounts::RevokeSessionRequest {
            request_id,
            session_id: of.session.clone(),
        }
        .encode_to_vec(),
        "GetAccount" => accounts::GetAccountRequest::default().encode_to_vec(),
        "CloseAccount" => accounts::CloseAccountRequest {
            request_id,
            password: PASSWORD.to_owned(),
            grace: None,
        }
        .encode_to_vec(),
        "ReopenAccount" => accounts::ReopenAccountRequest {
            request_id,
            account_id: of.closing.clone(),
            undo_token: String::new(),
        }
        .encode_to_vec(),
        "CreateHome" => accounts::CreateHomeRequest {
            request_id,
            name: name(),
            kind: accounts::HomeKind::Office.into(),
            time_zone: "Europe/Skopje".to_owned(),
        }
        .encode_to_vec(),
        "ListHomes" => accounts::ListHomesRequest::default().encode_to_vec(),
        "AcceptInvitation" => accounts::AcceptInvitationRequest {
            request_id,
            invitation_id: of.invitation.clone(),
            code: "a".repeat(16),
        }
        .encode_to_vec(),
        _ => return None,
    })
}

fn home(method: &str, of: &Things) -> Option<Vec<u8>> {
    let (request_id, home_id) = (request_id(), of.home.clone());
    let (area_id, membership_id) = (of.area.clone(), of.membership.clone());
    Some(match method {
        "UpdateHome" => accounts::UpdateHomeRequest {
            request_id,
            home_id,
            name: Some(name()),
            ..accounts::UpdateHomeRequest::default()
        }
        .encode_to_vec(),
        "GetHome" => accounts::GetHomeRequest {
            home_id,
            after: vec![],
        }
        .encode_to_vec(),
        "CreateArea" => accounts::CreateAreaRequest {
            request_id,
            home_id,
            name: name(),
        }
        .encode_to_vec(),
        "RenameArea" => accounts::RenameAreaRequest {
            request_id,
            home_id,
            area_id,
            name: name(),
        }
        .encode_to_vec(),
        "RemoveArea" => accounts::RemoveAreaRequest {
            request_id,
            home_id,
            area_id,
        }
        .encode_to_vec(),
        "InviteMember" => accounts::InviteMemberRequest {
            email: format!("{request_id}@example.org"),
            request_id,
            home_id,
            role: Role::Guest.into(),
            ..accounts::InviteMemberRequest::default()
        }
        .encode_to_vec(),
        "ListMembers" => accounts::ListMembersRequest {
            home_id,
            ..accounts::ListMembersRequest::default()
        }
        .encode_to_vec(),
        "ChangeRole" => accounts::ChangeRoleRequest {
            request_id,
            home_id,
            membership_id,
            role: Role::Guest.into(),
            ..accounts::ChangeRoleRequest::default()
        }
        .encode_to_vec(),
        "RemoveMember" => accounts::RemoveMemberRequest {
            request_id,
            home_id,
            membership_id,
        }
        .encode_to_vec(),
        "TransferHome" => accounts::TransferHomeRequest {
            request_id,
            home_id,
            membership_id,
        }
        .encode_to_vec(),
        _ => return None,
    })
}

fn devices(method: &str, of: &Things) -> Option<Vec<u8>> {
    let (request_id, home_id, device_id) = (request_id(), of.home.clone(), of.device.clone());
    Some(match method {
        "RegisterDevice" => ingest::RegisterDeviceRequest {
            request_id,
            home_id,
            area_id: of.area.clone(),
            name: name(),
            kind: ingest::DeviceKind::Other.into(),
            capabilities: vec![Capability::Motion.into()],
            hub_id: of.hub.clone(),
        }
        .encode_to_vec(),
        "UpdateDevice" => ingest::UpdateDeviceRequest {
            request_id,
            home_id,
            device_id,
            name: Some(name()),
            ..ingest::UpdateDeviceRequest::default()
        }
        .encode_to_vec(),
        "ListDevices" => ingest::ListDevicesRequest {
            home_id,
            ..ingest::ListDevicesRequest::default()
        }
        .encode_to_vec(),
        "RemoveDevice" => ingest::RemoveDeviceRequest {
            request_id,
            home_id,
            device_id,
        }
        .encode_to_vec(),
        "QueryReadings" => ingest::QueryReadingsRequest {
            home_id,
            device_id,
            capability: Capability::Motion.into(),
            interval: Some(Interval {
                start: Some(wire_time(Timestamp::from_micros(
                    of.now.micros() - 3_600_000_000,
                ))),
                end: Some(wire_time(Timestamp::from_micros(
                    of.now.micros() + 3_600_000_000,
                ))),
            }),
            resolution: ingest::Resolution::Raw.into(),
            ..ingest::QueryReadingsRequest::default()
        }
        .encode_to_vec(),
        "LatestReadings" => ingest::LatestReadingsRequest {
            home_id,
            ..ingest::LatestReadingsRequest::default()
        }
        .encode_to_vec(),
        "WatchReadings" => ingest::WatchReadingsRequest {
            home_id,
            ..ingest::WatchReadingsRequest::default()
        }
        .encode_to_vec(),
        _ => return None,
    })
}

fn hubs(method: &str, of: &Things) -> Option<Vec<u8>> {
    let (request_id, home_id) = (request_id(), of.home.clone());
    let now = Some(wire_time(of.now));
    Some(match method {
        "BeginPairing" => ingest::BeginPairingRequest {
            request_id,
            public_key: vec![7; 32].into(),
            model: "test hub".to_owned(),
            signed_at: now,
            signature: vec![7; 64].into(),
        }
        .encode_to_vec(),
        "ClaimHub" => ingest::ClaimHubRequest {
            request_id,
            home_id,
            code: of.pairing_code.clone(),
            name: name(),
        }
        .encode_to_vec(),
        "GetPairing" => ingest::GetPairingRequest {
            pairing_id: of.pairing.clone(),
            signed_at: now,
            signature: vec![7; 64].into(),
        }
        .encode_to_vec(),
        "RevokeHub" => ingest::RevokeHubRequest {
            request_id,
            home_id,
            hub_id: of.hub.clone(),
        }
        .encode_to_vec(),
        "ListHubs" => ingest::ListHubsRequest {
            home_id,
            after: vec![],
        }
        .encode_to_vec(),
        "Ingest" => ingest::IngestRequest {
            frame: Some(ingest::ingest_request::Frame::Hello(ingest::Hello {
                hub_id: id_bytes(&of.hub).to_vec().into(),
                claim_id: id_bytes(&of.claim).to_vec().into(),
                nonce: vec![7; 32].into(),
                signature: vec![7; 64].into(),
                stream_ids: vec![random_id().to_vec().into()],
            })),
        }
        .encode_to_vec(),
        _ => return None,
    })
}

fn notices(method: &str, of: &Things) -> Option<Vec<u8>> {
    let (request_id, home_id) = (request_id(), of.home.clone());
    let area_ids = vec![of.area.clone()];
    Some(match method {
        "PutRule" => notifications::PutRuleRequest {
            request_id,
            home_id,
            rule_id: String::new(),
            enabled: true,
            condition: Some(notifications::put_rule_request::Condition::HeatingLeftOn(
                notifications::HeatingLeftOn {
                    device_ids: vec![of.device.clone()],
                    area_ids,
                    after: Some(prost_types::Duration {
                        seconds: 3600,
                        nanos: 0,
                    }),
                    nobody_present: false,
                },
            )),
        }
        .encode_to_vec(),
        "ListRules" => notifications::ListRulesRequest {
            home_id,
            after: vec![],
        }
        .encode_to_vec(),
        "RemoveRule" => notifications::RemoveRuleRequest {
            request_id,
            home_id,
            rule_id: of.rule.clone(),
        }
        .encode_to_vec(),
        "ArmHome" => notifications::ArmHomeRequest {
            request_id,
            home_id,
            area_ids,
        }
        .encode_to_vec(),
        "DisarmHome" => notifications::DisarmHomeRequest {
            request_id,
            home_id,
            area_ids,
        }
        .encode_to_vec(),
        "GetArming" => notifications::GetArmingRequest {
            home_id,
            after: vec![],
        }
        .encode_to_vec(),
        "GetPreferences" => notifications::GetPreferencesRequest::default().encode_to_vec(),
        "SetPreference" => notifications::SetPreferenceRequest {
            request_id,
            preference: Some(notifications::Preference {
                topic: notifications::Topic::Heating.into(),
                channel: notifications::Channel::Email.into(),
                on: false,
            }),
        }
        .encode_to_vec(),
        "MuteAll" => notifications::MuteAllRequest {
            request_id,
            duration: None,
        }
        .encode_to_vec(),
        "UnmuteAll" => notifications::UnmuteAllRequest { request_id }.encode_to_vec(),
        "ListInbox" => notifications::ListInboxRequest::default().encode_to_vec(),
        "StreamInbox" => notifications::StreamInboxRequest::default().encode_to_vec(),
        "MarkRead" => notifications::MarkReadRequest {
            request_id,
            notice_ids: vec![of.notice.clone()],
        }
        .encode_to_vec(),
        _ => return None,
    })
}

fn receipts(method: &str, of: &Things) -> Option<Vec<u8>> {
    let receipt = Some(retention::ReceiptReference {
        receipt_id: of.receipt.clone(),
        receipt_secret: vec![7; 32].into(),
    });
    Some(match method {
        "GetErasure" => retention::GetErasureRequest {
            receipt,
            after: vec![],
        }
        .encode_to_vec(),
        "GetKeyReceipt" => retention::GetKeyReceiptRequest { receipt }.encode_to_vec(),
        "GetByteReceipt" => retention::GetByteReceiptRequest { receipt }.encode_to_vec(),
        "ListResiduals" => retention::ListResidualsRequest { receipt }.encode_to_vec(),
        "GetReceiptKeys" | "GetPeriods" => Vec::new(),
        _ => return None,
    })
}
