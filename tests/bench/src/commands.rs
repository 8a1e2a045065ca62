//! Commands and queries as a client sees them: one after the other, over a socket.

use std::time::{Duration, Instant};

use anyhow::Result;
use hearth_api::accounts::v1 as accounts;
use hearth_api::accounts::v1::homes_service_client::HomesServiceClient;
use hearth_testkit::Sandbox;
use hearth_testkit::person::request_id;

use crate::report::{Report, millis, percentile};

/// Commands that are timed, after as many that are not.
const COMMANDS: usize = 500;

/// p50 and p99 of a command that changes a home.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) async fn measure(fsyncs: f64, report: &mut Report) -> Result<()> {
    let sandbox = Sandbox::start().await;
    let person = sandbox.person("anna").await;
    let home = person.home("House").await;
    let mut homes = HomesServiceClient::new(person.channel.clone());
    let area = homes
        .create_area(person.with(accounts::CreateAreaRequest {
            request_id: request_id(),
            home_id: home.clone(),
            name: "Room".to_owned(),
        }))
        .await?
        .into_inner()
        .area_id;
    let mut times = Vec::new();
    for number in 0..COMMANDS * 2 {
        let rename = accounts::RenameAreaRequest {
            request_id: request_id(),
            home_id: home.clone(),
            area_id: area.clone(),
            name: format!("Room {number}"),
        };
        let begun = Instant::now();
        homes.rename_area(person.with(rename)).await?;
        if number >= COMMANDS {
            times.push(begun.elapsed());
        }
    }
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    let fsync = Duration::from_secs_f64(1.0 / fsyncs);
    report.line(
        "a command over a socket (rename an area), p50 and p99",
        format!("{}, {}", millis(p50), millis(p99)),
        &format!("{} an fsync", millis(fsync)),
    );
    Ok(())
}
