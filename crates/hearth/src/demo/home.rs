//! Homes of the story: made, furnished with areas and devices, shared, and given a hub.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use hearth_api::accounts::v1::{
    AcceptInvitationRequest, CreateAreaRequest, CreateHomeRequest, GetHomeRequest, HomeKind,
    InviteMemberRequest, UpdateHomeRequest,
};
use hearth_api::ingest::v1::{
    BeginPairingRequest, ClaimHubRequest, DeviceKind, RegisterDeviceRequest,
};
use hearth_api::types::v1::{Capability, DataFamily, RetentionChoice, RetentionClass, Role};
use hearth_client::hub::HubKey;
use hearth_kernel::{AreaId, ClaimId, DeviceId, HomeId, HubId, Secret};
use hearth_ports::Clock;

use super::data::Gadget;
use super::people::{Line, MAIL, Person, refused, request_id, wire_time};
use super::screen::check;
use super::smtp_sink::SmtpSink;

/// A home as its owner set it up.
pub(super) struct Home {
    pub(super) id: HomeId,
    pub(super) areas: BTreeMap<&'static str, AreaId>,
    pub(super) devices: BTreeMap<Gadget, DeviceId>,
    pub(super) hub: Hub,
}

/// A hub, as it knows itself.
pub(super) struct Hub {
    pub(super) id: HubId,
    pub(super) claim: ClaimId,
    /// Its key pair, as it keeps it.
    pub(super) key: Secret,
    /// The server's name, as the hub was set up with.
    pub(super) audience: String,
}

/// What to furnish a home with.
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) areas: &'static [&'static str],
    pub(super) hub: &'static str,
    pub(super) devices: &'static [Furnishing],
}

/// One device of a plan.
pub(super) struct Furnishing {
    pub(super) gadget: Gadget,
    pub(super) area: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: DeviceKind,
    pub(super) capabilities: &'static [Capability],
}

impl Home {
    /// Makes the home with its areas, and has it keep its readings for 400 days.
    pub(super) async fn make(owner: &Person, plan: &Plan) -> Result<(HomeId, Areas)> {
        let mut homes = owner.homes();
        let create = CreateHomeRequest {
            request_id: request_id()?,
            name: plan.name.to_owned(),
            kind: HomeKind::Household.into(),
            time_zone: "Europe/Skopje".to_owned(),
        };
        let made = homes.create_home(owner.call(create).await?).await;
        let made = made.map_err(refused("CreateHome"))?.into_inner();
        owner.saw(made.token);
        let home: HomeId = made.home_id.parse().context("a home id")?;
        let choice = |family: DataFamily| RetentionChoice {
            family: family.into(),
            class: RetentionClass::Days400.into(),
        };
        let update = UpdateHomeRequest {
            request_id: request_id()?,
            home_id: home.to_string(),
            name: None,
            time_zone: None,
            retention: vec![choice(DataFamily::Readings), choice(DataFamily::Water)],
        };
        let updated = homes.update_home(owner.call(update).await?).await;
        owner.saw(updated.map_err(refused("UpdateHome"))?.into_inner().token);
        let mut areas = Areas::new();
        for name in plan.areas {
            let create = CreateAreaRequest {
                request_id: request_id()?,
                home_id: home.to_string(),
                name: (*name).to_owned(),
            };
            let area = homes.create_area(owner.call(create).await?).await;
            let area = area.map_err(refused("CreateArea"))?.into_inner();
            owner.saw(area.token);
            areas.insert(name, area.area_id.parse().context("an area id")?);
        }
        verify(owner, home, plan).await?;
        Ok((home, areas))
    }

    /// Pairs a hub with the home and registers the plan's devices.
    pub(super) async fn furnish(
        owner: &Person,
        line: &Line,
        audience: &str,
        (id, areas): (HomeId, Areas),
        plan: &Plan,
    ) -> Result<Self> {
        let hub = Hub::pair(owner, line, audience, id, plan.hub).await?;
        let mut devices = BTreeMap::new();
        for it in plan.devices {
            let area = areas.get(it.area).context("the plan names its areas")?;
            let register = RegisterDeviceRequest {
                request_id: request_id()?,
                home_id: id.to_string(),
                area_id: area.to_string(),
                name: it.name.to_owned(),
                kind: it.kind.into(),
                capabilities: it.capabilities.iter().map(|it| (*it).into()).collect(),
                hub_id: hub.id.to_string(),
            };
            let device = owner
                .devices()
                .register_device(owner.call(register).await?)
                .await;
            let device = device.map_err(refused("RegisterDevice"))?.into_inner();
            owner.saw(device.token);
            devices.insert(it.gadget, device.device_id.parse().context("a device id")?);
        }
        Ok(Self {
            id,
            areas,
            devices,
            hub,
        })
    }

    /// A device of the home.
    pub(super) fn device(&self, gadget: Gadget) -> Result<DeviceId> {
        self.devices
            .get(&gadget)
            .copied()
            .with_context(|| format!("the home has no {gadget:?}"))
    }

    /// An area of the home.
    pub(super) fn area(&self, name: &str) -> Result<AreaId> {
        self.areas
            .get(name)
            .copied()
            .with_context(|| format!("the home has no area {name:?}"))
    }
}

/// The areas of a home, by name.
pub(super) type Areas = BTreeMap<&'static str, AreaId>;

/// The home reads back as it was made.
async fn verify(owner: &Person, home: HomeId, plan: &Plan) -> Result<()> {
    let get = GetHomeRequest {
        home_id: home.to_string(),
        after: owner.after(),
    };
    let answer = owner.homes().get_home(owner.call(get).await?).await;
    let answer = answer.map_err(refused("GetHome"))?.into_inner();
    let read = answer.home.context("a home")?;
    check(
        read.name == plan.name,
        format_args!("the name {:?}", plan.name),
        &read.name,
    )?;
    check(
        read.areas.len() == plan.areas.len(),
        format_args!("{} areas", plan.areas.len()),
        read.areas.len(),
    )?;
    let classes: Vec<_> = read.retention.iter().map(|choice| choice.class()).collect();
    check(
        classes.len() == 2
            && classes
                .iter()
                .all(|class| *class == RetentionClass::Days400),
        "two families kept for 400 days",
        format_args!("{classes:?}"),
    )
}

/// Invites somebody by mail and has her accept. Answers her membership.
pub(super) async fn share(
    owner: &Person,
    guest: &Person,
    home: HomeId,
    sink: &SmtpSink,
) -> Result<String> {
    let invite = InviteMemberRequest {
        request_id: request_id()?,
        home_id: home.to_string(),
        email: guest.email.to_owned(),
        role: Role::Adult.into(),
        area_ids: Vec::new(),
        member_expires_at: None,
        valid_for: None,
    };
    let invited = owner.homes().invite_member(owner.call(invite).await?).await;
    let invited = invited.map_err(refused("InviteMember"))?.into_inner();
    owner.saw(invited.token);
    let mail = sink.next_to(guest.email, "invited", 0, MAIL).await?;
    let accept = AcceptInvitationRequest {
        request_id: request_id()?,
        invitation_id: mail.field("Invitation:")?,
        code: mail.field("Code:")?,
    };
    let accepted = guest
        .homes()
        .accept_invitation(guest.call(accept).await?)
        .await;
    let accepted = accepted.map_err(refused("AcceptInvitation"))?.into_inner();
    owner.saw(accepted.token.clone());
    guest.saw(accepted.token);
    check(
        accepted.home_id == home.to_string(),
        home,
        &accepted.home_id,
    )?;
    Ok(accepted.membership_id)
}

impl Hub {
    /// A new hub asks to be paired, and its owner takes it in with the code that it shows.
    async fn pair(
        owner: &Person,
        line: &Line,
        audience: &str,
        home: HomeId,
        name: &str,
    ) -> Result<Self> {
        let (key, kept) = HubKey::generate()?;
        let (intention, now) = (request_id()?, line.clock.now());
        let model = "Demo Box 1";
        let signature = key.sign(&[
            b"hearth.pairing.v1",
            audience.as_bytes(),
            intention.as_bytes(),
            key.public_key(),
            model.as_bytes(),
            &now.micros().to_be_bytes(),
        ]);
        let begin = BeginPairingRequest {
            request_id: intention,
            public_key: key.public_key().to_vec().into(),
            model: model.to_owned(),
            signed_at: Some(wire_time(now)),
            signature: signature.into(),
        };
        let begun = line.hubs().begin_pairing(line.unsigned(begin)).await;
        let begun = begun.map_err(refused("BeginPairing"))?.into_inner();
        let claim = ClaimHubRequest {
            request_id: request_id()?,
            home_id: home.to_string(),
            code: begun.code,
            name: name.to_owned(),
        };
        let claimed = owner.hubs().claim_hub(owner.call(claim).await?).await;
        let claimed = claimed.map_err(refused("ClaimHub"))?.into_inner();
        owner.saw(claimed.token);
        check(
            claimed.hub_id == begun.hub_id,
            &begun.hub_id,
            &claimed.hub_id,
        )?;
        Ok(Self {
            id: claimed.hub_id.parse().context("a hub id")?,
            claim: claimed.claim_id.parse().context("a claim id")?,
            key: kept,
            audience: audience.to_owned(),
        })
    }
}
