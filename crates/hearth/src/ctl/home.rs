//! `hearth ctl home`: homes, areas and members.

mod members;

use clap::{Subcommand, ValueEnum};
use hearth_api::accounts::v1 as wire;
use hearth_api::types::v1::{DataFamily, RetentionChoice, RetentionClass};
use hearth_host::Exit;
use serde_json::{Value, json};

use super::connection::{Connection, request_id};
use super::output::{Shown, Table};
use super::{resolve, values};
pub(crate) use members::{MembersCommand, role_name};

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum HomeCommand {
    /// Make a home
    Create {
        /// Its name
        name: String,
        /// What it is used as
        #[arg(long, value_enum, default_value = "household")]
        kind: Kind,
        /// Its IANA time zone
        #[arg(long, default_value = "UTC")]
        time_zone: String,
    },
    /// List your homes
    List,
    /// Show a home with its areas
    Show {
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
    },
    /// Change a home
    Update {
        /// The home, by id or name; your only one unless given
        #[arg(long)]
        home: Option<String>,
        /// Another name
        #[arg(long)]
        name: Option<String>,
        /// Another IANA time zone
        #[arg(long)]
        time_zone: Option<String>,
        /// How long readings are kept
        #[arg(long, value_enum)]
        readings: Option<Class>,
        /// How long readings of water are kept
        #[arg(long, value_enum)]
        water: Option<Class>,
    },
    /// Add, rename and remove areas
    Area {
        /// The home, by id or name; your only one unless given
        #[arg(long, global = true)]
        home: Option<String>,
        #[command(subcommand)]
        command: AreaCommand,
    },
    #[command(flatten)]
    Members(MembersCommand),
}

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum AreaCommand {
    /// Add an area
    Add {
        /// Its name
        name: String,
    },
    /// Give an area another name
    Rename {
        /// The area, by id or name
        area: String,
        /// Its new name
        name: String,
    },
    /// Remove an area; its devices stay, in no area
    Remove {
        /// The area, by id or name
        area: String,
    },
}

#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Kind {
    Household,
    Office,
}

/// A period as it is typed.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(crate) enum Class {
    #[value(name = "7d")]
    Days7,
    #[value(name = "30d")]
    Days30,
    #[value(name = "90d")]
    Days90,
    #[value(name = "400d")]
    Days400,
}

impl Class {
    const fn wire(self) -> RetentionClass {
        match self {
            Self::Days7 => RetentionClass::Days7,
            Self::Days30 => RetentionClass::Days30,
            Self::Days90 => RetentionClass::Days90,
            Self::Days400 => RetentionClass::Days400,
        }
    }
}

pub(crate) async fn run(command: HomeCommand, to: &Connection) -> Result<Shown, Exit> {
    to.signed_in().await?;
    match command {
        HomeCommand::Create {
            name,
            kind,
            time_zone,
        } => create(to, name, kind, time_zone).await,
        HomeCommand::List => list(to).await,
        HomeCommand::Show { home } => {
            let home = resolve::home(to, home.as_deref()).await?;
            Ok(shown(resolve::home_of(to, &home).await?))
        }
        HomeCommand::Update {
            home,
            name,
            time_zone,
            readings,
            water,
        } => {
            let home_id = resolve::home(to, home.as_deref()).await?;
            let chosen = [(DataFamily::Readings, readings), (DataFamily::Water, water)];
            let chosen = chosen.into_iter().filter_map(|(family, class)| {
                let class = class?.wire().into();
                Some(RetentionChoice {
                    family: family.into(),
                    class,
                })
            });
            let request = wire::UpdateHomeRequest {
                request_id: request_id()?,
                home_id,
                name,
                time_zone,
                retention: chosen.collect(),
            };
            let answer = to.client.homes().update_home(request).await;
            to.changed(answer.map_err(|it| to.refused(&it))?.into_inner().token)
                .await?;
            Ok(Shown::Line("the home is changed".to_owned()))
        }
        HomeCommand::Area { home, command } => {
            let home = resolve::home(to, home.as_deref()).await?;
            area(to, home, command).await
        }
        HomeCommand::Members(command) => members::run(command, to).await,
    }
}

async fn create(
    to: &Connection,
    name: String,
    kind: Kind,
    time_zone: String,
) -> Result<Shown, Exit> {
    let kind = match kind {
        Kind::Household => wire::HomeKind::Household,
        Kind::Office => wire::HomeKind::Office,
    };
    let request = wire::CreateHomeRequest {
        request_id: request_id()?,
        name,
        kind: kind.into(),
        time_zone,
    };
    let answer = to.client.homes().create_home(request).await;
    let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
    to.changed(answer.token).await?;
    Ok(Shown::One(vec![
        ("home_id", json!(answer.home_id)),
        ("membership_id", json!(answer.membership_id)),
    ]))
}

async fn list(to: &Connection) -> Result<Shown, Exit> {
    let rows = resolve::homes(to).await?.into_iter().map(|it| {
        let kind = values::enum_name(it.kind().as_str_name(), "HOME_KIND_");
        vec![
            json!(it.home_id),
            json!(it.name),
            kind,
            role_name(it.role()),
            json!(it.membership_id),
        ]
    });
    Ok(Table::of(&["home_id", "name", "kind", "role", "membership_id"], rows).into())
}

fn shown(home: wire::Home) -> Shown {
    let own = home.self_.as_ref();
    let role = own.map_or(Value::Null, |own| role_name(own.role()));
    let areas = home
        .areas
        .iter()
        .map(|it| vec![json!(it.area_id), json!(it.name)]);
    let periods = home.retention.iter().map(|it| {
        let family = values::enum_name(it.family().as_str_name(), "DATA_FAMILY_");
        vec![
            family,
            values::enum_name(it.class().as_str_name(), "RETENTION_CLASS_"),
        ]
    });
    Shown::Parts(vec![
        (
            "home",
            Shown::One(vec![
                ("home_id", json!(home.home_id)),
                ("name", json!(home.name)),
                (
                    "kind",
                    values::enum_name(home.kind().as_str_name(), "HOME_KIND_"),
                ),
                ("time_zone", json!(home.time_zone)),
                ("created_at", values::wire_time(home.created_at)),
                ("your_role", role),
            ]),
        ),
        ("areas", Table::of(&["area_id", "name"], areas).into()),
        ("kept", Table::of(&["data", "for"], periods).into()),
    ])
}

async fn area(to: &Connection, home_id: String, command: AreaCommand) -> Result<Shown, Exit> {
    let request_id = request_id()?;
    let mut homes = to.client.homes();
    let (token, shown) = match command {
        AreaCommand::Add { name } => {
            let request = wire::CreateAreaRequest {
                request_id,
                home_id,
                name,
            };
            let answer = homes.create_area(request).await;
            let answer = answer.map_err(|it| to.refused(&it))?.into_inner();
            (
                answer.token,
                Shown::One(vec![("area_id", json!(answer.area_id))]),
            )
        }
        AreaCommand::Rename { area, name } => {
            let area_id = resolve::area(to, &home_id, &area).await?;
            let request = wire::RenameAreaRequest {
                request_id,
                home_id,
                area_id,
                name,
            };
            let answer = homes
                .rename_area(request)
                .await
                .map_err(|it| to.refused(&it))?;
            (
                answer.into_inner().token,
                Shown::Line("the area is renamed".to_owned()),
            )
        }
        AreaCommand::Remove { area } => {
            let area_id = resolve::area(to, &home_id, &area).await?;
            let request = wire::RemoveAreaRequest {
                request_id,
                home_id,
                area_id,
            };
            let answer = homes
                .remove_area(request)
                .await
                .map_err(|it| to.refused(&it))?;
            (
                answer.into_inner().token,
                Shown::Line("the area is removed".to_owned()),
            )
        }
    };
    to.changed(token).await?;
    Ok(shown)
}
