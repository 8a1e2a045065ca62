//! From what somebody typed to an id: ids are taken as they are, names are looked up among what she may see.

use hearth_api::accounts::v1 as accounts;
use hearth_api::ingest::v1 as ingest;
use hearth_host::Exit;

use super::connection::Connection;
use super::{pages, values};

/// The home of that id or name; without one, the only home there is.
///
/// # Errors
/// `Usage` when none or more than one fits.
pub(crate) async fn home(to: &Connection, typed: Option<&str>) -> Result<String, Exit> {
    to.signed_in().await?;
    if let Some(id) = typed.filter(|typed| values::is_id(typed)) {
        return Ok(id.to_owned());
    }
    let homes = homes(to).await?;
    let named: Vec<_> = homes
        .iter()
        .map(|it| (it.home_id.as_str(), it.name.as_str()))
        .collect();
    match (typed, named.as_slice()) {
        (Some(typed), named) => one("home", typed, named),
        (None, [(id, _)]) => Ok((*id).to_owned()),
        (None, []) => Err(Exit::usage("there is no home yet: hearth ctl home create")),
        (None, many) => Err(Exit::usage(format!(
            "there are {} homes: say which with --home",
            many.len()
        ))),
    }
}

/// The homes of who is signed in.
///
/// # Errors
/// What the server answers.
pub(crate) async fn homes(to: &Connection) -> Result<Vec<accounts::HomeSummary>, Exit> {
    let after = to.client.after().await;
    let homes = pages::all(|page| {
        let request = accounts::ListHomesRequest {
            after: after.clone(),
            page,
        };
        async move {
            let answer = to.client.homes().list_homes(request).await?.into_inner();
            Ok((answer.homes, answer.next))
        }
    });
    homes.await.map_err(|it| to.refused(&it))
}

/// A home with its areas.
///
/// # Errors
/// What the server answers.
pub(crate) async fn home_of(to: &Connection, home_id: &str) -> Result<accounts::Home, Exit> {
    let request = accounts::GetHomeRequest {
        home_id: home_id.to_owned(),
        after: to.client.after().await,
    };
    let answer = to.client.homes().get_home(request).await;
    Ok(answer
        .map_err(|it| to.refused(&it))?
        .into_inner()
        .home
        .unwrap_or_default())
}

/// The areas of those ids or names.
///
/// # Errors
/// `Usage` when none or more than one fits a name.
pub(crate) async fn areas(
    to: &Connection,
    home_id: &str,
    typed: &[String],
) -> Result<Vec<String>, Exit> {
    if typed.iter().all(|typed| values::is_id(typed)) {
        return Ok(typed.to_vec());
    }
    let home = home_of(to, home_id).await?;
    let named: Vec<_> = home
        .areas
        .iter()
        .map(|it| (it.area_id.as_str(), it.name.as_str()))
        .collect();
    typed
        .iter()
        .map(|typed| one("area", typed, &named))
        .collect()
}

/// The area of that id or name.
///
/// # Errors
/// `Usage` when none or more than one fits.
pub(crate) async fn area(to: &Connection, home_id: &str, typed: &str) -> Result<String, Exit> {
    let found = areas(to, home_id, &[typed.to_owned()]).await?;
    Ok(found.into_iter().next().unwrap_or_default())
}

/// The devices of a home that who is signed in may see.
///
/// # Errors
/// What the server answers.
pub(crate) async fn devices_of(
    to: &Connection,
    home_id: &str,
    area_id: &str,
) -> Result<Vec<ingest::Device>, Exit> {
    let after = to.client.after().await;
    let devices = pages::all(|page| {
        let request = ingest::ListDevicesRequest {
            home_id: home_id.to_owned(),
            area_id: area_id.to_owned(),
            after: after.clone(),
            page,
        };
        async move {
            let answer = to
                .client
                .devices()
                .list_devices(request)
                .await?
                .into_inner();
            Ok((answer.devices, answer.next))
        }
    });
    devices.await.map_err(|it| to.refused(&it))
}

/// The devices of those ids or names.
///
/// # Errors
/// `Usage` when none or more than one fits a name.
pub(crate) async fn devices(
    to: &Connection,
    home_id: &str,
    typed: &[String],
) -> Result<Vec<String>, Exit> {
    if typed.iter().all(|typed| values::is_id(typed)) {
        return Ok(typed.to_vec());
    }
    let devices = devices_of(to, home_id, "").await?;
    let named: Vec<_> = devices
        .iter()
        .map(|it| (it.device_id.as_str(), it.name.as_str()))
        .collect();
    typed
        .iter()
        .map(|typed| one("device", typed, &named))
        .collect()
}

/// The device of that id or name.
///
/// # Errors
/// `Usage` when none or more than one fits.
pub(crate) async fn device(to: &Connection, home_id: &str, typed: &str) -> Result<String, Exit> {
    let found = devices(to, home_id, &[typed.to_owned()]).await?;
    Ok(found.into_iter().next().unwrap_or_default())
}

/// The one id that fits what was typed: an id as it is, or a name without regard to case.
fn one(what: &str, typed: &str, named: &[(&str, &str)]) -> Result<String, Exit> {
    if values::is_id(typed) {
        return Ok(typed.to_owned());
    }
    let wanted = typed.to_lowercase();
    let mut fitting = named
        .iter()
        .filter(|(_, name)| name.to_lowercase() == wanted);
    match (fitting.next(), fitting.next()) {
        (Some((id, _)), None) => Ok((*id).to_owned()),
        (Some(_), Some(_)) => Err(Exit::usage(format!(
            "more than one {what} is called {typed}: give its id"
        ))),
        (None, _) => Err(Exit::usage(format!("no {what} is called {typed}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_once_or_not_at_all() {
        let named = [("1", "Kitchen"), ("2", "Hall"), ("3", "hall")];
        assert_eq!(one("area", "kitchen", &named).unwrap(), "1");
        let id = "A".repeat(32);
        assert_eq!(one("area", &id, &named).unwrap(), id);
        for wrong in ["HALL", "Attic"] {
            assert_eq!(
                one("area", wrong, &named).unwrap_err().number(),
                64,
                "{wrong}"
            );
        }
    }
}
