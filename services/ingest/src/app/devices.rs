//! Devices of a home: registering, changing, listing, removing.

use std::collections::BTreeSet;

use hearth_engine::{Actor, CommitToken, Outcome};
use hearth_ingest_domain::devices::{Change, Command, Device, Facts, Traits};
use hearth_kernel::{AreaId, DeviceId, Failure, HomeId, HubId, Part, Reason};
use hearth_ports::Read;

use super::hubs::By;
use super::{App, Request};
use crate::aggregates::{Devices, Hub};
use crate::knowledge::{Member, stale};

/// A device with its name.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) id: DeviceId,
    pub(crate) device: Device,
    pub(crate) name: String,
}

impl App {
    /// Adds a device.
    pub(crate) async fn register_device(
        &self,
        request: &Request,
        by: By,
        home: HomeId,
        (traits, name): (Traits, &str),
    ) -> Result<(DeviceId, Outcome<Devices>), Failure> {
        self.check_area(home, traits.area).await?;
        self.check_hub(home, traits.hub).await?;
        let content = content(home, &traits, name);
        let call = self.call(
            request,
            by.account.as_bytes(),
            Actor::Member(by.membership),
            &[&content],
        );
        let engine = &self.core.engine;
        let device: DeviceId = engine
            .hasher()
            .id("device", &[call.commit.as_bytes()])
            .into();
        let facts = Facts {
            now: engine.now(),
            device,
        };
        let command = Command::Register {
            home,
            traits,
            name: Part::clear(name),
        };
        let outcome = engine
            .execute::<Devices, _>(&call, home, &command, async move |_| Ok(facts))
            .await?;
        Ok((device, outcome))
    }

    /// Changes a device.
    pub(crate) async fn update_device(
        &self,
        request: &Request,
        by: By,
        (home, device): (HomeId, DeviceId),
        (change, fingerprint): (Change, Vec<u8>),
    ) -> Result<Outcome<Devices>, Failure> {
        self.check_area(home, change.area.flatten()).await?;
        let command = Command::Update { device, change };
        let content: [&[u8]; 3] = [home.as_bytes(), device.as_bytes(), &fingerprint];
        self.of_device(request, by, home, (device, &command), &content)
            .await
    }

    /// Removes a device.
    pub(crate) async fn remove_device(
        &self,
        request: &Request,
        by: By,
        (home, device): (HomeId, DeviceId),
    ) -> Result<Outcome<Devices>, Failure> {
        let content: [&[u8]; 2] = [home.as_bytes(), device.as_bytes()];
        let command = Command::Remove { device };
        self.of_device(request, by, home, (device, &command), &content)
            .await
    }

    async fn of_device(
        &self,
        request: &Request,
        by: By,
        home: HomeId,
        (device, command): (DeviceId, &Command),
        content: &[&[u8]],
    ) -> Result<Outcome<Devices>, Failure> {
        let actor = Actor::Member(by.membership);
        let call = self.call(request, by.account.as_bytes(), actor, content);
        let facts = Facts {
            now: self.core.engine.now(),
            device,
        };
        let outcome = self
            .core
            .engine
            .execute::<Devices, _>(&call, home, command, async move |_| Ok(facts))
            .await?;
        Ok(outcome)
    }

    /// The devices that a member may see, oldest first, after one and at most so many.
    pub(crate) async fn devices(
        &self,
        member: &Member,
        home: HomeId,
        (area, after): (Option<AreaId>, &[CommitToken]),
        (from, size): (u64, usize),
    ) -> Result<(Vec<Named>, Option<u64>), Failure> {
        self.after(after).await?;
        let loaded = self.core.engine.load::<Devices>(home, Read::Leader).await;
        let loaded = loaded.map_err(Failure::from)?;
        let seen = |device: &Device| {
            member.sees(device.traits.area) && (area.is_none() || device.traits.area == area)
        };
        let mut found: Vec<(DeviceId, Device)> = loaded
            .state
            .devices
            .iter()
            .filter(|(_, device)| device.ordinal >= from && seen(device))
            .map(|(id, device)| (*id, device.clone()))
            .collect();
        found.sort_by_key(|(_, device)| device.ordinal);
        let next = found.get(size).map(|(_, device)| device.ordinal);
        found.truncate(size);
        let names: Vec<&Part> = found.iter().map(|(_, device)| &device.name).collect();
        let names = self.open(home, &names).await?;
        let named = found.into_iter().zip(names);
        Ok((
            named
                .map(|((id, device), name)| Named { id, device, name })
                .collect(),
            next,
        ))
    }

    async fn check_area(&self, home: HomeId, area: Option<AreaId>) -> Result<(), Failure> {
        let Some(area) = area else { return Ok(()) };
        let knowledge = &self.core.knowledge;
        for look in 0..2 {
            let known = knowledge.home(home).await.map_err(stale)?;
            if known.is_some_and(|it| it.areas.contains(&area)) {
                return Ok(());
            }
            if look == 0 {
                knowledge.settled().await.map_err(stale)?;
            }
        }
        Err(Failure::new(Reason::NOT_FOUND).about("area", area))
    }

    async fn check_hub(&self, home: HomeId, hub: Option<HubId>) -> Result<(), Failure> {
        let Some(hub) = hub else { return Ok(()) };
        let loaded = self.core.engine.load::<Hub>(hub, Read::Leader).await;
        let loaded = loaded.map_err(Failure::from)?;
        if loaded.state.current.is_some_and(|it| it.home == home) {
            return Ok(());
        }
        Err(Failure::new(Reason::NOT_FOUND).about("hub", hub))
    }
}

/// What makes a registration this one and no other.
fn content(home: HomeId, traits: &Traits, name: &str) -> Vec<u8> {
    let mut content = home.as_bytes().to_vec();
    content.push(traits.kind);
    content.extend_from_slice(traits.area.unwrap_or_default().as_bytes());
    content.extend_from_slice(traits.hub.unwrap_or_default().as_bytes());
    put_capabilities(&mut content, &traits.capabilities);
    content.extend_from_slice(name.as_bytes());
    content
}

/// Adds capabilities, with how many they are.
pub(crate) fn put_capabilities(
    content: &mut Vec<u8>,
    capabilities: &BTreeSet<hearth_kernel::Capability>,
) {
    // At most 64.
    content.push(u8::try_from(capabilities.len()).unwrap_or(u8::MAX));
    for capability in capabilities {
        content.extend_from_slice(&capability.number().to_be_bytes());
    }
}
