//! `hearth.ingest.v1.DevicesService`.

use std::collections::BTreeSet;

use bytes::Bytes;
use hearth_api::ingest::v1::devices_service_server::DevicesService;
use hearth_api::ingest::v1::{
    Device, DeviceKind, ListDevicesRequest, ListDevicesResponse, RegisterDeviceRequest,
    RegisterDeviceResponse, RemoveDeviceRequest, RemoveDeviceResponse, UpdateDeviceRequest,
    UpdateDeviceResponse,
};
use hearth_api::types::v1::{PageRequest, PageResponse};
use hearth_ingest_domain::devices::{Change, MAX_CAPABILITIES, Traits};
use hearth_kernel::{AreaId, Capability, DeviceId, Failure, HomeId, HubId, Part, Role, Violations};
use tonic::{Request, Response, Status};

use super::{Around, around, refused};
use crate::app::App;
use crate::app::devices::{Named, put_capabilities};
use crate::wire;

/// Items of a page that asks for none.
const PAGE: u32 = 50;
/// The most items of a page.
const MOST: u32 = 200;

/// The service.
pub(crate) struct Devices(pub(crate) App);

#[tonic::async_trait]
impl DevicesService for Devices {
    async fn register_device(
        &self,
        request: Request<RegisterDeviceRequest>,
    ) -> Result<Response<RegisterDeviceResponse>, Status> {
        let around = around(&request);
        let response = self.register(&around, request.get_ref()).await;
        response.map(Response::new).map_err(refused)
    }

    async fn update_device(
        &self,
        request: Request<UpdateDeviceRequest>,
    ) -> Result<Response<UpdateDeviceResponse>, Status> {
        let around = around(&request);
        let response = self.update(&around, request.get_ref()).await;
        response.map(Response::new).map_err(refused)
    }

    async fn list_devices(
        &self,
        request: Request<ListDevicesRequest>,
    ) -> Result<Response<ListDevicesResponse>, Status> {
        let around = around(&request);
        let response = self.list(&around, request.get_ref()).await;
        response.map(Response::new).map_err(refused)
    }

    async fn remove_device(
        &self,
        request: Request<RemoveDeviceRequest>,
    ) -> Result<Response<RemoveDeviceResponse>, Status> {
        let around = around(&request);
        let response = self.remove(&around, request.get_ref()).await;
        response.map(Response::new).map_err(refused)
    }
}

impl Devices {
    async fn register(
        &self,
        around: &Around,
        request: &RegisterDeviceRequest,
    ) -> Result<RegisterDeviceResponse, Failure> {
        let (home, traits) = registration(request)?;
        let by = around.by(&self.0, home, Role::Adult).await?;
        let asked = around.request("RegisterDevice", &request.request_id);
        let what = (traits, request.name.as_str());
        let (device, outcome) = self.0.register_device(&asked, by, home, what).await?;
        Ok(RegisterDeviceResponse {
            token: wire::token(&outcome),
            device_id: device.to_string(),
        })
    }

    async fn update(
        &self,
        around: &Around,
        request: &UpdateDeviceRequest,
    ) -> Result<UpdateDeviceResponse, Failure> {
        let (home, device, change) = change(request)?;
        let by = around.by(&self.0, home, Role::Adult).await?;
        let asked = around.request("UpdateDevice", &request.request_id);
        let change = (change, fingerprint(request));
        let outcome = self
            .0
            .update_device(&asked, by, (home, device), change)
            .await?;
        Ok(UpdateDeviceResponse {
            token: wire::token(&outcome),
        })
    }

    async fn list(
        &self,
        around: &Around,
        request: &ListDevicesRequest,
    ) -> Result<ListDevicesResponse, Failure> {
        let mut violations = Violations::new();
        let home = wire::id::<HomeId>(&request.home_id, "home_id", &mut violations);
        let area = wire::optional_id::<AreaId>(&request.area_id, "area_id", &mut violations);
        let after = wire::tokens(&request.after, &mut violations);
        let page = page(request.page.as_ref(), &mut violations);
        let ((home, area), page) = violations.finish(home.zip(area).zip(page))?;
        self.0.core.knowledge.after(&after).await?;
        let member = around.member(&self.0, home, Role::Guest).await?;
        let (devices, next) = self.0.devices(&member, home, (area, &after), page).await?;
        Ok(ListDevicesResponse {
            devices: devices.iter().map(to_wire).collect(),
            next: next.map(|at| PageResponse {
                cursor: Bytes::copy_from_slice(&at.to_be_bytes()),
            }),
        })
    }

    async fn remove(
        &self,
        around: &Around,
        request: &RemoveDeviceRequest,
    ) -> Result<RemoveDeviceResponse, Failure> {
        let mut violations = Violations::new();
        wire::request_id(&request.request_id, &mut violations);
        let home = wire::id::<HomeId>(&request.home_id, "home_id", &mut violations);
        let device = wire::id::<DeviceId>(&request.device_id, "device_id", &mut violations);
        let (home, device) = violations.finish(home.zip(device))?;
        let by = around.by(&self.0, home, Role::Admin).await?;
        let asked = around.request("RemoveDevice", &request.request_id);
        let outcome = self.0.remove_device(&asked, by, (home, device)).await?;
        Ok(RemoveDeviceResponse {
            token: wire::token(&outcome),
        })
    }
}

fn to_wire(named: &Named) -> Device {
    let (device, traits) = (&named.device, &named.device.traits);
    Device {
        device_id: named.id.to_string(),
        area_id: traits.area.map(|it| it.to_string()).unwrap_or_default(),
        name: named.name.clone(),
        kind: i32::from(traits.kind),
        capabilities: traits
            .capabilities
            .iter()
            .map(|it| i32::from(it.number()))
            .collect(),
        hub_id: traits.hub.map(|it| it.to_string()).unwrap_or_default(),
        registered_at: Some(wire::time(device.registered_at)),
    }
}

/// The first ordinal and the size of a page.
pub(super) fn page(
    request: Option<&PageRequest>,
    violations: &mut Violations,
) -> Option<(u64, usize)> {
    let Some(request) = request else {
        return Some((0, PAGE as usize));
    };
    violations.require(request.size <= MOST, "page.size", "at most 200");
    let from = match request.cursor.len() {
        0 => Some(0),
        _ => <[u8; 8]>::try_from(request.cursor.as_ref())
            .ok()
            .map(u64::from_be_bytes),
    };
    violations.require(from.is_some(), "page.cursor", "not a cursor of this list");
    let size = if request.size == 0 {
        PAGE
    } else {
        request.size.min(MOST)
    };
    from.map(|from| (from, size as usize))
}

fn kind(number: i32, violations: &mut Violations) -> Option<u8> {
    let known = DeviceKind::try_from(number).is_ok_and(|it| it != DeviceKind::Unspecified);
    violations.require(known, "kind", "a kind of this release");
    u8::try_from(number).ok().filter(|_| known)
}

/// Capabilities, each once and each in the catalogue.
fn capabilities(numbers: &[i32], violations: &mut Violations) -> BTreeSet<Capability> {
    violations.require(
        numbers.len() <= MAX_CAPABILITIES,
        "capabilities",
        "at most 64",
    );
    let mut found = BTreeSet::new();
    for (index, number) in numbers.iter().enumerate().take(MAX_CAPABILITIES) {
        let capability = u16::try_from(*number)
            .ok()
            .and_then(Capability::from_number);
        match capability {
            Some(capability) if found.insert(capability) => {}
            Some(_) => violations.add(format!("capabilities[{index}]"), "named twice"),
            None => violations.add(format!("capabilities[{index}]"), "not in the catalogue"),
        }
    }
    found
}

fn registration(request: &RegisterDeviceRequest) -> Result<(HomeId, Traits), Failure> {
    let mut violations = Violations::new();
    wire::request_id(&request.request_id, &mut violations);
    wire::name(&request.name, &mut violations);
    let home = wire::id::<HomeId>(&request.home_id, "home_id", &mut violations);
    let area = wire::optional_id::<AreaId>(&request.area_id, "area_id", &mut violations);
    let hub = wire::optional_id::<HubId>(&request.hub_id, "hub_id", &mut violations);
    let kind = kind(request.kind, &mut violations);
    let capabilities = capabilities(&request.capabilities, &mut violations);
    violations.require(
        !request.capabilities.is_empty(),
        "capabilities",
        "at least one",
    );
    let traits = area.zip(hub).zip(kind).map(|((area, hub), kind)| Traits {
        area,
        kind,
        capabilities,
        hub,
    });
    violations.finish(home.zip(traits))
}

fn change(request: &UpdateDeviceRequest) -> Result<(HomeId, DeviceId, Change), Failure> {
    let mut violations = Violations::new();
    wire::request_id(&request.request_id, &mut violations);
    let home = wire::id::<HomeId>(&request.home_id, "home_id", &mut violations);
    let device = wire::id::<DeviceId>(&request.device_id, "device_id", &mut violations);
    let area = request
        .area_id
        .as_ref()
        .and_then(|text| wire::optional_id::<AreaId>(text, "area_id", &mut violations));
    if let Some(name) = &request.name {
        wire::name(name, &mut violations);
    }
    let kind = request
        .kind
        .and_then(|number| kind(number, &mut violations));
    let change = Change {
        area,
        name: request.name.as_deref().map(Part::clear),
        kind,
        capabilities: capabilities(&request.capabilities, &mut violations),
    };
    let (home, device) = violations.finish(home.zip(device))?;
    Ok((home, device, change))
}

/// What makes a change this one and no other.
fn fingerprint(request: &UpdateDeviceRequest) -> Vec<u8> {
    let mut content = Vec::new();
    for text in [&request.area_id, &request.name] {
        content.push(u8::from(text.is_some()));
        let text = text.as_deref().unwrap_or_default();
        content.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        content.extend_from_slice(text.as_bytes());
    }
    content.extend_from_slice(&request.kind.unwrap_or(-1).to_be_bytes());
    let numbers = request
        .capabilities
        .iter()
        .filter_map(|it| u16::try_from(*it).ok());
    put_capabilities(
        &mut content,
        &numbers.map(Capability::from_stored).collect(),
    );
    content
}
