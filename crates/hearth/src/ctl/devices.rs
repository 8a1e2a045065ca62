//! `hearth ctl devices`: hubs and their pairing, and the devices of a home.

mod hub_key;
mod hubs;

use clap::{Subcommand, ValueEnum};
use hearth_api::ingest::v1 as wire;
use hearth_api::types::v1::Capability as WireCapability;
use hearth_host::Exit;
use hearth_kernel::Capability;
use serde_json::json;

use super::connection::{Connection, request_id};
use super::output::{Shown, Table};
use super::{resolve, values};
pub(crate) use hubs::HubsCommand;

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum DevicesCommand {
    #[command(flatten)]
    Hubs(HubsCommand),
    /// Add a device
    Register {
        /// What to call it
        name: String,
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
        /// The area it is in, by id or name
        #[arg(long)]
        area: Option<String>,
        /// What kind of thing it is
        #[arg(long, value_enum, default_value = "other")]
        kind: Kind,
        /// What it can measure or be, such as heating-on; may be repeated
        #[arg(long = "capability", required = true, value_parser = values::capability)]
        capabilities: Vec<Capability>,
        /// The hub it reports through; any of the home unless given
        #[arg(long, default_value = "")]
        hub: String,
    },
    /// List the devices of a home
    List {
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
        /// Only those in this area, by id or name
        #[arg(long)]
        area: Option<String>,
    },
    /// Change a device
    Update {
        /// The device, by id or name
        device: String,
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
        /// The area it is in from now on, by id or name; "" means none
        #[arg(long)]
        area: Option<String>,
        /// Another name
        #[arg(long)]
        name: Option<String>,
        /// Another kind
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        /// What it can measure or be from now on; may be repeated
        #[arg(long = "capability", value_parser = values::capability)]
        capabilities: Vec<Capability>,
    },
    /// Remove a device for ever
    Remove {
        /// The device, by id or name
        device: String,
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
    },
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Kind {
    Other,
    Thermostat,
    Boiler,
    Light,
    ContactSensor,
    MotionSensor,
    WaterSensor,
    Plug,
    ElectricityMeter,
    ClimateSensor,
    PresenceSensor,
    Weather,
    Hub,
}

impl Kind {
    const fn wire(self) -> wire::DeviceKind {
        match self {
            Self::Other => wire::DeviceKind::Other,
            Self::Thermostat => wire::DeviceKind::Thermostat,
            Self::Boiler => wire::DeviceKind::Boiler,
            Self::Light => wire::DeviceKind::Light,
            Self::ContactSensor => wire::DeviceKind::ContactSensor,
            Self::MotionSensor => wire::DeviceKind::MotionSensor,
            Self::WaterSensor => wire::DeviceKind::WaterSensor,
            Self::Plug => wire::DeviceKind::Plug,
            Self::ElectricityMeter => wire::DeviceKind::ElectricityMeter,
            Self::ClimateSensor => wire::DeviceKind::ClimateSensor,
            Self::PresenceSensor => wire::DeviceKind::PresenceSensor,
            Self::Weather => wire::DeviceKind::Weather,
            Self::Hub => wire::DeviceKind::Hub,
        }
    }
}

pub(crate) async fn run(command: DevicesCommand, to: &Connection) -> Result<Shown, Exit> {
    match command {
        DevicesCommand::Hubs(command) => hubs::run(command, to).await,
        DevicesCommand::Register {
            name,
            home,
            area,
            kind,
            capabilities,
            hub,
        } => {
            let home_id = resolve::home(to, home.as_deref()).await?;
            let request = wire::RegisterDeviceRequest {
                request_id: request_id()?,
                area_id: area_id(to, &home_id, area.as_deref()).await?,
                name,
                kind: kind.wire().into(),
                capabilities: numbers(&capabilities),
                hub_id: hub,
                home_id,
            };
            let answer = to.client.devices().register_device(request).await;
            let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
            to.changed(answer.token).await?;
            Ok(Shown::One(vec![("device_id", json!(answer.device_id))]))
        }
        DevicesCommand::List { home, area } => {
            let home = resolve::home(to, home.as_deref()).await?;
            let area = area_id(to, &home, area.as_deref()).await?;
            list(to, &home, &area).await
        }
        DevicesCommand::Update {
            device,
            home,
            area,
            name,
            kind,
            capabilities,
        } => {
            let home_id = resolve::home(to, home.as_deref()).await?;
            let area_id = match area {
                Some(area) => Some(area_id(to, &home_id, Some(&area)).await?),
                None => None,
            };
            let request = wire::UpdateDeviceRequest {
                request_id: request_id()?,
                device_id: resolve::device(to, &home_id, &device).await?,
                area_id,
                name,
                kind: kind.map(|kind| kind.wire().into()),
                capabilities: numbers(&capabilities),
                home_id,
            };
            let answer = to.client.devices().update_device(request).await;
            to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
                .await?;
            Ok(Shown::Line("the device is changed".to_owned()))
        }
        DevicesCommand::Remove { device, home } => {
            let home_id = resolve::home(to, home.as_deref()).await?;
            let device_id = resolve::device(to, &home_id, &device).await?;
            let request = wire::RemoveDeviceRequest {
                request_id: request_id()?,
                home_id,
                device_id,
            };
            let answer = to.client.devices().remove_device(request).await;
            to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
                .await?;
            Ok(Shown::Line("the device is removed".to_owned()))
        }
    }
}

/// The id of an area that was typed; empty for none.
async fn area_id(to: &Connection, home_id: &str, typed: Option<&str>) -> Result<String, Exit> {
    match typed {
        None | Some("") => Ok(String::new()),
        Some(typed) => resolve::area(to, home_id, typed).await,
    }
}

async fn list(to: &Connection, home_id: &str, area_id: &str) -> Result<Shown, Exit> {
    let rows = resolve::devices_of(to, home_id, area_id)
        .await?
        .into_iter()
        .map(|it| {
            let capabilities = it
                .capabilities
                .iter()
                .map(|it| values::capability_name(*it));
            vec![
                json!(it.device_id),
                json!(it.name),
                values::enum_name(it.kind().as_str_name(), "DEVICE_KIND_"),
                json!(it.area_id),
                json!(capabilities.collect::<Vec<_>>()),
                json!(it.hub_id),
                values::wire_time(it.registered_at),
            ]
        });
    let columns = &[
        "device_id",
        "name",
        "kind",
        "area_id",
        "capabilities",
        "hub_id",
        "registered_at",
    ];
    Ok(Table::of(columns, rows).into())
}

/// Capabilities in the form of the contract.
fn numbers(capabilities: &[Capability]) -> Vec<i32> {
    capabilities
        .iter()
        .map(|it| wire_capability(*it).into())
        .collect()
}

/// A capability in the form of the contract.
pub(crate) fn wire_capability(capability: Capability) -> WireCapability {
    WireCapability::try_from(i32::from(capability.number())).unwrap_or_default()
}
