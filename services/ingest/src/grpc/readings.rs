//! `hearth.ingest.v1.ReadingsService`.

mod pages;
mod watch;

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use hearth_api::ingest::v1::readings_service_server::ReadingsService;
use hearth_api::ingest::v1::{
    LatestReadingsRequest, LatestReadingsResponse, QueryReadingsRequest, QueryReadingsResponse,
    Resolution, WatchReadingsRequest, WatchReadingsResponse,
};
use hearth_api::types::v1::PageResponse;
use hearth_kernel::capability::ValueType;
use hearth_kernel::{Capability, DeviceId, Failure, HomeId, Role, Timestamp, Violations};
use hearth_readings::Level;
use hearth_rpc::reads::EVERY;
use hearth_rpc::{Answer, guarded};
use tonic::{Request, Response, Status};

use super::{Around, around, refused};
use crate::app::App;
use crate::history::{MOST_DAYS_RAW, Query};
use crate::wire;

/// The most readings or windows of an answer.
const MOST: u32 = 1_000_000;
/// Devices that one request names.
const MOST_DEVICES: usize = 200;
/// Days of a query by the hour, and by the day.
const MOST_DAYS: (i32, i32) = (731, 4_018);

/// The service.
pub(crate) struct Readings(pub(crate) App);

/// What a query asks for.
pub(super) struct Asked {
    query: Query,
    /// `None` for readings themselves.
    level: Option<Level>,
    limit: usize,
    after: Vec<hearth_engine::CommitToken>,
}

#[tonic::async_trait]
impl ReadingsService for Readings {
    type QueryReadingsStream = BoxStream<'static, Result<QueryReadingsResponse, Status>>;
    type WatchReadingsStream = BoxStream<'static, Result<WatchReadingsResponse, Status>>;

    async fn query_readings(
        &self,
        request: Request<QueryReadingsRequest>,
    ) -> Result<Response<Self::QueryReadingsStream>, Status> {
        let around = around(&request);
        let stream = self.query(around, request.get_ref()).await;
        stream.map(Response::new).map_err(refused)
    }

    async fn latest_readings(
        &self,
        request: Request<LatestReadingsRequest>,
    ) -> Result<Response<LatestReadingsResponse>, Status> {
        let around = around(&request);
        let response = self.latest(&around, request.get_ref()).await;
        response.map(Response::new).map_err(refused)
    }

    async fn watch_readings(
        &self,
        request: Request<WatchReadingsRequest>,
    ) -> Result<Response<Self::WatchReadingsStream>, Status> {
        let around = around(&request);
        let stream = self.watch(around, request.get_ref()).await;
        stream.map(Response::new).map_err(refused)
    }
}

impl Readings {
    async fn query(
        &self,
        around: Around,
        request: &QueryReadingsRequest,
    ) -> Result<BoxStream<'static, Result<QueryReadingsResponse, Status>>, Failure> {
        let asked = asked(request)?;
        let app = self.0.clone();
        app.core.knowledge.after(&asked.after).await?;
        let home = asked.query.home;
        let member = around.member(&app, home, Role::Guest).await?;
        let sight = app.sight(member, home).await?;
        let reader = app.reader(&sight, asked.query, &asked.after).await?;
        let pages = pages::pages(reader, &asked);
        let (around, device) = (Arc::new(around), asked.query.device);
        let check = move || {
            let (app, around) = (app.clone(), Arc::clone(&around));
            async move { may_read(&app, &around, home, device).await }
        };
        Ok(guarded(pages, check, EVERY).boxed())
    }

    async fn latest(
        &self,
        around: &Around,
        request: &LatestReadingsRequest,
    ) -> Result<LatestReadingsResponse, Failure> {
        let mut violations = Violations::new();
        let home = wire::id::<HomeId>(&request.home_id, "home_id", &mut violations);
        let devices = devices(&request.device_ids, &mut violations);
        let capability = optional_capability(request.capability, &mut violations);
        let after = wire::tokens(&request.after, &mut violations);
        let page = super::devices::page(request.page.as_ref(), &mut violations);
        let ((home, capability), (from, size)) =
            violations.finish(home.zip(capability).zip(page))?;
        self.0.core.knowledge.after(&after).await?;
        let member = around.member(&self.0, home, Role::Guest).await?;
        let sight = self.0.sight(member, home).await?;
        let mut readings = self.0.latest(&sight, home, &after).await?;
        readings.retain(|it| {
            (devices.is_empty() || devices.contains(&it.device))
                && capability.is_none_or(|wanted| wanted == it.capability)
        });
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let until = from.saturating_add(size);
        let page = readings.iter().skip(from).take(size);
        let next = (readings.len() > until).then(|| PageResponse {
            cursor: Bytes::copy_from_slice(&(until as u64).to_be_bytes()),
        });
        Ok(LatestReadingsResponse {
            observations: page.map(crate::observed::Reading::to_wire).collect(),
            next,
        })
    }

    async fn watch(
        &self,
        around: Around,
        request: &WatchReadingsRequest,
    ) -> Result<BoxStream<'static, Result<WatchReadingsResponse, Status>>, Failure> {
        let mut violations = Violations::new();
        let home = wire::id::<HomeId>(&request.home_id, "home_id", &mut violations);
        let devices = devices(&request.device_ids, &mut violations);
        violations.require(
            request.capabilities.len() <= 64,
            "capabilities",
            "at most 64",
        );
        let mut capabilities = Vec::new();
        for number in request.capabilities.iter().take(64) {
            capabilities.extend(capability(*number, &mut violations));
        }
        let home = violations.finish(home)?;
        let member = around.member(&self.0, home, Role::Guest).await?;
        let sight = self.0.sight(member, home).await?;
        let filter = watch::Filter::new(devices, capabilities, sight);
        watch::watch(self.0.clone(), around, home, filter).await
    }
}

/// Whether the caller still sees the device.
async fn may_read(app: &App, around: &Around, home: HomeId, device: DeviceId) -> Answer {
    let member = match around.member(app, home, Role::Guest).await {
        Ok(member) => member,
        Err(failure) => return Answer::from(Err(failure)),
    };
    match app.sight(member, home).await {
        Ok(sight) if sight.sees(device) => Answer::Yes,
        Ok(_) => Answer::No(hearth_kernel::Reason::NOT_FOUND.into()),
        Err(failure) => Answer::from(Err(failure)),
    }
}

fn devices(texts: &[String], violations: &mut Violations) -> Vec<DeviceId> {
    violations.require(texts.len() <= MOST_DEVICES, "device_ids", "at most 200");
    let mut devices = Vec::new();
    for (index, text) in texts.iter().enumerate().take(MOST_DEVICES) {
        let field = format!("device_ids[{index}]");
        devices.extend(wire::id::<DeviceId>(text, &field, violations));
    }
    devices
}

fn capability(number: i32, violations: &mut Violations) -> Option<Capability> {
    let capability = u16::try_from(number).ok().and_then(Capability::from_number);
    violations.require(capability.is_some(), "capability", "not in the catalogue");
    capability
}

fn optional_capability(number: i32, violations: &mut Violations) -> Option<Option<Capability>> {
    if number == 0 {
        return Some(None);
    }
    capability(number, violations).map(Some)
}

fn asked(request: &QueryReadingsRequest) -> Result<Asked, Failure> {
    let mut violations = Violations::new();
    let home = wire::id::<HomeId>(&request.home_id, "home_id", &mut violations);
    let device = wire::id::<DeviceId>(&request.device_id, "device_id", &mut violations);
    let capability = capability(request.capability, &mut violations);
    let after = wire::tokens(&request.after, &mut violations);
    let level = match request.resolution() {
        Resolution::Unspecified => {
            violations.add("resolution", "one of raw, minute, hour, day");
            None
        }
        Resolution::Raw => None,
        Resolution::Minute => Some(Level::Minute),
        Resolution::Hour => Some(Level::Hour),
        Resolution::Day => Some(Level::Day),
    };
    let text = capability
        .and_then(Capability::spec)
        .is_some_and(|spec| matches!(spec.value, ValueType::Text { .. }));
    violations.require(
        level.is_none() || !text,
        "resolution",
        "text has no windows",
    );
    violations.require(request.limit <= MOST, "limit", "at most 1000000");
    let interval = request.interval.as_ref();
    let start = interval
        .and_then(|it| it.start.as_ref())
        .and_then(wire::of_time);
    let end = interval
        .and_then(|it| it.end.as_ref())
        .and_then(wire::of_time);
    violations.require(start.is_some(), "interval.start", "a time");
    violations.require(end.is_some(), "interval.end", "a time");
    let interval = start.zip(end);
    if let Some((start, end)) = interval {
        bounds((start, end), level, &mut violations);
    }
    let cursor = match request.cursor.len() {
        0 => Some(None),
        _ => <[u8; 8]>::try_from(request.cursor.as_ref())
            .ok()
            .map(i64::from_be_bytes)
            .map(Some),
    };
    violations.require(cursor.is_some(), "cursor", "not a cursor of this query");
    let whole = home.zip(device).zip(capability).zip(interval).zip(cursor);
    let ((((home, device), capability), (start, end)), cursor) = violations.finish(whole)?;
    let start = start.micros();
    let from = cursor.map_or(start, |at| at.saturating_add(1).max(start));
    let limit = if request.limit == 0 {
        MOST
    } else {
        request.limit
    };
    Ok(Asked {
        query: Query {
            home,
            device,
            capability,
            from,
            until: end.micros(),
        },
        level,
        limit: limit as usize,
        after,
    })
}

fn bounds((start, end): (Timestamp, Timestamp), level: Option<Level>, violations: &mut Violations) {
    violations.require(start < end, "interval", "ends after it starts");
    let most = match level {
        None | Some(Level::Minute) => MOST_DAYS_RAW,
        Some(Level::Hour) => MOST_DAYS.0,
        Some(Level::Day) => MOST_DAYS.1,
    };
    let longest = std::time::Duration::from_secs(u64::try_from(most).unwrap_or(0) * 86_400);
    violations.require(
        end.since(start) <= longest,
        "interval",
        "longer than this resolution allows",
    );
}
