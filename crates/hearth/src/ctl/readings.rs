//! `hearth ctl readings`: what a home's devices have seen: at last, over a span of time, and live.

mod columns;

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use hearth_api::ingest::v1 as wire;
use hearth_api::ingest::v1::observation;
use hearth_api::ingest::v1::query_readings_response::Chunk;
use hearth_api::types::v1::Interval;
use hearth_host::Exit;
use hearth_kernel::{Capability, Timestamp};
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::connection::{Connection, now};
use super::devices::wire_capability;
use super::output::{self, Form, Lines, Shown, Table};
use super::values::{self, Moment};
use super::{pages, resolve};

/// How often a stream that breaks off is opened again without anything new in between.
const REOPENED: u32 = 4;
/// The wait before a stream is opened again.
const PAUSE: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

#[derive(Subcommand, Clone, Debug)]
pub(crate) enum ReadingsCommand {
    /// Show the newest observation of each capability
    Latest {
        #[command(flatten)]
        of: WhichArgs,
    },
    /// Show one capability of one device over a span of time
    Query(QueryArgs),
    /// Show observations as they come, until interrupted
    Watch {
        #[command(flatten)]
        of: WhichArgs,
    },
}

/// Which observations.
#[derive(Args, Clone, Debug)]
pub(crate) struct WhichArgs {
    /// The home, by id or name; your only one unless given
    #[arg(long)]
    home: Option<String>,
    /// Only this device, by id or name; may be repeated
    #[arg(long = "device", value_name = "DEVICE")]
    devices: Vec<String>,
    /// Only this capability, such as heating-on
    #[arg(long, value_parser = values::capability)]
    capability: Option<Capability>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct QueryArgs {
    /// The home, by id or name; your only one unless given
    #[arg(long)]
    home: Option<String>,
    /// The device, by id or name
    #[arg(long)]
    device: String,
    /// What was measured, such as plug-power
    #[arg(long, value_parser = values::capability)]
    capability: Capability,
    /// From when: a time, a day, or a span before now such as 7d
    #[arg(long, value_name = "WHEN", value_parser = values::moment, default_value = "24h")]
    from: Moment,
    /// Until when, which is left out
    #[arg(long, value_name = "WHEN", value_parser = values::moment, default_value = "now")]
    to: Moment,
    /// How fine; raw for a day and less, hours for a month and less, else days, unless given
    #[arg(long, value_enum)]
    resolution: Option<Resolution>,
    /// At most this many readings or windows: 1 to 1,000,000
    #[arg(long, default_value = "1000000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Comma-separated, with a header
    #[arg(long)]
    csv: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    Raw,
    Minute,
    Hour,
    Day,
}

/// Answers what there is to show; what streams prints itself.
pub(crate) async fn run(
    command: ReadingsCommand,
    to: &Connection,
    as_json: bool,
) -> Result<Option<Shown>, Exit> {
    let form = if as_json { Form::Json } else { Form::Text };
    match command {
        ReadingsCommand::Latest { of } => latest(to, &of).await.map(Some),
        ReadingsCommand::Query(args) => {
            let form = if args.csv { Form::Csv } else { form };
            query(to, &args, form).await.map(|()| None)
        }
        ReadingsCommand::Watch { of } => watch(to, &of, form).await.map(|()| None),
    }
}

async fn latest(to: &Connection, of: &WhichArgs) -> Result<Shown, Exit> {
    let home_id = resolve::home(to, of.home.as_deref()).await?;
    let device_ids = resolve::devices(to, &home_id, &of.devices).await?;
    let capability = of.capability.map(wire_capability).unwrap_or_default();
    let after = to.client.after().await;
    let observations = pages::all(|page| {
        let request = wire::LatestReadingsRequest {
            home_id: home_id.clone(),
            device_ids: device_ids.clone(),
            capability: capability.into(),
            after: after.clone(),
            page,
        };
        async move {
            let answer = to
                .client
                .readings()
                .latest_readings(request)
                .await?
                .into_inner();
            Ok((answer.observations, answer.next))
        }
    });
    let observations = observations.await.map_err(|it| to.refused(&it))?;
    Ok(observed(&observations).into())
}

async fn query(to: &Connection, args: &QueryArgs, form: Form) -> Result<(), Exit> {
    let now = now();
    let (start, end) = (args.from.at(now), args.to.at(now));
    if start >= end {
        return Err(Exit::usage("--from must be earlier than --to"));
    }
    let home_id = resolve::home(to, args.home.as_deref()).await?;
    let device_id = resolve::device(to, &home_id, &args.device).await?;
    let resolution = match args
        .resolution
        .unwrap_or_else(|| usual(args.capability, start, end))
    {
        Resolution::Raw => wire::Resolution::Raw,
        Resolution::Minute => wire::Resolution::Minute,
        Resolution::Hour => wire::Resolution::Hour,
        Resolution::Day => wire::Resolution::Day,
    };
    let mut request = wire::QueryReadingsRequest {
        home_id,
        device_id,
        capability: wire_capability(args.capability).into(),
        interval: Some(Interval {
            start: Some(values::to_wire(start)),
            end: Some(values::to_wire(end)),
        }),
        resolution: resolution.into(),
        limit: args.limit,
        cursor: bytes::Bytes::new(),
        after: to.client.after().await,
    };
    let (mut lines, mut tries) = (Lines::new(form), 0);
    loop {
        match chunks(to, &mut request, &mut lines, &mut tries).await? {
            None => break,
            Some(status) if tries >= REOPENED || !may_pass(&status) => {
                return Err(to.refused(&status));
            }
            Some(_) => tries += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
    let columns = match resolution {
        wire::Resolution::Raw => columns::RAW,
        _ => columns::WINDOWS,
    };
    if let Some(end) = lines.end(columns) {
        output::print(&end);
    }
    Ok(())
}

/// Prints the chunks of one stream. Answers why it broke off, if it did; the request then goes on behind the last one.
async fn chunks(
    to: &Connection,
    request: &mut wire::QueryReadingsRequest,
    lines: &mut Lines,
    tries: &mut u32,
) -> Result<Option<Status>, Exit> {
    let mut stream = match to.client.readings().query_readings(request.clone()).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return Ok(Some(status)),
    };
    loop {
        let chunk = match stream.message().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return Ok(None),
            Err(status) => return Ok(Some(status)),
        };
        let table = match &chunk.chunk {
            Some(Chunk::Raw(raw)) => columns::raw(raw),
            Some(Chunk::Windows(windows)) => columns::windows(windows),
            None => Ok(Table::new(&[])),
        };
        let table = table.map_err(|error| Exit::failed("the answer cannot be read", &error))?;
        if !table.is_empty() {
            output::print(&lines.next(&table));
        }
        if chunk.cursor.is_empty() {
            return Ok(None);
        }
        let count = u32::try_from(table.len()).unwrap_or(u32::MAX);
        request.limit = request.limit.saturating_sub(count);
        request.cursor = chunk.cursor;
        *tries = 0;
        if request.limit == 0 {
            return Ok(None);
        }
    }
}

/// How fine an answer is unless it is said: a few hundred rows for the usual spans. Text has no windows.
fn usual(capability: Capability, start: Timestamp, end: Timestamp) -> Resolution {
    let is_text = capability.spec().is_some_and(|spec| {
        matches!(
            spec.value,
            hearth_kernel::capability::ValueType::Text { .. }
        )
    });
    let span = end.since(start);
    if is_text || span <= DAY {
        Resolution::Raw
    } else if span <= DAY * 31 {
        Resolution::Hour
    } else {
        Resolution::Day
    }
}

async fn watch(to: &Connection, of: &WhichArgs, form: Form) -> Result<(), Exit> {
    let home_id = resolve::home(to, of.home.as_deref()).await?;
    let request = wire::WatchReadingsRequest {
        device_ids: resolve::devices(to, &home_id, &of.devices).await?,
        capabilities: of
            .capability
            .iter()
            .map(|it| wire_capability(*it).into())
            .collect(),
        home_id,
    };
    let (mut lines, mut tries) = (Lines::new(form), 0);
    loop {
        let ended = match to.client.readings().watch_readings(request.clone()).await {
            Ok(answer) => {
                let mut stream = answer.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(message)) => {
                            tries = 0;
                            show(&message, &mut lines);
                        }
                        Ok(None) => return Ok(()),
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        if tries >= REOPENED || !may_pass(&ended) {
            return Err(to.refused(&ended));
        }
        tries += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

fn show(message: &wire::WatchReadingsResponse, lines: &mut Lines) {
    if message.dropped > 0 {
        output::remark(&format!(
            "{} observations were dropped: this reader is too slow",
            message.dropped
        ));
    }
    if !message.observations.is_empty() {
        output::print(&lines.next(&observed(&message.observations)));
    }
}

/// Whether a stream that ended so may be opened again.
pub(crate) fn may_pass(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
    )
}

fn observed(observations: &[wire::Observation]) -> Table {
    let rows = observations.iter().map(|it| {
        let value = match &it.value {
            Some(observation::Value::Number(number)) => json!(number),
            Some(observation::Value::Integer(integer)) => json!(integer),
            Some(observation::Value::Flag(flag)) => json!(flag),
            Some(observation::Value::Text(text)) => json!(text),
            None => Value::Null,
        };
        let capability = u16::try_from(it.capability)
            .ok()
            .and_then(Capability::from_number);
        let unit = capability
            .and_then(Capability::spec)
            .map_or("", |spec| spec.unit);
        vec![
            values::wire_time(it.observed_at),
            json!(it.device_id),
            json!(values::capability_name(it.capability)),
            value,
            json!(unit),
        ]
    });
    Table::of(
        &["observed_at", "device_id", "capability", "value", "unit"],
        rows,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_resolution_keeps_answers_short() {
        let start = Timestamp::from_seconds(1_700_000_000);
        let power = |days: u32| usual(Capability::PLUG_POWER, start, start.plus(DAY * days));
        assert_eq!(power(1), Resolution::Raw);
        assert_eq!(power(31), Resolution::Hour);
        assert_eq!(power(365), Resolution::Day);
        let mode = usual(Capability::HEATING_MODE, start, start.plus(DAY * 20));
        assert_eq!(mode, Resolution::Raw);
    }

    #[test]
    fn observations_have_their_unit() {
        let table = observed(&[wire::Observation {
            device_id: "d".to_owned(),
            capability: 602,
            observed_at: None,
            value: Some(observation::Value::Number(12.5)),
        }]);
        let row = &Shown::from(table).json()[0];
        assert_eq!((&row["value"], &row["unit"]), (&json!(12.5), &json!("W")));
        assert_eq!(row["capability"], json!("plug-power"));
    }
}
